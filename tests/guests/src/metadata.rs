//! Metadata of this and other workers, and updating them, with the host interface of the 1.0 line.
wit_bindgen::generate!({ path: "../../target/guest-wit", generate_all, inline: r#"
package test:metadata;

interface api {
    use golem:api/host@0.2.0.{component-id, update-mode, worker-any-filter, worker-id, worker-metadata, worker-status};

    get-self-metadata: func() -> worker-metadata;
    get-worker-metadata: func(worker-id: worker-id) -> option<worker-metadata>;
    /// All pages of an enumeration.
    get-workers: func(component-id: component-id, filter: option<worker-any-filter>, precise: bool) -> list<worker-metadata>;
    /// Numbers of workers in each page.
    page-sizes: func(component-id: component-id, precise: bool) -> list<u32>;
    /// Names of this component's workers that have a status, sorted.
    with-status: func(status: worker-status, precise: bool) -> list<string>;
    update-worker: func(worker-id: worker-id, target-version: u64, mode: update-mode);
    /// Requests an update of this very worker, prints, and returns its version then.
    update-self: func(target-version: u64, mode: update-mode) -> u64;
}

world guest {
    import golem:api/host@0.2.0;
    export api;
}
"# });

use exports::test::metadata::api::Guest;
use golem::api0_2_0::host::{self, *};

struct Metadata;
export!(Metadata);

fn enumerate(
    component: ComponentId,
    filter: Option<&WorkerAnyFilter>,
    precise: bool,
) -> Vec<Vec<WorkerMetadata>> {
    let workers = GetWorkers::new(component, filter, precise);
    std::iter::from_fn(|| workers.get_next()).collect()
}

impl Guest for Metadata {
    fn get_self_metadata() -> WorkerMetadata {
        host::get_self_metadata()
    }

    fn get_worker_metadata(worker_id: WorkerId) -> Option<WorkerMetadata> {
        host::get_worker_metadata(&worker_id)
    }

    fn get_workers(
        component: ComponentId,
        filter: Option<WorkerAnyFilter>,
        precise: bool,
    ) -> Vec<WorkerMetadata> {
        enumerate(component, filter.as_ref(), precise).into_iter().flatten().collect()
    }

    fn page_sizes(component: ComponentId, precise: bool) -> Vec<u32> {
        enumerate(component, None, precise).iter().map(|page| page.len() as u32).collect()
    }

    fn with_status(status: WorkerStatus, precise: bool) -> Vec<String> {
        let condition = WorkerStatusFilter { comparator: FilterComparator::Equal, value: status };
        let all = WorkerAllFilter { filters: vec![WorkerPropertyFilter::Status(condition)] };
        let filter = WorkerAnyFilter { filters: vec![all] };
        let component = host::get_self_metadata().worker_id.component_id;
        let pages = enumerate(component, Some(&filter), precise);
        let mut names: Vec<_> =
            pages.into_iter().flatten().map(|w| w.worker_id.worker_name).collect();
        names.sort();
        names
    }

    fn update_worker(worker_id: WorkerId, target_version: u64, mode: UpdateMode) {
        host::update_worker(&worker_id, target_version, mode);
    }

    fn update_self(target_version: u64, mode: UpdateMode) -> u64 {
        host::update_worker(&host::get_self_metadata().worker_id, target_version, mode);
        println!("update requested");
        host::get_self_metadata().component_version
    }
}
