//! What a real member does too rarely to wait for.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::{Ready, ready};
use http::{Request, Response};
use http_body_util::Full;
use tower_service::Service;

use super::*;

/// What is answered to a path at a host, one after the other; none breaks the connection.
type Script = Vec<(&'static str, Option<String>)>;

#[derive(Clone)]
struct Members {
    script: Arc<Mutex<Script>>,
}

impl Service<Request<Full<Bytes>>> for Members {
    type Response = Response<Full<Bytes>>;
    type Error = std::io::Error;
    type Future = Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let uri = request.uri();
        let asked = format!("{}{}", uri.host().unwrap_or_default(), uri.path());
        let mut script = self.script.lock().expect("nobody panics");
        assert!(!script.is_empty(), "{asked} is not expected");
        let (expected, answer) = script.remove(0);
        assert_eq!(asked, expected);
        let broken = || std::io::ErrorKind::ConnectionReset.into();
        let answer = answer.ok_or_else(broken);
        ready(answer.map(|answer| Response::new(Full::from(answer))))
    }
}

/// Leases on members `a` and `b` that go by a script, and the rest of it.
async fn leases(script: Script) -> (EtcdLeases, Arc<Mutex<Script>>) {
    let connecting = [
        ("a/v3/lease/grant", Some(r#"{"ID":"1","TTL":"2"}"#.into())),
        ("a/v3/lease/revoke", Some("{}".into())),
    ];
    let script = Arc::new(Mutex::new([&connecting[..], &script].concat()));
    let members = Members {
        script: script.clone(),
    };
    let connected = EtcdOptions::new().connect_with(members, ["http://a", "http://b"]);
    (connected.await.expect("leases"), script)
}

fn key(owner: Owner, id: u32) -> String {
    let value = STANDARD.encode(format!(r#"{{"owner":"{owner}","about":"here"}}"#));
    format!(r#"{{"value":"{value}","create_revision":"9","lease":"{id}"}}"#)
}

fn range(kvs: &str) -> String {
    format!(r#"{{"header":{{}},"kvs":[{kvs}]}}"#)
}

/// LEA-1: a lease that is over when it is to be held, or would be held for less than asked, is not taken for held.
#[tokio::test]
async fn a_lease_that_is_over_is_not_renewed() {
    let lease = Lease {
        name: "job".to_owned(),
        owner: Owner::new(),
        token: 9,
    };
    let found = Some(range(&key(lease.owner, 7)));
    let kept = |answer: &str| Some(answer.to_owned());
    let (leases, script) = leases(vec![
        ("a/v3/kv/range", found.clone()),
        ("a/v3/lease/keepalive", kept(r#"{"result":{"ID":"7"}}"#)),
        ("a/v3/kv/range", found.clone()),
        ("a/v3/lease/keepalive", kept(r#"{"result":{"TTL":"-1"}}"#)),
        ("a/v3/kv/range", found.clone()),
        ("a/v3/lease/keepalive", kept(r#"{"result":{"TTL":"1"}}"#)),
        ("a/v3/kv/range", found),
        ("a/v3/lease/keepalive", kept(r#"{"result":{"TTL":"2"}}"#)),
    ])
    .await;
    let ttl = Duration::from_secs(2);
    assert_eq!(leases.renew(lease.clone(), ttl).await, Ok(false));
    assert_eq!(leases.renew(lease.clone(), ttl).await, Ok(false));
    assert!(leases.renew(lease.clone(), ttl).await.is_err());
    assert_eq!(leases.renew(lease, ttl).await, Ok(true));
    assert!(script.lock().expect("nobody panics").is_empty());
}

/// LEA-1: a key that was made for us by a member whose answer was lost is ours, and keeps its lease.
#[tokio::test]
async fn a_lost_answer_of_one_member_is_found_by_another() {
    let owner = Owner::new();
    for (id, revoked) in [(7, false), (8, true)] {
        let stands = format!(
            r#"{{"header":{{"revision":"10"}},"responses":[{{"response_range":{{"kvs":[{}]}}}}]}}"#,
            key(owner, id)
        );
        let mut script = vec![
            ("a/v3/kv/range", Some(range(""))),
            (
                "a/v3/lease/grant",
                Some(r#"{"ID":"7","TTL":"2"}"#.to_owned()),
            ),
            ("a/v3/kv/txn", None),
            ("b/v3/kv/txn", Some(stands)),
        ];
        if revoked {
            script.push(("b/v3/lease/revoke", Some("{}".to_owned())));
            script.push(("b/v3/lease/timetolive", Some(r#"{"TTL":"1"}"#.to_owned())));
        }
        let (leases, script) = leases(script).await;
        let wanted = Wanted {
            name: "job".to_owned(),
            owner,
            about: "here".to_owned(),
            ttl: Duration::from_secs(2),
        };
        let lease = match leases.acquire(wanted).await.expect("an answer") {
            Acquired::Granted(lease) => lease,
            Acquired::Held(holder) => {
                assert_eq!(holder.left, Some(Duration::from_secs(2)));
                holder.lease
            }
        };
        assert_eq!((lease.owner, lease.token), (owner, 9));
        assert!(script.lock().expect("nobody panics").is_empty());
    }
}

/// docs/formats.md: how a holding is written.
#[test]
fn a_holding_reads_as_documented() {
    let holding = Holding {
        owner: Owner::from_bytes([0xab; 16]),
        about: "here".to_owned(),
    };
    let text = r#"{"owner":"abababab-abab-abab-abab-abababababab","about":"here"}"#;
    assert_eq!(serde_json::to_string(&holding).expect("text"), text);
    let kv = Kv {
        value: STANDARD.encode(text),
        create_revision: 9,
        lease: 7,
    };
    let found = found("job", &kv).expect("as documented");
    assert_eq!(found.holder.lease.owner, holding.owner);
    assert_eq!((found.holder.lease.token, found.id), (9, 7));
}
