//! Bodies: read up to a size, and given on with what was read.

use std::collections::VecDeque;
use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use pin_project_lite::pin_project;

pin_project! {
    /// The body of an answer: bytes that are there, or what was read of a large one and its rest.
    #[derive(Debug)]
    pub struct AnswerBody<R> {
        read: VecDeque<Frame<Bytes>>,
        #[pin]
        rest: Option<R>,
    }
}

impl<R> AnswerBody<R> {
    pub(super) fn whole(bytes: Bytes) -> Self {
        let read = if bytes.is_empty() {
            VecDeque::new()
        } else {
            [Frame::data(bytes)].into()
        };
        Self { read, rest: None }
    }

    /// As the handler gave it.
    pub(super) fn untouched(body: R) -> Self {
        Self {
            read: VecDeque::new(),
            rest: Some(body),
        }
    }
}

impl<R: Body<Data = Bytes>> Body for AnswerBody<R> {
    type Data = Bytes;
    type Error = R::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, R::Error>>> {
        let this = self.project();
        if let Some(frame) = this.read.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        match this.rest.as_pin_mut() {
            Some(rest) => rest.poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_empty() && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let read = self.read.iter().filter_map(Frame::data_ref);
        let read: u64 = read.map(|data| data.len() as u64).sum();
        let rest = self.rest.as_ref().map(Body::size_hint).unwrap_or_default();
        if self.rest.is_none() {
            return SizeHint::with_exact(read);
        }
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(read));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(read)) {
            hint.set_upper(upper);
        }
        hint
    }
}

/// What came of reading an answer.
pub(super) enum Answer<R> {
    Whole(Bytes),
    /// It is larger than the cap, or has trailers, which can't be kept.
    More(AnswerBody<R>),
    /// The handler's body failed.
    Broken,
}

/// Reads an answer up to the cap.
pub(super) async fn read_answer<R>(body: R, cap: usize) -> Answer<R>
where
    R: Body<Data = Bytes> + Unpin,
{
    let mut body = body;
    let mut read = VecDeque::new();
    let mut size = 0;
    loop {
        match body.frame().await {
            None => break,
            Some(Err(_)) => return Answer::Broken,
            Some(Ok(frame)) => {
                let data = frame.data_ref().map(Bytes::len);
                read.push_back(frame);
                size += data.unwrap_or_default();
                if data.is_none() || size > cap {
                    let rest = Some(body);
                    return Answer::More(AnswerBody { read, rest });
                }
            }
        }
    }
    let mut frames = read.into_iter().filter_map(|frame| frame.into_data().ok());
    match (frames.next(), frames.next()) {
        (first, None) => Answer::Whole(first.unwrap_or_default()),
        (first, second) => {
            let mut all = BytesMut::with_capacity(size);
            first
                .into_iter()
                .chain(second)
                .chain(frames)
                .for_each(|data| all.extend(data));
            Answer::Whole(all.freeze())
        }
    }
}

/// Why a request's body was not read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unread {
    TooLarge,
    Broken,
}

/// Reads a request's body whole. Trailers are left out.
pub(super) async fn read_request<B>(body: B, cap: usize) -> Result<Bytes, Unread>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    // What says it is too large need not be read.
    if body.size_hint().lower() > cap as u64 {
        return Err(Unread::TooLarge);
    }
    match Limited::new(body, cap).collect().await {
        Ok(all) => Ok(all.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Unread::TooLarge),
        Err(_) => Err(Unread::Broken),
    }
}
