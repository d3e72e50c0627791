//! Progress while a run goes on: a table that is redrawn, or a line now and then.

use std::fmt::Write;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::terminal::{is_terminal, say};
use crate::engine::DEADLINE;
use crate::engine::measure;
use crate::engine::plan::Plan;
use crate::engine::running::Running;

const REDRAWN_EVERY: Duration = Duration::from_millis(500);
const LINE_EVERY: Duration = Duration::from_secs(5);
const BAR: usize = 40;

/// Shows goodput of each arm until the future is dropped.
pub(crate) async fn show(start: Instant, plan: Plan, arms: &[Running]) {
    let redraw = is_terminal();
    let mut drawn = 0;
    loop {
        sleep(if redraw { REDRAWN_EVERY } else { LINE_EVERY }).await;
        let elapsed = start.elapsed().min(plan.end);
        let rates = recent(elapsed, arms);
        if redraw {
            let table = table(elapsed, &plan, &rates);
            // Back to the first line of what was drawn before, and clear from there.
            let back = if drawn == 0 {
                String::new()
            } else {
                format!("\x1b[{drawn}A\x1b[J")
            };
            say(&format!("{back}{}", table.trim_end()));
            drawn = table.lines().count();
        } else {
            say(&line(elapsed, &plan, &rates));
        }
    }
}

/// Good answers among the calls of the last second whose deadline has passed, and calls.
struct Recent {
    name: &'static str,
    good: usize,
    offered: usize,
}

fn recent(elapsed: Duration, arms: &[Running]) -> Vec<Recent> {
    let until = elapsed.saturating_sub(DEADLINE);
    let span = until.saturating_sub(Duration::from_secs(1))..until;
    arms.iter()
        .map(|running| {
            let calls = running.log.due_in(&span);
            Recent {
                name: running.arm.name,
                good: measure::good(&calls),
                offered: calls.len(),
            }
        })
        .collect()
}

fn line(elapsed: Duration, plan: &Plan, rates: &[Recent]) -> String {
    let mut line = format!("{:>3} s  {:<20}", elapsed.as_secs(), plan.phase_at(elapsed));
    for rate in rates {
        let _ = write!(line, "  {} {}/s", rate.name, rate.good);
    }
    line
}

fn table(elapsed: Duration, plan: &Plan, rates: &[Recent]) -> String {
    let mut table = format!(
        "{} of {} s   {}\n",
        elapsed.as_secs(),
        plan.end.as_secs(),
        plan.phase_at(elapsed)
    );
    for rate in rates {
        let filled = (BAR * rate.good)
            .checked_div(rate.offered)
            .unwrap_or(0)
            .min(BAR);
        let (full, empty) = ("#".repeat(filled), ".".repeat(BAR - filled));
        let _ = writeln!(
            table,
            "  {:<24} {full}{empty} {:>4}/s",
            rate.name, rate.good
        );
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_names_time_phase_and_arms() {
        let second = Duration::from_secs(1);
        let plan = Plan {
            counted_from: second,
            fault_from: 2 * second,
            fault_until: 4 * second,
            end: 9 * second,
        };
        let rates = [Recent {
            name: "none",
            good: 150,
            offered: 300,
        }];
        assert_eq!(
            line(7 * second, &plan, &rates),
            "  7 s  fault ended 3 s ago   none 150/s"
        );
        let table = table(7 * second, &plan, &rates);
        assert_eq!(table.matches('#').count(), BAR / 2);
        assert!(table.starts_with("7 of 9 s   fault ended 3 s ago\n"));
    }
}
