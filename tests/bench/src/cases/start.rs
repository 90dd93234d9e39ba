//! How long a server takes until it serves.

use super::{ADD, ONE, Scene};
use crate::report::{Figure, Target};
use crate::samples::Samples;
use crate::server::{Server, invocation};
use crate::{guest, load};
use anyhow::Result;
use emet_model::WorkerId;

const ROUNDS: usize = 5;

pub(super) async fn measure(scene: &Scene) -> Result<Vec<Figure>> {
    let mut server = Server::start(&scene.work, &[]).await?;
    let empty = restarts(&mut server).await?;
    let id = server.upload("counter", guest::prebuilt("counter")?).await?;
    let workers = scene.count(10_000);
    let paths =
        (0..workers).map(|n| invocation(&WorkerId::new(id, format!("w-{n}")), ADD)).collect();
    load::each_once(server.port, paths, ONE, 16).await?;
    let full = restarts(&mut server).await?;
    Ok(vec![
        Figure::new("start_empty", "ms", &empty, None, Target::AtMost(150.0)),
        Figure::new("start_10000", "ms", &full, None, Target::AtMost(500.0)),
    ])
}

async fn restarts(server: &mut Server) -> Result<Samples> {
    let mut samples = Samples::default();
    for _ in 0..ROUNDS {
        server.kill()?;
        samples.add_ms(server.launch().await?);
    }
    Ok(samples)
}
