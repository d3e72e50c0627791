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

// An undo is given what the step comes to.
fn main() {
    let saga = Saga::builder("trip", Version(1));
    let held = saga.step("hold", hold).undo(release);
    saga.step("charge", charge).needs(held).undo(release);
}
