//! `adopt`: takes over what dokku-postgres has set up for a service, and changes nothing that it doesn't understand.
//!
//! Keys stay where they are: they are used from there. The bucket of the schedule becomes the destination. The
//! schedule is taken over last, when all else is in place and a trial has shown that a backup would work: it is removed there before it
//! is set here, so that no two ever run.

use anyhow::Result;

use crate::commands::arguments::Confirmation;
use crate::commands::context::Context;
use crate::commands::schedule_adopt::{Takeover, destination_of, what_then};
use crate::commands::{doctor, schedule_adopt};
use crate::dokku::properties::Subject;
use crate::error::Failure;
use crate::service::Service;
use crate::service::arrangement::{Arrangement, Encryption, Scheduled};
use crate::service::name::ServiceName;
use crate::settings::{Auth, Settings};
use crate::store::features::StorageClass;
use crate::ui::{Column, Table};

/// Take over what dokku-postgres has set up
///
/// Reads its schedule with the bucket and the role of the host; the keys of postgres:backup-auth; its encryption. Shows what it
/// has found and what it will set; asks for the service's name; sets it and takes over the schedule if a backup would work here; and ends
/// with pgbackup:doctor. A schedule of backups that is set here already stays. The backups that are
/// there already are listed and restored as before. What is ambiguous is not touched: it is said what to type. A second time
/// there is nothing left to do.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "<service>|--all [--no-schedule] [--force]",
    after_help = "Take over lollipop

    dokku pgbackup:adopt lollipop

Take over all services without being asked

    dokku pgbackup:adopt --all --force

Leave the schedule with dokku-postgres for now

    dokku pgbackup:adopt lollipop --no-schedule"
)]
pub struct Args {
    /// The service to take over
    #[arg(value_name = "service", required_unless_present = "all", conflicts_with = "all")]
    pub service: Option<ServiceName>,
    /// Take over every service
    #[arg(long)]
    pub all: bool,
    /// Leave the schedule with dokku-postgres
    #[arg(long)]
    pub no_schedule: bool,
    #[expect(missing_docs, reason = "documented by its type")]
    #[command(flatten)]
    pub confirmation: Confirmation,
}

/// Takes over one service, or all of them.
///
/// # Errors
/// When something is ambiguous or fails; a schedule that would not work here stays with dokku-postgres. Or when the doctor finds
/// something afterwards.
pub fn run(args: &Args, context: &Context) -> Result<()> {
    if let Some(name) = &args.service {
        one(args, context, name)?;
        return doctor::run(&doctor::Args { service: Some(name.clone()), all: false, output: <_>::default() }, context);
    }
    let mut failed = Vec::new();
    for name in context.visible_services()? {
        if let Err(error) = one(args, context, &name) {
            crate::interrupt::check()?;
            context.ui.fail(&Failure::from_error(error));
            failed.push(name.to_string());
        }
    }
    let checked = doctor::run(&doctor::Args { service: None, all: true, output: <_>::default() }, context);
    if failed.is_empty() {
        return checked;
    }
    Err(Failure::failed(format!("Not taken over: {}", failed.join(", "))).into())
}

fn one(args: &Args, context: &Context, name: &ServiceName) -> Result<()> {
    let environment = &context.environment;
    let service = Service::find(&environment.lib_root, name)?;
    let found = Arrangement::of(&service, &environment.lib_root, &environment.plugin_enabled_path)?;
    let settings = context.settings(name)?;
    show(context, name, &found);
    let takeover = if args.no_schedule { None } else { Takeover::of(context, name, &found)? };
    let steps = plan(&found, &settings, name, takeover)?;
    context.ui.step(format!("What will be done for {name}"));
    for warning in remarks(&found, &settings, name) {
        context.ui.warn(warning);
    }
    if steps.is_empty() {
        context.ui.detail("Nothing: all of it is taken over");
        return Ok(());
    }
    for step in &steps {
        context.ui.detail(step.to_string());
    }
    context.confirm(&format!("This changes how {name} is backed up, as shown above"), name)?;
    carry_out(context, &service, &steps)
}

/// The property of dokku-postgres that has one of ours beside it.
const STORAGE_CLASS: &str = "backup-storage-class";

/// One thing that will be done.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// A property is set.
    Set(&'static str, String),
    /// The schedule changes hands.
    Schedule(Box<Takeover>),
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Set(property, value) => write!(f, "Set {property} to {value}"),
            Self::Schedule(takeover) => takeover.fmt(f),
        }
    }
}

/// What dokku-postgres has, for people.
fn show(context: &Context, name: &ServiceName, found: &Arrangement) {
    context.ui.step(format!("What dokku-postgres has for {name}"));
    let mut table = Table::new(&[Column::left(""), Column::left("")]);
    table.row(["Schedule", &found.scheduled.as_ref().map_or_else(|| "none".to_owned(), in_words)]);
    let keys = found.keys.as_ref().map_or_else(
        || "none".to_owned(),
        |keys| {
            let more = [("region", &keys.region), ("at", &keys.endpoint)];
            let more = more.iter().filter_map(|(what, value)| value.as_ref().map(|value| format!(", {what} {value}")));
            format!("{}{}", keys.access_key, more.collect::<String>())
        },
    );
    table.row(["Keys", &keys]);
    let encryption = match &found.encryption {
        None => "none".to_owned(),
        Some(Encryption::Passphrase) => "with a passphrase".to_owned(),
        Some(Encryption::PublicKey(id)) => format!("to the public key {id}"),
    };
    table.row(["Encryption", &encryption]);
    for (property, value) in &found.otherwise {
        table.row([property, value.as_str()]);
    }
    context.ui.detail_table(&table);
}

fn in_words(scheduled: &Scheduled) -> String {
    let how = if scheduled.use_iam { ", with the role of the host" } else { "" };
    format!("{} into {}{how}", scheduled.cron, scheduled.bucket)
}

/// What is to be done; nothing when all is as dokku-postgres has it.
///
/// # Errors
/// When it can't be told what is meant.
fn plan(
    found: &Arrangement,
    settings: &Settings,
    name: &ServiceName,
    takeover: Option<Takeover>,
) -> Result<Vec<Step>, Failure> {
    let Some(scheduled) = &found.scheduled else {
        return if settings.destination.is_some() {
            Ok(Vec::new())
        } else {
            Err(Failure::failed(format!(
                "dokku-postgres has no schedule for {name}, so it is not known where its backups go"
            ))
            .hint(format!("Say it: dokku pgbackup:set {name} destination s3://BUCKET"))
            .hint("The keys of dokku-postgres are used by themselves"))
        };
    };
    let mut steps = Vec::new();
    let theirs = destination_of(scheduled, name)?;
    match &settings.destination {
        None => steps.push(Step::Set("destination", theirs.to_string())),
        Some(ours) if *ours == theirs => {}
        Some(ours) => {
            return Err(Failure::failed(format!(
                "Backups of {name} go to {ours} here and to {theirs} by dokku-postgres's schedule"
            ))
            .hint(format!("To go on with the latter: dokku pgbackup:set {name} destination {theirs}"))
            .hint(format!("To keep the former: dokku postgres:backup-unschedule {name}"))
            .hint("Nothing was changed"));
        }
    }
    if scheduled.use_iam && matches!(settings.auth, Auth::Own | Auth::Service) {
        return Err(Failure::failed(format!(
            "dokku-postgres's schedule uses the role of the host (--use-iam), and the property auth of {name} says otherwise"
        ))
        .hint(format!("To use the role: dokku pgbackup:set {name} auth iam"))
        .hint(format!("To keep the keys: dokku postgres:backup-unschedule {name}"))
        .hint("Nothing was changed"));
    }
    steps.extend(accompanying(found, settings).into_iter().map(|(property, value)| Step::Set(property, value)));
    steps.extend(takeover.map(|takeover| Step::Schedule(Box::new(takeover))));
    Ok(steps)
}

/// The properties that go with a schedule's destination, where nothing is set: the role of the host, with what was stored with keys of
/// its own (region, address), which counts all the same; and the storage class.
pub(super) fn accompanying(found: &Arrangement, settings: &Settings) -> Vec<(&'static str, String)> {
    let mut properties = Vec::new();
    let role = found.scheduled.as_ref().is_some_and(|scheduled| scheduled.use_iam);
    if role && matches!(settings.auth, Auth::Auto | Auth::Iam) {
        if settings.auth == Auth::Auto {
            properties.push(("auth", "iam".to_owned()));
        }
        if let Some(keys) = &found.keys {
            if let Some(region) = keys.region.as_ref().filter(|_| settings.region.is_none()) {
                properties.push(("region", region.clone()));
            }
            if let Some(endpoint) = keys.endpoint.as_ref().filter(|_| settings.endpoint_url.is_none()) {
                properties.push(("endpoint-url", endpoint.clone()));
            }
        }
    }
    if let Some(class) = found.property(STORAGE_CLASS)
        && settings.features.class.is_none()
        && class.parse::<StorageClass>().is_ok()
    {
        properties.push(("storage-class", class.to_owned()));
    }
    properties
}

/// What can't be taken over as it is, or would be a surprise.
fn remarks(found: &Arrangement, settings: &Settings, name: &ServiceName) -> Vec<String> {
    let mut remarks = Vec::new();
    let role = found.scheduled.as_ref().is_some_and(|scheduled| scheduled.use_iam);
    if settings.own_keys.is_some() && settings.auth == Auth::Auto && found.keys.is_some() && !role {
        remarks.push(format!(
            "The keys of pgbackup:auth are used; for those of dokku-postgres: dokku pgbackup:set {name} auth service"
        ));
    }
    if found.scheduled.is_some()
        && found.keys.is_none()
        && settings.own_keys.is_none()
        && !role
        && settings.auth == Auth::Auto
    {
        remarks.push(
            "The schedule of dokku-postgres names no role and has no keys: the keys of the host are used".to_owned(),
        );
    }
    if let Some(Encryption::PublicKey(id)) = &found.encryption {
        remarks.push(format!(
            "dokku-postgres fetches the public key {id} from a key server; pgbackup asks for it once: dokku pgbackup:encryption {name} --public-key FILE"
        ));
    }
    for (property, value) in &found.otherwise {
        remarks.push(match *property {
            "export-args" => format!("export-args {value} is not used: a backup is of the whole database"),
            STORAGE_CLASS => match &settings.features.class {
                Some(ours) if ours.as_str() == value => continue,
                Some(ours) => format!("{property} {value} is not used: the property storage-class is {}", ours.as_str()),
                None if found.scheduled.is_some() && value.parse::<StorageClass>().is_ok() => continue,
                None => format!("{property} {value} is not used: dokku pgbackup:set {name} storage-class CLASS"),
            },
            "backup-mailto" => format!(
                "{property} {value} is not used; to have failures told to a webhook: dokku pgbackup:set {name} webhook-url - < FILE"
            ),
            "backup-keyserver" => format!("{property} {value} is not used: pgbackup asks no key server"),
            _ => format!("{property} {value} is not used: each backup has its own name, postgres-{name}-TIME.tgz"),
        });
    }
    remarks
}

/// Does it. What was set is taken back when another property can't be set, or we are asked to stop; it stays where only the schedule can't
/// be taken over, so that what is missing can be looked at and mended.
fn carry_out(context: &Context, service: &Service, steps: &[Step]) -> Result<()> {
    let name = &service.name;
    let (properties, subject) = (context.properties(), Subject::Service(name.clone()));
    let mut set: Vec<(&'static str, Option<String>)> = Vec::new();
    for step in steps {
        let (result, stays) = match step {
            Step::Set(property, value) => {
                let result = properties.get(&subject, property).and_then(|before| {
                    crate::settings::property(property)
                        .map_or(Ok(()), |known| known.check(value))
                        .map_err(|error| Failure::failed(format!("{property} can't be set to {value}: {error}")))?;
                    set.push((property, before));
                    context.ui.header(format!("Setting {property} to {value}"));
                    properties.set(&subject, property, value)
                });
                (result, false)
            }
            Step::Schedule(takeover) => {
                (schedule_adopt::take_over(context, service, takeover), !crate::interrupt::requested())
            }
        };
        let Err(error) = result else { continue };
        if stays {
            let set: Vec<&str> = set.iter().map(|(property, _)| *property).collect();
            return Err(what_then(name, Failure::from_error(error), &set, "pgbackup:adopt").into());
        }
        for (property, before) in set {
            let undone = match before {
                Some(before) => properties.set(&subject, property, &before),
                None => properties.unset(&subject, property).map(drop),
            };
            if let Err(error) = undone {
                context
                    .ui
                    .warn(format!("The property {property} of {name} was set and can't be taken back: {error:#}"));
            }
        }
        return Err(error);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::dokku::properties::Properties;
    use crate::secret::Secret;
    use crate::service::credentials::BackupAuth;
    use crate::settings::OwnKeys;

    fn prod() -> ServiceName {
        "prod".parse().unwrap()
    }

    fn settings(values: &[(&str, &str)]) -> Settings {
        let folder = tempfile::tempdir().unwrap();
        let properties = Properties::new(folder.path());
        for (name, value) in values {
            properties.set(&Subject::Global, name, value).unwrap();
        }
        Settings::of(&properties, &prod()).unwrap()
    }

    fn found(use_iam: bool) -> Arrangement {
        let scheduled = Scheduled { cron: "30 14 * * *".into(), bucket: "bucket/folder".into(), use_iam };
        Arrangement { scheduled: Some(scheduled), ..Arrangement::default() }
    }

    fn keys() -> BackupAuth {
        BackupAuth {
            access_key: "AKIA".into(),
            secret_key: Secret::new("x"),
            region: Some("eu-central-1".into()),
            signature_version: None,
            endpoint: Some("http://10.0.0.1:8333".into()),
        }
    }

    fn planned(found: &Arrangement, values: &[(&str, &str)]) -> Vec<String> {
        let takeover = Takeover::beside(&prod(), found, Vec::new(), Timestamp::UNIX_EPOCH).transpose().unwrap();
        match plan(found, &settings(values), &prod(), takeover) {
            Ok(steps) => steps.iter().map(ToString::to_string).collect(),
            Err(failure) => vec![failure.message],
        }
    }

    const SCHEDULE: &str = "Take over the schedule 30 14 * * *: it is removed from dokku-postgres and set here";

    #[test]
    fn takes_over_what_is_there_and_once() {
        let destination = "Set destination to s3://bucket/folder";
        assert_eq!(planned(&found(false), &[]), [destination, SCHEDULE]);
        assert_eq!(planned(&found(true), &[]), [destination, "Set auth to iam", SCHEDULE]);
        let with_keys = Arrangement { keys: Some(keys()), ..found(true) };
        assert_eq!(
            planned(&with_keys, &[]),
            [
                destination,
                "Set auth to iam",
                "Set region to eu-central-1",
                "Set endpoint-url to http://10.0.0.1:8333",
                SCHEDULE
            ]
        );
        // Without the role the keys bring region and address along.
        assert_eq!(planned(&Arrangement { keys: Some(keys()), ..found(false) }, &[]), [destination, SCHEDULE]);
        assert_eq!(planned(&found(true), &[("destination", "s3://bucket/folder"), ("auth", "iam")]), [SCHEDULE]);
        assert_eq!(
            plan(&found(false), &settings(&[("destination", "s3://bucket/folder")]), &prod(), None).unwrap(),
            []
        );
        let after = Arrangement { scheduled: None, ..with_keys };
        assert_eq!(planned(&after, &[("destination", "s3://bucket/folder")]), Vec::<String>::new());
    }

    #[test]
    fn what_is_ambiguous_is_not_touched() {
        assert_eq!(
            planned(&found(false), &[("destination", "s3://other")]),
            ["Backups of prod go to s3://other here and to s3://bucket/folder by dokku-postgres's schedule"]
        );
        assert!(planned(&found(true), &[("auth", "service")])[0].contains("the property auth of prod says otherwise"));
        assert!(planned(&Arrangement::default(), &[])[0].contains("it is not known where its backups go"));
        let mut bad = found(false);
        bad.scheduled.as_mut().unwrap().bucket = "no".into();
        assert!(planned(&bad, &[])[0].starts_with("The bucket of dokku-postgres's schedule can't be used"));
    }

    #[test]
    fn surprises_are_told() {
        assert_eq!(remarks(&found(true), &settings(&[]), &prod()), Vec::<String>::new());
        assert!(remarks(&found(false), &settings(&[]), &prod())[0].contains("has no keys"));
        let mut both = settings(&[]);
        both.own_keys =
            Some(OwnKeys { access_key_id: "OWN".into(), secret_access_key: Secret::new("x"), session_token: None });
        let with_keys = Arrangement { keys: Some(keys()), ..found(false) };
        assert!(remarks(&with_keys, &both, &prod())[0].contains("auth service"));
        let partial = Arrangement { otherwise: vec![("export-args", "--exclude-table x".into())], ..found(true) };
        assert!(remarks(&partial, &settings(&[]), &prod())[0].contains("the whole database"));
        for (property, word) in [("backup-mailto", "webhook-url"), ("backup-keyserver", "no key server")] {
            let dropped = Arrangement { otherwise: vec![(property, "x".into())], ..found(true) };
            assert!(remarks(&dropped, &settings(&[]), &prod())[0].contains(word), "{property}");
        }
    }

    #[test]
    fn a_storage_class_is_taken_over_where_none_is_set() {
        let with = |class: &str| Arrangement { otherwise: vec![(STORAGE_CLASS, class.into())], ..found(false) };
        let told = |class: &str, values: &[(&str, &str)]| {
            let remarks = remarks(&with(class), &settings(values), &prod());
            remarks.into_iter().find(|remark| remark.starts_with(STORAGE_CLASS))
        };
        assert!(planned(&with("STANDARD_IA"), &[]).contains(&"Set storage-class to STANDARD_IA".to_owned()));
        assert_eq!(told("STANDARD_IA", &[]), None);
        let ours = [("storage-class", "GLACIER_IR")];
        assert_eq!(planned(&with("STANDARD_IA"), &ours), planned(&found(false), &ours));
        assert!(told("STANDARD_IA", &ours).unwrap().ends_with("the property storage-class is GLACIER_IR"));
        assert_eq!(told("GLACIER_IR", &ours), None);
        assert_eq!(planned(&with("no class"), &[]), planned(&found(false), &[]));
        assert!(told("no class", &[]).is_some());
    }
}
