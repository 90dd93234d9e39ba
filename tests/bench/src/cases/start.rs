//! How long a server takes until it serves.

use super::{ONE, Scene, adds};
use crate::report::{Figure, Target};
use crate::samples::Samples;
use crate::server::Server;
use crate::{guest, load};
use anyhow::Result;

const ROUNDS: usize = 5;

pub(super) async fn measure(scene: &Scene) -> Result<Vec<Figure>> {
    let mut server = Server::start(&scene.work, &[]).await?;
    let empty = restarts(&mut server).await?;
    let id = server.upload("counter", guest::prebuilt("counter")?).await?;
    let workers = scene.count(10_000);
    load::each_once(server.port, adds(id, "w", 0..workers), ONE, 16).await?;
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
