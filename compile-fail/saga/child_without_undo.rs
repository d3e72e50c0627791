use backstay_saga::{Attempt, Cx, Saga, StepError, UndoError, Version};

async fn hold(_: Cx<(), u32>) -> Result<String, StepError> {
    Ok(String::new())
}

async fn release(_: Cx<(), u32>, _: Attempt<String>) -> Result<(), UndoError> {
    Ok(())
}

async fn charge(_: Cx<(), u32>, _held: String) -> Result<u64, StepError> {
    Ok(1)
}

// A saga within a saga is undone with it.
fn main() {
    let child = Saga::builder("child", Version(1));
    let held = child.step("hold", hold).undo(release);
    let child = child.build(held).unwrap();
    async fn count(_: Cx<(), u32>) -> Result<u32, StepError> {
        Ok(1)
    }
    let saga = Saga::<(), u32, ()>::builder("trip", Version(1));
    let counted = saga.step("count", count).nothing_to_undo();
    saga.child("child", &child).needs(counted).nothing_to_undo();
    let _ = charge;
}
