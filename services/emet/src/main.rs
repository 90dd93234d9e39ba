//! The `emet` binary.
fn main() {}
