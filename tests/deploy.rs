//! Backups that Dokku's own actions ask for: before a deploy's release and before a service is destroyed.

use insta::assert_snapshot;

use crate::host::{Host, Postgres, Run};

/// What every builder of Dokku does when it has built an image.
fn build(app: &str) -> Run {
    Host::get().dokku(&["git:from-image", app, "nginx:1.27"]).run()
}

#[test]
fn a_deploy_is_preceded_by_a_backup_or_stopped() {
    let host = Host::get();
    let service = host.service("prod", Postgres::V15);
    let app = host.app("web");
    // Nothing is linked, and then nothing is asked for.
    build(&app.name).succeeds();
    app.link(&service);
    build(&app.name).succeeds();
    assert_eq!(service.bucket().backups(), [""; 0]);

    service.set("backup-on-deploy", "required");
    build(&app.name).succeeds().says("Releasing");
    let listed = service.pgbackup("list", &["--format", "json"]).succeeds().json();
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(listed[0]["label"], format!("before the deploy of {} at 0123456789ab", app.name));
    // Our part of Dokku's own report.
    let report = host.dokku(&["report", &app.name]).run().succeeds();
    report.says("Pgbackup last backup:").says(listed[0]["key"].as_str().unwrap());

    service.set("destination", "file:///nowhere");
    let stopped = build(&app.name).exits(1);
    assert!(!stopped.seen().contains("Releasing"), "{}", stopped.seen());
    assert_snapshot!(stopped.seen(), @r#"
    -----> Building web from Dockerfile
    -----> Backing up prod to file:///nowhere
     !  The deploy of web is stopped, since prod can't be backed up first: The folder /nowhere does not exist
     !  Type, as root: install -d -m 0700 -o dokku -g dokku /nowhere (or mount what should be there)
     !  To deploy without a backup: dokku pgbackup:set prod backup-on-deploy off
    exit 1
    "#);
    // Links go with an app that is renamed, and to one that is made of it.
    service.set("destination", &service.bucket().url());
    let [renamed, cloned] = ["site", "copy"].map(|name| app.name.replace("web", name));
    // What an interrupted restore has put into maintenance is lifted by the name that it has by then: the mode goes with the folder.
    app.set_maintenance(true);
    let journal = host.data_of(&service.name).join("restore.json");
    let name = (&service.name, &app.name);
    let state = serde_json::json!({
        "format": 1, "service": name.0, "source": "x", "started": "2026-11-23T14:00:04Z", "lift_maintenance": [name.1]
    });
    let text = state.to_string();
    host.call("setpriv", &["--reuid", "dokku", "--regid", "dokku", "--init-groups", "tee", journal.to_str().unwrap()])
        .input(text)
        .run()
        .succeeds();
    host.dokku(&["apps:rename", &app.name, &renamed]).run().succeeds();
    host.dokku(&["apps:clone", &renamed, &cloned]).run().succeeds();
    let in_maintenance = |app: &str| {
        host.dokku(&["maintenance:report", app, "--maintenance-enabled"]).run().succeeds().out().trim() == "true"
    };
    assert!(in_maintenance(&renamed) && in_maintenance(&cloned));
    service.pgbackup("status", &[]).exits(1).says(&format!("with {renamed}, {cloned} in maintenance"));
    for app in [&renamed, &cloned] {
        build(app).succeeds().says("Releasing");
        assert!(!in_maintenance(&renamed) && !in_maintenance(&cloned));
        let listed = service.pgbackup("list", &["--format", "json"]).succeeds().json();
        assert_eq!(listed[0]["label"], format!("before the deploy of {app} at 0123456789ab"));
    }
    assert_eq!(service.running().service.linked_apps, [cloned.as_str(), &renamed]);
    for app in [&renamed, &cloned] {
        host.dokku(&["--force", "apps:destroy", app]).run().succeeds();
    }
    let app = host.app("web");
    app.link(&service);
    service.set("destination", "file:///nowhere");

    service.set("backup-on-deploy", "warn");
    let warned = build(&app.name).succeeds();
    warned.says("Releasing").says("IS DEPLOYED WITHOUT A FRESH BACKUP");
    service.pgbackup("set", &["backup-on-deploy", "maybe"]).exits(2).says("none of off, warn, required");
}

#[test]
fn a_service_is_saved_before_it_is_destroyed() {
    let host = Host::get();
    let service = host.service("prod", Postgres::V15);
    let name = service.name.as_str();
    service.sql("CREATE TABLE users AS SELECT generate_series(1, 562) AS id");
    service.set("backup-on-destroy", "on");
    let destination = service.bucket().url();
    service.set("destination", "file:///nowhere");
    let stopped = host.dokku(&["--force", "postgres:destroy", name]).run().exits(1);
    stopped.says("is not destroyed, since it can't be backed up first").says("backup-on-destroy off");
    assert_eq!(service.rows("users"), 562);

    // One that is made of it has its rows, and nothing else of it: no schedule, no destination. That is said.
    service.pgbackup("schedule", &["@yearly"]).succeeds();
    let clone = format!("{name}-2");
    host.dokku(&["postgres:clone", name, &clone]).run().succeeds();
    let clone = host.existing(&clone);
    assert_eq!(clone.rows("users"), 562);
    assert!(!clone.host.lib_root.join("config/pgbackup").join(&clone.name).exists());
    clone.pgbackup("status", &[]).exits(1).says(&format!("pgbackup:set {} destination", clone.name));
    // In the same place each sees its own.
    clone.set("destination", &destination);
    clone.authorize(crate::host::Key::Full);
    let key = clone.backup();
    service.set("destination", &destination);
    service.pgbackup("list", &["--format", "json"]).succeeds().says("[]");
    service.set("keep-last", "1");
    service.pgbackup("prune", &["--dry-run"]).succeeds().says("Would delete 0 backups");
    let listed = clone.pgbackup("list", &["--format", "json"]).succeeds().json();
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["key"]), (1, &serde_json::Value::from(key.as_str())));

    let destroyed = host.dokku(&["--force", "postgres:destroy", name]).run().succeeds();
    let seen = destroyed.out();
    // And it outlives it.
    clone.pgbackup("verify", &["latest"]).succeeds();
    let key = service.bucket().backups().into_iter().find(|other| *other != key).unwrap();
    // What it tells is typed, and the rows are there again.
    let told: Vec<Vec<String>> = seen
        .lines()
        .map(str::trim)
        .filter_map(|line| line.strip_prefix("dokku "))
        .map(|line| line.split(' ').map(str::to_owned).collect())
        .collect();
    assert_eq!(told.last().unwrap().last().unwrap(), &key, "{seen}");
    for mut words in told {
        if words[0] == "pgbackup:restore" {
            words.push("--force".to_owned());
            // The keys of postgres:backup-auth went with the service.
            service.authorize(crate::host::Key::Full);
        }
        host.dokku(&words.iter().map(String::as_str).collect::<Vec<_>>()).run().succeeds();
    }
    let count = host.dokku(&["pgbackup:query", name, "SELECT count(*) FROM users"]).run().succeeds();
    count.says("562");

    // What is not kept is said.
    host.dokku(&["postgres:backup-set-encryption", &clone.name, "of the clone"]).run().succeeds();
    clone.set("backup-on-destroy", "on");
    let destroyed = host.dokku(&["--force", "postgres:destroy", &clone.name]).run().succeeds();
    destroyed.says("The passphrase of postgres:backup-set-encryption goes with").says("--passphrase-file -");
}
