//! [`Wit`] for the types of the standard library.

use super::support::{items, next};
use super::{ValueError, Wit};
use crate::{Type, Value};

macro_rules! scalar {
    ($($rust:ty => $case:ident,)*) => {$(
        impl Wit for $rust {
            fn wit_type() -> Type {
                Type::$case
            }

            fn into_value(self) -> Value {
                Value::$case(self)
            }

            fn from_value(value: Value) -> Result<Self, ValueError> {
                match value {
                    Value::$case(inner) => Ok(inner),
                    other => Err(ValueError::new(Type::$case.kind(), other.kind())),
                }
            }
        }
    )*};
}

scalar! {
    bool => Bool,
    i8 => S8,
    i16 => S16,
    u16 => U16,
    i32 => S32,
    u32 => U32,
    i64 => S64,
    u64 => U64,
    f32 => F32,
    f64 => F64,
    char => Char,
    String => String,
}

impl Wit for u8 {
    fn wit_type() -> Type {
        Type::U8
    }

    fn into_value(self) -> Value {
        Value::U8(self)
    }

    fn from_value(value: Value) -> Result<Self, ValueError> {
        match value {
            Value::U8(byte) => Ok(byte),
            other => Err(ValueError::new("u8", other.kind())),
        }
    }

    fn vec_into_value(items: Vec<u8>) -> Value {
        Value::Bytes(items)
    }

    fn vec_from_value(value: Value) -> Result<Vec<u8>, ValueError> {
        value.into_bytes().map_err(|other| ValueError::new("list<u8>", other.kind()))
    }
}

/// The empty tuple; as the side of a result, no payload at all.
impl Wit for () {
    fn wit_type() -> Type {
        Type::Tuple(Vec::new())
    }

    fn into_value(self) -> Value {
        Value::Tuple(Vec::new())
    }

    fn from_value(value: Value) -> Result<Self, ValueError> {
        items(value, 0).map(|_| ())
    }

    fn wit_payload_type() -> Option<Type> {
        None
    }

    fn into_payload(self) -> Option<Box<Value>> {
        None
    }

    fn from_payload(value: Option<Box<Value>>) -> Result<Self, ValueError> {
        match value {
            None => Ok(()),
            Some(value) => Err(ValueError::new("no value", value.kind())),
        }
    }
}

impl<T: Wit> Wit for Vec<T> {
    fn wit_type() -> Type {
        Type::list(T::wit_type())
    }

    fn into_value(self) -> Value {
        T::vec_into_value(self)
    }

    fn from_value(value: Value) -> Result<Self, ValueError> {
        T::vec_from_value(value)
    }
}

impl<T: Wit> Wit for Option<T> {
    fn wit_type() -> Type {
        Type::option(T::wit_type())
    }

    fn into_value(self) -> Value {
        Value::Option(self.map(|inner| Box::new(inner.into_value())))
    }

    fn from_value(value: Value) -> Result<Self, ValueError> {
        match value {
            Value::Option(inner) => inner.map(|inner| T::from_value(*inner)).transpose(),
            other => Err(ValueError::new("option", other.kind())),
        }
    }
}

impl<T: Wit, E: Wit> Wit for Result<T, E> {
    fn wit_type() -> Type {
        Type::result(T::wit_payload_type(), E::wit_payload_type())
    }

    fn into_value(self) -> Value {
        Value::Result(match self {
            Ok(ok) => Ok(ok.into_payload()),
            Err(err) => Err(err.into_payload()),
        })
    }

    fn from_value(value: Value) -> Result<Self, ValueError> {
        match value {
            Value::Result(Ok(ok)) => {
                T::from_payload(ok).map(Ok).map_err(|error| error.in_field("ok"))
            }
            Value::Result(Err(err)) => {
                E::from_payload(err).map(Err).map_err(|error| error.in_field("err"))
            }
            other => Err(ValueError::new("result", other.kind())),
        }
    }
}

impl<T: Wit> Wit for Box<T> {
    fn wit_type() -> Type {
        T::wit_type()
    }

    fn into_value(self) -> Value {
        (*self).into_value()
    }

    fn from_value(value: Value) -> Result<Self, ValueError> {
        T::from_value(value).map(Box::new)
    }
}

macro_rules! tuple {
    ($count:literal: $($name:ident $index:tt),*) => {
        impl<$($name: Wit),*> Wit for ($($name,)*) {
            fn wit_type() -> Type {
                Type::Tuple(vec![$($name::wit_type()),*])
            }

            fn into_value(self) -> Value {
                Value::Tuple(vec![$(self.$index.into_value()),*])
            }

            fn from_value(value: Value) -> Result<Self, ValueError> {
                let mut items = items(value, $count)?;
                Ok(($(
                    $name::from_value(next(&mut items)?)
                        .map_err(|error| error.at(concat!("[", $index, "]")))?,
                )*))
            }
        }
    };
}

tuple!(1: A 0);
tuple!(2: A 0, B 1);
tuple!(3: A 0, B 1, C 2);
tuple!(4: A 0, B 1, C 2, D 3);
tuple!(5: A 0, B 1, C 2, D 3, E 4);
tuple!(6: A 0, B 1, C 2, D 3, E 4, F 5);
tuple!(7: A 0, B 1, C 2, D 3, E 4, F 5, G 6);
tuple!(8: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
