//! A service's lock for a command, with as much patience as the user has.

use std::time::Duration;

use clap::Args;

use crate::commands::context::Context;
use crate::error::{Failure, Kind};
use crate::lock::Lock;
use crate::run_log::Logs;
use crate::service::name::ServiceName;
use crate::settings::Span;
use crate::step::step;

/// How long a bare `--wait` waits: longer than any run.
const AS_LONG_AS_IT_TAKES: Duration = Duration::from_hours(24);

/// For commands that need the service for themselves.
#[derive(Debug, Clone, Default, Args)]
pub struct Waiting {
    /// Wait until another run of the service has ended instead of failing; at most this long where it is given: 10m
    #[arg(long, value_name = "DURATION", num_args = 0..=1)]
    pub wait: Option<Option<Span>>,
}

impl Waiting {
    /// How long to wait.
    pub fn patience(&self) -> Duration {
        match self.wait {
            None => Duration::ZERO,
            Some(None) => AS_LONG_AS_IT_TAKES,
            Some(Some(span)) => span.0,
        }
    }
}

/// Takes the service for a run, waiting as long as `patience` for the one that has it; that one waits is said.
///
/// # Errors
/// [`Kind::Busy`] when another run has it all that time.
pub fn take(context: &Context, service: &ServiceName, doing: &str, patience: Duration) -> Result<Lock, Failure> {
    let lock = wait(context, service, doing, patience, None)?;
    step!("turn.taken");
    // Until the next run begins or the process ends: why it failed is said after the lock is gone.
    let record = Logs::of(&context.environment.data_folder().join(service.as_str())).begin(doing, context.now());
    match record {
        Ok(record) => context.ui.record(Some(Box::new(record))),
        Err(error) => context.ui.warn(format!("The log of this run can't be kept: {error:#}")),
    }
    step!("turn.logged");
    Ok(lock)
}

/// Takes the service once more that was let go of while somebody was asked: who has said yes waits for what has begun meanwhile.
///
/// # Errors
/// When it can't be had.
pub fn again(context: &Context, service: &ServiceName, doing: &str) -> Result<Lock, Failure> {
    let way_out = format!("To end it: dokku pgbackup:cancel {service}");
    wait(context, service, doing, AS_LONG_AS_IT_TAKES, Some(&way_out))
}

fn wait(
    context: &Context,
    service: &ServiceName,
    doing: &str,
    patience: Duration,
    way_out: Option<&str>,
) -> Result<Lock, Failure> {
    let data = context.environment.data_folder();
    match Lock::take(&data, service, doing, Duration::ZERO) {
        Err(busy) if busy.kind == Kind::Busy && !patience.is_zero() => {
            // What is waited for may be a restore: backups, drills and whatever is scheduled are held back until it has ended.
            context.ui.step(format!("Waiting: {}", busy.message));
            if let Some(way_out) = way_out {
                context.ui.detail(way_out);
            }
            Lock::take(&data, service, doing, patience)
        }
        taken => taken,
    }
}
