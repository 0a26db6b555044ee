//! Encryption, as far as a client without TLS can tell; with TLS see `tests/clients/test_tls.py`.

use std::path::Path;
use std::process::Command;

use super::common::raw::{self, Raw, kinds, sqlstate, told};
use super::common::{Server, all_given_back};
use super::{assert_no_panic, at_rest, serves};

/// A certificate and its key, valid for a day.
fn certificate(folder: &Path) -> [String; 2] {
    let [cert, key] = ["server.crt", "server.key"].map(|name| {
        let path = folder.join(name);
        path.to_str().expect("a path in UTF-8").to_owned()
    });
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
        ])
        .args(["-nodes", "-days", "1", "-subj", "/CN=localhost"])
        .args(["-keyout", &key, "-out", &cert])
        .output()
        .expect("openssl");
    assert!(made.status.success(), "{made:?}");
    [cert, key]
}

#[tokio::test]
async fn encryption_is_offered_and_not_forced() {
    let folder = tempfile::tempdir().expect("a folder");
    let [cert, key] = certificate(folder.path());
    let server = Server::with_tpch(&["--tls-cert", &cert, "--tls-key", &key]);
    let sockets = at_rest(&server).await;
    // Without asking, and behind a declined request for the other kind of encryption.
    assert_eq!(kinds(&Raw::log_in(&server).query("SELECT 1")), "TDCZ");
    let mut raw = Raw::connect(&server);
    raw.send(&raw::request(raw::GSS_REQUEST));
    assert_eq!(raw.byte(), b'N');
    raw.start_up();
    assert_eq!(kinds(&raw.query("SELECT 1")), "TDCZ");
    drop(raw);
    // Asked for, but then it is not TLS that comes.
    for garbage in [
        raw::startup(&super::common::superuser()),
        vec![0x16, 3, 1, 0, 5, 1, 0, 0, 1, 3],
        vec![0x16, 3, 1, 0xff, 0xff],
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![],
    ] {
        let mut raw = Raw::connect(&server);
        raw.send(&raw::request(raw::SSL_REQUEST));
        assert_eq!(raw.byte(), b'S');
        raw.try_send(&garbage);
        raw.finish_sending();
        raw.rest();
        serves(&server).await;
    }
    // What was sent before the handshake could be anybody's.
    let mut raw = Raw::connect(&server);
    let startup = raw::startup(&super::common::superuser());
    raw.send(&[raw::request(raw::SSL_REQUEST), startup].concat());
    assert_eq!(
        told(&raw.until_closed()),
        "E[08P01 received unencrypted data after SSL request]"
    );
    // TLS at once, cut short.
    let mut raw = Raw::connect(&server);
    raw.send(&[0x16, 3, 1]);
    raw.finish_sending();
    raw.rest();
    drop(raw);
    all_given_back(&server, sockets).await;
    assert_no_panic(&server);
    server.stop();
}

#[test]
fn a_certificate_without_its_key_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let [cert, key] = certificate(folder.path());
    let other = tempfile::tempdir().expect("a folder");
    let [_, wrong] = certificate(other.path());
    for (arguments, expected) in [
        (vec!["--tls-cert", &cert], "tls_key"),
        (vec!["--tls-key", &key], "tls_cert"),
        (
            vec!["--tls-cert", "/no/such.crt", "--tls-key", &key],
            "/no/such.crt",
        ),
        (vec!["--tls-cert", &cert, "--tls-key", &cert], "private key"),
        (
            vec!["--tls-cert", &cert, "--tls-key", &wrong],
            "cannot use the certificate",
        ),
    ] {
        let data = tempfile::tempdir().expect("a folder");
        let Err(error) = Server::start_in(data.path(), &arguments) else {
            panic!("it started with {arguments:?}");
        };
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
}

#[tokio::test]
async fn a_reload_keeps_what_works() {
    let folder = tempfile::tempdir().expect("a folder");
    let [cert, key] = certificate(folder.path());
    let server = Server::with_tpch(&["--tls-cert", &cert, "--tls-key", &key]);
    let mut raw = Raw::log_in(&server);
    let hang_up = || {
        let pid = server.pid().to_string();
        let sent = Command::new("kill").args(["-HUP", &pid]).status();
        assert!(sent.is_ok_and(|s| s.success()), "cannot send SIGHUP");
    };
    hang_up();
    super::eventually("it is read again", async || {
        server.log().contains("are read again")
    })
    .await;
    std::fs::write(&key, "nonsense").expect("a file");
    hang_up();
    super::eventually("it is not read again", async || {
        server.log().contains("the old certificate stays in use")
    })
    .await;
    let mut other = Raw::connect(&server);
    other.send(&raw::request(raw::SSL_REQUEST));
    assert_eq!(other.byte(), b'S');
    assert_eq!(kinds(&raw.query("SELECT 1")), "TDCZ");
    assert_eq!(sqlstate(&raw.query("SELECT nothing")), "42703");
    drop((raw, other));
    server.stop();
}
