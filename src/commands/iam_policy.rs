//! `pgbackup:iam-policy`: the least that a role must be allowed, as JSON for exactly the configured bucket and prefix.
//!
//! Pure but for reading the settings: nothing is asked of AWS, and nothing is changed there. A test reads the code of the store: each
//! permission that an error can name as missing is in the policy of the role that the error's hint names.

use anyhow::Result;
use clap::ValueEnum;
use serde_json::{Value, json};

use crate::commands::Context;
use crate::dokku::properties::Subject;
use crate::error::Failure;
use crate::settings::Settings;
use crate::store::destination::Destination;
use crate::store::features::Sse;
use crate::store::key::{DRILL_SUFFIX, SIDECAR_SUFFIX};

/// Print the least-privilege policy for the bucket
///
/// The JSON is for exactly the bucket and prefix that are configured, with what the storage settings in effect need (object-lock and
/// tags and the key of sse). A role that only takes backups may not read or delete any: keep the other two for another key. With a second
/// destination (property copy-to) it may read since copies are read from the first one; --copy prints what the second one needs.
/// With --lifecycle the rule of the bucket is printed that removes the parts of uploads that were never completed. A bucket's rules are
/// only ever replaced all at once: look first whether it has others and put this one among them.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "<service>|--global [--role backup|restore|prune|all] [--lifecycle] [--copy]",
    after_help = "Allow the role of the host to take backups of lollipop and nothing else

    dokku pgbackup:iam-policy lollipop > policy.json
    aws iam put-role-policy --role-name ROLE --policy-name pgbackup --policy-document file://policy.json

Let a key read backups for a restore

    dokku pgbackup:iam-policy lollipop --role restore

Let a key write copies into the second destination and nothing else

    dokku pgbackup:iam-policy lollipop --copy

Remove the parts of uploads that were never completed after a week

    aws s3api get-bucket-lifecycle-configuration --bucket BUCKET
    dokku pgbackup:iam-policy lollipop --lifecycle > lifecycle.json
    aws s3api put-bucket-lifecycle-configuration --bucket BUCKET --lifecycle-configuration file://lifecycle.json"
)]
pub struct Args {
    /// The service, or --global for the settings of all
    #[arg(value_name = "service", allow_hyphen_values = true)]
    pub service: Subject,
    /// What the role is for: backup or restore or prune or all
    #[arg(long, value_name = "ROLE", default_value = "backup", hide_default_value = true)]
    pub role: Role,
    /// Print the lifecycle rule of the bucket instead
    #[arg(long, conflicts_with = "role")]
    pub lifecycle: bool,
    /// For the second destination (property copy-to) instead of the first
    #[arg(long)]
    pub copy: bool,
}

/// What a role is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// `backup`, `list`, `info`, `status` from this host's history.
    Backup,
    /// `restore`, `verify`, `check`, `download`, `url`, `list` of what others made.
    Restore,
    /// `delete`, `prune`.
    Prune,
    /// All of these.
    All,
}

/// Prints it.
///
/// # Errors
/// When there is no such service, or its destination is no bucket.
pub fn run(args: &Args, context: &Context) -> Result<()> {
    context.require(&args.service)?;
    context.ui.reserve_output();
    let subject = &args.service;
    let mut settings = Settings::resolve(&context.properties(), subject)?;
    if args.copy {
        settings = settings.of_copy().ok_or_else(|| {
            Failure::failed(format!("No second destination is set for {subject}"))
                .hint(format!("Set it: dokku pgbackup:set {subject} copy-to s3://OTHER-BUCKET"))
        })?;
    }
    let (bucket, prefix) = match &settings.destination {
        Some(Destination::S3 { bucket, prefix }) => (bucket, prefix),
        Some(Destination::Folder(path)) => {
            return Err(Failure::failed(format!("The destination of {subject} is a folder, which knows no policies"))
                .hint(format!("Type, as root: install -d -m 0700 -o dokku -g dokku {}", path.display()))
                .into());
        }
        None => {
            return Err(Failure::failed(format!("No destination is set for {subject}"))
                .hint(format!("Set it: dokku pgbackup:set {subject} destination s3://BUCKET"))
                .into());
        }
    };
    if args.lifecycle {
        context.ui.warn("A bucket's lifecycle rules are only ever replaced all at once: put-bucket-lifecycle-configuration with this file deletes all others");
        context.ui.warn(format!(
            "Look first whether there are any, and add this one to them: aws s3api get-bucket-lifecycle-configuration --bucket {bucket}"
        ));
    }
    let document = if args.lifecycle { lifecycle(prefix) } else { policy(args.role, bucket, prefix, &settings) };
    if settings.endpoint_url.is_some() && !args.lifecycle {
        context
            .ui
            .detail("MinIO and Ceph take this policy as it is; other stores have their own ways of restricting a key");
    }
    // For people to read and for files to keep.
    context.ui.line(serde_json::to_string_pretty(&document)?)
}

/// The policy of a role.
fn policy(role: Role, bucket: &str, prefix: &str, settings: &Settings) -> Value {
    let region = settings.region.as_ref().map_or("", |region| region.as_str());
    let partition = partition(region);
    let is = |wanted| role == wanted || role == Role::All;
    let bucket_arn = format!("arn:{partition}:s3:::{bucket}");
    let beneath = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
    let objects = format!("{bucket_arn}/{beneath}*");
    let features = &settings.features;
    let mut statements = Vec::new();

    let mut on_objects: Vec<&str> = Vec::new();
    if is(Role::Backup) {
        on_objects.extend(["s3:PutObject", "s3:AbortMultipartUpload"]);
        on_objects.extend(features.lock.map(|_| "s3:PutObjectRetention"));
        on_objects.extend((!features.tags.is_empty()).then_some("s3:PutObjectTagging"));
    }
    // Copies are read from the first destination.
    if is(Role::Restore) || settings.copy.is_some() && is(Role::Backup) {
        on_objects.push("s3:GetObject");
    }
    if is(Role::Restore) {
        // What was replaced or deleted.
        on_objects.push("s3:GetObjectVersion");
    }
    if is(Role::Prune) {
        // Where the bucket has versions, a deletion of what is retained only hides it, and says that it went well: asked before. A bucket
        // may retain what no property of ours asks it to.
        on_objects.extend(["s3:DeleteObject", "s3:GetObjectRetention", "s3:AbortMultipartUpload"]);
    }
    let mut seen = std::collections::HashSet::new();
    on_objects.retain(|action| seen.insert(*action));
    if role == Role::Prune {
        // Deleting needs what lies beside the backups, not the backups.
        let beside = [SIDECAR_SUFFIX, DRILL_SUFFIX].map(|suffix| format!("{bucket_arn}/{beneath}*{suffix}"));
        statements.push(json!({
            "Sid": "ReadManifests", "Effect": "Allow", "Action": ["s3:GetObject"], "Resource": beside,
        }));
    }
    statements.insert(0, json!({ "Sid": "Objects", "Effect": "Allow", "Action": on_objects, "Resource": objects }));

    if is(Role::Restore) || is(Role::Prune) {
        let actions: &[&str] =
            if is(Role::Restore) { &["s3:ListBucket", "s3:ListBucketVersions"] } else { &["s3:ListBucket"] };
        let mut list = json!({ "Sid": "List", "Effect": "Allow", "Action": actions, "Resource": bucket_arn });
        if !prefix.is_empty() {
            with(&mut list, "Condition", json!({ "StringLike": { "s3:prefix": format!("{beneath}*") } }));
        }
        statements.push(list);
    }
    if is(Role::Prune) {
        statements.push(json!({
            "Sid": "Bucket", "Effect": "Allow", "Resource": bucket_arn,
            // Whether it has an object lock is asked once instead of for each backup.
            "Action": ["s3:ListBucketMultipartUploads", "s3:GetBucketObjectLockConfiguration"],
        }));
    }
    if let Some(Sse::Kms(Some(key))) = &features.sse {
        // Parts are put together by whoever may also decrypt them.
        let actions = if is(Role::Backup) { vec!["kms:GenerateDataKey", "kms:Decrypt"] } else { vec!["kms:Decrypt"] };
        statements.push(kms(partition, region, key, &actions));
    }
    if role == Role::Restore {
        // A drill puts its result beside the backup; it can write nothing else.
        let mut actions = vec!["s3:PutObject"];
        actions.extend(features.lock.map(|_| "s3:PutObjectRetention"));
        actions.extend((!features.tags.is_empty()).then_some("s3:PutObjectTagging"));
        statements.push(json!({
            "Sid": "ResultsOfDrills", "Effect": "Allow", "Action": actions,
            "Resource": format!("{bucket_arn}/{beneath}*{DRILL_SUFFIX}"),
        }));
    }
    json!({ "Version": "2012-10-17", "Statement": statements })
}

fn kms(partition: &str, region: &str, key: &str, actions: &[&str]) -> Value {
    let region = if region.is_empty() { "*" } else { region };
    let alias = key.strip_prefix("alias/").or_else(|| key.split_once(":alias/").map(|(_, alias)| alias));
    let resource = match (alias, key.starts_with("arn:")) {
        // A policy can't name a key by its alias, except in a condition.
        (Some(_), _) => format!("arn:{partition}:kms:{region}:*:key/*"),
        (None, true) => key.to_owned(),
        (None, false) => format!("arn:{partition}:kms:{region}:*:key/{key}"),
    };
    let mut statement = json!({ "Sid": "Key", "Effect": "Allow", "Action": actions, "Resource": resource });
    if let Some(alias) = alias {
        let aliases = json!({ "kms:ResourceAliases": format!("alias/{alias}") });
        with(&mut statement, "Condition", json!({ "ForAnyValue:StringEquals": aliases }));
    }
    statement
}

fn with(statement: &mut Value, name: &str, value: Value) {
    if let Some(fields) = statement.as_object_mut() {
        fields.insert(name.to_owned(), value);
    }
}

/// AWS has three worlds, told apart by their regions.
fn partition(region: &str) -> &'static str {
    match region {
        china if china.starts_with("cn-") => "aws-cn",
        government if government.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}

/// The rule that removes what a run that died has left. Unseen, but stored and paid for.
fn lifecycle(prefix: &str) -> Value {
    let beneath = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
    json!({
        "Rules": [{
            "ID": "pgbackup-orphaned-parts",
            "Status": "Enabled",
            "Filter": { "Prefix": beneath },
            "AbortIncompleteMultipartUpload": { "DaysAfterInitiation": 7 },
        }]
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::dokku::properties::Properties;
    use crate::error::role_with;

    const PRUNES: [&str; 3] = ["s3:DeleteObject", "s3:GetObjectRetention", "s3:AbortMultipartUpload"];

    fn settings(set: &[(&str, &str)]) -> Settings {
        let folder = tempfile::tempdir().unwrap();
        let properties = Properties::new(folder.path());
        for (name, value) in set {
            properties.set(&Subject::Global, name, value).unwrap();
        }
        Settings::resolve(&properties, &Subject::Global).unwrap()
    }

    fn actions(document: &Value, sid: &str) -> Vec<String> {
        let statements = document["Statement"].as_array().unwrap();
        let found = statements.iter().find(|statement| statement["Sid"] == sid);
        let actions = found.and_then(|found| found["Action"].as_array());
        actions.into_iter().flatten().map(|action| action.as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_role_that_takes_backups_may_do_nothing_else() {
        let document = policy(Role::Backup, "bucket", "a/b", &settings(&[]));
        assert_eq!(
            document,
            json!({ "Version": "2012-10-17", "Statement": [{
                "Sid": "Objects", "Effect": "Allow", "Action": ["s3:PutObject", "s3:AbortMultipartUpload"],
                "Resource": "arn:aws:s3:::bucket/a/b/*",
            }] })
        );
    }

    #[test]
    fn the_others_may_what_they_need() {
        let restore = policy(Role::Restore, "bucket", "a", &settings(&[]));
        assert_eq!(actions(&restore, "Objects"), ["s3:GetObject", "s3:GetObjectVersion"]);
        assert_eq!(actions(&restore, "List"), ["s3:ListBucket", "s3:ListBucketVersions"]);
        assert_eq!(restore["Statement"][1]["Condition"]["StringLike"]["s3:prefix"], "a/*");
        assert_eq!(restore["Statement"][2]["Resource"], "arn:aws:s3:::bucket/a/*.verified.json");
        assert_eq!(actions(&restore, "ResultsOfDrills"), ["s3:PutObject"]);
        let prune = policy(Role::Prune, "bucket", "", &settings(&[]));
        assert_eq!(actions(&prune, "Objects"), PRUNES);
        assert_eq!(actions(&prune, "ReadManifests"), ["s3:GetObject"]);
        assert_eq!(actions(&prune, "List"), ["s3:ListBucket"]);
        assert!(prune["Statement"].as_array().unwrap().iter().all(|statement| statement.get("Condition").is_none()));
        let all = policy(Role::All, "bucket", "", &settings(&[]));
        let wanted = ["s3:PutObject", "s3:AbortMultipartUpload", "s3:GetObject", "s3:GetObjectVersion"];
        assert_eq!(actions(&all, "Objects"), [&wanted[..], &PRUNES[..2]].concat());
        assert_eq!(actions(&all, "List"), ["s3:ListBucket", "s3:ListBucketVersions"]);
    }

    #[test]
    fn each_permission_that_the_store_can_miss_is_in_the_policy_that_its_hint_names() {
        let mut code = include_str!("../store/s3.rs").to_owned();
        code.push_str(include_str!("../store/s3/upload.rs"));
        code.push_str(include_str!("../store/s3/download.rs"));
        let named: HashSet<&str> = code
            .split('"')
            .filter(|text| text.strip_prefix("s3:").is_some_and(|name| name.chars().all(|c| c.is_ascii_alphabetic())))
            .collect();
        assert!(named.len() > 8, "{named:?}");
        for permission in named {
            let role = Role::from_str(role_with(permission), false).unwrap();
            let allowed = policy(role, "bucket", "a", &settings(&[])).to_string();
            assert!(allowed.contains(&format!("\"{permission}\"")), "{permission} is not in {allowed}");
        }
    }

    #[test]
    fn settings_that_need_more_get_it() {
        let key = "arn:aws-cn:kms:cn-north-1:1:key/2";
        let set = [
            ("object-lock", "compliance:1d"),
            ("tags", "a=b"),
            ("sse", &format!("aws:kms:{key}")),
            ("region", "cn-north-1"),
        ];
        let document = policy(Role::Backup, "bucket", "", &settings(&set));
        let wanted = ["s3:PutObject", "s3:AbortMultipartUpload", "s3:PutObjectRetention", "s3:PutObjectTagging"];
        assert_eq!(actions(&document, "Objects"), wanted);
        assert_eq!(actions(&document, "Key"), ["kms:GenerateDataKey", "kms:Decrypt"]);
        assert_eq!(document["Statement"][0]["Resource"], "arn:aws-cn:s3:::bucket/*");
        assert_eq!(document["Statement"][1]["Resource"], key);
        let alias = policy(Role::Restore, "bucket", "", &settings(&[("sse", "aws:kms:alias/backups")]));
        let statement = &alias["Statement"][2];
        assert_eq!(statement["Condition"]["ForAnyValue:StringEquals"]["kms:ResourceAliases"], "alias/backups");
        assert_eq!(statement["Resource"], "arn:aws:kms:*:*:key/*");
        assert_eq!(actions(&alias, "Key"), ["kms:Decrypt"]);
    }

    #[test]
    fn copies_are_read_from_the_first_and_only_written_to_the_second() {
        let both = settings(&[("destination", "s3://bucket"), ("copy-to", "s3://second"), ("copy-tags", "a=b")]);
        let first = policy(Role::Backup, "bucket", "", &both);
        assert_eq!(actions(&first, "Objects"), ["s3:PutObject", "s3:AbortMultipartUpload", "s3:GetObject"]);
        let second = policy(Role::Backup, "second", "", &both.of_copy().unwrap());
        assert_eq!(actions(&second, "Objects"), ["s3:PutObject", "s3:AbortMultipartUpload", "s3:PutObjectTagging"]);
        assert_eq!(actions(&policy(Role::Prune, "bucket", "", &both), "Objects"), PRUNES);
    }

    #[test]
    fn the_rule_for_orphaned_parts() {
        let rule = &lifecycle("a")["Rules"][0];
        assert_eq!(rule["Filter"]["Prefix"], "a/");
        assert_eq!(rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"], 7);
    }
}
