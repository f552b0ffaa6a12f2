//! The swap as a user lives through it: apps into maintenance, names exchanged, apps back, and the way back told.

use std::time::Duration;

use anyhow::{Result, anyhow};
use jiff::Timestamp;

use crate::commands::context::Context;
use crate::commands::recovery;
use crate::database::staging::{self, Beside, Marker, Purpose};
use crate::database::swap::{self, Exchange, Outgoing};
use crate::database::{session, words};
use crate::dokku::maintenance::{InMaintenance, Maintenance};
use crate::error::Failure;
use crate::journal::{Journal, State};
use crate::lock::Lock;
use crate::service::RunningService;
use crate::settings::Settings;
use crate::step::step;
use crate::ui::human;

/// The database that is to be the live one.
#[derive(Debug)]
pub struct Incoming {
    /// Its name until then.
    pub database: String,
    /// Its own comment.
    pub comment: Option<String>,
    /// What it was made from.
    pub key: String,
}

/// A swap that went well.
#[derive(Debug)]
pub struct Swapped {
    /// What the replaced database is called now, if there was one.
    pub previous: Option<String>,
    /// Until when it is kept.
    pub until: Timestamp,
    /// How long the live name let nobody in.
    pub away: Duration,
    service: String,
}

impl Swapped {
    /// Says so.
    pub fn tell(&self, context: &Context, what: &str) {
        context.ui.outcome(format!("{what}; the database was away for {:.2}s", self.away.as_secs_f64()), "");
        if self.previous.is_none() {
            return;
        }
        context.ui.detail(format!("The replaced database is kept until {} at least", human::time(self.until)));
        context.ui.detail(format!("Undo this with: dokku pgbackup:rollback {}", self.service));
    }
}

/// A staged database of an earlier `--stage-only` waits for a decision; a second one would make it unclear which is meant.
///
/// # Errors
/// When there is one.
pub fn refuse_second_staging(service: &RunningService) -> Result<()> {
    let name = &service.service.name;
    let Some(waiting) = waiting(service)? else { return Ok(()) };
    Err(Failure::failed(format!("A restore of {name} from {} is staged and waits for a decision", waiting.marker.key))
        .hint(format!("Put it in place: dokku pgbackup:restore:commit {name}"))
        .hint(format!("Drop it: dokku pgbackup:restore:abort {name}"))
        .into())
}

/// The staged database that waits for `restore:commit` or `restore:abort`.
///
/// # Errors
/// When the server refuses.
pub fn waiting(service: &RunningService) -> Result<Option<Beside>> {
    let databases = staging::list(&mut session::connect_beside(service)?, &service.service.name)?;
    Ok(databases.into_iter().rev().find(|database| database.marker.purpose == Purpose::Staging && database.marker.kept))
}

/// Puts a database in the live one's place.
///
/// # Errors
/// When something stands in the way; the live database is what it was then, and the apps are out of maintenance again.
pub fn swap(
    context: &Context,
    service: &RunningService,
    _lock: &Lock,
    settings: &Settings,
    incoming: Incoming,
    maintenance: bool,
) -> Result<Swapped> {
    let journal = recovery::journal(context, service)?;
    let live = &service.service.database;
    let comment = live_comment(service)?;
    let mut state = State::new(service.service.name.clone(), &incoming.key);
    journal.write(&state)?;
    step!("swap.announced");
    let entered = if maintenance && settings.maintenance {
        enter_maintenance(context, service, &journal, &mut state).inspect_err(|_| ended(context, &journal))?
    } else {
        None
    };

    step!("swap.maintained");
    context.ui.step(format!("Putting the database of {} in place", service.service.name));
    let now = context.now();
    let until = now.checked_add(jiff::SignedDuration::try_from(settings.keep_previous)?)?;
    let outgoing = comment.map(|comment| Outgoing {
        name: Purpose::Previous.name_for(live, now),
        marker: Marker {
            purpose: Purpose::Previous,
            service: service.service.name.clone(),
            key: incoming.key,
            since: now,
            until: Some(until),
            kept: false,
            comment,
        },
    });
    let exchange =
        Exchange { live: live.clone(), incoming: incoming.database, incoming_comment: incoming.comment, outgoing };
    let exchanged = swap::exchange(service, &exchange);
    step!("swap.exchanged");
    leave_maintenance(context, &journal, entered);
    step!("swap.served");
    ended(context, &journal);
    step!("swap.cleared");
    let away = exchanged?;
    let previous = exchange.outgoing.map(|outgoing| outgoing.name);
    Ok(Swapped { previous, until, away, service: service.service.name.to_string() })
}

/// Nothing is under way any more, and no app is to be lifted out of maintenance by a later command.
fn ended(context: &Context, journal: &Journal) {
    if let Err(error) = journal.clear() {
        context.ui.warn(error.to_string());
    }
}

/// The live database's comment; `None` when there is no live database.
#[expect(clippy::option_option, reason = "no database, and a database without a comment")]
fn live_comment(service: &RunningService) -> Result<Option<Option<String>>> {
    session::connect_beside(service)?
        .query_opt(
            "SELECT pg_catalog.shobj_description(oid, 'pg_database') FROM pg_catalog.pg_database WHERE datname = $1",
            &[&service.service.database],
        )
        .and_then(|row| row.map(|row| row.try_get(0)).transpose())
        .map_err(|error| anyhow!("{}", words(&error)))
}

/// Puts those linked apps into maintenance that are not in it already, noted in the journal before it is done.
fn enter_maintenance(
    context: &Context,
    service: &RunningService,
    journal: &Journal,
    state: &mut State,
) -> Result<Option<InMaintenance>> {
    let apps = &service.service.linked_apps;
    let Some(maintenance) = Maintenance::find(&context.environment.plugin_enabled_path).filter(|_| !apps.is_empty())
    else {
        return Ok(None);
    };
    let survey = maintenance.survey(apps);
    for (app, error) in &survey.unknown {
        context.ui.warn(format!("The app {app} is not put into maintenance: {error:#}"));
    }
    if survey.off.is_empty() {
        return Ok(None);
    }
    state.lift_maintenance.clone_from(&survey.off);
    journal.write(state)?;
    step!("maintenance.announced");
    context.ui.step(format!("Putting {} into maintenance", survey.off.join(", ")));
    let ui = context.ui.clone();
    let entered = maintenance.enter(&survey.off, move |sentence, next| {
        ui.warn(sentence);
        ui.warn(format!("Do it by hand: {next}"));
    });
    match entered {
        Ok(entered) => Ok(Some(entered)),
        Err(error) => {
            Err(Failure::from_error(error).hint("To restore without maintenance mode add --no-maintenance").into())
        }
    }
}

/// Takes the apps out of maintenance; by then the exchange is done or given up, so a failure is told and not returned.
fn leave_maintenance(context: &Context, journal: &Journal, entered: Option<InMaintenance>) {
    let Some(mut entered) = entered else { return };
    if let Ok(Some(state)) = journal.read() {
        entered.now_called(state.lift_maintenance);
    }
    context.ui.step(format!("Taking {} out of maintenance", entered.apps().join(", ")));
    if let Err(still_on) = entered.leave() {
        for failed in still_on {
            let (sentence, next) = failed.warning();
            context.ui.warn(sentence);
            context.ui.warn(format!("Do it by hand: {next}"));
        }
    }
}
