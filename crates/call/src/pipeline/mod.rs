use std::fmt;
use std::future::Future;
use std::sync::Arc;

use backstay_core::Invalid;

use crate::attempt::Attempt;
use crate::budget::Budget;
use crate::classify::{AnyError, Classify};
use crate::inner::Inner;
use crate::key::Key;
use crate::run::{Kind, Run};
use crate::settings::Settings;

mod builder;
mod explain;
mod handle;

pub use builder::PipelineBuilder;
pub use explain::Explanation;
pub use handle::{BreakerHandle, BreakerState, BulkheadState, PipelineState};

/// Protects the calls to one dependency.
///
/// A named, fixed order of policies. Clones are cheap and share one state, so make one pipeline for each
/// dependency, once, and keep it; two pipelines with the same options know nothing of each other.
///
/// ```
/// # use backstay_call::Pipeline;
/// # struct Client; impl Client { async fn charge(&self, _: &str) -> Result<u32, std::io::Error> { Ok(7) } }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (client, order) = (Client, "order-7");
/// let payments = Pipeline::builder("payments").build()?;
/// let receipt = payments.call_keyed(order, |_attempt| client.charge(order)).await?;
/// # assert_eq!(receipt, 7); Ok(()) }
/// ```
///
/// With nothing but a name it has a deadline of 10 s, three attempts within a budget of 10 % extra load, a
/// circuit breaker, and a time for each attempt. A call passes, in this order: deadline, bulkhead, retry with
/// budget (hedge inside), breaker, attempt timeout.
#[derive(Clone)]
pub struct Pipeline {
    inner: Arc<Inner>,
}

/// A [`Pipeline`] together with what tells its results apart.
#[derive(Clone, Debug)]
pub struct Classified<C> {
    pipeline: Pipeline,
    classify: C,
}

impl Pipeline {
    /// A pipeline with defaults that are right without tuning.
    pub fn builder(name: impl Into<String>) -> PipelineBuilder {
        PipelineBuilder::new(name.into(), Settings::default())
    }

    /// A pipeline with no policy but those that are added.
    pub fn empty(name: impl Into<String>) -> PipelineBuilder {
        let off = crate::policy::Policy::ALL.to_vec();
        PipelineBuilder::new(
            name.into(),
            Settings {
                off,
                ..Settings::default()
            },
        )
    }

    /// The name it was built with.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Goes by `classify` from here on; the state stays shared.
    pub fn classified<C>(&self, classify: C) -> Classified<C> {
        Classified {
            pipeline: self.clone(),
            classify,
        }
    }

    /// Makes a call whose effects are unknown: repeated only if nothing can have happened.
    ///
    /// Every error counts as transient, its effect as unknown; [`classified`](Self::classified) says more.
    ///
    /// # Errors
    ///
    /// [`CallError`](crate::CallError) with the operation's error, a time-out or our own refusal.
    ///
    /// # Cancel safety
    ///
    /// See [`Run`].
    #[inline]
    pub fn call<Op, Fut, T, E>(&self, op: Op) -> Run<&Inner, Op, Fut, AnyError, T, E>
    where
        Op: Fn(Attempt) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        Run::new(&self.inner, op, AnyError, Kind::Plain, None)
    }

    /// Makes a call that may safely be done twice: a read, or a write that ends the same.
    #[inline]
    pub fn call_idempotent<Op, Fut, T, E>(&self, op: Op) -> Run<&Inner, Op, Fut, AnyError, T, E>
    where
        Op: Fn(Attempt) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        Run::new(&self.inner, op, AnyError, Kind::Idempotent, None)
    }

    /// Makes a call that the server does once for each key, however often it arrives.
    #[inline]
    pub fn call_keyed<Op, Fut, T, E>(
        &self,
        key: impl Into<Key>,
        op: Op,
    ) -> Run<&Inner, Op, Fut, AnyError, T, E>
    where
        Op: Fn(Attempt) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        Run::new(
            &self.inner,
            op,
            AnyError,
            Kind::Idempotent,
            Some(key.into()),
        )
    }

    /// The budget for extra load, to share it or to draw on it by hand.
    pub fn budget(&self) -> &Budget {
        &self.inner.budget
    }

    /// The options in force.
    pub fn settings(&self) -> Settings {
        Settings::clone(&self.inner.settings.load())
    }

    /// Puts other options in force while calls run. All live state stays: counts, phases, permits, budget.
    ///
    /// # Errors
    ///
    /// Names the option that is out of range or can't change while running; nothing is changed then.
    pub fn reconfigure(&self, settings: Settings) -> Result<(), Invalid> {
        self.inner.reconfigure(settings)
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }
}

impl<C: Clone> Classified<C> {
    /// As [`Pipeline::call`].
    #[inline]
    pub fn call<Op, Fut, T, E>(&self, op: Op) -> Run<&Inner, Op, Fut, C, T, E>
    where
        Op: Fn(Attempt) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        C: Classify<T, E>,
    {
        Run::new(
            &self.pipeline.inner,
            op,
            self.classify.clone(),
            Kind::Plain,
            None,
        )
    }

    /// As [`Pipeline::call_idempotent`].
    #[inline]
    pub fn call_idempotent<Op, Fut, T, E>(&self, op: Op) -> Run<&Inner, Op, Fut, C, T, E>
    where
        Op: Fn(Attempt) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        C: Classify<T, E>,
    {
        Run::new(
            &self.pipeline.inner,
            op,
            self.classify.clone(),
            Kind::Idempotent,
            None,
        )
    }

    /// As [`Pipeline::call_keyed`].
    #[inline]
    pub fn call_keyed<Op, Fut, T, E>(
        &self,
        key: impl Into<Key>,
        op: Op,
    ) -> Run<&Inner, Op, Fut, C, T, E>
    where
        Op: Fn(Attempt) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        C: Classify<T, E>,
    {
        let classify = self.classify.clone();
        Run::new(
            &self.pipeline.inner,
            op,
            classify,
            Kind::Idempotent,
            Some(key.into()),
        )
    }

    /// The pipeline itself.
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    #[cfg(feature = "tower")]
    pub(crate) fn classify(&self) -> &C {
        &self.classify
    }
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline")
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}
