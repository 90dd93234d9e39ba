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

/// Interface, function and tests of every row of the table.
fn rows() -> Vec<(String, String, String)> {
    let table = std::fs::read_to_string(root().join("docs/guest-interfaces.md")).unwrap();
    let mut found = Vec::new();
    for section in table.split("\n## ").skip(1) {
        let interface = section.lines().next().unwrap().split(" (").next().unwrap().trim();
        for line in section.lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<&str> = line.split(" | ").collect();
            assert_eq!(cells.len(), 3, "{line}");
            let function = cells[0].trim_start_matches("| `").trim_end_matches('`');
            found.push((
                interface.to_owned(),
                function.to_owned(),
                cells[2].trim_end_matches(" |").to_owned(),
            ));
        }
    }
    found
}

/// A test that a document names: a file of the end-to-end tests, or `file::test`.
fn test_exists(name: &str) -> bool {
    let (file, test) = name.split_once("::").unwrap_or((name, ""));
    let text = std::fs::read_to_string(root().join(format!("tests/e2e/tests/{file}.rs")))
        .unwrap_or_default();
    text.contains("#[tokio::test") && text.contains(&format!("async fn {test}"))
}

/// Not called by guests, and why.
const NOT_CALLED: [(&str, &str); 4] = [
    ("golem:api/oplog-processor", "components with it are plugins, which are not offered"),
    ("wasi:clocks/timezone", "hidden behind a feature of WASI"),
    ("wasi:cli/run", "exported by commands"),
    (
        "wasi:http/types#[method]response-outparam.send-informational",
        "hidden behind a feature of WASI",
    ),
];

#[test]
fn every_test_that_the_table_names_exists() {
    let mut wrong = Vec::new();
    for (interface, function, tests) in rows() {
        let full = format!("{interface}#{function}");
        let excused = NOT_CALLED.iter().any(|(name, _)| *name == full || *name == interface);
        let named = tests.split(", ").all(test_exists);
        if named == excused || excused != (tests == "not called") {
            wrong.push(format!("{full}: {tests}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Interface and function of everything that the Rust components of the tests import. Their
/// compiler leaves out what is not called; a component of TypeScript, which is kept compressed,
/// imports all of an interface.
fn called() -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for folder in ["tests/guests/prebuilt", "examples/prebuilt"] {
        let files =
            std::fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
        for file in
            files.filter(|file| file.extension().is_some_and(|extension| extension == "wasm"))
        {
            let wasm = std::fs::read(&file).unwrap();
            for payload in wasmparser::Parser::new(0).parse_all(&wasm) {
                let wasmparser::Payload::ImportSection(imports) = payload.unwrap() else {
                    continue;
                };
                for import in imports.into_imports() {
                    let import = import.unwrap();
                    let interface = import.module.split('@').next().unwrap_or_default();
                    found.insert((interface.to_owned(), import.name.to_owned()));
                }
            }
        }
    }
    found
}

#[test]
fn every_function_is_called_by_a_component_of_the_tests() {
    let called = called();
    let exported = EXPORTED.iter().chain(&["wasi:http/incoming-handler"]);
    let rows = rows().into_iter().filter(|(interface, _, tests)| {
        tests != "not called" && !exported.clone().any(|e| e == interface)
    });
    let missing: Vec<_> = rows
        .filter(|(interface, function, _)| !called.contains(&(interface.clone(), function.clone())))
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

/// The behaviours that documents pin to tests.
#[test]
fn every_pinned_behaviour_has_its_test() {
    let text = std::fs::read_to_string(root().join("docs/pinned-behaviour.md")).unwrap();
    let rows: Vec<&str> = text.lines().filter(|line| line.ends_with("` |")).collect();
    assert!(rows.len() >= 26, "{} rows", rows.len());
    let names = rows.iter().flat_map(|row| row.rsplit(" | ").next().unwrap_or_default().split('`'));
    let missing: Vec<_> = names.filter(|name| name.contains("::") && !test_exists(name)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}
