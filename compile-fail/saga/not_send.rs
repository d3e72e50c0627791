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

// A step's future goes from thread to thread.
async fn local(_: Cx<(), u32>) -> Result<(), StepError> {
    let shared = std::rc::Rc::new(1);
    std::future::ready(()).await;
    drop(shared);
    Ok(())
}

fn main() {
    let saga = Saga::builder("trip", Version(1));
    saga.step("local", local).nothing_to_undo();
    let _ = (hold, charge, release);
}
