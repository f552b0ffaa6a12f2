//! The AWS command line, an independent reader and writer of what lies in the store: loaded once for the whole suite (`aws.py`), because
//! each call of the plain program takes most of a second of CPU time to load itself.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};

use super::{Host, Key, Run};

struct Server {
    /// Held: the server ends with its standard input.
    _process: Child,
    socket: PathBuf,
}

/// `aws --endpoint-url … --output json WORDS…` with a key of the host's S3 server.
pub fn call(host: &Host, key: Key, words: &[&str]) -> Run {
    let (id, secret) = key.pair();
    let mut all = vec!["--endpoint-url", host.endpoint.as_str(), "--output", "json"];
    all.extend(words);
    let request = json!({ "words": all, "environment": {
        "AWS_ACCESS_KEY_ID": id,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_DEFAULT_REGION": host.region,
        "AWS_EC2_METADATA_DISABLED": "true",
    }});
    let mut stream = UnixStream::connect(&server().socket).unwrap();
    writeln!(stream, "{request}").unwrap();
    let mut answer = BufReader::new(stream);
    let mut line = String::new();
    answer.read_line(&mut line).unwrap();
    let head: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("aws {}: {error}", all.join(" ")));
    let mut read = |length: &Value| {
        let mut bytes = vec![0; usize::try_from(length.as_u64().unwrap()).unwrap()];
        answer.read_exact(&mut bytes).unwrap();
        bytes
    };
    let (bytes, err) = (read(&head["out"]), read(&head["err"]));
    let code = i32::try_from(head["code"].as_i64().unwrap()).unwrap();
    Run::new(format!("aws {}", all.join(" ")), code, bytes, &err)
}

#[expect(clippy::disallowed_methods, reason = "tests run programs")]
fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let socket = std::env::temp_dir().join(format!("pgbackup-suite-aws.{}", process::id()));
        let _ = std::fs::remove_file(&socket);
        let mut server = Command::new(Path::new(&Host::aws_program()).with_file_name("python"))
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/host/aws.py"))
            .arg(&socket)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "ready\n");
        Server { _process: server, socket }
    })
}
