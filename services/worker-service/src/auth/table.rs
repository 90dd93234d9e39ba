//! What each endpoint asks of a token. An endpoint that is missing here asks for `admin`; a test
//! compares the table with the router.

use emet_api::rest::Scope::{self, Admin, Invoke, Read};

/// What an endpoint asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing.
    Open,
    /// A token with this scope.
    Needs(Scope),
}

use Access::{Needs, Open};

pub(crate) const TABLE: &[(&str, &str, Access)] = &[
    // About the server: probes, scrapers and clients look at these before they have a token.
    ("get", "/", Open),
    ("get", "/version", Open),
    ("get", "/healthcheck", Open),
    ("get", "/metrics", Open),
    ("get", "/specs", Open),
    ("get", "/docs", Open),
    // Components.
    ("get", "/v1/components", Needs(Read)),
    ("get", "/v1/components/{component_id}", Needs(Read)),
    ("get", "/v1/components/{component_id}/latest", Needs(Read)),
    ("get", "/v1/components/{component_id}/download", Needs(Read)),
    ("get", "/v1/components/{component_id}/versions/{version}", Needs(Read)),
    (
        "get",
        "/v1/components/{component_id}/versions/{version}/file-contents/{file_key}",
        Needs(Read),
    ),
    ("post", "/v1/components", Needs(Admin)),
    ("put", "/v1/components/{component_id}/upload", Needs(Admin)),
    ("post", "/v1/components/{component_id}/updates", Needs(Admin)),
    // Plugins.
    ("get", "/v1/plugins", Needs(Read)),
    ("get", "/v1/plugins/{name}", Needs(Read)),
    ("get", "/v1/plugins/{name}/{version}", Needs(Read)),
    ("get", "/v1/components/{component_id}/versions/{version}/plugins/installs", Needs(Read)),
    ("post", "/v1/plugins", Needs(Admin)),
    ("post", "/v1/library-plugins", Needs(Admin)),
    ("post", "/v1/app-plugins", Needs(Admin)),
    ("delete", "/v1/plugins/{name}/{version}", Needs(Admin)),
    ("post", "/v1/components/{component_id}/latest/plugins/installs", Needs(Admin)),
    (
        "put",
        "/v1/components/{component_id}/versions/latest/plugins/installs/{installation_id}",
        Needs(Admin),
    ),
    (
        "delete",
        "/v1/components/{component_id}/latest/plugins/installs/{installation_id}",
        Needs(Admin),
    ),
    ("post", "/v1/components/{component_id}/workers/{worker_name}/activate-plugin", Needs(Admin)),
    ("post", "/v1/components/{component_id}/workers/{worker_name}/deactivate-plugin", Needs(Admin)),
    // Looking at workers.
    ("get", "/v1/components/{component_id}/workers", Needs(Read)),
    ("post", "/v1/components/{component_id}/workers/find", Needs(Read)),
    ("get", "/v1/components/{component_id}/workers/find", Needs(Read)),
    ("get", "/v1/components/{component_id}/workers/{worker_name}", Needs(Read)),
    ("get", "/v1/components/{component_id}/workers/{worker_name}/oplog", Needs(Read)),
    ("get", "/v1/components/{component_id}/workers/{worker_name}/connect", Needs(Read)),
    // Letting workers work. Looking at files is here, because it creates a worker that is missing.
    ("post", "/v1/components/{component_id}/workers", Needs(Invoke)),
    ("post", "/v1/components/{component_id}/invoke", Needs(Invoke)),
    ("post", "/v1/components/{component_id}/invoke-and-await", Needs(Invoke)),
    ("post", "/v1/components/{component_id}/workers/{worker_name}/invoke", Needs(Invoke)),
    ("post", "/v1/components/{component_id}/workers/{worker_name}/invoke-and-await", Needs(Invoke)),
    ("post", "/v1/components/{component_id}/workers/{worker_name}/complete", Needs(Invoke)),
    ("post", "/v1/components/{component_id}/workers/{worker_name}/interrupt", Needs(Invoke)),
    ("post", "/v1/components/{component_id}/workers/{worker_name}/resume", Needs(Invoke)),
    (
        "delete",
        "/v1/components/{component_id}/workers/{worker_name}/invocations/{idempotency_key}",
        Needs(Invoke),
    ),
    ("get", "/v1/components/{component_id}/workers/{worker_name}/files", Needs(Invoke)),
    ("get", "/v1/components/{component_id}/workers/{worker_name}/files/", Needs(Invoke)),
    ("get", "/v1/components/{component_id}/workers/{worker_name}/files/{*path}", Needs(Invoke)),
    (
        "get",
        "/v1/components/{component_id}/workers/{worker_name}/file-contents/{*path}",
        Needs(Invoke),
    ),
    // Changing what workers are, or have been.
    ("delete", "/v1/components/{component_id}/workers/{worker_name}", Needs(Admin)),
    ("delete", "/v1/components/{component_id}/workers/find", Needs(Admin)),
    ("post", "/v1/components/{component_id}/workers/{worker_name}/verify", Needs(Admin)),
    ("post", "/v1/components/{component_id}/workers/{worker_name}/update", Needs(Admin)),
    ("post", "/v1/components/{component_id}/workers/{worker_name}/revert", Needs(Admin)),
    ("post", "/v1/components/{component_id}/workers/{worker_name}/fork", Needs(Admin)),
    // Tokens.
    ("get", "/v1/tokens", Needs(Admin)),
    ("post", "/v1/tokens", Needs(Admin)),
    ("delete", "/v1/tokens/{token_id}", Needs(Admin)),
];

/// What a method of a route asks for.
pub(crate) fn access(method: &str, route: &str) -> Access {
    // The router answers HEAD by GET.
    let method = if method.eq_ignore_ascii_case("head") { "get" } else { method };
    let row = TABLE.iter().find(|(m, path, _)| m.eq_ignore_ascii_case(method) && *path == route);
    row.map_or(Needs(Admin), |(_, _, access)| *access)
}
