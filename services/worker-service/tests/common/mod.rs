//! Services that answer by the names they are given, and remember what they were asked.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, header};
use bytes::Bytes;
use emet_api::*;
use emet_model::*;
use emet_values::{Export, FunctionType, Type, TypedValue, Value};
use emet_worker_service::{AppState, Auth, Limits, router};
use futures::StreamExt;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tower::ServiceExt;

pub const ID: &str = "9c19b15a-c83d-46f7-9bc3-ead7923733f4";
pub const OTHER_ID: &str = "00000000-0000-0000-0000-00000000dead";

pub fn component(version: u64) -> Component {
    Component {
        versioned_component_id: VersionedComponentId { component_id: ID.parse().unwrap(), version },
        component_name: "shop:cart".into(),
        component_size: 4,
        metadata: ComponentMetadata { exports: exports(), ..ComponentMetadata::default() },
        created_at: Some(Timestamp(0)),
        component_type: ComponentType::Durable,
        files: Vec::new(),
        wasm_digest: String::new(),
        installed_plugins: Vec::new(),
        checkpoints: None,
    }
}

fn exports() -> Vec<Export> {
    let function = |name: &str, params: Vec<(String, Type)>| FunctionType {
        name: name.into(),
        params,
        results: vec![(None, Type::U64)],
    };
    let params = vec![("sku".into(), Type::String), ("qty".into(), Type::S32)];
    let functions = vec![function("add-item", params)];
    vec![
        Export::Instance { name: "shop:cart/api".into(), functions },
        Export::Function(function("run", Vec::new())),
    ]
}

pub fn metadata(id: WorkerId) -> WorkerMetadata {
    WorkerMetadata {
        worker_id: id,
        args: Vec::new(),
        env: BTreeMap::new(),
        status: WorkerStatus::Idle,
        component_version: 1,
        retry_count: 0,
        pending_invocation_count: 0,
        updates: Vec::new(),
        created_at: Timestamp(0),
        last_error: None,
        component_size: 4,
        total_linear_memory_size: 65536,
        owned_resources: BTreeMap::new(),
        active_plugins: Vec::new(),
    }
}

/// Both services. Component `ID` exists with versions 0 and 1; a worker called `missing` does
/// not exist, `failed` failed before, `exists` cannot be created, `boom` panics.
#[derive(Default)]
pub struct Fake {
    pub asked: Mutex<Vec<String>>,
    pub uploads: Mutex<Vec<(String, NewComponent)>>,
}

impl Fake {
    fn note(&self, text: String) {
        self.asked.lock().unwrap().push(text);
    }

    pub fn last(&self) -> String {
        self.asked.lock().unwrap().last().cloned().unwrap_or_default()
    }

    fn check(&self, what: &str, worker: &WorkerId) -> Result<(), WorkerError> {
        self.note(format!("{what} {}", worker.worker_name));
        match worker.worker_name.as_str() {
            "missing" => Err(WorkerError::WorkerNotFound { worker_id: worker.clone() }),
            "failed" => Err(WorkerError::PreviousInvocationFailed { details: "trap".into() }),
            "boom" => panic!("boom"),
            _ => Ok(()),
        }
    }
}

fn known(id: ComponentId) -> Result<(), ComponentError> {
    if id.to_string() == ID {
        return Ok(());
    }
    Err(ComponentError::NotFound("Component not found".into()))
}

#[async_trait]
impl Components for Fake {
    async fn create(&self, name: String, up: NewComponent) -> Result<Component, ComponentError> {
        match name.as_str() {
            "taken" => return Err(ComponentError::AlreadyExists(ID.parse().unwrap())),
            "bad" => return Err(ComponentError::Invalid(vec!["one".into(), "two".into()])),
            "huge" => return Err(ComponentError::LimitExceeded("limit".into())),
            "broken" => return Err(ComponentError::Internal("disk".into())),
            _ => {}
        }
        self.uploads.lock().unwrap().push((name, up));
        Ok(component(0))
    }
    async fn update(&self, id: ComponentId, up: NewComponent) -> Result<Component, ComponentError> {
        known(id)?;
        self.uploads.lock().unwrap().push((String::new(), up));
        Ok(component(1))
    }
    async fn list(&self, name: Option<&str>) -> Result<Vec<Component>, ComponentError> {
        let all = vec![component(0), component(1)];
        Ok(all.into_iter().filter(|c| name.is_none_or(|name| name == c.component_name)).collect())
    }
    async fn versions(&self, id: ComponentId) -> Result<Vec<Component>, ComponentError> {
        if known(id).is_err() { Ok(Vec::new()) } else { Components::list(self, None).await }
    }
    async fn get(
        &self,
        id: ComponentId,
        version: Option<u64>,
    ) -> Result<Component, ComponentError> {
        known(id)?;
        match version.unwrap_or(1) {
            version @ 0..=1 => Ok(component(version)),
            _ => Err(ComponentError::NotFound("Component not found".into())),
        }
    }
    async fn download(&self, id: ComponentId, _: Option<u64>) -> Result<Bytes, ComponentError> {
        known(id).map_err(|_| ComponentError::NotFound("Unknown component id".into()))?;
        Ok(Bytes::from_static(b"\0asm"))
    }
    async fn file(&self, id: ComponentId, _: u64, key: &str) -> Result<Bytes, ComponentError> {
        known(id)?;
        Ok(Bytes::from(key.to_owned()))
    }
}

fn target_id(target: &Target) -> WorkerId {
    WorkerId::new(target.component_id, target.worker_name.clone().unwrap_or_default())
}

#[async_trait]
impl Workers for Fake {
    async fn create(
        &self,
        worker: WorkerId,
        args: Vec<String>,
        env: BTreeMap<String, String>,
    ) -> Result<u64, WorkerError> {
        self.check(&format!("create {args:?} {env:?}"), &worker)?;
        if worker.component_id.to_string() != ID {
            return Err(WorkerError::GetLatestVersionOfComponentFailed {
                component_id: worker.component_id,
                reason: "unknown".into(),
            });
        }
        if worker.worker_name == "exists" {
            return Err(WorkerError::WorkerAlreadyExists { worker_id: worker });
        }
        Ok(3)
    }
    async fn invoke_and_await(&self, t: Target, i: Invocation) -> Result<TypedValue, WorkerError> {
        self.check(&format!("await {i:?}"), &target_id(&t))?;
        let typ = Type::Tuple(vec![Type::U64]);
        Ok(TypedValue::new(typ, Value::Tuple(vec![Value::U64(17)])))
    }
    async fn invoke(&self, target: Target, i: Invocation) -> Result<(), WorkerError> {
        self.check(&format!("invoke {i:?}"), &target_id(&target))
    }
    async fn metadata(&self, worker: WorkerId) -> Result<WorkerMetadata, WorkerError> {
        self.check("metadata", &worker)?;
        Ok(metadata(worker))
    }
    async fn list(
        &self,
        component: ComponentId,
        filter: Option<WorkerFilter>,
        cursor: Option<Cursor>,
        count: u64,
        precise: bool,
    ) -> Result<WorkerPage, WorkerError> {
        self.note(format!("list {filter:?} {cursor:?} {count} {precise}"));
        let workers = vec![metadata(WorkerId::new(component, "a"))];
        let cursor = cursor.is_none().then_some(Cursor { cursor: 1536, layer: 0 });
        Ok(WorkerPage { workers, cursor })
    }
    async fn delete(&self, worker: WorkerId) -> Result<(), WorkerError> {
        self.note(format!("delete {}", worker.worker_name));
        Ok(())
    }
    async fn interrupt(&self, worker: WorkerId, now: bool) -> Result<(), WorkerError> {
        self.check(&format!("interrupt {now}"), &worker)
    }
    async fn resume(&self, worker: WorkerId) -> Result<(), WorkerError> {
        self.check("resume", &worker)
    }
    async fn update(&self, w: WorkerId, mode: UpdateMode, to: u64) -> Result<(), WorkerError> {
        self.check(&format!("update {mode:?} {to}"), &w)
    }
    async fn schedule(
        &self,
        target: Target,
        _: Invocation,
        at: Timestamp,
    ) -> Result<String, WorkerError> {
        Ok(format!("{}/{}", target.component_id, at.0))
    }
    async fn cancel_scheduled(&self, _: &str) -> Result<(), WorkerError> {
        Ok(())
    }
    async fn complete_promise(&self, p: PromiseId, data: Bytes) -> Result<bool, WorkerError> {
        self.check(&format!("complete {} {data:?}", p.oplog_idx), &p.worker_id)?;
        Ok(p.oplog_idx != 1)
    }
    async fn revert(&self, worker: WorkerId, target: RevertTarget) -> Result<(), WorkerError> {
        self.check(&format!("revert {target:?}"), &worker)
    }
    async fn cancel(&self, worker: WorkerId, key: IdempotencyKey) -> Result<bool, WorkerError> {
        self.check(&format!("cancel {key}"), &worker)?;
        Ok(true)
    }
    async fn fork(&self, from: WorkerId, to: WorkerId, at: u64) -> Result<(), WorkerError> {
        self.check(&format!("fork {} {at}", to.worker_name), &from)
    }
    async fn oplog(
        &self,
        worker: WorkerId,
        from: OplogPosition,
        count: u64,
    ) -> Result<OplogPage, WorkerError> {
        self.check(&format!("oplog {from:?} {count}"), &worker)?;
        let end = from.next_oplog_index > 2;
        let entry = json!({"type": "NoOp", "timestamp": "2024-10-20T23:42:04.333Z"});
        let entry = PublicOplogEntry { oplog_index: from.next_oplog_index, entry };
        let next = OplogPosition {
            next_oplog_index: from.next_oplog_index + 1,
            current_component_version: from.current_component_version,
        };
        Ok(OplogPage {
            entries: if end { Vec::new() } else { vec![entry] },
            next: (!end).then_some(next),
            first_index_in_chunk: from.next_oplog_index,
            last_index: 2,
        })
    }
    async fn search_oplog(
        &self,
        worker: WorkerId,
        query: &str,
        from: OplogPosition,
        count: u64,
    ) -> Result<OplogPage, WorkerError> {
        self.note(format!("search {query}"));
        self.oplog(worker, from, count).await
    }
    async fn list_directory(
        &self,
        worker: WorkerId,
        path: &str,
    ) -> Result<FileContent<Vec<FileNode>>, WorkerError> {
        self.check(&format!("ls {path}"), &worker)?;
        Ok(match path {
            "/" | "/dir/sub" => FileContent::Found(Vec::new()),
            "/a.txt" => FileContent::WrongKind,
            _ => FileContent::NotFound,
        })
    }
    async fn read_file(
        &self,
        worker: WorkerId,
        path: &str,
    ) -> Result<FileContent<Bytes>, WorkerError> {
        self.check(&format!("cat {path}"), &worker)?;
        Ok(match path {
            "/a.txt" | "/dir/a.txt" => FileContent::Found(Bytes::from_static(b"hello")),
            "/dir" => FileContent::WrongKind,
            _ => FileContent::NotFound,
        })
    }
    async fn connect(&self, worker: WorkerId) -> Result<WorkerEvents, WorkerError> {
        self.check("connect", &worker)?;
        let timestamp = Timestamp(0);
        let events =
            vec![WorkerEvent::StdOut { timestamp, bytes: vec![104, 105, 10] }, WorkerEvent::Close];
        Ok(futures::stream::iter(events).boxed())
    }
}

/// Small limits, so that tests reach them.
pub const LIMITS: Limits = Limits {
    component_bytes: 1000,
    files_bytes: 1000,
    json_bytes: 1000,
    worker_page: 100,
    oplog_page: 100,
};

pub fn state(fake: &Arc<Fake>, missing: Vec<String>) -> AppState {
    AppState {
        components: fake.clone(),
        workers: fake.clone(),
        readiness: Arc::new(move || missing.clone()),
        metrics: Arc::new(|| "emet_up 1\n".to_owned()),
        auth: Auth::off(),
        version: "0.1.0".into(),
        limits: LIMITS,
    }
}

/// The API over fresh fakes.
pub struct Api {
    pub fake: Arc<Fake>,
    router: Router,
}

impl Api {
    pub fn new() -> Self {
        let fake = Arc::new(Fake::default());
        let router = router(state(&fake, Vec::new()));
        Self { fake, router }
    }

    pub async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    /// Status and JSON body.
    pub async fn json(&self, request: Request<Body>) -> (u16, Json) {
        let response = self.send(request).await;
        let status = response.status().as_u16();
        let kind = response.headers().get(header::CONTENT_TYPE).cloned().unwrap();
        let body = text(response).await;
        assert_eq!(kind, "application/json; charset=utf-8", "{body}");
        (status, serde_json::from_str(&body).unwrap())
    }

    pub async fn get(&self, path: &str) -> (u16, Json) {
        self.call("GET", path, "").await
    }

    pub async fn post(&self, path: &str, body: &str) -> (u16, Json) {
        self.call("POST", path, body).await
    }

    /// Any method, with a JSON body; `C` and `W` stand for the component and a worker.
    pub async fn call(&self, method: &str, path: &str, body: &str) -> (u16, Json) {
        let mut request = Request::builder().method(method).uri(expand(path));
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        self.json(request.body(Body::from(body.to_owned())).unwrap()).await
    }
}

/// `C…` and `W…` as full paths.
pub fn expand(path: &str) -> String {
    if let Some(rest) = path.strip_prefix('W') {
        return format!("/v1/components/{ID}/workers/cart-7{rest}");
    }
    match path.strip_prefix('C') {
        Some(rest) => format!("/v1/components/{ID}{rest}"),
        None => path.to_owned(),
    }
}

pub async fn text(response: Response<Body>) -> String {
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    String::from_utf8(body.into()).unwrap()
}

/// The only reason of a 400.
pub fn reason(body: &Json) -> &str {
    let errors = body["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 1, "{body}");
    errors[0].as_str().unwrap()
}
