//! Macros that define a Rust type together with its [`Wit`](crate::Wit) implementation.

/// Defines a struct that is a WIT record.
///
/// Field names are the identifiers in kebab-case. Fields are as visible as the type, which is
/// `Clone`, `Debug` and `PartialEq`.
///
/// ```
/// use emet_values::{Wit, wit_record};
///
/// wit_record! {
///     /// An order.
///     pub struct Order {
///         /// What is ordered.
///         article_number: String,
///         quantity: u32,
///     }
/// }
///
/// let text = "record { article-number: string, quantity: u32 }";
/// assert_eq!(Order::wit_type().to_string(), text);
/// ```
#[macro_export]
macro_rules! wit_record {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $($(#[$field_meta:meta])* $field:ident: $typ:ty),+ $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs, reason = "the fields of a record are named in WIT")]
        $vis struct $name {
            $($(#[$field_meta])* $vis $field: $typ),+
        }

        impl $crate::Wit for $name {
            fn wit_type() -> $crate::Type {
                $crate::Type::Record(vec![$((
                    $crate::wit::support::kebab(stringify!($field)),
                    <$typ as $crate::Wit>::wit_type(),
                )),+])
            }

            fn into_value(self) -> $crate::Value {
                $crate::Value::Record(vec![$($crate::Wit::into_value(self.$field)),+])
            }

            fn from_value(value: $crate::Value) -> Result<Self, $crate::ValueError> {
                const COUNT: usize = [$(stringify!($field)),+].len();
                let mut fields = $crate::wit::support::fields(value, COUNT)?;
                Ok(Self {$(
                    $field: <$typ as $crate::Wit>::from_value(
                        $crate::wit::support::next(&mut fields)?,
                    )
                    .map_err(|error| {
                        error.in_field(&$crate::wit::support::kebab(stringify!($field)))
                    })?,
                )+})
            }
        }
    };
}

/// Defines an enum that is a WIT enum.
///
/// Case names are the identifiers in kebab-case unless given (`Get = "GET"`). The type is `Copy`,
/// `Clone`, `Debug`, `PartialEq` and `Eq`.
#[macro_export]
macro_rules! wit_enum {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident {
            $($(#[$case_meta:meta])* $case:ident $(= $label:literal)?),+ $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "the cases of an enum are named in WIT")]
        #[repr(u32)]
        $vis enum $name {
            $($(#[$case_meta])* $case),+
        }

        impl $crate::Wit for $name {
            fn wit_type() -> $crate::Type {
                $crate::Type::Enum(vec![$($crate::wit_label!($case $(= $label)?)),+])
            }

            fn into_value(self) -> $crate::Value {
                $crate::Value::Enum(self as u32)
            }

            fn from_value(value: $crate::Value) -> Result<Self, $crate::ValueError> {
                match value {
                    $($crate::Value::Enum(case) if case == Self::$case as u32 => Ok(Self::$case),)+
                    $crate::Value::Enum(case) => Err($crate::ValueError::new(
                        concat!("a case of ", stringify!($name)),
                        case.to_string(),
                    )),
                    other => Err($crate::ValueError::new("enum", other.kind())),
                }
            }
        }
    };
}

/// Defines an enum that is a WIT variant; each case has one payload or none.
///
/// Case names are the identifiers in kebab-case unless given (`Get = "GET"`). The type is
/// `Clone`, `Debug` and `PartialEq`.
#[macro_export]
macro_rules! wit_variant {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident {
            $($(#[$case_meta:meta])* $case:ident $(($typ:ty))? $(= $label:literal)?),+ $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs, reason = "the cases of a variant are named in WIT")]
        $vis enum $name {
            $($(#[$case_meta])* $case $(($typ))?),+
        }

        const _: () = {
            /// The numbers of the cases.
            #[repr(u32)]
            enum Number {
                $($case),+
            }

            impl $crate::Wit for $name {
                fn wit_type() -> $crate::Type {
                    $crate::Type::Variant(vec![$((
                        $crate::wit_label!($case $(= $label)?),
                        $crate::wit_case!(type $($typ)?),
                    )),+])
                }

                fn into_value(self) -> $crate::Value {
                    match self {$(
                        $crate::wit_case!(pattern Self::$case, payload $(, $typ)?) => {
                            $crate::Value::Variant {
                                case: Number::$case as u32,
                                value: $crate::wit_case!(value payload $(, $typ)?),
                            }
                        }
                    )+}
                }

                fn from_value(value: $crate::Value) -> Result<Self, $crate::ValueError> {
                    let (case, value) = match value {
                        $crate::Value::Variant { case, value } => (case, value),
                        other => return Err($crate::ValueError::new("variant", other.kind())),
                    };
                    match case {
                        $(number if number == Number::$case as u32 => {
                            $crate::wit_case!(read Self::$case, value $(, $typ)?).map_err(|error| {
                                error.in_field(&$crate::wit_label!($case $(= $label)?))
                            })
                        })+
                        number => Err($crate::ValueError::new(
                            concat!("a case of ", stringify!($name)),
                            number.to_string(),
                        )),
                    }
                }
            }
        };
    };
}

/// The WIT name of a case: the given one, or the identifier in kebab-case.
#[doc(hidden)]
#[macro_export]
macro_rules! wit_label {
    ($case:ident = $label:literal) => {
        ::std::string::String::from($label)
    };
    ($case:ident) => {
        $crate::wit::support::kebab(stringify!($case))
    };
}

/// The parts of a variant case that differ between cases with and without payload.
#[doc(hidden)]
#[macro_export]
macro_rules! wit_case {
    (type) => {
        None
    };
    (type $typ:ty) => {
        Some(<$typ as $crate::Wit>::wit_type())
    };
    (pattern $case:path, $payload:ident) => {
        $case
    };
    (pattern $case:path, $payload:ident, $typ:ty) => {
        $case($payload)
    };
    (value $payload:ident) => {
        None
    };
    (value $payload:ident, $typ:ty) => {
        Some(Box::new(<$typ as $crate::Wit>::into_value($payload)))
    };
    (read $case:path, $value:ident) => {
        <() as $crate::Wit>::from_payload($value).map(|()| $case)
    };
    (read $case:path, $value:ident, $typ:ty) => {
        match $value {
            Some(value) => <$typ as $crate::Wit>::from_value(*value).map($case),
            None => Err($crate::ValueError::new("a value", "none")),
        }
    };
}
