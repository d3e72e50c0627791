use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use tower_service::Service;

use super::layer::Shared;

/// A service whose requests pass a [`FenceLayer`](super::FenceLayer) first.
///
/// # Cancel safety
///
/// Dropping a request's future drops its handler, if that has begun. The mark may have been raised.
#[derive(Clone, Debug)]
pub struct FenceService<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> FenceService<S> {
    pub(super) fn new(inner: S, shared: Arc<Shared>) -> Self {
        Self { inner, shared }
    }
}

impl<S, B, R> Service<Request<B>> for FenceService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
    R: From<String> + Send + 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<R>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        // Only the one that was asked is ready. It goes with the request; the next one is asked anew.
        let next = self.inner.clone();
        let mut ready = std::mem::replace(&mut self.inner, next);
        let shared = self.shared.clone();
        async move {
            let headers = std::mem::take(request.headers_mut());
            let checked = shared.check(&headers).await;
            *request.headers_mut() = headers;
            match checked {
                Ok(fence) => {
                    if let Some(fence) = fence {
                        request.extensions_mut().insert(fence);
                    }
                    ready.call(request).await
                }
                Err(refused) => Ok(refused),
            }
        }
        .boxed()
    }
}
