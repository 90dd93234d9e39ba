//! WIT types, function signatures and the exports of a component.

mod json;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::MAX_DEPTH;

/// A WIT type, with all names it declares.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// `bool`
    Bool,
    /// `s8`
    S8,
    /// `u8`
    U8,
    /// `s16`
    S16,
    /// `u16`
    U16,
    /// `s32`
    S32,
    /// `u32`
    U32,
    /// `s64`
    S64,
    /// `u64`
    U64,
    /// `f32`
    F32,
    /// `f64`
    F64,
    /// `char`, a Unicode scalar value
    Char,
    /// `string`
    String,
    /// `list<T>`
    List(Box<Type>),
    /// `option<T>`
    Option(Box<Type>),
    /// `result<T, E>`; a side without a payload is `None`
    Result {
        /// Payload of success.
        ok: Option<Box<Type>>,
        /// Payload of failure.
        err: Option<Box<Type>>,
    },
    /// `tuple<..>`
    Tuple(Vec<Type>),
    /// `record`: field names and types in declaration order
    Record(Vec<(String, Type)>),
    /// `variant`: case names and payload types in declaration order
    Variant(Vec<(String, Option<Type>)>),
    /// `enum`: case names
    Enum(Vec<String>),
    /// `flags`: flag names
    Flags(Vec<String>),
    /// `own<R>` or `borrow<R>`
    Handle {
        /// Which resource type of the component this is.
        resource_id: u64,
        /// Owned or borrowed.
        mode: ResourceMode,
    },
}

/// How a handle holds its resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ResourceMode {
    /// `own<R>`
    Owned,
    /// `borrow<R>`
    Borrowed,
}

/// The signature of one function.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FunctionType {
    /// The core export name, such as `add-item` or `[method]counter.inc`.
    pub name: String,
    /// Parameter names and types.
    pub params: Vec<(String, Type)>,
    /// Results; modern components have at most one, without a name.
    pub results: Vec<(Option<String>, Type)>,
}

/// One export of a component that can be invoked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Export {
    /// A function exported directly by the world.
    Function(FunctionType),
    /// An exported interface.
    Instance {
        /// The full name, such as `shop:cart/api@1.0.0`.
        name: String,
        /// Its functions.
        functions: Vec<FunctionType>,
    },
}

/// Why a type is not acceptable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TypeError {
    /// Deeper than [`MAX_DEPTH`].
    #[error("type is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// Not the JSON form of a type.
    #[error("invalid type: {0}")]
    Malformed(String),
}

impl Type {
    /// `list<T>`
    pub fn list(inner: Type) -> Type {
        Type::List(Box::new(inner))
    }

    /// `option<T>`
    pub fn option(inner: Type) -> Type {
        Type::Option(Box::new(inner))
    }

    /// `result<T, E>`, either side possibly without a payload
    pub fn result(ok: Option<Type>, err: Option<Type>) -> Type {
        Type::Result { ok: ok.map(Box::new), err: err.map(Box::new) }
    }

    /// The keyword of the type without its parameters: `record`, `list`, `u8`.
    pub fn kind(&self) -> &'static str {
        match self {
            Type::Bool => "bool",
            Type::S8 => "s8",
            Type::U8 => "u8",
            Type::S16 => "s16",
            Type::U16 => "u16",
            Type::S32 => "s32",
            Type::U32 => "u32",
            Type::S64 => "s64",
            Type::U64 => "u64",
            Type::F32 => "f32",
            Type::F64 => "f64",
            Type::Char => "char",
            Type::String => "string",
            Type::List(_) => "list",
            Type::Option(_) => "option",
            Type::Result { .. } => "result",
            Type::Tuple(_) => "tuple",
            Type::Record(_) => "record",
            Type::Variant(_) => "variant",
            Type::Enum(_) => "enum",
            Type::Flags(_) => "flags",
            Type::Handle { mode: ResourceMode::Owned, .. } => "own",
            Type::Handle { mode: ResourceMode::Borrowed, .. } => "borrow",
        }
    }

    /// Whether this is `list<u8>`, which values may hold in compact form.
    pub fn is_bytes(&self) -> bool {
        matches!(self, Type::List(inner) if **inner == Type::U8)
    }

    /// Whether a handle occurs anywhere inside; such types have no text form.
    pub fn contains_handle(&self) -> bool {
        matches!(self, Type::Handle { .. }) || self.children().any(Type::contains_handle)
    }

    /// Checks that the type is not nested too deeply for the codecs of this crate.
    ///
    /// Whoever takes types from a component calls this once, so that every value of an accepted
    /// type can be stored and read back.
    pub fn validate(&self) -> Result<(), TypeError> {
        self.validate_below(0)
    }

    fn validate_below(&self, depth: usize) -> Result<(), TypeError> {
        if depth >= MAX_DEPTH {
            return Err(TypeError::TooDeep);
        }
        self.children().try_for_each(|child| child.validate_below(depth + 1))
    }

    /// The types directly inside this one.
    fn children(&self) -> Box<dyn Iterator<Item = &Type> + '_> {
        match self {
            Type::List(inner) | Type::Option(inner) => Box::new(std::iter::once(&**inner)),
            Type::Result { ok, err } => Box::new(ok.iter().chain(err).map(|side| &**side)),
            Type::Tuple(items) => Box::new(items.iter()),
            Type::Record(fields) => Box::new(fields.iter().map(|(_, typ)| typ)),
            Type::Variant(cases) => Box::new(cases.iter().filter_map(|(_, typ)| typ.as_ref())),
            _ => Box::new(std::iter::empty()),
        }
    }
}

/// The type as WIT text; anonymous shapes are spelled out (`record { a: u32 }`).
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::List(inner) => write!(f, "list<{inner}>"),
            Type::Option(inner) => write!(f, "option<{inner}>"),
            Type::Result { ok, err } => match (ok, err) {
                (None, None) => f.write_str("result"),
                (Some(ok), None) => write!(f, "result<{ok}>"),
                (None, Some(err)) => write!(f, "result<_, {err}>"),
                (Some(ok), Some(err)) => write!(f, "result<{ok}, {err}>"),
            },
            Type::Tuple(items) => {
                f.write_str("tuple<")?;
                separated(f, items, |f, item| write!(f, "{item}"))?;
                f.write_str(">")
            }
            Type::Record(fields) => {
                braced(f, "record", fields, |f, (name, typ)| write!(f, "{name}: {typ}"))
            }
            Type::Variant(cases) => braced(f, "variant", cases, |f, (name, typ)| match typ {
                Some(typ) => write!(f, "{name}({typ})"),
                None => f.write_str(name),
            }),
            Type::Enum(names) => braced(f, "enum", names, |f, name| f.write_str(name)),
            Type::Flags(names) => braced(f, "flags", names, |f, name| f.write_str(name)),
            Type::Handle { resource_id, .. } => write!(f, "{}<#{resource_id}>", self.kind()),
            scalar => f.write_str(scalar.kind()),
        }
    }
}

fn braced<T>(
    f: &mut fmt::Formatter<'_>,
    keyword: &str,
    items: &[T],
    each: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    write!(f, "{keyword} {{ ")?;
    separated(f, items, each)?;
    f.write_str(" }")
}

fn separated<T>(
    f: &mut fmt::Formatter<'_>,
    items: &[T],
    each: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        each(f, item)?;
    }
    Ok(())
}

impl FunctionType {
    /// The type of the whole result as clients see it: a tuple of the results, or a record when
    /// at least one has a name (those without get their index as the name).
    pub fn result_type(&self) -> Type {
        if self.results.iter().all(|(name, _)| name.is_none()) {
            return Type::Tuple(self.results.iter().map(|(_, typ)| typ.clone()).collect());
        }
        let named = self.results.iter().enumerate().map(|(index, (name, typ))| {
            (name.clone().unwrap_or_else(|| index.to_string()), typ.clone())
        });
        Type::Record(named.collect())
    }
}
