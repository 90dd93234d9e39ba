//! Outgoing HTTP requests over the raw interface.
wit_bindgen::generate!({ path: "../../target/guest-wit", generate_all, inline: r#"
package test:http;

interface api {
    record response { status: u16, headers: list<tuple<string, string>>, body: string }

    /// A failed exchange is an error here and in the functions below.
    get: func(url: string) -> result<response, string>;
    get-with-headers: func(url: string, headers: list<tuple<string, string>>) -> result<response, string>;
    /// Writes each chunk separately, in a chunked body.
    post: func(url: string, chunks: list<string>) -> result<response, string>;
    /// Sizes of the pieces in which the body came, at most `chunk` bytes each.
    get-chunks: func(url: string, chunk: u64) -> result<list<u64>, string>;
    /// Reads through non-blocking reads and a pollable.
    get-polling: func(url: string) -> result<string, string>;
    /// Skips `n` bytes of the body and returns the rest.
    get-skipping: func(url: string, n: u64) -> result<string, string>;
    /// Sends both requests before reading either; the bodies of the first and of the second.
    two-overlapping: func(first: string, second: string) -> result<tuple<string, string>, string>;
    /// Trailers after the body.
    trailers: func(url: string) -> result<list<tuple<string, string>>, string>;
    /// Sends a request, keeps the response, and returns its status.
    start-request: func(url: string) -> result<u16, string>;
    /// Reads some of the kept response: one read of at most `n` bytes, empty at the end.
    read-some: func(n: u64) -> result<string, string>;
    /// Reads the rest of the kept response, and drops it.
    read-rest: func() -> result<string, string>;
    /// Fails within these milliseconds if nothing comes.
    get-with-timeout: func(url: string, ms: u64) -> result<response, string>;
}

world guest {
    import wasi:http/types@0.2.0;
    import wasi:http/outgoing-handler@0.2.0;
    export api;
}
"# });

include!("parts/http.rs");
include!("parts/http_body.rs");

use exports::test::http::api::{Guest, Response};
use std::cell::RefCell;
use wasi::http::types::{OutgoingBody, RequestOptions};

struct Http;
export!(Http);

type Outcome<T> = Result<T, String>;

// A stream must be dropped before its body, which is the order of declaration.
struct Kept {
    stream: InputStream,
    _body: IncomingBody,
    _response: IncomingResponse,
}

thread_local!(static KEPT: RefCell<Option<Kept>> = const { RefCell::new(None) });

fn fetch(url: &str) -> Outcome<IncomingResponse> {
    response_of(&send(new_request(&Method::Get, url, &[]))?)
}

fn pairs(fields: &Fields) -> Vec<(String, String)> {
    fields
        .entries()
        .into_iter()
        .map(|(k, v)| (k, String::from_utf8_lossy(&v).into_owned()))
        .collect()
}

fn whole(response: &IncomingResponse) -> Outcome<Response> {
    let body = response.consume().map_err(|()| "no body")?;
    Ok(Response {
        status: response.status(),
        headers: pairs(&response.headers()),
        body: body_text(&body)?,
    })
}

fn no_body(e: ()) -> String {
    format!("no body: {e:?}")
}

impl Guest for Http {
    fn get(url: String) -> Outcome<Response> {
        whole(&fetch(&url)?)
    }

    fn get_with_headers(url: String, headers: Vec<(String, String)>) -> Outcome<Response> {
        whole(&response_of(&send(new_request(&Method::Get, &url, &headers))?)?)
    }

    fn post(url: String, chunks: Vec<String>) -> Outcome<Response> {
        let request = new_request(&Method::Post, &url, &[]);
        let body = request.body().map_err(no_body)?;
        let stream = body.write().map_err(no_body)?;
        let future = send(request)?;
        for chunk in chunks {
            stream.blocking_write_and_flush(chunk.as_bytes()).map_err(|e| format!("{e:?}"))?;
        }
        drop(stream);
        OutgoingBody::finish(body, None).map_err(|e| format!("{e:?}"))?;
        whole(&response_of(&future)?)
    }

    fn get_chunks(url: String, chunk: u64) -> Outcome<Vec<u64>> {
        let response = fetch(&url)?;
        let body = response.consume().map_err(no_body)?;
        let mut sizes = Vec::new();
        read_all(&body.stream().map_err(no_body)?, chunk, |b| sizes.push(b.len() as u64))?;
        Ok(sizes)
    }

    fn get_polling(url: String) -> Outcome<String> {
        let response = fetch(&url)?;
        let body = response.consume().map_err(no_body)?;
        let stream = body.stream().map_err(no_body)?;
        let pollable = stream.subscribe();
        let mut bytes = Vec::new();
        loop {
            pollable.block();
            match stream.read(4096) {
                Ok(more) => bytes.extend(more),
                Err(StreamError::Closed) => return Ok(String::from_utf8_lossy(&bytes).into_owned()),
                Err(StreamError::LastOperationFailed(e)) => return Err(e.to_debug_string()),
            }
        }
    }

    fn get_skipping(url: String, n: u64) -> Outcome<String> {
        let response = fetch(&url)?;
        let body = response.consume().map_err(no_body)?;
        let stream = body.stream().map_err(no_body)?;
        let mut left = n;
        while left > 0 {
            left -= stream.blocking_skip(left).map_err(|e| format!("{e:?}"))?;
        }
        let mut bytes = Vec::new();
        read_all(&stream, 65536, |b| bytes.extend_from_slice(b))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn two_overlapping(first: String, second: String) -> Outcome<(String, String)> {
        let a = send(new_request(&Method::Get, &first, &[]))?;
        let b = send(new_request(&Method::Get, &second, &[]))?;
        // The second is read first, so that the two exchanges cross in the log.
        let b = whole(&response_of(&b)?)?;
        let a = whole(&response_of(&a)?)?;
        Ok((a.body, b.body))
    }

    fn trailers(url: String) -> Outcome<Vec<(String, String)>> {
        let response = fetch(&url)?;
        let body = response.consume().map_err(no_body)?;
        body_text(&body)?;
        let trailers = IncomingBody::finish(body);
        trailers.subscribe().block();
        match trailers.get() {
            Some(Ok(Ok(Some(fields)))) => Ok(pairs(&fields)),
            Some(Ok(Ok(None))) => Ok(Vec::new()),
            other => Err(format!("{other:?}")),
        }
    }

    fn start_request(url: String) -> Outcome<u16> {
        let response = fetch(&url)?;
        let status = response.status();
        let body = response.consume().map_err(no_body)?;
        let stream = body.stream().map_err(no_body)?;
        KEPT.set(Some(Kept { stream, _body: body, _response: response }));
        Ok(status)
    }

    fn read_some(n: u64) -> Outcome<String> {
        KEPT.with_borrow(|kept| {
            let kept = kept.as_ref().ok_or("no response is kept")?;
            match kept.stream.blocking_read(n) {
                Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
                Err(StreamError::Closed) => Ok(String::new()),
                Err(StreamError::LastOperationFailed(e)) => Err(e.to_debug_string()),
            }
        })
    }

    fn read_rest() -> Outcome<String> {
        let kept = KEPT.take().ok_or("no response is kept")?;
        let mut bytes = Vec::new();
        read_all(&kept.stream, 65536, |b| bytes.extend_from_slice(b))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn get_with_timeout(url: String, ms: u64) -> Outcome<Response> {
        let options = RequestOptions::new();
        options.set_connect_timeout(Some(ms * 1_000_000)).map_err(|()| "timeout refused")?;
        options.set_first_byte_timeout(Some(ms * 1_000_000)).map_err(|()| "timeout refused")?;
        let request = new_request(&Method::Get, &url, &[]);
        let future =
            outgoing_handler::handle(request, Some(options)).map_err(|e| format!("{e:?}"))?;
        whole(&response_of(&future)?)
    }
}
