//! A copy of what a store's events come to.

use backstay_replica::{Clock, LogSource, MaxAge, Replica, Told};
use backstay_store::{Batch, Event, MemoryStore, Recorded, Store};
use tokio::time::sleep;

use super::world::{Heard, S};

type Read = Result<Told<String, u32>, Box<dyn std::error::Error + Send + Sync>>;

/// What an item costs.
fn price(event: &Recorded) -> Read {
    let item = event.stream.clone();
    Ok(match event.kind.as_str() {
        "priced" => Told::Is(item, std::str::from_utf8(&event.data)?.parse()?),
        "withdrawn" => Told::Gone(item),
        _ => Told::Nothing,
    })
}

async fn happened(store: &Store, item: &str, kind: &str, data: &str) -> u64 {
    let event = Event::new(kind.to_owned(), data.to_owned());
    let commit = store.commit(Batch::new().append(item, event)).await;
    commit.expect("a commit").position.get()
}

/// REP-3: each event sets a key, deletes one or says nothing, and a commit's position is waited for.
#[tokio::test(start_paused = true)]
async fn events_are_folded() {
    let store = MemoryStore::new().into_store();
    happened(&store, "tea", "priced", "250").await;
    happened(&store, "salt", "priced", "90").await;
    happened(&store, "tea", "priced", "270").await;
    happened(&store, "salt", "withdrawn", "").await;
    let builder = Replica::builder(LogSource::new(store.clone(), "prices", price));
    let built = builder.clock(Clock::tokio()).build().expect("options");
    let copy = built.start().await.expect("a copy");
    assert_eq!(copy.len(), 1);
    let at = async |number, item: &str| {
        let version = copy.version().expect("a copy").at(number);
        let reading = copy.at_least(version, item, MaxAge::ANY).await;
        reading.expect("it is followed").value.as_deref().copied()
    };
    let number = happened(&store, "tea", "discussed", "at length").await;
    assert_eq!(at(number, "tea").await, Some(270));
    let number = happened(&store, "salt", "priced", "95").await;
    assert_eq!(at(number, "salt").await, Some(95));
    let number = happened(&store, "tea", "withdrawn", "").await;
    assert_eq!(at(number, "tea").await, None);
}

/// REP-3: an event that can't be read ends the session, and is named; the copy stays as it was.
#[tokio::test(start_paused = true)]
async fn what_can_not_be_read_is_named() {
    let store = MemoryStore::new().into_store();
    happened(&store, "tea", "priced", "250").await;
    let heard = Heard::default();
    let builder = Replica::builder(LogSource::new(store.clone(), "prices", price));
    let builder = builder.clock(Clock::tokio()).on_event(heard.hear());
    let built = builder.build().expect("options");
    let copy = built.start().await.expect("a copy");
    happened(&store, "tea", "priced", "a lot").await;
    sleep(S(60)).await;
    let reading = copy.peek("tea").expect("a reading");
    assert_eq!(reading.value.as_deref(), Some(&250));
    assert!(reading.age >= S(59), "{:?}", reading.age);
    let said = heard.ends().first().expect("an end").to_string();
    assert_eq!(said, "event 2 of \"tea\" can't be read");
}
