//! Looks from time to time whether what a process depends on answers, for its health check.

use super::serving::Missing;
use emet_worker_executor::Stores;
use std::time::Duration;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// Pause between looks, and how long an answer may take.
const EVERY: Duration = Duration::from_secs(2);
const WITHIN: Duration = Duration::from_secs(5);

/// What a process depends on.
#[derive(Default)]
pub(crate) struct Dependencies {
    pub(crate) stores: Option<Stores>,
    pub(crate) component_service: Option<Channel>,
}

impl Dependencies {
    /// Keeps the list of what does not answer up to date, for as long as the process lives.
    pub(crate) fn watch(self) -> Missing {
        let missing = Missing::default();
        let known = missing.clone();
        tokio::spawn(async move {
            loop {
                known.set(self.look().await);
                tokio::time::sleep(EVERY).await;
            }
        });
        missing
    }

    async fn look(&self) -> Vec<String> {
        let mut missing = Vec::new();
        if let Some(stores) = &self.stores {
            if !answers(stores.kv.get("health", b"probe")).await {
                missing.push("the key-value store does not answer".to_owned());
            }
            if !answers(stores.blobs.head("health/probe")).await {
                missing.push("the blob store does not answer".to_owned());
            }
        }
        if let Some(channel) = &self.component_service
            && !serves(channel.clone()).await
        {
            missing.push("the component service does not answer".to_owned());
        }
        missing
    }
}

async fn answers<T, E>(question: impl Future<Output = Result<T, E>>) -> bool {
    matches!(tokio::time::timeout(WITHIN, question).await, Ok(Ok(_)))
}

async fn serves(channel: Channel) -> bool {
    let mut client = HealthClient::new(channel);
    let asked = client.check(HealthCheckRequest { service: String::new() });
    match tokio::time::timeout(WITHIN, asked).await {
        Ok(Ok(reply)) => reply.into_inner().status() == ServingStatus::Serving,
        _ => false,
    }
}
