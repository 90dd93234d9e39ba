//! Which pages of a memory were written since it was mapped, as the kernel tells it: of most memories
//! they are few, and only they can differ from those of a fresh instance.

use emet_checkpoint::PAGE;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::LazyLock;

/// `/proc/self/pagemap` (proc(5)): eight bytes of each page of the address space; none where there is
/// no such file, or pages have another size.
static PAGEMAP: LazyLock<Option<File>> = LazyLock::new(|| {
    let same_size = rustix::param::page_size() == PAGE;
    File::open("/proc/self/pagemap").ok().filter(|_| same_size)
});
/// Bytes of one page in the map.
const ENTRY: usize = 8;
const PRESENT: u64 = 1 << 63;
const SWAPPED: u64 = 1 << 62;
/// The page is the one of the mapped file: nothing was written to it.
const OF_FILE: u64 = 1 << 61;

/// What is known of the pages of some bytes.
pub(super) struct Written {
    map: Option<Vec<u8>>,
}

impl Written {
    /// Of bytes that are part of a memory. One that was mapped has the pages of its image, or
    /// zeroes, until they are written.
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self { map: Self::read(bytes) }
    }

    /// Any page may have been written.
    pub(super) fn unknown() -> Self {
        Self { map: None }
    }

    fn read(bytes: &[u8]) -> Option<Vec<u8>> {
        let file = PAGEMAP.as_ref()?;
        let start = bytes.as_ptr().addr();
        if !start.is_multiple_of(PAGE) {
            return None;
        }
        let mut map = vec![0; bytes.len().div_ceil(PAGE) * ENTRY];
        let at = u64::try_from(start / PAGE * ENTRY).ok()?;
        file.read_exact_at(&mut map, at).ok().map(|()| map)
    }

    /// Whether a page may have been written; by its number within the bytes.
    pub(super) fn may_be(&self, page: usize) -> bool {
        let entry = |map: &[u8]| Some(u64::from_le_bytes(*map.get(page * ENTRY..)?.first_chunk()?));
        let Some(entry) = self.map.as_deref().and_then(entry) else { return true };
        entry & SWAPPED != 0 || entry & (PRESENT | OF_FILE) == PRESENT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So large that the allocator takes it from the kernel, where nobody has touched it.
    const SIZE: usize = 48 << 20;
    /// Pages so far apart that no larger page has two of them.
    const APART: usize = (8 << 20) / PAGE;

    #[test]
    fn a_page_that_was_written_is_told() {
        let mut bytes = vec![0u8; SIZE];
        let first = bytes.as_ptr().align_offset(PAGE);
        bytes[first + APART * PAGE + 1] = 1;
        let written = Written::of(&bytes[first..first + 4 * APART * PAGE]);
        assert!(written.may_be(APART));
        assert_eq!(written.may_be(3 * APART), PAGEMAP.is_none());
        assert!(Written::unknown().may_be(3 * APART));
    }
}
