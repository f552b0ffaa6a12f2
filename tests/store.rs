//! What every store promises, held against a folder and against S3 servers; and what happens when S3 fails.

mod credentials;
mod providers;
pub mod server;

use std::io::Read;
use std::time::{Duration, Instant};

use pgbackup::secret::Secret;
use pgbackup::store::folder::FolderStore;
use pgbackup::store::s3::{Credentials, S3Settings, S3Store};
use pgbackup::store::{Store, StoreError, Stored, UploadPlan};
use server::{BUCKET, Call, Fault, SECRET_KEY, Server};

const MIB: usize = 1024 * 1024;
const PART: usize = 8 * MIB;
/// As long as the archive's first member.
const HEAD: usize = 535;
const NAME: &str = "postgres-prod-2023-04-03-11-00-04.tgz";

/// Bytes that differ everywhere, so that a part in the wrong place is seen.
fn bytes(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&(state ^ (state >> 29)).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Uploads as the archive does: in small pieces, the head last.
fn upload(store: &dyn Store, name: &str, all: &[u8], head: usize, expected: u64) -> Result<Stored, StoreError> {
    let mut upload = store.upload(name, UploadPlan { head, expected })?;
    let (head, rest) = all.split_at(head);
    for piece in rest.chunks(1_000_003) {
        upload.write(piece)?;
    }
    upload.complete(head)
}

fn read(store: &dyn Store, name: &str) -> Vec<u8> {
    let mut all = Vec::new();
    store.open(name).unwrap().read_to_end(&mut all).unwrap();
    all
}

/// Reads to the end, which must fail, and with an error of the store's that callers can find.
fn read_error(mut reader: Box<dyn Read + Send>) -> String {
    let error = anyhow::Error::from(reader.read_to_end(&mut Vec::new()).unwrap_err());
    assert!(error.chain().any(<dyn std::error::Error>::is::<StoreError>), "{error:?}");
    error.to_string()
}

fn names(store: &dyn Store, start: &str) -> Vec<String> {
    let mut names: Vec<String> = store.list(start).unwrap().into_iter().map(|object| object.name).collect();
    names.sort();
    names
}

/// What every store promises.
pub fn contract(store: &dyn Store) {
    // Sizes around a part's, with a right and a wrong guess of the size.
    for (length, expected) in [
        (HEAD, 0),
        (HEAD + 1, 0),
        (PART - 1, 0),
        (PART, 0),
        (PART + 1, 0),
        (2 * PART, 0),
        (2 * PART + 1, 3 * PART as u64),
        (HEAD, 10 * PART as u64),
        (5 * PART + 4711, 0),
    ] {
        let all = bytes(length);
        let stored = upload(store, NAME, &all, HEAD, expected).unwrap();
        assert_eq!(stored.bytes, length as u64);
        assert!(!stored.confirmed_by.is_empty());
        assert!(read(store, NAME) == all, "{length} bytes came back different");
        let info = store.head(NAME).unwrap();
        assert_eq!((info.bytes, info.name.as_str()), (length as u64, NAME));
        let age = jiff::Timestamp::now().duration_since(info.modified.unwrap());
        assert!(age.abs() < jiff::SignedDuration::from_secs(600), "{age:?}");
        store.delete(NAME).unwrap();
    }

    // Never in the place of another one, be it there from the beginning or made meanwhile, small or in parts.
    let first = bytes(HEAD + 4711);
    upload(store, NAME, &first, HEAD, 0).unwrap();
    for length in [HEAD + 1, 2 * PART + 1] {
        let second = bytes(length);
        let refused = upload(store, NAME, &second, HEAD, length as u64).unwrap_err();
        assert!(matches!(refused, StoreError::Taken { .. }), "{refused:?}");
        let other = "postgres-prod-2023-04-03-11-00-05.tgz";
        let mut late = store.upload(other, UploadPlan { head: HEAD, expected: length as u64 }).unwrap();
        late.write(&second[HEAD..]).unwrap();
        upload(store, other, &first, HEAD, 0).unwrap();
        let refused = late.complete(&second[..HEAD]).unwrap_err();
        assert!(matches!(refused, StoreError::Taken { .. }), "{refused:?}");
        assert!(read(store, other) == first);
        assert_eq!(names(store, ""), [NAME, other]);
        store.delete(other).unwrap();
    }

    // Invisible until it is complete; gone when it is dropped.
    let mut unfinished = store.upload("postgres-new", UploadPlan { head: HEAD, expected: 20 * MIB as u64 }).unwrap();
    unfinished.write(&bytes(20 * MIB)).unwrap();
    assert_eq!(names(store, "postgres-"), [NAME]);
    drop(unfinished);
    assert!(read(store, NAME) == first);
    let mut unfinished = store.upload("postgres-other", UploadPlan { head: 0, expected: 0 }).unwrap();
    unfinished.write(&bytes(20 * MIB)).unwrap();
    unfinished.abort().unwrap();
    assert_eq!(names(store, ""), [NAME]);
    // A head of another length than planned is refused, and leaves nothing.
    let unfinished = store.upload("postgres-other", UploadPlan { head: 7, expected: 0 }).unwrap();
    assert!(matches!(unfinished.complete(b"12345678"), Err(StoreError::Failed { .. })));
    assert_eq!(names(store, ""), [NAME]);

    // Small objects, replaced as a whole; an empty one.
    store.put("postgres-prod.json", b"one").unwrap();
    store.put("postgres-prod.json", b"another").unwrap();
    assert_eq!(read(store, "postgres-prod.json"), b"another");
    store.put("empty", b"").unwrap();
    assert_eq!((read(store, "empty").len(), store.head("empty").unwrap().bytes), (0, 0));
    store.delete("empty").unwrap();
    upload(store, "empty", b"", 0, 0).unwrap();
    assert_eq!(read(store, "empty").len(), 0);

    // Lists by the beginning of a name.
    assert_eq!(names(store, ""), ["empty", NAME, "postgres-prod.json"]);
    assert_eq!(names(store, "postgres-prod-"), [NAME]);
    assert_eq!(names(store, "nothing"), Vec::<String>::new());

    // Deleting is done when it isn't there, however often.
    for name in [NAME, "empty", "postgres-prod.json", "never-was"] {
        store.delete(name).unwrap();
        store.delete(name).unwrap();
        assert!(matches!(store.head(name), Err(StoreError::NotFound { .. })), "{name}");
        assert!(matches!(store.open(name).map(|_| ()), Err(StoreError::NotFound { .. })), "{name}");
    }
    assert_eq!(names(store, ""), Vec::<String>::new());

    // Names that are none.
    for bad in ["", ".", "..", ".hidden", "a/b", "/etc/passwd", "../x", "a\nb", "a\\b", &"x".repeat(300)] {
        assert!(store.put(bad, b"x").is_err(), "{bad:?}");
        assert!(store.upload(bad, UploadPlan { head: 0, expected: 0 }).is_err(), "{bad:?}");
        assert!(store.open(bad).is_err() && store.head(bad).is_err() && store.delete(bad).is_err(), "{bad:?}");
    }
}

fn many(store: &dyn Store, count: usize) {
    for number in 0..count {
        store.put(&format!("postgres-many-{number:05}"), b"x").unwrap();
    }
    assert_eq!(names(store, "postgres-many-").len(), count);
    let distinct: std::collections::HashSet<String> = names(store, "postgres-").into_iter().collect();
    assert_eq!(distinct.len(), count);
}

fn s3(settings: S3Settings) -> S3Store {
    S3Store::open(settings).unwrap()
}

fn misconfigured(error: StoreError) -> (String, String) {
    match error {
        StoreError::Misconfigured { message, hint } => (message, hint),
        other => panic!("not a wrong setting: {other:?}"),
    }
}

mod folder {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn keeps_the_promises() {
        let folder = tempfile::tempdir().unwrap();
        contract(&FolderStore::new(folder.path()));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "something is left");
        many(&FolderStore::new(folder.path()), 1_500);
    }

    #[test]
    fn files_are_private_and_foreign_things_are_no_objects() {
        let folder = tempfile::tempdir().unwrap();
        let store = FolderStore::new(folder.path());
        store.put(NAME, b"x").unwrap();
        let mode = std::fs::metadata(folder.path().join(NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::create_dir(folder.path().join("folder")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link")).unwrap();
        std::fs::write(folder.path().join(".hidden"), "x").unwrap();
        assert_eq!(names(&store, ""), [NAME]);
        for name in ["folder", "link"] {
            assert!(matches!(store.open(name).map(|_| ()), Err(StoreError::NotFound { .. })), "{name}");
            assert!(matches!(store.head(name), Err(StoreError::NotFound { .. })), "{name}");
        }
        assert_eq!(store.presign(NAME, Duration::from_mins(1)).unwrap(), None);
    }

    #[test]
    fn a_missing_folder_is_told_before_anything_is_done() {
        let store = FolderStore::new("/nonexistent/backups");
        let plan = UploadPlan { head: 0, expected: 0 };
        for error in [
            store.upload(NAME, plan).map(|_| ()).unwrap_err(),
            store.head(NAME).unwrap_err(),
            store.list("").unwrap_err(),
            store.delete(NAME).unwrap_err(),
        ] {
            let (message, hint) = misconfigured(error);
            assert_eq!(message, "The folder /nonexistent/backups does not exist");
            assert!(hint.contains("install -d"), "{hint}");
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        let (message, _) = misconfigured(FolderStore::new(file.path()).upload(NAME, plan).map(|_| ()).unwrap_err());
        assert!(message.ends_with("is not a folder"), "{message}");
    }

    #[test]
    fn a_file_that_shrinks_while_it_is_read_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let store = FolderStore::new(folder.path());
        store.put(NAME, &bytes(MIB)).unwrap();
        let mut reader = store.open(NAME).unwrap();
        reader.read_exact(&mut [0; 100]).unwrap();
        std::fs::OpenOptions::new().write(true).open(folder.path().join(NAME)).unwrap().set_len(5_000).unwrap();
        let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    }
}

mod s3_server {
    use super::*;

    #[test]
    fn keeps_the_promises() {
        let server = Server::start();
        contract(&s3(server.settings()));
        assert_eq!(server.leftovers(), Vec::<String>::new());
    }

    /// A server that nobody wrote for this test: the host's.
    #[test]
    fn a_foreign_server_keeps_the_promises() {
        let host = crate::host::Host::get();
        let (access_key, secret_key) = crate::host::Key::Full.pair();
        let store = s3(S3Settings {
            bucket: host.bucket.clone(),
            prefix: format!("a folder/contract+{}", std::process::id()),
            region: Some(host.region.clone()),
            endpoint: Some(host.endpoint.clone()),
            credentials: Credentials::Static { access_key, secret_key: Secret::new(secret_key), session_token: None },
            ..S3Settings::default()
        });
        contract(&store);
        many(&store, 1_100);
    }

    #[test]
    fn keeps_the_promises_under_a_prefix_with_crc() {
        let server = Server::start();
        let store = s3(S3Settings { prefix: "a folder/prod+1".into(), checksums: Some(true), ..server.settings() });
        contract(&store);
        assert_eq!(server.leftovers(), Vec::<String>::new());
        assert_eq!(store.describe(), "s3://backups/a folder/prod+1");
    }

    #[test]
    fn lists_thousands_and_leaves_others_alone() {
        let server = Server::start();
        let store = s3(S3Settings { prefix: "db".into(), ..server.settings() });
        let folder = server.root.path().join(BUCKET).join("db");
        std::fs::create_dir_all(folder.join("deeper")).unwrap();
        for number in 0..2_345 {
            std::fs::write(folder.join(format!("postgres-many-{number:05}")), "x").unwrap();
        }
        std::fs::write(folder.join("deeper/postgres-many-x"), "x").unwrap();
        std::fs::write(folder.join("../db-postgres-many-y"), "x").unwrap();
        assert_eq!(names(&store, "postgres-many-").len(), 2_345);
        assert_eq!(server.calls(), [Call::List; 3]);
        assert_eq!(names(&store, "").len(), 2_345);
    }

    #[test]
    fn a_small_backup_is_one_part() {
        let server = Server::start();
        let stored = upload(&s3(server.settings()), NAME, &bytes(100_000), HEAD, 7 * MIB as u64).unwrap();
        assert_eq!(stored.confirmed_by, "1 part, MD5");
        assert_eq!(server.calls(), [Call::List, Call::Create, Call::Part(1), Call::Complete]);
    }

    #[test]
    fn part_one_comes_last_and_all_parts_are_of_equal_size() {
        let server = Server::start();
        let store = s3(S3Settings { part_concurrency: Some(1), ..server.settings() });
        let stored = upload(&store, NAME, &bytes(3 * PART + 5), HEAD, 30 * MIB as u64).unwrap();
        assert_eq!(stored.confirmed_by, "4 parts, MD5 each");
        let seen = server.seen();
        let calls: Vec<Call> = seen.iter().map(|seen| seen.call).collect();
        assert_eq!(
            calls,
            [Call::List, Call::Create, Call::Part(2), Call::Part(3), Call::Part(4), Call::Part(1), Call::Complete],
            "the reply's ETag proves the whole: nothing more is asked"
        );
        let sizes: Vec<&str> = seen.iter().filter_map(|seen| seen.header("content-length")).collect();
        assert_eq!(sizes[..4], ["8388608", "8388608", "5", "8388608"]);
    }

    /// Issue after issue in other tools: what R2, B2, OVH and others refuse must not be sent to them.
    #[test]
    fn other_stores_than_aws_get_the_plain_dialect() {
        let server = Server::start();
        let store = s3(server.settings());
        upload(&store, NAME, &bytes(PART + 5), HEAD, 0).unwrap();
        store.put("small", b"x").unwrap();
        read(&store, NAME);
        store.delete(NAME).unwrap();
        for Seen { call, headers, .. } in server.seen() {
            let sent = |name: &str| headers.iter().any(|(header, _)| header.starts_with(name));
            for refused in ["x-amz-checksum", "x-amz-sdk-checksum", "x-amz-trailer", "transfer-encoding", "x-amz-te"] {
                assert!(!sent(refused), "{call:?} sends {refused}");
            }
            assert!(!headers.iter().any(|(_, value)| value.contains("aws-chunked")), "{call:?}");
            let payload = headers.iter().find(|(name, _)| name == "x-amz-content-sha256").map(|(_, value)| value);
            assert!(payload.is_some_and(|payload| payload.len() == 64), "{call:?}: {payload:?}");
            assert_eq!(sent("content-md5"), matches!(call, Call::Part(_) | Call::Put), "{call:?}");
        }
    }

    #[test]
    fn links_can_be_read_by_anyone() {
        let server = Server::start();
        let store = s3(server.settings());
        store.put(NAME, b"hello").unwrap();
        let link = store.presign(NAME, Duration::from_mins(1)).unwrap().unwrap();
        assert!(link.starts_with(&format!("{}/{BUCKET}/{NAME}?", server.endpoint())), "{link}");
        assert!(link.contains("X-Amz-Expires=60") && !link.contains(SECRET_KEY));
        let mut socket = std::net::TcpStream::connect(server.endpoint().trim_start_matches("http://")).unwrap();
        let path = link.trim_start_matches(&server.endpoint());
        let host = server.endpoint().trim_start_matches("http://").to_owned();
        std::io::Write::write_all(
            &mut socket,
            format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").as_bytes(),
        )
        .unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("hello"), "{answer}");
        assert!(store.presign(NAME, Duration::from_hours(8 * 24)).is_err());
    }

    use super::server::Seen;
}

mod s3_faults {
    use super::*;

    const LARGE: usize = 2 * PART + 5;
    const EXPECTED: u64 = 3 * PART as u64;

    /// One failure at every call of a large upload: it is repaired, whatever the failure.
    #[test]
    fn one_failure_anywhere_in_an_upload_is_repaired() {
        let all = bytes(LARGE);
        let faults = [
            Fault::Answer(500, "InternalError", "We encountered an internal error"),
            Fault::Answer(503, "SlowDown", "Please reduce your request rate"),
            Fault::Plain(503, "<html>busy</html>"),
            Fault::Answer(429, "TooManyRequests", ""),
            Fault::Answer(400, "RequestTimeout", "Your socket connection was not read from"),
            Fault::Reset,
        ];
        for call in [Call::Create, Call::Part(1), Call::Part(2), Call::Part(3), Call::Complete] {
            let server = Server::start();
            for fault in &faults {
                server.fail(call, 1, fault.clone());
                let stored = upload(&s3(server.settings()), NAME, &all, HEAD, EXPECTED);
                assert_eq!(stored.unwrap().bytes, LARGE as u64, "{call:?} {fault:?}");
                assert_eq!(server.leftovers(), Vec::<String>::new(), "{call:?} {fault:?}");
                assert!(read(&s3(server.settings()), NAME) == all);
                s3(server.settings()).delete(NAME).unwrap();
            }
        }
    }

    #[test]
    fn one_failure_of_any_other_call_is_repaired() {
        let server = Server::start();
        let store = s3(server.settings());
        for fault in
            [Fault::Answer(503, "SlowDown", ""), Fault::Plain(502, "bad gateway"), Fault::Reset, Fault::LoseAnswer]
        {
            for call in [Call::List, Call::Put, Call::Head, Call::Get, Call::Delete] {
                server.fail(call, 1, fault.clone());
            }
            upload(&store, NAME, b"hello", 2, 0).unwrap();
            assert_eq!(store.head(NAME).unwrap().bytes, 5, "{fault:?}");
            assert_eq!(read(&store, NAME), b"hello", "{fault:?}");
            store.delete(NAME).unwrap();
            assert_eq!(names(&store, ""), Vec::<String>::new(), "{fault:?}");
        }
    }

    #[test]
    fn a_200_with_an_error_inside_is_no_success() {
        let server = Server::start();
        let body = "<Error><Code>InternalError</Code><Message>We encountered an internal error</Message></Error>";
        server.fail(Call::Complete, 1, Fault::Plain(200, body));
        upload(&s3(server.settings()), NAME, &bytes(LARGE), HEAD, EXPECTED).unwrap();
        assert_eq!(server.calls().iter().filter(|call| **call == Call::Complete).count(), 2);
        let body = "<Error><Code>InvalidPart</Code><Message>One or more parts could not be found</Message></Error>";
        server.fail(Call::Complete, 1, Fault::Plain(200, body));
        let error = upload(&s3(server.settings()), "postgres-2", &bytes(LARGE), HEAD, EXPECTED).unwrap_err();
        assert!(error.to_string().contains("InvalidPart"), "{error}");
        assert_eq!(server.leftovers(), Vec::<String>::new());
        assert_eq!(names(&s3(server.settings()), ""), [NAME]);
    }

    /// An answer that got lost: the store has done it, and says to the second call that there is nothing to do.
    #[test]
    fn a_lost_answer_is_not_a_lost_backup() {
        let server = Server::start();
        let store = s3(server.settings());
        let all = bytes(LARGE);
        for call in [Call::Part(1), Call::Part(2), Call::Part(3)] {
            server.fail(call, 1, Fault::LoseAnswer);
        }
        upload(&store, NAME, &all, HEAD, EXPECTED).unwrap();
        let gone = || Fault::Answer(404, "NoSuchUpload", "The specified upload does not exist");
        server.fail(Call::Complete, 1, Fault::LoseAnswer);
        server.fail(Call::Complete, 1, gone());
        upload(&store, "postgres-2", &all, HEAD, EXPECTED).unwrap();
        assert!(read(&store, "postgres-2") == all);
        // Without the object, or without the right to look for it, it is no success.
        server.fail(Call::Complete, 1, gone());
        assert!(upload(&store, "postgres-3", &all, HEAD, EXPECTED).is_err());
        server.fail(Call::Complete, 1, gone());
        server.fail(Call::Head, 1, Fault::Plain(403, ""));
        let error = upload(&store, "postgres-4", &all, HEAD, EXPECTED).unwrap_err().to_string();
        assert!(error.contains("answer got lost"), "{error}");
        assert_eq!(names(&store, ""), ["postgres-2", NAME]);
    }

    #[test]
    fn a_completion_that_leaves_another_object_is_a_failure() {
        let server = Server::start();
        let store = s3(server.settings());
        // Says yes and does nothing; an object of that name, which has come meanwhile, has another size.
        let mut begun = store.upload(NAME, UploadPlan { head: HEAD, expected: EXPECTED }).unwrap();
        begun.write(&bytes(LARGE)[HEAD..]).unwrap();
        store.put(NAME, b"old").unwrap();
        let body = "<CompleteMultipartUploadResult><ETag>\"x-3\"</ETag></CompleteMultipartUploadResult>";
        server.fail(Call::Complete, 1, Fault::Plain(200, body));
        let error = begun.complete(&[0; HEAD]).unwrap_err();
        assert!(error.to_string().contains("shows 3 bytes instead of 16777221"), "{error}");
        server.fail(Call::Complete, 1, Fault::Plain(200, body));
        let error = upload(&store, "postgres-2", &bytes(LARGE), HEAD, EXPECTED).unwrap_err();
        assert!(error.to_string().contains("doesn't show the object"), "{error}");
    }

    #[test]
    fn a_store_that_is_away_for_a_while_costs_no_backup() {
        let server = Server::start();
        let store = s3(server.settings());
        let mut upload = store.upload(NAME, UploadPlan { head: HEAD, expected: EXPECTED }).unwrap();
        let all = bytes(LARGE);
        upload.write(&all[HEAD..PART + 10]).unwrap();
        server.go_away();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_secs(10));
                server.come_back();
            });
            upload.write(&all[PART + 10..]).unwrap();
            upload.complete(&all[..HEAD]).unwrap();
        });
        assert!(read(&store, NAME) == all);
    }

    #[test]
    fn a_failure_that_stays_names_the_part_and_leaves_nothing() {
        let server = Server::start();
        let store = s3(server.settings());
        server.fail(
            Call::Part(2),
            usize::MAX,
            Fault::Answer(400, "EntityTooLarge", "Your proposed upload exceeds the maximum"),
        );
        let error = upload(&store, NAME, &bytes(LARGE), HEAD, EXPECTED).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "uploading part 2 of s3://{BUCKET}/{NAME} failed: {} answers EntityTooLarge (HTTP 400): Your proposed upload exceeds the maximum",
                server.endpoint()
            )
        );
        assert_eq!(server.leftovers(), Vec::<String>::new());
        assert_eq!(names(&store, ""), Vec::<String>::new());
    }

    /// A role that lacks one permission: it is named, with what it is missing for.
    #[test]
    fn each_missing_permission_is_named() {
        let server = Server::start();
        let store = s3(server.settings());
        store.put("there", b"x").unwrap();
        let denied = || Fault::Answer(403, "AccessDenied", "Access Denied");
        let object = format!("s3://{BUCKET}/there");
        let check = |error: StoreError, wanted: &str, on: &str| match error {
            StoreError::Denied { permission, resource } => {
                assert_eq!((permission.as_str(), resource.as_str()), (wanted, on));
            }
            other => panic!("{other:?}"),
        };
        server.fail(Call::Put, 1, denied());
        check(store.put("there", b"y").unwrap_err(), "s3:PutObject", &object);
        server.fail(Call::Get, 1, denied());
        check(store.open("there").map(|_| ()).unwrap_err(), "s3:GetObject", &object);
        server.fail(Call::Head, 1, denied());
        check(store.head("there").unwrap_err(), "s3:GetObject", &object);
        server.fail(Call::Delete, 1, denied());
        check(store.delete("there").unwrap_err(), "s3:DeleteObject", &object);
        server.fail(Call::List, 1, denied());
        check(store.list("").unwrap_err(), "s3:ListBucket", &format!("s3://{BUCKET}"));
        server.fail(Call::Create, 1, denied());
        let plan = UploadPlan { head: 0, expected: EXPECTED };
        let new = format!("s3://{BUCKET}/new");
        check(store.upload("new", plan).map(|_| ()).unwrap_err(), "s3:PutObject", &new);
        let named =
            "User: arn:aws:iam::1:user/x is not authorized to perform: kms:GenerateDataKey on resource: arn:aws:kms:1";
        server.fail(Call::Put, 1, Fault::Answer(403, "AccessDenied", named));
        check(store.put("there", b"y").unwrap_err(), "kms:GenerateDataKey", &object);
    }

    #[test]
    fn a_role_that_may_only_write_is_enough() {
        let server = Server::start();
        let store = s3(server.settings());
        let denied = || Fault::Answer(403, "AccessDenied", "Access Denied");
        let reading = |call| matches!(call, Call::List | Call::Head | Call::Get | Call::Delete | Call::Abort);
        server.fail_where(reading, usize::MAX, denied());
        for (name, length) in [("postgres-small", 1_000), (NAME, LARGE)] {
            let stored = upload(&store, name, &bytes(length), HEAD, 0).unwrap();
            assert_eq!(stored.bytes, length as u64);
        }
        // What can't be taken back is named, with the command that removes it.
        let mut unfinished = store.upload(NAME, UploadPlan { head: HEAD, expected: EXPECTED }).unwrap();
        unfinished.write(&bytes(LARGE)).unwrap();
        let error = unfinished.abort().unwrap_err().to_string();
        assert!(error.contains("permission s3:AbortMultipartUpload is missing"), "{error}");
        assert!(
            error.contains(&format!("aws s3api abort-multipart-upload --bucket {BUCKET} --key '{NAME}' --upload-id '"))
        );
    }

    #[test]
    fn a_role_that_may_do_nothing_is_told_before_the_dump() {
        let server = Server::start();
        server.fail_where(|_| true, usize::MAX, Fault::Answer(403, "AccessDenied", "Access Denied"));
        let error = s3(server.settings()).upload(NAME, UploadPlan { head: 0, expected: 0 }).map(|_| ()).unwrap_err();
        assert!(matches!(error, StoreError::Denied { permission, .. } if permission == "s3:PutObject"));
    }

    #[test]
    fn wrong_settings_are_told_before_the_dump_and_by_name() {
        let server = Server::start();
        let check = |settings: S3Settings| {
            let began = Instant::now();
            let plan = UploadPlan { head: HEAD, expected: 0 };
            let error = s3(settings).upload(NAME, plan).map(|_| ()).unwrap_err();
            assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
            let (message, hint) = misconfigured(error);
            assert!(!format!("{message}{hint}").contains(SECRET_KEY));
            (message.replace(&server.endpoint(), "ENDPOINT"), hint)
        };
        let keys = |access_key: &str, secret_key: &str| Credentials::Static {
            access_key: access_key.into(),
            secret_key: Secret::new(secret_key),
            session_token: None,
        };
        let (message, hint) = check(S3Settings { bucket: "no-such-bucket".into(), ..server.settings() });
        assert_eq!(message, "Bucket no-such-bucket does not exist at ENDPOINT");
        assert!(hint.contains("dokku pgbackup:set <service> destination s3://"), "{hint}");
        let (message, hint) = check(S3Settings { credentials: keys(server::ACCESS_KEY, "wrong"), ..server.settings() });
        assert_eq!(message, "The secret key of the settings doesn't fit its access key id");
        assert!(hint.contains("dokku pgbackup:auth <service>"), "{hint}");
        server.fail(
            Call::List,
            1,
            Fault::Answer(403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist"),
        );
        assert_eq!(check(server.settings()).0, "ENDPOINT doesn't know the access key id of the settings");
        server.fail(Call::List, 1, Fault::Answer(400, "ExpiredToken", "The provided token has expired."));
        assert_eq!(check(server.settings()).0, "The session token of the settings has expired");
        server.fail(Call::List, 2, Fault::Answer(403, "RequestTimeTooSkewed", "The difference is too large."));
        assert!(check(server.settings()).0.contains("clock"));
        let (message, hint) = check(S3Settings { endpoint: Some("http://127.0.0.1:1".into()), ..server.settings() });
        assert!(message.starts_with("http://127.0.0.1:1 can't be reached: "), "{message}");
        assert!(message.contains("onnection refused"), "{message}");
        assert!(hint.contains("endpoint-url"), "{hint}");
        let (message, _) = check(S3Settings { endpoint: Some("http://s3.invalid".into()), ..server.settings() });
        assert!(message.starts_with("http://s3.invalid can't be reached: "), "{message}");
        let tls = server.endpoint().replace("http", "https");
        let (message, _) = check(S3Settings { endpoint: Some(tls), ..server.settings() });
        assert!(message.contains("can't be trusted"), "{message}");
        server.fail(Call::List, 1, Fault::Plain(404, "<html>not here</html>"));
        assert_eq!(check(server.settings()).0, "ENDPOINT answers, but not as an S3 store does (HTTP 404)");
        for bad in ["s3.example.org", "https://", "https://key:secret@host", "ftp://host", "https://host/path"] {
            let error = S3Store::open(S3Settings { endpoint: Some(bad.into()), ..server.settings() }).unwrap_err();
            assert!(!misconfigured(error).0.contains("secret"));
        }
    }

    #[test]
    fn a_wrong_region_is_reported_with_the_right_one_or_followed() {
        let server = Server::start();
        let wrong = "<Error><Code>AuthorizationHeaderMalformed</Code><Message>the region 'us-east-1' is wrong; expecting 'eu-central-1'</Message><Region>eu-central-1</Region></Error>";
        let plan = UploadPlan { head: 0, expected: 0 };
        for fault in [
            Fault::Plain(400, wrong),
            Fault::Header(
                301,
                "<Error><Code>PermanentRedirect</Code></Error>",
                ("x-amz-bucket-region", "eu-central-1"),
            ),
        ] {
            server.fail(Call::List, 1, fault.clone());
            let store = s3(S3Settings { region: Some("us-east-1".into()), ..server.settings() });
            let (message, hint) = misconfigured(store.upload(NAME, plan).map(|_| ()).unwrap_err());
            assert_eq!(message, format!("Bucket {BUCKET} is in region eu-central-1, not in us-east-1"));
            assert_eq!(hint, "Type: dokku pgbackup:set <service> region eu-central-1");
            // Nobody has named a region: the store's word is enough.
            server.seen();
            server.fail(Call::List, 1, fault);
            s3(server.settings()).upload(NAME, plan).unwrap().abort().unwrap();
            let seen = server.seen();
            let signed = |seen: &Seen| seen.header("authorization").unwrap().contains("/eu-central-1/s3/");
            assert_eq!(
                seen.iter().map(signed).collect::<Vec<_>>(),
                [false, true, true, true],
                "asked once more, then followed"
            );
        }
    }

    use super::server::Seen;

    #[test]
    fn an_endpoint_that_never_answers_is_told_within_seconds() {
        // Takes the connection (the kernel does) and is silent.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let server = Server::start();
        let store = s3(S3Settings { endpoint: Some(endpoint), ..server.settings() });
        let began = Instant::now();
        let error = store.upload(NAME, UploadPlan { head: 0, expected: 0 }).map(|_| ()).unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
        assert!(error.to_string().contains("stopped answering"), "{error}");
    }

    #[test]
    fn a_download_is_taken_up_where_it_broke() {
        let server = Server::start();
        let store = s3(server.settings());
        let all = bytes(3 * MIB + 17);
        store.put(NAME, &all).unwrap();
        server.seen();
        for cut in [0, 1, 700_000, 1_000_000] {
            server.fail(Call::Get, 1, Fault::Cut(cut));
        }
        assert!(read(&store, NAME) == all);
        let seen = server.seen();
        let ranges: Vec<Option<&str>> = seen.iter().map(|seen| seen.header("range")).collect();
        let wanted = [None, Some("bytes=0-"), Some("bytes=1-"), Some("bytes=700001-"), Some("bytes=1700001-")];
        assert_eq!(ranges, wanted);
        assert!(seen[1..].iter().all(|seen| seen.header("if-match").is_some()));
        // A store that doesn't know ranges.
        server.fail(Call::Get, 1, Fault::Cut(1_000_000));
        server.fail(Call::Get, 1, Fault::IgnoreRange);
        assert!(read(&store, NAME) == all);
    }

    #[test]
    fn an_object_that_is_replaced_while_it_is_read_is_an_error() {
        let server = Server::start();
        let store = s3(server.settings());
        store.put(NAME, &bytes(MIB)).unwrap();
        // One store looks at If-Match, another doesn't.
        for fault in [
            Fault::Answer(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold"),
            Fault::Header(206, "other bytes", ("etag", "\"another\"")),
        ] {
            server.fail(Call::Get, 1, Fault::Cut(1_000));
            server.fail(Call::Get, 1, fault);
            let error = read_error(store.open(NAME).unwrap());
            assert!(error.contains("replaced"), "{error}");
        }
    }

    #[test]
    fn a_flipped_bit_is_found_where_the_store_keeps_a_checksum() {
        let server = Server::start();
        let store = s3(S3Settings { checksums: Some(true), ..server.settings() });
        store.put(NAME, &bytes(MIB)).unwrap();
        server.fail(Call::Get, 1, Fault::Flip);
        let error = read_error(store.open(NAME).unwrap());
        assert!(error.contains("damaged") || error.contains("checksum"), "{error}");
    }

    #[test]
    fn an_archived_object_says_so() {
        let server = Server::start();
        let store = s3(server.settings());
        server.fail(Call::Get, 1, Fault::Answer(403, "InvalidObjectState", "not valid for the object's storage class"));
        let (message, hint) = misconfigured(store.open(NAME).map(|_| ()).unwrap_err());
        assert!(message.contains("GLACIER"), "{message}");
        let command = format!("aws s3api restore-object --bucket {BUCKET} --key '{NAME}' --endpoint-url http://");
        assert!(hint.contains(&command) && hint.contains("head-object"), "{hint}");
    }

    #[test]
    fn an_object_under_lock_says_until_when() {
        let server = Server::start();
        let store = s3(server.settings());
        store.put(NAME, b"x").unwrap();
        server.fail(
            Call::Head,
            1,
            Fault::Header(200, "", ("x-amz-object-lock-retain-until-date", "2999-01-02T03:04:05Z")),
        );
        let error = store.delete(NAME).unwrap_err();
        assert!(matches!(error, StoreError::Retained { until: Some(_), .. }), "{error:?}");
        assert_eq!(
            error.to_string(),
            format!("s3://{BUCKET}/{NAME} is retained until 2999-01-02T03:04:05Z by the store's object lock")
        );
        // One who may not look asks for just that, or learns it from the refusal.
        server.fail(Call::Head, 1, Fault::Plain(403, ""));
        let until =
            "<Retention><Mode>COMPLIANCE</Mode><RetainUntilDate>2999-01-02T03:04:05Z</RetainUntilDate></Retention>";
        server.fail(Call::Get, 1, Fault::Plain(200, until));
        let error = store.delete(NAME).unwrap_err();
        assert!(matches!(error, StoreError::Retained { until: Some(_), .. }), "{error:?}");
        server.fail(Call::Head, 1, Fault::Plain(403, ""));
        server.fail(Call::Get, 1, Fault::Plain(403, ""));
        let locked = "Access Denied because object protected by object lock.";
        server.fail(Call::Delete, 1, Fault::Answer(403, "AccessDenied", locked));
        let error = store.delete(NAME).unwrap_err();
        assert!(matches!(error, StoreError::Retained { until: None, .. }), "{error:?}");
        // A time that has passed keeps nothing.
        server.fail(
            Call::Head,
            1,
            Fault::Header(200, "", ("x-amz-object-lock-retain-until-date", "2001-01-02T03:04:05Z")),
        );
        store.delete(NAME).unwrap();
        assert_eq!(names(&store, ""), Vec::<String>::new());
    }

    #[test]
    fn a_list_that_never_ends_is_an_error() {
        let server = Server::start();
        let page = "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken></ListBucketResult>";
        server.fail(Call::List, usize::MAX, Fault::Plain(200, page));
        let error = s3(server.settings()).list("").unwrap_err().to_string();
        assert!(error.contains("where it goes on"), "{error}");
    }

    #[test]
    fn odd_keys_in_a_list_do_no_harm() {
        let server = Server::start();
        let page = "<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>\
            <Contents><Key>a%0Ab</Key><Size>3</Size></Contents><Contents><Key>folder/</Key><Size>0</Size></Contents>\
            <Contents><Size>1</Size></Contents><Contents><Key>old</Key><Size>5</Size><StorageClass>GLACIER</StorageClass></Contents>\
            </ListBucketResult>";
        server.fail(Call::List, 1, Fault::Plain(200, page));
        let found = s3(server.settings()).list("").unwrap();
        let found: Vec<_> =
            found.iter().map(|object| (object.name.as_str(), object.bytes, object.class.as_deref())).collect();
        assert_eq!(found, [("a\nb", 3, None), ("old", 5, Some("GLACIER"))]);
    }
}
