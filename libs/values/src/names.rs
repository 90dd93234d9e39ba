//! Textual function names, such as `shop:cart/api@1.0.0.{counter("a").inc}`.
//!
//! | Text | Meaning |
//! |---|---|
//! | `run`, `ns:pkg.{run}`, `{run}` | function exported by the world |
//! | `ns:pkg/iface@1.2.3.{fn}`, `iface.{fn}` | function of an interface |
//! | `{res.new}`, `{[constructor]res}` | constructor |
//! | `{res.fn}`, `{[method]res.fn}` | method, or else static function |
//! | `{[static]res.fn}` | static function |
//! | `{res.drop}`, `{[drop]res}` | drop |
//! | `{res("a", 1).fn}` and likewise `new`, `drop`, `[static]` | the same on a resource found by its constructor arguments |

mod parse;
mod resolve;
mod split;
mod version;

use std::fmt;

pub use resolve::{ResolvedFunction, indexed_params};

/// A parsed function name.
///
/// Its `Display` is the canonical text, which parses back to the same name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FunctionName {
    /// The interface, with package and version as far as given; `None` for the world itself.
    pub interface: Option<String>,
    /// The function within it.
    pub function: FunctionRef,
}

/// Which function of an interface is meant.
///
/// The indexed forms name a resource by its constructor arguments, kept as raw texts; see
/// [`indexed_params`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FunctionRef {
    /// A plain function.
    Function(String),
    /// A resource's constructor.
    Constructor(String),
    /// A method.
    Method {
        /// The resource.
        res: String,
        /// The method.
        method: String,
    },
    /// A static function.
    Static {
        /// The resource.
        res: String,
        /// The function.
        function: String,
    },
    /// Dropping a resource.
    Drop(String),
    /// Constructing an indexed resource unless it exists.
    IndexedConstructor {
        /// The resource.
        res: String,
        /// Raw texts of the constructor arguments.
        params: Vec<String>,
    },
    /// A method of an indexed resource.
    IndexedMethod {
        /// The resource.
        res: String,
        /// Raw texts of the constructor arguments.
        params: Vec<String>,
        /// The method.
        method: String,
    },
    /// A static function, called with an indexed resource at hand.
    IndexedStatic {
        /// The resource.
        res: String,
        /// Raw texts of the constructor arguments.
        params: Vec<String>,
        /// The function.
        function: String,
    },
    /// Dropping an indexed resource.
    IndexedDrop {
        /// The resource.
        res: String,
        /// Raw texts of the constructor arguments.
        params: Vec<String>,
    },
}

impl FunctionRef {
    /// The core export name, such as `[method]counter.inc`.
    pub fn core_name(&self) -> String {
        match self {
            FunctionRef::Function(name) => name.clone(),
            FunctionRef::Constructor(res) | FunctionRef::IndexedConstructor { res, .. } => {
                format!("[constructor]{res}")
            }
            FunctionRef::Method { res, method }
            | FunctionRef::IndexedMethod { res, method, .. } => format!("[method]{res}.{method}"),
            FunctionRef::Static { res, function }
            | FunctionRef::IndexedStatic { res, function, .. } => {
                format!("[static]{res}.{function}")
            }
            FunctionRef::Drop(res) | FunctionRef::IndexedDrop { res, .. } => format!("[drop]{res}"),
        }
    }

    /// The resource, if any.
    pub fn resource(&self) -> Option<&str> {
        match self {
            FunctionRef::Function(_) => None,
            FunctionRef::Constructor(res)
            | FunctionRef::Drop(res)
            | FunctionRef::Method { res, .. }
            | FunctionRef::Static { res, .. }
            | FunctionRef::IndexedConstructor { res, .. }
            | FunctionRef::IndexedMethod { res, .. }
            | FunctionRef::IndexedStatic { res, .. }
            | FunctionRef::IndexedDrop { res, .. } => Some(res),
        }
    }

    /// The raw constructor arguments of the indexed forms.
    pub fn index(&self) -> Option<&[String]> {
        match self {
            FunctionRef::IndexedConstructor { params, .. }
            | FunctionRef::IndexedMethod { params, .. }
            | FunctionRef::IndexedStatic { params, .. }
            | FunctionRef::IndexedDrop { params, .. } => Some(params),
            _ => None,
        }
    }

    /// What a method name means if there is no such method.
    fn static_alternative(&self) -> Option<FunctionRef> {
        match self.clone() {
            FunctionRef::Method { res, method } => {
                Some(FunctionRef::Static { res, function: method })
            }
            FunctionRef::IndexedMethod { res, params, method } => {
                Some(FunctionRef::IndexedStatic { res, params, function: method })
            }
            _ => None,
        }
    }
}

impl FunctionName {
    /// For an indexed name, the name of the constructor that its arguments are meant for.
    pub fn index_constructor(&self) -> Option<FunctionName> {
        self.function.index()?;
        let constructor = FunctionRef::Constructor(self.function.resource()?.to_owned());
        Some(FunctionName { interface: self.interface.clone(), function: constructor })
    }
}

impl fmt::Display for FunctionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.interface, &self.function) {
            (None, FunctionRef::Function(name)) => f.write_str(name),
            (None, function) => write!(f, "{{{function}}}"),
            (Some(interface), function) => write!(f, "{interface}.{{{function}}}"),
        }
    }
}

/// The text between the braces.
impl fmt::Display for FunctionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tag, member) = match self {
            FunctionRef::Function(name) => return f.write_str(name),
            FunctionRef::Constructor(_) | FunctionRef::IndexedConstructor { .. } => ("", "new"),
            FunctionRef::Drop(_) | FunctionRef::IndexedDrop { .. } => ("", "drop"),
            FunctionRef::Method { method, .. } | FunctionRef::IndexedMethod { method, .. } => {
                // A method that happens to be called `new` or `drop`.
                let special = matches!(method.as_str(), "new" | "drop");
                (if special { "[method]" } else { "" }, method.as_str())
            }
            FunctionRef::Static { function, .. } | FunctionRef::IndexedStatic { function, .. } => {
                ("[static]", function.as_str())
            }
        };
        write!(f, "{tag}{}", self.resource().unwrap_or_default())?;
        if let Some(params) = self.index() {
            write!(f, "({})", params.join(", "))?;
        }
        write!(f, ".{member}")
    }
}
