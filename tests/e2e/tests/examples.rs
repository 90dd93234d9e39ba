//! The examples do what their READMEs say.

use emet_client::Upload;
use emet_e2e::{Failure, Server};
use emet_model::{DynamicLinkedInstance, WorkerId};
use serde_json::{Value, json};
use std::path::Path;

fn example(name: &str) -> Result<Vec<u8>, Failure> {
    Ok(std::fs::read(
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../examples/prebuilt/{name}.wasm")),
    )?)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_reserves_and_charges_or_takes_the_reservation_back() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let targets = [("stock", "shop:saga/stock"), ("account", "shop:saga/account")];
    let linking = DynamicLinkedInstance::WasmRpc {
        target_interface_name: targets.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
    };
    let upload = Upload {
        wasm: example("saga")?.into(),
        dynamic_linking: [("shop:saga-client/saga-client".to_owned(), linking)].into(),
        ..Default::default()
    };
    let id = server
        .client
        .create_component("shop:saga", upload)
        .await?
        .versioned_component_id
        .component_id;
    let [tea, ann, orders] =
        ["stock-tea", "account-ann", "orders"].map(|name| WorkerId::new(id, name));
    server.call(&tea, "shop:saga/stock.{deliver}", json!([10])).await?;
    server.call(&ann, "shop:saga/account.{deposit}", json!([100])).await?;
    let place = |count: u32| json!(["tea", count, 20, "ann"]);
    assert_eq!(
        server.call(&orders, "shop:saga/orders.{place}", place(3)).await?,
        json!({ "ok": "order-1" })
    );
    let refused = server.call(&orders, "shop:saga/orders.{place}", place(4)).await?;
    assert_eq!(refused, json!({ "err": "ann cannot pay: 40 is not enough" }));
    // Sent, and killed at once: it is completed after the restart, once.
    server.send(&orders, "shop:saga/orders.{place}", place(1)).await?;
    server.crash().await?;
    let placed = server.call(&orders, "shop:saga/orders.{placed}", json!([])).await?;
    assert_eq!(placed.as_array().map(Vec::len), Some(2), "{placed}");
    assert_eq!(server.call(&tea, "shop:saga/stock.{level}", json!([])).await?, json!(6));
    assert_eq!(server.call(&ann, "shop:saga/account.{balance}", json!([])).await?, json!(20));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cart_survives_a_kill() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let upload = Upload { wasm: example("cart")?.into(), ..Default::default() };
    let cart = WorkerId::new(
        server
            .client
            .create_component("shop:cart", upload)
            .await?
            .versioned_component_id
            .component_id,
        "ann",
    );
    server.call(&cart, "shop:cart/api.{initialize-cart}", json!(["ann"])).await?;
    let item = json!({ "product-id": "t", "name": "tea", "price": 2.5, "quantity": 2 });
    server.call(&cart, "shop:cart/api.{add-item}", json!([item])).await?;
    server.crash().await?;
    assert_eq!(
        server.call(&cart, "shop:cart/api.{get-cart-contents}", json!([])).await?,
        json!([item])
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_snippet_runs() -> Result<(), Failure> {
    let server = Server::start().await?;
    let upload = Upload { wasm: example("snippets")?.into(), ..Default::default() };
    let component = server.client.create_component("snippets", upload).await?;
    let worker = WorkerId::new(component.versioned_component_id.component_id, "w");
    let mut called = 0;
    for export in &component.metadata.exports {
        let (prefix, functions) = match export {
            emet_values::Export::Instance { name, functions } => (Some(name), functions.clone()),
            emet_values::Export::Function(function) => (None, vec![function.clone()]),
        };
        // Snippets without parameters run as they stand.
        for function in functions.iter().filter(|f| f.params.is_empty()) {
            let name = prefix
                .map_or_else(|| function.name.clone(), |p| format!("{p}.{{{}}}", function.name));
            let answer: Value = server.call(&worker, &name, json!([])).await?;
            assert!(answer.get("err").is_none(), "{name}: {answer}");
            called += 1;
        }
    }
    assert!(called > 0, "{component:?}");
    Ok(())
}
