//! Values between Emet and wasmtime. The only place of these conversions.

use emet_values::{ResourceMode, Type, Value};
use wasmtime::component::{ResourceAny, Val, types};

/// Turns guest resources into handles and back.
pub(crate) trait Handles {
    /// The resource that a handle names; the reason why not.
    fn lower(&mut self, uri: &str, id: u64, owned: bool) -> Result<ResourceAny, String>;
    /// A handle for a resource that the guest hands out.
    fn lift(&mut self, resource: ResourceAny) -> Value;
}

/// For values that contain no resources.
pub(crate) struct NoHandles;

impl Handles for NoHandles {
    fn lower(&mut self, _uri: &str, _id: u64, _owned: bool) -> Result<ResourceAny, String> {
        Err("a handle cannot be passed here".into())
    }

    fn lift(&mut self, _resource: ResourceAny) -> Value {
        Value::Tuple(Vec::new())
    }
}

/// The type that a component declares; the reason why it has no counterpart.
pub(crate) fn type_of(ty: &types::Type) -> Result<Type, String> {
    let boxed = |ty: Option<types::Type>| ty.map(|ty| type_of(&ty).map(Box::new)).transpose();
    Ok(match ty {
        types::Type::Bool => Type::Bool,
        types::Type::S8 => Type::S8,
        types::Type::U8 => Type::U8,
        types::Type::S16 => Type::S16,
        types::Type::U16 => Type::U16,
        types::Type::S32 => Type::S32,
        types::Type::U32 => Type::U32,
        types::Type::S64 => Type::S64,
        types::Type::U64 => Type::U64,
        types::Type::Float32 => Type::F32,
        types::Type::Float64 => Type::F64,
        types::Type::Char => Type::Char,
        types::Type::String => Type::String,
        types::Type::List(list) => Type::List(Box::new(type_of(&list.ty())?)),
        types::Type::Tuple(tuple) => {
            Type::Tuple(tuple.types().map(|ty| type_of(&ty)).collect::<Result<_, _>>()?)
        }
        types::Type::Record(record) => Type::Record(
            record
                .fields()
                .map(|f| Ok((f.name.to_owned(), type_of(&f.ty)?)))
                .collect::<Result<_, String>>()?,
        ),
        types::Type::Variant(variant) => {
            let case = |c: types::Case<'_>| {
                Ok((c.name.to_owned(), c.ty.map(|ty| type_of(&ty)).transpose()?))
            };
            Type::Variant(variant.cases().map(case).collect::<Result<_, String>>()?)
        }
        types::Type::Enum(names) => Type::Enum(names.names().map(str::to_owned).collect()),
        types::Type::Flags(names) => Type::Flags(names.names().map(str::to_owned).collect()),
        types::Type::Option(option) => Type::Option(Box::new(type_of(&option.ty())?)),
        types::Type::Result(result) => {
            Type::Result { ok: boxed(result.ok())?, err: boxed(result.err())? }
        }
        types::Type::Own(_) => Type::Handle { resource_id: 0, mode: ResourceMode::Owned },
        types::Type::Borrow(_) => Type::Handle { resource_id: 0, mode: ResourceMode::Borrowed },
        _ => return Err("types of a later component model are not supported".into()),
    })
}

/// A value of the given type as wasmtime takes it. The value was checked against the type.
pub(crate) fn lower(ty: &Type, value: Value, handles: &mut dyn Handles) -> Result<Val, String> {
    Ok(match (ty, value) {
        (Type::Bool, Value::Bool(v)) => Val::Bool(v),
        (Type::S8, Value::S8(v)) => Val::S8(v),
        (Type::U8, Value::U8(v)) => Val::U8(v),
        (Type::S16, Value::S16(v)) => Val::S16(v),
        (Type::U16, Value::U16(v)) => Val::U16(v),
        (Type::S32, Value::S32(v)) => Val::S32(v),
        (Type::U32, Value::U32(v)) => Val::U32(v),
        (Type::S64, Value::S64(v)) => Val::S64(v),
        (Type::U64, Value::U64(v)) => Val::U64(v),
        (Type::F32, Value::F32(v)) => Val::Float32(v),
        (Type::F64, Value::F64(v)) => Val::Float64(v),
        (Type::Char, Value::Char(v)) => Val::Char(v),
        (Type::String, Value::String(v)) => Val::String(v),
        (Type::List(item), Value::List(items)) => Val::List(lower_all(item, items, handles)?),
        (Type::List(_), Value::Bytes(bytes)) => {
            Val::List(bytes.iter().map(|b| Val::U8(*b)).collect())
        }
        (Type::Tuple(types), Value::Tuple(items)) => {
            Val::Tuple(lower_each(types.iter(), items, handles)?)
        }
        (Type::Record(fields), Value::Record(items)) => {
            let values = lower_each(fields.iter().map(|(_, t)| t), items, handles)?;
            Val::Record(fields.iter().map(|(n, _)| n.clone()).zip(values).collect())
        }
        (Type::Variant(cases), Value::Variant { case, value }) => {
            let (name, ty) = nth(cases, case)?;
            Val::Variant(name.clone(), lower_boxed(ty.as_ref(), value, handles)?)
        }
        (Type::Enum(cases), Value::Enum(case)) => Val::Enum(nth(cases, case)?.clone()),
        (Type::Flags(names), Value::Flags(set)) => Val::Flags(
            names.iter().zip(set).filter(|(_, on)| *on).map(|(n, _)| n.clone()).collect(),
        ),
        (Type::Option(ty), Value::Option(value)) => {
            Val::Option(lower_boxed(Some(ty), value, handles)?)
        }
        (Type::Result { ok, .. }, Value::Result(Ok(value))) => {
            Val::Result(Ok(lower_boxed(ok.as_deref(), value, handles)?))
        }
        (Type::Result { err, .. }, Value::Result(Err(value))) => {
            Val::Result(Err(lower_boxed(err.as_deref(), value, handles)?))
        }
        (Type::Handle { mode, .. }, Value::Handle { uri, resource_id }) => {
            Val::Resource(handles.lower(&uri, resource_id, *mode == ResourceMode::Owned)?)
        }
        (ty, value) => return Err(format!("expected {ty:?}, got {value:?}")),
    })
}

fn nth<T>(items: &[T], index: u32) -> Result<&T, String> {
    usize::try_from(index)
        .ok()
        .and_then(|i| items.get(i))
        .ok_or_else(|| format!("there is no case {index}"))
}

fn lower_all(ty: &Type, items: Vec<Value>, handles: &mut dyn Handles) -> Result<Vec<Val>, String> {
    items.into_iter().map(|v| lower(ty, v, handles)).collect()
}

fn lower_each<'a>(
    types: impl Iterator<Item = &'a Type>,
    items: Vec<Value>,
    handles: &mut dyn Handles,
) -> Result<Vec<Val>, String> {
    types.zip(items).map(|(t, v)| lower(t, v, handles)).collect()
}

type Boxed<T> = Option<Box<T>>;

fn lower_boxed(
    ty: Option<&Type>,
    value: Boxed<Value>,
    handles: &mut dyn Handles,
) -> Result<Boxed<Val>, String> {
    match (ty, value) {
        (Some(ty), Some(value)) => Ok(Some(Box::new(lower(ty, *value, handles)?))),
        _ => Ok(None),
    }
}

/// A value of the given type as wasmtime gives it.
pub(crate) fn lift(ty: &Type, val: Val, handles: &mut dyn Handles) -> Result<Value, String> {
    Ok(match (ty, val) {
        (_, Val::Bool(v)) => Value::Bool(v),
        (_, Val::S8(v)) => Value::S8(v),
        (_, Val::U8(v)) => Value::U8(v),
        (_, Val::S16(v)) => Value::S16(v),
        (_, Val::U16(v)) => Value::U16(v),
        (_, Val::S32(v)) => Value::S32(v),
        (_, Val::U32(v)) => Value::U32(v),
        (_, Val::S64(v)) => Value::S64(v),
        (_, Val::U64(v)) => Value::U64(v),
        (_, Val::Float32(v)) => Value::F32(v),
        (_, Val::Float64(v)) => Value::F64(v),
        (_, Val::Char(v)) => Value::Char(v),
        (_, Val::String(v)) => Value::String(v),
        (Type::List(item), Val::List(items)) if **item == Type::U8 => Value::Bytes(
            items
                .iter()
                .map(|v| match v {
                    Val::U8(b) => *b,
                    _ => 0,
                })
                .collect(),
        ),
        (Type::List(item), Val::List(items)) => Value::List(
            items.into_iter().map(|v| lift(item, v, handles)).collect::<Result<_, _>>()?,
        ),
        (Type::Tuple(types), Val::Tuple(items)) => Value::Tuple(
            types.iter().zip(items).map(|(t, v)| lift(t, v, handles)).collect::<Result<_, _>>()?,
        ),
        (Type::Record(fields), Val::Record(items)) => Value::Record(
            fields
                .iter()
                .zip(items)
                .map(|((_, t), (_, v))| lift(t, v, handles))
                .collect::<Result<_, _>>()?,
        ),
        (Type::Variant(cases), Val::Variant(name, value)) => {
            let case = position(cases.iter().map(|(n, _)| n), &name)?;
            let ty = nth(cases, case)?.1.as_ref();
            Value::Variant { case, value: lift_boxed(ty, value, handles)? }
        }
        (Type::Enum(cases), Val::Enum(name)) => Value::Enum(position(cases.iter(), &name)?),
        (Type::Flags(names), Val::Flags(set)) => {
            Value::Flags(names.iter().map(|n| set.contains(n)).collect())
        }
        (Type::Option(ty), Val::Option(value)) => {
            Value::Option(lift_boxed(Some(ty), value, handles)?)
        }
        (Type::Result { ok, .. }, Val::Result(Ok(value))) => {
            Value::Result(Ok(lift_boxed(ok.as_deref(), value, handles)?))
        }
        (Type::Result { err, .. }, Val::Result(Err(value))) => {
            Value::Result(Err(lift_boxed(err.as_deref(), value, handles)?))
        }
        (Type::Handle { .. }, Val::Resource(resource)) => handles.lift(resource),
        (ty, val) => return Err(format!("expected {ty:?}, got {val:?}")),
    })
}

fn position<'a>(mut names: impl Iterator<Item = &'a String>, name: &str) -> Result<u32, String> {
    let at = names.position(|n| n == name).ok_or_else(|| format!("there is no case {name}"))?;
    u32::try_from(at).map_err(|e| e.to_string())
}

fn lift_boxed(
    ty: Option<&Type>,
    val: Boxed<Val>,
    handles: &mut dyn Handles,
) -> Result<Boxed<Value>, String> {
    match (ty, val) {
        (Some(ty), Some(val)) => Ok(Some(Box::new(lift(ty, *val, handles)?))),
        _ => Ok(None),
    }
}
