use std::task::{Context, Poll};

use backstay_core::Invalid;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Request};
use tower_layer::Layer;
use tower_service::Service;

use super::header::{self, HEADER};
use crate::{Leadership, Lost};

/// Why a request of a leader is not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotSent {
    /// It leads no more.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// The header can't carry the lease's name or token.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

/// Why a leader has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LeaderError<E> {
    /// The request was not sent.
    #[error(transparent)]
    NotSent(NotSent),
    /// It led no more while it waited for the answer; what the request did is unknown.
    #[error("no answer was waited for")]
    Lost(#[source] Lost),
    /// What the client says.
    #[error(transparent)]
    Client(E),
}

impl Leadership {
    /// The header that tells a server under which lease a request is sent: [`HEADER`].
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// # use backstay_lease::Election;
    /// # let store = backstay_store::MemoryStore::new().into_store();
    /// let election = Election::builder(store, "sweeper").build()?;
    /// let leadership = election.campaign().await?;
    /// assert_eq!(leadership.headers()?["fencing-token"], "\"sweeper\";token=1");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// When it leads no more, and when the header can't carry the name, which has to be printable ASCII, or the token, which
    /// has to have at most 15 digits.
    pub fn headers(&self) -> Result<HeaderMap, NotSent> {
        Ok([(HEADER, self.header()?)].into_iter().collect())
    }

    /// A layer around an HTTP client that sends the [header](Self::headers) with each request while it leads.
    ///
    /// It has a clone of the leadership: let it go with the work.
    pub fn layer(&self) -> LeaderLayer {
        LeaderLayer(self.clone())
    }

    fn header(&self) -> Result<HeaderValue, NotSent> {
        self.check()?;
        Ok(header::write(self.name(), self.token())?)
    }
}

/// Sends each request under a lease, and none once that has ended. Made by [`Leadership::layer`].
#[derive(Clone, Debug)]
pub struct LeaderLayer(Leadership);

impl<S> Layer<S> for LeaderLayer {
    type Service = LeaderService<S>;

    fn layer(&self, inner: S) -> LeaderService<S> {
        LeaderService {
            inner,
            leadership: self.0.clone(),
        }
    }
}

/// A client whose requests are sent under a lease.
///
/// # Cancel safety
///
/// That of the client. When it leads no more a request is dropped, as in [`Leadership::run`].
#[derive(Clone, Debug)]
pub struct LeaderService<S> {
    inner: S,
    leadership: Leadership,
}

impl<S, B> Service<Request<B>> for LeaderService<S>
where
    S: Service<Request<B>>,
    S::Future: Send + 'static,
    S::Response: Send,
    S::Error: Send,
{
    type Response = S::Response;
    type Error = LeaderError<S::Error>;
    type Future = BoxFuture<'static, Result<S::Response, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(LeaderError::Client)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let leadership = self.leadership.clone();
        let header = match leadership.header() {
            Ok(header) => header,
            Err(not_sent) => return async { Err(LeaderError::NotSent(not_sent)) }.boxed(),
        };
        request.headers_mut().insert(HEADER, header);
        let answer = self.inner.call(request);
        async move {
            let answer = leadership.run(answer).await.map_err(LeaderError::Lost)?;
            answer.map_err(LeaderError::Client)
        }
        .boxed()
    }
}
