//! `IdempotentKeyStore`.

use std::collections::HashMap;
use std::future::Future;

use tokio::sync::Mutex;

/// Remembers in memory what was created.
///
/// Quirk: a restart forgets it, and another process behind the same balancer never knew.
/// Quirk: no time to live; what was put in stays for as long as the process does.
#[derive(Debug, Default)]
pub(crate) struct IdempotentKeyStore {
    store: Mutex<HashMap<u64, Vec<u8>>>,
}

/// What `CreateKey` returns where it is not `nil`.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum CreateError<E> {
    #[error("key already exists with different data")]
    Different,
    #[error(transparent)]
    Create(#[from] E),
}

impl IdempotentKeyStore {
    /// `CreateKey`, where to create is more than to put into the map.
    ///
    /// In the article the map is all there is. Here what is created lasts longer than the process, so `create` stands
    /// where the map is written, and the map is written once it has succeeded.
    pub(crate) async fn create_key<E>(
        &self,
        key_id: u64,
        key_data: &[u8],
        create: impl Future<Output = Result<(), E>>,
    ) -> Result<(), CreateError<E>> {
        // Quirk: one lock over all keys, so whatever is created is created one by one. There is no state for what is
        // being created; without this lock two at once would both find nothing.
        let mut store = self.store.lock().await;
        if let Some(existing) = store.get(&key_id) {
            // Quirk: `bytes.Equal` on what may be a secret ends at the first difference, and the time tells where that is.
            // Quirk: only a caller who has chosen the data can send it again; where the server makes it each try differs.
            // It is what the caller sent here, which is kinder than to refuse every repeat.
            if existing == key_data {
                // Quirk: `nil`, as for what was created just now. What the first was answered is not kept.
                return Ok(());
            }
            return Err(CreateError::Different);
        }
        // Quirk: look, then create, then remember: a process that dies between the last two creates it again.
        create.await?;
        store.insert(key_id, key_data.to_vec());
        Ok(())
    }
}
