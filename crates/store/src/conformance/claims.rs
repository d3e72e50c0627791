use std::time::Duration;

use super::Subject;
use crate::{Batch, ClaimError, CommitError, Fence, Owner};

const TTL: Duration = Duration::from_secs(10);
const LONG: Duration = Duration::from_secs(9);
const SHORT: Duration = Duration::from_secs(1);

/// STO-7: a claim has one holder, until its time is over or it is given up.
pub async fn a_claim_has_one_holder(subject: &dyn Subject) {
    let (store, other) = (subject.open().await, subject.open().await);
    let (clock, mine) = (subject.clock(), Owner::new());
    assert_eq!(store.holder("job").await, Ok(None));
    let claim = store.claim("job", mine, TTL).await.expect("it is free");
    assert_eq!((claim.owner, claim.epoch), (mine, 1));
    assert_eq!(claim.expires_at, super::START.plus(TTL));
    assert_eq!(other.holder("job").await, Ok(Some(claim.clone())));
    clock.advance(SHORT);
    for owner in [Owner::new(), mine] {
        let held = ClaimError::Held {
            name: "job".to_owned(),
            owner: mine,
            epoch: 1,
            left: LONG,
        };
        assert_eq!(other.claim("job", owner, TTL).await, Err(held));
    }
    let renewed = store.renew(&claim, TTL).await.expect("it is held");
    assert_eq!(renewed.expires_at, claim.expires_at.plus(SHORT));
    assert_eq!(other.holder("job").await, Ok(Some(renewed.clone())));
    clock.set(renewed.expires_at.minus(Duration::from_millis(1)));
    assert_eq!(other.holder("job").await, Ok(Some(renewed.clone())));
    assert!(other.claim("job", Owner::new(), TTL).await.is_err());
    assert!(other.claim("another", Owner::new(), TTL).await.is_ok());
    assert_eq!(store.release(&renewed).await, Ok(true));
    assert_eq!(store.release(&renewed).await, Ok(false));
    assert_eq!(other.holder("job").await, Ok(None));
    assert!(other.claim("job", Owner::new(), TTL).await.is_ok());
}

/// STO-7: the epoch rises with every holding: after a release, after a lapse, and for the same owner too.
pub async fn every_holding_has_a_higher_epoch(subject: &dyn Subject) {
    let store = subject.open().await;
    let (clock, owner) = (subject.clock(), Owner::new());
    for epoch in 1..=6 {
        let claim = store.claim("job", owner, TTL).await.expect("it is free");
        assert_eq!(claim.epoch, epoch);
        if epoch % 2 == 0 {
            clock.advance(TTL);
        } else {
            assert_eq!(store.release(&claim).await, Ok(true));
        }
    }
}

/// STO-7: who let the time pass has lost the claim, also if nobody has taken it.
pub async fn a_lapsed_claim_can_not_be_renewed(subject: &dyn Subject) {
    let store = subject.open().await;
    let clock = subject.clock();
    let claim = store.claim("job", Owner::new(), TTL).await.expect("free");
    clock.advance(TTL);
    let lost = Err(ClaimError::Lost {
        name: "job".to_owned(),
        epoch: 1,
    });
    assert_eq!(store.renew(&claim, TTL).await, lost);
    assert_eq!(store.release(&claim).await, Ok(false));
    let next = store.claim("job", Owner::new(), TTL).await.expect("free");
    assert_eq!(store.renew(&claim, TTL).await, lost);
    assert_eq!(store.release(&claim).await, Ok(false));
    assert_eq!(store.holder("job").await, Ok(Some(next)));
}

/// STO-6, STO-7: from a take-over on, nothing is written under an earlier holding.
pub async fn a_take_over_fences_who_held_before(subject: &dyn Subject) {
    let (store, other) = (subject.open().await, subject.open().await);
    let clock = subject.clock();
    let write = |fence, value: &'static str| Batch::new().fenced(fence).put("key", value);
    let first = store.claim("job", Owner::new(), TTL).await.expect("free");
    assert!(store.commit(write(first.fence(), "first")).await.is_ok());
    clock.advance(TTL);
    // It has lapsed, but nobody has come: no harm is done.
    assert!(store.commit(write(first.fence(), "late")).await.is_ok());
    let second = other.claim("job", Owner::new(), TTL).await.expect("free");
    let refused = store.commit(write(first.fence(), "zombie")).await;
    let fenced = CommitError::Fenced {
        name: first.fence().name,
        token: 1,
        highest: 2,
    };
    assert_eq!(refused, Err(fenced));
    assert!(other.commit(write(second.fence(), "second")).await.is_ok());
    let key = store.get("key").await.expect("a read").expect("the key");
    assert_eq!(&key.value[..], b"second");
}

/// STO-6, STO-7: a claim's epoch is above every token that its fence has seen, also one that no claim has given.
pub async fn a_take_over_never_lowers_a_fence(subject: &dyn Subject) {
    let store = subject.open().await;
    let elsewhere = |token| Batch::new().fenced(Fence::new("claim:job", token));
    assert!(store.commit(elsewhere(100)).await.is_ok());
    let claim = store.claim("job", Owner::new(), TTL).await.expect("free");
    assert_eq!(claim.epoch, 101);
    for token in [100, 1] {
        let refused = store.commit(elsewhere(token)).await;
        let fenced = CommitError::Fenced {
            name: "claim:job".to_owned(),
            token,
            highest: 101,
        };
        assert_eq!(refused, Err(fenced));
    }
    assert!(
        store
            .commit(Batch::new().fenced(claim.fence()))
            .await
            .is_ok()
    );

    let last = i64::MAX.unsigned_abs();
    assert!(store.commit(elsewhere(last)).await.is_ok());
    subject.clock().advance(TTL);
    let none_left = store.claim("job", Owner::new(), TTL).await;
    assert!(
        matches!(none_left, Err(ClaimError::Invalid(_))),
        "{none_left:?}"
    );
    assert_eq!(store.holder("job").await, Ok(None));
}

/// STO-7: of many who ask at once, one gets the claim.
pub async fn one_of_many_gets_a_claim(subject: &dyn Subject) {
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let store = subject.open().await;
        asking.spawn(async move { store.claim("job", Owner::new(), TTL).await });
    }
    let answers = asking.join_all().await;
    let winners: Vec<_> = answers.iter().flatten().collect();
    assert_eq!(winners.len(), 1, "{answers:?}");
    assert!(
        answers
            .iter()
            .all(|answer| matches!(answer, Ok(_) | Err(ClaimError::Held { .. }))),
        "{answers:?}"
    );
    let store = subject.open().await;
    assert_eq!(
        store.holder("job").await.as_ref(),
        Ok(&Some(winners[0].clone()))
    );
}
