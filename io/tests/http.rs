//! The HTTP server, over real sockets: what it takes, what it refuses, and that nobody is in another's way.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "tests of a shell")]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use standin_io::http::{
    HTTP_CONNECTIONS_MAX, HTTP_HEAD_BYTES_MAX, HttpListener, HttpRequest, HttpResponse, HttpServer,
};

/// Ends a test that would wait for ever.
const PATIENCE: Duration = Duration::from_secs(60);

fn serve() -> (SocketAddr, HttpServer) {
    serve_at("127.0.0.1:0")
}

fn serve_at(address: &str) -> (SocketAddr, HttpServer) {
    let listener = HttpListener::bind(address.parse().unwrap()).unwrap();
    let address = listener.address();
    let echo = |request: &HttpRequest| {
        let n = request.parameter("n").unwrap_or("none");
        HttpResponse::text(200, format!("{} n={n}", request.path()))
    };
    (address, listener.serve(echo).unwrap())
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// What comes back for some bytes, up to the end of the connection.
fn said(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = connect(address);
    // A server that has refused may have hung up already.
    let _ = stream.write_all(request);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn asked(address: SocketAddr, target: &str) -> String {
    said(
        address,
        format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes(),
    )
}

#[test]
fn what_is_asked_is_answered_with_its_length() {
    let (address, _server) = serve();
    let answer = asked(address, "/path?m=1&n=22");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\r\nContent-Length: 10\r\n"), "{answer}");
    assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n/path n=22"), "{answer}");
    assert!(asked(address, "/").ends_with("/ n=none"));
    assert!(asked(address, "/?n").ends_with("/ n="));
    let head = said(address, b"HEAD /path HTTP/1.0\r\n\r\n");
    assert!(head.contains("\r\nContent-Length: 12\r\n"), "{head}");
    assert!(head.ends_with("\r\n\r\n"), "no body: {head}");
}

#[test]
fn a_request_may_come_in_pieces() {
    let (address, _server) = serve();
    let mut stream = connect(address);
    for piece in [&b"GET /sl"[..], b"ow HTTP/1.1\r", b"\nA: b\r\n", b"\r\n"] {
        stream.write_all(piece).unwrap();
        stream.flush().unwrap();
        // Others are not in its way, nor it in theirs.
        assert!(asked(address, "/quick").ends_with("/quick n=none"));
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("/slow n=none"), "{answer}");
}

#[test]
fn what_is_no_request_is_refused_with_a_reason() {
    let (address, _server) = serve();
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(HTTP_HEAD_BYTES_MAX));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(200));
    let body = format!(
        "POST /x HTTP/1.1\r\nContent-Length: 9000\r\n\r\n{}",
        "x".repeat(9000)
    );
    for (request, status, words) in [
        (
            &b"\x16\x03\x01\x02\x00\x01\x00"[..],
            "400",
            "no HTTP request",
        ),
        (b"nonsense\r\n\r\n", "400", "no HTTP request"),
        (long.as_bytes(), "431", "at most 8192 bytes"),
        (many.as_bytes(), "431", "at most 8192 bytes"),
        (body.as_bytes(), "405", "use GET or HEAD"),
    ] {
        let answer = said(address, request);
        let first = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&first), "{answer}");
        assert!(answer.contains(words), "{answer}");
    }
    assert!(said(address, b"").is_empty());
}

#[test]
fn whoever_has_not_asked_gives_way_to_who_does() {
    let (address, _server) = serve();
    // They are accepted in their order. There are no more places than they take, and of sockets that are being closed there may
    // be as many again: the few who ask do not come to that, however slowly the others go.
    let mut idle: Vec<TcpStream> = (0..HTTP_CONNECTIONS_MAX)
        .map(|_| connect(address))
        .collect();
    for _ in 0..HTTP_CONNECTIONS_MAX / 4 {
        assert!(asked(address, "/asks").ends_with("/asks n=none"));
    }
    let mut answer = Vec::new();
    let _ = idle[0].read_to_end(&mut answer);
    assert!(answer.is_empty(), "it was closed without a word");
}

#[test]
fn nobody_listens_after_it_was_dropped() {
    // An address of its own: other tests may be given the same port meanwhile.
    let (address, server) = serve_at("127.0.0.99:0");
    assert!(asked(address, "/").ends_with("/ n=none"));
    drop(server);
    assert!(TcpStream::connect(address).is_err());
}
