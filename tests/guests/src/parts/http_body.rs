// Bodies of responses, read to their end. Included beside http.rs.

use wasi::http::types::IncomingBody;
use wasi::io::streams::{InputStream, StreamError};

/// Reads to the end, up to `chunk` bytes at a time, and calls `f` with each piece.
fn read_all(stream: &InputStream, chunk: u64, mut f: impl FnMut(&[u8])) -> Result<(), String> {
    loop {
        match stream.blocking_read(chunk) {
            Ok(bytes) => f(&bytes),
            Err(StreamError::Closed) => return Ok(()),
            Err(StreamError::LastOperationFailed(e)) => return Err(e.to_debug_string()),
        }
    }
}

fn body_text(body: &IncomingBody) -> Result<String, String> {
    let stream = body.stream().map_err(|()| "no stream")?;
    let mut bytes = Vec::new();
    read_all(&stream, 65536, |b| bytes.extend_from_slice(b))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
