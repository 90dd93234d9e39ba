//! An endpoint: what serves it, and what the document says about it.

use crate::state::App;
use axum::handler::Handler;
use axum::routing::{self, MethodRouter};

/// One method of one path.
pub(crate) struct Endpoint {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) handler: MethodRouter<App>,
    pub(crate) doc: Doc,
}

/// The part of the document that cannot be derived from method and path.
#[derive(Default)]
pub(crate) struct Doc {
    /// Operation id, in camel case.
    pub(crate) id: &'static str,
    /// One sentence.
    pub(crate) summary: &'static str,
    /// Query parameters and headers.
    pub(crate) parameters: Vec<Parameter>,
    /// Media type and schema of the body.
    pub(crate) body: Option<Content>,
    /// Media type and schema of the 200 answer.
    pub(crate) answer: Option<Content>,
}

/// A media type and the name of a schema: `Name`, `[Name]`, `{}`, `boolean`, `text` or `bytes`.
#[derive(Clone, Copy)]
pub(crate) struct Content {
    pub(crate) media: &'static str,
    pub(crate) schema: &'static str,
}

impl Content {
    fn json(schema: &'static str) -> Self {
        Self { media: "application/json", schema }
    }
}

/// A parameter outside of the path.
pub(crate) struct Parameter {
    /// `query` or `header`.
    pub(crate) place: &'static str,
    pub(crate) name: &'static str,
    /// `string`, `integer`, `boolean` or `uuid`.
    pub(crate) kind: &'static str,
    pub(crate) required: bool,
    pub(crate) repeated: bool,
    pub(crate) text: &'static str,
}

/// `GET` of a path.
pub(crate) fn get<H: Handler<T, App>, T: 'static>(path: &'static str, handler: H) -> Endpoint {
    Endpoint { method: "get", path, handler: routing::get(handler), doc: Doc::default() }
}

/// `POST` to a path.
pub(crate) fn post<H: Handler<T, App>, T: 'static>(path: &'static str, handler: H) -> Endpoint {
    Endpoint { method: "post", path, handler: routing::post(handler), doc: Doc::default() }
}

/// `PUT` to a path.
pub(crate) fn put<H: Handler<T, App>, T: 'static>(path: &'static str, handler: H) -> Endpoint {
    Endpoint { method: "put", path, handler: routing::put(handler), doc: Doc::default() }
}

/// `DELETE` of a path.
pub(crate) fn delete<H: Handler<T, App>, T: 'static>(path: &'static str, handler: H) -> Endpoint {
    Endpoint { method: "delete", path, handler: routing::delete(handler), doc: Doc::default() }
}

impl Endpoint {
    /// Operation id and summary.
    pub(crate) fn named(mut self, id: &'static str, summary: &'static str) -> Self {
        self.doc.id = id;
        self.doc.summary = summary;
        self
    }

    /// An optional query parameter.
    pub(crate) fn query(self, name: &'static str, kind: &'static str, text: &'static str) -> Self {
        self.parameter(Parameter {
            place: "query",
            name,
            kind,
            required: false,
            repeated: false,
            text,
        })
    }

    /// Makes the parameter added last required.
    pub(crate) fn required(mut self) -> Self {
        if let Some(parameter) = self.doc.parameters.last_mut() {
            parameter.required = true;
        }
        self
    }

    /// Lets the parameter added last be given several times.
    pub(crate) fn repeated(mut self) -> Self {
        if let Some(parameter) = self.doc.parameters.last_mut() {
            parameter.repeated = true;
        }
        self
    }

    /// An optional header.
    pub(crate) fn header(self, name: &'static str, text: &'static str) -> Self {
        self.parameter(Parameter {
            place: "header",
            name,
            kind: "string",
            required: false,
            repeated: false,
            text,
        })
    }

    fn parameter(mut self, parameter: Parameter) -> Self {
        self.doc.parameters.push(parameter);
        self
    }

    /// A JSON body.
    pub(crate) fn body(self, schema: &'static str) -> Self {
        self.body_of("application/json", schema)
    }

    /// A body of another media type.
    pub(crate) fn body_of(mut self, media: &'static str, schema: &'static str) -> Self {
        self.doc.body = Some(Content { media, schema });
        self
    }

    /// A JSON answer.
    pub(crate) fn answers(mut self, schema: &'static str) -> Self {
        self.doc.answer = Some(Content::json(schema));
        self
    }

    /// An answer of another media type.
    pub(crate) fn answers_with(mut self, media: &'static str, schema: &'static str) -> Self {
        self.doc.answer = Some(Content { media, schema });
        self
    }
}
