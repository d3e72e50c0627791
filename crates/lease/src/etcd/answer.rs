//! What etcd's JSON gateway answers: 64-bit numbers are strings, and what is zero is left out.

use backstay_etcd::number;
use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
pub(super) struct Header {
    #[serde(default, deserialize_with = "number")]
    pub(super) revision: i64,
}

/// To `lease/grant`.
#[derive(Debug, Deserialize)]
pub(super) struct Granted {
    #[serde(rename = "ID", deserialize_with = "number")]
    pub(super) id: i64,
    #[serde(rename = "TTL", deserialize_with = "number")]
    pub(super) ttl: i64,
}

/// To `lease/keepalive`, which is a stream.
#[derive(Debug, Deserialize)]
pub(super) struct Kept {
    pub(super) result: LeaseLeft,
}

/// How many seconds a lease has left.
#[derive(Debug, Deserialize)]
pub(super) struct LeaseLeft {
    #[serde(rename = "TTL", default, deserialize_with = "number")]
    pub(super) ttl: i64,
}

/// To `lease/revoke`.
#[derive(Debug, Deserialize)]
pub(super) struct Revoked {}

/// To `kv/range`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Range {
    #[serde(default)]
    pub(super) kvs: Vec<Kv>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Kv {
    #[serde(default)]
    pub(super) value: String,
    #[serde(default, deserialize_with = "number")]
    pub(super) create_revision: i64,
    #[serde(default, deserialize_with = "number")]
    pub(super) lease: i64,
}

/// To `kv/txn`.
#[derive(Debug, Deserialize)]
pub(super) struct Written {
    pub(super) header: Header,
    #[serde(default)]
    pub(super) succeeded: bool,
    #[serde(default)]
    pub(super) responses: Vec<Response>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Response {
    #[serde(default)]
    pub(super) response_range: Range,
}

/// One message of `watch`.
#[derive(Debug, Deserialize)]
pub(super) struct Watched {
    pub(super) result: Watch,
}

#[derive(Debug, Deserialize)]
pub(super) struct Watch {
    #[serde(default)]
    pub(super) created: bool,
    #[serde(default)]
    pub(super) canceled: bool,
    #[serde(default)]
    pub(super) events: Vec<Event>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Event {}
