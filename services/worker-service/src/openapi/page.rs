//! The document as one HTML page that loads nothing else.

use super::{tag, template};
use crate::endpoint::Endpoint;
use crate::endpoints;
use std::fmt::Write;

const HEAD: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
<meta name=\"viewport\" content=\"width=device-width\"><title>Emet REST API</title><style>\
:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;\
margin:2rem auto;padding:0 1rem}code,summary{font-family:ui-monospace,monospace}\
summary{cursor:pointer;padding:.2rem 0}b{display:inline-block;width:4.5rem}\
details p,details ul{margin:.2rem 0 .4rem 5rem}</style>\
<h1>Emet REST API</h1><p>The full document with all schemas: \
<a href=\"/specs\">/specs</a> (OpenAPI 3, YAML).</p>";

/// The page.
pub(crate) fn page() -> String {
    let all = endpoints();
    let mut html = HEAD.to_owned();
    for group in ["Component", "Worker", "Plugin", "Server"] {
        // Writing to a string cannot fail.
        let _ = write!(html, "<h2>{group}</h2>");
        for endpoint in all.iter().filter(|endpoint| tag(endpoint.path) == group) {
            entry(&mut html, endpoint);
        }
    }
    html.push_str("</html>\n");
    html
}

fn entry(html: &mut String, endpoint: &Endpoint) {
    let (method, path) = (endpoint.method.to_uppercase(), escape(&template(endpoint.path)));
    let _ = write!(html, "<details><summary><b>{method}</b>{path}</summary><p>");
    html.push_str(&escape(endpoint.doc.summary));
    html.push_str("</p><ul>");
    for parameter in &endpoint.doc.parameters {
        let required = if parameter.required { ", required" } else { "" };
        let repeated = if parameter.repeated { ", repeatable" } else { "" };
        let _ = write!(
            html,
            "<li>{} <code>{}</code> ({}{required}{repeated}): {}</li>",
            parameter.place,
            parameter.name,
            parameter.kind,
            escape(parameter.text)
        );
    }
    for (name, content) in [("body", endpoint.doc.body), ("answer", endpoint.doc.answer)] {
        let Some(content) = content else { continue };
        let _ = write!(html, "<li>{name} <code>{}</code> {}</li>", content.schema, content.media);
    }
    html.push_str("</ul></details>");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
