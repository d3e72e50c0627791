//! What is not as it should be is said.

use std::time::Duration;

use backstay_cqrs::nats::async_nats::jetstream;
use backstay_cqrs::nats::{NatsConsumer, NatsError, NatsSource, NatsStream, NatsTransport};

use super::{STREAM, client, server, stream};

type Change = fn(&mut jetstream::stream::Config);

/// CQ-5: a stream that loses, doubles or mixes up messages is refused, and so are options that can't be.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_made_otherwise_is_refused() {
    let Some(server) = server().await else {
        return;
    };
    let client = client(&server).await;
    let context = jetstream::new(client.clone());
    let missing = NatsSource::connect(client.clone(), STREAM, "billing").await;
    assert!(
        matches!(missing, Err(NatsError::Missing { .. })),
        "{missing:?}"
    );
    NatsTransport::connect(client.clone(), stream())
        .await
        .unwrap();
    NatsTransport::connect(client.clone(), stream())
        .await
        .unwrap();

    let day = Duration::from_secs(86_400);
    let wrong = [
        ("partitions", NatsStream::new(STREAM).partitions(5)),
        ("max_age", stream().max_age(day)),
        ("duplicate_window", stream().duplicate_window(day)),
        ("replicas", stream().replicas(3)),
        ("stream", NatsStream::new("a.b")),
        ("partitions", NatsStream::new("b").partitions(0)),
        ("partitions", NatsStream::new("b").partitions(257)),
        ("max_age", NatsStream::new("b").max_age(Duration::ZERO)),
        (
            "duplicate_window",
            NatsStream::new("b").max_age(day).duplicate_window(2 * day),
        ),
        ("replicas", NatsStream::new("b").replicas(6)),
    ];
    for (field, options) in wrong {
        let refused = NatsTransport::connect(client.clone(), options).await;
        let Err(NatsError::Invalid(invalid)) = refused else {
            panic!("{field}: {refused:?}")
        };
        assert!(invalid.field.starts_with(field), "{field}: {invalid}");
    }
    let second = Duration::from_secs(1);
    for consumer in [
        NatsConsumer::new(""),
        NatsConsumer::new("b").ack_wait(second / 2),
    ] {
        let refused = NatsSource::connect(client.clone(), STREAM, consumer).await;
        assert!(matches!(refused, Err(NatsError::Invalid(_))), "{refused:?}");
    }

    let made: [(&str, Change); 5] = [
        ("storage", |config| {
            config.storage = jetstream::stream::StorageType::Memory;
        }),
        ("discard", |config| {
            config.discard = jetstream::stream::DiscardPolicy::Old;
        }),
        ("discard", |config| config.no_ack = true),
        ("retention", |config| {
            config.retention = jetstream::stream::RetentionPolicy::WorkQueue;
        }),
        ("subjects", |config| {
            config.subjects = vec!["accounts.>".to_owned()];
        }),
    ];
    for (field, change) in made {
        context.delete_stream(STREAM).await.unwrap();
        NatsTransport::connect(client.clone(), stream())
            .await
            .unwrap();
        let mut found = context.get_stream(STREAM).await.unwrap();
        let mut config = found.info().await.unwrap().config.clone();
        context.delete_stream(STREAM).await.unwrap();
        change(&mut config);
        context.create_stream(config).await.unwrap();
        let refused = NatsTransport::connect(client.clone(), stream()).await;
        let Err(NatsError::Invalid(invalid)) = refused else {
            panic!("{field}: {refused:?}")
        };
        assert!(invalid.field.starts_with(field), "{field}: {invalid}");
    }
}
