use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Method, Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::classify::HttpClassifier;
use super::headers::IDEMPOTENCY_KEY;
use crate::attempt::Attempt;
use crate::error::CallError;
use crate::inner::Inner;
use crate::operation::Operation;
use crate::pipeline::Pipeline;
use crate::run::{Kind, Run};
use crate::tower::Answer;

/// A pipeline as a layer around HTTP clients.
#[derive(Clone)]
pub struct HttpLayer {
    inner: Arc<Inner>,
}

/// An HTTP client whose requests are calls of a [`Pipeline`].
///
/// GET, HEAD, OPTIONS, TRACE, PUT and DELETE are idempotent, as is a request that carries an `idempotency-key`;
/// any other is repeated only if it certainly had no effect. Every attempt says with
/// [headers](Attempt::headers) how long the caller still waits. [`HttpClassifier`] says what a response means;
/// if the call ends with a response that is a failure, the caller gets that response.
///
/// It is always ready: see [`PipelineService`](crate::PipelineService). A call ends with the head of the
/// response: reading its body is the caller's, and outside of the deadline.
#[derive(Clone)]
pub struct HttpService<S> {
    service: S,
    inner: Arc<Inner>,
}

impl Pipeline {
    /// This pipeline as a layer around an HTTP client.
    pub fn http(&self) -> HttpLayer {
        HttpLayer {
            inner: Arc::clone(self.inner()),
        }
    }
}

impl<S> Layer<S> for HttpLayer {
    type Service = HttpService<S>;

    fn layer(&self, service: S) -> HttpService<S> {
        HttpService {
            service,
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<S, B, R> Service<Request<B>> for HttpService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    S::Error: Error + 'static,
    B: Clone,
{
    type Response = Response<R>;
    type Error = CallError<S::Error>;
    type Future = Run<
        Arc<Inner>,
        Exchange<S, B>,
        Answer<Told<S>, Request<B>>,
        HttpClassifier,
        Response<R>,
        S::Error,
    >;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let kind = kind(&request);
        let exchange = Exchange {
            service: self.service.clone(),
            request,
        };
        Run::new(
            Arc::clone(&self.inner),
            exchange,
            HttpClassifier,
            kind,
            None,
        )
    }
}

fn kind<B>(request: &Request<B>) -> Kind {
    let repeatable = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    );
    if repeatable || request.headers().contains_key(IDEMPOTENCY_KEY) {
        Kind::Idempotent
    } else {
        Kind::Plain
    }
}

/// A request and the client that every attempt sends it with.
#[derive(Debug)]
pub struct Exchange<S, B> {
    service: S,
    request: Request<B>,
}

impl<S, B> Operation for Exchange<S, B>
where
    S: Service<Request<B>> + Clone,
    B: Clone,
{
    type Future = Answer<Told<S>, Request<B>>;

    fn start(&self, attempt: Attempt) -> Self::Future {
        let service = self.service.clone();
        Answer::new(Told { service, attempt }, self.request.clone())
    }
}

/// A client that tells the server about the attempt.
///
/// The headers are written once the client is ready: the time left is less then.
#[derive(Debug)]
pub struct Told<S> {
    service: S,
    attempt: Attempt,
}

impl<S, B> Service<Request<B>> for Told<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        self.attempt.apply(request.headers_mut());
        self.service.call(request)
    }
}

impl fmt::Debug for HttpLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpLayer")
            .field("pipeline", &self.inner.name)
            .finish()
    }
}

impl<S> fmt::Debug for HttpService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpService")
            .field("pipeline", &self.inner.name)
            .finish_non_exhaustive()
    }
}
