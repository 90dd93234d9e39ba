//! Enumeration: what a page costs as the number of workers grows.

use super::{ADD, ONE, Scene};
use crate::report::{Figure, Target};
use crate::samples::Samples;
use crate::server::{Server, invocation};
use crate::{guest, load};
use anyhow::Result;
use emet_api::Cursor;
use emet_model::{ComponentId, WorkerId};
use std::time::Instant;

const ROUNDS: usize = 5;

pub(super) async fn measure(scene: &Scene) -> Result<Vec<Figure>> {
    let server = Server::start(&scene.work, &[]).await?;
    let id = server.upload("counter", guest::prebuilt("counter")?).await?;
    let mut figures = Vec::new();
    let mut first_pages = Vec::new();
    let mut made = 0;
    for (suffix, count) in [("1e3", scene.count(1000)), ("1e5", scene.count(100_000))] {
        let paths = (made..count)
            .map(|n| invocation(&WorkerId::new(id, format!("w-{n:06}")), ADD))
            .collect();
        load::each_once(server.port, paths, ONE, 16).await?;
        made = count;
        let (first, filtered, all) = pages(&server, id, count).await?;
        first_pages.push(first.median());
        figures.push(Figure::new(
            &format!("list_first_page_{suffix}"),
            "ms",
            &first,
            None,
            Target::None,
        ));
        figures.push(Figure::new(
            &format!("list_filtered_page_{suffix}"),
            "ms",
            &filtered,
            None,
            Target::None,
        ));
        figures.push(Figure::new(
            &format!("list_all_{suffix}"),
            "us/worker",
            &all,
            None,
            Target::None,
        ));
    }
    let resident = Samples::of(server.resident()? / f64::from(1 << 20));
    figures.push(Figure::new("list_memory_1e5", "MiB", &resident, None, Target::None));
    if let [small, large] = first_pages.as_slice() {
        let growth = Samples::of(large / small);
        figures.push(Figure::new(
            "list_first_page_growth",
            "times",
            &growth,
            None,
            Target::AtMost(2.0),
        ));
    }
    Ok(figures)
}

/// Times of a first page, of a page with a filter that fits few, and of all pages for each worker.
async fn pages(
    server: &Server,
    id: ComponentId,
    count: usize,
) -> Result<(Samples, Samples, Samples)> {
    let (mut first, mut filtered, mut all) =
        (Samples::default(), Samples::default(), Samples::default());
    for round in 0..ROUNDS {
        let started = Instant::now();
        server.client.workers(id, &[], page(None)).await?;
        first.add_ms(started.elapsed());
        let started = Instant::now();
        server.client.workers(id, &["name like w-0000".to_owned()], page(None)).await?;
        filtered.add_ms(started.elapsed());
        if round == 0 {
            let started = Instant::now();
            let mut cursor = None;
            loop {
                let found = server.client.workers(id, &[], page(cursor)).await?;
                cursor = found.cursor;
                if cursor.is_none() {
                    break;
                }
            }
            all.add(started.elapsed().as_secs_f64() * 1e6 / count as f64);
        }
    }
    Ok((first, filtered, all))
}

fn page(cursor: Option<Cursor>) -> emet_client::Page {
    emet_client::Page { cursor, count: Some(50), precise: false }
}
