//! What the listeners say, word for word.

mod hear;
mod metrics;
mod page;
mod samples;
mod story;
mod tracing;
mod transitions;
mod words;
