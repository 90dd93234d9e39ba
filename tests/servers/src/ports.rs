//! Ports for servers that are told theirs before they start, and start again at the same one.
//!
//! Asking the system for a free port and giving it back is a race: it is any connection's port a
//! moment later. So ports come from below the range that the system gives to connections
//! (`net.ipv4.ip_local_port_range`, from 32768), in blocks: a test program owns a block as long as it
//! listens on the first port of it, and hands each of the others out once.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Mutex, PoisonError};

/// Where the blocks are, and how many ports each has.
const FIRST: u16 = 20_000;
const END: u16 = 32_000;
const BLOCK: u16 = 60;

/// The blocks that this program owns.
static OWN: Mutex<Vec<Block>> = Mutex::new(Vec::new());

struct Block {
    _claim: TcpListener,
    next: u16,
    end: u16,
}

/// A port that nobody listens on, and that no other test is given.
///
/// # Panics
/// When there is none left.
#[must_use]
pub fn free_port() -> u16 {
    let mut own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let port = own.last_mut().and_then(Block::take);
        match port {
            Some(port) if listen(port).is_some() => return port,
            // Another program listens there, which knows nothing of blocks.
            Some(_) => {}
            None => own.push(Block::claim().expect("all blocks of ports for tests are in use")),
        }
    }
}

impl Block {
    /// A block that no other program owns. Each begins to look at a place of its own.
    fn claim() -> Option<Self> {
        let blocks = (END - FIRST) / BLOCK;
        let turn = u16::try_from(std::process::id() % u32::from(blocks)).unwrap_or_default();
        let starts = (0..blocks).map(|n| FIRST + (n + turn) % blocks * BLOCK);
        starts
            .filter_map(|start| listen(start).map(|claim| (claim, start)))
            .map(|(claim, start)| Self { _claim: claim, next: start + 1, end: start + BLOCK })
            .next()
    }

    fn take(&mut self) -> Option<u16> {
        let port = self.next;
        self.next += 1;
        (port < self.end).then_some(port)
    }
}

/// Every address, because servers of tests listen on loopback or on all.
fn listen(port: u16) -> Option<TcpListener> {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_port_is_handed_out_twice_and_all_can_be_listened_on() {
        let ports: Vec<u16> = (0..3 * BLOCK).map(|_| free_port()).collect();
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), ports.len());
        assert!(ports.iter().all(|port| (FIRST..END).contains(port) && listen(*port).is_some()));
    }
}
