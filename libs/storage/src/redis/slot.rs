//! The hash slot of a key, as Redis Cluster computes it.

/// The slot of a key: CRC-16 (XMODEM) of its hash tag, of 16384.
pub(super) fn slot(key: &[u8]) -> u16 {
    crc16(tagged(key)) % 16384
}

/// What stands between the first '{' and the '}' behind it; the whole key if that is nothing.
fn tagged(key: &[u8]) -> &[u8] {
    let open = key.iter().position(|byte| *byte == b'{');
    let rest = open.and_then(|at| key.get(at.saturating_add(1)..)).unwrap_or_default();
    let close = rest.iter().position(|byte| *byte == b'}');
    close.and_then(|end| rest.get(..end)).filter(|tag| !tag.is_empty()).unwrap_or(key)
}

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc: u16, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(slot(b"foo"), 12182);
        assert_eq!(slot(b"{user1000}.following"), slot(b"{user1000}.followers"));
        assert_eq!(slot(b"foo{}{bar}"), crc16(b"foo{}{bar}") % 16384);
        assert_eq!(slot(b"foo{{bar}}zap"), crc16(b"{bar") % 16384);
        assert_eq!(slot(b"foo{bar}{zap}"), slot(b"bar"));
    }
}
