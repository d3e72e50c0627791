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

// A step is given what it takes.
async fn count(_: Cx<(), u32>) -> Result<u64, StepError> {
    Ok(1)
}

fn main() {
    let saga = Saga::builder("trip", Version(1));
    let counted = saga.step("count", count).nothing_to_undo();
    saga.step("charge", charge).needs(counted).pivot();
    let _ = (hold, release);
}
