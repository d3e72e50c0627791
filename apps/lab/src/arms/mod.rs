//! The arms: one configuration under experiment each.
//!
//! An arm is a client, which turns a call into attempts, and a server's router. To add one: write
//! a module with a `pub(crate) const ARM: Arm`, whose `build` makes both from the [`Site`], and
//! name it in [`ARMS`]. [`none`] is the shortest example.
//!
//! - The client numbers its attempts from 0 and sends each with [`Dependency::attempt`], or with
//!   [`Dependency::send`] when it reads status and headers itself. Each has its own service time.
//! - The server is `server::router` with a [`Handler`](crate::engine::server::Handler). An arm
//!   that protects it puts its layer around the router and uses `Handler::Inline`, so that a
//!   request its layer drops frees its slot. Attempts are counted outside of all layers.
//! - [`Client::openings`] and [`Client::sheds`] may ask any handle the client keeps, the server's
//!   too. `healthy` judges them, so an arm it runs must count both.

pub(crate) mod article;
mod backstay;
mod bounded_queue;
mod deadline_drop;
mod none;
#[cfg(feature = "peers")]
mod peers;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use tokio::time::Instant;

use crate::engine::client::{Dependency, Failure};
use crate::engine::server::Work;

/// Every arm there is, in the order of the reports.
pub(crate) const ARMS: &[Arm] = &[
    none::ARM,
    none::CANCELS,
    article::RETRY,
    article::BREAKER,
    article::ALL,
    backstay::BUDGET_ONLY,
    backstay::ALL,
    article::HEDGE,
    backstay::RETRY_ONLY,
    deadline_drop::ARM,
    bounded_queue::ARM,
    backstay::EVERYTHING,
    backstay::NO_ADMISSION,
    backstay::NO_CANCEL,
    backstay::NO_BUDGET,
    backstay::NO_RETRY,
    backstay::NO_BREAKER,
    backstay::NO_ATTEMPT_TIMEOUT,
    backstay::NO_DEADLINE,
    #[cfg(feature = "peers")]
    peers::TOWER_RESILIENCE,
    #[cfg(feature = "peers")]
    peers::SEATBELT,
];

/// The arm the project is judged by.
pub(crate) const BACKSTAY: &str = "backstay";
/// The same with the policies that are off by default.
pub(crate) const BACKSTAY_EVERYTHING: &str = "backstay-everything";
/// The arm whose budget has a storm to hold back.
pub(crate) const BUDGET_ONLY: &str = "budget-only";
/// The arm that must fail, or the fault was too weak to prove anything.
pub(crate) const ARTICLE_RETRY: &str = "article-retry";
/// The arms whose breaker lets one call through at a time.
pub(crate) const ONE_BY_ONE: [&str; 2] = [ARTICLE_BREAKER, ARTICLE_ALL];
const ARTICLE_BREAKER: &str = "article-breaker";
const ARTICLE_ALL: &str = "article-all";
/// The arm without any protection but a timeout.
pub(crate) const NONE: &str = "none";
/// The same, before the server that the protected arms have.
pub(crate) const NONE_CANCELS: &str = "none-cancels";

/// One configuration under experiment.
#[derive(Debug)]
pub(crate) struct Arm {
    pub(crate) name: &'static str,
    /// What it is, in a few words.
    pub(crate) about: &'static str,
    pub(crate) runs: Runs,
    pub(crate) build: fn(&Site) -> anyhow::Result<Parts>,
}

/// When an arm takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runs {
    ByDefault,
    /// With `--arms all`, or when named.
    OnRequest,
}

/// Where an arm is set up.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) arm: &'static str,
    pub(crate) seed: u64,
    /// Whether somebody scrapes the metrics.
    pub(crate) metrics: bool,
    /// The way to the arm's own server.
    pub(crate) dependency: Dependency,
    /// What that server does; give it to `server::router`.
    pub(crate) work: Arc<Work>,
}

/// What an arm is made of.
pub(crate) struct Parts {
    pub(crate) client: Arc<dyn Client>,
    pub(crate) server: Router,
}

/// A call as its user makes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) index: u64,
    /// An answer after this moment is worth nothing to the user.
    pub(crate) deadline: Instant,
}

/// The answer to a call, whenever it comes.
pub(crate) type Answer<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + 'a>>;

/// Makes calls the way this arm does.
pub(crate) trait Client: Send + Sync {
    /// Dropping the future abandons the call.
    fn call(&self, call: Call) -> Answer<'_>;

    /// How often a breaker opened, if the arm counts it.
    fn openings(&self) -> Option<u64> {
        None
    }

    /// How many calls or attempts were refused by client or server, if the arm counts it.
    fn sheds(&self) -> Option<u64> {
        None
    }
}

/// The arms of which a plain build knows only the names.
const PEERS: [&str; 2] = ["tower-resilience", "seatbelt"];

/// The arm of this name.
pub(crate) fn find(name: &str) -> Option<&'static Arm> {
    ARMS.iter().find(|arm| arm.name == name)
}

/// The arms a user asked for: `default`, `all`, or names with commas between.
pub(crate) fn select(text: &str) -> Result<Vec<&'static Arm>, String> {
    match text {
        "all" => return Ok(ARMS.iter().collect()),
        "default" => {
            return Ok(ARMS
                .iter()
                .filter(|arm| arm.runs == Runs::ByDefault)
                .collect());
        }
        _ => {}
    }
    let mut chosen: Vec<&'static Arm> = Vec::new();
    for name in text.split(',').map(str::trim) {
        let arm = find(name).ok_or_else(|| {
            if PEERS.contains(&name) {
                return format!("arm `{name}` is not in this build: build with `--features peers`");
            }
            let names: Vec<_> = ARMS.iter().map(|arm| arm.name).collect();
            format!(
                "unknown arm `{name}`; choose `default`, `all`, or from: {}",
                names.join(", ")
            )
        })?;
        if chosen.iter().any(|other| other.name == arm.name) {
            return Err(format!("arm `{name}` is named twice"));
        }
        chosen.push(arm);
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Result<Vec<&'static str>, String> {
        select(text).map(|arms| arms.into_iter().map(|arm| arm.name).collect())
    }

    #[test]
    fn arms_are_chosen_by_name_or_by_group() {
        assert_eq!(
            names("article-retry, none"),
            Ok(vec!["article-retry", "none"])
        );
        assert_eq!(names("all").unwrap().len(), ARMS.len());
        let default = names("default").unwrap();
        assert!(default.contains(&NONE) && default.contains(&ARTICLE_RETRY));
        assert!(!default.contains(&"article-hedge"));
    }

    #[test]
    fn an_unknown_arm_is_answered_with_the_choices() {
        let refusal = names("none,nothing").unwrap_err();
        assert!(
            refusal.starts_with("unknown arm `nothing`; choose "),
            "{refusal}"
        );
        assert!(
            refusal.contains("article-breaker") && !refusal.contains('\n'),
            "{refusal}"
        );
        assert!(names("").is_err());
        for peer in PEERS {
            match names(peer) {
                Ok(found) => assert_eq!((found, cfg!(feature = "peers")), (vec![peer], true)),
                Err(refusal) => assert!(refusal.contains("build with `--features peers`")),
            }
        }
        assert_eq!(names("none,none").unwrap_err(), "arm `none` is named twice");
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = ARMS.iter().map(|arm| arm.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ARMS.len());
    }
}
