use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use futures_util::future::{join_all, pending};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::{Fate, Faulty, Subject, granted_at_last, wanted};
use crate::{BootClock, Clock, Election, Leader, Leases, Moment, StepDown, Wanted};

fn candidate(subject: &dyn Subject, leases: impl Leases) -> Election {
    let builder = Election::builder(leases, "job").ttl(subject.ttl());
    builder.build().expect("good times")
}

/// LEA-2, LEA-6: a leader that resigns hands over, to a higher token.
pub async fn a_leader_hands_over(subject: &dyn Subject) {
    let first = candidate(subject, subject.open().await);
    let second = candidate(subject, subject.open().await);
    let mut token = 0;
    for _ in 0..3 {
        let one = first.campaign().await.expect("it has not resigned");
        assert!(one.token() > token, "{} after {token}", one.token());
        let (next, ()) = tokio::join!(second.campaign(), one.release());
        let next = next.expect("it has not resigned");
        token = next.token();
        next.release().await;
    }
    let led = first.campaign().await.expect("it has not resigned");
    let work = led.run(pending::<()>());
    let (lost, ()) = tokio::join!(work, first.resign());
    assert_eq!(lost.map_err(|lost| lost.reason), Err(StepDown::Resigned));
    assert!(first.campaign().await.is_err());
    assert!(first.run(|_| pending::<()>()).await.is_err());
    let _free = second.campaign().await.expect("it has not resigned");
}

/// LEA-3, LEA-4: a leader that hears nothing any more stops its work before anybody else leads.
pub async fn work_is_stopped_before_anybody_else_leads(subject: &dyn Subject) {
    for fate in [Fate::LOST, Fate::SILENCE] {
        let cut = Arc::new(AtomicBool::new(false));
        let is_cut = cut.clone();
        let fates = move || {
            if is_cut.load(SeqCst) {
                fate
            } else {
                Fate::default()
            }
        };
        let first = candidate(subject, Faulty::new(subject.open().await, fates));
        let second = candidate(subject, subject.open().await);
        let leads = first.campaign().await.expect("it has not resigned");
        cut.store(true, SeqCst);
        let stopped = async {
            let lost = leads.run(pending::<()>()).await.expect_err("it is pending");
            (BootClock.now(), lost.reason)
        };
        let elected = async {
            let next = second.campaign().await.expect("it has not resigned");
            (BootClock.now(), next)
        };
        let ((stopped, reason), (elected, next)) = tokio::join!(stopped, elected);
        assert!(
            stopped < elected,
            "stopped at {stopped:?}, next at {elected:?}"
        );
        assert_eq!(reason, StepDown::TimeUp);
        assert!(next.token() > leads.token());
        assert!(leads.run(async {}).await.is_err());
        next.release().await;
    }
}

/// LEA-3: a lease whose release was lost lapses, and then another leads.
pub async fn a_lost_release_lapses(subject: &dyn Subject) {
    let cut = Arc::new(AtomicBool::new(false));
    let is_cut = cut.clone();
    let fates = move || {
        if is_cut.load(SeqCst) {
            Fate::LOST
        } else {
            Fate::default()
        }
    };
    let first = candidate(subject, Faulty::new(subject.open().await, fates));
    let leads = first.campaign().await.expect("it has not resigned");
    cut.store(true, SeqCst);
    leads.release().await;
    let second = candidate(subject, subject.open().await);
    let _lapsed = second.campaign().await.expect("it has not resigned");
}

/// From when to when somebody has worked under a token.
#[derive(Clone, Copy, Debug)]
struct Reign {
    token: u64,
    from: Moment,
    to: Moment,
}

/// LEA-1, LEA-2, LEA-3: whatever is late or lost between candidates and home, nobody works while another does.
pub async fn late_and_lost_answers_never_make_two_leaders(subject: &dyn Subject) {
    let ttl = subject.ttl();
    let (tell, mut reigns) = mpsc::unbounded_channel();
    let candidates = join_all((0..3).map(|_| subject.open())).await;
    let campaigns = candidates.into_iter().map(|leases| {
        let fates = move || {
            let up_to = |most: Duration| most.mul_f64(fastrand::f64());
            match fastrand::u8(..20) {
                0..2 => Fate::LOST,
                2..4 => Fate::SILENCE,
                4..7 => Fate {
                    before: up_to(ttl),
                    ..Fate::default()
                },
                7..10 => Fate {
                    after: up_to(ttl),
                    ..Fate::default()
                },
                _ => Fate::default(),
            }
        };
        let election = candidate(subject, Faulty::new(leases, fates));
        let tell = tell.clone();
        async move {
            loop {
                let leads = election.campaign().await.expect("it has not resigned");
                let from = BootClock.now();
                let some_work = sleep(ttl.mul_f64(2.0 * fastrand::f64()));
                let _ = leads.run(some_work).await;
                let (token, to) = (leads.token(), BootClock.now());
                let _ = tell.send(Reign { token, from, to });
            }
        }
    });
    let _ = timeout(ttl * 20, join_all(campaigns)).await;
    let mut told = Vec::new();
    while let Ok(reign) = reigns.try_recv() {
        told.push(reign);
    }
    told.sort_by_key(|reign| reign.from);
    assert!(told.len() >= 3, "too few to show anything: {told:?}");
    for two in told.windows(2) {
        let [one, next] = two else { continue };
        assert!(
            one.to <= next.from && one.token < next.token,
            "{one:?} and {next:?}"
        );
    }
}

/// Observers hear of each leader, and of none.
pub async fn observers_see_who_leads(subject: &dyn Subject) {
    let builder = Election::builder(subject.open().await, "job").ttl(subject.ttl());
    let election = builder.about("here").build().expect("good times");
    let mut observer = candidate(subject, subject.open().await).observe();
    assert_eq!(observer.next().await, None);
    let mut leads = election.campaign().await.expect("it has not resigned");
    loop {
        let leader = observer.next().await.expect("somebody leads");
        assert_eq!(leader.token, leads.token());
        // It is known a moment before it has said who it is.
        if !leader.about.is_empty() {
            assert_eq!(leader.about, "here");
            break;
        }
    }
    leads.release().await;
    assert_eq!(observer.next().await, None);
    leads = election.campaign().await.expect("it has not resigned");
    let token = leads.token();
    let next = observer.next().await;
    assert!(
        matches!(next, Some(Leader { token: told, .. }) if told == token),
        "{next:?}"
    );
}

/// LEA-3: a candidate that is dropped in the middle of whatever it does leaves no lease behind.
pub async fn dropped_candidates_leave_nothing_behind(subject: &dyn Subject) {
    let long = subject.ttl() * 100;
    let leases = subject.open_for(long).await;
    for step in 0..12_u32 {
        let builder = Election::builder(subject.open_for(long).await, "job").ttl(long);
        let election = builder.build().expect("good times");
        let running = election.run(|_| pending::<()>());
        let _ = timeout(Duration::from_millis(u64::from(step * step)), running).await;
        election.resign().await;
        assert_eq!(
            leases.holder("job".to_owned()).await,
            Ok(None),
            "step {step}"
        );
    }
    let long = Wanted {
        ttl: long,
        ..wanted(subject, "job")
    };
    granted_at_last(&*leases, &long).await;
}
