//! `emet wit`: the interfaces that components can import.

use crate::context::Context;
use crate::failure::Failure;
use clap::Subcommand;
use std::path::PathBuf;

const EXPORT_EXAMPLES: &str = "Example:
  emet wit export wit/deps    # then: import golem:api/host@0.2.0; in your world";

/// The interfaces that components can import.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Write the WIT texts of everything that a component can import, one folder for each package.
    #[command(after_help = EXPORT_EXAMPLES)]
    Export {
        /// The folder to write to; it is made if it is missing.
        dir: PathBuf,
    },
}

/// The texts, by their places below `wit/` in the repository.
macro_rules! texts {
    ($($path:literal),* $(,)?) => {
        const TEXTS: &[(&str, &str)] = &[$(($path, include_str!(concat!("../../../wit/", $path)))),*];
    };
}

texts!(
    "deps/golem-api-0.2.0/host.wit",
    "deps/golem-api-0.2.2/host.wit",
    "deps/golem-api-1.1.5/context.wit",
    "deps/golem-api-1.1.5/host.wit",
    "deps/golem-api-1.1.5/oplog-processor.wit",
    "deps/golem-api-1.1.5/oplog.wit",
    "deps/golem-durability-1.2.0/durability.wit",
    "deps/golem-rpc-0.1.0/types.wit",
    "deps/golem-rpc-0.1.3/types.wit",
    "deps/golem-rpc-0.2.0/types.wit",
    "deps/wasi-blobstore/blobstore.wit",
    "deps/wasi-blobstore/container.wit",
    "deps/wasi-blobstore/types.wit",
    "deps/wasi-keyvalue-0.1.0/atomic.wit",
    "deps/wasi-keyvalue-0.1.0/cache.wit",
    "deps/wasi-keyvalue-0.1.0/error.wit",
    "deps/wasi-keyvalue-0.1.0/eventual-batch.wit",
    "deps/wasi-keyvalue-0.1.0/eventual.wit",
    "deps/wasi-keyvalue-0.1.0/handle-watch.wit",
    "deps/wasi-keyvalue-0.1.0/types.wit",
    "deps/wasi-keyvalue-0.1.0/world.wit",
    "deps/wasi-logging/logging.wit",
    "wasi-0.2.0/cli.wit",
    "wasi-0.2.0/clocks.wit",
    "wasi-0.2.0/filesystem.wit",
    "wasi-0.2.0/http.wit",
    "wasi-0.2.0/io.wit",
    "wasi-0.2.0/random.wit",
    "wasi-0.2.0/sockets.wit",
);

/// Folder and file that a text is written to.
fn place(path: &str) -> (String, &str) {
    match path.split_once('/') {
        Some(("deps", rest)) => rest
            .split_once('/')
            .map_or((rest.to_owned(), "package.wit"), |(dir, file)| (dir.to_owned(), file)),
        Some((_, file)) => (format!("wasi-{}-0.2.0", file.trim_end_matches(".wit")), file),
        None => (String::new(), path),
    }
}

pub(crate) fn run(context: &Context, command: Command) -> Result<(), Failure> {
    let Command::Export { dir } = command;
    for (path, text) in TEXTS {
        let (folder, file) = place(path);
        let folder = dir.join(folder);
        let file = folder.join(file);
        let written = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&file, text));
        written
            .map_err(|error| Failure::new(format!("cannot write {}: {error}", file.display())))?;
    }
    context.out.done(&TEXTS.len(), &format!("wrote {} files to {}", TEXTS.len(), dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_text_is_exported() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
        let mut present = BTreeSet::new();
        for entry in ["deps", "wasi-0.2.0"].iter().flat_map(|dir| walk(&root.join(dir))) {
            present.insert(entry.strip_prefix(&root).unwrap().to_str().unwrap().to_owned());
        }
        // These two are excerpts of texts that are exported in full.
        present.retain(|path| {
            !path.starts_with("deps/wasi-io-0.2.0") && !path.starts_with("deps/wasi-clocks-0.2.0")
        });
        assert_eq!(present, TEXTS.iter().map(|(path, _)| (*path).to_owned()).collect());
    }

    fn walk(dir: &std::path::Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
        entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
    }
}
