//! From a leader's end to the next leader's first accepted write, with real processes.

mod candidate;
mod table;

use std::env;
use std::io;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use backstay::lease::{BootClock, Clock};
use backstay::store::Version;
use rustix::process::Signal;
use serde::Serialize;
use tempfile::TempDir;

pub(crate) use self::candidate::stand;
use self::candidate::{Candidate, Home};
use crate::cli::{Cli, Part};
use crate::results;
use crate::stats::percentile;

/// The time to live of the leases.
const TTL: Duration = Duration::from_secs(3);
/// How many stand for each lease at any time.
const STANDING: usize = 3;
const ENDS: usize = 50;
const ENDS_QUICK: usize = 3;

/// How a leader ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum End {
    /// By `kill -9`.
    Killed,
    /// It is stopped, and goes on when another leads.
    Stopped,
    /// It gives its lease back.
    HandsOver,
}

/// The ends of one kind at one home.
#[derive(Clone, Debug, Serialize)]
struct Row {
    home: &'static str,
    end: End,
    times: usize,
    p50_ms: f64,
    p99_ms: f64,
    /// Writes of a former leader after one of a later leader, in the log itself.
    stale_writes: u64,
}

pub(crate) fn run(cli: &Cli) -> Result<()> {
    let homes = homes(cli)?;
    let json = cli.json();
    results::check_writable(&json)?;
    let ends = if cli.quick { ENDS_QUICK } else { ENDS };
    let mut rows = Vec::new();
    for (name, home) in &homes {
        let all = [End::Killed, End::HandsOver, End::Stopped];
        // A process that is stopped in the middle of a commit holds a file against everybody until it goes on.
        let of_home = if matches!(home, Home::Sqlite(_)) {
            &all[..2]
        } else {
            &all
        };
        for &end in of_home {
            eprintln!("{name}: {ends} leaders end ({end:?})");
            rows.push(measure(name, home, end, ends)?);
        }
    }
    results::write(&json, &rows)?;
    table::print(&mut io::stdout().lock(), &rows)?;
    Ok(())
}

/// The homes whose name has the text, or all; without the server that is left out.
fn homes(cli: &Cli) -> Result<Vec<(&'static str, Home)>> {
    let text = cli.filter.as_deref().unwrap_or_default();
    let named = |name: &str| name.contains(text);
    let mut homes = Vec::new();
    if named("sqlite") {
        std::fs::create_dir_all(cli.dir())?;
        let folder = TempDir::with_prefix_in("failover-", cli.dir())?;
        homes.push(("sqlite", Home::Sqlite(folder)));
    }
    if named("postgres") && !cli.is_without(Part::Postgres) {
        let url = env::var("BACKSTAY_POSTGRES_URL").context(
            "no Postgres server: type `cargo xtask bench failover`, or leave it out with \
             `--without postgres`",
        )?;
        homes.push(("postgres", Home::Postgres(url)));
    }
    ensure!(
        !homes.is_empty(),
        "no home has {text:?} in its name; there are: sqlite, postgres"
    );
    Ok(homes)
}

fn measure(name: &'static str, home: &Home, end: End, ends: usize) -> Result<Row> {
    // Each kind of end has a lease and a log of its own.
    let job = format!("{end:?}");
    let start = || Candidate::start(home, &job, TTL);
    let mut standing = (0..STANDING).map(|_| start()).collect::<Result<Vec<_>>>()?;
    let mut led = next_leader(&standing, 0)?;
    let mut took = Vec::new();
    for turn in 0..ends {
        // Somewhere between two renewals, at another place each time.
        let share = (turn as f64 + 0.5) / ends as f64;
        std::thread::park_timeout(TTL.mul_f64(0.25 * share));
        let leader = standing.swap_remove(led.candidate);
        let began = BootClock.now();
        match end {
            End::Killed => leader.kill()?,
            End::HandsOver => leader.resign(),
            End::Stopped => {
                leader.stop_before_write()?;
                led = next_leader(&standing, led.token)?;
                leader.signal(Signal::CONT)?;
                standing.push(leader);
            }
        }
        if end != End::Stopped {
            led = next_leader(&standing, led.token)?;
            standing.push(start()?);
        }
        took.push(led.wrote_at.since(began).as_secs_f64() * 1e3);
    }
    took.sort_by(f64::total_cmp);
    let tokens = home.tokens(&job, Version::START)?;
    let stale = tokens.windows(2).filter(|two| two[0] > two[1]).count();
    ensure!(
        tokens.len() > ends,
        "{} of {ends} leaders have written",
        tokens.len()
    );
    Ok(Row {
        home: name,
        end,
        times: took.len(),
        p50_ms: percentile(&took, 50),
        p99_ms: percentile(&took, 99),
        stale_writes: stale as u64,
    })
}

/// A leader's first accepted write.
struct Led {
    candidate: usize,
    token: u64,
    wrote_at: backstay::lease::Moment,
}

/// Waits for the first write of a later leader than that of `token`.
fn next_leader(standing: &[Candidate], token: u64) -> Result<Led> {
    let limit = TTL * 10;
    let since = BootClock.now();
    loop {
        for (candidate, one) in standing.iter().enumerate() {
            if let Some((wrote, wrote_at)) = one.first_write().filter(|(wrote, _)| *wrote > token) {
                return Ok(Led {
                    candidate,
                    token: wrote,
                    wrote_at,
                });
            }
        }
        ensure!(
            BootClock.now().since(since) < limit,
            "nobody leads after {limit:?}"
        );
        std::thread::park_timeout(Duration::from_millis(2));
    }
}
