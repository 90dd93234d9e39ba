//! Whether everything that the texts in `wit/` offer is defined and documented. Components of some
//! languages import every function of an interface, so that none may be missing.

use super::linker;
use crate::engine::{EngineLimits, engine};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Interface and core name of every function of a WIT text, as simple as these texts are written.
fn functions(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let (mut interface, mut resource): (Option<String>, Option<String>) = (None, None);
    let name = |line: &str| {
        line.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect::<String>()
    };
    // What came after 0.2.0 is hidden behind a feature, for the line that follows.
    let mut hidden = false;
    for line in text.lines() {
        let mut line = line.split("//").next().unwrap_or_default().trim();
        if std::mem::replace(&mut hidden, line.starts_with("@unstable")) {
            continue;
        }
        if let Some(rest) = line.strip_prefix("interface ") {
            (interface, resource) = (Some(name(rest)), None);
        } else if line.starts_with("world ") {
            interface = None;
        }
        let Some(interface) = &interface else { continue };
        if let Some((head, rest)) = line.strip_prefix("resource ").and_then(|l| l.split_once('{')) {
            (resource, line) = (Some(name(head)), rest.trim());
        }
        if let (true, Some(resource)) = (line.starts_with("constructor("), &resource) {
            found.push((interface.clone(), format!("[constructor]{resource}")));
        }
        if let Some((function, rest)) = line
            .split_once(": ")
            .filter(|(_, rest)| rest.starts_with("func(") || rest.starts_with("static func("))
        {
            let function = function.trim_start_matches('%');
            found.push((
                interface.clone(),
                match &resource {
                    Some(resource) if rest.starts_with("static") => {
                        format!("[static]{resource}.{function}")
                    }
                    Some(resource) => format!("[method]{resource}.{function}"),
                    None => function.to_owned(),
                },
            ));
        }
        if line.ends_with('}') {
            resource = None;
        }
    }
    found
}

/// Package, version, interface and function of all texts of a folder.
fn offered(folder: &str) -> Vec<(String, String, String)> {
    let mut all = Vec::new();
    let mut texts: Vec<PathBuf> = std::fs::read_dir(root().join("wit").join(folder))
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    texts.sort();
    let whole: Vec<String> =
        texts.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let package = whole
        .iter()
        .find_map(|t| t.lines().find_map(|l| l.trim().strip_prefix("package ")))
        .unwrap();
    let (package, version) = package
        .trim_end_matches(';')
        .split_once('@')
        .unwrap_or((package.trim_end_matches(';'), ""));
    for (interface, function) in whole.iter().flat_map(|text| functions(text)) {
        let version = if version.is_empty() { String::new() } else { format!("@{version}") };
        all.push((format!("{package}/{interface}"), version, function));
    }
    assert!(!all.is_empty(), "{folder} has functions");
    all
}

const PACKAGES: [&str; 8] = [
    "deps/golem-api-0.2.2",
    "deps/golem-api-1.1.5",
    "deps/golem-durability-1.2.0",
    "deps/golem-rpc-0.1.3",
    "deps/golem-rpc-0.2.0",
    "deps/wasi-blobstore",
    "deps/wasi-keyvalue-0.1.0",
    "deps/wasi-logging",
];

/// Called by the host, not by guests.
const EXPORTED: [&str; 3] =
    ["golem:api/save-snapshot", "golem:api/load-snapshot", "golem:api/oplog-processor"];

#[test]
fn every_function_is_defined() {
    let mut linker = linker(&engine(EngineLimits { instances: 1 }).unwrap()).unwrap();
    linker.allow_shadowing(false);
    let mut missing = Vec::new();
    for (interface, version, function) in PACKAGES.into_iter().flat_map(offered) {
        if EXPORTED.contains(&interface.as_str()) {
            continue;
        }
        // A name that is defined cannot be defined again.
        let again = linker
            .instance(&format!("{interface}{version}"))
            .unwrap()
            .func_new(&function, |_, _, _, _| Ok(()));
        if again.is_ok() {
            missing.push(format!("{interface}{version}#{function}"));
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn earlier_versions_have_nothing_that_later_ones_lack() {
    for (earlier, later) in [
        ("deps/golem-api-0.2.0", "deps/golem-api-0.2.2"),
        ("deps/golem-rpc-0.1.0", "deps/golem-rpc-0.1.3"),
    ] {
        let names =
            |folder| offered(folder).into_iter().map(|(i, _, f)| (i, f)).collect::<BTreeSet<_>>();
        let lost: Vec<_> = names(earlier).difference(&names(later)).cloned().collect();
        assert!(lost.is_empty(), "{earlier}: {lost:?}");
    }
}

#[test]
fn every_function_is_in_the_table() {
    let table = std::fs::read_to_string(root().join("docs/guest-interfaces.md")).unwrap();
    let sections: Vec<&str> = table.split("\n## ").collect();
    let mut missing = Vec::new();
    let texts =
        std::fs::read_dir(root().join("wit/wasi-0.2.0")).unwrap().map(|e| e.unwrap().path());
    let wasi = texts.flat_map(|path| {
        let package = format!("wasi:{}", path.file_stem().unwrap().to_str().unwrap());
        let found = functions(&std::fs::read_to_string(&path).unwrap());
        found.into_iter().map(move |(interface, function)| {
            (format!("{package}/{interface}"), String::new(), function)
        })
    });
    for (interface, _, function) in PACKAGES.into_iter().flat_map(offered).chain(wasi) {
        let row = format!("| `{function}` | ");
        let heading = |section: &&str| {
            section
                .lines()
                .next()
                .is_some_and(|l| l == interface || l.starts_with(&format!("{interface} (")))
        };
        if !sections.iter().filter(|s| heading(s)).any(|s| s.contains(&row)) {
            missing.push(format!("{interface}#{function}"));
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}
