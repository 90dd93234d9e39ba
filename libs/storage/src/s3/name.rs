//! Object keys: any key becomes one that every S3 server takes, in the same order. Drawn in
//! `docs/format/s3.md`.
//!
//! Servers that keep objects as files do not take an object `a` beside `a/b`, segments like `..`
//! or very long ones; answers in XML do not take control characters. Each byte becomes a group of
//! harmless characters such that the groups order as the bytes do and none starts with another.

use crate::blob::BlobError;

/// Longest key of S3, in bytes.
const MAX_KEY: usize = 1024;
/// A longer segment is cut.
const SEGMENT: usize = 200;
/// Ends the name of every object. Below everything a longer key goes on with.
const END: char = '!';
/// What a `/` becomes.
const SLASH: &str = "-d/";
/// Where a segment is cut.
const CUT: &str = "~/";
const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// The name of an object.
pub(super) fn object(prefix: &str, key: &str) -> Result<String, BlobError> {
    let mut name = start(prefix, key);
    name.push(END);
    if name.len() > MAX_KEY {
        let length = name.len();
        return Err(BlobError::Invalid(format!(
            "a key takes {length} bytes in S3, limit {MAX_KEY}"
        )));
    }
    Ok(name)
}

/// What the names of all objects start with whose keys start with `key`.
pub(super) fn start(prefix: &str, key: &str) -> String {
    let mut name = prefix.to_owned();
    let mut segment = 0;
    for byte in key.bytes() {
        if segment >= SEGMENT {
            name.push_str(CUT);
            segment = 0;
        }
        let before = name.len();
        push(&mut name, byte);
        segment = if byte == b'/' { 0 } else { segment + (name.len() - before) };
    }
    name
}

fn push(name: &mut String, byte: u8) {
    let mut hex = |lead: char| {
        let digit = |nibble: u8| HEX.get(usize::from(nibble)).map_or('0', |d| char::from(*d));
        name.extend([lead, digit(byte >> 4), digit(byte & 15)]);
    };
    match byte {
        b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => name.push(char::from(byte)),
        b'/' => name.push_str(SLASH),
        b'-' => name.push_str("--"),
        b'.' => name.push_str("-."),
        b'_' => name.push_str("__"),
        b'`' => name.push_str("_z"),
        ..b'-' => hex('!'),
        b':'..=b'@' => hex('@'),
        b'['..=b'^' => hex('_'),
        _ => hex('~'),
    }
}

/// The key of an object; `None` for one that was not named here.
pub(super) fn parse(prefix: &str, name: &str) -> Option<String> {
    let name = name.strip_prefix(prefix)?.strip_suffix(END)?;
    let mut key = Vec::with_capacity(name.len());
    let mut rest = name.bytes();
    while let Some(byte) = rest.next() {
        let (mut one, mut two) = (rest.clone(), rest.clone());
        let (next, after) = (one.next(), two.nth(1));
        match (byte, next) {
            (b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z', _) => {
                key.push(byte);
                continue;
            }
            (b'-', Some(b'd')) if after == Some(b'/') => {
                key.push(b'/');
                rest = two;
                continue;
            }
            (b'-', Some(b'-')) => key.push(b'-'),
            (b'-', Some(b'.')) => key.push(b'.'),
            (b'_', Some(b'_')) => key.push(b'_'),
            (b'_', Some(b'z')) => key.push(b'`'),
            (b'~', Some(b'/')) => {}
            (b'!' | b'@' | b'_' | b'~', Some(high)) => {
                key.push(digit(high)? << 4 | digit(after?)?);
                rest = two;
                continue;
            }
            _ => return None,
        }
        rest = one;
    }
    String::from_utf8(key).ok()
}

fn digit(hex: u8) -> Option<u8> {
    HEX.iter().position(|d| *d == hex).and_then(|at| u8::try_from(at).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(key: &str) -> String {
        start("p/", key) + "!"
    }

    #[test]
    fn names_are_as_documented() {
        assert_eq!(name("components/9c-1.wasm"), "p/components-d/9c--1-.wasm!");
        assert_eq!(name("a b/ü_`"), "p/a!20b-d/~C3~BC___z!");
        assert_eq!(name("../"), "p/-.-.-d/!");
        let long = name(&"x".repeat(450));
        assert_eq!(long, format!("p/{0}~/{0}~/{1}!", "x".repeat(200), "x".repeat(50)));
        assert!(object("p/", &"ü".repeat(200)).is_err());
    }

    #[test]
    fn foreign_names_are_no_keys() {
        for name in ["p/a", "a!", "p/-x!", "p/!", "p/!2!", "p/~C3!", "p/a b!"] {
            assert_eq!(parse("p/", name), if name == "p/!" { Some(String::new()) } else { None });
        }
    }

    fn key() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            4 => "[a-c0/._-]{0,6}",
            2 => "[\\x00-\\x7f]{0,4}",
            1 => "\\PC{0,4}",
            1 => "x{190,210}",
        ];
        prop::collection::vec(part, 0..4).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn names_keep_order_prefixes_and_content(a in key(), b in key()) {
            prop_assert_eq!(parse("p/", &name(&a)), Some(a.clone()));
            prop_assert_eq!(a.cmp(&b), name(&a).cmp(&name(&b)));
            let both = format!("{a}{b}");
            prop_assert!(name(&both).starts_with(&start("p/", &a)));
        }

        #[test]
        fn a_file_system_can_hold_them(a in key(), b in key()) {
            for (one, two) in [(name(&a), name(&b)), (name(&b), name(&a))] {
                prop_assert!(!two.starts_with(&format!("{one}/")), "an object above another");
                for part in one.split('/') {
                    prop_assert!(!part.is_empty() && part != "." && part != ".." && part.len() < 255);
                }
            }
        }
    }
}
