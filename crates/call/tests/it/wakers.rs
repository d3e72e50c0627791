//! Wakers are user code: they are woken and dropped outside of every lock.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use backstay_call::{Bulkhead, Pipeline};

use crate::common::*;

fn full() -> Pipeline {
    // Without a deadline, so that no timer holds a waker beside the line.
    let bulkhead = Bulkhead::limit(1).queue(3);
    let builder = Pipeline::empty("p").attempt_timeout(ms(1000));
    builder.bulkhead(bulkhead).build().unwrap()
}

/// Runs `scene` on a thread of its own, in a runtime, and fails where it deadlocks.
fn without_deadlock(scene: impl FnOnce() + Send + 'static) {
    let (done, ended) = channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let _context = runtime.enter();
        scene();
        let _ = done.send(());
    });
    ended
        .recv_timeout(Duration::from_secs(20))
        .expect("user code ran under a lock");
}

/// Asks the pipeline when it is woken.
struct AsksWhenWoken(Pipeline);

impl Wake for AsksWhenWoken {
    fn wake(self: Arc<Self>) {
        let _ = self.0.state();
        self.0.reconfigure(self.0.settings()).unwrap();
    }
}

/// CALL-11: a change of the options wakes those who wait outside of its lock.
#[test]
fn a_change_of_options_wakes_outside_of_its_lock() {
    without_deadlock(|| {
        let pipeline = full();
        let calls = by_error(&pipeline);
        let waker = Waker::from(Arc::new(AsksWhenWoken(pipeline.clone())));
        let mut holder = pin!(calls.call(async |_| pending().await));
        assert!(poll_once(holder.as_mut()).is_pending());
        let mut waits = pin!(calls.call(async |_| Ok(1)));
        assert!(
            waits
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        let mut settings = pipeline.settings();
        settings.bulkhead = Some(Bulkhead::limit(2).queue(3));
        pipeline.reconfigure(settings).unwrap();
        assert!(poll_once(waits.as_mut()).is_ready());
    });
}

/// Asks the pipeline when it is dropped, as the last waker of a task does that holds calls itself.
struct AsksWhenDropped(Pipeline);

impl Wake for AsksWhenDropped {
    fn wake(self: Arc<Self>) {}
}

impl Drop for AsksWhenDropped {
    fn drop(&mut self) {
        let _ = self.0.state();
    }
}

/// CALL-11: a queued call that moves to another task drops the waker of the first outside of the lock.
#[test]
fn an_old_waker_is_dropped_outside_of_the_lock() {
    without_deadlock(|| {
        let pipeline = full();
        let calls = by_error(&pipeline);
        let mut holder = pin!(calls.call(async |_| pending().await));
        assert!(poll_once(holder.as_mut()).is_pending());
        let mut waits = Box::pin(calls.call(async |_| Ok(1)));
        {
            let waker = Waker::from(Arc::new(AsksWhenDropped(pipeline.clone())));
            assert!(
                waits
                    .as_mut()
                    .poll(&mut Context::from_waker(&waker))
                    .is_pending()
            );
        }
        assert!(poll_once(waits.as_mut()).is_pending());
        {
            let waker = Waker::from(Arc::new(AsksWhenDropped(pipeline.clone())));
            assert!(
                waits
                    .as_mut()
                    .poll(&mut Context::from_waker(&waker))
                    .is_pending()
            );
        }
        drop(waits);
        let _ = pipeline.state();
    });
}

struct Blows;

impl Wake for Blows {
    fn wake(self: Arc<Self>) {
        blow();
    }
}

/// CALL-11: a waker that panics neither reaches whoever made room nor keeps the next one asleep.
#[test]
fn a_waker_that_panics_harms_nobody() {
    without_deadlock(|| {
        let pipeline = full();
        let mut holder = pin!(pipeline.call(async |_| pending::<Result<u32, Fail>>().await));
        assert!(poll_once(holder.as_mut()).is_pending());
        let mut blows = pin!(pipeline.call(async |_| pending::<Result<u32, Fail>>().await));
        let waker = Waker::from(Arc::new(Blows));
        assert!(
            blows
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let mut second = pin!(pipeline.call(async |_| pending::<Result<u32, Fail>>().await));
        assert!(
            second
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        let mut settings = pipeline.settings();
        settings.bulkhead = Some(Bulkhead::limit(3).queue(3));
        pipeline.reconfigure(settings).unwrap();
        assert_eq!(woken.times(), 1);
    });
}
