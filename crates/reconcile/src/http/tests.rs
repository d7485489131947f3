//! What a server sees of a request in plain text, and what the caller hears of a server that fails.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::*;

/// Reads one request without a body, headers in lower case; none when the client has closed the connection.
async fn read(stream: &mut TcpStream) -> Option<String> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match stream.read(&mut byte).await {
            Ok(1) => request.push(byte[0]),
            _ => return None,
        }
    }
    Some(String::from_utf8_lossy(&request).to_lowercase())
}

/// A server that answers each request on each connection with these bytes, then with nothing and the end; what it was sent
/// on each connection.
async fn server(answers: &'static [&'static str]) -> (String, tokio::task::JoinHandle<Vec<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/a?b=c", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let (mut left, mut seen) = (answers.iter(), Vec::new());
        while left.len() > 0 {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut sent = Vec::new();
            while let Some(answer) = left.clone().next() {
                let Some(request) = read(&mut stream).await else { break };
                left.next();
                sent.push(request);
                stream.write_all(answer.as_bytes()).await.unwrap();
                if !answer.contains("200 OK") {
                    break;
                }
            }
            seen.push(sent);
        }
        seen
    });
    (address, serving)
}

fn get(url: &str) -> http::Request<Bytes> {
    http::Request::get(url).body(Bytes::new()).unwrap()
}

#[tokio::test]
async fn one_connection_serves_request_after_request_and_each_says_who_asks() {
    const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhere";
    let (url, serving) = server(&[OK, OK]).await;
    let http = Http::new("slipway/1");
    let mut own = get(&url);
    own.headers_mut().insert("user-agent", "somebody".parse().unwrap());
    own.headers_mut().insert("accept", "text/plain".parse().unwrap());
    for request in [get(&url), own] {
        let answer = http.send(request, &Endpoint::default()).await.unwrap();
        assert_eq!((answer.status().as_u16(), &answer.body()[..]), (200, &b"here"[..]));
    }
    let seen = serving.await.unwrap();
    let [requests] = &seen[..] else { panic!("one connection: {seen:?}") };
    let host = url.split('/').nth(2).unwrap();
    for line in
        ["get /a?b=c http/1.1\r\n", &format!("host: {host}\r\n"), "user-agent: slipway/1\r\n", "accept: */*\r\n"]
    {
        assert!(requests[0].contains(line), "{line}: {}", requests[0]);
    }
    assert!(requests[1].contains("user-agent: somebody\r\n") && requests[1].contains("accept: text/plain\r\n"));
}

#[tokio::test]
async fn a_server_that_fails_is_told_from_one_that_is_too_slow_or_says_too_much() {
    let http = Http::new("slipway/1");
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let error = http.send(get(&format!("http://{address}/")), &Endpoint::default()).await.unwrap_err();
    assert!(matches!(&error, HttpError::Unreachable(text) if text.contains("Connection refused")), "{error:?}");
    assert!(error.is_transient());

    let (url, _serving) = server(&["HTTP/1.1 201 Created\r\nContent-Length: 9\r\n\r\nhalf"]).await;
    let error = http.send(get(&url), &Endpoint::default()).await.unwrap_err();
    assert!(matches!(error, HttpError::Unreachable(_)), "{error:?}");

    let (url, _serving) = server(&["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfull body"]).await;
    let error = http.send(get(&url), &Endpoint { limit: 8, ..Endpoint::default() }).await.unwrap_err();
    assert!(matches!(error, HttpError::TooLarge(8)), "{error:?}");

    let (url, _serving) = server(&["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "never sent"]).await;
    let short = Endpoint { timeout: Duration::from_millis(100), ..Endpoint::default() };
    let error = http.send(get(&url), &short).await.unwrap_err();
    assert!(matches!(error, HttpError::Timeout(_)), "{error:?}");
}

#[tokio::test]
async fn a_login_in_the_address_becomes_a_header_unless_there_is_one() {
    const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let (url, serving) = server(&[OK, OK, OK]).await;
    let http = Http::new("test");
    let with = |login: &str| get(&url.replacen("://", &format!("://{login}@"), 1));
    let mut own = with("u:p");
    own.headers_mut().insert("authorization", "Bearer T".parse().unwrap());
    for request in [with("u:p"), with("%C3%BC%40x"), own] {
        assert_eq!(http.send(request, &Endpoint::default()).await.unwrap().status(), 200);
    }
    drop(http);
    let sent = serving.await.unwrap().concat();
    let host = url.split('/').nth(2).unwrap();
    for (request, expected) in sent.iter().zip(["basic dtpw", "basic w7xaeDo=", "bearer t"]) {
        assert!(request.starts_with("get /a?b=c http/1.1\r\n"), "{request}");
        assert!(request.contains(&format!("authorization: {}\r\n", expected.to_lowercase())), "{request}");
        assert!(request.contains(&format!("host: {host}\r\n")), "{request}");
    }
    assert_eq!(sent.len(), 3);
}
