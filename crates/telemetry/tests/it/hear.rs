//! A `tracing` subscriber and a Prometheus recorder that keep what they are told by one piece of work.

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex, PoisonError};

use metrics_exporter_prometheus::PrometheusBuilder;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// One `tracing` event.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) target: String,
    pub(crate) name: &'static str,
    pub(crate) level: String,
    /// The span that it stands in.
    pub(crate) span: Option<&'static str>,
    /// The fields that the event may have, but the message.
    pub(crate) declared: Vec<&'static str>,
    /// The fields that it has, as `key=value`, but the message.
    pub(crate) fields: String,
}

#[derive(Clone, Default)]
struct Ear(Arc<Mutex<Vec<Heard>>>);

struct Text(String);

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() != "message" {
            let _ = write!(self.0, " {field}={value:?}");
        }
    }
}

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for Ear {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Text(String::new());
        event.record(&mut fields);
        let metadata = event.metadata();
        let declared = metadata.fields().iter().map(|field| field.name());
        let heard = Heard {
            target: metadata.target().to_owned(),
            name: metadata.name(),
            level: metadata.level().to_string(),
            span: context.event_span(event).map(|span| span.name()),
            declared: declared.filter(|name| *name != "message").collect(),
            fields: fields.0,
        };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(heard);
    }
}

/// The `tracing` events of `work`.
pub(crate) fn events(work: impl FnOnce()) -> Vec<Heard> {
    let ear = Ear::default();
    let subscriber = tracing_subscriber::registry().with(ear.clone());
    tracing::subscriber::with_default(subscriber, work);
    let all = ear.0.lock().unwrap_or_else(PoisonError::into_inner);
    all.clone()
}

/// The page that Prometheus would scrape after `work`, its histograms with one bucket.
pub(crate) fn scrape(work: impl FnOnce()) -> String {
    let recorder = PrometheusBuilder::new()
        .set_buckets(&[1.0])
        .expect("there is a bucket")
        .build_recorder();
    let page = recorder.handle();
    metrics::with_local_recorder(&recorder, work);
    page.render()
}
