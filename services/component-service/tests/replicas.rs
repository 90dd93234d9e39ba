//! Several component services on the same stores, as a rolling update or two replicas make them.

use bytes::Bytes;
use emet_api::{Components, NewComponent};
use emet_component_service::ComponentService;
use emet_storage::memory::{MemoryBlob, MemoryKv};
use std::sync::Arc;

type Failure = Box<dyn std::error::Error>;

fn two() -> (Arc<ComponentService>, Arc<ComponentService>) {
    let (kv, blobs) = (MemoryKv::new(), MemoryBlob::new());
    let service = || ComponentService::new(Arc::new(kv.clone()), Arc::new(blobs.clone())).0;
    (service(), service())
}

/// A component that exports a function of this name.
fn upload(function: &str) -> Result<NewComponent, Failure> {
    let text = format!(
        "(component (core module $m (func (export \"f\"))) (core instance $i (instantiate $m))
           (func (export \"{function}\") (canon lift (core func $i \"f\"))))"
    );
    Ok(NewComponent { wasm: Bytes::from(wat::parse_str(text)?), ..NewComponent::default() })
}

#[tokio::test]
async fn each_knows_at_once_what_the_other_has_stored() -> Result<(), Failure> {
    let (one, other) = two();
    let id = one.create("c".into(), upload("a")?).await?.versioned_component_id.component_id;
    assert_eq!(other.get(id, None).await?.versioned_component_id.version, 0);
    one.update(id, upload("b")?).await?;
    assert_eq!(other.get(id, None).await?.versioned_component_id.version, 1);
    other.update(id, upload("c")?).await?;
    assert_eq!(one.get(id, None).await?.versioned_component_id.version, 2);
    assert_eq!(one.download(id, None).await?, upload("c")?.wasm);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_versions_stored_at_the_same_time_each_keeps_its_binary() -> Result<(), Failure> {
    let (one, other) = two();
    let id = one.create("c".into(), upload("start")?).await?.versioned_component_id.component_id;
    let mut stored = Vec::new();
    for round in 0..20 {
        let (left, right) = (upload(&format!("left{round}"))?, upload(&format!("right{round}"))?);
        let (a, b) = tokio::join!(one.update(id, left.clone()), other.update(id, right.clone()));
        stored.extend([(a?, left.wasm), (b?, right.wasm)]);
    }
    let mut versions: Vec<u64> =
        stored.iter().map(|(c, _)| c.versioned_component_id.version).collect();
    versions.sort_unstable();
    assert_eq!(versions, (1..=40).collect::<Vec<_>>());
    for (component, wasm) in stored {
        assert_eq!(one.download(id, Some(component.versioned_component_id.version)).await?, wasm);
    }
    Ok(())
}
