use std::sync::Arc;
use std::time::Duration;

use backstay_core::Invalid;
use backstay_store::Store;
use http::Method;
use http::request::Parts;
use tower_layer::Layer;

use super::request::{KeysOf, Principal, Scope};
use super::service::{IdempotencyService, Shared};
use crate::options::within;
use crate::{BuildError, Idempotency, IdempotencyBuilder};

/// What axum takes by default is twice this.
const REQUEST_BYTES: usize = 1 << 20;

/// A value of the store is 1 MiB at most, and base64 makes a third more of it.
const ANSWER_BYTES: usize = 512 << 10;

const LARGEST: usize = 64 << 20;

/// Does requests with an `Idempotency-Key` once: a layer for axum, and for any service of HTTP requests.
///
/// The first request with a key runs its handler, and its answer is kept. A repeat gets that answer, marked
/// `Idempotency-Replayed: true`; while the handler runs it gets 409 with `Retry-After`; another request under the key
/// gets 422. [`Settle`](crate::Settle) says which answers are kept, and
/// [`IdempotencyGuard`](crate::IdempotencyGuard) commits one with the handler's own rows.
///
/// **What goes outside of it** (after it, with `Router::layer`): whatever tells who is calling and turns strangers away. A kept
/// answer is sent before the inner service is asked, so a check inside does not see repeats, and a token that was
/// revoked since would still get the answer; and a key costs two commits, which are not for strangers. Compression
/// and CORS go outside too: of layers inside, what they made of the first caller's `Accept-Encoding`, `Accept` or
/// `Origin` is kept, and is what a repeat with other ones gets.
///
/// A request's body is read and made anew, so it must be `From<Bytes>`: `axum::body::Body` and `Full<Bytes>` are, hyper's
/// `Incoming` is not; there a layer outside of this one makes one of the other, as `MapRequestBodyLayer` of tower-http.
///
/// Where two layers are around one route the outer one works and the inner one lets its requests pass.
///
/// ```
/// use axum::{Router, routing::post};
/// use backstay_idempotency::IdempotencyLayer;
/// use backstay_store::SqliteStore;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// let store = SqliteStore::open(folder.path().join("shop.db")).await?;
/// let app: Router = Router::new()
///     .route("/charges", post(async || "charged"))
///     .layer(IdempotencyLayer::new(store)?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct IdempotencyLayer {
    shared: Arc<Shared>,
}

impl IdempotencyLayer {
    /// Keeps answers in this store, with the default options.
    ///
    /// # Errors
    ///
    /// [`BuildError::Volatile`] when the store is not durable.
    pub fn new(store: impl Into<Store>) -> Result<Self, BuildError> {
        Self::builder(store).build()
    }

    /// Starts with the default options.
    pub fn builder(store: impl Into<Store>) -> IdempotencyLayerBuilder {
        IdempotencyLayerBuilder {
            records: Idempotency::builder(store.into()),
            methods: vec![Method::POST, Method::PATCH],
            is_required: false,
            wait: Duration::ZERO,
            scope: Scope {
                namespace: String::new(),
                principal: Principal::Authorization,
                keys: KeysOf::Route,
            },
            request_bytes: REQUEST_BYTES,
            answer_bytes: ANSWER_BYTES,
        }
    }
}

impl<S> Layer<S> for IdempotencyLayer {
    type Service = IdempotencyService<S>;

    fn layer(&self, inner: S) -> IdempotencyService<S> {
        IdempotencyService::new(inner, Arc::clone(&self.shared))
    }
}

/// Collects the options of an [`IdempotencyLayer`].
#[derive(Clone, Debug)]
#[must_use = "a builder builds nothing until `build`"]
pub struct IdempotencyLayerBuilder {
    records: IdempotencyBuilder,
    methods: Vec<Method>,
    is_required: bool,
    wait: Duration,
    scope: Scope,
    request_bytes: usize,
    answer_bytes: usize,
}

impl IdempotencyLayerBuilder {
    /// See [`IdempotencyBuilder::retention`]. Default: 24 h.
    pub fn retention(mut self, time: Duration) -> Self {
        self.records = self.records.retention(time);
        self
    }

    /// See [`IdempotencyBuilder::take_over_after`]. Default: 30 s.
    pub fn take_over_after(mut self, time: Duration) -> Self {
        self.records = self.records.take_over_after(time);
        self
    }

    /// See [`IdempotencyBuilder::allow_volatile`].
    pub fn allow_volatile(mut self) -> Self {
        self.records = self.records.allow_volatile();
        self
    }

    /// The methods whose requests are looked at, one or more; all others pass. Default: POST and PATCH, which HTTP does
    /// not call idempotent.
    pub fn methods(mut self, methods: impl IntoIterator<Item = Method>) -> Self {
        self.methods = methods.into_iter().collect();
        self
    }

    /// Refuses requests without a key with 400. Default: they pass.
    pub fn required(mut self) -> Self {
        self.is_required = true;
        self
    }

    /// How long a repeat waits for the first to be answered, before it gets 409. 0 to 1 h; default 0.
    pub fn wait(mut self, time: Duration) -> Self {
        self.wait = time;
        self
    }

    /// Tells apart the keys of services that share a store. Default: empty.
    ///
    /// The layer sees paths as the router shows them: behind `nest` without the part before. Give each its namespace.
    pub fn namespace(mut self, name: impl Into<String>) -> Self {
        self.scope.namespace = name.into();
        self
    }

    /// Who asks: a user, a tenant. One never gets an answer of another. Default: the `Authorization` header.
    ///
    /// Set it where the header changes between tries, as with tokens that are renewed, or where users are known by a
    /// cookie: without it all who send no such header are one.
    pub fn principal(mut self, who: impl Fn(&Parts) -> String + Send + Sync + 'static) -> Self {
        self.scope.principal = Principal::Told(Arc::new(who));
        self
    }

    /// Lets a request withdraw the key of an earlier one that it undoes, named by `backstay-undoes: "<key>"`.
    ///
    /// The handler is told by [`Undoes`](crate::Undoes) what was known of it. While it is handled the undo gets 409 with
    /// `Retry-After`; after that it is refused with 410 if it comes late or again. A request with that header needs a key
    /// of its own, and is looked at whatever its method.
    ///
    /// Keys are then of a principal and not of a route: the same key on two routes is refused with 422. Put **one** layer
    /// around the routes of both: an undo does not find what a layer without this option, or of another namespace, has
    /// kept. Switching it on or off makes every key new, so that repeats of earlier requests run again. Default: off, and
    /// such a request is refused with 501.
    pub fn undoable(mut self) -> Self {
        self.scope.keys = KeysOf::Principal;
        self
    }

    /// Largest body of a request with a key, 1 byte to 64 MiB; a larger one gets 413. Default: 1 MiB.
    pub fn request_bytes(mut self, bytes: usize) -> Self {
        self.request_bytes = bytes;
        self
    }

    /// Largest body of an answer that is kept, 1 byte to 64 MiB. Default: 512 KiB.
    ///
    /// A larger one is passed on once; a repeat is told that the request was handled, and not run again. The store's own
    /// limit of a value must be a third larger.
    pub fn answer_bytes(mut self, bytes: usize) -> Self {
        self.answer_bytes = bytes;
        self
    }

    /// Checks the options and the store.
    ///
    /// # Errors
    ///
    /// Names the option, its value and the range, or says that the store is not durable.
    pub fn build(self) -> Result<IdempotencyLayer, BuildError> {
        within(
            "wait",
            self.wait,
            Duration::ZERO,
            Duration::from_secs(3_600),
        )?;
        for (field, bytes) in [
            ("request_bytes", self.request_bytes),
            ("answer_bytes", self.answer_bytes),
        ] {
            if !(1..=LARGEST).contains(&bytes) {
                let limit = format!("must be in 1..={LARGEST}");
                return Err(Invalid::new(field, bytes, limit).into());
            }
        }
        if self.methods.is_empty() {
            let limit = "must name one or more: with none every request passes";
            return Err(Invalid::new("methods", "none", limit).into());
        }
        let records = self.records.build()?.records;
        let value_bytes = records.store.limits().value_bytes;
        if self.answer_bytes / 3 * 4 > value_bytes {
            let limit = format!(
                "must be three quarters of the store's value_bytes, {value_bytes}, at most"
            );
            return Err(Invalid::new("answer_bytes", self.answer_bytes, limit).into());
        }
        Ok(IdempotencyLayer {
            shared: Arc::new(Shared {
                records,
                methods: self.methods,
                is_required: self.is_required,
                wait: self.wait,
                scope: self.scope,
                request_bytes: self.request_bytes,
                answer_bytes: self.answer_bytes,
            }),
        })
    }
}
