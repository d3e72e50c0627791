use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use backstay_store::{Change, Store};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use tokio::time::{Instant, timeout_at};
use tower_service::Service;

use super::follow::PREFER;
use super::looks::{Found, Looks};
use super::wire::{AFTER, Answer, Entry, tag, version};
use crate::keys::{EPOCH_KEY, PAGE, epoch};
use crate::{SourceError, Version};

/// Longer than any heartbeat's half.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A page and an answer of changes end with the key that passes it.
const PAGE_BYTES: usize = 1024 * 1024;

/// Serves a store's keys to [`HttpSource`](crate::HttpSource)s elsewhere: a tower service. Cheap to clone.
///
/// It takes any path, so route one to it: `Router::new().route_service("/keys", Feed::new(store, "keys/"))`. Whoever may
/// ask sees every key with the prefix, and by claiming to hold what the store does not he makes all copies begin anew:
/// put authentication around it. Who asks while the store is looked at shares the next look with all others who do, and all who wait
/// have one question waiting at the store.
#[derive(Clone)]
pub struct Feed(Arc<Shared>);

struct Shared {
    store: Store,
    prefix: String,
    looks: Looks,
}

/// The answer of a [`Feed`].
pub type FeedFuture = BoxFuture<'static, Result<Response<Full<Bytes>>, Infallible>>;

impl Feed {
    /// Serves the keys of a store that begin with a prefix, by what comes after it.
    pub fn new(store: impl Into<Store>, prefix: impl Into<String>) -> Self {
        let (store, prefix) = (store.into(), prefix.into());
        let looks = Looks::new(store.clone(), prefix.clone());
        Self(Arc::new(Shared {
            store,
            prefix,
            looks,
        }))
    }
}

impl<B> Service<Request<B>> for Feed {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = FeedFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> FeedFuture {
        let (parts, _) = request.into_parts();
        let shared = self.0.clone();
        Box::pin(async move {
            if parts.method != Method::GET {
                let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED);
                answer
                    .headers_mut()
                    .insert(ALLOW, HeaderValue::from_static("GET"));
                return Ok(answer);
            }
            let answered = shared.answer(&parts).await;
            Ok(answered.unwrap_or_else(|_| {
                let mut answer = plain(StatusCode::SERVICE_UNAVAILABLE);
                let second = HeaderValue::from_static("1");
                answer.headers_mut().insert(RETRY_AFTER, second);
                answer
            }))
        })
    }
}

impl Shared {
    async fn answer(&self, parts: &Parts) -> Result<Response<Full<Bytes>>, SourceError> {
        let header = |name| {
            parts
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        let held = header(IF_NONE_MATCH).and_then(version);
        let page = parts.uri.query().and_then(after);
        if let (None, Some(held)) = (&page, held) {
            let wait = header(PREFER).and_then(wait).unwrap_or_default();
            return self.changes(held, wait).await;
        }
        let epoch = epoch(&self.store, held).await?;
        self.page(epoch, &page.unwrap_or_default()).await
    }

    async fn page(&self, epoch: u64, after: &str) -> Result<Response<Full<Bytes>>, SourceError> {
        // Before the list: what changes while it is read is told as changes.
        let began = self.store.head().await.map_err(SourceError::new)?;
        let after = if after.is_empty() {
            String::new()
        } else {
            format!("{}{after}", self.prefix)
        };
        let entries = self.store.list(&self.prefix, &after, PAGE).await;
        let entries = entries.map_err(SourceError::new)?;
        let mut is_last = entries.len() < PAGE as usize;
        let (mut page, mut bytes, mut next) = (Vec::new(), 0, None);
        for entry in &entries {
            if bytes > PAGE_BYTES {
                is_last = false;
                break;
            }
            bytes += entry.key.len() + entry.value.len();
            let key = self.name(&entry.key);
            next = Some(key.to_owned());
            if entry.key != EPOCH_KEY {
                page.push(Entry::new(key, entry.revision.get(), Some(&entry.value)));
            }
        }
        let answer = Answer::Page {
            epoch,
            began: began.get(),
            page,
            next: next.filter(|_| !is_last),
        };
        ok(Version::new(epoch, began.get()), &answer)
    }

    async fn changes(
        &self,
        held: Version,
        wait: Duration,
    ) -> Result<Response<Full<Bytes>>, SourceError> {
        let until = Instant::now() + wait.min(LONGEST_WAIT);
        let mut from = held;
        loop {
            let seen = self.looks.look(from).await?;
            let (changes, upto, is_all) = match &seen.found {
                Found::Changes(changes, upto, is_all) => (changes, *upto, *is_all),
                Found::Another(epoch) => return self.page(*epoch, "").await,
                Found::Forgotten => return self.page(held.epoch, "").await,
            };
            let first = changes.partition_point(|change| change.revision.get() <= from.number);
            let changes = &changes[first..];
            let is_over = Instant::now() >= until;
            if changes.is_empty() && is_over && upto == held.number {
                return Ok(with_tag(StatusCode::NOT_MODIFIED, held, Full::default()));
            }
            // Where only others' keys have changed it is told how far, lest deletions are forgotten up to there.
            if !changes.is_empty() || is_over {
                return self.changed(held, changes, upto, is_all);
            }
            from = held.at(upto);
            // Whether time is over or there is something new is seen by the next look.
            let _ = timeout_at(until, self.looks.news(upto, LONGEST_WAIT)).await;
        }
    }

    /// As many changes as one answer holds.
    fn changed(
        &self,
        held: Version,
        changes: &[Change],
        mut upto: u64,
        mut all: bool,
    ) -> Result<Response<Full<Bytes>>, SourceError> {
        let (mut told, mut bytes, mut last) = (Vec::new(), 0, held.number);
        for change in changes {
            if bytes > PAGE_BYTES {
                (upto, all) = (last, false);
                break;
            }
            let value = change.value.as_deref();
            bytes += change.key.len() + value.map_or(0, <[u8]>::len);
            last = change.revision.get();
            if change.key != EPOCH_KEY {
                told.push(Entry::new(self.name(&change.key), last, value));
            }
        }
        let answer = Answer::Changes {
            epoch: held.epoch,
            after: held.number,
            upto,
            all,
            changes: told,
        };
        ok(held.at(upto), &answer)
    }

    fn name<'k>(&self, key: &'k str) -> &'k str {
        // The store tells only of keys with the prefix.
        key.strip_prefix(&self.prefix).unwrap_or(key)
    }
}

fn ok(version: Version, answer: &Answer) -> Result<Response<Full<Bytes>>, SourceError> {
    let body = serde_json::to_vec(answer).map_err(SourceError::new)?;
    let mut response = with_tag(StatusCode::OK, version, Full::from(body));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    Ok(response)
}

fn with_tag(status: StatusCode, version: Version, body: Full<Bytes>) -> Response<Full<Bytes>> {
    let mut response = plain(status).map(|_| body);
    if let Ok(tag) = HeaderValue::try_from(tag(version)) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

/// An answer that nobody may keep: it proves what is so now.
fn plain(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(CACHE_CONTROL, no_store);
    response
}

/// After which key a page was asked for.
fn after(query: &str) -> Option<String> {
    let value = query
        .split('&')
        .find_map(|pair| pair.split_once('=').filter(|(name, _)| *name == AFTER));
    value.and_then(|(_, value)| unescaped(value))
}

fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

/// RFC 7240, 4.3: `wait=5`, perhaps among others.
fn wait(prefer: &str) -> Option<Duration> {
    let mut preferences = prefer.split([',', ';']).map(str::trim);
    let seconds = preferences.find_map(|one| one.strip_prefix("wait="))?;
    seconds.parse().ok().map(Duration::from_secs)
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Feed").field(&self.0.prefix).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::follow::escaped;
    use super::*;

    /// RFC 7240: the wait is found among other preferences.
    #[test]
    fn a_wait_is_found() {
        let five = Some(Duration::from_secs(5));
        assert_eq!(wait("wait=5"), five);
        assert_eq!(wait("respond-async, wait=5"), five);
        assert_eq!(wait("wait=soon"), None);
        assert_eq!(wait("return=minimal"), None);
    }

    /// Whatever a key is, the next page begins after it.
    #[test]
    fn a_key_survives_the_query() {
        for key in ["a", "a/b c", "ä&after=%", "+?#"] {
            let query = format!("x=1&{AFTER}={}", escaped(key));
            assert_eq!(after(&query).as_deref(), Some(key));
        }
        assert_eq!(after("after=%zz"), None);
        assert_eq!(after("x=1"), None);
    }
}
