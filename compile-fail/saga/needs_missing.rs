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

// A step that takes inputs says whose they are.
fn main() {
    let saga = Saga::builder("trip", Version(1));
    saga.step("charge", charge).pivot();
    let _ = (hold, release);
}
