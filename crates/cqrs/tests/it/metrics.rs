//! What a consumer tells, and the documented table of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backstay_cqrs::metrics::{describe, of_consumers};
use backstay_cqrs::{Happened, Memory, Progress, Projection};
use backstay_store::Position;
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::time::sleep;

use super::world::{Command, Told, commands, events, memory};

const PAGE: &str = include_str!("../../../../docs/telemetry.md");

fn tell_all(lag: Duration) {
    describe();
    let tell = of_consumers();
    let at = Position::new(7);
    let (key, error) = ("account/1".to_owned(), "no".to_owned());
    let progress = progress(at, lag);
    for happened in [
        Happened::Began { at },
        Happened::At(progress),
        Happened::Stalled {
            error: error.clone(),
        },
        Happened::SetAside {
            key: key.clone(),
            position: at,
            error,
        },
        Happened::Halted { dead: 3 },
        Happened::Recovered { key },
    ] {
        tell("balances~2", &happened);
    }
}

fn progress(position: Position, lag: Duration) -> Progress {
    let mut progress = Progress::default();
    (progress.position, progress.lag, progress.dead) = (position, lag, 3);
    progress
}

/// CQ-2: the page lists each metric with its type and its label, and no other; the lag is one of them.
#[test]
fn the_page_lists_every_metric() {
    let recorder = PrometheusBuilder::new().build_recorder();
    metrics::with_local_recorder(&recorder, || tell_all(Duration::from_millis(1_500)));
    let page = recorder.handle().render();
    for line in [
        "backstay_consumer_lag{consumer=\"balances\",generation=\"2\"} 1.5\n",
        "backstay_consumer_position{consumer=\"balances\",generation=\"2\"} 7\n",
        "backstay_consumer_here{consumer=\"balances\",generation=\"2\"} 1\n",
    ] {
        assert!(page.contains(line), "{page}");
    }
    // The node that feeds it from now on tells the rest.
    metrics::with_local_recorder(&recorder, || of_consumers()("balances~2", &Happened::Lost));
    let lost = recorder.handle().render();
    for name in ["lag", "dead", "here"] {
        let line =
            format!("backstay_consumer_{name}{{consumer=\"balances\",generation=\"2\"}} 0\n");
        assert!(lost.contains(&line), "{lost}");
    }
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let counted: BTreeSet<String> = types.map(|line| line.replace(' ', " | ")).collect();
    let (_, rest) = PAGE
        .split_once("## Metrics of consumers")
        .expect("the heading");
    let rows = rest.lines().take_while(|line| !line.starts_with("## "));
    let listed = rows
        .filter(|line| line.starts_with("| `backstay."))
        .map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            assert_eq!(cells[4], "`consumer`, `generation`", "{line}");
            let name = cells[1].replace('`', "").replace('.', "_");
            format!("{name} | {}", cells[2])
        });
    assert_eq!(listed.collect::<BTreeSet<_>>(), counted);
}

/// CQ-2: the lag of a read side that stands still grows, and is nothing when it has taken all.
#[tokio::test]
async fn the_lag_grows_while_it_stands_still() {
    let store = memory();
    let accounts = commands(&store);
    let first = accounts.execute("1", &Command::Deposit(1)).await.unwrap();
    let told = Told::default();
    let (listener, is_open) = (told.clone(), Arc::new(AtomicBool::new(false)));
    let gate = is_open.clone();
    let sum: Memory<u64> = Projection::new(store, "sum", "account", events())
        .attempts(100)
        .on_event(move |name, happened| {
            assert_eq!(name, "sum");
            listener.lock().unwrap().push(happened.clone());
        })
        .memory(move |sum, _| {
            if !gate.load(Ordering::Relaxed) {
                return Err(std::io::Error::other("not yet"));
            }
            *sum += 1;
            Ok(())
        })
        .unwrap();
    let lags = || -> Vec<Duration> {
        let told = told.lock().unwrap();
        let lags = told.iter().filter_map(|happened| match happened {
            Happened::At(progress) => Some(progress.lag),
            _ => None,
        });
        lags.collect()
    };
    while lags().len() < 2 {
        sleep(Duration::from_millis(50)).await;
    }
    let stood = lags();
    assert!(
        Duration::from_secs(4) < stood[0] && stood[0] < stood[1],
        "{stood:?}"
    );
    is_open.store(true, Ordering::Relaxed);
    sum.at_least(first.position, Duration::from_secs(60))
        .await
        .unwrap();
    let before = lags().len();
    while lags().len() <= before {
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(sum.progress().lag, Duration::ZERO);
}
