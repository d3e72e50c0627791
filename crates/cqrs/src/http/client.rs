use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use ::http::{Request, Response};
use backstay_store::Position;
use futures_util::future::{BoxFuture, FutureExt};
use tower_layer::Layer;
use tower_service::Service;

use super::{POSITION, position_of, position_value};

/// The highest position that somebody was told by what they wrote, so that what they read next shows it. Cheap to clone; all clones are the
/// same.
///
/// For one user, or one request that calls several services; positions of different logs need a session each.
#[derive(Clone, Debug, Default)]
pub struct Session(Arc<AtomicU64>);

impl Session {
    /// Of somebody who has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The highest position so far.
    pub fn position(&self) -> Position {
        Position::new(self.0.load(Ordering::Acquire))
    }

    /// Has seen this as well.
    pub fn saw(&self, position: Position) {
        self.0.fetch_max(position.get(), Ordering::AcqRel);
    }

    /// Around an HTTP client: requests carry the session's position, and answers raise it, but those that say that the
    /// server is not that far.
    ///
    /// A request that has the header keeps it.
    pub fn layer(&self) -> SessionLayer {
        SessionLayer(self.clone())
    }
}

/// Carries the positions of a [`Session`]. Made by [`Session::layer`].
#[derive(Clone, Debug)]
pub struct SessionLayer(Session);

impl<S> Layer<S> for SessionLayer {
    type Service = SessionService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let session = self.0.clone();
        SessionService { inner, session }
    }
}

/// A client that carries the positions of a [`Session`]. Made by [`SessionLayer`].
#[derive(Clone, Debug)]
pub struct SessionService<S> {
    inner: S,
    session: Session,
}

impl<S, B, A> Service<Request<B>> for SessionService<S>
where
    S: Service<Request<B>, Response = Response<A>>,
    S::Future: Send + 'static,
{
    type Response = Response<A>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<A>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let position = self.session.position();
        if position > Position::START {
            let headers = request.headers_mut();
            headers
                .entry(POSITION)
                .or_insert_with(|| position_value(position));
        }
        let (answer, session) = (self.inner.call(request), self.session.clone());
        async move {
            let answer = answer.await?;
            // What the server has not, nobody has seen.
            if answer.status().is_success()
                && let Ok(Some(position)) = position_of(answer.headers())
            {
                session.saw(position);
            }
            Ok(answer)
        }
        .boxed()
    }
}
