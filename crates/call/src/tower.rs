use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::attempt::Attempt;
use crate::classify::{AnyError, Classify};
use crate::error::CallError;
use crate::inner::Inner;
use crate::operation::Operation;
use crate::pipeline::{Classified, Pipeline};
use crate::run::{Kind, Run};

/// A pipeline as a layer around tower services.
///
/// All services it makes share the pipeline's one state, also those made anew for each connection.
///
/// ```
/// # use backstay_call::Pipeline;
/// # use tower::{Service, ServiceBuilder, service_fn};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let prices = Pipeline::builder("prices").build()?;
/// let mut service = ServiceBuilder::new()
///     .layer(prices.layer().idempotent())
///     .service(service_fn(async |article: u32| Ok::<_, std::io::Error>(article * 100)));
/// assert_eq!(service.call(7).await?, 700);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct PipelineLayer<C> {
    inner: Arc<Inner>,
    classify: C,
    kind: Kind,
}

/// A service whose requests are calls of a [`Pipeline`].
///
/// It is always ready. Each attempt takes a clone of the service inside and waits until that one is ready, so
/// that the wait counts against the deadline, and a full service delays nobody who asks only for readiness.
#[derive(Clone)]
pub struct PipelineService<S, C> {
    service: S,
    layer: PipelineLayer<C>,
}

impl Pipeline {
    /// This pipeline as a tower layer. Its requests are plain calls.
    pub fn layer(&self) -> PipelineLayer<AnyError> {
        self.classified(AnyError).layer()
    }
}

impl<C: Clone> Classified<C> {
    /// As [`Pipeline::layer`].
    pub fn layer(&self) -> PipelineLayer<C> {
        PipelineLayer {
            inner: Arc::clone(self.pipeline().inner()),
            classify: self.classify().clone(),
            kind: Kind::Plain,
        }
    }
}

impl<C> PipelineLayer<C> {
    /// For services all of whose requests may safely be done twice.
    #[must_use]
    pub fn idempotent(mut self) -> Self {
        self.kind = Kind::Idempotent;
        self
    }
}

impl<S, C: Clone> Layer<S> for PipelineLayer<C> {
    type Service = PipelineService<S, C>;

    fn layer(&self, service: S) -> Self::Service {
        PipelineService {
            service,
            layer: self.clone(),
        }
    }
}

impl<S, C, Req> Service<Req> for PipelineService<S, C>
where
    S: Service<Req> + Clone,
    Req: Clone,
    C: Classify<S::Response, S::Error> + Clone,
{
    type Response = S::Response;
    type Error = CallError<S::Error>;
    type Future = Run<Arc<Inner>, Request<S, Req>, Answer<S, Req>, C, S::Response, S::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let PipelineLayer {
            inner,
            classify,
            kind,
        } = self.layer.clone();
        let service = self.service.clone();
        Run::new(inner, Request { service, request }, classify, kind, None)
    }
}

/// A request and the service that every attempt sends it to.
#[derive(Debug)]
pub struct Request<S, Req> {
    service: S,
    request: Req,
}

impl<S, Req> Operation for Request<S, Req>
where
    S: Service<Req> + Clone,
    Req: Clone,
{
    type Future = Answer<S, Req>;

    fn start(&self, _: Attempt) -> Self::Future {
        Answer::new(self.service.clone(), self.request.clone())
    }
}

pin_project! {
    /// One attempt: waits until its service is ready, then for the answer.
    #[project = Stage]
    #[must_use = "futures do nothing unless awaited"]
    pub enum Answer<S, Req>
    where
        S: Service<Req>,
    {
        /// Not sent yet.
        Waiting { service: S, request: Option<Req> },
        /// Sent.
        Calling { #[pin] future: S::Future },
    }
}

impl<S: Service<Req>, Req> Answer<S, Req> {
    pub(crate) fn new(service: S, request: Req) -> Self {
        Self::Waiting {
            service,
            request: Some(request),
        }
    }
}

impl<S: Service<Req>, Req> Future for Answer<S, Req> {
    type Output = Result<S::Response, S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let future = match self.as_mut().project() {
                Stage::Calling { future } => return future.poll(cx),
                Stage::Waiting { service, request } => {
                    ready!(service.poll_ready(cx))?;
                    let request = request.take();
                    service
                        .call(request.expect("a request is sent once, then the stage is another"))
                }
            };
            self.set(Self::Calling { future });
        }
    }
}

impl<S: Service<Req>, Req> fmt::Debug for Answer<S, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting { .. } => "Waiting",
            Self::Calling { .. } => "Calling",
        })
    }
}

impl<C> fmt::Debug for PipelineLayer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipelineLayer")
            .field("pipeline", &self.inner.name)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl<S, C> fmt::Debug for PipelineService<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipelineService")
            .field("layer", &self.layer)
            .finish_non_exhaustive()
    }
}
