//! Behind HTTP.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ::http::{Request, StatusCode};
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::post;
use axum::{Extension, Router};
use backstay_lease::fencing::{
    FenceLayer, FenceLayerBuilder, HEADER, LeaderError, NotSent, refusal,
};
use backstay_lease::{Election, Fence, Leases};
use backstay_store::{Batch, MemoryStore, SqliteStore, Store};
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt, service_fn};

/// A server whose handler writes under the fence of its request, if it has one.
fn server(store: &Store, layer: FenceLayerBuilder) -> (Router, Arc<AtomicU32>) {
    let handled = Arc::new(AtomicU32::new(0));
    let counts = handled.clone();
    let write =
        async move |State(store): State<Store>, fence: Option<Extension<Fence>>| -> Response {
            counts.fetch_add(1, Ordering::SeqCst);
            let written = Batch::new().put("written", "yes");
            let written = match fence {
                Some(Extension(fence)) => written.fenced(fence),
                None => written,
            };
            match store.commit(written).await {
                Ok(_) => Response::default(),
                Err(error) => refusal(&error).expect("it is fenced"),
            }
        };
    let layer = layer.build().expect("good options");
    let app = Router::new().route("/", post(write)).layer(layer);
    (app.with_state(store.clone()), handled)
}

fn accepting(store: &Store) -> FenceLayerBuilder {
    FenceLayer::builder(store.clone()).accept("sweeper")
}

fn memory() -> Store {
    MemoryStore::new().into_store()
}

struct Answer {
    status: StatusCode,
    effect: String,
    kind: String,
    highest: String,
    text: String,
}

async fn send(app: &Router, header: Option<&str>) -> Answer {
    let mut request = Request::post("/");
    if let Some(header) = header {
        request = request.header(HEADER, header);
    }
    let request = request.body(Body::empty()).expect("a request");
    let response = app.clone().oneshot(request).await.expect("an answer");
    let header = |name: &str| {
        let value = response.headers().get(name);
        value
            .map_or("", |value| value.to_str().expect("text"))
            .to_owned()
    };
    let (status, effect, kind) = (
        response.status(),
        header("backstay-effect"),
        header("content-type"),
    );
    let highest = header("fencing-token");
    let body = response
        .into_body()
        .collect()
        .await
        .expect("a body")
        .to_bytes();
    let text = String::from_utf8(body.to_vec()).expect("text");
    Answer {
        status,
        effect,
        kind,
        highest,
        text,
    }
}

async fn status(app: &Router, token: u64) -> u16 {
    let header = format!("\"sweeper\";token={token}");
    send(app, Some(&header)).await.status.as_u16()
}

/// LEA-8: a stale token is refused with 412, the highest, and nothing done; equal and higher ones pass.
#[tokio::test]
async fn a_stale_token_is_refused() {
    let store = memory();
    let (app, handled) = server(&store, accepting(&store));
    for token in [34, 34, 35, 35] {
        assert_eq!(status(&app, token).await, 200);
    }
    let refused = send(&app, Some("\"sweeper\";token=34")).await;
    assert_eq!(refused.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(
        (refused.effect.as_str(), refused.kind.as_str()),
        ("not-executed", "application/problem+json")
    );
    assert_eq!(refused.highest, "\"sweeper\";token=35");
    let said = r#"{"title":"the fencing token is stale","status":412,"effect":"not-executed","name":"sweeper","token":34,"highest":35}"#;
    assert_eq!(refused.text, said);
    assert_eq!(handled.load(Ordering::SeqCst), 4);
}

/// LEA-8: an equal token is refused once another process has seen a higher one, whatever this one remembers.
#[tokio::test]
async fn what_another_process_has_seen_counts() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.db");
    let open = async || SqliteStore::open(&path).await.expect("a store").store();
    let (one, other) = (open().await, open().await);
    let (app, handled) = server(&one, accepting(&one));
    let (other_app, _) = server(&other, accepting(&other));
    assert_eq!(status(&app, 34).await, 200);
    assert_eq!(status(&app, 34).await, 200);
    assert_eq!(status(&other_app, 35).await, 200);
    assert_eq!(status(&app, 34).await, 412);
    assert_eq!(status(&app, 34).await, 412);
    assert_eq!(handled.load(Ordering::SeqCst), 2);

    // The mark outlives both.
    let (again, _) = server(&one, accepting(&one));
    assert_eq!(status(&again, 34).await, 412);
    assert_eq!(status(&again, 35).await, 200);
}

/// LEA-8: a later leader that writes between the layer's check and the handler's write is met by the fence on the write.
#[tokio::test]
async fn the_fence_on_the_write_closes_the_gap() {
    for fenced in [true, false] {
        let store = memory();
        let handler = async move |State(store): State<Store>,
                                  Extension(fence): Extension<Fence>|
                    -> Response {
            let later = Fence::new(fence.name.clone(), fence.token + 1);
            let overtaken = Batch::new().put("by", "the later").fenced(later);
            store.commit(overtaken).await.expect("it is the highest");
            let late = Batch::new().put("by", "the former");
            let late = if fenced { late.fenced(fence) } else { late };
            let done = store.commit(late).await;
            done.map_or_else(
                |error| refusal(&error).expect("it is fenced"),
                |_| Response::default(),
            )
        };
        let layer = accepting(&store).build().expect("good options");
        let app = Router::new()
            .route("/", post(handler))
            .layer(layer)
            .with_state(store.clone());
        let by = async || {
            store
                .get("by")
                .await
                .expect("a read")
                .expect("a value")
                .value
        };
        if fenced {
            let refused = send(&app, Some("\"sweeper\";token=34")).await;
            assert_eq!(
                (refused.status.as_u16(), refused.highest.as_str()),
                (412, "\"sweeper\";token=35")
            );
            assert_eq!(by().await, "the later");
        } else {
            assert_eq!(status(&app, 34).await, 200);
            assert_eq!(
                by().await,
                "the former",
                "the gap is not there: nothing was shown"
            );
        }
    }
}

/// LEA-8: without the header a request is refused, unless the layer was told that it is optional; a malformed one always is.
#[tokio::test]
async fn a_missing_header_is_refused_unless_optional() {
    let store = memory();
    for optional in [false, true] {
        let layer = accepting(&store);
        let layer = if optional { layer.optional() } else { layer };
        let (app, handled) = server(&store, layer);
        let missing = send(&app, None).await;
        assert_eq!(missing.status.as_u16(), if optional { 200 } else { 428 });
        for malformed in [
            "sweeper",
            "\"sweeper\"",
            "\"sweeper\";token=0",
            "\"sweeper\";token=1000000000000000",
        ] {
            let refused = send(&app, Some(malformed)).await;
            assert_eq!(
                (refused.status.as_u16(), refused.effect.as_str()),
                (400, "not-executed"),
                "{malformed}"
            );
        }
        assert_eq!(handled.load(Ordering::SeqCst), u32::from(optional));
    }
}

/// LEA-8: a name that is not accepted here raises nothing.
#[tokio::test]
async fn other_names_raise_nothing() {
    let store = memory();
    let (app, handled) = server(&store, accepting(&store));
    for name in ["other", "sweeper\\\"x", ""] {
        let refused = send(&app, Some(&format!("\"{name}\";token=999999999999999"))).await;
        assert_eq!(refused.status.as_u16(), 403, "{name}");
    }
    assert_eq!(handled.load(Ordering::SeqCst), 0);
    let low = Batch::new().fenced(Fence::new("claim:lease/other", 1));
    assert!(store.commit(low).await.is_ok(), "its mark was raised");
}

/// LEA-8: a token that the home of the leases has not given locks nobody out.
#[tokio::test]
async fn a_made_up_token_locks_nobody_out() {
    let (home, store) = (memory(), memory());
    let (app, handled) = server(&store, accepting(&store).issued_by(home.clone()));
    let election = Election::builder(home.clone(), "sweeper")
        .build()
        .expect("good options");
    assert_eq!(status(&app, 1).await, 403, "nobody leads");
    let leads = election.campaign().await.expect("it leads");
    assert_eq!(status(&app, 999_999_999_999_999).await, 403);
    assert_eq!(status(&app, leads.token()).await, 200);
    leads.release().await;
    assert_eq!(
        status(&app, 1).await,
        200,
        "the mark was raised while it led"
    );

    let leads = election.campaign().await.expect("it leads again");
    let (fresh, _) = server(&store, accepting(&store).issued_by(home.clone()));
    assert_eq!(leads.token(), 2);
    // The store has not heard of the second term: it is its home that knows.
    assert_eq!(status(&fresh, 1).await, 412);
    assert_eq!(status(&fresh, 2).await, 200);
    assert_eq!(handled.load(Ordering::SeqCst), 2);
}

/// LEA-8: what can't be checked is not let in.
#[tokio::test]
async fn a_store_that_fails_lets_nobody_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.db");
    let file = SqliteStore::open(&path).await.expect("a store");
    let store = file.store();
    let (app, handled) = server(&store, accepting(&store));
    assert_eq!(status(&app, 7).await, 200);
    let strange = backstay_store::sqlite::rusqlite::Connection::open(&path).expect("the file");
    strange
        .execute_batch("DROP TABLE backstay_fences")
        .expect("it is there");
    let refused = send(&app, Some("\"sweeper\";token=7")).await;
    assert_eq!(
        (refused.status.as_u16(), refused.effect.as_str()),
        (503, "not-executed")
    );
    assert_eq!(handled.load(Ordering::SeqCst), 1);
}

/// LEA-8: a leader's client sends the header with each request, and none once it leads no more.
#[tokio::test]
async fn a_client_sends_while_it_leads() {
    let store = memory();
    let (app, handled) = server(&store, accepting(&store));
    let election = Election::builder(store.clone(), "sweeper")
        .build()
        .expect("good options");
    let leads = election.campaign().await.expect("it leads");
    let client = leads.layer().layer(app);
    let request = || Request::post("/").body(Body::empty()).expect("a request");
    for _ in 0..2 {
        let answer = client.clone().oneshot(request()).await.expect("an answer");
        assert_eq!(answer.status(), 200);
    }
    let kept = leads.clone();
    leads.release().await;
    let refused = client
        .oneshot(request())
        .await
        .expect_err("it leads no more");
    assert!(
        matches!(refused, LeaderError::NotSent(NotSent::Lost(_))),
        "{refused}"
    );
    assert!(matches!(kept.headers(), Err(NotSent::Lost(_))));
    assert_eq!(handled.load(Ordering::SeqCst), 2);
}

/// LEA-8: a leader that waits for an answer when its term ends waits no more.
#[tokio::test]
async fn a_request_is_dropped_with_its_term() {
    let election = Election::builder(memory(), "sweeper")
        .build()
        .expect("good options");
    let leads = election.campaign().await.expect("it leads");
    let silent =
        service_fn(|_: Request<Body>| std::future::pending::<Result<Response, Infallible>>());
    let request = Request::post("/").body(Body::empty()).expect("a request");
    let sent = tokio::spawn(leads.layer().layer(silent).oneshot(request));
    tokio::task::yield_now().await;
    leads.release().await;
    let answer = sent.await.expect("no panic");
    assert!(matches!(answer, Err(LeaderError::Lost(_))), "{answer:?}");
}

/// LEA-8: a name that a header can't carry is told to the leader and to the server.
#[tokio::test]
async fn a_name_has_to_be_plain() {
    let store = memory();
    let election = Election::builder(store.clone(), "r\u{e9}p")
        .build()
        .expect("good options");
    let leads = election.campaign().await.expect("it leads");
    assert!(matches!(leads.headers(), Err(NotSent::Invalid(invalid)) if invalid.field == "name"));
    for name in ["r\u{e9}p", "", "a\n"] {
        let invalid = accepting(&store).accept(name).build().expect_err(name);
        assert_eq!(invalid.field, "fences.accept");
    }
    assert!(FenceLayer::builder(store.clone()).build().is_err());
    assert!(Leases::check(&store, "sweeper", std::time::Duration::from_secs(1)).is_ok());
}
