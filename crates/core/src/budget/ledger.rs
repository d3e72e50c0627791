use super::BudgetOptions;
use crate::sync::{Mutex, lock};
use crate::window::{BUCKETS, TimeWindow};
use crate::{Invalid, Moment};

const TICK_NANOS: u64 = 1_000_000_000;

/// Counts calls, and gives out tokens for extra attempts. The module's text states the bound it keeps.
///
/// Counting a call is lock-free. Drawing takes a short lock, once for an attempt that failed or is late.
#[derive(Debug)]
pub struct Ledger {
    calls: TimeWindow<1>,
    book: Mutex<Book>,
}

/// What an extra attempt is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Extra {
    /// The attempt before has failed. May draw on the reserve.
    Retry,
    /// The attempt before is still running. Only what calls have earned.
    Hedge,
}

/// The right to make one extra attempt.
///
/// Taken before the wait that precedes the attempt and held until the attempt ends, then given back to the
/// ledger it came from by [`Ledger::settle`] or [`Ledger::refund`]. A token that is lost stays on the books:
/// the budget gets smaller by it, never larger.
#[derive(Debug)]
#[must_use = "a token that is not settled or refunded stays on the books for ever"]
pub struct Token {
    pub(super) source: Source,
    pub(super) tick: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Earned,
    Reserve,
}

/// The state of a ledger at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BudgetSnapshot {
    /// Calls of the last ten ticks.
    pub calls: u64,
    /// Tokens drawn and not yet given back, the reserve's included.
    pub extra_in_progress: u64,
    /// Tokens earned by calls whose attempts ended in the last ten ticks.
    pub extra_spent: u64,
    /// Retries that would be granted now, the reserve's included.
    pub available: u64,
}

/// What changes under the lock.
#[derive(Debug)]
struct Book {
    options: BudgetOptions,
    /// The newest tick seen. Never goes back.
    tick: u64,
    /// Earned tokens that are out.
    held: u64,
    /// Earned tokens whose attempts ended, by tick.
    spent: [u64; TICKS],
    /// Reserve tokens that are out.
    reserve_held: u64,
    /// Reserve tokens given out in this tick.
    reserve_used: u32,
}

impl Ledger {
    /// An empty ledger, unless the options are out of range.
    pub fn new(options: BudgetOptions) -> Result<Self, Invalid> {
        options.validate("budget")?;
        Ok(Self {
            calls: TimeWindow::new(),
            book: Mutex::new(Book {
                options,
                tick: 0,
                held: 0,
                spent: [0; TICKS],
                reserve_held: 0,
                reserve_used: 0,
            }),
        })
    }

    /// The options in force.
    pub fn options(&self) -> BudgetOptions {
        lock(&self.book).options.clone()
    }

    /// Replaces the options; counts and tokens stay as they are.
    pub fn set(&self, options: BudgetOptions) -> Result<(), Invalid> {
        options.validate("budget")?;
        lock(&self.book).options = options;
        Ok(())
    }

    /// Counts one call: its first attempt, not its repeats.
    pub fn on_call(&self, now: Moment) {
        self.calls.add(0, tick(now), 0);
    }

    /// A token for one extra attempt, if there is one.
    pub fn draw(&self, extra: Extra, now: Moment) -> Option<Token> {
        let mut book = lock(&self.book);
        book.advance(now);
        let calls = self.calls_until(book.tick);
        let source = if book.earned_left(calls) > 0 {
            book.held += 1;
            Source::Earned
        } else if extra == Extra::Retry && book.reserve_left() > 0 {
            book.reserve_used += 1;
            book.reserve_held += 1;
            Source::Reserve
        } else {
            return None;
        };
        Some(Token {
            source,
            tick: book.tick,
        })
    }

    /// Takes a token back whose attempt never started, as if it had not been drawn.
    #[expect(clippy::needless_pass_by_value, reason = "a token is given back once")]
    pub fn refund(&self, token: Token, now: Moment) {
        let mut book = lock(&self.book);
        book.advance(now);
        book.take_back(token.source);
        if token.source == Source::Reserve && token.tick == book.tick {
            book.reserve_used = book.reserve_used.saturating_sub(1);
        }
    }

    /// Takes a token back whose attempt has ended, however it ended.
    #[expect(clippy::needless_pass_by_value, reason = "a token is given back once")]
    pub fn settle(&self, token: Token, now: Moment) {
        let mut book = lock(&self.book);
        book.advance(now);
        book.take_back(token.source);
        if token.source == Source::Earned {
            let place = place(book.tick);
            book.spent[place] += 1;
        }
    }

    /// The state as of `now`.
    pub fn snapshot(&self, now: Moment) -> BudgetSnapshot {
        let mut book = lock(&self.book);
        book.advance(now);
        let calls = self.calls_until(book.tick);
        BudgetSnapshot {
            calls,
            extra_in_progress: book.held + book.reserve_held,
            extra_spent: book.spent.iter().sum(),
            available: book.earned_left(calls) + book.reserve_left(),
        }
    }

    fn calls_until(&self, tick: u64) -> u64 {
        self.calls.sum(0, tick)[0]
    }
}

/// As many as the window has [`BUCKETS`].
const TICKS: usize = 10;
const _: () = assert!(TICKS as u64 == BUCKETS);

/// Where a tick's spending lies.
fn place(tick: u64) -> usize {
    (tick % BUCKETS) as usize
}

impl Book {
    fn advance(&mut self, now: Moment) {
        let now = tick(now);
        if now <= self.tick {
            return;
        }
        for passed in self.tick + 1..=now.min(self.tick + BUCKETS) {
            self.spent[place(passed)] = 0;
        }
        self.tick = now;
        self.reserve_used = 0;
    }

    fn earned_left(&self, calls: u64) -> u64 {
        let earned = calls * self.options.ratio_milli() / 1_000;
        earned.saturating_sub(self.held + self.spent.iter().sum::<u64>())
    }

    /// What this second's reserve has left, while no more than a window's reserve is out.
    ///
    /// Without the second limit, attempts that hang would add the reserve of every second to what is in
    /// progress.
    fn reserve_left(&self) -> u64 {
        let reserve = u64::from(self.options.reserve());
        let this_tick = reserve.saturating_sub(u64::from(self.reserve_used));
        this_tick.min((reserve * BUCKETS).saturating_sub(self.reserve_held))
    }

    fn take_back(&mut self, source: Source) {
        let held = match source {
            Source::Earned => &mut self.held,
            Source::Reserve => &mut self.reserve_held,
        };
        // A token of another ledger must not wrap this one's counts.
        *held = held.saturating_sub(1);
    }
}

fn tick(now: Moment) -> u64 {
    now.as_nanos() / TICK_NANOS
}
