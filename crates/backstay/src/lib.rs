//! Protects the calls to a dependency, in one fixed order that is hard to get wrong.
//!
//! A [`Pipeline`] gives each call a deadline, a place in a bulkhead, retries within a budget, a hedge, a circuit
//! breaker and a time for each attempt. With nothing but a name it has defaults that hold without tuning. It
//! repeats only what is safe to repeat: what certainly had no effect, or what the caller says is idempotent or
//! carries a key. A call that fails says why, what was tried, and what it may have done. Everything that happens
//! is one typed stream, for logs, metrics and tests.
//!
//! ```
//! use std::time::Duration;
//! use backstay::{Bulkhead, Pipeline, Reason};
//!
//! # struct Client;
//! # impl Client { async fn charge(&self, _: &str) -> Result<u32, std::io::Error> { Ok(7) } }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (client, order) = (Client, "order-7");
//! // Once for each dependency; clones share its state.
//! let payments = Pipeline::builder("payments")
//!     .deadline(Duration::from_secs(2))
//!     .bulkhead(Bulkhead::limit(64))
//!     .build()?;
//!
//! // The server does it once for each key, so it may be repeated.
//! match payments.call_keyed(order, |_attempt| client.charge(order)).await {
//!     Ok(receipt) => assert_eq!(receipt, 7),
//!     Err(error) => match error.reason() {
//!         Reason::Rejected(rejected) => println!("not sent: {rejected}"),
//!         _ => println!("{error}; it may have happened: {:?}", error.effect()),
//!     },
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Where to look
//!
//! | to | see |
//! |---|---|
//! | set up a dependency | [`PipelineBuilder`], [`Retry`], [`Backoff`], [`BudgetOptions`], [`Breaker`], [`Bulkhead`], [`Hedge`] |
//! | make a call | [`Pipeline::call`], [`call_idempotent`](Pipeline::call_idempotent), [`call_keyed`](Pipeline::call_keyed), [`Attempt`] |
//! | protect code that blocks | [`Pipeline::enter`] |
//! | protect a server | `Admission` |
//! | tell failures apart | [`Classify`], [`Class`], [`Effect`] |
//! | handle a failed call | [`CallError`], [`Reason`], [`Rejected`], [`Stop`] |
//! | pass a deadline on | [`deadline`] |
//! | see and steer it while it runs | [`Pipeline::state`], [`Pipeline::reconfigure`], [`BreakerHandle`] |
//! | see what it would cost at worst | [`Pipeline::explain`] |
//! | hear what happens | [`Listener`], [`EventKind`], `telemetry` |
//! | draw on the budget by hand, or share it | [`Budget`] |
//! | keep what must survive a crash | `store` |
//! | do once what may be asked for twice | `idempotency` |
//! | let one process act at a time, and refuse the late writes of a former one | `lease` |
//! | keep a local copy that knows its age, or the answers of look-ups | `replica` |
//! | run jobs at certain times on whoever leads | `lease::schedule` |
//! | do an operation over several services, or undo it | `saga` |
//! | decide by events, and read what they come to elsewhere | `cqrs` |
//!
//! # Features
//!
//! All are on by default but `sqlite`, `postgres`, `etcd`, `nats`, `webhook`, `schedule` and `test-util`. Each only adds.
//!
//! | feature | what |
//! |---|---|
//! | `config` | [`Settings`] from TOML and JSON |
//! | `tower` | a pipeline as a tower layer |
//! | `http` | deadline, attempt and key headers; classification of HTTP responses; brings `tower` |
//! | `admission` | a server's admission control as a tower layer; brings `http` |
//! | `tracing` | `telemetry::TracingListener` |
//! | `metrics` | `telemetry::MetricsListener` |
//! | `store` | `store::Store`, with a backend in memory |
//! | `idempotency` | `idempotency::Idempotency`, and with `http` a server's `idempotency::IdempotencyLayer`; brings `store` |
//! | `saga` | `saga::Saga` and `saga::Engine`, and with `http` headers for what a step calls; brings `store` |
//! | `test-util` | `saga::testkit`, `replica::conformance`, and clocks for tests |
//! | `cqrs` | `cqrs::Commands`, `cqrs::Projection`, `cqrs::Relay`, and with `http` positions as headers; brings `store` |
//! | `sqlite` | `store::SqliteStore`, in a file; compiles SQLite |
//! | `postgres` | `store::PostgresStore`, on a server |
//! | `lease` | `lease::Election`, and fences for tables of your own and, with `http`, behind HTTP; brings `store` |
//! | `replica` | `replica::Replica` and `replica::Cached`, and with `http` a copy over HTTP; brings `store` |
//! | `etcd`, `nats` | `lease::EtcdLeases`, `lease::NatsLeases`: leases that live there; `replica::EtcdSource`, `replica::NatsSource`: copies of what is there; `nats` with `cqrs::nats`: messages |
//! | `webhook` | `cqrs::webhook`: messages as signed HTTP requests |
//! | `schedule` | `lease::schedule::Schedule`; brings `lease` and the time zones of the world |

#[doc(inline)]
pub use backstay_call::*;

#[cfg(any(feature = "tracing", feature = "metrics"))]
#[doc(inline)]
pub use backstay_telemetry as telemetry;

#[cfg(feature = "idempotency")]
#[doc(inline)]
pub use backstay_idempotency as idempotency;

#[cfg(feature = "store")]
#[doc(inline)]
pub use backstay_store as store;

#[cfg(feature = "lease")]
#[doc(inline)]
pub use backstay_lease as lease;

#[cfg(feature = "replica")]
#[doc(inline)]
pub use backstay_replica as replica;

#[cfg(feature = "saga")]
#[doc(inline)]
pub use backstay_saga as saga;

#[cfg(feature = "cqrs")]
#[doc(inline)]
pub use backstay_cqrs as cqrs;

// The examples of the documents are tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

#[cfg(doctest)]
mod documents {
    #[cfg(feature = "admission")]
    #[doc = include_str!("../../../docs/admission.md")]
    struct Admission;
    #[cfg(feature = "config")]
    #[doc = include_str!("../../../docs/config.md")]
    struct Config;
    #[cfg(all(feature = "cqrs", feature = "http", feature = "sqlite"))]
    #[doc = include_str!("../../../docs/cqrs.md")]
    struct Cqrs;
    #[cfg(all(
        feature = "http",
        feature = "nats",
        feature = "sqlite",
        feature = "webhook"
    ))]
    #[doc = include_str!("../../../docs/messages.md")]
    struct Messages;
    #[cfg(feature = "lease")]
    #[doc = include_str!("../../../docs/election.md")]
    struct Election;
    #[cfg(all(feature = "admission", feature = "idempotency", feature = "sqlite"))]
    #[doc = include_str!("../../../docs/idempotency.md")]
    struct Idempotency;
    #[cfg(all(feature = "http", feature = "lease", feature = "sqlite"))]
    #[doc = include_str!("../../../docs/fencing.md")]
    struct Fencing;
    #[cfg(feature = "http")]
    #[doc = include_str!("../../../docs/http.md")]
    struct Http;
    #[cfg(all(feature = "http", feature = "replica", feature = "sqlite"))]
    #[doc = include_str!("../../../docs/replica.md")]
    struct Replica;
    #[cfg(all(feature = "saga", feature = "sqlite"))]
    #[doc = include_str!("../../../docs/sagas.md")]
    struct Sagas;
    #[cfg(all(feature = "schedule", feature = "sqlite"))]
    #[doc = include_str!("../../../docs/schedule.md")]
    struct Schedule;
    #[cfg(feature = "sqlite")]
    #[doc = include_str!("../../../docs/store.md")]
    struct Store;
    #[cfg(all(feature = "tracing", feature = "metrics"))]
    #[doc = include_str!("../../../docs/telemetry.md")]
    struct Telemetry;
    #[doc = include_str!("../../../docs/breaker.md")]
    struct Breaker;
    #[doc = include_str!("../../../docs/budget.md")]
    struct Budget;
    #[doc = include_str!("../../../docs/bulkhead.md")]
    struct Bulkhead;
    #[doc = include_str!("../../../docs/deadline.md")]
    struct Deadline;
    #[doc = include_str!("../../../docs/fallback.md")]
    struct Fallback;
    #[doc = include_str!("../../../docs/hedging.md")]
    struct Hedging;
    #[doc = include_str!("../../../docs/retry.md")]
    struct Retry;
}
