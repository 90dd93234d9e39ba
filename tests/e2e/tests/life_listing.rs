//! Enumeration: no worker twice, none missed, and filters that are right for all workers, whether
//! they are in memory, left it, or were there when the server was killed.

#![allow(clippy::indexing_slicing, reason = "a test fails by panicking")]

use emet_e2e::raw::{Raw, worker};
use emet_e2e::{Failure, Server};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const ADD: &str = "test:counter/api.{add}";

fn names(page: &Value) -> Vec<String> {
    let workers = page["workers"].as_array().into_iter().flatten();
    workers.filter_map(|w| w["workerId"]["workerName"].as_str()).map(str::to_owned).collect()
}

/// All pages of an enumeration.
async fn all(raw: &Raw, path: &str, count: usize) -> Result<Vec<Vec<String>>, Failure> {
    let mut pages = Vec::new();
    let mut cursor = String::new();
    loop {
        let separator = if path.contains('?') { '&' } else { '?' };
        let (status, page) = raw.get(&format!("{path}{separator}count={count}{cursor}")).await?;
        assert_eq!(status, 200, "{page}");
        pages.push(names(&page));
        if page["cursor"].is_null() {
            return Ok(pages);
        }
        cursor = format!("&cursor={}/{}", page["cursor"]["layer"], page["cursor"]["cursor"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_stable_while_workers_come_and_go() -> Result<(), Failure> {
    let server = Server::start_with(&["--max-loaded", "8"]).await?;
    let raw = Raw::of(&server);
    let id = raw.guest("counter").await?;
    let path = format!("/v1/components/{id}/workers");
    for n in 0..40 {
        raw.result(&worker(id, &format!("w{n:02}")), ADD, &[json!(n)]).await?;
    }
    let expected: Vec<String> = (0..40).map(|n| format!("w{n:02}")).collect();
    let pages = all(&raw, &path, 7).await?;
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [7, 7, 7, 7, 7, 5]);
    assert_eq!(pages.concat(), expected, "in order of creation");
    assert_eq!(all(&raw, &path, 40).await?.len(), 1, "no cursor after the last worker");

    // Between two pages, workers are deleted, made again, and added.
    let (_, first) = raw.get(&format!("{path}?count=10")).await?;
    for n in [3, 12, 25] {
        raw.delete(&worker(id, &format!("w{n:02}"))).await?;
    }
    raw.result(&worker(id, "w03"), ADD, &[json!(1)]).await?;
    raw.result(&worker(id, "late"), ADD, &[json!(1)]).await?;
    let (_, rest) =
        raw.get(&format!("{path}?count=100&cursor=0/{}", first["cursor"]["cursor"])).await?;
    let seen: Vec<String> = names(&first).into_iter().chain(names(&rest)).collect();
    let existed = expected.iter().filter(|n| !["w03", "w12", "w25"].contains(&n.as_str()));
    assert!(
        existed.clone().all(|n| seen.iter().filter(|s| *s == n).count() == 1),
        "each exactly once: {seen:?}"
    );
    assert!(!seen.contains(&"w12".to_owned()) && seen.contains(&"late".to_owned()));
    Ok(())
}

/// Workers in every status, and every filter on them, before and after a kill.
#[tokio::test(flavor = "multi_thread")]
async fn filters_are_right_for_every_status() -> Result<(), Failure> {
    let mut server = Server::start_with(&["--suspend-after", "0.1", "--max-loaded", "4"]).await?;
    let raw = Raw::of(&server);
    let id = raw.guest("durability").await?;
    let path = format!("/v1/components/{id}/workers");
    for (name, region) in [("idle-1", "eu"), ("idle-2", "us"), ("failed-1", "eu")] {
        raw.post(&path, &json!({"name": name, "args": [], "env": {"Region": region}})).await?;
    }
    let fail = "test:durability/api.{fail-with-policy}";
    raw.call(&worker(id, "failed-1"), "invoke", fail, &[json!(0), json!(1)], None).await?;
    raw.call(&worker(id, "retrying-1"), "invoke", fail, &[json!(5), json!(600_000)], None).await?;
    raw.until_status(&worker(id, "failed-1"), "Failed").await?;
    raw.until_status(&worker(id, "retrying-1"), "Retrying").await?;
    raw.call(&worker(id, "interrupted-1"), "invoke", fail, &[json!(5), json!(600_000)], None)
        .await?;
    raw.until_status(&worker(id, "interrupted-1"), "Retrying").await?;
    raw.command(&format!("{}/interrupt", worker(id, "interrupted-1"))).await?;
    let all_names = ["idle-1", "idle-2", "failed-1", "retrying-1", "interrupted-1"];
    for killed in [false, true] {
        if killed {
            server.crash().await?;
            raw.until_status(&worker(id, "retrying-1"), "Retrying").await?;
        }
        for precise in ["true", "false"] {
            let find = async |filters: &[&str]| -> Result<BTreeSet<String>, Failure> {
                let request =
                    raw.request(reqwest::Method::GET, &path).query(&[("precise", precise)]);
                let filters: Vec<_> = filters.iter().map(|f| ("filter", *f)).collect();
                let (status, page) = raw.send(request.query(&filters)).await?;
                assert_eq!(status, 200, "{page}");
                Ok(names(&page).into_iter().collect())
            };
            let set =
                |names: &[&str]| names.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
            assert_eq!(find(&[]).await?, set(&all_names));
            assert_eq!(find(&["status = Idle"]).await?, set(&["idle-1", "idle-2"]));
            assert_eq!(find(&["status == failed"]).await?, set(&["failed-1"]));
            assert_eq!(find(&["status eq Retrying"]).await?, set(&["retrying-1"]));
            assert_eq!(
                find(&["status >= Interrupted"]).await?,
                set(&["failed-1", "retrying-1", "interrupted-1"])
            );
            assert_eq!(
                find(&["status != Idle", "name notlike retry"]).await?,
                set(&["failed-1", "interrupted-1"])
            );
            assert_eq!(find(&["env.REGION = eu"]).await?, set(&["idle-1", "failed-1"]));
            assert_eq!(
                find(&["env.region != eu"]).await?,
                set(&["idle-2"]),
                "a missing variable never matches"
            );
            assert_eq!(find(&["version < 1", "name like idle"]).await?, set(&["idle-1", "idle-2"]));
            assert_eq!(find(&["createdAt > 2020-01-01T00:00:00Z"]).await?, set(&all_names));
            assert_eq!(find(&["status = Running"]).await?, set(&[]));
        }
        let tree = json!({"filter": {"type": "And", "filters": [
            {"type": "Or", "filters": [
                {"type": "Status", "comparator": "Equal", "value": "Failed"},
                {"type": "Env", "name": "REGION", "comparator": "Equal", "value": "us"}]},
            {"type": "Not", "filter": {"type": "Name", "comparator": "Equal", "value": "idle-1"}}]}});
        let (status, page) = raw.post(&format!("{path}/find"), &tree).await?;
        assert_eq!((status, names(&page)), (200, vec!["idle-2".to_owned(), "failed-1".to_owned()]));
        let everything = json!({"filter": {"type": "Or", "filters": []}, "count": 100});
        assert_eq!(names(&raw.post(&format!("{path}/find"), &everything).await?.1).len(), 5);
    }
    for bad in [
        "status=Idle",
        "status = Sleeping",
        "version = one",
        "name > a",
        "colour = red",
        "createdAt = noon",
        "",
    ] {
        let request = raw.request(reqwest::Method::GET, &path).query(&[("filter", bad)]);
        let (status, body) = raw.send(request).await?;
        let reason = body["errors"][0].as_str().unwrap_or_default();
        assert!(status == 400 && reason.starts_with("Invalid filter"), "{bad}: {status} {body}");
    }
    Ok(())
}

/// What is shown of a worker is the same whether it comes from memory, from the cached state, or
/// from the log.
#[tokio::test(flavor = "multi_thread")]
async fn the_list_and_the_single_worker_agree() -> Result<(), Failure> {
    let mut server = Server::start_with(&["--max-loaded", "3"]).await?;
    let raw = Raw::of(&server);
    let id = raw.guest("counter").await?;
    for n in 0..12 {
        let w = worker(id, &format!("w{n}"));
        for _ in 0..n {
            raw.result(&w, "test:counter/api.{counter(\"a\").inc-by}", &[json!(1)]).await?;
        }
        raw.result(&w, ADD, &[json!(n)]).await?;
    }
    for killed in [false, true] {
        if killed {
            server.crash().await?;
        }
        let (_, page) = raw.get(&format!("/v1/components/{id}/workers?count=100")).await?;
        let workers = page["workers"].as_array().cloned().unwrap_or_default();
        assert_eq!(workers.len(), 12);
        for metadata in workers {
            let name = metadata["workerId"]["workerName"].as_str().unwrap_or_default();
            assert_eq!(raw.get(&worker(id, name)).await?.1, metadata);
        }
    }
    let (_, w5) = raw.get(&worker(id, "w5")).await?;
    let indexed = json!({"resourceName": "counter", "resourceParams": ["\"a\""]});
    assert_eq!(w5["ownedResources"]["0"]["indexed"], indexed, "{w5}");
    Ok(())
}
