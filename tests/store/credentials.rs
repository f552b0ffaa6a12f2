//! Keys that are not in the settings: of the environment, a profile, a web identity, a container, an instance, from services that are
//! slow, absent, old, or change their mind. Each ends in the right keys, or in an error that names who failed and what to type.
//!
//! The SDK finds these services by the environment, so each case runs this executable again, with an environment of its own.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::server::{ACCESS_KEY, Seen};
use super::*;

const LARGE: usize = 3 * PART + 5;
/// Where the inner run finds the store.
const STORE: &str = "PGBACKUP_TEST_STORE";
const METADATA: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT";
/// Nobody listens there.
const NOBODY: &str = "http://127.0.0.1:1";
const LIST: &str = "get /latest/meta-data/iam/security-credentials/ ";

/// Status, further headers, body.
type Reply = (u16, &'static str, String);

/// A service that answers each request by its head, in lower case, or not at all.
struct Stub {
    endpoint: String,
}

impl Stub {
    fn start(answer: impl Fn(&[String]) -> Option<Reply> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let answer = Arc::clone(&answer);
                std::thread::spawn(move || serve(&socket, answer.as_ref()));
            }
        });
        Self { endpoint }
    }
}

fn serve(mut socket: &TcpStream, answer: &dyn Fn(&[String]) -> Option<Reply>) {
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
        let length = head.iter().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        reader.read_exact(&mut body).unwrap();
        head.push(String::from_utf8(body).unwrap());
        let Some((status, header, body)) = answer(&head) else {
            std::thread::sleep(Duration::from_mins(1));
            return;
        };
        let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{header}\r\n{body}", body.len());
        if socket.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn has(head: &[String], wanted: &str) -> bool {
    head.iter().any(|line| line.starts_with(wanted))
}

fn keys(token: &str, until: &str) -> String {
    format!(
        r#"{{"Code":"Success","LastUpdated":"2026-11-24T00:00:00Z","Type":"AWS-HMAC","AccessKeyId":"{ACCESS_KEY}","SecretAccessKey":"{SECRET_KEY}","Token":"{token}","Expiration":"{until}"}}"#
    )
}

#[expect(clippy::unnecessary_wraps, reason = "an answer as a stub gives it")]
fn said(status: u16, body: impl Into<String>) -> Option<Reply> {
    Some((status, "", body.into()))
}

/// What an instance's metadata service says to somebody with a session token; such tokens it gives to everybody.
fn metadata(answer: impl Fn(&[String]) -> Option<Reply> + Send + Sync + 'static) -> Stub {
    Stub::start(move |head| {
        if has(head, "put /latest/api/token ") {
            return Some((200, "x-aws-ec2-metadata-token-ttl-seconds: 21600\r\n", "session".to_owned()));
        }
        if has(head, "x-aws-ec2-metadata-token: session") { answer(head) } else { said(401, "") }
    })
}

/// Each time its keys are asked for the token has the next number.
fn instance() -> Stub {
    let asked = AtomicUsize::new(0);
    metadata(move |head| {
        if has(head, LIST) {
            said(200, "role")
        } else if has(head, "get /latest/meta-data/iam/security-credentials/role ") {
            let number = asked.fetch_add(1, Ordering::Relaxed) + 1;
            said(200, keys(&format!("token-{number}"), "2999-01-01T00:00:00Z"))
        } else {
            said(404, "")
        }
    })
}

/// Runs [`with_the_keys_of_the_host`] in this environment; returns whether the upload went well, and what it said.
fn upload_as(server: &Server, home: &Path, environment: &[(&str, &str)]) -> (bool, String) {
    // What an earlier run has stored: no backup takes the place of another.
    let _ = std::fs::remove_file(server.root.path().join(BUCKET).join(NAME));
    #[expect(clippy::disallowed_methods, reason = "tests run the executable")]
    let run = Command::new(std::env::current_exe().unwrap())
        .args(["store::credentials::with_the_keys_of_the_host", "--exact", "--nocapture"])
        .env_clear()
        .env("HOME", home)
        .env(STORE, server.endpoint())
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(run.status.success(), "{said}{}", String::from_utf8_lossy(&run.stderr));
    assert!(!said.contains(SECRET_KEY), "{said}");
    (said.contains("uploaded: "), said)
}

fn upload_with(metadata: &str, server: &Server) -> (bool, String) {
    upload_as(server, tempfile::tempdir().unwrap().path(), &[(METADATA, metadata)])
}

/// The inner run; without its environment there is nothing to do.
#[test]
fn with_the_keys_of_the_host() {
    #[expect(clippy::disallowed_methods, reason = "set by the outer run")]
    let Ok(endpoint) = std::env::var(STORE) else { return };
    let settings = S3Settings { bucket: BUCKET.into(), endpoint: Some(endpoint), ..S3Settings::default() };
    let store = s3(settings);
    match upload(&store, NAME, &bytes(LARGE), HEAD, LARGE as u64) {
        Ok(stored) => println!("uploaded: {} with {}", stored.bytes, store.terms().keys_from.unwrap()),
        Err(StoreError::Misconfigured { message, hint }) => println!("failed: {message}\nhint: {hint}"),
        Err(error) => println!("failed: {error}"),
    }
}

fn token(seen: &Seen) -> Option<String> {
    seen.header("x-amz-security-token").map(str::to_owned)
}

/// The tokens that the calls since the last look were signed with, and the object is gone again.
fn tokens(server: &Server) -> Vec<Option<String>> {
    let mut tokens: Vec<Option<String>> = server.seen().iter().map(token).collect();
    tokens.dedup();
    let _ = std::fs::remove_file(server.root.path().join(BUCKET).join(NAME));
    tokens
}

#[test]
fn an_instances_keys_are_read_with_a_session_and_renewed_while_a_transfer_runs() {
    let (server, metadata) = (Server::start(), instance());
    let (good, said) = upload_with(&metadata.endpoint, &server);
    assert!(good && said.contains("with the instance role"), "{said}");
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
fn keys_that_end_by_themselves_are_renewed_before_the_store_refuses_them() {
    let server = Server::start();
    let asked = AtomicUsize::new(0);
    let metadata = metadata(move |head| {
        if has(head, LIST) {
            return said(200, "role");
        }
        let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(1);
        let number = asked.fetch_add(1, Ordering::Relaxed);
        said(200, keys(&format!("token-{number}"), &format!("{soon:.0}")))
    });
    server.slow_down();
    let (good, said) = upload_with(&metadata.endpoint, &server);
    assert!(good, "{said}");
    let tokens = tokens(&server);
    assert!(tokens.len() > 1 && tokens.iter().all(Option::is_some), "{tokens:?}");
}

#[test]
fn a_role_that_is_exchanged_is_followed() {
    // Another name each time, and the first one is gone before its keys are asked for.
    let (server, asked) = (Server::start(), AtomicUsize::new(0));
    let metadata = metadata(move |head| {
        if has(head, LIST) {
            let number = asked.fetch_add(1, Ordering::Relaxed);
            return said(200, format!("role-{number}"));
        }
        let current = asked.load(Ordering::Relaxed).saturating_sub(1);
        if current == 0 || !has(head, &format!("get /latest/meta-data/iam/security-credentials/role-{current} ")) {
            return said(404, "");
        }
        said(200, keys(&format!("token-of-role-{current}"), "2999-01-01T00:00:00Z"))
    });
    let (good, said) = upload_with(&metadata.endpoint, &server);
    assert!(good, "{said}");
    let tokens = tokens(&server);
    assert!(tokens.iter().flatten().all(|token| token.starts_with("token-of-role-")), "{tokens:?}");
}

#[test]
fn a_host_without_keys_is_told_so_within_seconds() {
    let server = Server::start();
    let failing: [(&str, Stub, &str, &str); 7] =
        [
            // As it is in a container when the hop limit is 1: the answer to the request for a token is lost on the way.
            ("silent", Stub::start(|_| None), "with hop limit 1", "--http-put-response-hop-limit 2"),
            (
                "version 1 alone",
                Stub::start(|head| {
                    if has(head, "put ") { said(405, "") } else { said(200, keys("v1", "2999-01-01T00:00:00Z")) }
                }),
                "version 1 (IMDSv1) alone",
                "--http-tokens",
            ),
            ("switched off", Stub::start(|_| said(403, "")), "switched off", "--http-endpoint enabled"),
            ("no role", metadata(|_| said(404, "")), "this instance has none", "associate-iam-instance-profile"),
            (
                "no JSON",
                metadata(|head| said(200, if has(head, LIST) { "role" } else { "<html>please log in</html>" })),
                "answers with something that is no keys",
                "pgbackup:auth",
            ),
            (
                "no trust",
                metadata(|head| {
                    said(
                        200,
                        if has(head, LIST) {
                            "role"
                        } else {
                            r#"{"Code":"AssumeRoleUnauthorizedAccess","Message":"EC2 cannot assume the role"}"#
                        },
                    )
                }),
                "EC2 cannot assume the role",
                "pgbackup:auth",
            ),
            ("broken", metadata(|_| said(500, "")), "answers HTTP 500", "pgbackup:auth"),
        ];
    for (case, stub, cause, next) in failing {
        let began = Instant::now();
        let (good, said) = upload_with(&stub.endpoint, &server);
        assert!(!good && said.contains("failed: There are no keys for the store: "), "{case}: {said}");
        assert!(said.contains(cause) && said.contains(next), "{case}: {said}");
        assert!(said.contains("hint: ") && !said.contains("please log in"), "{case}: {said}");
        assert!(began.elapsed() < Duration::from_secs(15), "{case}: {:?}", began.elapsed());
    }
    let (good, said) = upload_with(NOBODY, &server);
    assert!(
        !good && said.contains("nor the environment, a profile or an instance role has any\nhint: Type: "),
        "{said}"
    );
    assert!(server.seen().is_empty(), "nothing was sent without keys");
}

#[test]
fn a_containers_service_gives_keys_or_is_named() {
    let server = Server::start();
    let home = tempfile::tempdir().unwrap();
    let run = |stub: &str| {
        upload_as(
            &server,
            home.path(),
            &[
                (METADATA, NOBODY),
                ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &format!("{stub}/keys")),
                ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "letmein"),
            ],
        )
    };
    let stub = Stub::start(|head| {
        if has(head, "authorization: letmein") { said(200, keys("ecs", "2999-01-01T00:00:00Z")) } else { said(401, "") }
    });
    let (good, said) = run(&stub.endpoint);
    assert!(good && said.contains("with the container's credentials service"), "{said}");
    assert_eq!(tokens(&server), [Some("ecs".to_owned())]);
    for (stub, cause) in [
        (Stub::start(|_| self::said(500, "")).endpoint, "500"),
        (Stub::start(|_| self::said(200, "<html>")).endpoint, "something that is no keys"),
        (NOBODY.to_owned(), "refused"),
    ] {
        let (good, said) = run(&stub);
        assert!(!good && said.contains("the container's credentials service"), "{cause}: {said}");
        assert!(said.contains(cause) && said.contains("AWS_CONTAINER_CREDENTIALS_FULL_URI"), "{cause}: {said}");
    }
    assert_eq!(tokens(&server), []);
}

#[test]
fn a_web_identity_is_exchanged_for_keys_at_sts() {
    let server = Server::start();
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("token");
    std::fs::write(&file, "the-token-of-the-host").unwrap();
    let run = |sts: &str, file: &Path| {
        upload_as(
            &server,
            home.path(),
            &[
                (METADATA, NOBODY),
                ("AWS_WEB_IDENTITY_TOKEN_FILE", file.to_str().unwrap()),
                ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/backup"),
                ("AWS_ENDPOINT_URL_STS", sts),
            ],
        )
    };
    let sts = Stub::start(|head| {
        let form = head.last().unwrap();
        if !form.contains("webidentitytoken=the-token-of-the-host")
            && !form.contains("WebIdentityToken=the-token-of-the-host")
        {
            return said(400, "");
        }
        said(
            200,
            format!(
                "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleWithWebIdentityResult>\
                 <Credentials><AccessKeyId>{ACCESS_KEY}</AccessKeyId><SecretAccessKey>{SECRET_KEY}</SecretAccessKey>\
                 <SessionToken>sts</SessionToken><Expiration>2999-01-01T00:00:00Z</Expiration></Credentials>\
                 <AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/backup/x</Arn><AssumedRoleId>AROA:x</AssumedRoleId></AssumedRoleUser>\
                 </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
            ),
        )
    });
    let (good, said) = run(&sts.endpoint, &file);
    assert!(good && said.contains("with the web identity"), "{said}");
    assert_eq!(tokens(&server), [Some("sts".to_owned())]);
    let refusing = Stub::start(|_| {
        self::said(
            403,
            "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>Not authorized to perform \
             sts:AssumeRoleWithWebIdentity</Message></Error></ErrorResponse>",
        )
    });
    for (sts, file, cause) in [
        (&refusing.endpoint, file.as_path(), "AccessDenied"),
        (&sts.endpoint, &home.path().join("nosuch"), "No such file"),
    ] {
        let (good, said) = run(sts, file);
        assert!(!good && said.contains("no keys for the store: the web identity"), "{cause}: {said}");
        assert!(said.contains(cause) && said.contains("AWS_ROLE_ARN"), "{cause}: {said}");
        assert!(!said.contains("the-token-of-the-host"), "{said}");
    }
    assert_eq!(tokens(&server), []);
}

#[test]
fn a_profile_comes_before_the_role_and_after_the_environment() {
    let (server, metadata) = (Server::start(), instance());
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join(".aws");
    std::fs::create_dir(&folder).unwrap();
    let profile = |name: &str, token: &str| {
        format!(
            "[{name}]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\naws_session_token = {token}\n"
        )
    };
    let credentials = folder.join("credentials");
    std::fs::write(&credentials, profile("default", "p1") + &profile("backup", "p2")).unwrap();
    let role = (METADATA, metadata.endpoint.as_str());
    let (good, said) = upload_as(&server, home.path(), &[role]);
    assert!(good && said.contains("with the profile in ~/.aws"), "{said}");
    assert_eq!(tokens(&server), [Some("p1".to_owned())]);
    assert!(upload_as(&server, home.path(), &[role, ("AWS_PROFILE", "backup")]).0);
    assert_eq!(tokens(&server), [Some("p2".to_owned())]);
    let environment =
        [role, ("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY), ("AWS_SESSION_TOKEN", "env")];
    let (good, said) = upload_as(&server, home.path(), &environment);
    assert!(good && said.contains("with the environment"), "{said}");
    assert_eq!(tokens(&server), [Some("env".to_owned())]);
    // A profile without keys has none; one that is misspelt or can't be read must not be passed over for another identity.
    std::fs::write(&credentials, "[default]\nregion = eu-central-1\n").unwrap();
    let (good, said) = upload_as(&server, home.path(), &[role]);
    assert!(good && said.contains("with the instance role"), "{said}");
    tokens(&server);
    let half = "[default]\naws_access_key_id = AKIAHALF\n";
    let sso = "[default]\nsso_start_url = https://x.awsapps.com/start\nsso_region = eu-west-1\nsso_account_id = 123456789012\nsso_role_name = r\n";
    for (text, profile, cause) in [
        (half, "default", "aws_secret_access_key"),
        (half, "nosuch", "nosuch"),
        (sso, "default", "is one of sso, which is not read"),
        ("[default\n", "default", "profile"),
    ] {
        std::fs::write(&credentials, text).unwrap();
        let (good, said) = upload_as(&server, home.path(), &[role, ("AWS_PROFILE", profile)]);
        assert!(!good && said.contains("no keys for the store: the profile in ~/.aws"), "{text} {profile}: {said}");
        assert!(said.contains(cause) && said.contains("~dokku/.aws/config"), "{text} {profile}: {said}");
    }
    assert_eq!(tokens(&server), []);
    if rustix::process::geteuid().is_root() {
        return; // who reads every file
    }
    std::fs::set_permissions(&credentials, std::fs::Permissions::from_mode(0o000)).unwrap();
    let (good, said) = upload_as(&server, home.path(), &[role]);
    assert!(!good && said.contains("the profile in ~/.aws"), "{said}");
}

#[test]
fn a_profiles_program_gives_its_keys_and_a_role_is_assumed_with_them() {
    let (server, metadata) = (Server::start(), instance());
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".aws")).unwrap();
    // It counts how often it is run, and its keys are gone after the first part.
    let program = home.path().join("give keys");
    let script = format!(
        "#!/bin/sh\necho run >> {0}/runs\n[ \"$1\" = now ] || {{ echo no such vault >&2; exit 3; }}\n\
         printf '{{\"Version\": 1, \"AccessKeyId\": \"{ACCESS_KEY}\", \"SecretAccessKey\": \"{SECRET_KEY}\", \"SessionToken\": \"run-%s\"}}' \
         $(wc -l < {0}/runs)\n",
        home.path().display()
    );
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let config = |argument: &str| {
        let text = format!(
            "[default]\ncredential_process = '{}' {argument}\n[profile role]\nrole_arn = arn:aws:iam::123456789012:role/backup\n\
             source_profile = default\n",
            program.display()
        );
        std::fs::write(home.path().join(".aws/config"), text).unwrap();
    };
    let run = |more: &[(&str, &str)]| {
        let environment = [("PATH", "/usr/bin:/bin"), (METADATA, metadata.endpoint.as_str())];
        upload_as(&server, home.path(), &[&environment, more].concat())
    };
    config("now");
    let (good, said) = run(&[]);
    assert!(good && said.contains("with the profile in ~/.aws"), "{said}");
    assert_eq!(tokens(&server), [Some("run-1".to_owned())], "asked once for one transfer");
    let expired = Fault::Answer(400, "ExpiredToken", "The provided token has expired.");
    server.refuse(|seen| seen.call == Call::Part(2) && token(seen).as_deref() == Some("run-2"), usize::MAX, expired);
    let (good, said) = run(&[]);
    assert!(good, "{said}");
    assert_eq!(tokens(&server).last().unwrap().as_deref(), Some("run-3"), "asked again when they had ended");

    let sts = Stub::start(|head| {
        if !has(head, "x-amz-security-token: run-4") {
            return self::said(403, "");
        }
        self::said(
            200,
            format!(
                "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult><Credentials>\
                 <AccessKeyId>{ACCESS_KEY}</AccessKeyId><SecretAccessKey>{SECRET_KEY}</SecretAccessKey><SessionToken>assumed</SessionToken>\
                 <Expiration>2999-01-01T00:00:00Z</Expiration></Credentials><AssumedRoleUser>\
                 <Arn>arn:aws:sts::123456789012:assumed-role/backup/x</Arn><AssumedRoleId>AROA:x</AssumedRoleId></AssumedRoleUser>\
                 </AssumeRoleResult></AssumeRoleResponse>"
            ),
        )
    });
    let (good, said) = run(&[("AWS_PROFILE", "role"), ("AWS_ENDPOINT_URL_STS", &sts.endpoint)]);
    assert!(good && said.contains("with the profile in ~/.aws"), "{said}");
    assert_eq!(tokens(&server), [Some("assumed".to_owned())]);

    // One that fails is named, and nobody else's keys take its place.
    config("later");
    let (good, said) = run(&[]);
    assert!(
        !good && said.contains("no keys for the store: the profile in ~/.aws gives none: its credential_process"),
        "{said}"
    );
    assert!(said.contains("exit status: 3") && said.contains("no such vault"), "{said}");
    std::fs::write(&program, "#!/bin/sh\necho '<html>'\n").unwrap();
    let (good, said) = run(&[]);
    assert!(!good && said.contains("the profile in ~/.aws answers with something that is no keys"), "{said}");
    assert_eq!(tokens(&server), []);
}

#[test]
fn temporary_keys_of_our_own_go_with_their_token_until_it_expires() {
    let server = Server::start();
    let credentials = Credentials::Static {
        access_key: ACCESS_KEY.into(),
        secret_key: Secret::new(SECRET_KEY),
        session_token: Some(Secret::new("our-token")),
    };
    let store = s3(S3Settings { credentials, ..server.settings() });
    upload(&store, NAME, &bytes(LARGE), HEAD, LARGE as u64).unwrap();
    assert_eq!(tokens(&server), [Some("our-token".to_owned())]);
    // Nobody but the user can renew it: told at once, in the middle of an upload too.
    server.fail(Call::Part(1), usize::MAX, Fault::Answer(400, "ExpiredToken", "The provided token has expired."));
    let (message, hint) = misconfigured(upload(&store, NAME, &bytes(LARGE), HEAD, LARGE as u64).unwrap_err());
    assert_eq!(message, "The session token of the settings has expired");
    assert!(hint.contains("pgbackup:auth <service> ACCESS_KEY_ID --session-token"), "{hint}");
    assert!(!hint.contains("our-token") && server.leftovers().is_empty());
}
