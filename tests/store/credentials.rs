//! Keys that are not in the settings: an instance's, read with IMDSv2 from a service that is slow, absent, or changes its mind.
//!
//! The SDK finds that service by the environment, so each case runs this executable again, with an environment of its own.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::server::{ACCESS_KEY, Seen};
use super::*;

const LARGE: usize = 3 * PART + 5;
/// Where the inner run finds the store.
const STORE: &str = "PGBACKUP_TEST_STORE";

/// An instance's metadata service: version 2 alone, as hosts have it today. Each time its keys are asked for the token has the next number.
struct Metadata {
    endpoint: String,
}

impl Metadata {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let count = Arc::clone(&asked);
                std::thread::spawn(move || answer(&socket, &count));
            }
        });
        Self { endpoint }
    }
}

fn answer(socket: &TcpStream, asked: &AtomicUsize) {
    let mut reader = BufReader::new(socket);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            match reader.read_line(&mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) if line == "\r\n" => break,
                Ok(_) => head.push(line.trim_end().to_ascii_lowercase()),
            }
        }
        let has = |wanted: &str| head.iter().any(|line| line.starts_with(wanted));
        let (status, header, body) = if has("put /latest/api/token ") {
            (200, "x-aws-ec2-metadata-token-ttl-seconds: 21600\r\n", "session".to_owned())
        } else if !has("x-aws-ec2-metadata-token: session") {
            (401, "", String::new())
        } else if has("get /latest/meta-data/iam/security-credentials/ ") {
            (200, "", "role".to_owned())
        } else if has("get /latest/meta-data/iam/security-credentials/role ") {
            let number = asked.fetch_add(1, Ordering::Relaxed) + 1;
            let text = format!(
                r#"{{"Code":"Success","LastUpdated":"2026-11-24T00:00:00Z","Type":"AWS-HMAC","AccessKeyId":"{ACCESS_KEY}","SecretAccessKey":"{SECRET_KEY}","Token":"token-{number}","Expiration":"2999-01-01T00:00:00Z"}}"#
            );
            (200, "", text)
        } else {
            (404, "", String::new())
        };
        let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{header}\r\n{body}", body.len());
        let mut socket = socket;
        if socket.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// Runs [`with_the_keys_of_the_host`] with this metadata service; returns whether the upload went well, and what it said.
fn upload_with(metadata: &str, server: &Server) -> (bool, String) {
    let home = tempfile::tempdir().unwrap();
    #[expect(clippy::disallowed_methods, reason = "tests run the executable")]
    let run = Command::new(std::env::current_exe().unwrap())
        .args(["store::credentials::with_the_keys_of_the_host", "--exact", "--nocapture"])
        .env_clear()
        .env("HOME", home.path())
        .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata)
        .env(STORE, server.endpoint())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(run.status.success(), "{said}{}", String::from_utf8_lossy(&run.stderr));
    (said.contains("uploaded: "), said)
}

/// The inner run; without its environment there is nothing to do.
#[test]
fn with_the_keys_of_the_host() {
    #[expect(clippy::disallowed_methods, reason = "set by the outer run")]
    let Ok(endpoint) = std::env::var(STORE) else { return };
    let settings = S3Settings { bucket: BUCKET.into(), endpoint: Some(endpoint), ..S3Settings::default() };
    match upload(&s3(settings), NAME, &bytes(LARGE), HEAD, LARGE as u64) {
        Ok(stored) => println!("uploaded: {}", stored.bytes),
        Err(error) => println!("failed: {error}"),
    }
}

fn token(seen: &Seen) -> Option<String> {
    seen.header("x-amz-security-token").map(str::to_owned)
}

#[test]
fn an_instances_keys_are_read_with_a_session_and_renewed_while_a_transfer_runs() {
    let (server, metadata) = (Server::start(), Metadata::start());
    let (good, said) = upload_with(&metadata.endpoint, &server);
    assert!(good, "{said}");
    assert!(server.seen().iter().all(|seen| token(seen).is_some()));
    // What was good for the beginning has expired when a later part is sent.
    let expired = || Fault::Answer(400, "ExpiredToken", "The provided token has expired.");
    let first = Arc::new(Mutex::new(None));
    let stale = Arc::clone(&first);
    let late = move |seen: &Seen| {
        let mut stale = stale.lock().unwrap();
        if seen.call == Call::Create {
            *stale = token(seen);
        }
        matches!(seen.call, Call::Part(1) | Call::Complete) && token(seen) == *stale
    };
    server.refuse(late, usize::MAX, expired());
    let (good, said) = upload_with(&metadata.endpoint, &server);
    assert!(good, "{said}");
    let seen = server.seen();
    assert_eq!(seen.iter().filter(|seen| seen.call == Call::Part(1)).count(), 2, "refused once");
    assert_ne!(token(seen.last().unwrap()), *first.lock().unwrap(), "completed with renewed keys");
    assert_eq!(server.leftovers(), Vec::<String>::new());
    // Where renewing doesn't help it is named, and nothing is tried for minutes.
    server.refuse(|seen| matches!(seen.call, Call::Part(_)), usize::MAX, expired());
    let began = Instant::now();
    let (good, said) = upload_with(&metadata.endpoint, &server);
    assert!(
        !good && said.contains("The session token of the environment, profile or instance role has expired"),
        "{said}"
    );
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[test]
fn a_host_without_keys_is_told_so_within_seconds() {
    let server = Server::start();
    // Takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for endpoint in ["http://127.0.0.1:1".to_owned(), format!("http://{}", silent.local_addr().unwrap())] {
        let began = Instant::now();
        let (good, said) = upload_with(&endpoint, &server);
        assert!(!good && said.contains("failed: There are no keys for the store"), "{endpoint}: {said}");
        assert!(began.elapsed() < Duration::from_secs(15), "{endpoint}: {:?}", began.elapsed());
    }
    assert!(server.seen().is_empty(), "nothing was sent without keys");
}
