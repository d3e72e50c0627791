use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use backstay_core::Invalid;
use backstay_store::{Batch, CommitError, Fence, Store};
use http::Response;
use tower_layer::Layer;

use super::service::FenceService;
use super::{answer, header};
use crate::Leases;
use crate::leases::fence_name;

/// Most names that one layer accepts: more are a sign of names that callers make up.
const MOST_NAMES: usize = 1_000;

/// Refuses requests of former leaders before the handlers see them.
///
/// A request says under which lease it was sent, in the header `fencing-token: "sweeper";token=34`. The layer raises the
/// mark of that name in its store, durably, and lets the request pass if no higher token was seen: there, by any process.
/// Equal tokens pass; each is asked for in the store, because another process may have seen a higher one since. Only a
/// refusal is answered from memory: marks never sink.
///
/// **The layer alone does not close the gap.** Between its check and the handler's write a later leader may write. The
/// [`Fence`] is in the request's extensions: put it on the batch that the handler commits, and the check is part of the write.
///
/// A request that is let in raises the mark. So names are listed, put the layer behind what tells who is calling, and let
/// the lease's home [confirm](FenceLayerBuilder::issued_by) new tokens: else whoever may call can send the highest token of all
/// and lock out every leader to come.
///
/// ```
/// use axum::{Extension, Router, extract::State, response::Response, routing::post};
/// use backstay_lease::fencing::{Fence, FenceLayer, refusal};
/// use backstay_store::{Batch, MemoryStore, Store};
///
/// # fn main() -> Result<(), backstay_lease::Invalid> {
/// async fn sweep(State(store): State<Store>, Extension(fence): Extension<Fence>) -> Response {
///     let swept = Batch::new().put("swept", "yes").fenced(fence);
///     match store.commit(swept).await {
///         Ok(_) => Response::default(),
///         Err(error) => refusal(&error).unwrap_or_else(|| Response::new(error.to_string().into())),
///     }
/// }
///
/// let store = MemoryStore::new().into_store();
/// let fences = FenceLayer::builder(store.clone())
///     .accept("sweeper")
///     .issued_by(store.clone())
///     .build()?;
/// let app: Router = Router::new()
///     .route("/sweep", post(sweep))
///     .layer(fences)
///     .with_state(store);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct FenceLayer(Arc<Shared>);

/// Collects the options of a [`FenceLayer`].
#[must_use = "a builder builds nothing until `build`"]
#[derive(Debug)]
pub struct FenceLayerBuilder {
    store: Store,
    names: Vec<String>,
    issuer: Option<Arc<dyn Leases>>,
    optional: bool,
}

impl FenceLayer {
    /// A layer that keeps its marks in this store: the one that the handlers write to, if there is one.
    pub fn builder(store: Store) -> FenceLayerBuilder {
        FenceLayerBuilder {
            store,
            names: Vec::new(),
            issuer: None,
            optional: false,
        }
    }
}

impl FenceLayerBuilder {
    /// Accepts the leases of this name, that of the election: printable ASCII, 1 to 200 bytes. Any other name gets 403.
    pub fn accept(mut self, name: impl Into<String>) -> Self {
        self.names.push(name.into());
        self
    }

    /// Asks the home of the leases about a token that is higher than all before; one that it has not given gets 403.
    ///
    /// It is asked once a term by each process, and by each request with a token that was made up: bound the requests outside
    /// of this layer. While it can't be reached such requests get 503. A token of a term that was over before this layer
    /// heard of it gets 403 too. Without this any token is believed.
    pub fn issued_by(mut self, leases: impl Leases) -> Self {
        self.issuer = Some(Arc::new(leases));
        self
    }

    /// Lets requests without the header pass, and their handlers find no [`Fence`]; by default they get 428.
    ///
    /// For routes that others than leaders call too. Whoever leaves the header out is not stopped by anything.
    pub fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// Checks the options.
    pub fn build(self) -> Result<FenceLayer, Invalid> {
        if !(1..=MOST_NAMES).contains(&self.names.len()) {
            let limit = format!("must be in 1..={MOST_NAMES}");
            return Err(Invalid::new(
                "fences.accept, names",
                self.names.len(),
                limit,
            ));
        }
        for name in &self.names {
            if !(1..=200).contains(&name.len()) || header::write(name, 1).is_err() {
                let shown: String = name.chars().take(40).collect();
                let limit = "must be 1 to 200 bytes of printable ASCII";
                return Err(Invalid::new("fences.accept", format!("{shown:?}"), limit));
            }
        }
        let marks = self.names.into_iter().map(|name| Mark {
            name,
            highest: AtomicU64::new(0),
        });
        Ok(FenceLayer(Arc::new(Shared {
            store: self.store,
            marks: marks.collect(),
            issuer: self.issuer,
            optional: self.optional,
        })))
    }
}

impl<S> Layer<S> for FenceLayer {
    type Service = FenceService<S>;

    fn layer(&self, inner: S) -> FenceService<S> {
        FenceService::new(inner, self.0.clone())
    }
}

#[derive(Debug)]
pub(super) struct Shared {
    store: Store,
    marks: Vec<Mark>,
    issuer: Option<Arc<dyn Leases>>,
    optional: bool,
}

/// The highest token of a name that this process has heard of.
struct Mark {
    name: String,
    highest: AtomicU64,
}

impl Mark {
    fn highest(&self) -> u64 {
        self.highest.load(Ordering::Relaxed)
    }

    /// A hint for refusals only, so its order against other memory does not matter.
    fn saw(&self, token: u64) {
        self.highest.fetch_max(token, Ordering::Relaxed);
    }
}

impl Shared {
    /// The fence of a request that may pass, or why it may not.
    pub(super) async fn check<R: From<String>>(
        &self,
        headers: &http::HeaderMap,
    ) -> Result<Option<Fence>, Response<R>> {
        let (name, token) = match header::read(headers).map_err(answer::malformed)? {
            Some(sent) => sent,
            None if self.optional => return Ok(None),
            None => return Err(answer::missing()),
        };
        let mark = self.marks.iter().find(|mark| mark.name == name);
        let mark = mark.ok_or_else(|| answer::unknown_name(&name))?;
        let highest = mark.highest();
        if token < highest {
            return Err(answer::stale(&name, token, Some(highest)));
        }
        if token > highest {
            self.is_issued(mark, token).await?;
        }
        let fence = Fence::new(fence_name(&name), token);
        // An equal token is asked for as well: another process may have raised the mark since.
        match self.store.commit(Batch::new().fenced(fence.clone())).await {
            Ok(_) => {
                mark.saw(token);
                Ok(Some(fence))
            }
            Err(CommitError::Fenced { highest, .. }) => {
                mark.saw(highest);
                Err(answer::stale(&name, token, Some(highest)))
            }
            Err(_) => Err(answer::unavailable()),
        }
    }

    async fn is_issued<R: From<String>>(&self, mark: &Mark, token: u64) -> Result<(), Response<R>> {
        let Some(issuer) = &self.issuer else {
            return Ok(());
        };
        let holder = issuer.holder(mark.name.clone()).await;
        let holder = holder.map_err(|_| answer::unavailable())?;
        let now = holder.map_or(0, |holder| holder.lease.token);
        if token < now {
            // Its fence would let it pass as long as the holder has not written here.
            mark.saw(now);
            return Err(answer::stale(&mark.name, token, Some(now)));
        }
        if token > now {
            return Err(answer::not_issued(&mark.name, token));
        }
        Ok(())
    }
}

impl fmt::Debug for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.name, self.highest())
    }
}
