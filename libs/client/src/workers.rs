//! The worker endpoints.

use crate::request::{component_path, segment, worker_path};
use crate::{Client, ClientError};
use bytes::Bytes;
use emet_api::rest::{
    CancelResponse, CompleteParameters, FilesResponse, ForkWorkerRequest, UpdateWorkerRequest,
    WorkerCreationRequest, WorkerCreationResponse, WorkersMetadataRequest,
};
use emet_api::{
    Cursor, FileNode, OplogPage, OplogPosition, RevertTarget, Verification, WorkerPage,
};
use emet_model::{
    ComponentId, ComponentVersion, IdempotencyKey, OplogIndex, UpdateMode, WorkerId, WorkerMetadata,
};

/// Which page of an enumeration.
#[derive(Clone, Copy, Debug, Default)]
pub struct Page {
    /// Where to go on.
    pub cursor: Option<Cursor>,
    /// Page size, the server's choice if absent.
    pub count: Option<u64>,
    /// Compute from the oplogs rather than from cached statuses.
    pub precise: bool,
}

impl Client {
    /// `POST C/workers`
    pub async fn create_worker(
        &self,
        component: ComponentId,
        request: &WorkerCreationRequest,
    ) -> Result<WorkerCreationResponse, ClientError> {
        let path = format!("{}/workers", component_path(component));
        self.json(self.post(&path).json(request)).await
    }

    /// `GET C/workers`: a page of those that fit all filter texts.
    pub async fn workers(
        &self,
        component: ComponentId,
        filters: &[String],
        page: Page,
    ) -> Result<WorkerPage, ClientError> {
        let mut query: Vec<(&str, String)> =
            filters.iter().map(|filter| ("filter", filter.clone())).collect();
        if let Some(cursor) = page.cursor {
            query.push(("cursor", format!("{}/{}", cursor.layer, cursor.cursor)));
        }
        if let Some(count) = page.count {
            query.push(("count", count.to_string()));
        }
        query.push(("precise", page.precise.to_string()));
        let path = format!("{}/workers", component_path(component));
        self.json(self.get(&path).query(&query)).await
    }

    /// `POST C/workers/find`: the same with a filter tree.
    pub async fn find_workers(
        &self,
        component: ComponentId,
        request: &WorkersMetadataRequest,
    ) -> Result<WorkerPage, ClientError> {
        let path = format!("{}/workers/find", component_path(component));
        self.json(self.post(&path).json(request)).await
    }

    /// `GET W`
    pub async fn worker(&self, worker: &WorkerId) -> Result<WorkerMetadata, ClientError> {
        self.json(self.get(&worker_path(worker))).await
    }

    /// `DELETE W`
    pub async fn delete_worker(&self, worker: &WorkerId) -> Result<(), ClientError> {
        self.done(self.delete(&worker_path(worker))).await
    }

    /// `POST W/interrupt`; with `recover_immediately` a simulated crash.
    pub async fn interrupt_worker(
        &self,
        worker: &WorkerId,
        recover_immediately: bool,
    ) -> Result<(), ClientError> {
        let request = self.post(&format!("{}/interrupt", worker_path(worker)));
        self.done(request.query(&[("recovery-immediately", recover_immediately)])).await
    }

    /// `POST W/resume`
    pub async fn resume_worker(&self, worker: &WorkerId) -> Result<(), ClientError> {
        self.done(self.post(&format!("{}/resume", worker_path(worker)))).await
    }

    /// `POST W/update`
    pub async fn update_worker(
        &self,
        worker: &WorkerId,
        mode: UpdateMode,
        target_version: ComponentVersion,
    ) -> Result<(), ClientError> {
        let request = self.post(&format!("{}/update", worker_path(worker)));
        self.done(request.json(&UpdateWorkerRequest { mode, target_version })).await
    }

    /// `POST W/complete`: false if the promise was completed before.
    pub async fn complete_promise(
        &self,
        worker: &WorkerId,
        oplog_idx: OplogIndex,
        data: Vec<u8>,
    ) -> Result<bool, ClientError> {
        let request = self.post(&format!("{}/complete", worker_path(worker)));
        self.json(request.json(&CompleteParameters { oplog_idx, data })).await
    }

    /// `POST W/revert`
    pub async fn revert_worker(
        &self,
        worker: &WorkerId,
        target: RevertTarget,
    ) -> Result<(), ClientError> {
        self.done(self.post(&format!("{}/revert", worker_path(worker))).json(&target)).await
    }

    /// `POST W/verify`
    pub async fn verify_worker(&self, worker: &WorkerId) -> Result<Verification, ClientError> {
        self.json(self.post(&format!("{}/verify", worker_path(worker)))).await
    }

    /// `DELETE W/invocations/{key}`: false if the invocation has completed.
    pub async fn cancel_invocation(
        &self,
        worker: &WorkerId,
        key: &IdempotencyKey,
    ) -> Result<bool, ClientError> {
        let path = format!("{}/invocations/{}", worker_path(worker), segment(&key.0));
        let answer: CancelResponse = self.json(self.delete(&path)).await?;
        Ok(answer.canceled)
    }

    /// `POST W/fork`: a new worker of the same component.
    pub async fn fork_worker(
        &self,
        source: &WorkerId,
        target_worker_name: &str,
        oplog_index_cut_off: OplogIndex,
    ) -> Result<(), ClientError> {
        let target_worker_name = target_worker_name.to_owned();
        let body = ForkWorkerRequest { target_worker_name, oplog_index_cut_off };
        self.done(self.post(&format!("{}/fork", worker_path(source))).json(&body)).await
    }

    /// `GET W/oplog` from an index.
    pub async fn oplog(
        &self,
        worker: &WorkerId,
        from: OplogIndex,
        count: u64,
    ) -> Result<OplogPage, ClientError> {
        self.oplog_page(worker, vec![("from", from.to_string())], count).await
    }

    /// `GET W/oplog` of entries that fit a query.
    pub async fn search_oplog(
        &self,
        worker: &WorkerId,
        query: &str,
        cursor: Option<OplogPosition>,
        count: u64,
    ) -> Result<OplogPage, ClientError> {
        let mut parameters = vec![("query", query.to_owned())];
        parameters.extend(cursor.map(cursor_parameter));
        self.oplog_page(worker, parameters, count).await
    }

    /// `GET W/oplog` after another page.
    pub async fn oplog_after(
        &self,
        worker: &WorkerId,
        cursor: OplogPosition,
        count: u64,
    ) -> Result<OplogPage, ClientError> {
        self.oplog_page(worker, vec![cursor_parameter(cursor)], count).await
    }

    async fn oplog_page(
        &self,
        worker: &WorkerId,
        mut parameters: Vec<(&'static str, String)>,
        count: u64,
    ) -> Result<OplogPage, ClientError> {
        parameters.push(("count", count.to_string()));
        // This client takes every type of entry by its own name.
        parameters.push(("kinds", "all".to_owned()));
        let request = self.get(&format!("{}/oplog", worker_path(worker)));
        self.json(request.query(&parameters)).await
    }

    /// `GET W/files/{path}`
    pub async fn list_files(
        &self,
        worker: &WorkerId,
        path: &str,
    ) -> Result<Vec<FileNode>, ClientError> {
        let path = format!("{}/files/{}", worker_path(worker), file_segment(path));
        let answer: FilesResponse = self.json(self.get(&path)).await?;
        Ok(answer.nodes)
    }

    /// `GET W/file-contents/{path}`
    pub async fn read_file(&self, worker: &WorkerId, path: &str) -> Result<Bytes, ClientError> {
        let path = format!("{}/file-contents/{}", worker_path(worker), file_segment(path));
        self.bytes(self.get(&path)).await
    }
}

fn cursor_parameter(cursor: OplogPosition) -> (&'static str, String) {
    ("cursor", format!("{}-{}", cursor.next_oplog_index, cursor.current_component_version))
}

/// A path as the one segment that the original servers want; the root is a slash. Dots are
/// resolved here: URLs give them a meaning of their own.
fn file_segment(path: &str) -> String {
    let mut names = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    if names.is_empty() { segment("/") } else { segment(&names.join("/")) }
}
