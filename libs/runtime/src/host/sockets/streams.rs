//! The streams of TCP connections, called by `wasi:io`: what comes and goes is recorded.

use super::Held;
use super::codes::{code_of, code_of_error, reset, text_of};
use crate::WorkerCtx;
use crate::log::{HostFn, HostFnInfo};
use bytes::Bytes;
use wasmtime::component::Resource;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::bindings::io::streams::{HostInputStream as _, HostOutputStream as _};
use wasmtime_wasi::p2::bindings::sockets::network::ErrorCode;
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, InputStream, OutputStream, Pollable, StreamError, TcpSocket,
};

/// An error without the name of a code is the end of the stream.
type Piece<T> = Result<T, Option<String>>;
type Streamed<T> = Result<T, StreamError>;

const READ: HostFn<u64, Piece<Vec<u8>>> = HostFn::read_remote("sockets::tcp_stream::read");
const SKIP: HostFn<u64, Piece<u64>> = HostFn::read_remote("sockets::tcp_stream::skip");
const CHECK_WRITE: HostFn<(), Piece<u64>> = HostFn::read_remote("sockets::tcp_stream::check_write");
const WRITE: HostFn<u64, Piece<()>> = HostFn::write_remote("sockets::tcp_stream::write");
const FLUSH: HostFn<(), Piece<()>> = HostFn::read_remote("sockets::tcp_stream::flush");

pub(super) const FUNCTIONS: &[&dyn HostFnInfo] = &[&READ, &SKIP, &CHECK_WRITE, &WRITE, &FLUSH];

/// A stream of a connection that was lost with an earlier life of the worker.
struct Lost;

#[async_trait]
impl Pollable for Lost {
    async fn ready(&mut self) {}
}

#[async_trait]
impl InputStream for Lost {
    fn read(&mut self, _size: usize) -> Streamed<Bytes> {
        Err(reset())
    }
}

#[async_trait]
impl OutputStream for Lost {
    fn write(&mut self, _bytes: Bytes) -> Streamed<()> {
        Err(reset())
    }

    fn flush(&mut self) -> Streamed<()> {
        Err(reset())
    }

    fn check_write(&mut self) -> Streamed<usize> {
        Err(reset())
    }
}

fn recordable<T>(result: Streamed<T>) -> Streamed<Piece<T>> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(StreamError::Closed) => Ok(Err(None)),
        Err(StreamError::LastOperationFailed(error)) => {
            let code = code_of_error(&error).unwrap_or(ErrorCode::Unknown);
            Ok(Err(Some(text_of(code).to_owned())))
        }
        Err(trap) => Err(trap),
    }
}

fn given<T>(piece: Piece<T>) -> Streamed<T> {
    piece.map_err(|code| match code {
        None => StreamError::Closed,
        Some(code) => StreamError::LastOperationFailed(code_of(&code).into()),
    })
}

/// One call of a stream: its recorded outcome; or what the connection answers, which is recorded.
macro_rules! piece {
    ($kind:ty, $ctx:ident, $function:expr, $request:expr, $stream:expr, $act:expr) => {
        match $ctx.journal.replay($function).await.map_err(StreamError::Trap)? {
            Some(piece) => {
                $ctx.lose_stream::<$kind>($stream, Box::new(Lost))?;
                given(piece)
            }
            None => {
                $ctx.before_socket_call($function).await.map_err(StreamError::Trap)?;
                let piece = recordable($act)?;
                $ctx.journal
                    .record($function, $request, &piece)
                    .await
                    .map_err(StreamError::Trap)?;
                given(piece)
            }
        }
    };
}

impl WorkerCtx {
    /// The streams of a connection; ones that are lost, if the connection is not there.
    pub(super) fn hold_streams(
        &mut self,
        socket: &Resource<Held<TcpSocket>>,
        made: Option<(Resource<DynInputStream>, Resource<DynOutputStream>)>,
    ) -> wasmtime::Result<(Resource<DynInputStream>, Resource<DynOutputStream>)> {
        let (input, output) = match made {
            Some(streams) => streams,
            None => {
                let (input, output): (DynInputStream, DynOutputStream) =
                    (Box::new(Lost), Box::new(Lost));
                (self.table.push_child(input, socket)?, self.table.push_child(output, socket)?)
            }
        };
        self.connections.inputs.insert(input.rep());
        self.connections.outputs.insert(output.rep());
        Ok((input, output))
    }

    /// What a connection gave before is in the log and was not repeated: if this life has made the
    /// connection, it is not in the state that the guest knows.
    fn lose_stream<T: Send + 'static>(&mut self, at: u32, lost: T) -> Result<(), StreamError> {
        *self.table.get_mut(&Resource::<T>::new_borrow(at))? = lost;
        Ok(())
    }

    /// Whether a stream is what comes from a connection.
    pub(in crate::host) fn is_connection_input(&self, stream: &Resource<DynInputStream>) -> bool {
        self.connections.inputs.contains(&stream.rep())
    }

    /// Whether a stream is what goes to a connection.
    pub(in crate::host) fn is_connection_output(&self, stream: &Resource<DynOutputStream>) -> bool {
        self.connections.outputs.contains(&stream.rep())
    }

    /// A stream was dropped.
    pub(in crate::host) fn forget_connection_input(&mut self, rep: u32) {
        self.connections.inputs.remove(&rep);
    }

    /// A stream was dropped.
    pub(in crate::host) fn forget_connection_output(&mut self, rep: u32) {
        self.connections.outputs.remove(&rep);
    }

    /// Reads what has come; if asked to, waits for it.
    pub(in crate::host) async fn read_connection(
        &mut self,
        stream: Resource<DynInputStream>,
        length: u64,
        blocking: bool,
    ) -> Streamed<Vec<u8>> {
        let (ctx, at) = (self, stream.rep());
        piece!(DynInputStream, ctx, &READ, length, at, {
            if blocking {
                ctx.before_waiting().await.map_err(StreamError::Trap)?;
                ctx.table.blocking_read(stream, length).await
            } else {
                ctx.table.read(stream, length)
            }
        })
    }

    /// Skips what has come; if asked to, waits for it.
    pub(in crate::host) async fn skip_connection(
        &mut self,
        stream: Resource<DynInputStream>,
        length: u64,
        blocking: bool,
    ) -> Streamed<u64> {
        let (ctx, at) = (self, stream.rep());
        piece!(DynInputStream, ctx, &SKIP, length, at, {
            if blocking {
                ctx.before_waiting().await.map_err(StreamError::Trap)?;
                ctx.table.blocking_skip(stream, length).await
            } else {
                ctx.table.skip(stream, length)
            }
        })
    }

    /// How much may be written now.
    pub(in crate::host) async fn check_connection(
        &mut self,
        stream: Resource<DynOutputStream>,
    ) -> Streamed<u64> {
        let (ctx, at) = (self, stream.rep());
        piece!(DynOutputStream, ctx, &CHECK_WRITE, (), at, ctx.table.check_write(stream))
    }

    /// Writes; if asked to, waits until the system has taken it.
    pub(in crate::host) async fn write_connection(
        &mut self,
        stream: Resource<DynOutputStream>,
        bytes: Vec<u8>,
        blocking: bool,
    ) -> Streamed<()> {
        let (ctx, at) = (self, stream.rep());
        piece!(DynOutputStream, ctx, &WRITE, bytes.len() as u64, at, {
            if blocking {
                ctx.table.blocking_write_and_flush(stream, bytes.clone()).await
            } else {
                ctx.table.write(stream, bytes.clone())
            }
        })
    }

    /// Asks for what was written to be sent; if asked to, waits for it.
    pub(in crate::host) async fn flush_connection(
        &mut self,
        stream: Resource<DynOutputStream>,
        blocking: bool,
    ) -> Streamed<()> {
        let (ctx, at) = (self, stream.rep());
        piece!(DynOutputStream, ctx, &FLUSH, (), at, {
            if blocking { ctx.table.blocking_flush(stream).await } else { ctx.table.flush(stream) }
        })
    }
}
