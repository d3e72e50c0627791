//! A copy of a store's keys.

mod epoch;
mod session;

use std::fmt;
use std::str::FromStr;

use backstay_store::Store;
use futures_util::StreamExt;
use futures_util::stream::try_unfold;
use serde::de::DeserializeOwned;

#[cfg(feature = "http")]
pub(crate) use epoch::EPOCH_KEY;
pub(crate) use epoch::epoch;

use crate::{Codec, Session, Source, Start};
use session::Follows;

/// As many keys as one question brings.
pub(crate) const PAGE: u32 = 500;

/// The keys of a store that begin with a prefix.
///
/// The copy's keys are what comes after the prefix; the number of its version is a position of the store, so that
/// [`at_least`](crate::Replica::at_least) waits for what a commit has returned.
///
/// The store holds one key more, `backstay/replica/epoch`: the history it is in. Where the store is seen to have gone back, as
/// after a restore from a backup, that is written anew, and all copies begin anew. A restore that has passed the copies'
/// position before they look again is not seen: whoever restores a store deletes that key.
///
/// Keys that have expired are taken away before a proof is given, by [`Store::expire`].
pub struct StoreSource<K, V> {
    store: Store,
    name: Option<String>,
    prefix: String,
    codec: Codec<K, V>,
}

impl<K, V> StoreSource<K, V> {
    /// Keys by their `FromStr`, values from JSON.
    pub fn new(store: impl Into<Store>, prefix: impl Into<String>) -> Self
    where
        K: FromStr<Err: Into<Box<dyn std::error::Error + Send + Sync>>>,
        V: DeserializeOwned,
    {
        Self::with_codec(store, prefix, Codec::json())
    }

    /// Keys and values as a codec reads them.
    pub fn with_codec(
        store: impl Into<Store>,
        prefix: impl Into<String>,
        codec: Codec<K, V>,
    ) -> Self {
        Self {
            store: store.into(),
            name: None,
            prefix: prefix.into(),
            codec,
        }
    }

    /// Says which store it is, for events, metrics and the file of a warm start.
    ///
    /// Without it the file of another store's keys with the same prefix is taken for one of this store's.
    #[must_use]
    pub fn named(mut self, store: impl Into<String>) -> Self {
        self.name = Some(store.into());
        self
    }
}

impl<K: Send + 'static, V: Send + 'static> Source<K, V> for StoreSource<K, V> {
    fn name(&self) -> String {
        match &self.name {
            Some(name) => format!("store:{name}:{}", self.prefix),
            None => format!("store:{}", self.prefix),
        }
    }

    fn open(&self, start: Start) -> Session<K, V> {
        let store = self.store.clone();
        let follows = Follows::new(store, self.prefix.clone(), self.codec.clone(), start);
        try_unfold(follows, |mut follows| async move {
            let news = follows.next().await?;
            Ok(Some((news, follows)))
        })
        .boxed()
    }
}

impl<K, V> fmt::Debug for StoreSource<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StoreSource").field(&self.prefix).finish()
    }
}
