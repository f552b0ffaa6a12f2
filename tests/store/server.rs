//! A real S3 server (s3s on a folder) in this process, with a layer in front that fails where it is told to.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Frame, Incoming};
use hyper::service::{Service, service_fn};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use pgbackup::secret::Secret;
use pgbackup::store::s3::{Credentials, S3Settings};
use s3s::Body;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

pub const ACCESS_KEY: &str = "AKIDTEST";
pub const SECRET_KEY: &str = "secret-of-the-test";
pub const BUCKET: &str = "backups";

/// The kinds of calls that we make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    List,
    Head,
    Get,
    Put,
    Create,
    Part(u32),
    Complete,
    Abort,
    Delete,
}

impl Call {
    fn of(method: &Method, query: &str) -> Self {
        let value = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        match *method {
            Method::GET if value("list-type").is_some() => Self::List,
            Method::GET => Self::Get,
            Method::HEAD => Self::Head,
            Method::PUT => value("partNumber").map_or(Self::Put, |number| Self::Part(number.parse().unwrap())),
            Method::POST if value("uploadId").is_some() => Self::Complete,
            Method::POST => Self::Create,
            Method::DELETE if value("uploadId").is_some() => Self::Abort,
            _ => Self::Delete,
        }
    }
}

/// What goes wrong.
#[derive(Debug, Clone)]
pub enum Fault {
    /// An answer of S3 with this status, code and message.
    Answer(u16, &'static str, &'static str),
    /// An answer with this status and body.
    Plain(u16, &'static str),
    /// The same, with one header.
    Header(u16, &'static str, (&'static str, &'static str)),
    /// The connection is closed before the request's body is read.
    Reset,
    /// The call is carried out, but the connection is closed before its answer.
    LoseAnswer,
    /// The answer's body ends after so many bytes, and the connection with it.
    Cut(usize),
    /// One bit of the answer's body is flipped; its checksum is that of the whole object, as AWS says it.
    Flip,
    /// Ranges are not known.
    IgnoreRange,
    /// The answer is right, and the server's clock is so many seconds ahead.
    Clock(i64),
}

struct Rule {
    fits: Box<dyn Fn(&Seen) -> bool + Send + Sync>,
    times: usize,
    fault: Fault,
}

/// A call as it came in.
#[derive(Debug, Clone)]
pub struct Seen {
    pub call: Call,
    pub path: String,
    pub query: String,
    pub headers: Vec<(String, String)>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Default)]
struct Script {
    rules: Mutex<Vec<Rule>>,
    seen: Mutex<Vec<Seen>>,
    slow: AtomicBool,
    parts: AtomicUsize,
    most: AtomicUsize,
}

/// The server; it ends when it is dropped.
pub struct Server {
    runtime: Runtime,
    pub root: TempDir,
    address: SocketAddr,
    script: Arc<Script>,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

impl Server {
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join(BUCKET)).unwrap();
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let server = Self { runtime, root, address, script: Arc::default(), accepting: Mutex::default() };
        server.accept(listener);
        server
    }

    fn accept(&self, listener: TcpListener) {
        let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(self.root.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let s3 = builder.build();
        let root = self.root.path().to_owned();
        let script = Arc::clone(&self.script);
        let task = self.runtime.spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (s3, root, script) = (s3.clone(), root.clone(), Arc::clone(&script));
                connections.spawn(async move {
                    let service =
                        service_fn(move |request| answer(s3.clone(), root.clone(), Arc::clone(&script), request));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(socket), service)
                        .await;
                });
            }
        });
        *self.accepting.lock().unwrap() = Some(task);
    }

    /// Nobody listens any more, and open connections break.
    pub fn go_away(&self) {
        if let Some(task) = self.accepting.lock().unwrap().take() {
            task.abort();
            let _ = self.runtime.block_on(task);
        }
    }

    /// Listens again, on the same port.
    pub fn come_back(&self) {
        let listener = self.runtime.block_on(TcpListener::bind(self.address)).unwrap();
        self.accept(listener);
    }

    /// The next `times` calls of this kind fail.
    pub fn fail(&self, call: Call, times: usize, fault: Fault) {
        self.fail_where(move |seen| seen == call, times, fault);
    }

    /// The next `times` calls that fit fail.
    pub fn fail_where(&self, call: impl Fn(Call) -> bool + Send + Sync + 'static, times: usize, fault: Fault) {
        self.refuse(move |seen| call(seen.call), times, fault);
    }

    /// The next `times` calls that fit by what they carry fail.
    pub fn refuse(&self, fits: impl Fn(&Seen) -> bool + Send + Sync + 'static, times: usize, fault: Fault) {
        self.script.rules.lock().unwrap().push(Rule { fits: Box::new(fits), times, fault });
    }

    /// Each part takes a moment from now on, so that those on their way at once are seen together.
    pub fn slow_down(&self) {
        self.script.slow.store(true, Ordering::Relaxed);
    }

    /// The most parts that were on their way at once.
    pub fn most_parts_at_once(&self) -> usize {
        self.script.most.load(Ordering::Relaxed)
    }

    /// The calls since the last look.
    pub fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.script.seen.lock().unwrap())
    }

    pub fn calls(&self) -> Vec<Call> {
        self.seen().into_iter().map(|seen| seen.call).collect()
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn settings(&self) -> S3Settings {
        S3Settings {
            bucket: BUCKET.into(),
            endpoint: Some(self.endpoint()),
            credentials: Credentials::Static {
                access_key: ACCESS_KEY.into(),
                secret_key: Secret::new(SECRET_KEY),
                session_token: None,
            },
            ..S3Settings::default()
        }
    }

    /// Everything the server keeps for unfinished uploads.
    pub fn leftovers(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.root.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter_map(|name| name.into_string().ok()).filter(|name| name.starts_with(".upload")).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.go_away();
    }
}

async fn answer(
    s3: S3Service,
    root: PathBuf,
    script: Arc<Script>,
    request: Request<Incoming>,
) -> Result<Response<Body>, io::Error> {
    let call = Call::of(request.method(), request.uri().query().unwrap_or_default());
    let headers = request.headers().iter();
    let headers =
        headers.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    let query = request.uri().query().unwrap_or_default().to_owned();
    let seen = Seen { call, path: request.uri().path().to_owned(), query, headers: headers.collect() };
    script.seen.lock().unwrap().push(seen.clone());
    let fault = {
        let mut rules = script.rules.lock().unwrap();
        let rule = rules.iter_mut().find(|rule| rule.times > 0 && (rule.fits)(&seen));
        rule.map(|rule| {
            rule.times -= 1;
            rule.fault.clone()
        })
    };
    let plain = |status: u16, text: String, header: Option<(&str, &str)>| {
        let mut response = Response::builder().status(status);
        if let Some((name, value)) = header {
            response = response.header(name, value);
        }
        Ok(response.body(Body::http_body(Full::new(Bytes::from(text)))).unwrap())
    };
    match &fault {
        Some(Fault::Reset) => return Err(io::ErrorKind::ConnectionReset.into()),
        Some(Fault::Answer(status, code, message)) => {
            drain(request).await;
            let text = format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>"
            );
            return plain(*status, text, None);
        }
        Some(Fault::Plain(status, text)) => {
            drain(request).await;
            return plain(*status, (*text).to_owned(), None);
        }
        Some(Fault::Header(status, text, header)) => {
            drain(request).await;
            return plain(*status, (*text).to_owned(), Some(*header));
        }
        Some(Fault::IgnoreRange) => {
            let path = root.join(request.uri().path().trim_start_matches('/'));
            return Ok(Response::new(Body::http_body(Full::new(Bytes::from(std::fs::read(path)?)))));
        }
        _ => {}
    }
    let part = matches!(call, Call::Part(_));
    if part {
        let now = script.parts.fetch_add(1, Ordering::Relaxed) + 1;
        script.most.fetch_max(now, Ordering::Relaxed);
        if script.slow.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    let response = Service::call(&s3, request).await.map_err(|error| io::Error::other(format!("{error:?}")));
    if part {
        script.parts.fetch_sub(1, Ordering::Relaxed);
    }
    let response = response?;
    match fault {
        Some(Fault::LoseAnswer) => Err(io::ErrorKind::ConnectionReset.into()),
        Some(Fault::Cut(after)) => {
            let (head, body) = response.into_parts();
            let bytes = body.collect().await.unwrap().to_bytes();
            let body = CutBody { bytes: Some(bytes.slice(..after.min(bytes.len()))), pause: None };
            Ok(Response::from_parts(head, Body::http_body(body)))
        }
        Some(Fault::Flip) => {
            let (mut head, body) = response.into_parts();
            head.headers.insert("x-amz-checksum-type", "FULL_OBJECT".parse().unwrap());
            let mut bytes = body.collect().await.unwrap().to_bytes().to_vec();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            Ok(Response::from_parts(head, Body::http_body(Full::new(Bytes::from(bytes)))))
        }
        Some(Fault::Clock(ahead)) => {
            let (mut head, body) = response.into_parts();
            let date = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(ahead);
            head.headers.insert("date", date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string().parse().unwrap());
            Ok(Response::from_parts(head, body))
        }
        _ => Ok(response),
    }
}

/// A body that ends too early; the pause lets its bytes reach the other side.
struct CutBody {
    bytes: Option<Bytes>,
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl hyper::body::Body for CutBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(bytes) = self.bytes.take().filter(|bytes| !bytes.is_empty()) {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        let pause = self.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(Duration::from_millis(30))));
        pause.as_mut().poll(context).map(|()| Some(Err(io::ErrorKind::ConnectionReset.into())))
    }
}

/// An error answer is read only by who has finished sending.
async fn drain(request: Request<Incoming>) {
    let mut body = request.into_body();
    while let Some(Ok(_)) = body.frame().await {}
}
