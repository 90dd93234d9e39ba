//! Durable steps within one invocation.

use super::Scene;
use crate::report::{Figure, Target};
use crate::samples::Samples;
use crate::server::{Server, invocation};
use crate::yardsticks::append_and_sync;
use crate::{guest, load};
use anyhow::Result;
use emet_model::WorkerId;

const ROUNDS: usize = 5;

pub(super) async fn measure(scene: &Scene) -> Result<Vec<Figure>> {
    let server = Server::start(&scene.work, &[]).await?;
    let id = server.upload("steps", guest::steps()?).await?;
    let steps = 1000;
    let body = format!(r#"{{"params":[{{"value":{steps}}}]}}"#);
    let recorded = invocation(&WorkerId::new(id, "recorded"), "recorded");
    let committed = invocation(&WorkerId::new(id, "committed"), "committed");
    let (mut many, mut durable, mut sync) =
        (Samples::default(), Samples::default(), Samples::default());
    for _ in 0..ROUNDS {
        let times = load::sequential(server.port, &recorded, &body, scene.count(20)).await?;
        many.add(steps as f64 / times.median() * 1e3);
        let times =
            load::sequential(server.port, &committed, &body, scene.count(10).min(3)).await?;
        durable.add(steps as f64 / times.median() * 1e3);
        sync.add(1e3 / append_and_sync(&scene.work, scene.count(1000))?.median());
    }
    let yardstick = Some(("per s append + fdatasync", sync.median()));
    Ok(vec![
        Figure::new("recorded_steps", "per s", &many, None, Target::AtLeast(200_000.0)),
        Figure::new("committed_steps", "per s", &durable, yardstick, Target::RatioAtLeast(0.5)),
    ])
}
