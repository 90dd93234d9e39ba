//! Answers incoming HTTP requests with what it was sent.
wit_bindgen::generate!({ path: "../../target/guest-wit", generate_all, inline: r#"
package test:incoming-http;

world guest {
    import wasi:http/types@0.2.0;
    export wasi:http/incoming-handler@0.2.0;
}
"# });

use exports::wasi::http::incoming_handler::Guest;
use wasi::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};
use wasi::io::streams::StreamError;

struct Handler;
export!(Handler);

impl Guest for Handler {
    /// `/status/<n>` answers with that status, `/silent` not at all, `/error` with an error code; everything else with
    /// 200. The body is method, path and request body, one a line; request headers that begin with `x-` come back, and `x-from`
    /// has scheme and authority.
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        match path.as_str() {
            "/silent" => return,
            "/error" => {
                let code = wasi::http::types::ErrorCode::InternalError(Some("as asked".to_owned()));
                return ResponseOutparam::set(out, Err(code));
            }
            _ => {}
        }
        let mut text = format!("{:?}\n{path}\n", request.method()).into_bytes();
        let body = request.consume().unwrap();
        let stream = body.stream().unwrap();
        loop {
            match stream.blocking_read(65536) {
                Ok(bytes) => text.extend(bytes),
                Err(StreamError::Closed) => break,
                Err(e) => panic!("{e:?}"),
            }
        }

        let headers = Fields::new();
        headers.append("content-type", b"text/plain").unwrap();
        let from = format!("{:?} {}", request.scheme(), request.authority().unwrap_or_default());
        headers.append("x-from", from.as_bytes()).unwrap();
        for (name, value) in request.headers().entries() {
            if name.starts_with("x-") {
                headers.append(&name, &value).unwrap();
            }
        }
        let response = OutgoingResponse::new(headers);
        if let Some(status) = path.strip_prefix("/status/").and_then(|s| s.parse().ok()) {
            response.set_status_code(status).unwrap();
        }
        let body = response.body().unwrap();
        ResponseOutparam::set(out, Ok(response));
        let stream = body.write().unwrap();
        for chunk in text.chunks(4096) {
            stream.blocking_write_and_flush(chunk).unwrap();
        }
        drop(stream);
        OutgoingBody::finish(body, None).unwrap();
    }
}
