//! Encrypted backups, judged by the real gpg: what it has made for dokku-postgres is read by us, what we make is read by it.

use std::fs;
use std::io::{Cursor, Read};
use std::path::Path;

use pgbackup::archive::encryption::{PrivateKey, PublicKey, Recipient, Secrets, open, seal};
use pgbackup::secret::Secret;

use crate::host::{Host, Key, Postgres, Run, Service};

/// As hard to quote as they come.
const PASSPHRASE: &str = " correct * horse \"battery\" 'staple' $(id) ü ";

/// A keyring of its own.
pub struct Gpg {
    pub home: tempfile::TempDir,
}

impl Gpg {
    pub fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    fn call(&self, words: &[&str]) -> crate::host::Call {
        let all = [&["--batch", "--no-tty", "--quiet", "--yes", "--pinentry-mode", "loopback"], words].concat();
        self.host_call("gpg", &all)
    }

    fn host_call(&self, program: &str, words: &[&str]) -> crate::host::Call {
        Host::anywhere(program, words).env("GNUPGHOME", self.home.path().to_str().unwrap())
    }

    fn run(&self, words: &[&str], input: &[u8]) -> Vec<u8> {
        self.call(words).input(input).run().succeeds().bytes
    }

    /// Makes a key; its private and its public half, armored.
    pub fn key(&self, user: &str, algorithm: &str, passphrase: &str) -> (Vec<u8>, Vec<u8>) {
        self.run(&["--passphrase", passphrase, "--quick-generate-key", user, algorithm, "default", "never"], b"");
        if algorithm != "future-default" {
            // Of a named algorithm gpg makes no part that encrypts by itself.
            let public = self.run(&["--with-colons", "--list-keys", user], b"");
            let listing = String::from_utf8(public).unwrap();
            let line = listing.lines().find(|line| line.starts_with("fpr:")).unwrap();
            let fingerprint = line.trim_matches(':').rsplit(':').next().unwrap();
            self.run(&["--passphrase", passphrase, "--quick-add-key", fingerprint, algorithm, "encr", "never"], b"");
        }
        let private = self.run(&["--passphrase", passphrase, "--armor", "--export-secret-keys", user], b"");
        (private, self.run(&["--armor", "--export", user], b""))
    }

    /// Exactly as the image of dokku-postgres calls it.
    fn symmetric(&self, passphrase: &str, more: &[&str], input: &[u8]) -> Vec<u8> {
        let words = ["--symmetric", "--cipher-algo", "AES256", "--passphrase", passphrase];
        self.run(&[more, &words[..]].concat(), input)
    }

    fn encrypt(&self, user: &str, more: &[&str], input: &[u8]) -> Vec<u8> {
        self.run(&[more, &["--encrypt", "--always-trust", "--recipient", user]].concat(), input)
    }

    fn decrypt(&self, passphrase: &str, input: &[u8]) -> Vec<u8> {
        self.run(&["--passphrase", passphrase, "--decrypt"], input)
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let _ = self.host_call("gpgconf", &["--kill", "all"]).run();
    }
}

fn passphrase(text: &str) -> Secrets {
    Secrets { passphrase: Some(Secret::new(text)), ..Secrets::default() }
}

fn opened(object: &[u8], secrets: &Secrets) -> Result<Vec<u8>, String> {
    let mut opened = open(Cursor::new(object.to_vec()), secrets).map_err(|error| format!("{error:#}"))?;
    let mut archive = Vec::new();
    opened.reader.read_to_end(&mut archive).map_err(|error| format!("{error:#}"))?;
    Ok(archive)
}

/// Something that begins as an archive does and is larger than gpg's and our own packets.
fn archive() -> Vec<u8> {
    let mut archive = vec![0x1f, 0x8b];
    archive.extend((0..400_000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()));
    archive
}

#[test]
fn gpg_and_we_read_each_other() {
    let gpg = Gpg::new();
    let archive = archive();
    // Compressed as it does by itself, and otherwise; other ciphers; armored.
    for more in [
        &[][..],
        &["--compress-algo", "none"],
        &["--compress-algo", "zip", "--armor"],
        &["--compress-algo", "bzip2"],
        &["--s2k-digest-algo", "SHA512", "--s2k-mode", "1"],
    ] {
        let object = gpg.symmetric(PASSPHRASE, more, &archive);
        assert!(opened(&object, &passphrase(PASSPHRASE)).unwrap() == archive, "{more:?}");
        let wrong = opened(&object, &passphrase(PASSPHRASE.trim())).unwrap_err();
        assert!(wrong.contains("the passphrase is wrong"), "{more:?}: {wrong}");
    }
    // What a wrong passphrase gives is noise, which may begin as any packet does.
    let object = gpg.symmetric(PASSPHRASE, &["--s2k-mode", "1"], &archive[..10_000]);
    for number in 0..1_000 {
        let wrong = opened(&object, &passphrase(&format!("wrong {number}"))).unwrap_err();
        assert!(wrong.contains("the passphrase is wrong"), "{number}: {wrong}");
    }
    let mut ours = Vec::new();
    seal(archive.as_slice(), &mut ours, &Recipient::Passphrase(Secret::new(PASSPHRASE))).unwrap();
    assert!(gpg.decrypt(PASSPHRASE, &ours) == archive);

    for (user, algorithm, lock) in [("new@example.com", "future-default", ""), ("old@example.com", "rsa2048", "a lock")]
    {
        let (private, public) = gpg.key(user, algorithm, lock);
        let secrets = Secrets {
            private_key: Some(PrivateKey::parse(&private).unwrap()),
            key_passphrase: Some(Secret::new(lock)),
            ..Secrets::default()
        };
        for more in [&[][..], &["--armor"], &["--compress-algo", "none"], &["--throw-keyids"]] {
            let object = gpg.encrypt(user, more, &archive);
            assert!(opened(&object, &secrets).unwrap() == archive, "{user} {more:?}");
        }
        let public = PublicKey::parse(&public).unwrap();
        assert_eq!(public.users(), [user]);
        let mut ours = Vec::new();
        seal(archive.as_slice(), &mut ours, &Recipient::Key(Box::new(public))).unwrap();
        assert!(gpg.decrypt(lock, &ours) == archive, "{user}");
    }
    // A message for a key and a passphrase is opened by either.
    let words = ["--symmetric", "--passphrase", "either"];
    let object = gpg.encrypt("new@example.com", &words, &archive);
    assert!(opened(&object, &passphrase("either")).unwrap() == archive);
    // A key that may only sign, one that was revoked, one that has expired.
    gpg.run(&["--passphrase", "", "--quick-generate-key", "sign@example.com", "ed25519", "sign", "never"], b"");
    let key = |user: &str| PublicKey::parse(&gpg.run(&["--export", user], b""));
    assert_eq!(key("sign@example.com").unwrap_err().to_string(), "no part of it may encrypt");
    let words = ["--passphrase", "", "--faked-system-time", "20200101T000000"];
    gpg.run(&[&words[..], &["--quick-generate-key", "late@example.com", "default", "default", "1y"]].concat(), b"");
    assert!(key("late@example.com").unwrap().expired());
    assert!(!key("new@example.com").unwrap().expired());
    let revocation = fs::read_dir(gpg.home.path().join("openpgp-revocs.d")).unwrap();
    let fingerprint = key("new@example.com").unwrap().fingerprint();
    let revocation =
        revocation.map(|file| file.unwrap().path()).find(|path| path.to_string_lossy().contains(&fingerprint));
    let text = fs::read_to_string(revocation.unwrap()).unwrap().replace(":-----BEGIN", "-----BEGIN");
    gpg.run(&["--import"], text.as_bytes());
    assert_eq!(key("new@example.com").unwrap_err().to_string(), "it has been revoked");
}

fn replace(service: &Service, folder: &Path, name: &str, bytes: &[u8]) {
    let file = folder.join("bytes");
    fs::write(&file, bytes).unwrap();
    service.bucket().put(name, &file);
}

fn forget(service: &Service) {
    fs::remove_file(service.host.data_of(&service.name).join("history.jsonl")).unwrap();
}

/// A file that the user dokku may read.
fn secret_file(folder: &Path, name: &str, bytes: &[u8]) -> String {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Stock tools read it: gpg, GNU tar, pg_restore.
fn list_by_stock_tools(service: &Service, archive: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("backup.tgz");
    fs::write(&path, archive).unwrap();
    let dump = service.host.call("tar", &["-xzOf", path.to_str().unwrap(), "backup/export"]).run().succeeds().bytes;
    service.exec(&["pg_restore", "--list"]).input(dump).run().succeeds().out()
}

#[test]
#[expect(clippy::too_many_lines, reason = "one story, told from its beginning to its end")]
fn a_passphrase_of_dokku_postgres_is_used_by_itself() {
    let host = Host::get();
    let gpg = Gpg::new();
    let service = host.service("prod", Postgres::V15);
    let folder = tempfile::tempdir().unwrap();
    service.sql(
        "CREATE TABLE secret_users AS SELECT i AS id, md5(i::text) AS name FROM generate_series(1, 562) i;
         CREATE ROLE owner_of_prod NOLOGIN",
    );
    let name = service.name.as_str();
    service.sql(&format!(
        "ALTER DATABASE {0} OWNER TO owner_of_prod; GRANT CREATE ON DATABASE {0} TO owner_of_prod",
        service.database
    ));
    host.dokku(&["postgres:backup-set-encryption", name, PASSPHRASE]).run().succeeds();
    service.pgbackup("encryption", &[]).succeeds().says("passphrase").says("dokku-postgres");

    // What dokku-postgres has made is listed, tried and restored; the present state is saved encrypted first.
    let destination = format!("{}/{name}", host.bucket);
    host.dokku(&["postgres:backup", name, &destination]).run().succeeds();
    let theirs = service.bucket().names().pop().unwrap();
    assert!(theirs.ends_with(".tgz.gpg"), "{theirs}");
    let listed = service.pgbackup("list", &["--format", "json"]).succeeds().json();
    assert_eq!((&listed[0]["key"], &listed[0]["encrypted"]), (&theirs.as_str().into(), &true.into()));
    service.pgbackup("verify", &["latest"]).succeeds().says("1 table, 562 rows");
    service.sql("DELETE FROM secret_users WHERE id > 500");
    service.pgbackup("restore", &[&theirs, "--force"]).succeeds().says("is restored from");
    assert_eq!(service.rows("secret_users"), 562);
    let ours = service.bucket().backups().into_iter().find(|key| *key != theirs).unwrap();
    assert!(ours.ends_with(".tgz.gpg"), "{ours}");

    // Ours is read by stock tools, and what lies in clear beside it names nothing.
    let object = service.bucket().get(&ours);
    let listing = list_by_stock_tools(&service, &gpg.decrypt(PASSPHRASE, &object));
    assert!(listing.contains("TABLE DATA public secret_users"), "{listing}");
    let sidecar = String::from_utf8(service.bucket().get(&format!("{ours}.manifest.json"))).unwrap();
    for word in ["secret", "owner_of", "GRANT", "label", "before the restore"] {
        assert!(!sidecar.contains(word), "{word}: {sidecar}");
    }
    assert!(memchr::memmem::find(&object, b"secret_users").is_none());
    // Nothing of it stays on this host.
    for file in fs::read_dir(host.data_of(name)).unwrap() {
        let file = file.unwrap().file_name().into_string().unwrap();
        assert!(!file.contains("spool"), "{file}");
    }

    // A wrong passphrase is found before anything is saved or loaded.
    let wrong = secret_file(folder.path(), "wrong", PASSPHRASE.trim().as_bytes());
    let backups = service.bucket().backups();
    let untouched = |run: Run, why: &str| {
        run.exits(1).says(why).says("The live database was not touched");
        assert_eq!(service.bucket().backups(), backups, "a backup was made for a restore that can't be");
        assert_eq!(service.databases(), [service.database.as_str()]);
        assert_eq!(service.rows("secret_users"), 562);
    };
    service.pgbackup("rollback", &["--discard", "--force"]).succeeds();
    untouched(service.pgbackup("restore", &[&ours, "--force", "--passphrase-file", &wrong]), "the passphrase is wrong");
    let right = secret_file(folder.path(), "right", format!("{PASSPHRASE}\n").as_bytes());
    host.dokku(&["postgres:backup-unset-encryption", name]).run().succeeds();
    untouched(service.pgbackup("restore", &[&ours, "--force"]), "encrypted with a passphrase, and none is set");
    service.pgbackup("verify", &[&ours, "--passphrase-file", &right]).succeeds();
    let typed = service.call("verify", &[&ours, "--passphrase-file", "-"]).input(format!("{PASSPHRASE}\n"));
    typed.run().succeeds();
    host.dokku(&["postgres:backup-set-encryption", name, PASSPHRASE]).run().succeeds();

    // Without this host's memory: the sidecar has totals, the archive has the rest.
    forget(&service);
    let listed = service.pgbackup("list", &["--format", "json"]).succeeds().json();
    let listed = listed.as_array().unwrap().iter().find(|row| row["key"] == ours.as_str()).unwrap().clone();
    assert_eq!((&listed["tables"], &listed["rows"], &listed["made_by"]), (&1.into(), &500.into(), &"pgbackup".into()));
    service.pgbackup("info", &[&ours]).succeeds().says("Rows:").says("named inside the encrypted archive only");
    service.sql(&format!("ALTER DATABASE {} OWNER TO postgres", service.database));
    service
        .pgbackup("restore", &[&ours, "--force", "--no-safety-backup"])
        .succeeds()
        .says("Which tables change is not known");
    assert_eq!(service.rows("secret_users"), 500);
    assert_eq!(
        service.value("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"),
        "owner_of_prod"
    );
    service.pgbackup("rollback", &["--force"]).succeeds();
    service.pgbackup("rollback", &["--discard", "--force"]).succeeds();
    service.sql("DELETE FROM secret_users WHERE id > 550; INSERT INTO secret_users SELECT generate_series(551, 562)");

    // A bit near the end, the end itself, something in its place: never swapped in.
    let names = service.bucket().names();
    let end = object.len();
    let mut flipped = object.clone();
    flipped[end - 30] ^= 1;
    let plain = gpg.decrypt(PASSPHRASE, &object);
    let other = gpg.symmetric(PASSPHRASE, &[], &plain);
    for bytes in [&flipped[..], &object[..end - 1], &object[..end / 2], &plain[..], &other[..]] {
        replace(&service, folder.path(), &ours, bytes);
        untouched(service.pgbackup("restore", &[&ours, "--force", "--no-safety-backup"]), "changed or replaced");
        service.pgbackup("download", &[&ours, folder.path().join("x").to_str().unwrap(), "--decrypt"]).exits(1);
    }
    assert_eq!(service.bucket().names(), names);
    // Files are what they are, whatever they are called.
    let file = secret_file(folder.path(), "x.tgz", &object);
    service.pgbackup("verify", &["--file", &file]).succeeds();
    let file = secret_file(folder.path(), "x.tgz.gpg", &plain);
    service.pgbackup("verify", &["--file", &file]).succeeds();
    let armored = gpg.symmetric(PASSPHRASE, &["--armor"], &plain);
    service.call("verify", &["-"]).input(armored).run().succeeds();

    // The line that `info` shows restores with stock tools and nothing else.
    replace(&service, folder.path(), &ours, &object);
    fs::write(gpg.home.path().join("gpg.conf"), format!("batch\npinentry-mode loopback\npassphrase-file {right}\n"))
        .unwrap();
    let line = service.pgbackup("info", &[&ours, "--format", "json"]).succeeds().json()["by_hand"].clone();
    service.sql("DROP TABLE secret_users");
    let (id, secret) = Key::Full.pair();
    let shell = gpg.host_call(
        "bash",
        &[
            "-c",
            &format!(
                "set -o pipefail; {}",
                line.as_str().unwrap().replace("aws s3", &format!("{} s3", Host::aws_program()))
            ),
        ],
    );
    let shell = shell.env("AWS_ACCESS_KEY_ID", &id).env("AWS_SECRET_ACCESS_KEY", &secret);
    shell.env("AWS_DEFAULT_REGION", &host.region).run().succeeds();
    assert_eq!(service.rows("secret_users"), 500);
}

#[test]
fn a_public_key_encrypts_and_its_private_key_decrypts() {
    let host = Host::get();
    let gpg = Gpg::new();
    let service = host.service("prod", Postgres::V18);
    let name = service.name.as_str();
    let folder = tempfile::tempdir().unwrap();
    service.sql("CREATE TABLE users AS SELECT generate_series(1, 562) AS id");
    let (private, public) = gpg.key("ops@example.com", "future-default", "");
    let (locked, _) = gpg.key("locked@example.com", "rsa2048", "a lock");

    // dokku-postgres knows an id only: nothing is saved in clear in its place.
    host.dokku(&["postgres:backup-set-public-key-encryption", name, "DEADBEEF"]).run().succeeds();
    service.pgbackup("backup", &[]).exits(1).says("DEADBEEF").says("gpg --export --armor DEADBEEF");
    service.pgbackup("encryption", &[]).succeeds().says("public-key-id");
    assert!(service.bucket().names().is_empty());
    service.pgbackup("encryption", &["--off"]).succeeds();
    let plain = service.backup();
    assert!(plain.ends_with(".tgz"));
    service.pgbackup("encryption", &["--clear"]).succeeds().says("DEADBEEF");

    // The key itself: checked, shown, and then used.
    let set = |key: &[u8]| service.call("encryption", &["--public-key", "-"]).input(key).run();
    set(&private).exits(1).says("it is a private key").says("gpg --export");
    set(b"no key").exits(1).says("not an OpenPGP key");
    let fingerprint = PublicKey::parse(&public).unwrap().fingerprint();
    set(&public).succeeds().says(&fingerprint).says("ops@example.com");
    let shown = service.pgbackup("encryption", &["--format", "json"]).succeeds().json();
    assert_eq!((&shown["encryption"], &shown["fingerprint"]), (&"public-key".into(), &fingerprint.as_str().into()));
    service.pgbackup("encryption:test", &[]).exits(2).says("please give its private key");

    // A role that may only write is enough for a backup.
    service.authorize(Key::Writer);
    let ours = service.backup();
    let listed = service.pgbackup("list", &["--format", "json"]).succeeds().json();
    assert_eq!((&listed[0]["key"], &listed[0]["rows"]), (&ours.as_str().into(), &562.into()));
    service.authorize(Key::Full);
    let object = service.bucket().get(&ours);
    assert!(list_by_stock_tools(&service, &gpg.decrypt("", &object)).contains("TABLE DATA public users"));

    // Proven, also for the backup that is there.
    let right = secret_file(folder.path(), "right.asc", &private);
    let wrong = secret_file(folder.path(), "wrong.asc", &locked);
    service.pgbackup("encryption:test", &["--private-key", &right]).succeeds().says(&ours);
    let lock = secret_file(folder.path(), "lock", b"a lock\n");
    let words = ["--private-key", &wrong, "--passphrase-file", &lock];
    service.pgbackup("encryption:test", &words).exits(1).says("not for the private key that was given");

    // Without the key, or with another: before anything is begun.
    let names = service.bucket().names();
    service.sql("DELETE FROM users WHERE id > 500");
    let restore = |words: &[&str]| service.pgbackup("restore", &[&[&ours, "--force"], words].concat());
    restore(&[]).exits(1).says("that private key was not given");
    restore(&words).exits(1).says("not for the private key that was given");
    restore(&["--private-key", &lock]).exits(1).says("not an OpenPGP key");
    restore(&["--private-key", "/nowhere"]).exits(1).says("--private-key - < /nowhere");
    assert_eq!((service.rows("users"), service.bucket().names()), (500, names));
    service.call("restore", &[&ours, "--force", "--private-key", "-"]).input(private.clone()).run().succeeds();
    assert_eq!(service.rows("users"), 562);

    // What gpg has encrypted as dokku-postgres lets it, for a locked key.
    let theirs = format!("postgres-{name}-2023-04-03-11-00-04.tgz.gpg");
    fs::write(folder.path().join("plain.tgz"), service.bucket().get(&plain)).unwrap();
    let tar = |words: &[&str]| Host::get().call("tar", words).folder(folder.path()).run().succeeds();
    tar(&["-xzf", "plain.tgz", "backup/export"]);
    let archive = tar(&["-czf", "-", "backup/export"]).bytes;
    replace(&service, folder.path(), &theirs, &gpg.encrypt("locked@example.com", &[], &archive));
    service.pgbackup("verify", &[&theirs, "--private-key", &wrong]).exits(1).says("locked with a passphrase");
    service
        .pgbackup("verify", &[&theirs, "--private-key", &wrong, "--passphrase-file", &right])
        .exits(1)
        .says("is wrong");
    service.pgbackup("verify", &[&[theirs.as_str()], &words[..]].concat()).succeeds();

    // Downloads are what is stored, or what is in it.
    let as_stored = service.pgbackup("download", &[&ours, "-"]).succeeds();
    assert!(as_stored.bytes == object);
    let decrypted = service.pgbackup("download", &[&ours, "-", "--decrypt", "--private-key", &right]).succeeds();
    assert!(decrypted.bytes == gpg.decrypt("", &object));
}

#[test]
fn a_passphrase_of_our_own_is_no_argument_and_comes_first() {
    // Not the one of the other tests: `postgres:backup-set-encryption` takes that as an argument.
    const OURS: &str = " correct * zebra \"battery\" 'staple' $(id) ü ";
    let service = Host::get().service("prod", Postgres::V15);
    let name = service.name.as_str();
    service.sql("CREATE TABLE users AS SELECT n AS id, md5(n::text) AS name FROM generate_series(1, 200000) n");
    service.pgbackup("encryption:test", &[]).exits(1).says("are not encrypted");
    for empty in ["", "\n"] {
        service.call("encryption", &["--passphrase"]).input(empty).run().exits(2).says("The passphrase is empty");
    }
    for words in [&["--passphrase", OURS][..], &[&format!("--passphrase={OURS}")]] {
        let refused = service.pgbackup("encryption", words).exits(2).says("The passphrase is never an argument");
        assert!(!refused.err.contains("zebra"), "{}", refused.err);
    }
    service.call("encryption", &["--passphrase"]).input(format!("{OURS}\n")).run().succeeds();
    let file = service.host.lib_root.join("config/pgbackup").join(name).join("encryption");
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&fs::metadata(file).unwrap()) & 0o777, 0o600);
    let report = service.pgbackup("report", &[]).succeeds();
    assert!(!report.out().contains(OURS.trim()));

    // Nobody sees it in a list of processes, and no file in clear waits on the disk.
    let mut process = service.start("backup", &[], &[]);
    let seen = |text: &str| {
        fs::read_dir("/proc").unwrap().any(|entry| {
            let path = entry.unwrap().path();
            fs::read(path.join("cmdline")).is_ok_and(|line| memchr::memmem::find(&line, text.as_bytes()).is_some())
        })
    };
    process.says("Backing up");
    for _ in 0..20 {
        assert!(!seen("zebra"), "the passphrase is an argument");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    process.end().exits(0, "saved as");
    let key = service.bucket().backups().pop().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("decrypted.tgz");
    service.pgbackup("verify", &[&key]).succeeds().says("200000");
    service.pgbackup("encryption:test", &[]).succeeds().says(&key);
    let file = secret_file(folder.path(), "passphrase", OURS.as_bytes());
    service.pgbackup("encryption:test", &["--passphrase-file", &file]).succeeds();
    let file = secret_file(folder.path(), "wrong", b"wrong");
    service.pgbackup("encryption:test", &["--passphrase-file", &file]).exits(1).says("The probe can't be decrypted");
    let decrypted = service.pgbackup("download", &[&key, "-", "--decrypt"]).succeeds();
    fs::write(path, &decrypted.bytes).unwrap();
    assert!(list_by_stock_tools(&service, &decrypted.bytes).contains("TABLE DATA public users"));
}
