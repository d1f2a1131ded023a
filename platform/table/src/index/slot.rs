//! What the index stores per item: the image itself when it is small, otherwise where it lies in the journal.
//!
//! ```text
//! slot = 1 image
//!      | 2 segment:varint frame:varint start:varint len:varint
//! ```

use zizon_journal::Location;

/// Value of an index entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot<'a> {
    /// The item's image.
    Inline(&'a [u8]),
    /// Where in the journal the item's image is. The journal verifies it with every read.
    Located(Location),
}

const INLINE: u8 = 1;
const LOCATED: u8 = 2;

impl<'a> Slot<'a> {
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        match self {
            Self::Inline(image) => {
                out.push(INLINE);
                out.extend_from_slice(image);
            }
            Self::Located(at) => {
                out.push(LOCATED);
                for n in [at.segment, at.frame.into(), at.start.into(), at.len.into()] {
                    put(out, n);
                }
            }
        }
    }

    /// `None` when the bytes are no slot.
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (&tag, mut rest) = bytes.split_first()?;
        match tag {
            INLINE => Some(Self::Inline(rest)),
            LOCATED => {
                let segment = take(&mut rest)?;
                let mut part = || u32::try_from(take(&mut rest)?).ok();
                let at = Location { segment, frame: part()?, start: part()?, len: part()? };
                rest.is_empty().then_some(Self::Located(at))
            }
            _ => None,
        }
    }
}

fn put(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push((n & 0x7f) as u8);
}

fn take(from: &mut &[u8]) -> Option<u64> {
    let mut n = 0_u64;
    for shift in (0..63).step_by(7) {
        let (&byte, rest) = from.split_first()?;
        *from = rest;
        n |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(n);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_survives_the_round_trip_in_few_bytes() {
        let at = Location { segment: 12_345, frame: 64 << 20, start: 700, len: 280 };
        let mut bytes = Vec::new();
        Slot::Located(at).encode(&mut bytes);
        assert!(bytes.len() <= 12, "{} bytes", bytes.len());
        assert_eq!(Slot::decode(&bytes), Some(Slot::Located(at)));
        for cut in 0..bytes.len() {
            assert_eq!(Slot::decode(&bytes[..cut]), None);
        }
    }

    #[test]
    fn an_image_survives_the_round_trip() {
        let mut bytes = Vec::new();
        Slot::Inline(b"image").encode(&mut bytes);
        assert_eq!(Slot::decode(&bytes), Some(Slot::Inline(b"image")));
        assert_eq!(Slot::decode(&[9, 9]), None);
    }
}
