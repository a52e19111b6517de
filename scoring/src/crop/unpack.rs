//! Rows of the bit-packed formats, spread to little endian words.

/// Samples `begin..end` of a v210 row, as words into `out` (2 bytes a sample).
pub(super) fn v210(row: &[u8], begin: usize, end: usize, out: &mut [u8]) {
    debug_assert!(begin.is_multiple_of(3));
    let words = row[begin / 3 * 4..].chunks_exact(4);
    for (word, out) in words.zip(out[..2 * (end - begin)].chunks_mut(6)) {
        let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        // The three samples as one number of three words.
        let spread =
            u64::from(word & 0x3ff) | u64::from(word >> 10 & 0x3ff) << 16 | u64::from(word >> 20 & 0x3ff) << 32;
        out.copy_from_slice(&spread.to_le_bytes()[..out.len()]);
    }
}

/// Samples `begin..end` of a UYVP row, as words into `out` (2 bytes a sample).
pub(super) fn uyvp(row: &[u8], begin: usize, end: usize, out: &mut [u8]) {
    debug_assert!(begin.is_multiple_of(4));
    for (group, out) in row[begin / 4 * 5..].chunks(5).zip(out[..2 * (end - begin)].chunks_mut(8)) {
        // The last group of a row may end with its last sample.
        let mut bytes = [0; 8];
        bytes[..group.len()].copy_from_slice(group);
        let bits = u64::from_be_bytes(bytes);
        let spread = bits >> 54 | (bits >> 44 & 0x3ff) << 16 | (bits >> 34 & 0x3ff) << 32 | (bits >> 24 & 0x3ff) << 48;
        out.copy_from_slice(&spread.to_le_bytes()[..out.len()]);
    }
}
