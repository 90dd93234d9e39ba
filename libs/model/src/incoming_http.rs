//! Incoming HTTP requests as an invocation (guest spec 8.6): the virtual function
//! `golem:http/incoming-handler.{handle}` of components that export `wasi:http/incoming-handler`.

use emet_values::{Export, FunctionType, Wit, wit_record, wit_variant};

/// The virtual interface.
pub const INTERFACE: &str = "golem:http/incoming-handler";
/// Its function.
pub const HANDLE: &str = "handle";
/// The real interface, before its version.
const HANDLER: &str = "wasi:http/incoming-handler@0.2.";

/// Header or trailer fields.
pub type Fields = Vec<(String, Vec<u8>)>;

wit_variant! {
    /// The method of a request.
    pub enum Method {
        /// `GET`
        Get = "GET",
        /// `HEAD`
        Head = "HEAD",
        /// `POST`
        Post = "POST",
        /// `PUT`
        Put = "PUT",
        /// `DELETE`
        Delete = "DELETE",
        /// `CONNECT`
        Connect = "CONNECT",
        /// `OPTIONS`
        Options = "OPTIONS",
        /// `TRACE`
        Trace = "TRACE",
        /// `PATCH`
        Patch = "PATCH",
        /// Any other.
        Custom(String),
    }
}

wit_variant! {
    /// The scheme of a request.
    pub enum Scheme {
        /// `http`
        Http = "HTTP",
        /// `https`
        Https = "HTTPS",
        /// Any other.
        Custom(String),
    }
}

wit_record! {
    /// A whole body.
    pub struct BodyAndTrailers {
        body: Vec<u8>,
        trailers: Option<Fields>,
    }
}

wit_record! {
    /// A request.
    pub struct Request {
        method: Method,
        scheme: Scheme,
        authority: String,
        path_and_query: String,
        headers: Fields,
        body_and_trailers: Option<BodyAndTrailers>,
    }
}

wit_record! {
    /// A response.
    pub struct Response {
        status: u16,
        headers: Fields,
        body: Option<BodyAndTrailers>,
    }
}

impl Method {
    /// The method as HTTP writes it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
            Self::Options => "OPTIONS",
            Self::Trace => "TRACE",
            Self::Patch => "PATCH",
            Self::Custom(method) => method,
        }
    }
}

/// The real handler among the exports of a component.
pub fn handler(exports: &[Export]) -> Option<&str> {
    exports.iter().find_map(|export| match export {
        Export::Instance { name, .. } if name.starts_with(HANDLER) => Some(name.as_str()),
        _ => None,
    })
}

/// The virtual interface, for the exports of a component that has a handler.
pub fn export() -> Export {
    let handle = FunctionType {
        name: HANDLE.to_owned(),
        params: vec![("request".to_owned(), Request::wit_type())],
        results: vec![(None, Response::wit_type())],
    };
    Export::Instance { name: INTERFACE.to_owned(), functions: vec![handle] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_the_documented_names() {
        let text = Request::wit_type().to_string();
        for part in [
            "method: variant { GET, HEAD",
            "custom(string)",
            "path-and-query: string",
            "body-and-trailers: option<record",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn any_compatible_handler_is_found() {
        let export = |name: &str| Export::Instance { name: name.into(), functions: Vec::new() };
        assert_eq!(
            handler(&[export("a:b/c"), export("wasi:http/incoming-handler@0.2.3")]),
            Some("wasi:http/incoming-handler@0.2.3")
        );
        assert_eq!(handler(&[export("wasi:http/incoming-handler@0.3.0")]), None);
    }
}
