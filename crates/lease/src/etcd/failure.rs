use backstay_core::Effect;
use backstay_etcd::codes::RESOURCE_EXHAUSTED;
use backstay_store::{Cause, Unavailable};

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Etcd(#[from] backstay_etcd::Failure),
    #[error("the key holds something else than a lease")]
    Corrupt,
}

impl Failure {
    pub(super) fn was_a_read(self) -> Unavailable {
        self.with(Effect::NotExecuted)
    }

    pub(super) fn was_a_write(self) -> Unavailable {
        self.with(Effect::Unknown)
    }

    pub(super) fn answer(what: &'static str) -> Self {
        backstay_etcd::Failure::Answer(what).into()
    }

    fn with(self, effect: Effect) -> Unavailable {
        let cause = match self {
            Failure::Corrupt => Cause::Corrupt,
            Failure::Etcd(backstay_etcd::Failure::Refused {
                code: RESOURCE_EXHAUSTED,
                ..
            }) => Cause::Full,
            Failure::Etcd(_) => Cause::Storage,
        };
        Unavailable::new(cause, effect).because(self)
    }
}
