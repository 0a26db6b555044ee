//! The same messages over HTTP: one in the body of each `POST`, whatever the path.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::serve::{IncomingStream, Listener};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::head::{Activity, HeadTimer};
use super::{Accepted, TlsSource};
use crate::front::{Caller, Front};
use crate::wire::scan::{self, Malformed};

const CONTENT_TYPE: &str = "application/x-thrift";

/// The cookie that spares a client's password from being checked with every call. Clients of Impala
/// know it by this name.
const COOKIE: &str = "impala.auth";

/// Where proxies say whom they speak for.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// What is kept of that.
const MAX_ORIGIN_BYTES: usize = 1024;

/// How long a cookie is good for.
const COOKIE_LIFETIME: Duration = Duration::from_secs(60 * 60);

/// Serves connections until the server stops.
pub(crate) async fn serve(front: Arc<Front>, listener: TcpListener, tls: Option<TlsSource>) {
    let Ok(address) = listener.local_addr() else {
        return;
    };
    let (connections, accepted) = mpsc::channel(1);
    let hand_over = move |_: Arc<Front>, accepted: Accepted| {
        let connections = connections.clone();
        async move {
            let _ = connections.send(accepted).await;
        }
    };
    let patience = front.limits.authentication_timeout;
    let accepting = super::accept(Arc::clone(&front), listener, tls, hand_over);
    let state = Arc::new(Http {
        stop: front.stop.clone(),
        front,
        key: rand::random(),
    });
    let stop = state.stop.clone();
    let service = Router::new()
        .fallback(answer)
        .with_state(state)
        .into_make_service_with_connect_info::<Peer>();
    let connections = Connections {
        accepted,
        address,
        patience,
    };
    let serving = axum::serve(connections, service).with_graceful_shutdown(stop.cancelled_owned());
    let (_, _) = tokio::join!(accepting, serving.into_future());
}

struct Http {
    front: Arc<Front>,
    stop: tokio_util::sync::CancellationToken,
    /// Signs cookies; new with each start of the server.
    key: [u8; 32],
}

/// Answers one request.
async fn answer(
    State(http): State<Arc<Http>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    method: Method,
    headers: HeaderMap,
    body: Body,
) -> Response {
    if method != Method::POST {
        let allow = [(header::ALLOW, "POST")];
        return (
            StatusCode::METHOD_NOT_ALLOWED,
            allow,
            "Send Thrift messages by POST.\n",
        )
            .into_response();
    }
    let _underway = peer.activity.begin();
    let (user, cookie) = match http.authenticate(&headers, &peer).await {
        Ok(proved) => proved,
        Err(refusal) => return refusal,
    };
    let front = &http.front;
    let bytes = match received(body, front.limits).await {
        Ok(bytes) => bytes,
        Err(refusal) => return refusal,
    };
    let message = match scan::whole(bytes, front.limits.max_message_bytes) {
        Ok(Some(message)) => message,
        Ok(None) => {
            return refused(
                StatusCode::BAD_REQUEST,
                "The body is not one whole message.",
            );
        }
        Err(error @ Malformed::Size(_)) => {
            return refused(StatusCode::PAYLOAD_TOO_LARGE, &error.to_string());
        }
        Err(error) => return refused(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let caller = Caller {
        user,
        address: peer.address,
        http_origin: http_origin(&headers),
        attached: None,
    };
    match front.answer(&caller, message).await {
        Ok(reply) => {
            let kind = [(header::CONTENT_TYPE, CONTENT_TYPE)];
            let mut response = (kind, Body::from(reply.freeze())).into_response();
            if let Some(cookie) = cookie {
                response.headers_mut().insert(header::SET_COOKIE, cookie);
            }
            response
        }
        Err(error) => refused(StatusCode::BAD_REQUEST, &error.to_string()),
    }
}

/// The whole body.
///
/// # Errors
/// The refusal of one that is too long, broken off, or stands still.
async fn received(body: Body, limits: crate::Limits) -> Result<Bytes, Response> {
    let max_bytes = limits.max_message_bytes;
    let too_long = || {
        let why = format!("The message is longer than {max_bytes} bytes.");
        refused(StatusCode::PAYLOAD_TOO_LARGE, &why)
    };
    // What only claims to be too long is refused before it arrives.
    if body.size_hint().lower() > max_bytes as u64 {
        return Err(too_long());
    }
    let mut pieces = body.into_data_stream();
    let mut whole = BytesMut::new();
    loop {
        match tokio::time::timeout(limits.authentication_timeout, pieces.next()).await {
            Ok(Some(Ok(piece))) if whole.len() + piece.len() > max_bytes => return Err(too_long()),
            Ok(Some(Ok(piece))) => whole.extend_from_slice(&piece),
            Ok(None) => return Ok(whole.freeze()),
            Ok(Some(Err(_))) => {
                return Err(refused(StatusCode::BAD_REQUEST, "The body is broken off."));
            }
            Err(_) => {
                return Err(refused(
                    StatusCode::REQUEST_TIMEOUT,
                    "The body stands still.",
                ));
            }
        }
    }
}

/// Where the client is, as the first proxy on the way says.
fn http_origin(headers: &HeaderMap) -> Option<Arc<str>> {
    let origin = headers.get(FORWARDED_FOR)?.to_str().ok()?.trim();
    let end = origin.floor_char_boundary(MAX_ORIGIN_BYTES);
    (!origin.is_empty()).then(|| origin[..end].into())
}

fn refused(status: StatusCode, why: &str) -> Response {
    (status, [(header::CONNECTION, "close")], format!("{why}\n")).into_response()
}

fn unauthorized() -> Response {
    let headers = [
        (header::WWW_AUTHENTICATE, "Basic realm=\"Forebay\""),
        (header::CONNECTION, "close"),
    ];
    (
        StatusCode::UNAUTHORIZED,
        headers,
        "The name or the password is wrong.\n",
    )
        .into_response()
}

/// Who has proved to be whom, and the cookie to be given for it.
type Proved = (Option<String>, Option<HeaderValue>);

impl Http {
    /// Looks at cookie and password. Who sends neither has proved nothing, which is enough for some
    /// roles.
    async fn authenticate(&self, headers: &HeaderMap, peer: &Peer) -> Result<Proved, Response> {
        if let Some(user) = cookies(headers).find_map(|cookie| self.user_of(cookie)) {
            return Ok((Some(user), None));
        }
        let Some(authorization) = headers.get(header::AUTHORIZATION) else {
            return Ok((None, None));
        };
        let (user, password) = basic(authorization).ok_or_else(unauthorized)?;
        if !self.front.authenticate(&user, password, peer.address).await {
            return Err(unauthorized());
        }
        let cookie = self.cookie(&user, peer.is_encrypted);
        Ok((Some(user), cookie))
    }

    /// User, time and signature.
    fn cookie(&self, user: &str, is_encrypted: bool) -> Option<HeaderValue> {
        let content = format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(user), now_s());
        let signature =
            BASE64_URL_SAFE_NO_PAD.encode(self.signing(&content).finalize().into_bytes());
        let secure = if is_encrypted { "; Secure" } else { "" };
        let lifetime = COOKIE_LIFETIME.as_secs();
        let cookie =
            format!("{COOKIE}={content}.{signature}; HttpOnly; Max-Age={lifetime}{secure}");
        HeaderValue::from_str(&cookie).ok()
    }

    fn user_of(&self, cookie: &str) -> Option<String> {
        let (content, signature) = cookie.rsplit_once('.')?;
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).ok()?;
        // Compared in constant time.
        self.signing(content).verify_slice(&signature).ok()?;
        let (user, made_s) = content.split_once('.')?;
        let age_s = now_s().checked_sub(made_s.parse().ok()?)?;
        if age_s > COOKIE_LIFETIME.as_secs() {
            return None;
        }
        String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(user).ok()?).ok()
    }

    fn signing(&self, content: &str) -> Hmac<Sha256> {
        let mut hmac =
            Hmac::<Sha256>::new_from_slice(&self.key).expect("a key of any length is allowed");
        hmac.update(content.as_bytes());
        hmac
    }
}

/// The values of our cookie that a client sends.
fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(header::COOKIE).into_iter();
    let pairs = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'));
    pairs.filter_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

fn basic(authorization: &HeaderValue) -> Option<(String, String)> {
    let (scheme, encoded) = authorization.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = BASE64_STANDARD.decode(encoded.trim()).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (user, password) = text.split_once(':')?;
    (!user.is_empty()).then(|| (user.to_owned(), password.to_owned()))
}

fn now_s() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_secs()
}

/// Connections that were accepted elsewhere.
struct Connections {
    accepted: mpsc::Receiver<Accepted>,
    address: SocketAddr,
    /// How long the head of a request may take.
    patience: Duration,
}

impl Listener for Connections {
    type Io = Connection;
    type Addr = Peer;

    async fn accept(&mut self) -> (Connection, Peer) {
        match self.accepted.recv().await {
            Some(accepted) => {
                let peer = Peer {
                    address: accepted.address,
                    is_encrypted: accepted.is_encrypted,
                    activity: Arc::default(),
                };
                let head = HeadTimer::new(self.patience, Arc::clone(&peer.activity));
                (Connection { accepted, head }, peer)
            }
            // The server stops, and with it whoever waits here.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Peer> {
        Ok(Peer {
            address: self.address,
            is_encrypted: false,
            activity: Arc::default(),
        })
    }
}

/// Where a request comes from.
#[derive(Debug, Clone)]
struct Peer {
    address: SocketAddr,
    is_encrypted: bool,
    activity: Arc<Activity>,
}

impl Connected<IncomingStream<'_, Connections>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Connections>) -> Self {
        stream.remote_addr().clone()
    }
}

/// A connection with its place.
struct Connection {
    accepted: Accepted,
    head: HeadTimer,
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.accepted.stream).poll_read(context, buffer);
        let more = buffer.filled().len() > before;
        if self.head.is_over(more, context) && polled.is_pending() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        polled
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.accepted.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.accepted.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.accepted.stream).poll_shutdown(context)
    }
}
