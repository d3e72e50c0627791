//! Questions about all keys with a prefix.

use std::collections::HashSet;

use backstay_etcd::{Client, Failure, number};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::SourceError;

/// As many keys as one answer has, at most.
const PAGE: u32 = 500;
/// Most answers are far smaller; where one is not, fewer keys are asked for.
pub(super) const ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// Asks page after page. Cheap to make.
pub(super) struct Asks {
    pub(super) client: Client,
    pub(super) prefix: String,
    page: u32,
}

/// A member's answer: what is zero is left out.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    pub(super) header: Header,
    #[serde(default)]
    pub(super) kvs: Vec<Kv>,
    #[serde(default)]
    pub(super) more: bool,
    /// Of all keys from where the page begins, also those that are not in it.
    #[serde(default, deserialize_with = "number")]
    pub(super) count: u64,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Header {
    #[serde(default, deserialize_with = "number")]
    pub(super) cluster_id: u64,
    #[serde(default, deserialize_with = "number")]
    pub(super) revision: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Kv {
    key: String,
    #[serde(default)]
    value: String,
    #[serde(default, deserialize_with = "number")]
    pub(super) mod_revision: u64,
}

/// Which page.
#[derive(Clone, Default)]
pub(super) struct Which {
    /// Only what has changed after this revision.
    pub(super) since: u64,
    /// As it was then; now, if none.
    pub(super) at: Option<u64>,
    /// After this key; from the first on, if none.
    pub(super) after: Option<String>,
    pub(super) names_only: bool,
}

impl Asks {
    pub(super) fn new(client: Client, prefix: String) -> Self {
        let page = PAGE;
        Self {
            client,
            prefix,
            page,
        }
    }

    pub(super) async fn page(&mut self, which: &Which) -> Result<Page, SourceError> {
        loop {
            let question = self.question(which);
            match self.client.ask("kv/range", &question, ANSWER_BYTES).await {
                Err(Failure::TooLong) if self.page > 1 => self.page /= 4,
                answer => return answer.map_err(SourceError::new),
            }
        }
    }

    /// All names at a revision.
    pub(super) async fn names(&mut self, revision: u64) -> Result<HashSet<String>, SourceError> {
        let mut names = HashSet::new();
        let mut which = Which {
            at: Some(revision),
            names_only: true,
            ..Which::default()
        };
        loop {
            let page = self.page(&which).await?;
            for kv in &page.kvs {
                names.insert(kv.key()?);
            }
            which.after = page.next()?;
            if which.after.is_none() {
                return Ok(names);
            }
        }
    }

    fn question(&self, which: &Which) -> Value {
        let (first, end) = range(&self.prefix);
        let first = which
            .after
            .as_ref()
            .map_or(first, |after| format!("{after}\0"));
        let mut question = json!({
            "key": STANDARD.encode(first),
            "range_end": STANDARD.encode(&end),
            "limit": self.page.max(1).to_string(),
            "min_mod_revision": (which.since + 1).to_string(),
            "keys_only": which.names_only,
        });
        if let Some(revision) = which.at {
            question["revision"] = revision.to_string().into();
        }
        question
    }

    /// What a watch is asked for.
    pub(super) fn watch(&self, from: u64) -> Value {
        let (first, end) = range(&self.prefix);
        json!({"create_request": {
            "key": STANDARD.encode(first),
            "range_end": STANDARD.encode(&end),
            "start_revision": from.to_string(),
        }})
    }
}

impl Page {
    /// After which key the next page begins; none after the last one.
    pub(super) fn next(&self) -> Result<Option<String>, SourceError> {
        let last = self.kvs.last().filter(|_| self.more);
        last.map(Kv::key).transpose()
    }
}

impl Kv {
    pub(super) fn key(&self) -> Result<String, SourceError> {
        String::from_utf8(bytes(&self.key)?).map_err(SourceError::new)
    }

    pub(super) fn value(&self) -> Result<Vec<u8>, SourceError> {
        bytes(&self.value)
    }
}

fn bytes(text: &str) -> Result<Vec<u8>, SourceError> {
    let decoded = STANDARD.decode(text);
    decoded.map_err(|error| SourceError::new(error.to_string()))
}

/// From the first key with a prefix to the first one after them. `"\0"` twice is of all keys.
fn range(prefix: &str) -> (String, Vec<u8>) {
    let mut end = prefix.as_bytes().to_vec();
    match end.last_mut() {
        // No byte of a text is the highest.
        Some(last) => *last += 1,
        None => return ("\0".to_owned(), vec![0]),
    }
    (prefix.to_owned(), end)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The range of a prefix ends before the first key that does not begin with it.
    #[test]
    fn a_range_ends_with_its_prefix() {
        assert_eq!(range("k/"), ("k/".to_owned(), b"k0".to_vec()));
        assert_eq!(range("ü"), ("ü".to_owned(), vec![0xc3, 0xbd]));
        assert_eq!(range(""), ("\0".to_owned(), vec![0]));
    }
}
