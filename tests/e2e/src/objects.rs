//! The objects that a server has stored, as files.

use crate::{Failure, Server};
use std::path::{Path, PathBuf};

impl Server {
    /// Files of the objects whose keys contain all of these texts, in the order of their names.
    pub fn objects(&self, parts: &[&str]) -> Result<Vec<PathBuf>, Failure> {
        let root = match &self.cluster {
            Some(cluster) => cluster.s3.objects(),
            None => self.data_dir().join("blobs"),
        };
        let mut found = Vec::new();
        walk(&root, &mut found)?;
        found.retain(|path| {
            let name = path.strip_prefix(&root).unwrap_or(path).to_string_lossy();
            parts.iter().all(|part| name.contains(&self.in_names(part)))
        });
        found.sort();
        Ok(found)
    }

    /// Removes the objects whose keys contain all of these texts.
    pub fn lose_objects(&self, parts: &[&str]) -> Result<(), Failure> {
        let lost = self.objects(parts)?;
        if lost.is_empty() {
            return Err(format!("there is no object with {parts:?}").into());
        }
        Ok(lost.into_iter().try_for_each(std::fs::remove_file)?)
    }

    /// How a text in keys is written in names (docs/format/s3.md; on a file system, as it is).
    fn in_names(&self, text: &str) -> String {
        match &self.cluster {
            Some(_) => text.replace('-', "--"),
            None => text.to_owned(),
        }
    }
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}
