//! One call to the store, tried again for as long as that makes sense.
//!
//! The SDK's own retries are off: they count attempts, and an endpoint that is away for ten seconds must not cost a backup
//! of an hour, while a wrong endpoint must be told at once when nothing has been done yet. So each call has a [`Patience`],
//! and it is measured in time. Likewise a transfer has no total timeout: it is given up when it doesn't move.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::{BoxError, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::SdkBody;
use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::client::Client;
use super::errors::{Advice, Trouble};
use super::pace::Pace;
use crate::store::{StoreError, Traffic};

/// The first pause before trying again; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long a call is tried.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Without any movement for this long, an attempt is given up.
    idle: Duration,
    /// From when on no further attempt is begun.
    give_up: Duration,
    /// The same, while nobody answers at all.
    unreachable: Duration,
    /// Attempts that are made in any case: slow ones take longer than `give_up`.
    attempts: u32,
    /// After this it is over, whatever the attempts say.
    total: Option<Duration>,
}

impl Patience {
    /// Before anything has been done: a wrong setting is told within ten seconds.
    pub const BRIEF: Self = Self {
        idle: Duration::from_secs(10),
        give_up: Duration::from_secs(8),
        unreachable: Duration::from_secs(4),
        attempts: 1,
        total: Some(Duration::from_secs(10)),
    };
    /// Somebody waits for a list or a deletion.
    pub const INTERACTIVE: Self = Self {
        idle: Duration::from_secs(30),
        give_up: Duration::from_secs(30),
        unreachable: Duration::from_secs(8),
        attempts: 2,
        total: None,
    };
    /// Work would be lost: a store may be away for two minutes.
    pub const STEADY: Self = Self {
        idle: Duration::from_mins(1),
        give_up: Duration::from_mins(2),
        unreachable: Duration::from_mins(2),
        attempts: 2,
        total: None,
    };
    /// Putting thousands of parts together takes a store minutes.
    pub const COMPLETING: Self = Self { idle: Duration::from_mins(10), ..Self::STEADY };
    /// Cleaning up after a failure.
    pub const CLEANING: Self = Self { total: Some(Duration::from_secs(15)), ..Self::INTERACTIVE };
}

/// What a call does, in the words of its errors.
#[derive(Debug, Clone)]
pub struct Act {
    /// `uploading part 3 of`.
    pub doing: String,
    /// What an IAM policy calls it.
    pub permission: &'static str,
    /// `s3://bucket/key`.
    pub resource: String,
}

impl Act {
    /// A call of the given kind on a resource.
    pub fn new(doing: impl Into<String>, permission: &'static str, resource: impl Into<String>) -> Self {
        Self { doing: doing.into(), permission, resource: resource.into() }
    }

    /// `uploading part 3 of s3://bucket/key`.
    pub fn action(&self) -> String {
        format!("{} {}", self.doing, self.resource)
    }

    /// This call failed.
    pub fn failed(&self, source: anyhow::Error) -> StoreError {
        StoreError::Failed { action: self.action(), source }
    }
}

/// How far a body has got, seen from outside.
#[derive(Debug, Clone)]
pub struct Progress(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    began: Instant,
    /// Milliseconds after `began`.
    moved: AtomicU64,
    /// Bytes that have not been handed to the connection yet.
    left: AtomicU64,
    /// Of all that is sent beside it.
    traffic: Traffic,
}

/// Nothing is known of what is left before the first attempt.
const UNKNOWN: u64 = u64::MAX;

impl Progress {
    /// Nothing has moved yet.
    pub fn new() -> Self {
        Self::in_traffic(Traffic::default())
    }

    /// The same of a part of something larger.
    pub fn in_traffic(traffic: Traffic) -> Self {
        let (began, moved, left) = (Instant::now(), AtomicU64::new(0), AtomicU64::new(UNKNOWN));
        Self(Arc::new(Shared { began, moved, left, traffic }))
    }

    /// Whether the connection has taken every byte, so that the store may already have the object.
    pub fn all_sent(&self) -> bool {
        self.0.left.load(Ordering::Relaxed) == 0
    }

    fn touch(&self, left: usize) {
        let now = u64::try_from(self.0.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.moved.store(now, Ordering::Relaxed);
        let left = left as u64;
        let before = self.0.left.swap(left, Ordering::Relaxed);
        if before != UNKNOWN {
            self.0.traffic.send(before, left);
        }
    }

    fn quiet_for(&self) -> Duration {
        let moved = Duration::from_millis(self.0.moved.load(Ordering::Relaxed));
        self.0.began.elapsed().saturating_sub(moved)
    }
}

/// A body in slices, which notes when each is taken. It replaces the request's body after signing: what the SDK signs and
/// measures is the whole body in memory, so that nothing is sent chunked.
struct Slices {
    bytes: Bytes,
    progress: Progress,
    pace: Option<Pace>,
    /// The wait for our turn, where there is a pace.
    turn: Option<Pin<Box<tokio::time::Sleep>>>,
}

/// Small enough to see a slow line move, large enough to cost nothing.
const SLICE: usize = 256 * 1024;

impl http_body::Body for Slices {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.bytes.is_empty() {
            return Poll::Ready(None);
        }
        let mut length = self.bytes.len().min(SLICE);
        if let Some(pace) = self.pace.clone() {
            length = length.min(pace.piece(SLICE));
            let turn = self.turn.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(pace.book(length).into())));
            ready!(turn.as_mut().poll(context));
            self.turn = None;
        }
        let slice = self.bytes.split_to(length);
        self.progress.touch(self.bytes.len());
        Poll::Ready(Some(Ok(Frame::data(slice))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}

/// Puts [`Slices`] in the place of a request's body.
#[derive(Debug, Clone)]
pub struct Watched {
    /// The same bytes that the request was built with.
    pub bytes: Bytes,
    /// Where their movement is seen.
    pub progress: Progress,
    /// How fast they may go.
    pub pace: Option<Pace>,
}

impl Intercept for Watched {
    fn name(&self) -> &'static str {
        "Watched"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.progress.touch(self.bytes.len());
        let (bytes, progress, pace) = (self.bytes.clone(), self.progress.clone(), self.pace.clone());
        let slices = Slices { bytes, progress, pace, turn: None };
        *context.request_mut().body_mut() = SdkBody::from_body_1_x(slices);
        Ok(())
    }
}

impl Client {
    /// Makes a call, with retries. `operation` is called once for each attempt; where it reports to a [`Progress`], an
    /// attempt lasts as long as it moves.
    pub async fn call<T, E, F>(
        &self,
        act: &Act,
        patience: Patience,
        progress: Option<&Progress>,
        operation: impl Fn(aws_sdk_s3::Client) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        // Not on the store's time: who gives the keys has a limit of his own.
        self.connection().await?;
        let tries = self.tries(act, patience, progress, operation);
        match patience.total {
            None => tries.await,
            Some(total) => tokio::time::timeout(total, tries)
                .await
                .unwrap_or_else(|_| Err(Trouble::silent(total).into_error(act, self.settings()))),
        }
    }

    async fn tries<T, E, F>(
        &self,
        act: &Act,
        patience: Patience,
        progress: Option<&Progress>,
        operation: impl Fn(aws_sdk_s3::Client) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let began = Instant::now();
        let mut attempts = 0;
        let mut pause = FIRST_PAUSE;
        let mut reconnected = false;
        loop {
            let connection = self.connection().await?;
            let trouble = match moving(operation(connection.s3.clone()), patience.idle, progress).await {
                Some(Ok(output)) => return Ok(output),
                Some(Err(error)) => Trouble::new(&error),
                None => Trouble::silent(patience.idle),
            };
            attempts += 1;
            let limit = match trouble.advice(self.settings()) {
                Advice::Reconnect { region } if !reconnected => {
                    reconnected = true;
                    self.reconnect(&connection, region).await?;
                    continue;
                }
                Advice::Never | Advice::Reconnect { .. } => None,
                Advice::Again => Some(patience.give_up),
                Advice::AgainOnce => (attempts == 1).then_some(patience.give_up),
                Advice::AgainWhenReachable => Some(patience.unreachable),
            };
            let over = limit.is_none_or(|limit| began.elapsed() + pause > limit && attempts >= patience.attempts);
            if over {
                return Err(trouble.into_error(act, self.settings()));
            }
            tokio::time::sleep(jittered(pause)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// The future's output, or `None` when it stood still for `idle`.
pub async fn moving<F: Future>(future: F, idle: Duration, progress: Option<&Progress>) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut wait = idle;
    loop {
        if let Ok(output) = tokio::time::timeout(wait, future.as_mut()).await {
            return Some(output);
        }
        let quiet = progress.map_or(idle, Progress::quiet_for);
        if quiet >= idle {
            return None;
        }
        wait = idle.saturating_sub(quiet);
    }
}

/// Between half of a pause and all of it: several parts that failed together don't come back together.
pub fn jittered(pause: Duration) -> Duration {
    let chance = getrandom::u32().unwrap_or(0);
    pause / 2 + (pause / 2).mul_f64(f64::from(chance) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_goes_on_and_what_stands_still_is_given_up() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let idle = Duration::from_millis(200);
            let progress = Progress::new();
            // Five times as long as the idle time, but it moves.
            let slow = async {
                for left in (0..10).rev() {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    progress.touch(left);
                }
            };
            assert_eq!(moving(slow, idle, Some(&progress)).await, Some(()));
            assert!(progress.all_sent());
            let progress = Progress::new();
            let began = Instant::now();
            assert_eq!(moving(std::future::pending::<()>(), idle, Some(&progress)).await, None);
            assert_eq!(moving(std::future::pending::<()>(), idle, None).await, None);
            assert!((idle * 2..idle * 10).contains(&began.elapsed()), "{:?}", began.elapsed());
        });
    }

    #[test]
    fn what_has_to_be_sent_again_is_not_sent() {
        let traffic = Traffic::default();
        let (one, other) = (Progress::in_traffic(traffic.clone()), Progress::in_traffic(traffic.clone()));
        for left in [100, 60, 0, 100, 20] {
            one.touch(left);
        }
        assert_eq!(traffic.sent(), 80);
        for left in [50, 0] {
            other.touch(left);
        }
        one.touch(0);
        assert_eq!(traffic.sent(), 150);
    }

    #[test]
    fn pauses_differ_but_stay_in_their_bounds() {
        let pause = Duration::from_secs(4);
        assert!((0..1_000).all(|_| (pause / 2..=pause).contains(&jittered(pause))));
    }
}
