//! What a worker costs in memory.

use super::{ONE, Scene, adds};
use crate::report::{Figure, Target};
use crate::samples::Samples;
use crate::server::Server;
use crate::{guest, load};
use anyhow::Result;

const CONNECTIONS: usize = 16;

pub(super) async fn measure(scene: &Scene) -> Result<Vec<Figure>> {
    let loaded = scene.count(1000);
    let unloaded = scene.count(10_000);
    let limit = loaded.to_string();
    let server = Server::start(&scene.work, &["--max-loaded", &limit]).await?;
    let id = server.upload("counter", guest::prebuilt("counter")?).await?;
    let paths = |kind: &str, count: usize| adds(id, kind, 0..count);
    // What the allocator and the caches need once is not part of a worker's cost.
    load::each_once(server.port, paths("warm", loaded / 10), ONE, CONNECTIONS).await?;
    let empty = server.resident()?;
    load::each_once(server.port, paths("loaded", loaded - loaded / 10 - 1), ONE, CONNECTIONS)
        .await?;
    let full = server.resident()?;
    load::each_once(server.port, paths("more", unloaded), ONE, CONNECTIONS).await?;
    let after = server.resident()?;
    let idle = Samples::of((full - empty) / (loaded - loaded / 10) as f64 / 1024.0);
    let stub = Samples::of((after - full).max(0.0) / unloaded as f64 / 1024.0);
    Ok(vec![
        Figure::new(
            "memory_loaded",
            "KiB",
            &idle,
            Some(("KiB the original's idle worker", 239.0)),
            Target::RatioAtMost(1.0),
        ),
        Figure::new(
            "memory_unloaded",
            "KiB",
            &stub,
            Some(("KiB the original's idle worker", 239.0)),
            Target::RatioAtMost(0.1),
        ),
    ])
}
