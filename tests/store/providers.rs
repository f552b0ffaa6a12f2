//! What each kind of store refuses, against a server that refuses it; and what is asked for beside the bytes.

use pgbackup::store::features::{Features, Rate};
use pgbackup::store::provider::Provider;

use pgbackup::store::link::Link;
use pgbackup::store::s3::open_link;

use super::server::Seen;
use super::*;

const LARGE: usize = 4 * PART + 5;

fn carries(seen: &Seen, beginnings: &[&str]) -> bool {
    seen.headers.iter().any(|(name, value)| {
        beginnings.iter().any(|beginning| name.starts_with(beginning)) || value.contains("aws-chunked")
    })
}

/// R2, B2, OVH, Hetzner, GCS and older ones of everything else: no checksum headers, no trailers, nothing chunked.
#[test]
fn a_store_that_refuses_checksum_headers_is_served_without_or_named() {
    let server = Server::start();
    let new = ["x-amz-checksum", "x-amz-sdk-checksum", "x-amz-trailer"];
    let message = "A header you provided implies functionality that is not implemented: x-amz-checksum-algorithm";
    server.refuse(move |seen| carries(seen, &new), usize::MAX, Fault::Answer(501, "NotImplemented", message));
    for provider in [Provider::Auto, Provider::R2, Provider::B2, Provider::Gcs, Provider::Ceph] {
        let store = s3(S3Settings { provider, ..server.settings() });
        upload(&store, NAME, &bytes(LARGE), HEAD, LARGE as u64).unwrap();
        store.delete(NAME).unwrap();
        upload(&store, NAME, &bytes(1_000), HEAD, 0).unwrap();
        assert_eq!(read(&store, NAME).len(), 1_000);
        store.delete(NAME).unwrap();
    }
    // Whoever has set it otherwise is told which setting it is.
    let store = s3(S3Settings { checksums: Some(true), ..server.settings() });
    for expected in [0, LARGE as u64] {
        let (message, hint) = misconfigured(upload(&store, NAME, &bytes(1_000), HEAD, expected).unwrap_err());
        assert!(message.contains("doesn't take CRC-32 headers"), "{message}");
        assert!(hint.contains("checksums off"), "{hint}");
    }
    assert_eq!(server.leftovers(), Vec::<String>::new());
}

/// Conditional writes are young: where a store doesn't know them, an object is stored without, and one that is listed is still not replaced.
#[test]
fn a_store_that_knows_no_conditional_writes_is_served_without() {
    let server = Server::start();
    let message = "A header you provided implies functionality that is not implemented: If-None-Match";
    let asks = |seen: &Seen| seen.header("if-none-match").is_some();
    server.refuse(asks, usize::MAX, Fault::Answer(501, "NotImplemented", message));
    let store = s3(server.settings());
    for (length, expected) in [(1_000, 0), (LARGE, LARGE as u64)] {
        server.seen();
        upload(&store, NAME, &bytes(length), HEAD, expected).unwrap();
        let seen = server.seen();
        assert_eq!(seen.iter().filter(|seen| asks(seen)).count(), 1, "asked once, and then no more");
        assert!(read(&store, NAME) == bytes(length));
        let taken = store.upload(NAME, UploadPlan { head: 0, expected: 0 }).map(drop).unwrap_err();
        assert!(matches!(taken, StoreError::Taken { .. }), "{taken:?}");
        store.delete(NAME).unwrap();
    }
    assert_eq!(server.leftovers(), Vec::<String>::new());
}

/// Older MinIO and Ceph, and everyone for objects under a lock.
#[test]
fn a_store_that_wants_content_md5_gets_it() {
    let server = Server::start();
    let lacks = |seen: &Seen| matches!(seen.call, Call::Put | Call::Part(_)) && seen.header("content-md5").is_none();
    let message = "Missing required header for this request: Content-MD5";
    server.refuse(lacks, usize::MAX, Fault::Answer(400, "MissingContentMD5", message));
    let store = s3(server.settings());
    upload(&store, NAME, &bytes(LARGE), HEAD, LARGE as u64).unwrap();
    store.put("small", b"x").unwrap();
    let (_, hint) =
        misconfigured(s3(S3Settings { checksums: Some(true), ..server.settings() }).put("y", b"y").unwrap_err());
    assert!(hint.contains("checksums off"), "{hint}");
}

/// R2: two parts at once, all but the last of equal size, however wrong the guess.
/// Google Cloud Storage answers so where an upload in parts is to be completed under a condition.
#[test]
fn a_store_that_knows_no_conditions_is_asked_without() {
    let server = Server::start();
    server.refuse(
        |seen| seen.call == Call::Complete && seen.header("if-none-match").is_some(),
        usize::MAX,
        Fault::Answer(400, "NotImplemented", "A header you provided implies functionality that is not implemented."),
    );
    let store = s3(server.settings());
    let all = bytes(2 * PART + 1);
    upload(&store, NAME, &all, HEAD, 0).unwrap();
    assert_eq!(server.calls().iter().filter(|call| **call == Call::Complete).count(), 2);
    assert!(read(&store, NAME) == all);
    let refused = upload(&store, NAME, &all, HEAD, 0).unwrap_err();
    assert!(matches!(refused, StoreError::Taken { .. }), "{refused:?}");
    assert_eq!(server.leftovers(), Vec::<String>::new());
}

#[test]
fn r2_gets_two_equal_parts_at_a_time() {
    let server = Server::start();
    server.slow_down();
    let store = s3(S3Settings { provider: Provider::R2, ..server.settings() });
    upload(&store, NAME, &bytes(6 * PART + 5), HEAD, PART as u64 + 1).unwrap();
    assert_eq!(server.most_parts_at_once(), 2);
    let seen = server.seen();
    assert!(seen[0].header("authorization").unwrap().contains("/auto/s3/"), "its region is called auto");
    let size = |wanted: u32| {
        let part = seen.iter().find(|seen| seen.call == Call::Part(wanted)).unwrap();
        part.header("content-length").unwrap().parse::<usize>().unwrap()
    };
    assert_eq!((1..=7).map(size).collect::<Vec<_>>(), [PART, PART, PART, PART, PART, PART, 5]);
    store.delete(NAME).unwrap();
    // Parts that are larger because much is expected are so from the first one on.
    let plan = UploadPlan { head: HEAD, expected: 100 << 30 };
    let mut large = store.upload(NAME, plan).unwrap();
    let all = bytes(45 * MIB);
    large.write(&all[HEAD..]).unwrap();
    large.complete(&all[..HEAD]).unwrap();
    let sizes: Vec<String> = server
        .seen()
        .iter()
        .filter(|seen| matches!(seen.call, Call::Part(_)))
        .map(|seen| seen.header("content-length").unwrap().to_owned())
        .collect();
    assert_eq!(sizes.iter().filter(|size| **size == (21 * MIB).to_string()).count(), 2, "{sizes:?}");
    assert!(read(&store, NAME) == all);
    store.delete(NAME).unwrap();
    // Others get three at once.
    upload(&s3(server.settings()), NAME, &bytes(6 * PART), HEAD, PART as u64 + 1).unwrap();
    assert_eq!(server.most_parts_at_once(), 3);
}

/// Scaleway takes 1,000 parts: what needs more is an error that says so, and leaves nothing.
#[test]
fn a_store_never_gets_more_parts_than_it_takes() {
    let server = Server::start();
    let few = S3Settings { max_parts: Some(4), ..server.settings() };
    // Far more than expected: the last part is larger, and carries it.
    upload(&s3(few.clone()), NAME, &bytes(4 * PART + 17), HEAD, 0).unwrap();
    s3(few.clone()).delete(NAME).unwrap();
    let error = upload(&s3(few), NAME, &bytes(6 * PART), HEAD, 0).unwrap_err().to_string();
    assert!(error.contains("needs more than the 4 parts that the store takes"), "{error}");
    assert_eq!(server.leftovers(), Vec::<String>::new());
    assert!(server.calls().iter().all(|call| !matches!(call, Call::Part(5..))));
}

#[test]
fn a_provider_without_its_address_and_a_bucket_in_the_wrong_place_are_named() {
    let server = Server::start();
    let settings = S3Settings { provider: Provider::Hetzner, endpoint: None, ..server.settings() };
    let (message, hint) = misconfigured(S3Store::open(settings).unwrap_err());
    assert_eq!(message, "The provider is hetzner, and its address is not set");
    assert!(hint.ends_with("endpoint-url https://fsn1.your-objectstorage.com"), "{hint}");
    let endpoint = Some("http://s3.invalid:1".to_owned());
    let store = s3(S3Settings { path_style: Some(false), endpoint, ..server.settings() });
    let (message, hint) =
        misconfigured(store.upload(NAME, UploadPlan { head: 0, expected: 0 }).map(|_| ()).unwrap_err());
    assert!(message.contains("with the bucket in its host name"), "{message}");
    assert!(hint.ends_with("path-style on"), "{hint}");
}

/// Storage class, encryption, lock and tags stand in the calls that make an object; what lies beside it stays readable at once.
#[test]
fn what_is_asked_for_is_sent() {
    let server = Server::start();
    let features = Features {
        class: Some("STANDARD_IA".parse().unwrap()),
        sse: Some("aws:kms:alias/backups".parse().unwrap()),
        lock: Some("compliance:30d".parse().unwrap()),
        tags: "team=data,stage=live".parse().unwrap(),
    };
    // Answered here: the server knows none of it.
    let created = "<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>";
    server.fail(Call::Create, 1, Fault::Plain(200, created));
    server.fail_where(|call| matches!(call, Call::Put | Call::Abort), usize::MAX, Fault::Plain(200, ""));
    let store = s3(S3Settings { features, ..server.settings() });
    drop(store.upload(NAME, UploadPlan { head: 0, expected: 50 << 20 }).unwrap());
    upload(&store, NAME, &bytes(1_000), HEAD, 0).unwrap();
    store.put("postgres-prod.json", b"{}").unwrap();
    let seen = server.seen();
    let makers: Vec<&Seen> = seen.iter().filter(|seen| matches!(seen.call, Call::Create | Call::Put)).collect();
    assert_eq!(makers.len(), 3);
    for (seen, class) in makers.iter().zip([Some("STANDARD_IA"), Some("STANDARD_IA"), None]) {
        assert_eq!(seen.header("x-amz-storage-class"), class, "{:?}", seen.call);
        assert_eq!(seen.header("x-amz-server-side-encryption"), Some("aws:kms"));
        assert_eq!(seen.header("x-amz-server-side-encryption-aws-kms-key-id"), Some("alias/backups"));
        assert_eq!(seen.header("x-amz-object-lock-mode"), Some("COMPLIANCE"));
        assert_eq!(seen.header("x-amz-tagging"), Some("team=data&stage=live"));
        let until: jiff::Timestamp = seen.header("x-amz-object-lock-retain-until-date").unwrap().parse().unwrap();
        let days = until.duration_since(jiff::Timestamp::now()).as_hours();
        assert!((24 * 30 - 1..=24 * 30).contains(&days), "{days} hours");
    }
}

#[test]
fn a_limit_of_bandwidth_holds_both_ways() {
    let server = Server::start();
    let pace = pgbackup::store::s3::Pace::new(Rate(8 << 20));
    let store = s3(S3Settings { pace: Some(pace), ..server.settings() });
    let all = bytes(2 * PART);
    let began = Instant::now();
    upload(&store, NAME, &all, HEAD, 0).unwrap();
    let sent = began.elapsed();
    assert!(read(&store, NAME) == all);
    let read = began.elapsed().saturating_sub(sent);
    for took in [sent, read] {
        assert!(took >= Duration::from_millis(1_700), "16 MiB at 8 MiB a second took {took:?}");
    }
}

fn read_link(link: &str) -> Result<Vec<u8>, String> {
    let (mut reader, total) = open_link(link.parse().unwrap(), None).map_err(|error| format!("{error} {error:?}"))?;
    let mut all = Vec::new();
    reader.read_to_end(&mut all).map_err(|error| format!("{error} {error:?}"))?;
    assert_eq!(total, Some(all.len() as u64));
    Ok(all)
}

/// A link reads like any object, and is taken up again where it broke; it never stands in an error.
#[test]
fn a_link_is_read_to_its_end_and_never_repeated() {
    let server = Server::start();
    let store = s3(S3Settings { prefix: "a b".into(), ..server.settings() });
    let all = bytes(3 * MIB + 17);
    store.put(NAME, &all).unwrap();
    let link = store.presign(NAME, Duration::from_mins(5)).unwrap().unwrap();
    server.seen();
    server.fail(Call::Get, 1, Fault::Cut(1_000_000));
    server.fail(Call::Get, 1, Fault::Answer(503, "SlowDown", ""));
    assert!(read_link(&link).unwrap() == all);
    let seen = server.seen();
    assert_eq!(seen.last().unwrap().header("range"), Some("bytes=1000000-"));
    for seen in &seen {
        let foreign = |name: &str| name.starts_with("x-amz") || name.starts_with("amz") || name == "authorization";
        assert!(!seen.headers.iter().any(|(name, _)| foreign(name)), "{:?}", seen.headers);
    }

    let signature = link.split("X-Amz-Signature=").nth(1).unwrap().split('&').next().unwrap();
    let shown = link.parse::<Link>().unwrap().to_string();
    assert!(shown.ends_with(&format!("/{BUCKET}/a b/{NAME}")), "{shown}");
    let expired = Fault::Answer(403, "AccessDenied", "Request has expired");
    // Some repeat what they refuse.
    let echo = format!("https://x/?X-Amz-Signature={signature}").leak();
    for (fault, wanted) in [
        (expired, "has expired"),
        (Fault::Answer(403, "SignatureDoesNotMatch", echo), "is refused: SignatureDoesNotMatch (HTTP 403)"),
        (Fault::Plain(404, echo), "does not exist"),
        (Fault::Plain(403, echo), "is refused: HTTP 403"),
        (Fault::Plain(302, echo), "is refused: HTTP 302"),
    ] {
        server.fail(Call::Get, 1, fault.clone());
        let error = read_link(&link).unwrap_err();
        assert!(error.contains(wanted) && error.contains(&shown), "{fault:?}: {error}");
        assert!(!error.contains(signature), "{error}");
    }
    // One that a shell has cut at its first &.
    let error = read_link(link.split('&').next().unwrap()).unwrap_err();
    assert!(error.contains("in quotes"), "{error}");
    let nowhere = link.replace(&server.endpoint(), "http://127.0.0.1:1");
    let error = read_link(&nowhere).unwrap_err();
    assert!(error.contains("can't be reached") && !error.contains(signature), "{error}");
}
