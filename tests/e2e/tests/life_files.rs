//! Uploads in every form, and the files of workers.

use emet_e2e::raw::{Raw, component_id, worker};
use emet_e2e::{Failure, Server, guest};
use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};
use std::io::Write;

fn archive(files: &[(&str, &str)]) -> Result<Vec<u8>, Failure> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (path, content) in files {
        zip.start_file(*path, zip::write::FileOptions::<()>::default())?;
        zip.write_all(content.as_bytes())?;
    }
    Ok(zip.finish()?.into_inner())
}

/// A file part as the 1.1 client sends it: streamed, without file name and length.
fn streamed(bytes: Vec<u8>) -> Part {
    let chunks: Vec<Result<Vec<u8>, std::io::Error>> =
        bytes.chunks(10_000).map(|c| Ok(c.to_vec())).collect();
    Part::stream(reqwest::Body::wrap_stream(futures::stream::iter(chunks)))
}

fn permissions(entries: &[(&str, &str)]) -> String {
    let values: Vec<Value> =
        entries.iter().map(|(path, p)| json!({"path": path, "permissions": p})).collect();
    json!({ "values": values }).to_string()
}

async fn upload(raw: &Raw, path: &str, form: Form) -> Result<(u16, Value), Failure> {
    raw.send(raw.request(Method::POST, path).multipart(form)).await
}

async fn bytes(raw: &Raw, path: &str) -> Result<(u16, Vec<u8>), Failure> {
    let response = raw.request(Method::GET, path).send().await?;
    Ok((response.status().as_u16(), response.bytes().await?.to_vec()))
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_in_every_form() -> Result<(), Failure> {
    let server = Server::start().await?;
    let raw = Raw::of(&server);
    let wasm = guest("files")?;
    let form = || Form::new().text("name", "shop:files").part("component", streamed(wasm.clone()));
    let (status, created) = upload(&raw, "/v1/components", form()).await?;
    assert_eq!(status, 200, "{created}");
    assert_eq!(
        (&created["componentType"], &created["componentName"]),
        (&json!("Durable"), &json!("shop:files"))
    );
    assert_eq!((&created["files"], &created["installedPlugins"]), (&json!([]), &json!([])));
    assert_eq!(created["componentSize"], json!(wasm.len()));
    let memory = created["metadata"]["memories"][0]["initial"].as_u64().unwrap_or_default();
    assert!(memory > 0 && memory.is_multiple_of(65536), "{created}");
    let exports = created["metadata"]["exports"].as_array().cloned().unwrap_or_default();
    assert!(
        exports.iter().any(|e| e["type"] == "Instance" && e["name"] == "test:files/api"),
        "{exports:?}"
    );
    let id = component_id(&(status, created))?;
    let c = format!("/v1/components/{id}");

    // Files replace the whole set; an update without them keeps it.
    let form = Form::new()
        .part("component", streamed(wasm.clone()))
        .text("componentType", "Ephemeral")
        .part("files", streamed(archive(&[("a.txt", "A"), ("dir/b.txt", "B")])?))
        .text("filesPermissions", permissions(&[("/dir/b.txt", "read-write")]));
    let (status, updated) = upload(&raw, &format!("{c}/updates"), form).await?;
    assert_eq!(
        (status, &updated["componentType"], &updated["versionedComponentId"]["version"]),
        (200, &json!("Ephemeral"), &json!(1))
    );
    let files: Vec<(Value, Value)> = updated["files"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|f| (f["path"].clone(), f["permissions"].clone()))
        .collect();
    assert_eq!(
        files,
        [(json!("/a.txt"), json!("read-only")), (json!("/dir/b.txt"), json!("read-write"))]
    );
    let (_, kept) = upload(
        &raw,
        &format!("{c}/updates"),
        Form::new().part("component", streamed(wasm.clone())),
    )
    .await?;
    assert_eq!((&kept["files"], &kept["componentType"]), (&updated["files"], &json!("Ephemeral")));
    let put =
        raw.request(Method::PUT, &format!("{c}/upload?component_type=Durable")).body(wasm.clone());
    let (status, put) = raw.send(put).await?;
    assert_eq!(
        (status, &put["componentType"], &put["files"]),
        (200, &json!("Durable"), &updated["files"])
    );
    let (_, all) = raw.get(&c).await?;
    let versions: Vec<Value> = all
        .as_array()
        .into_iter()
        .flatten()
        .map(|v| v["versionedComponentId"]["version"].clone())
        .collect();
    assert_eq!(versions, [json!(0), json!(1), json!(2), json!(3)]);
    assert_eq!(raw.get(&format!("{c}/latest")).await?.1, put);
    assert_eq!(raw.get(&format!("{c}/versions/1")).await?.1, updated);
    assert_eq!(
        raw.get(&format!("{c}/versions/x")).await?,
        (400, json!({"errors": ["Invalid version"]}))
    );
    assert_eq!(
        raw.get(&format!("{c}/versions/9")).await?,
        (404, json!({"error": "Component not found"}))
    );
    assert_eq!(
        raw.get("/v1/components?component-name=shop:files").await?.1.as_array().map(Vec::len),
        Some(4)
    );
    assert_eq!(raw.get("/v1/components?component-name=none").await?, (200, json!([])));
    for query in ["", "?version=0", "?version=3"] {
        assert_eq!(bytes(&raw, &format!("{c}/download{query}")).await?, (200, wasm.clone()));
    }
    let key = updated["files"][0]["key"].as_str().unwrap_or_default();
    assert_eq!(
        bytes(&raw, &format!("{c}/versions/1/file-contents/{key}")).await?,
        (200, b"A".to_vec())
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn faulty_uploads_are_refused_with_every_reason() -> Result<(), Failure> {
    let server = Server::start().await?;
    let raw = Raw::of(&server);
    let errors =
        |answer: &(u16, Value)| (answer.0, answer.1["errors"].as_array().map_or(0, Vec::len));
    let wasm = guest("counter")?;
    let part = || Part::bytes(wasm.clone());
    assert_eq!(
        errors(&upload(&raw, "/v1/components", Form::new().part("component", part())).await?),
        (400, 1)
    );
    assert_eq!(
        errors(&upload(&raw, "/v1/components", Form::new().text("name", "x")).await?),
        (400, 1)
    );
    let odd =
        Form::new().text("name", "x").part("component", part()).text("componentType", "Sometimes");
    assert_eq!(errors(&upload(&raw, "/v1/components", odd).await?), (400, 1));
    let not_in = Form::new()
        .text("name", "x")
        .part("component", part())
        .part("files", Part::bytes(archive(&[("a.txt", "A")])?))
        .text("filesPermissions", permissions(&[("/b.txt", "read-only")]));
    assert_eq!(errors(&upload(&raw, "/v1/components", not_in).await?), (400, 1));
    let no_zip =
        Form::new().text("name", "x").part("component", part()).part("files", Part::text("no zip"));
    assert_eq!(errors(&upload(&raw, "/v1/components", no_zip).await?), (400, 1));
    assert_eq!(raw.get("/v1/components").await?, (200, json!([])), "nothing of this is there");
    let unknown = "/v1/components/00000000-0000-0000-0000-00000000dead/updates";
    assert_eq!(
        upload(&raw, unknown, Form::new().part("component", part())).await?,
        (404, json!({"error": "Component not found"}))
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_initial_file_is_named() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let raw = Raw::of(&server);
    let form = Form::new()
        .text("name", "files")
        .part("component", Part::bytes(guest("files")?))
        .part("files", Part::bytes(archive(&[("a.txt", "A")])?));
    let id = component_id(&upload(&raw, "/v1/components", form).await?)?;
    server.kill()?;
    server.lose_objects(&["files"])?;
    server.restart().await?;
    let body = json!({"name": "w", "args": [], "env": {}});
    let (status, body) = raw.post(&format!("/v1/components/{id}/workers"), &body).await?;
    let error = &body["golemError"];
    let expected = (500, &json!("InitialComponentFileDownloadFailed"), &json!("/a.txt"));
    assert_eq!((status, &error["type"], &error["path"]), expected, "{body}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_workers_can_be_looked_into() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let raw = Raw::of(&server);
    let form = Form::new()
        .text("name", "files")
        .part("component", Part::bytes(guest("files")?))
        .part(
            "files",
            Part::bytes(archive(&[
                ("ro.txt", "read"),
                ("dir/rw.txt", "write"),
                ("dir/deep/x", ""),
            ])?),
        )
        .text("filesPermissions", permissions(&[("/dir/rw.txt", "read-write")]));
    let id = component_id(&upload(&raw, "/v1/components", form).await?)?;
    // Looking makes the worker.
    let w = worker(id, "w");
    for root in ["files", "files/", "files/%2F"] {
        let (status, listing) = raw.get(&format!("{w}/{root}")).await?;
        assert_eq!(status, 200, "{root}: {listing}");
        let nodes = listing["nodes"].as_array().cloned().unwrap_or_default();
        assert_eq!(nodes.len(), 2, "{listing}");
        assert_eq!((&nodes[0]["name"], &nodes[0]["kind"]), (&json!("dir"), &json!("directory")));
        assert_eq!((&nodes[0]["permissions"], &nodes[0]["size"]), (&json!(null), &json!(null)));
        assert_eq!(
            (&nodes[1]["name"], &nodes[1]["kind"], &nodes[1]["size"]),
            (&json!("ro.txt"), &json!("file"), &json!(4))
        );
        assert_eq!(nodes[1]["permissions"], "read-only");
        assert!(nodes[1]["lastModified"].as_u64().is_some_and(|t| t > 1_600_000_000), "{listing}");
    }
    let (_, listing) = raw.get(&format!("{w}/files/dir")).await?;
    assert_eq!(listing["nodes"][1]["permissions"], "read-write");
    assert_eq!(raw.get(&format!("{w}/files/dir%2Fdeep")).await?.1["nodes"][0]["name"], "x");
    for path in ["dir%2Frw.txt", "dir/rw.txt", "%2Fdir%2F..%2Fdir%2Frw.txt"] {
        assert_eq!(
            bytes(&raw, &format!("{w}/file-contents/{path}")).await?,
            (200, b"write".to_vec()),
            "{path}"
        );
    }
    assert_eq!(bytes(&raw, &format!("{w}/file-contents/dir%2Fdeep%2Fx")).await?, (200, Vec::new()));
    for (path, status) in [
        ("files/ro.txt", 400),
        ("files/none", 404),
        ("file-contents/dir", 400),
        ("file-contents/none", 404),
    ] {
        assert_eq!(raw.get(&format!("{w}/{path}")).await?.0, status, "{path}");
    }
    // What the guest writes is seen, also after a restart.
    raw.result(&w, "test:files/api.{write-file}", &[json!("/dir/new.txt"), json!("made here")])
        .await?;
    let refused =
        raw.result(&w, "test:files/api.{write-file}", &[json!("/ro.txt"), json!("x")]).await?;
    assert!(refused.get("err").is_some(), "{refused}");
    server.crash().await?;
    assert_eq!(
        bytes(&raw, &format!("{w}/file-contents/dir%2Fnew.txt")).await?,
        (200, b"made here".to_vec())
    );
    assert_eq!(raw.get(&worker(id, "bad%20name%2Ffiles")).await?.0, 400);
    Ok(())
}
