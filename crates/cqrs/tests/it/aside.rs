//! What a receiver has set aside.

use std::io;

use backstay_cqrs::{AsideError, Inbox, InboxError, Message, Taken};
use backstay_store::{SqliteStore, Version};

use crate::world::file;

fn message(source: &str, version: u64) -> Message {
    let text = format!(
        r#"{{"specversion":"1.0","id":"a/{version}","source":"{source}","type":"deposited","subject":"a",
        "time":"2026-11-28T10:00:00Z","datacontenttype":"application/json","partitionkey":"a",
        "sequence":"{version}","data":{{}}}}"#
    );
    Message::from_json(text.as_bytes()).unwrap()
}

async fn take(
    inbox: &Inbox<SqliteStore>,
    message: &Message,
    is_well: bool,
) -> Result<Taken<()>, InboxError<io::Error>> {
    let failed = || io::Error::other("it fails");
    let taken = inbox.take(
        message,
        move |_| if is_well { Ok(()) } else { Err(failed()) },
    );
    taken.await
}

/// CQ-5: what a person leaves out is kept with who and why, and what is behind it comes next; the key is free after the last.
#[tokio::test]
async fn what_is_set_aside_is_taken_or_left_out_in_order() {
    let (_folder, store) = file().await;
    let inbox = Inbox::new(&store, "theirs").unwrap();
    let messages: Vec<_> = (1..=4).map(|version| message("/a", version)).collect();
    let failed = take(&inbox, &messages[0], false).await;
    assert!(matches!(failed, Err(InboxError::Work(_))), "{failed:?}");
    inbox.set_aside(&messages[0], "it fails").await.unwrap();
    // Also if it were well now, and also what fails too.
    assert_eq!(
        take(&inbox, &messages[1], true).await.unwrap(),
        Taken::Behind
    );
    assert_eq!(
        take(&inbox, &messages[2], false).await.unwrap(),
        Taken::Behind
    );
    for message in &messages[..3] {
        assert_eq!(take(&inbox, message, true).await.unwrap(), Taken::Before);
        inbox.set_aside(message, "again").await.unwrap();
    }
    // The same key of another source is another.
    assert_eq!(
        take(&inbox, &message("/b", 1), true).await.unwrap(),
        Taken::Now(())
    );

    let aside = inbox.aside().await.unwrap();
    let ids: Vec<_> = aside.iter().map(|aside| &*aside.message.id).collect();
    assert_eq!(ids, ["a/1", "a/2", "a/3"]);
    assert_eq!(aside[0].error.as_deref(), Some("it fails"));
    let late = inbox.skip_aside(&aside[1], "eva", "a test of ours").await;
    assert!(matches!(late, Err(AsideError::NotFirst { .. })), "{late:?}");
    inbox
        .skip_aside(&aside[0], "eva", "a test of ours")
        .await
        .unwrap();
    let audit = store
        .read("cqrs/theirs/audit", Version::START, 10)
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&audit[0].data).into_owned();
    assert!(
        text.contains(r#""who":"eva","why":"a test of ours""#),
        "{text}"
    );
    for aside in &aside[1..] {
        let again = inbox.take_aside(aside, |_| Ok::<_, io::Error>(())).await;
        again.unwrap();
        let twice = inbox.take_aside(aside, |_| Ok::<_, io::Error>(())).await;
        let is_gone = matches!(twice, Err(InboxError::Aside(AsideError::NotFirst { .. })));
        assert!(is_gone, "{twice:?}");
    }
    assert!(inbox.aside().await.unwrap().is_empty());
    assert_eq!(
        take(&inbox, &messages[3], true).await.unwrap(),
        Taken::Now(())
    );
    assert_eq!(
        take(&inbox, &messages[0], true).await.unwrap(),
        Taken::Before
    );
}

/// CQ-5: a message that was taken and comes again is known, also when its work can't be done twice.
#[tokio::test]
async fn work_that_fails_the_second_time_was_done() {
    let (_folder, store) = file().await;
    let inbox = Inbox::new(&store, "theirs").unwrap();
    assert_eq!(
        take(&inbox, &message("/a", 1), true).await.unwrap(),
        Taken::Now(())
    );
    assert_eq!(
        take(&inbox, &message("/a", 1), false).await.unwrap(),
        Taken::Before
    );
}
