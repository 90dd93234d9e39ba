//! What a Redis server can append by itself: the ceiling of whatever keeps its log there.

use anyhow::{Result, bail};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Bytes of an entry, about what a small invocation records.
const ENTRY: usize = 200;

/// Appends per second to one stream for each connection, each waiting for its answer.
pub(crate) async fn appends(port: u16, connections: usize, time: Duration) -> Result<f64> {
    let started = Instant::now();
    let loops = (0..connections).map(|n| tokio::spawn(append(port, n, started + time)));
    let mut total = 0;
    for outcome in futures::future::join_all(loops).await {
        total += outcome??;
    }
    Ok(total as f64 / started.elapsed().as_secs_f64())
}

async fn append(port: u16, number: usize, until: Instant) -> Result<u64> {
    let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", port)).await?);
    stream.get_ref().set_nodelay(true)?;
    let (key, data) = (format!("bench-{number}"), "x".repeat(ENTRY));
    let words = ["XADD", &key, "MAXLEN", "~", "10000", "*", "d", &data];
    let command = words
        .iter()
        .fold(format!("*{}\r\n", words.len()), |text, w| format!("{text}${}\r\n{w}\r\n", w.len()));
    let mut count = 0;
    while Instant::now() < until {
        stream.get_mut().write_all(command.as_bytes()).await?;
        read_bulk(&mut stream).await?;
        count += 1;
    }
    Ok(count)
}

/// Reads one answer: the id of the entry.
async fn read_bulk(stream: &mut BufReader<TcpStream>) -> Result<()> {
    let mut head = String::new();
    stream.read_line(&mut head).await?;
    let Some(length) = head.trim_end().strip_prefix('$') else { bail!("Redis answered {head:?}") };
    let mut body = vec![0; length.parse::<usize>()? + 2];
    stream.read_exact(&mut body).await?;
    Ok(())
}
