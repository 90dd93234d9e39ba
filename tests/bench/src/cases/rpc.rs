//! A call from worker to worker beside an invocation from outside, both durable on both sides.

use super::{ADD, ONE, Scene};
use crate::report::{Figure, Target};
use crate::samples::Samples;
use crate::server::{Server, invocation};
use crate::{guest, load};
use anyhow::Result;
use emet_model::WorkerId;

const ROUNDS: usize = 5;
/// Pairs of calls within one invocation, so that the cost of the invocation itself does not count.
const PAIRS: usize = 100;

pub(super) async fn measure(scene: &Scene) -> Result<Vec<Figure>> {
    let server = Server::start(&scene.work, &[]).await?;
    let counter = server.upload("counter", guest::prebuilt("counter")?).await?;
    let caller = server.upload("caller", guest::prebuilt("rpc-caller")?).await?;
    let direct = invocation(&WorkerId::new(counter, "direct"), ADD);
    let path = invocation(&WorkerId::new(caller, "caller"), "test:rpc-caller/api.{ping-pong}");
    let (first, second) = (WorkerId::new(counter, "a").urn(), WorkerId::new(counter, "b").urn());
    let body = format!(
        r#"{{"params":[{{"value":"{first}"}},{{"value":"{second}"}},{{"value":{PAIRS}}}]}}"#
    );
    let (mut calls, mut invocations) = (Samples::default(), Samples::default());
    load::sequential(server.port, &direct, ONE, scene.count(200)).await?;
    load::sequential(server.port, &path, &body, 1).await?;
    for _ in 0..ROUNDS {
        invocations
            .add(load::sequential(server.port, &direct, ONE, scene.count(500)).await?.median());
        let times = load::sequential(server.port, &path, &body, scene.count(10).min(5)).await?;
        calls.add(times.median() / (2 * PAIRS) as f64);
    }
    let yardstick = Some(("ms direct invocation", invocations.median()));
    Ok(vec![Figure::new("rpc_round_trip", "ms", &calls, yardstick, Target::RatioAtMost(1.5))])
}
