//! In what respects two states differ, for people.

use super::files;
use super::format::{Body, Entry, Handles, PartState, Run};

pub(super) fn between(a: &Body, b: &Body) -> Vec<String> {
    let mut found = Vec::new();
    if a.parts.len() != b.parts.len() {
        found.push(format!("there are {} and {} parts", a.parts.len(), b.parts.len()));
    }
    for (number, (one, other)) in a.parts.iter().zip(&b.parts).enumerate() {
        let place = if a.parts.len() > 1 { format!("part {number}: ") } else { String::new() };
        let differing = between_parts(one, other).into_iter();
        found.extend(differing.map(|difference| format!("{place}{difference}")));
    }
    if (a.next_resource, &a.resources, &a.indexed) != (b.next_resource, &b.resources, &b.indexed) {
        found.push("the resources that callers hold differ".into());
    }
    if a.settings != b.settings {
        found.push("what the guest has set differs".into());
    }
    found.extend(files::differences(&a.files, &b.files));
    found
}

fn between_parts(a: &PartState, b: &PartState) -> Vec<String> {
    let mut found = Vec::new();
    for (number, (a, b)) in a.memories.iter().zip(&b.memories).enumerate() {
        if a.pages != b.pages {
            found.push(format!("memory {number} has {} and {} pages", a.pages, b.pages));
        } else if a.runs != b.runs {
            found.push(format!("memory {number} differs: {}", first_difference(&a.runs, &b.runs)));
        }
    }
    let globals = a.globals.iter().zip(&b.globals).enumerate().filter(|(_, (a, b))| a != b);
    found.extend(globals.map(|(number, (a, b))| format!("global {number} is {a:#x} and {b:#x}")));
    if a.handles != b.handles {
        found.push(format!(
            "the handle tables differ: {:?} and {:?}",
            table_text(a.handles.as_ref()),
            table_text(b.handles.as_ref())
        ));
    }
    found
}

fn table_text(handles: Option<&Handles>) -> Option<(u32, Vec<String>, Vec<u32>)> {
    handles.map(|h| (h.highest, h.entries.iter().map(entry_text).collect(), h.free.clone()))
}

fn entry_text(entry: &Entry) -> String {
    format!("{}: {:?}", entry.index, entry.origin)
}

fn first_difference(a: &[Run], b: &[Run]) -> String {
    let places =
        |runs: &[Run]| runs.iter().map(|run| (run.start, run.bytes.len())).collect::<Vec<_>>();
    if places(a) != places(b) {
        return format!("changed pages at {:?} and {:?}", places(a), places(b));
    }
    let bytes = a.iter().zip(b).flat_map(|(a, b)| (a.start..).zip(a.bytes.iter().zip(&b.bytes)));
    let differing: Vec<u32> =
        bytes.filter(|(_, (a, b))| a != b).map(|(at, _)| at).take(8).collect();
    format!("first at {differing:?}")
}
