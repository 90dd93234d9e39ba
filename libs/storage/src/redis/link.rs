//! [`Link`]: one connection to one server, made when it is needed and again after it broke.

use super::failure::Failure;
use super::scripts;
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, ConnectionInfo, Pipeline, RedisResult, Value};
use std::sync::Arc;
use std::time::Duration;

/// How long a server may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// To accept a connection.
    pub(super) connect: Duration,
    /// To answer.
    pub(super) answer: Duration,
}

/// A connection that is renewed.
pub(super) struct Link {
    target: Arc<Target>,
    open: Arc<Open>,
}

/// What to connect to.
struct Target {
    /// Where the server may be; the first master of them is taken.
    servers: Vec<ConnectionInfo>,
    patience: Patience,
    /// Whether the server must be a master; if so the scripts are made known to it.
    master: bool,
}

#[derive(Default)]
struct Open {
    current: Mutex<Current>,
    /// Held while a connection is made, by a task of its own: a caller that is not polled for a while
    /// must not keep it from the others.
    making: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Current {
    connection: Option<MultiplexedConnection>,
    /// Counts connections, so that the end of an old one does not close its successor.
    number: u64,
}

impl Link {
    /// To a master.
    pub(super) fn new(servers: Vec<ConnectionInfo>, patience: Patience) -> Self {
        Self::to(Target { servers, patience, master: true })
    }

    /// To a server of any role, to ask it about itself.
    pub(super) fn to_any(servers: Vec<ConnectionInfo>, patience: Patience) -> Self {
        Self::to(Target { servers, patience, master: false })
    }

    fn to(target: Target) -> Self {
        Self { target: Arc::new(target), open: Arc::default() }
    }

    /// Sends commands at once and gives their results in order. An error means that the
    /// connection failed.
    pub(super) async fn send(
        &self,
        commands: Vec<Cmd>,
    ) -> Result<Vec<Result<Value, Failure>>, Failure> {
        let (mut connection, number) = self.connection().await?;
        let results = exchange(&mut connection, commands).await;
        let ended = match &results {
            Ok(results) => results.iter().any(|r| r.as_ref().is_err_and(Failure::ends_connection)),
            Err(_) => true,
        };
        if ended {
            self.open.close(number);
        }
        results
    }

    async fn connection(&self) -> Result<(MultiplexedConnection, u64), Failure> {
        if let Some(open) = self.open.current() {
            return Ok(open);
        }
        let (target, open) = (self.target.clone(), self.open.clone());
        let made = tokio::spawn(async move {
            let _making = open.making.lock().await;
            match open.current() {
                Some(made) => Ok(made),
                None => Ok(open.renew(target.connect().await?)),
            }
        });
        made.await.unwrap_or_else(|error| Err(Failure::Unready(error.to_string())))
    }
}

impl Open {
    fn current(&self) -> Option<(MultiplexedConnection, u64)> {
        let current = self.current.lock();
        current.connection.clone().map(|connection| (connection, current.number))
    }

    fn renew(&self, connection: MultiplexedConnection) -> (MultiplexedConnection, u64) {
        let mut current = self.current.lock();
        current.number = current.number.wrapping_add(1);
        current.connection = Some(connection.clone());
        (connection, current.number)
    }

    fn close(&self, number: u64) {
        let mut current = self.current.lock();
        if current.number == number {
            current.connection = None;
        }
    }
}

impl Target {
    async fn connect(&self) -> Result<MultiplexedConnection, Failure> {
        let mut failure = Failure::Unready("no Redis server is configured".into());
        for server in &self.servers {
            match self.connect_to(server).await {
                Ok(connection) => return Ok(connection),
                Err(error) => failure = Failure::Unready(format!("{}: {error}", server.addr())),
            }
        }
        Err(failure)
    }

    async fn connect_to(&self, server: &ConnectionInfo) -> Result<MultiplexedConnection, String> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.patience.connect))
            .set_response_timeout(Some(self.patience.answer));
        let text = |error: redis::RedisError| error.to_string();
        let client = Client::open(server.clone()).map_err(text)?;
        let mut connection =
            client.get_multiplexed_async_connection_with_config(&config).await.map_err(text)?;
        if self.master {
            prepare(&mut connection).await?;
        }
        Ok(connection)
    }
}

/// Checks that the server is a master, and makes the scripts known to it.
async fn prepare(connection: &mut MultiplexedConnection) -> Result<(), String> {
    let mut setup = vec![redis::cmd("ROLE")];
    setup.extend(scripts::load_all());
    let results = exchange(connection, setup).await.map_err(|failure| failure.text().to_owned())?;
    let mut results = results.into_iter();
    // A server may forbid ROLE; a replica still refuses writes.
    if let Some(Ok(Value::Array(role))) = results.next()
        && let Some(Value::BulkString(role)) = role.first()
        && role != b"master"
    {
        return Err(format!("the server is a {}, not a master", String::from_utf8_lossy(role)));
    }
    match results.find_map(Result::err) {
        Some(failure) => Err(failure.text().to_owned()),
        None => Ok(()),
    }
}

async fn exchange(
    connection: &mut MultiplexedConnection,
    commands: Vec<Cmd>,
) -> Result<Vec<Result<Value, Failure>>, Failure> {
    let count = commands.len();
    let mut pipeline = Pipeline::with_capacity(count);
    for command in commands {
        pipeline.add_command(command);
    }
    let results: RedisResult<Vec<RedisResult<Value>>> =
        pipeline.ignore_errors().query_async(connection).await;
    let results = results.map_err(|error| Failure::Unknown(error.to_string()))?;
    if results.len() != count {
        return Err(Failure::Unknown(format!("{} answers to {count} commands", results.len())));
    }
    Ok(results.into_iter().map(|r| r.map_err(|error| Failure::of_answer(&error))).collect())
}
