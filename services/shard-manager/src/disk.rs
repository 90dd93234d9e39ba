//! Small durable files (docs/format/cluster-state.md): a magic number, then records of
//! length, checksum and content.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"EMETRFT1";
/// Length and checksum, little-endian.
const HEADER: usize = 8;

fn damaged(path: &Path, reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{}: {reason}", path.display()))
}

fn checksum(length: [u8; 4], content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length);
    hasher.update(content);
    hasher.finalize()
}

fn encode(content: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let length = u32::try_from(content.len())
        .map_err(|_| io::Error::other("a record is larger than 4 GiB"))?;
    let length = length.to_le_bytes();
    out.extend_from_slice(&length);
    out.extend_from_slice(&checksum(length, content).to_le_bytes());
    out.extend_from_slice(content);
    Ok(())
}

/// A record at the start of some bytes.
enum Found<'a> {
    Record {
        content: &'a [u8],
        rest: &'a [u8],
    },
    /// The bytes end before the record does, or its end is the end of the bytes and it is damaged:
    /// what a write leaves that a crash cut short.
    Torn,
    /// It is damaged, and others follow.
    Damaged,
}

fn decode(bytes: &[u8]) -> Found<'_> {
    let Some((header, rest)) = bytes.split_at_checked(HEADER) else { return Found::Torn };
    let (Some(length), Some(sum)) = (header.first_chunk::<4>(), header.last_chunk::<4>()) else {
        return Found::Torn;
    };
    let size = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    let Some((content, rest)) = rest.split_at_checked(size) else { return Found::Torn };
    match (checksum(*length, content) == u32::from_le_bytes(*sum), rest.is_empty()) {
        (true, _) => Found::Record { content, rest },
        (false, true) => Found::Torn,
        (false, false) => Found::Damaged,
    }
}

fn read_file(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Replaces a file by records, atomically; durable when it returns.
pub(crate) fn replace(path: &Path, records: &[Vec<u8>]) -> io::Result<()> {
    let mut bytes = MAGIC.to_vec();
    for record in records {
        encode(record, &mut bytes)?;
    }
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    let directory = path.parent().ok_or_else(|| damaged(path, "has no directory"))?;
    File::open(directory)?.sync_all()
}

/// The one record of a file that [`replace`] wrote.
pub(crate) fn read_one(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let Some(bytes) = read_file(path)? else { return Ok(None) };
    let records = bytes
        .strip_prefix(MAGIC)
        .ok_or_else(|| damaged(path, "is not a file of the shard manager"))?;
    match decode(records) {
        Found::Record { content, rest: [] } => Ok(Some(content.to_vec())),
        _ => Err(damaged(path, "is damaged")),
    }
}

/// A file that grows by records.
pub(crate) struct RecordFile {
    path: PathBuf,
    file: File,
}

impl RecordFile {
    /// Opens or makes the file, and reads its records. What a crash left at its end is cut off; it
    /// was never confirmed.
    pub(crate) fn open(path: PathBuf) -> io::Result<(Self, Vec<Vec<u8>>)> {
        let bytes = match read_file(&path)? {
            Some(bytes) => bytes,
            None => {
                replace(&path, &[])?;
                MAGIC.to_vec()
            }
        };
        let mut left = bytes
            .strip_prefix(MAGIC)
            .ok_or_else(|| damaged(&path, "is not a file of the shard manager"))?;
        let mut records = Vec::new();
        while !left.is_empty() {
            match decode(left) {
                Found::Record { content, rest } => {
                    records.push(content.to_vec());
                    left = rest;
                }
                Found::Torn => break,
                Found::Damaged => return Err(damaged(&path, "is damaged in the middle")),
            }
        }
        let mut file = OpenOptions::new().read(true).write(true).open(&path)?;
        let end = bytes.len() - left.len();
        file.set_len(end as u64)?;
        file.sync_all()?;
        file.seek(SeekFrom::End(0))?;
        Ok((Self { path, file }, records))
    }

    /// Appends records; durable when it returns.
    pub(crate) fn append(&mut self, records: &[Vec<u8>]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for record in records {
            encode(record, &mut bytes)?;
        }
        self.file.write_all(&bytes)?;
        self.file.sync_data()
    }

    /// Replaces all records.
    pub(crate) fn rewrite(&mut self, records: &[Vec<u8>]) -> io::Result<()> {
        replace(&self.path, records)?;
        self.file = OpenOptions::new().read(true).write(true).open(&self.path)?;
        self.file.seek(SeekFrom::End(0)).map(drop)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn records(n: u8) -> Vec<Vec<u8>> {
        (0..n).map(|i| vec![i; usize::from(i)]).collect()
    }

    #[test]
    fn a_torn_end_is_cut_off_at_every_byte() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let (mut file, _) = RecordFile::open(path.clone()).unwrap();
        file.append(&records(4)).unwrap();
        let whole = std::fs::read(&path).unwrap();
        file.append(&[b"unconfirmed".to_vec()]).unwrap();
        let longer = std::fs::read(&path).unwrap();
        for length in whole.len()..longer.len() {
            std::fs::write(&path, &longer[..length]).unwrap();
            let (mut file, found) = RecordFile::open(path.clone()).unwrap();
            assert_eq!(found, records(4));
            file.append(&[b"next".to_vec()]).unwrap();
            let (_, found) = RecordFile::open(path.clone()).unwrap();
            assert_eq!(found.last().unwrap(), b"next");
        }
    }

    #[test]
    fn damage_before_the_end_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let (mut file, _) = RecordFile::open(path.clone()).unwrap();
        file.append(&records(4)).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = MAGIC.len() + HEADER + HEADER;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(RecordFile::open(path).err().unwrap().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_replaced_file_is_read_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vote");
        assert_eq!(read_one(&path).unwrap(), None);
        replace(&path, &[b"one".to_vec()]).unwrap();
        replace(&path, &[b"two".to_vec()]).unwrap();
        assert_eq!(read_one(&path).unwrap().unwrap(), b"two");
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(read_one(&path).is_err());
    }
}
