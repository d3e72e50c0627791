use std::fmt::Write;
use std::time::Duration;

use backstay_core::Moment;
use http::header::{ACCEPT, CACHE_CONTROL, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::select;
use tokio::time::sleep;

use super::client::Client;
use super::wire::{AFTER, Answer, Entry, tag};
use crate::{Change, Clock, Codec, News, SourceError, Start, Version};

pub(super) const PREFER: HeaderName = HeaderName::from_static("prefer");

/// Follows what a server tells.
pub(super) struct Follows<K, V> {
    client: Client,
    codec: Codec<K, V>,
    start: Start,
    state: State,
}

#[derive(Clone)]
enum State {
    New,
    /// A first page has come; it is told after the beginning.
    Begun {
        began: Version,
        page: Vec<Change64>,
        next: Option<String>,
    },
    Paging {
        began: Version,
        next: String,
    },
    /// What has changed since the first page.
    Catching(Version),
    Caught {
        version: Version,
        asked: Moment,
    },
    Following {
        told: Version,
        is_asked: bool,
    },
}

/// A change as it was sent.
type Change64 = (String, u64, Option<Vec<u8>>);

impl<K, V> Follows<K, V> {
    pub(super) fn new(client: Client, codec: Codec<K, V>, start: Start) -> Self {
        Self {
            client,
            codec,
            start,
            state: State::New,
        }
    }

    pub(super) async fn next(&mut self) -> Result<News<K, V>, SourceError> {
        match self.state.clone() {
            State::New => match self.start.resume {
                Some(told) => self.follow(told, true).await,
                None => self.begin(self.start.held).await,
            },
            State::Begun { began, page, next } => {
                self.state = after_page(began, next);
                self.page(&page)
            }
            State::Paging { began, next } => self.turn(began, next).await,
            State::Catching(told) => self.catch_up(told).await,
            State::Caught { version, asked } => {
                self.state = State::Following {
                    told: version,
                    is_asked: false,
                };
                Ok(News::Complete { version, asked })
            }
            State::Following { told, is_asked } => self.follow(told, is_asked).await,
        }
    }

    /// What is held is said, so that a server that has gone back knows it; what it sends is a snapshot or nothing.
    async fn begin(&mut self, held: Option<Version>) -> Result<News<K, V>, SourceError> {
        let query = format!("?{AFTER}=");
        match self
            .client
            .clone()
            .question(query, held, Duration::ZERO)
            .await?
        {
            Some(Answer::Page {
                epoch,
                began,
                page,
                next,
            }) => self.begun(Version::new(epoch, began), &page, next),
            _ => Err(SourceError::new("no page where a page was asked for")),
        }
    }

    fn begun(
        &mut self,
        began: Version,
        page: &[Entry],
        next: Option<String>,
    ) -> Result<News<K, V>, SourceError> {
        let page = page.iter().map(raw).collect::<Result<_, _>>()?;
        self.state = State::Begun { began, page, next };
        Ok(News::Snapshot(began))
    }

    async fn turn(&mut self, began: Version, next: String) -> Result<News<K, V>, SourceError> {
        let query = format!("?{AFTER}={}", escaped(&next));
        match self
            .client
            .clone()
            .question(query, None, Duration::ZERO)
            .await?
        {
            Some(Answer::Page {
                epoch, page, next, ..
            }) if epoch == began.epoch => {
                let page: Vec<_> = page.iter().map(raw).collect::<Result<_, _>>()?;
                self.state = after_page(began, next);
                self.page(&page)
            }
            _ => Err(SourceError::new(
                "another history before the snapshot's end",
            )),
        }
    }

    /// Pages are of many moments; with all that has changed since the first they are the state at one.
    async fn catch_up(&mut self, told: Version) -> Result<News<K, V>, SourceError> {
        let asked = self.start.clock.now();
        let (upto, all, changes) = match self
            .client
            .clone()
            .question(String::new(), Some(told), Duration::ZERO)
            .await?
        {
            None => (told, true, Vec::new()),
            Some(Answer::Changes {
                epoch,
                after,
                upto,
                all,
                changes,
            }) if told == Version::new(epoch, after) => (told.at(upto), all, changes),
            Some(_) => return Err(SourceError::new("the snapshot can't be completed")),
        };
        self.state = if all {
            State::Caught {
                version: upto,
                asked,
            }
        } else {
            State::Catching(upto)
        };
        let page = changes.iter().map(raw).collect::<Result<Vec<_>, _>>()?;
        self.page(&page)
    }

    async fn follow(&mut self, told: Version, is_asked: bool) -> Result<News<K, V>, SourceError> {
        // Twice in a heartbeat: the age counts from before the question, so at the answer it is half a heartbeat, and
        // before the next one a whole.
        let half = self.start.heartbeat / 2;
        let mut waited = None;
        if !is_asked {
            let clock = self.start.clock.clone();
            waited = select! {
                biased;
                () = self.start.nudged() => None,
                answer = self.client.clone().wait(clock, told, half) => Some(answer?),
            };
        }
        // Whoever wants to know now does not wait with the others.
        let (asked, answer) = if let Some(waited) = waited {
            waited
        } else {
            let asked = self.start.clock.now();
            let client = self.client.clone();
            let answer = client.question(String::new(), Some(told), Duration::ZERO);
            (asked, answer.await?)
        };
        let (upto, all, changes) = match answer {
            None => (told, true, Vec::new()),
            Some(Answer::Changes {
                epoch,
                after,
                upto,
                all,
                changes,
            }) if told == Version::new(epoch, after) => (told.at(upto), all, changes),
            Some(Answer::Changes { .. }) => {
                return Err(SourceError::new("an answer to another question"));
            }
            Some(Answer::Page {
                epoch,
                began,
                page,
                next,
            }) => return self.begun(Version::new(epoch, began), &page, next),
        };
        self.state = State::Following {
            told: upto,
            is_asked: !all,
        };
        let changes = changes.iter().map(raw).collect::<Result<Vec<_>, _>>()?;
        let changes = self.changes(&changes)?;
        Ok(News::answer(told, upto, changes, all.then_some(asked)))
    }

    fn page(&self, page: &[Change64]) -> Result<News<K, V>, SourceError> {
        Ok(News::Page(self.changes(page)?))
    }

    fn changes(&self, changes: &[Change64]) -> Result<Vec<Change<K, V>>, SourceError> {
        let changes = changes.iter();
        changes
            .map(|(key, number, value)| self.codec.change(key, *number, value.as_deref()))
            .collect()
    }
}

impl Client {
    /// A server is asked to wait for whole seconds; for less it is asked again.
    async fn wait(
        self,
        clock: Clock,
        told: Version,
        time: Duration,
    ) -> Result<(Moment, Option<Answer>), SourceError> {
        if time.as_secs() == 0 {
            sleep(time).await;
        }
        let asked = clock.now();
        let answer = self.question(String::new(), Some(told), time).await?;
        Ok((asked, answer))
    }

    async fn question(
        self,
        query: String,
        told: Option<Version>,
        wait: Duration,
    ) -> Result<Option<Answer>, SourceError> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        // An answer that somebody kept proves nothing.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(told) = told {
            let tag = HeaderValue::try_from(tag(told)).map_err(SourceError::new)?;
            headers.insert(IF_NONE_MATCH, tag);
        }
        if wait.as_secs() > 0 {
            let wait = HeaderValue::try_from(format!("wait={}", wait.as_secs()));
            headers.insert(PREFER, wait.map_err(SourceError::new)?);
        }
        let body = self.ask(query, headers).await?;
        let answer = body.map(|body| serde_json::from_slice(&body));
        answer.transpose().map_err(SourceError::new)
    }
}

fn after_page(began: Version, next: Option<String>) -> State {
    match next {
        Some(next) => State::Paging { began, next },
        None => State::Catching(began),
    }
}

fn raw(entry: &Entry) -> Result<Change64, SourceError> {
    Ok((entry.key.clone(), entry.number, entry.value()?))
}

/// A key as the value of a query's parameter.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Text takes all that is written to it.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}
