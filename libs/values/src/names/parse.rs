//! Reading function names.

use super::split::{closing_paren, split_arguments};
use super::{FunctionName, FunctionRef};

impl FunctionName {
    /// Reads a function name; errors begin with "Invalid function name: ".
    pub fn parse(text: &str) -> Result<FunctionName, String> {
        let text = text.trim();
        parse_name(text).map_err(|reason| format!("Invalid function name: {reason}, in `{text}`"))
    }
}

impl std::str::FromStr for FunctionName {
    type Err = String;

    fn from_str(text: &str) -> Result<FunctionName, String> {
        FunctionName::parse(text)
    }
}

fn parse_name(text: &str) -> Result<FunctionName, String> {
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    let (interface, body) = match text.find('{') {
        // Without braces: a function of the world, possibly by its core name.
        None => (None, text),
        Some(0) => (None, text),
        Some(open) => {
            let (prefix, body) = text.split_at_checked(open).unwrap_or_default();
            let prefix = prefix.strip_suffix('.').ok_or("expected `.` before `{`")?;
            (interface_name(prefix)?, body)
        }
    };
    let body = match body.strip_prefix('{') {
        Some(inner) => inner.strip_suffix('}').ok_or("expected `}` at the end")?,
        None if text.contains(['/', ':']) => {
            return Err("expected `.{function}` after the interface".to_owned());
        }
        None => body,
    };
    Ok(FunctionName { interface, function: function_ref(body.trim())? })
}

/// Checks an interface name; a package without an interface stands for the world.
fn interface_name(prefix: &str) -> Result<Option<String>, String> {
    let (name, version) = match prefix.split_once('@') {
        Some((name, version)) => (name, Some(version)),
        None => (prefix, None),
    };
    let mut segments = name.split([':', '/']);
    if !segments.all(is_label) {
        return Err(format!("`{name}` is not the name of an interface"));
    }
    let version_char = |char: char| char.is_ascii_alphanumeric() || ".+-".contains(char);
    if version.is_some_and(|version| version.is_empty() || !version.chars().all(version_char)) {
        return Err(format!("`{}` is not a version", version.unwrap_or_default()));
    }
    let package_only = name.contains(':') && !name.contains('/');
    Ok((!package_only).then(|| prefix.to_owned()))
}

fn is_label(label: &str) -> bool {
    let good = |char: char| char.is_ascii_alphanumeric() || char == '-' || char == '_';
    label.starts_with(|first: char| first.is_ascii_alphabetic()) && label.chars().all(good)
}

fn label(text: &str, what: &str) -> Result<String, String> {
    let text = text.trim();
    if is_label(text) {
        Ok(text.to_owned())
    } else if text.is_empty() {
        Err(format!("the name of the {what} is missing"))
    } else {
        Err(format!("`{text}` is not the name of a {what}"))
    }
}

/// The pieces of `[tag]name(args).member`.
struct Pieces<'a> {
    tag: Option<&'a str>,
    name: &'a str,
    args: Option<&'a str>,
    member: Option<&'a str>,
}

fn pieces(body: &str) -> Result<Pieces<'_>, String> {
    let (tag, rest) = match body.strip_prefix('[') {
        Some(tagged) => {
            let (tag, rest) = tagged.split_once(']').ok_or("expected `]`")?;
            (Some(tag), rest)
        }
        None => (None, body),
    };
    let end = rest.find(['.', '(']).unwrap_or(rest.len());
    let (name, rest) = rest.split_at_checked(end).unwrap_or_default();
    let (args, rest) = match rest.strip_prefix('(') {
        Some(inside) => {
            let close = closing_paren(inside)?;
            let (args, rest) = inside.split_at_checked(close).unwrap_or_default();
            (Some(args), rest.strip_prefix(')').unwrap_or(rest).trim_start())
        }
        None => (None, rest),
    };
    let member = match rest.strip_prefix('.') {
        Some(member) => Some(member),
        None if rest.is_empty() => None,
        None => return Err(format!("unexpected `{rest}`")),
    };
    Ok(Pieces { tag, name, args, member })
}

fn function_ref(body: &str) -> Result<FunctionRef, String> {
    let Pieces { tag, name, args, member } = pieces(body)?;
    let params = args.map(split_arguments).transpose()?;
    let res = || label(name, "resource");
    let member_name = || match member {
        Some(member) => label(member, "function"),
        None => Err(format!("expected `.function` after `{name}`")),
    };
    let no_member = || match member {
        None => Ok(()),
        Some(member) => Err(format!("unexpected `.{member}`")),
    };
    match tag {
        None if member.is_none() && params.is_none() => {
            Ok(FunctionRef::Function(label(name, "function")?))
        }
        None => {
            let (res, member) = (res()?, member_name()?);
            Ok(match member.as_str() {
                "new" => constructor(res, params),
                "drop" => drop(res, params),
                _ => method(res, params, member),
            })
        }
        Some("constructor") => no_member().and_then(|()| Ok(constructor(res()?, params))),
        Some("drop" | "resource-drop") => no_member().and_then(|()| Ok(drop(res()?, params))),
        Some("method") => Ok(method(res()?, params, member_name()?)),
        Some("static") => {
            let (res, function) = (res()?, member_name()?);
            Ok(match params {
                Some(params) => FunctionRef::IndexedStatic { res, params, function },
                None => FunctionRef::Static { res, function },
            })
        }
        Some(tag) => Err(format!(
            "unknown `[{tag}]`; there are [constructor], [method], [static] and [drop]"
        )),
    }
}

fn constructor(res: String, params: Option<Vec<String>>) -> FunctionRef {
    match params {
        Some(params) => FunctionRef::IndexedConstructor { res, params },
        None => FunctionRef::Constructor(res),
    }
}

fn drop(res: String, params: Option<Vec<String>>) -> FunctionRef {
    match params {
        Some(params) => FunctionRef::IndexedDrop { res, params },
        None => FunctionRef::Drop(res),
    }
}

fn method(res: String, params: Option<Vec<String>>, method: String) -> FunctionRef {
    match params {
        Some(params) => FunctionRef::IndexedMethod { res, params, method },
        None => FunctionRef::Method { res, method },
    }
}

#[cfg(test)]
mod tests {
    use super::{FunctionName, FunctionRef};

    /// Parses, and checks that the canonical text means the same.
    fn parse(text: &str) -> FunctionName {
        let name = FunctionName::parse(text).unwrap();
        assert_eq!(FunctionName::parse(&name.to_string()), Ok(name.clone()), "{name}");
        name
    }

    fn res() -> String {
        "res".to_owned()
    }

    #[test]
    fn world_functions() {
        for text in ["run-it", "ns:pkg.{run-it}", "ns:pkg@1.0.0.{run-it}", " {run-it} "] {
            let name = parse(text);
            assert_eq!(name.interface, None);
            assert_eq!(name.function, FunctionRef::Function("run-it".into()));
            assert_eq!(name.to_string(), "run-it");
        }
        assert_eq!(parse("[constructor]res").function, FunctionRef::Constructor(res()));
    }

    #[test]
    fn interfaces() {
        for interface in ["iface", "ns:pkg/iface", "ns:pkg/iface@1.2.3-rc.1+b", "a:b:c/d/e"] {
            let text = format!("{interface}.{{f}}");
            let name = parse(&text);
            assert_eq!(name.interface.as_deref(), Some(interface));
            assert_eq!(name.to_string(), text);
        }
    }

    #[test]
    fn resources_in_short_and_core_form() {
        let function = |text| parse(text).function;
        let (method, fun) = ("m".to_owned(), "m".to_owned());
        assert_eq!(function("i.{res.new}"), FunctionRef::Constructor(res()));
        assert_eq!(function("i.{[constructor]res}"), FunctionRef::Constructor(res()));
        assert_eq!(function("i.{res.drop}"), FunctionRef::Drop(res()));
        assert_eq!(function("i.{[drop]res}"), FunctionRef::Drop(res()));
        let expected = FunctionRef::Method { res: res(), method };
        assert_eq!(function("i.{res.m}"), expected);
        assert_eq!(function("i.{[method]res.m}"), expected);
        let expected = FunctionRef::Static { res: res(), function: fun };
        assert_eq!(function("i.{[static]res.m}"), expected);
        let called_new = FunctionRef::Method { res: res(), method: "new".into() };
        assert_eq!(function("i.{[method]res.new}"), called_new);
    }

    #[test]
    fn arguments_may_hold_anything() {
        let name = parse(r#"a:b/c.{res("x, y) } {", ')', [1, 2], { f: some("\"") }).inc}"#);
        let params = [r#""x, y) } {""#, "')'", "[1, 2]", r#"{ f: some("\"") }"#];
        assert_eq!(name.function.index(), Some(params.map(str::to_owned).as_slice()));
        assert_eq!(name.interface.as_deref(), Some("a:b/c"));
        assert_eq!(parse("c.{res().inc}").function.index(), Some([].as_slice()));
        assert_eq!(parse("c.{res(1).new}").function.core_name(), "[constructor]res");
        assert_eq!(parse("c.{res(1,).drop}").function.core_name(), "[drop]res");
        assert_eq!(parse("c.{[static]res(1).f}").function.core_name(), "[static]res.f");
        let constructor = parse("c.{res(1).inc}").index_constructor().unwrap();
        assert_eq!(constructor.to_string(), "c.{res.new}");
    }

    #[test]
    fn nonsense_is_explained() {
        let error = |text| FunctionName::parse(text).unwrap_err();
        assert_eq!(
            error("a:b/c"),
            "Invalid function name: expected `.{function}` after the interface, in `a:b/c`"
        );
        for (text, reason) in [
            ("", "it is empty"),
            ("a:b/c.{f", "expected `}`"),
            ("a:b/c{f}", "expected `.`"),
            ("a:b/c@.{f}", "is not a version"),
            ("a:/c.{f}", "not the name of an interface"),
            ("c.{}", "name of the function is missing"),
            ("c.{res(1, 2}", "`(` is not closed"),
            ("c.{res(\"a).m}", "string is not closed"),
            ("c.{res([1).m}", "`)` does not close `[`"),
            ("c.{res(1,,2).m}", "argument is missing"),
            ("c.{res(1)}", "expected `.function`"),
            ("c.{res(1)x.m}", "unexpected `x.m`"),
            ("c.{[foo]res}", "unknown `[foo]`"),
            ("c.{[constructor]res.m}", "unexpected `.m`"),
            ("c.{a b}", "`a b` is not the name"),
            ("c.{res(1 // x\n).m}", "comments"),
        ] {
            assert!(error(text).contains(reason), "{text}: {}", error(text));
        }
    }
}
