//! The store's clock beside ours, read from the `Date` of its answers.
//!
//! S3 refuses requests that are signed a quarter of an hour off. The SDK then corrects its signatures by itself and everything works,
//! but the names of backups and the times of a retention are those of a clock that is wrong.

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use jiff::{SignedDuration, Timestamp};

/// How far the store's clock was ahead of ours at its last answer.
#[derive(Debug, Clone, Default)]
pub struct Clock(Arc<Mutex<Option<SignedDuration>>>);

impl Clock {
    /// Negative where it is behind; `None` before the first answer.
    pub fn ahead(&self) -> Option<SignedDuration> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, date: &str, now: Timestamp) {
        if let Ok(date) = DateTime::from_str(date, DateTimeFormat::HttpDate)
            && let Ok(theirs) = Timestamp::from_second(date.secs())
        {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(theirs.duration_since(now));
        }
    }
}

impl Intercept for Clock {
    fn name(&self) -> &'static str {
        "Clock"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(date) = context.response().headers().get("date") {
            self.note(date, Timestamp::now());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_date_of_an_answer() {
        let clock = Clock::default();
        let now = "2026-11-24T17:00:30Z".parse().unwrap();
        clock.note("yesterday", now);
        assert_eq!(clock.ahead(), None);
        clock.note("Tue, 24 Nov 2026 16:59:00 GMT", now);
        assert_eq!(clock.ahead(), Some(SignedDuration::from_secs(-90)));
    }
}
