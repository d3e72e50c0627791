//! HTTP: what a response means, the headers of an attempt, and a layer that uses both.

mod classify;
mod headers;
mod layer;

pub use classify::HttpClassifier;
pub use layer::{HttpLayer, HttpService};
