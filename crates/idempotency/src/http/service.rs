use std::error::Error;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body;
use tokio::time::{Instant, sleep};
use tower_service::Service;

use super::answer::{overtaken, problem, replay, settle};
use super::body::{AnswerBody, Unread, read_request};
use super::guard::IdempotencyGuard;
use super::key_header::{IDEMPOTENCY_KEY, Stated, stated};
use super::problem::Problem;
use super::request::{Carried, KeysOf, Scope};
use super::undoes::{UNDOES, Undoes};
use crate::records::{Begin, Records, Seen};
use crate::{BeginError, Fingerprint, Guard, Key, WithdrawError};

/// How soon a repeat that waits looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What all requests share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) records: Records,
    pub(super) methods: Vec<Method>,
    pub(super) is_required: bool,
    pub(super) wait: Duration,
    pub(super) scope: Scope,
    pub(super) request_bytes: usize,
    pub(super) answer_bytes: usize,
}

/// A service whose requests pass an [`IdempotencyLayer`](crate::IdempotencyLayer) first.
#[derive(Clone, Debug)]
pub struct IdempotencyService<S> {
    inner: S,
    shared: Arc<Shared>,
}

/// A request on its way through an [`IdempotencyLayer`](crate::IdempotencyLayer).
///
/// # Cancel safety
///
/// Dropping it drops the handler, and leaves the record open: the next try runs again. So does dropping it while the
/// body of the handler's answer is read. Once that was read to its end the answer is kept all the same.
///
/// It drops the handler itself when another process has taken the request over, and when the retention is over.
pub type IdempotencyFuture<R, E> =
    Pin<Box<dyn Future<Output = Result<Response<AnswerBody<R>>, E>> + Send>>;

impl<S> IdempotencyService<S> {
    pub(super) fn new(inner: S, shared: Arc<Shared>) -> Self {
        Self { inner, shared }
    }
}

impl<S, B, R> Service<Request<B>> for IdempotencyService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Body + From<Bytes> + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    R: Body<Data = Bytes> + Send + Unpin + 'static,
{
    type Response = Response<AnswerBody<R>>;
    type Error = S::Error;
    type Future = IdempotencyFuture<R, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // Only the one that was asked is ready. It goes with the request; the next one is asked anew.
        let next = self.inner.clone();
        let mut service = std::mem::replace(&mut self.inner, next);
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let carried = match shared.carried(&request) {
                Ok(Some(carried)) => carried,
                Ok(None) => {
                    let response = service.call(request).await?;
                    return Ok(response.map(AnswerBody::untouched));
                }
                Err(stop) => return Ok(problem(stop)),
            };
            match shared.admit(request, &carried).await {
                Ok((guard, mut request)) => {
                    let extension = IdempotencyGuard::new(carried.key, &guard, shared.answer_bytes);
                    request.extensions_mut().insert(extension.clone());
                    // From here on dropping leaves the record open.
                    let handled = unless(guard.lost(), service.call(request))
                        .await
                        .transpose()?;
                    match handled {
                        Some(response) => Ok(settle(&shared, guard, &extension, response).await),
                        None => Ok(overtaken(guard.claim().0).await),
                    }
                }
                Err(answer) => Ok(answer),
            }
        })
    }
}

/// What the work gives, unless it has to stop before. Then it is dropped.
async fn unless<T>(stop: impl Future<Output = ()>, work: impl Future<Output = T>) -> Option<T> {
    let (mut stop, mut work) = (pin!(stop), pin!(work));
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => stop.as_mut().poll(cx).map(|()| None),
    })
    .await
}

impl Shared {
    /// The key by which a request is done once, and that of what it undoes; none if it is to pass.
    fn carried<B>(&self, request: &Request<B>) -> Result<Option<Carried>, Problem> {
        if request.extensions().get::<IdempotencyGuard>().is_some() {
            return Ok(None);
        }
        let undoes = match stated(request.headers(), &UNDOES) {
            Stated::None => None,
            Stated::Malformed => return Err(Problem::UndoesMalformed),
            Stated::Key(_) if self.scope.keys == KeysOf::Route => {
                return Err(Problem::UndoNotOffered);
            }
            Stated::Key(key) => Some(key),
        };
        if undoes.is_none() && !self.methods.contains(request.method()) {
            return Ok(None);
        }
        match stated(request.headers(), &IDEMPOTENCY_KEY) {
            Stated::Key(key) if undoes.as_ref() == Some(&key) => Err(Problem::KeyReused),
            Stated::Key(key) => Ok(Some(Carried { key, undoes })),
            Stated::None if self.is_required || undoes.is_some() => Err(Problem::KeyMissing),
            Stated::None => Ok(None),
            Stated::Malformed => Err(Problem::KeyMalformed),
        }
    }

    /// Claims the request and withdraws what it undoes, or says what its caller gets instead of the handler's answer.
    async fn admit<B, R>(
        &self,
        request: Request<B>,
        carried: &Carried,
    ) -> Result<(Guard, Request<B>), Response<AnswerBody<R>>>
    where
        B: Body + From<Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (mut parts, body) = request.into_parts();
        let body = read_request(body, self.request_bytes).await;
        let body = body.map_err(|unread| {
            problem(match unread {
                Unread::TooLarge => Problem::BodyTooLarge,
                Unread::Broken => Problem::BodyBroken,
            })
        })?;
        let identified = self.scope.identify(&parts, carried, &body);
        match self.begin(&identified.key, &identified.asked).await {
            Ok(Begin::Claimed(guard)) => {
                if let Some(undone) = &identified.undone {
                    match self.withdraw(undone).await {
                        Ok(undoes) => drop(parts.extensions.insert(undoes)),
                        Err(stop) => {
                            // If it can't be said now, it is said by the run's expiry.
                            let _ = guard.free().await;
                            return Err(problem(stop));
                        }
                    }
                }
                Ok((guard, Request::from_parts(parts, B::from(body))))
            }
            Ok(Begin::Finished(kept)) => Err(replay(&kept)),
            Ok(Begin::Running) | Err(BeginError::Contended) => Err(problem(Problem::StillRunning)),
            Err(BeginError::Invalid(_)) => Err(problem(Problem::KeyMalformed)),
            Err(BeginError::Mismatch) => Err(problem(Problem::KeyReused)),
            Err(BeginError::Withdrawn { effect }) => Err(problem(Problem::Withdrawn(effect))),
            Err(BeginError::Kept(_)) => Err(problem(Problem::RecordUnreadable)),
            Err(BeginError::Commit(_)) => Err(problem(Problem::StoreUnavailable)),
        }
    }

    /// Withdraws what a request undoes, and says what was known of it.
    async fn withdraw(&self, undone: &Key) -> Result<Undoes, Problem> {
        match self.records.withdraw(&undone.names()).await {
            Ok(was) => Undoes::of(&was),
            Err(WithdrawError::Running { .. } | WithdrawError::Contended) => {
                Err(Problem::UndoneRunning)
            }
            Err(WithdrawError::Kept(_)) => Err(Problem::RecordUnreadable),
            Err(WithdrawError::Commit(_)) => Err(Problem::StoreUnavailable),
        }
    }

    /// Claims, and while somebody else is at it looks again as long as the options say.
    async fn begin(&self, key: &Key, asked: &Fingerprint) -> Result<Begin, BeginError> {
        let names = key.names();
        let until = Instant::now() + self.wait;
        loop {
            let begun = self.records.begin(&names, asked).await?;
            if !matches!(begun, Begin::Running) {
                return Ok(begun);
            }
            while matches!(self.records.look(&names, asked).await?, Seen::Running) {
                if Instant::now() >= until {
                    return Ok(Begin::Running);
                }
                sleep(LOOK_AGAIN).await;
            }
        }
    }
}
