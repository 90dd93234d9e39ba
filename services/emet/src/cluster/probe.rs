//! Looks from time to time whether the component service answers, for a health check.

use super::serving::Missing;
use emet_api::grpc::{Channel, is_refusal};
use std::time::Duration;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// Pause between looks, and how long an answer may take.
const EVERY: Duration = Duration::from_secs(2);
const WITHIN: Duration = Duration::from_secs(5);

/// Keeps up to date whether it answers, for as long as the process lives.
pub(crate) fn component_service(channel: Channel) -> Missing {
    let missing = Missing::default();
    let known = missing.clone();
    tokio::spawn(async move {
        loop {
            known.set(trouble(channel.clone()).await.into_iter().collect());
            tokio::time::sleep(EVERY).await;
        }
    });
    missing
}

async fn trouble(channel: Channel) -> Option<String> {
    let mut client = HealthClient::new(channel);
    let asked = client.check(HealthCheckRequest { service: String::new() });
    match tokio::time::timeout(WITHIN, asked).await {
        Ok(Ok(reply)) if reply.get_ref().status() == ServingStatus::Serving => None,
        Ok(Err(status)) if is_refusal(&status) => {
            Some(format!("the component service refuses this process: {}", status.message()))
        }
        _ => Some("the component service does not answer".to_owned()),
    }
}
