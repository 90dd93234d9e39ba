//! A keep-alive HTTP/1.1 connection that costs next to nothing, so that a measurement shows the
//! server and not its client. Answers must carry a `content-length`.

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One connection.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    host: String,
}

impl Connection {
    /// Connects to a port of this machine.
    pub(crate) async fn open(port: u16) -> Result<Self> {
        let host = format!("127.0.0.1:{port}");
        let stream =
            TcpStream::connect(&host).await.with_context(|| format!("cannot connect to {host}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(4096), host })
    }

    /// Sends a POST with a JSON body and gives the body of the answer, which must have status 200.
    pub(crate) async fn post(&mut self, path: &str, body: &str) -> Result<Vec<u8>> {
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.host,
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await?;
        self.buffer.clear();
        let head = loop {
            if let Some(at) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            self.read_more().await?;
        };
        let (ok, length) = parse_head(self.buffer.get(..head).unwrap_or_default())?;
        while self.buffer.len() < head + length {
            self.read_more().await?;
        }
        let body = self.buffer.get(head..head + length).unwrap_or_default().to_vec();
        if !ok {
            bail!("{path}: {}", String::from_utf8_lossy(&self.buffer));
        }
        Ok(body)
    }

    async fn read_more(&mut self) -> Result<()> {
        let read = self.stream.read_buf(&mut self.buffer).await?;
        if read == 0 {
            bail!("the server closed the connection");
        }
        Ok(())
    }
}

/// Whether the status is 200, and the length of the body.
fn parse_head(head: &[u8]) -> Result<(bool, usize)> {
    let head = std::str::from_utf8(head)?;
    let mut lines = head.split("\r\n");
    let ok = lines.next().is_some_and(|status| status.starts_with("HTTP/1.1 200"));
    let length = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let (_, length) = length.context("an answer without content-length")?;
    Ok((ok, length.trim().parse()?))
}
