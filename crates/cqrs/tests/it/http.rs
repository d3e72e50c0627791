//! Positions over HTTP, around services that are functions.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use backstay_cqrs::http::{AtLeastLayer, POSITION, Session, position_of, position_value};
use backstay_cqrs::{Commands, Memory, Projection};
use backstay_store::{Position, Store};
use http::{Request, Response, StatusCode};
use tower::{Layer, ServiceExt, service_fn};

use crate::world::{Accounts, Command, commands, events, memory};

fn side(store: &Store) -> (Commands<Accounts>, Arc<Memory<u64>>) {
    let sum = Projection::new(store.clone(), "sum", "account", events());
    let sum: Memory<u64> = sum
        .memory(|sum: &mut u64, _| {
            *sum += 1;
            Ok::<_, Infallible>(())
        })
        .unwrap();
    (commands(store), Arc::new(sum))
}

fn request(position: Option<&str>) -> Request<String> {
    let request = Request::get("/sum");
    let request = match position {
        Some(position) => request.header(POSITION, position),
        None => request,
    };
    request.body(String::new()).unwrap()
}

/// CQ-3: a read waits until it shows what is asked for, or is refused with the position that there is; the handler is called for
/// no other.
#[tokio::test(start_paused = true)]
async fn a_read_shows_what_is_asked_for() {
    let store = memory();
    let (accounts, side) = side(&store);
    let done = accounts.execute("7", &Command::Deposit(1)).await.unwrap();
    let calls = Arc::new(AtomicU32::new(0));
    let (model, counted) = (side.clone(), calls.clone());
    let handler = service_fn(move |_: Request<String>| {
        let (model, counted) = (model.clone(), counted.clone());
        async move {
            counted.fetch_add(1, Ordering::Relaxed);
            Ok::<_, Infallible>(Response::new(model.read(u64::to_string)))
        }
    });
    let reads = AtLeastLayer::new(side, Duration::from_secs(1)).layer(handler);
    let ask = |position: Option<&str>| reads.clone().oneshot(request(position));

    let there = done.position.get().to_string();
    let answer = ask(Some(&there)).await.unwrap();
    assert_eq!((answer.status(), &**answer.body()), (StatusCode::OK, "1"));
    assert_eq!(ask(None).await.unwrap().status(), StatusCode::OK);
    assert_eq!(calls.load(Ordering::Relaxed), 2);

    let behind = ask(Some("1000")).await.unwrap();
    assert_eq!(behind.status(), StatusCode::PRECONDITION_FAILED);
    assert_eq!(position_of(behind.headers()), Ok(Some(done.position)));
    for wrong in ["", "-1", "+1", "1.0", "x", "9223372036854775808", "1 2"] {
        let answer = ask(Some(wrong)).await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{wrong:?}");
    }
    assert_eq!(calls.load(Ordering::Relaxed), 2);

    // It comes while the read waits.
    let next = (done.position.get() + 1).to_string();
    let waits = ask(Some(&next));
    let writes = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        accounts.execute("7", &Command::Deposit(1)).await.unwrap()
    };
    let (answer, _) = tokio::join!(waits, writes);
    assert_eq!(answer.unwrap().body(), "2");
}

/// CQ-3: a client sends what it has seen at most, and takes no word for it from one that was behind.
#[tokio::test]
async fn a_session_carries_its_position() {
    let session = Session::new();
    let answers = |status: StatusCode, position: u64| {
        let server = service_fn(move |request: Request<String>| async move {
            let asked = position_of(request.headers()).unwrap();
            let mut answer = Response::new(asked.map(Position::get));
            *answer.status_mut() = status;
            let position = position_value(Position::new(position));
            answer.headers_mut().insert(POSITION, position);
            Ok::<_, Infallible>(answer)
        });
        session.layer().layer(server)
    };
    let ask = |status, position| answers(status, position).oneshot(request(None));
    assert_eq!(*ask(StatusCode::CREATED, 7).await.unwrap().body(), None);
    assert_eq!(*ask(StatusCode::OK, 5).await.unwrap().body(), Some(7));
    assert_eq!(
        *ask(StatusCode::PRECONDITION_FAILED, 9)
            .await
            .unwrap()
            .body(),
        Some(7)
    );
    assert_eq!(session.position(), Position::new(7));
    session.saw(Position::new(8));
    assert_eq!(*ask(StatusCode::OK, 0).await.unwrap().body(), Some(8));
    let own = answers(StatusCode::OK, 0).oneshot(request(Some("3")));
    assert_eq!(*own.await.unwrap().body(), Some(3));
}
