//! The OpenAPI document, built from the table of endpoints and `openapi/schemas.yaml`.

mod page;

pub(crate) use page::page;

use crate::auth::{self, Access};
use crate::endpoint::{Content, Endpoint, Parameter};
use crate::{COMPATIBLE_VERSION, endpoints};
use emet_api::rest::Scope;
use serde_yaml_ng::{Mapping, Value};

const SCHEMAS: &str = include_str!("openapi/schemas.yaml");

const DESCRIPTION: &str = "Runs WebAssembly components as durable workers. \
    Success is always 200 with a body; errors have the statuses and bodies of the responses below, \
    and docs/errors explains each of them.";

/// The document as YAML text: `docs/api/openapi.yaml`, and what `GET /specs` answers.
pub fn document() -> String {
    // Nothing in it can fail to serialise: every key is a string.
    serde_yaml_ng::to_string(&build()).unwrap_or_default()
}

fn build() -> Value {
    map([
        ("openapi", "3.0.3".into()),
        (
            "info",
            map([
                ("title", "Emet REST API".into()),
                ("version", COMPATIBLE_VERSION.into()),
                ("description", DESCRIPTION.into()),
            ]),
        ),
        ("paths", paths()),
        (
            "components",
            map([
                ("schemas", serde_yaml_ng::from_str(SCHEMAS).unwrap_or_default()),
                ("securitySchemes", map([("token", token_scheme())])),
            ]),
        ),
    ])
}

fn token_scheme() -> Value {
    map([
        ("type", "http".into()),
        ("scheme", "bearer".into()),
        (
            "description",
            "With scopes read, invoke and admin; not needed where `--auth off`.".into(),
        ),
    ])
}

fn map<const N: usize>(entries: [(&str, Value); N]) -> Value {
    let entries = entries.into_iter().map(|(key, value)| (key.into(), value));
    Value::Mapping(entries.collect::<Mapping>())
}

fn paths() -> Value {
    let mut paths = Mapping::new();
    for endpoint in endpoints() {
        let path: Value = template(endpoint.path).into();
        let item = paths.entry(path).or_insert_with(|| Value::Mapping(Mapping::new()));
        if let Value::Mapping(item) = item {
            item.insert(endpoint.method.into(), operation(&endpoint));
        }
    }
    Value::Mapping(paths)
}

/// The path as OpenAPI writes it, without the router's mark of a rest-of-path segment.
fn template(path: &str) -> String {
    path.replace("{*", "{")
}

/// The tag of an endpoint, which also decides the shape of its errors.
fn tag(path: &str) -> &'static str {
    if path.contains("plugin") {
        "Plugin"
    } else if path.contains("/workers") || path.contains("/invoke") {
        "Worker"
    } else if path.starts_with("/v1/components") {
        "Component"
    } else if path.starts_with("/v1/tokens") {
        "Token"
    } else {
        "Server"
    }
}

/// The scope that an endpoint asks for, if any.
fn scope(endpoint: &Endpoint) -> Option<Scope> {
    match auth::access(endpoint.method, endpoint.path) {
        Access::Open => None,
        Access::Needs(scope) => Some(scope),
    }
}

fn operation(endpoint: &Endpoint) -> Value {
    let mut operation = Mapping::new();
    operation.insert("tags".into(), vec![Value::from(tag(endpoint.path))].into());
    operation.insert("operationId".into(), endpoint.doc.id.into());
    operation.insert("summary".into(), endpoint.doc.summary.into());
    let parameters = parameters(endpoint);
    if !parameters.is_empty() {
        operation.insert("parameters".into(), parameters.into());
    }
    if let Some(body) = endpoint.doc.body {
        let body = map([("required", true.into()), ("content", content(body))]);
        operation.insert("requestBody".into(), body);
    }
    operation.insert("responses".into(), responses(endpoint));
    if let Some(scope) = scope(endpoint) {
        let schemes = [map([]), map([("token", vec![Value::from(scope.to_string())].into())])];
        operation.insert("security".into(), schemes.to_vec().into());
    }
    Value::Mapping(operation)
}

fn parameters(endpoint: &Endpoint) -> Vec<Value> {
    let template = template(endpoint.path);
    let names = template.split('/').filter_map(|s| s.strip_prefix('{')?.strip_suffix('}'));
    let of_path = names.map(|name| {
        map([
            ("name", name.into()),
            ("in", "path".into()),
            ("required", true.into()),
            ("schema", schema(path_kind(name))),
        ])
    });
    of_path.chain(endpoint.doc.parameters.iter().map(parameter)).collect()
}

fn path_kind(name: &str) -> &'static str {
    match name {
        "component_id" | "installation_id" => "uuid",
        "version" => "integer",
        _ => "string",
    }
}

fn parameter(parameter: &Parameter) -> Value {
    let one = schema(parameter.kind);
    let schema =
        if parameter.repeated { map([("type", "array".into()), ("items", one)]) } else { one };
    map([
        ("name", parameter.name.into()),
        ("in", parameter.place.into()),
        ("required", parameter.required.into()),
        ("description", parameter.text.into()),
        ("schema", schema),
    ])
}

/// A schema by the short names of [`Content`] and [`Parameter`].
fn schema(name: &str) -> Value {
    if let Some(item) = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        return map([("type", "array".into()), ("items", schema(item))]);
    }
    match name {
        "{}" => schema("Empty"),
        "boolean" => map([("type", "boolean".into())]),
        "string" | "text" => map([("type", "string".into())]),
        "integer" => map([("type", "integer".into()), ("format", "uint64".into())]),
        "uuid" => map([("type", "string".into()), ("format", "uuid".into())]),
        "bytes" => map([("type", "string".into()), ("format", "binary".into())]),
        name => map([("$ref", format!("#/components/schemas/{name}").into())]),
    }
}

fn content(content: Content) -> Value {
    map([(content.media, map([("schema", schema(content.schema))]))])
}

fn responses(endpoint: &Endpoint) -> Value {
    let mut responses = Mapping::new();
    let mut ok = Mapping::new();
    ok.insert("description".into(), "Success".into());
    if let Some(answer) = endpoint.doc.answer {
        ok.insert("content".into(), content(answer));
    }
    responses.insert("200".into(), Value::Mapping(ok));
    let json = |schema| Content { media: "application/json", schema };
    let mut error = |status: &str, text: &str, schema| {
        let error = map([("description", text.into()), ("content", content(json(schema)))]);
        responses.insert(status.into(), error);
    };
    if scope(endpoint).is_some() {
        error("401", "The token is missing or not valid", "ErrorBody");
        error("403", "The token does not have the scope", "ErrorBody");
    }
    match tag(endpoint.path) {
        "Server" => {
            if endpoint.doc.id == "healthcheck" {
                error("503", "Some parts are not ready", "NotReady");
            }
        }
        "Token" => {
            error("400", "The request is invalid; every reason", "ErrorsBody");
            error("404", "Not found", "ErrorBody");
            error("500", "The request failed", "ErrorBody");
        }
        tag => {
            error("400", "The request is invalid; every reason", "ErrorsBody");
            if tag == "Component" {
                error(
                    "403",
                    "The token does not have the scope, or a limit is exceeded",
                    "ErrorBody",
                );
            }
            error("404", "Not found", "ErrorBody");
            if tag == "Component" && endpoint.method == "post" {
                error("409", "The name is taken", "ErrorBody");
            }
            let failure = if tag == "Worker" { "GolemErrorBody" } else { "ErrorBody" };
            error("500", "The request failed", failure);
            if tag == "Worker" {
                error(
                    "503",
                    "Not executed; send it again after the time in Retry-After",
                    "ErrorBody",
                );
            }
        }
    }
    Value::Mapping(responses)
}
