use futures_util::StreamExt;
use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use super::{Subject, acquire, granted, granted_at_last, wanted};
use crate::timing::LEAST_MARGIN;
use crate::{Acquired, Holder, Lease, Owner, Wanted};

fn holder_of(acquired: Acquired) -> Holder {
    match acquired {
        Acquired::Held(holder) => holder,
        granted @ Acquired::Granted(_) => panic!("it is held: {granted:?}"),
    }
}

/// LEA-2: a name has one holder, until it is given back.
pub async fn a_name_has_one_holder(subject: &dyn Subject) {
    let (leases, other) = (subject.open().await, subject.open().await);
    assert_eq!(other.holder("job".to_owned()).await, Ok(None));
    let mine = wanted(subject, "job");
    let lease = granted(&*leases, &mine).await;
    assert_eq!((&lease.name, lease.owner), (&mine.name, mine.owner));

    for home in [&leases, &other] {
        let held = holder_of(acquire(&**home, &wanted(subject, "job")).await);
        assert_eq!(held.lease, lease);
        assert!(held.left.is_none_or(|left| left <= mine.ttl), "{held:?}");
        let holder = home.holder("job".to_owned()).await.expect("an answer");
        let holder = holder.expect("it is held");
        assert_eq!(
            (holder.lease, holder.about),
            (lease.clone(), mine.about.clone())
        );
    }
    granted(&*other, &wanted(subject, "another job")).await;

    assert_eq!(leases.renew(lease.clone(), mine.ttl).await, Ok(true));
    assert_eq!(leases.release(lease.clone()).await, Ok(()));
    assert_eq!(leases.release(lease.clone()).await, Ok(()));
    assert_eq!(leases.renew(lease, mine.ttl).await, Ok(false));
    assert_eq!(other.holder("job".to_owned()).await, Ok(None));
    granted(&*other, &wanted(subject, "job")).await;
}

/// LEA-2: each term has a higher token: after a release, after a lapse, and for the same owner too.
pub async fn every_term_has_a_higher_token(subject: &dyn Subject) {
    let leases = subject.open().await;
    let mine = wanted(subject, "job");
    let mut highest = 0;
    for term in 0..6 {
        let wanted = if term % 3 == 0 {
            wanted(subject, "job")
        } else {
            mine.clone()
        };
        let lease = granted_at_last(&*leases, &wanted).await;
        assert!(lease.token > highest, "{lease:?} after {highest}");
        highest = lease.token;
        if term % 2 == 0 {
            leases.release(lease).await.expect("an answer");
        }
    }
}

/// LEA-2: of many who ask at once one is given the name.
pub async fn one_of_many_acquires(subject: &dyn Subject) {
    let ttl = subject.ttl() * 10;
    let homes = join_all((0..4).map(|_| subject.open_for(ttl))).await;
    let asked = homes.iter().cycle().take(32);
    let asked = asked.map(|home| {
        let wanted = Wanted {
            ttl,
            ..wanted(subject, "job")
        };
        async move { home.acquire(wanted).await.expect("an answer") }
    });
    let (granted, held): (Vec<_>, Vec<_>) = join_all(asked)
        .await
        .into_iter()
        .partition(|acquired| matches!(acquired, Acquired::Granted(_)));
    assert_eq!((granted.len(), held.len()), (1, 31), "{granted:?}");
    let granted = granted.into_iter().next().expect("there is one");
    for held in held {
        assert_eq!(Acquired::Granted(holder_of(held).lease), granted);
    }
}

/// LEA-2: who let the time pass has lost the lease, also if nobody has taken it.
pub async fn a_lapsed_lease_can_not_be_renewed(subject: &dyn Subject) {
    let leases = subject.open().await;
    let lease = granted(&*leases, &wanted(subject, "job")).await;
    sleep(subject.ttl() + subject.late()).await;
    assert_eq!(leases.holder("job".to_owned()).await, Ok(None));
    assert_eq!(leases.renew(lease.clone(), subject.ttl()).await, Ok(false));
    let next = granted(&*leases, &wanted(subject, "job")).await;
    assert_eq!(leases.renew(lease, subject.ttl()).await, Ok(false));
    assert_eq!(leases.renew(next, subject.ttl()).await, Ok(true));
}

/// LEA-1: nobody gets a lease before its time is over, counted from before its last renewal was asked for.
pub async fn a_renewed_lease_lasts(subject: &dyn Subject) {
    let (leases, other) = (subject.open().await, subject.open().await);
    let at_least = subject.ttl().saturating_sub(LEAST_MARGIN);
    let mut asked = Instant::now();
    let lease = granted(&*leases, &wanted(subject, "job")).await;
    for _ in 0..3 {
        sleep(subject.ttl() / 2).await;
        let now = Instant::now();
        if leases
            .renew(lease.clone(), subject.ttl())
            .await
            .expect("an answer")
        {
            asked = now;
        } else {
            // A machine that was stopped for so long proves nothing.
            assert!(asked.elapsed() >= at_least);
            return;
        }
    }
    granted_at_last(&*other, &wanted(subject, "job")).await;
    let after = asked.elapsed();
    assert!(after >= at_least, "given away after {after:?}");
}

/// LEA-2: a former holder can neither renew nor give back what is another's.
pub async fn a_former_holder_changes_nothing(subject: &dyn Subject) {
    let leases = subject.open().await;
    let mine = wanted(subject, "job");
    let former = granted(&*leases, &mine).await;
    leases.release(former.clone()).await.expect("an answer");
    // The same owner in a new term is another holder.
    for wanted in [wanted(subject, "job"), mine] {
        let now = granted(&*leases, &wanted).await;
        assert_eq!(leases.renew(former.clone(), subject.ttl()).await, Ok(false));
        assert_eq!(leases.release(former.clone()).await, Ok(()));
        let forged = Lease {
            owner: Owner::new(),
            ..now.clone()
        };
        assert_eq!(leases.renew(forged, subject.ttl()).await, Ok(false));
        assert_eq!(leases.renew(now.clone(), subject.ttl()).await, Ok(true));
        leases.release(now).await.expect("an answer");
    }
}

/// LEA-1: whoever lost the answer finds out by its owner whether it holds the name.
pub async fn a_lost_answer_is_found_by_its_owner(subject: &dyn Subject) {
    let leases = subject.open().await;
    let mut was_granted = false;
    for wait in 0..8 {
        let mine = wanted(subject, &format!("job {wait}"));
        // It may have been granted; nobody has heard of it.
        let _ = timeout(subject.ttl() / 50 * wait, leases.acquire(mine.clone())).await;
        let lease = match acquire(&*leases, &mine).await {
            Acquired::Granted(lease) => lease,
            Acquired::Held(holder) => {
                was_granted = true;
                holder.lease
            }
        };
        assert_eq!(lease.owner, mine.owner);
        leases.release(lease).await.expect("an answer");
    }
    assert!(was_granted, "no answer was lost after it was granted");
}

/// LEA-6: who waits for a name hears that it is free.
pub async fn a_change_is_hinted(subject: &dyn Subject) {
    let ttl = subject.ttl() * 20;
    let (leases, other) = (subject.open_for(ttl).await, subject.open_for(ttl).await);
    let long = Wanted {
        ttl,
        ..wanted(subject, "job")
    };
    let lease = granted(&*leases, &long).await;
    let mut hints = other.hints("job".to_owned());
    hints.next().await.expect("it never ends");
    leases.release(lease).await.expect("an answer");
    loop {
        hints.next().await.expect("it never ends");
        if let Acquired::Granted(_) = acquire(&*other, &long).await {
            return;
        }
    }
}

/// Any text will do for a name, and no two meet.
pub async fn any_name_will_do(subject: &dyn Subject) {
    let leases = subject.open().await;
    let long = "n".repeat(200);
    let names = [
        "a",
        "A",
        "a/b",
        "a.b",
        "a b",
        "a*",
        ">",
        "\u{e9}\u{1f980}",
        "-",
        "%2F",
        &long,
    ];
    for name in names {
        let wanted = wanted(subject, name);
        let lease = granted(&*leases, &wanted).await;
        let holder = leases.holder(name.to_owned()).await.expect("an answer");
        assert_eq!(holder.expect("it is held").lease, lease);
    }
}
