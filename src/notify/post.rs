//! A letter over HTTP, with short patience: one answer is enough, and nobody waits for a chat program.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{ConnectProxyConnector, Connector, TcpConnector};

use crate::notify::endpoint::Letter;
use crate::notify::tls::{TlsConnector, Unsafe};

/// How long connecting may take, names and TLS included.
const CONNECT: Duration = Duration::from_secs(5);
/// How long one try may take in all.
const TOTAL: Duration = Duration::from_secs(10);
/// How long all tries may take: after that the endpoint is slow or dead.
const PATIENCE: Duration = Duration::from_secs(20);
/// Waits between tries.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];
/// How much of an answer is read.
const ANSWER: u64 = 2_000;

/// What an endpoint answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status: 200.
    pub status: u16,
    /// The beginning of the body, in one line.
    pub text: String,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        if self.text.is_empty() { Ok(()) } else { write!(f, " {}", self.text) }
    }
}

/// Why a letter did not arrive. Its words hold no address: errors end up in logs.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The endpoint answered, and not with yes.
    #[error("it answers {0}")]
    Answered(Answer),
    /// It sends us elsewhere. What is a secret at one host is none of another's business.
    #[error("it answers {0} and sends us to another address, which is not followed: set that one")]
    Elsewhere(u16),
    /// It doesn't answer.
    #[error("{0}")]
    Silent(String),
}

/// Sends letters.
#[derive(Debug, Clone)]
pub struct Post {
    agent: Result<ureq::Agent, String>,
    pauses: [Duration; 2],
}

impl Default for Post {
    fn default() -> Self {
        Self::with(CONNECT, TOTAL, PAUSES)
    }
}

impl Post {
    fn with(connect: Duration, total: Duration, pauses: [Duration; 2]) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_resolve(Some(connect))
            .timeout_connect(Some(connect))
            .timeout_global(Some(total))
            .max_redirects(0)
            .http_status_as_error(false)
            .user_agent(concat!("pgbackup/", env!("CARGO_PKG_VERSION")))
            .build();
        let agent = TlsConnector::new().map_err(|error| error.to_string()).map(|tls| {
            let connector = ().chain(ConnectProxyConnector::default()).chain(TcpConnector::default()).chain(tls);
            ureq::Agent::with_parts(config, connector, DefaultResolver::default())
        });
        Self { agent, pauses }
    }

    /// Sends a letter, again where that may help.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn send(&self, letter: &Letter) -> Result<Answer, Refused> {
        let began = Instant::now();
        let mut pauses = self.pauses.iter();
        loop {
            let refused = match self.try_once(letter) {
                Ok(answer) => return Ok(answer),
                Err(refused) => refused,
            };
            let again = match &refused {
                Refused::Answered(answer) => answer.status == 429 || answer.status >= 500,
                Refused::Elsewhere(_) => false,
                Refused::Silent(_) => true,
            };
            match pauses.next() {
                Some(pause) if again && began.elapsed() + *pause < PATIENCE / 2 => thread::sleep(*pause),
                _ => return Err(refused),
            }
        }
    }

    fn try_once(&self, letter: &Letter) -> Result<Answer, Refused> {
        let url = letter.url.reveal();
        let agent = self.agent.as_ref().map_err(|error| Refused::Silent(error.clone()))?;
        let sent = match &letter.body {
            Some(body) => agent.post(url).content_type(letter.content_type).send(body.as_str()),
            None => agent.get(url).call(),
        };
        let mut response = sent.map_err(|error| Refused::Silent(words(&error)))?;
        let status = response.status().as_u16();
        // What it says besides is for people; that it can't be read changes nothing.
        let text =
            response.body_mut().with_config().limit(ANSWER).lossy_utf8(true).read_to_string().unwrap_or_default();
        let text: String = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(200).collect();
        match status {
            200..=299 => Ok(Answer { status, text }),
            300..=399 => Err(Refused::Elsewhere(status)),
            _ => Err(Refused::Answered(Answer { status, text })),
        }
    }
}

/// ureq's errors in our words, none of which may hold the address.
fn words(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Timeout(_) => "it doesn't answer in time".to_owned(),
        ureq::Error::HostNotFound => "its host name is not known".to_owned(),
        ureq::Error::ConnectionFailed => "it can't be reached".to_owned(),
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => "its address can't be used".to_owned(),
        ureq::Error::Other(error) if error.is::<Unsafe>() => error.to_string(),
        // The resolver's own words come without a kind of their own.
        ureq::Error::Io(error) if error.to_string().contains("lookup address") => {
            "its host name is not known".to_owned()
        }
        ureq::Error::Io(error) => format!("it can't be reached: {error}"),
        ureq::Error::Protocol(_) => "what it answers is no HTTP".to_owned(),
        // Whatever else there is may hold the address.
        _ => "it can't be told".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::notify::endpoint::Webhook;
    use crate::notify::tests::failed;

    /// An endpoint that answers each request with the next of these, and the last one for ever; what it was asked.
    fn endpoint(answers: &'static [&'static str]) -> (String, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hooks/secret", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (count, heard) = (AtomicUsize::new(0), Arc::clone(&asked));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                heard.lock().unwrap().push(request(&mut stream));
                let number = count.fetch_add(1, Ordering::Relaxed).min(answers.len() - 1);
                let _ = stream.write_all(answers[number].as_bytes());
            }
        });
        (url, asked)
    }

    /// Reads one request with its body.
    fn request(stream: &mut TcpStream) -> String {
        let mut text = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let read = stream.read(&mut buffer).unwrap();
            text.extend_from_slice(&buffer[..read]);
            let seen = String::from_utf8_lossy(&text).into_owned();
            if let Some((head, body)) = seen.split_once("\r\n\r\n") {
                let length =
                    head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
                if read == 0 || body.len() >= length.unwrap_or(0) {
                    return seen;
                }
            }
        }
    }

    fn quick() -> Post {
        Post::with(Duration::from_millis(400), Duration::from_millis(400), [Duration::from_millis(10); 2])
    }

    fn send(url: &str) -> Result<Answer, String> {
        let letter = url.parse::<Webhook>().unwrap().letter(&failed());
        let sent = quick().send(&letter).map_err(|refused| refused.to_string());
        if let Err(words) = &sent {
            assert!(!words.contains("secret"), "{words}");
        }
        sent
    }

    const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n";
    const BROKEN: &str = "HTTP/1.1 500 Oh\r\nContent-Length: 10\r\nConnection: close\r\n\r\nno \x1b[31mgo";

    #[test]
    fn a_letter_arrives_as_it_was_written() {
        let (url, asked) = endpoint(&[OK]);
        assert_eq!(send(&url).unwrap().to_string(), "200 ok");
        let asked = asked.lock().unwrap();
        let (head, body) = asked[0].split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /hooks/secret HTTP/1.1\r\n"), "{head}");
        assert!(head.to_lowercase().contains("content-type: application/json"), "{head}");
        assert_eq!(body, failed().json());
    }

    #[test]
    fn is_tried_again_where_that_may_help() {
        let (url, asked) = endpoint(&[BROKEN, BROKEN, OK]);
        assert_eq!(send(&url).unwrap().status, 200);
        assert_eq!(asked.lock().unwrap().len(), 3);
        let (url, asked) = endpoint(&[BROKEN]);
        assert_eq!(send(&url).unwrap_err(), "it answers 500 no \u{1b}[31mgo");
        assert_eq!(asked.lock().unwrap().len(), 3);
        let (url, asked) = endpoint(&["HTTP/1.1 404 Gone\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"]);
        assert_eq!(send(&url).unwrap_err(), "it answers 404");
        assert_eq!(asked.lock().unwrap().len(), 1);
    }

    #[test]
    fn a_redirect_is_not_followed() {
        let (other, never) = endpoint(&[OK]);
        let answer =
            format!("HTTP/1.1 302 Found\r\nLocation: {other}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        let (url, _) = endpoint(Box::leak(Box::new([&*answer.leak()])));
        assert!(send(&url).unwrap_err().contains("which is not followed"));
        assert_eq!(never.lock().unwrap().len(), 0);
    }

    #[test]
    fn dead_and_slow_endpoints_cost_little_time() {
        let began = Instant::now();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let slow = format!("http://{}/secret", taken.local_addr().unwrap());
        assert_eq!(send(&slow).unwrap_err(), "it doesn't answer in time");
        drop(taken);
        assert!(send(&slow).unwrap_err().contains("can't be reached"));
        assert_eq!(send("http://nobody.invalid/secret").unwrap_err(), "its host name is not known");
        assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    }

    /// A server with a certificate that nobody has signed.
    fn impostor() -> String {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("c.der"), folder.path().join("k.der"));
        #[expect(clippy::disallowed_methods, reason = "a certificate is made by the tool for it")]
        let openssl = |words: &str| {
            let words: Vec<&str> = words.split(' ').collect();
            let output = std::process::Command::new("openssl").args(words).current_dir(folder.path()).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        };
        openssl(
            "req -x509 -newkey rsa:2048 -nodes -batch -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout k.pem -out c.pem",
        );
        openssl("x509 -in c.pem -outform DER -out c.der");
        openssl("pkcs8 -topk8 -nocrypt -in k.pem -outform DER -out k.der");
        let certificate = std::fs::read(certificate).unwrap().into();
        let key = rustls::pki_types::PrivateKeyDer::Pkcs8(std::fs::read(key).unwrap().into());
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = stream.unwrap();
                let mut safe = rustls::Stream::new(&mut session, &mut stream);
                let mut buffer = [0; 64];
                let heard = safe.read(&mut buffer).unwrap_or(0);
                assert_eq!(heard, 0, "the letter was handed to an impostor");
            }
        });
        format!("https://localhost:{port}/secret")
    }

    #[test]
    fn nothing_is_said_to_an_impostor() {
        let words = send(&impostor()).unwrap_err();
        assert!(words.starts_with("no safe connection can be made: invalid peer certificate"), "{words}");
    }
}
