//! An owner as text, in what is kept of a holder.

use backstay_store::Owner;
use serde::{Deserialize, Deserializer, Serializer};
use uuid::Uuid;

pub(crate) fn serialize<S: Serializer>(owner: &Owner, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(owner)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Owner, D::Error> {
    let text = String::deserialize(deserializer)?;
    let id = Uuid::parse_str(&text).map_err(serde::de::Error::custom)?;
    Ok(Owner::from_bytes(id.into_bytes()))
}
