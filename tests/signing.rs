//! Signed manifests: what was changed, replaced or stripped in the store is refused before anything of it is loaded, and what is good never is.

use std::fs;

use crate::host::{Host, Postgres, Run, Service};

const COMMANDS: [(&str, &[&str]); 4] =
    [("check", &[]), ("restore", &["--force", "--no-safety-backup"]), ("verify", &[]), ("verify", &["--isolated"])];

fn put(service: &Service, name: &str, bytes: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bytes");
    fs::write(&file, bytes).unwrap();
    service.bucket().put(name, &file);
}

/// This host forgets what it knows of the service's backups, as another one would not know it.
fn forget(service: &Service) {
    let _ = fs::remove_file(service.host.data_of(&service.name).join("history.jsonl"));
}

fn key_file(service: &Service) -> std::path::PathBuf {
    service.host.data_of("--global").join("signing-keys.json")
}

/// Commands that read a backup (the first `count` of them) refuse this one, and nothing was loaded.
fn refused(service: &Service, key: &str, count: usize, words: &[&str]) {
    for (command, flags) in &COMMANDS[..count] {
        let run = service.pgbackup(command, &[&[key], *flags].concat());
        assert!(matches!(run.code, 1 | 3), "{command}: {}\n{}{}", run.code, run.out(), run.err);
        for word in words {
            assert!(run.err.contains(word), "{command} does not say {word:?}: {}", run.err);
        }
        assert!(!run.out().contains("Building indexes"), "{command} has loaded it: {}", run.out());
        let unfinished =
            service.databases().into_iter().filter(|name| name != &service.database && !name.contains("previous"));
        assert_eq!((unfinished.count(), service.rows("users")), (0, 500), "{command}");
    }
}

fn taken(service: &Service, key: &str, words: &[&str]) -> Run {
    let run = service.pgbackup("restore", &[&[key, "--force", "--no-safety-backup"], words].concat()).succeeds();
    assert_eq!(service.rows("users"), 562);
    service.sql("DELETE FROM users WHERE id > 500");
    run
}

#[test]
fn what_was_changed_in_the_store_is_refused_before_it_is_loaded() {
    let service = Host::get().service("prod", Postgres::V15);
    service.sql("CREATE TABLE users AS SELECT i AS id, md5(i::text) AS name FROM generate_series(1, 562) i");
    let (key, other) = (service.backup(), service.backup());
    service.sql("DELETE FROM users WHERE id > 500");
    let sidecar = format!("{key}.manifest.json");
    let (object, description) = (service.bucket().get(&key), service.bucket().get(&sidecar));
    let text = String::from_utf8(description.clone()).unwrap();
    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(key_file(&service)).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    service.pgbackup("info", &[&key]).succeeds().says("yes, with the key");

    // One byte of the object: in its head, in its first rows, at its end.
    for at in [40, 600, object.len() / 2, object.len() - 1] {
        let mut changed = object.clone();
        changed[at] ^= 1;
        put(&service, &key, &changed);
        refused(&service, &key, if at == 600 { 4 } else { 1 }, &["changed or replaced"]);
    }
    put(&service, &key, &object[..object.len() - 5]);
    forget(&service);
    refused(&service, &key, 2, &["changed or replaced"]);
    // Another good backup of the same service under its name, with its description and without.
    put(&service, &key, &service.bucket().get(&other));
    refused(&service, &key, 2, &["changed or replaced"]);
    put(&service, &sidecar, &service.bucket().get(&format!("{other}.manifest.json")));
    refused(&service, &key, 2, &["belongs to", "--allow-unsigned"]);
    put(&service, &key, &object);

    // A changed description; one without its signature; none at all.
    put(&service, &sidecar, text.replacen("\"public.users\": 562", "\"public.users\": 561", 1).as_bytes());
    refused(&service, &key, 2, &["changed after it was signed"]);
    let mut stripped: serde_json::Value = serde_json::from_str(&text).unwrap();
    stripped.as_object_mut().unwrap().remove("signature");
    put(&service, &sidecar, &serde_json::to_vec(&stripped).unwrap());
    refused(&service, &key, 4, &["is not signed"]);
    let listed = service.pgbackup("list", &[]).succeeds();
    assert_eq!(listed.out().matches("NOT-PROVEN").count(), 1, "{}", listed.out());
    taken(&service, &key, &["--allow-unsigned"]).says("is not proven");
    service.bucket().remove(&sidecar);
    refused(&service, &key, 2, &["has no description"]);
    // Also one that claims to be made by dokku-postgres, unless the user knows that it was.
    taken(&service, &key, &["--allow-unsigned"]);

    // The description as it was, in other blanks.
    let compact: serde_json::Value = serde_json::from_str(&text).unwrap();
    put(&service, &sidecar, &serde_json::to_vec(&compact).unwrap());
    taken(&service, &key, &[]).says("all equal");
    service.pgbackup("check", &[&key]).succeeds();
    service.pgbackup("verify", &[&key, "--isolated"]).succeeds();
}

#[test]
fn keys_are_lost_replaced_and_taken_to_another_host() {
    // A host of its own: its key is changed under the feet of whatever else runs here otherwise.
    let service = Host::get().service("prod", Postgres::V18);
    let apart = tempfile::Builder::new().prefix("pgbackup-signing").tempdir().unwrap();
    let lib_root = apart.path().join("lib");
    for folder in ["services/postgres", "config/pgbackup"] {
        fs::create_dir_all(lib_root.join(folder)).unwrap();
        std::os::unix::fs::symlink(
            service.host.lib_root.join(folder).join(&service.name),
            lib_root.join(folder).join(&service.name),
        )
        .unwrap();
    }
    std::os::unix::fs::symlink(service.host.lib_root.join("plugins"), lib_root.join("plugins")).unwrap();
    fs::create_dir_all(lib_root.join("data/pgbackup")).unwrap();
    let key_file = lib_root.join("data/pgbackup/--global/signing-keys.json");
    let owner = service.host.call("chown", &["-R", "dokku:dokku", apart.path().to_str().unwrap()]);
    owner.run().succeeds();
    fs::set_permissions(apart.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let call = |command: &str, words: &[&str], input: &str| {
        let file = service.host.lib_root.join("plugins/enabled/pgbackup/subcommands").join(command);
        let mut all = vec![file.to_str().unwrap()];
        let name = format!("pgbackup:{command}");
        all.push(&name);
        if command != "signing-key" {
            all.push(&service.name);
        }
        all.extend(words);
        let lib = format!("DOKKU_LIB_ROOT={}", lib_root.display());
        let words = [&["-u", "dokku", "--", "env", lib.as_str()][..], &all].concat();
        service.host.call("runuser", &words).input(input).run()
    };
    service.sql("CREATE TABLE users AS SELECT i AS id FROM generate_series(1, 562) i");

    // dokku-postgres's own, from before: unsigned, and restored as ever.
    let destination = format!("{}/{}", service.host.bucket, service.name);
    let theirs = || {
        service.host.dokku(&["postgres:backup", &service.name, &destination]).run().succeeds();
        service.bucket().backups().pop().unwrap()
    };
    let old = theirs();
    call("verify", &[&old], "").succeeds();
    call("signing-key", &[], "").succeeds().says("A new key signs").says("--secret");
    call("list", &[], "").succeeds().says("unsigned");
    call("verify", &[&old], "").succeeds();
    let first = call("signing-key", &["--secret"], "").succeeds().out();
    let public = call("signing-key", &["--public"], "").succeeds().out();
    assert!(first.starts_with("pgbackup-secret-key 20") && public.starts_with("pgbackup-public-key 20"));
    std::thread::sleep(std::time::Duration::from_secs(1));
    let key = call("backup", &["--quiet"], "").succeeds().out().trim().to_owned();
    call("verify", &[&key], "").succeeds();
    call("verify", &[&old], "").succeeds();
    // From now on one of dokku-postgres may as well be somebody else's.
    std::thread::sleep(std::time::Duration::from_secs(1));
    let new = theirs();
    call("verify", &["latest"], "").exits(1).says("has no description").says("--allow-unsigned");
    call("verify", &[&new, "--allow-unsigned"], "").succeeds().says("is not proven");
    call("info", &[&new], "").succeeds().says("NOT PROVEN");

    // The host is lost: a new one has no key, knows nothing, and may restore all the same.
    let history = lib_root.join("data/pgbackup").join(&service.name);
    fs::remove_file(&key_file).unwrap();
    fs::remove_file(history.join("history.jsonl")).unwrap();
    call("verify", &[&key], "").succeeds().says("which this host doesn't know").says("signing-key --import");
    // With another key of its own the old ones are as good as forged where they have to be signed, until that of the lost host is known.
    call("backup", &[], "").succeeds();
    call("verify", &[&key], "").succeeds().says("which this host doesn't know");
    let own = call("signing-key", &["--format", "json"], "").succeeds().json()[0]["id"].as_str().unwrap().to_owned();
    let mut kept: serde_json::Value = serde_json::from_slice(&fs::read(&key_file).unwrap()).unwrap();
    kept["since"][&service.name] = "2020-01-01T00:00:00Z".into();
    fs::write(&key_file, serde_json::to_vec(&kept).unwrap()).unwrap();
    call("verify", &[&key], "").exits(1).says("which this host doesn't know").says("signing-key --import");
    call("signing-key", &["--import"], &public).succeeds().says("is trusted");
    call("verify", &[&key], "").succeeds();
    let all = call("signing-key", &["--format", "json"], "").succeeds().json();
    let id = all[1]["id"].as_str().unwrap().to_owned();
    call("signing-key", &["--forget", &id], "").succeeds();
    call("verify", &[&key], "").exits(1);
    call("signing-key", &["--import"], &first).succeeds().says("signs the backups");
    call("verify", &[&key], "").succeeds();
    let all = call("signing-key", &["--format", "json"], "").succeeds().json();
    assert_eq!((all[0]["id"].as_str().unwrap(), all[1]["id"].as_str().unwrap()), (id.as_str(), own.as_str()));
    for bad in ["", "hunter2", "pgbackup-secret-key now 00"] {
        let run = call("signing-key", &["--import"], bad);
        assert!(run.code == 1 || run.code == 2, "{bad:?}");
        assert!(!run.err.contains("hunter2"), "{}", run.err);
    }

    // A spoiled file is no permission; a backup is taken all the same, and says that it is not signed.
    fs::write(&key_file, "{").unwrap();
    call("verify", &[&key], "").exits(1).says("signing-keys.json can't be read");
    call("backup", &[], "").succeeds().says("The backup is not signed");
}
