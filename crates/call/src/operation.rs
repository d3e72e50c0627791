use crate::attempt::Attempt;

/// What a call does at each attempt: a closure, or a service together with its request.
///
/// A trait of its own beside `Fn`, because a future that names its type can't hold a closure.
pub trait Operation {
    /// One attempt under way.
    type Future;

    /// Begins an attempt.
    fn start(&self, attempt: Attempt) -> Self::Future;
}

impl<F, Fut> Operation for F
where
    F: Fn(Attempt) -> Fut,
{
    type Future = Fut;

    #[inline]
    fn start(&self, attempt: Attempt) -> Fut {
        self(attempt)
    }
}
