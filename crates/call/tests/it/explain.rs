//! What a pipeline costs at worst, in numbers.

use std::time::Duration;

use backstay_call::{
    Backoff, Budget, BudgetOptions, Bulkhead, Hedge, Pipeline, PipelineBuilder, Policy, Retry,
};

use crate::common::*;

fn worst(builder: PipelineBuilder) -> (u32, Option<Duration>, f64) {
    let explained = builder.build().unwrap().explain();
    (
        explained.max_attempts(),
        explained.max_time(),
        explained.max_load(),
    )
}

/// CALL-14: attempts, time and load at worst, for the usual stacks.
#[test]
fn the_worst_case_in_numbers() {
    let empty = || Pipeline::empty("p");
    let secs = Duration::from_secs;
    assert_eq!(worst(Pipeline::builder("p")), (3, Some(secs(10)), 1.1));
    assert_eq!(worst(empty()), (1, None, 1.0));
    assert_eq!(
        worst(empty().attempt_timeout(secs(2))),
        (1, Some(secs(2)), 1.0)
    );
    assert_eq!(worst(empty().hedge(Hedge::after(ms(10)))), (2, None, 1.1));
    let half = BudgetOptions::default().ratio(5.0);
    assert_eq!(
        worst(empty().retry(every(10, 3)).budget(half)),
        (3, None, 3.0)
    );
    let unpaid = Pipeline::builder("p")
        .retry(every(10, 4))
        .without(Policy::Budget);
    assert_eq!(worst(unpaid), (4, Some(secs(10)), 4.0));
}

/// CALL-13, CALL-18: without a deadline the time is that of the queue, all attempts, and the hour that a dependency
/// may ask for before each retry.
#[test]
fn without_a_deadline_the_times_add_up() {
    let retry = Retry::backoff(Backoff::full_jitter(ms(100)).cap(ms(150))).max_attempts(4);
    let limited = || {
        Pipeline::builder("p")
            .without(Policy::Deadline)
            .retry(retry.clone())
            .attempt_timeout(ms(1000))
    };
    let hour = Duration::from_secs(3_600);
    let queue = Bulkhead::limit(1).queue(1).max_wait(ms(70));
    assert_eq!(
        worst(limited().bulkhead(queue)).1,
        Some(ms(70 + 4000) + 3 * hour)
    );
    assert_eq!(
        worst(limited().bulkhead(Bulkhead::limit(1))).1,
        Some(ms(4000) + 3 * hour)
    );
    assert_eq!(
        worst(limited().bulkhead(Bulkhead::limit(1).queue(1))).1,
        None
    );
}

/// CALL-13: a policy that only observes bounds nothing.
#[test]
fn what_only_observes_bounds_nothing() {
    let observed = Pipeline::builder("p").observe_only(Policy::Deadline);
    assert_eq!(worst(observed).1, None);
    let observed = Pipeline::empty("p")
        .attempt_timeout(ms(10))
        .observe_only(Policy::AttemptTimeout);
    assert_eq!(worst(observed).1, None);
    let observed = Pipeline::builder("p").observe_only(Policy::Budget);
    assert!((worst(observed).2 - 3.0).abs() < 1e-9);
}

/// CALL-14: the load is that of the budget in force, also of a shared one.
#[test]
fn a_shared_budget_is_the_one_explained() {
    let budget = Budget::new(BudgetOptions::default().ratio(0.5).reserve_per_s(77)).unwrap();
    let pipeline = Pipeline::builder("p")
        .shared_budget(&budget)
        .build()
        .unwrap();
    assert!((pipeline.explain().max_load() - 1.5).abs() < 1e-9);
    assert!(pipeline.explain().to_string().contains("77"));
}

/// CALL-4: printed, it names the policies in their order, and those that only observe.
#[test]
fn printed_it_names_the_policies_in_order() {
    let pipeline = Pipeline::builder("payments")
        .bulkhead(Bulkhead::limit(20).queue(10))
        .hedge(Hedge::after(ms(30)))
        .observe_only(Policy::Breaker)
        .build()
        .unwrap();
    let text = pipeline.explain().to_string();
    let names = [
        "payments",
        "deadline",
        "bulkhead",
        "retry",
        "budget",
        "hedge",
        "breaker",
        "attempt_timeout",
        "at worst",
    ];
    let place = |name: &&str| text.lines().position(|line| line.trim().starts_with(*name));
    let places: Vec<_> = names.iter().map(place).collect();
    assert!(
        places.iter().all(Option::is_some) && places.is_sorted(),
        "{places:?}\n{text}"
    );
    assert_eq!(text.matches("(observes only)").count(), 1, "{text}");
    assert!(text.contains("20 calls in progress, 10 waiting"), "{text}");
}
