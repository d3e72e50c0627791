use backstay_core::{Class, Effect};

use crate::error::CallError;

/// Says what a result means. Every policy of a pipeline goes by this one answer.
///
/// Closures are classifiers:
///
/// ```
/// use backstay_call::{Class, Effect, Pipeline};
/// # #[derive(Debug)] enum ChargeError { CardDeclined, Busy, Lost }
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # async fn charge() -> Result<u32, ChargeError> { Ok(7) }
/// let payments = Pipeline::builder("payments").build().unwrap();
/// let payments = payments.classified(|result: &Result<u32, ChargeError>| match result {
///     Ok(_) => Class::Success,
///     Err(ChargeError::CardDeclined) => Class::Ignored(Effect::NotExecuted),
///     Err(ChargeError::Busy) => Class::Transient(Effect::NotExecuted),
///     Err(ChargeError::Lost) => Class::Transient(Effect::Unknown),
/// });
/// assert!(payments.call(|_| charge()).await.is_ok());
/// # }
/// ```
pub trait Classify<T, E> {
    /// What this result means.
    fn classify(&self, result: &Result<T, E>) -> Class;
}

impl<T, E, F: Fn(&Result<T, E>) -> Class> Classify<T, E> for F {
    fn classify(&self, result: &Result<T, E>) -> Class {
        self(result)
    }
}

/// For a pipeline around calls that go through another pipeline.
///
/// The inner one has classified already: its refusals are no failures here, and what it holds for permanent or
/// may have had an effect stays so.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nested;

impl<T, E> Classify<T, CallError<E>> for Nested {
    fn classify(&self, result: &Result<T, CallError<E>>) -> Class {
        match result {
            Ok(_) => Class::Success,
            Err(error) => error.class(),
        }
    }
}

/// Takes every error for transient, its effect unknown. What a pipeline does if nobody tells it more.
///
/// Safe, not sharp: a plain call is then never repeated, and an error that is the caller's own fault counts
/// against the dependency.
#[derive(Clone, Copy, Debug, Default)]
pub struct AnyError;

impl<T, E> Classify<T, E> for AnyError {
    fn classify(&self, result: &Result<T, E>) -> Class {
        match result {
            Ok(_) => Class::Success,
            Err(_) => Class::Transient(Effect::Unknown),
        }
    }
}
