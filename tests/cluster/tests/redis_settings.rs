//! What the processes of a cluster say of a Redis that can lose acknowledged writes.

use emet_test_cluster::{Failure, binary};
use emet_test_servers::{RedisServer, S3Server, free_port};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// A process that uses Redis, and ends with its handle.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        // One that has ended already needs no end.
        drop(self.0.kill().and_then(|()| self.0.wait()));
    }
}

impl Service {
    fn start(redis: &RedisServer, s3: &S3Server, options: &[&str]) -> Result<Self, Failure> {
        let mut command = Command::new(binary()?);
        command.args(["component-service", "--listen", &format!("127.0.0.1:{}", free_port())]);
        command.args(["--redis", &redis.url()]).args(options).envs(s3.environment());
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        Ok(Self(command.spawn()?))
    }

    /// The first line of its log that contains one of the texts.
    fn says(&mut self, texts: &[&str]) -> Result<String, Failure> {
        let log = self.0.stderr.take().ok_or("the log was read before")?;
        for line in BufReader::new(log).lines() {
            let line = line?;
            if texts.iter().any(|text| line.contains(text)) {
                return Ok(line);
            }
        }
        Err(format!("it ended without a word of {texts:?}").into())
    }
}

const READY: &str = "listens on";

#[test]
fn a_redis_that_loses_writes_is_warned_of_and_refused_on_demand() -> Result<(), Failure> {
    let (redis, s3) = (RedisServer::start_with(&[("appendfsync", "everysec")]), S3Server::start());
    let said = Service::start(&redis, &s3, &[])?.says(&["Redis: ", READY])?;
    assert!(said.contains("WARN") && said.contains("everysec"), "{said}");
    let mut refusing = Service::start(&redis, &s3, &["--require-durable"])?;
    let said = refusing.says(&["require_durable", READY])?;
    assert!(said.contains("Redis is not durable"), "{said}");
    assert!(!refusing.0.wait()?.success(), "it ends with a failure");
    Ok(())
}

#[test]
fn a_redis_that_loses_nothing_is_accepted() -> Result<(), Failure> {
    let (redis, s3) = (RedisServer::start(), S3Server::start());
    let said =
        Service::start(&redis, &s3, &["--require-durable"])?.says(&["not durable", READY])?;
    assert!(said.contains(READY), "{said}");
    Ok(())
}
