use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use backstay_core::{Invalid, Moment};
use backstay_store::Owner;
use futures_util::StreamExt;
use tokio::select;
use tokio::sync::{oneshot, watch};

use crate::event::{Event, Listener};
use crate::keeper::{abort_if_stuck, by, keep};
use crate::leases::{Acquired, Holder, Lease, Leases, Wanted};
use crate::term::Term;
use crate::timing::{Explanation, Timing};
use crate::{BootClock, Clock, Leadership, Observer};

const DEFAULT_TTL: Duration = Duration::from_secs(10);
const LONGEST_NAME: usize = 200;
const LONGEST_ABOUT: usize = 1_000;

/// One candidate among all that want to lead under a name. Cheap to clone; all clones are the same candidate.
#[derive(Clone, Debug)]
pub struct Election(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    name: String,
    about: String,
    leases: Arc<dyn Leases>,
    timing: Timing,
    clock: Arc<dyn Clock>,
    listener: Listener,
    aborts: bool,
    has_resigned: watch::Sender<bool>,
    /// How many tasks ask for the lease or keep it.
    busy: watch::Sender<usize>,
}

/// Options of an [`Election`].
///
/// All times follow from the time to live, unless they are set.
#[derive(Debug)]
#[must_use = "it does nothing until it is built"]
pub struct ElectionBuilder {
    name: String,
    about: String,
    leases: Arc<dyn Leases>,
    ttl: Duration,
    renew_every: Option<Duration>,
    request_timeout: Option<Duration>,
    drain: Option<Duration>,
    margin: Option<Duration>,
    drift: Option<f64>,
    clock: Arc<dyn Clock>,
    listener: Listener,
    aborts: bool,
}

impl ElectionBuilder {
    /// What others shall know of this candidate when it leads, such as its address: at most 1,000 bytes, none by default.
    pub fn about(mut self, about: impl Into<String>) -> Self {
        self.about = about.into();
        self
    }

    /// For how long a lease is held without being renewed: 100 ms to 24 h, 10 s by default.
    ///
    /// Shorter, and a dead leader is replaced sooner; longer, and a leader survives longer troubles of the lease's home.
    /// It has to be the same for all candidates.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Time between two renewals, give or take a tenth: a quarter of the time to live by default.
    pub fn renew_every(mut self, time: Duration) -> Self {
        self.renew_every = Some(time);
        self
    }

    /// How long the lease's home may take to answer: a fifth of the time to live by default.
    pub fn request_timeout(mut self, time: Duration) -> Self {
        self.request_timeout = Some(time);
        self
    }

    /// How long before the lease is over work is stopped: a tenth of the time to live by default.
    ///
    /// Work is dropped at its next `.await`; what it takes to get there, and to drop it, should be less than this.
    pub fn drain(mut self, time: Duration) -> Self {
        self.drain = Some(time);
        self
    }

    /// How long before the lease is over it is taken for over: at least 2 ms, a hundredth of the time to live by default.
    pub fn margin(mut self, time: Duration) -> Self {
        self.margin = Some(time);
        self
    }

    /// By how much, as a share, the clocks of a leader and the lease's home may differ in speed: 0 to 0.1, 0.01 by
    /// default. What they show does not matter.
    pub fn drift(mut self, share: f64) -> Self {
        self.drift = Some(share);
        self
    }

    /// Aborts the process when work under a lease has not stopped by the end of the lease; off by default.
    ///
    /// For work that may block its thread and whose effects can't be fenced. It takes a thread while it leads, and does not
    /// lead where that can't be started. After a suspend it may take a second to notice.
    pub fn abort_if_stuck(mut self) -> Self {
        self.aborts = true;
        self
    }

    /// Hears what happens. It is called by whoever notices, and must not block. A panic of it changes nothing.
    pub fn on_event(mut self, hear: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.listener = Listener::new(hear);
        self
    }

    /// Another clock than [`BootClock`].
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Checks that under these options two never lead at once.
    pub fn build(self) -> Result<Election, Invalid> {
        let given = self.timing();
        given.check()?;
        let name = &self.name;
        let is_name = (1..=LONGEST_NAME).contains(&name.len()) && !name.contains(char::is_control);
        if !is_name {
            let shown: String = name.chars().take(40).collect();
            let limit = format!("must be 1 to {LONGEST_NAME} bytes without control characters");
            return Err(Invalid::new(
                "name",
                format!("{shown:?}, {} bytes", name.len()),
                limit,
            ));
        }
        if self.about.len() > LONGEST_ABOUT {
            let limit = format!("must be at most {LONGEST_ABOUT} bytes");
            return Err(Invalid::new("about, bytes", self.about.len(), limit));
        }
        self.leases.check(name, self.ttl)?;
        Ok(Election(Arc::new(Shared {
            name: self.name,
            about: self.about,
            leases: self.leases,
            timing: given,
            clock: self.clock,
            listener: self.listener,
            aborts: self.aborts,
            has_resigned: watch::Sender::new(false),
            busy: watch::Sender::new(0),
        })))
    }

    fn timing(&self) -> Timing {
        let usual = Timing::of(self.ttl);
        Timing {
            ttl: self.ttl,
            renew_every: self.renew_every.unwrap_or(usual.renew_every),
            request_timeout: self.request_timeout.unwrap_or(usual.request_timeout),
            drain: self.drain.unwrap_or(usual.drain),
            margin: self.margin.unwrap_or(usual.margin),
            drift: self.drift.unwrap_or(usual.drift),
        }
    }
}

/// The candidate was told to resign, and does not lead again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the candidate for {name:?} has resigned")]
#[non_exhaustive]
pub struct Resigned {
    /// What it could have led.
    pub name: String,
}

impl Election {
    /// A candidate for a name: 1 to 200 bytes without control characters.
    pub fn builder(leases: impl Leases, name: impl Into<String>) -> ElectionBuilder {
        ElectionBuilder {
            name: name.into(),
            about: String::new(),
            leases: Arc::new(leases),
            ttl: DEFAULT_TTL,
            renew_every: None,
            request_timeout: None,
            drain: None,
            margin: None,
            drift: None,
            clock: Arc::new(BootClock),
            listener: Listener::default(),
            aborts: false,
        }
    }

    /// Why two never lead at once, and how long it can take until one does.
    pub fn explain(&self) -> Explanation {
        Explanation {
            name: self.0.name.clone(),
            timing: self.0.timing,
        }
    }

    /// Does work each time it leads, until the work returns.
    ///
    /// When it leads no more the work is dropped, as in [`Leadership::run`], and made anew in the next term. When the work
    /// returns, the lease is given back. A second `run` of the same candidate waits, as a second
    /// [`campaign`](Self::campaign) does.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// use backstay_lease::Election;
    /// use backstay_store::{Batch, Event, MemoryStore};
    ///
    /// let store = MemoryStore::new().into_store();
    /// let election = Election::builder(store.clone(), "sweeper").build()?;
    /// let sweep = async |leadership: backstay_lease::Leadership| {
    ///     let swept = Batch::new().append("sweeps", Event::new("swept", ""));
    ///     store.commit(swept.fenced(leadership.fence())).await
    /// };
    /// election.run(sweep).await??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`Resigned`] once it was told to. While the lease's home can't be reached it goes on asking.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with time enabled.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the work; the lease is then given back by a task of its own, which [`resign`](Self::resign) waits for.
    pub async fn run<T, W>(&self, mut work: impl FnMut(Leadership) -> W) -> Result<T, Resigned>
    where
        W: Future<Output = T>,
    {
        loop {
            let leadership = self.campaign().await?;
            if let Ok(done) = leadership.run(work(leadership.clone())).await {
                leadership.release().await;
                return Ok(done);
            }
            leadership.release().await;
        }
    }

    /// Waits until it leads.
    ///
    /// A candidate leads one term at a time: while one lasts, the next `campaign` or `run` waits for its end, as it would for
    /// another candidate's.
    ///
    /// # Errors
    ///
    /// [`Resigned`] once it was told to. While the lease's home can't be reached it goes on asking.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with time enabled.
    ///
    /// # Cancel safety
    ///
    /// A lease that is granted after this was dropped is given back.
    pub async fn campaign(&self) -> Result<Leadership, Resigned> {
        let (shared, timing) = (&self.0, &self.0.timing);
        let mut resigned = shared.has_resigned.subscribe();
        let mut hints = shared.leases.hints(shared.name.clone());
        let mut open = None;
        loop {
            if *resigned.borrow_and_update() {
                let name = shared.name.clone();
                return Err(Resigned { name });
            }
            let ask = open.take().unwrap_or_else(|| Ask::new(&*shared.clock));
            let wait = match self.ask(ask).await {
                Asked::Granted(leadership) => return Ok(leadership),
                Asked::Held(holder) => timing.until_free(holder.left, fastrand::f64()),
                Asked::Open => {
                    open = Some(ask);
                    timing.until_campaign_again(fastrand::f64())
                }
                Asked::Late => timing.until_campaign_again(fastrand::f64()),
            };
            let next = shared.clock.now().plus(wait);
            let _ = by(&*shared.clock, next, async {
                select! {
                    biased;
                    _ = resigned.changed() => {}
                    // Where nothing is known of the holder a hint is no reason to ask sooner.
                    _ = hints.next(), if open.is_none() => {}
                }
            })
            .await;
        }
    }

    /// Asks in a task of its own, so that nobody who goes away leaves a lease behind.
    async fn ask(&self, ask: Ask) -> Asked {
        let (reply, answer) = oneshot::channel();
        let shared = self.0.clone();
        // Counted before it looks: whoever resigns after that look waits for it.
        let busy = Busy::new(&shared);
        if *shared.has_resigned.borrow() {
            return Asked::Late;
        }
        tokio::spawn(async move {
            let asked = shared.ask(ask).await;
            // A leadership that nobody takes ends when it is dropped.
            let _ = reply.send(asked);
            drop(busy);
        });
        // The task does not panic, and ends with the runtime only.
        answer.await.unwrap_or(Asked::Open)
    }

    /// Follows who leads.
    pub fn observe(&self) -> Observer {
        let shared = &self.0;
        Observer::new(
            shared.leases.clone(),
            shared.name.clone(),
            shared.clock.clone(),
            shared.timing,
        )
    }

    /// Gives up for good: stops the work, gives the lease back, and waits until that is done or the lease is over.
    ///
    /// Call it before the process ends, so that the next leader need not wait for the lease to lapse.
    ///
    /// # Cancel safety
    ///
    /// Once polled it goes on by itself.
    pub async fn resign(&self) {
        self.0.has_resigned.send_replace(true);
        let mut busy = self.0.busy.subscribe();
        // The sender is in `self`.
        let _ = busy.wait_for(|busy| *busy == 0).await;
    }
}

/// Under one owner as long as it is open what came of it: a request that is late may still be granted.
#[derive(Clone, Copy, Debug)]
struct Ask {
    owner: Owner,
    /// Before it was asked for the first time.
    since: Moment,
}

impl Ask {
    fn new(clock: &dyn Clock) -> Self {
        Self {
            owner: Owner::new(),
            since: clock.now(),
        }
    }
}

#[derive(Debug)]
enum Asked {
    Granted(Leadership),
    Held(Holder),
    /// Nobody knows.
    Open,
    /// It was granted, too long ago to be of use, or can't be used.
    Late,
}

impl Shared {
    async fn ask(self: &Arc<Self>, ask: Ask) -> Asked {
        let wanted = Wanted {
            name: self.name.clone(),
            owner: ask.owner,
            about: self.about.clone(),
            ttl: self.timing.ttl,
        };
        let until = self.clock.now().plus(self.timing.request_timeout);
        let lease = match by(&*self.clock, until, self.leases.acquire(wanted)).await {
            Some(Ok(Acquired::Granted(lease))) => lease,
            // By an earlier request, whose answer was lost. It is counted from before that one.
            Some(Ok(Acquired::Held(holder))) if holder.lease.owner == ask.owner => holder.lease,
            Some(Ok(Acquired::Held(holder))) => return Asked::Held(holder),
            failed => {
                let error = failed.and_then(Result::err);
                self.listener.hear(&Event::CampaignFailed { error });
                return Asked::Open;
            }
        };
        self.lead(lease, ask.since).await
    }

    async fn lead(self: &Arc<Self>, lease: Lease, asked: Moment) -> Asked {
        if let Some(leadership) = self.begin(lease.clone(), asked) {
            return Asked::Granted(leadership);
        }
        let until = self.clock.now().plus(self.timing.request_timeout);
        let _ = by(&*self.clock, until, self.leases.release(lease)).await;
        Asked::Late
    }

    /// Begins the term of a lease that was asked for at a moment. None if it is as good as over, or if nobody could end
    /// this process in time.
    fn begin(self: &Arc<Self>, lease: Lease, asked: Moment) -> Option<Leadership> {
        let span = self.timing.span(asked);
        let now = self.clock.now();
        if span.stop_at <= now {
            return None;
        }
        let (clock, listener) = (self.clock.clone(), self.listener.clone());
        let term = Arc::new(Term::new(lease, span, self.timing, clock, listener));
        if self.aborts {
            abort_if_stuck(term.clone()).ok()?;
        }
        self.listener.hear(&Event::Elected {
            token: term.lease.token,
            valid_for: span.stop_at.since(now),
        });
        let mut resigned = self.has_resigned.subscribe();
        let busy = Busy::new(self);
        let (kept, leases) = (term.clone(), self.leases.clone());
        tokio::spawn(async move {
            let resigned = async {
                if resigned.wait_for(|resigned| *resigned).await.is_err() {
                    // There is no election any more that could be told to resign.
                    std::future::pending::<()>().await;
                }
            };
            keep(kept, leases, asked, resigned).await;
            drop(busy);
        });
        Some(Leadership::new(term))
    }
}

/// A task that asks for the lease or keeps it.
struct Busy(Arc<Shared>);

impl Busy {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.busy.send_modify(|busy| *busy += 1);
        Self(shared.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.send_modify(|busy| *busy -= 1);
    }
}

impl fmt::Debug for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Busy")
    }
}
