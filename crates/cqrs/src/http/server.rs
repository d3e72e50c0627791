use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ::http::{Request, Response, StatusCode};
use backstay_store::Position;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;
use tower_layer::Layer;
use tower_service::Service;

use super::{POSITION, position_of, position_value};
use crate::consumer::WaitError;
use crate::projection::{Documents, Memory, Tables};

/// A read model that can be waited for.
pub trait ReadSide: Send + Sync + 'static {
    /// Waits until all up to a position is shown, at most so long.
    fn at_least(
        &self,
        position: Position,
        within: Duration,
    ) -> BoxFuture<'_, Result<(), WaitError>>;
}

impl<S: Send + Sync + 'static> ReadSide for Memory<S> {
    fn at_least(&self, to: Position, within: Duration) -> BoxFuture<'_, Result<(), WaitError>> {
        Self::at_least(self, to, within).boxed()
    }
}

impl<V: DeserializeOwned + 'static> ReadSide for Documents<V> {
    fn at_least(&self, to: Position, within: Duration) -> BoxFuture<'_, Result<(), WaitError>> {
        Self::at_least(self, to, within).boxed()
    }
}

impl ReadSide for Tables {
    fn at_least(&self, to: Position, within: Duration) -> BoxFuture<'_, Result<(), WaitError>> {
        Self::at_least(self, to, within).boxed()
    }
}

/// Lets a server's reads wait until they show what the request asks for.
///
/// A request without the header is not held up. Where the read side is not that far in time the answer is 412 with the
/// position that it is at; where its store can't say, 503; where the header is no position, 400. None of them calls the
/// handler.
#[derive(Debug)]
pub struct AtLeastLayer<R> {
    side: Arc<R>,
    within: Duration,
}

impl<R> Clone for AtLeastLayer<R> {
    fn clone(&self) -> Self {
        Self {
            side: self.side.clone(),
            within: self.within,
        }
    }
}

impl<R: ReadSide> AtLeastLayer<R> {
    /// Waits for this read side, at most so long: less than the caller waits for an answer.
    pub fn new(side: Arc<R>, within: Duration) -> Self {
        Self { side, within }
    }
}

impl<S, R: ReadSide> Layer<S> for AtLeastLayer<R> {
    type Service = AtLeastService<S, R>;

    fn layer(&self, inner: S) -> Self::Service {
        let layer = self.clone();
        AtLeastService { inner, layer }
    }
}

/// A service whose reads show what is asked for. Made by [`AtLeastLayer`].
#[derive(Debug)]
pub struct AtLeastService<S, R> {
    inner: S,
    layer: AtLeastLayer<R>,
}

impl<S: Clone, R> Clone for AtLeastService<S, R> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            layer: self.layer.clone(),
        }
    }
}

impl<S, R, B, A> Service<Request<B>> for AtLeastService<S, R>
where
    S: Service<Request<B>, Response = Response<A>> + Clone + Send + 'static,
    S::Future: Send,
    R: ReadSide,
    B: Send + 'static,
    A: Default,
{
    type Response = Response<A>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<A>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The one that is ready, not its copy.
        let copy = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, copy);
        let position = match position_of(request.headers()) {
            Ok(None) => return inner.call(request).boxed(),
            Ok(Some(position)) => position,
            Err(_) => return async { Ok(refused(StatusCode::BAD_REQUEST)) }.boxed(),
        };
        let AtLeastLayer { side, within } = self.layer.clone();
        async move {
            match side.at_least(position, within).await {
                Ok(()) => inner.call(request).await,
                Err(WaitError::Behind { at, .. }) => {
                    let mut answer = refused(StatusCode::PRECONDITION_FAILED);
                    answer.headers_mut().insert(POSITION, position_value(at));
                    Ok(answer)
                }
                Err(_) => Ok(refused(StatusCode::SERVICE_UNAVAILABLE)),
            }
        }
        .boxed()
    }
}

fn refused<A: Default>(status: StatusCode) -> Response<A> {
    let mut answer = Response::new(A::default());
    *answer.status_mut() = status;
    answer
}
