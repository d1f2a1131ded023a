//! The file of users' keys: slots of a fixed size, so that one can be overwritten where it stands.

use zizon_base::ids::UserHash;

/// Bytes of one slot: state 1, reserved 3, user 16, nonce 12, wrapped key 32 and tag 16, CRC 4, padding.
pub(super) const SLOT: usize = 96;
/// Bytes of the file's header: magic 8, version 4, CRC 4, padding to a slot.
pub(super) const HEADER: usize = SLOT;

const MAGIC: &[u8; 8] = b"ZIZONKEY";
const VERSION: u32 = 1;
const LIVE: u8 = 1;
const DESTROYED: u8 = 2;
const CRC_AT: usize = 4 + 16 + 12 + 48;

/// What a slot says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Slot {
    /// Never written, or torn before it was ever used.
    Free,
    /// A user's key under the platform's.
    Live { user: UserHash, nonce: [u8; 12], wrapped: [u8; 48] },
    /// A key that was destroyed.
    Destroyed,
    /// Bytes nobody wrote.
    Damaged,
}

impl Slot {
    pub fn encode(&self) -> [u8; SLOT] {
        let mut out = [0; SLOT];
        match self {
            Self::Live { user, nonce, wrapped } => {
                out[0] = LIVE;
                out[4..20].copy_from_slice(user.as_str().as_bytes());
                out[20..32].copy_from_slice(nonce);
                out[32..80].copy_from_slice(wrapped);
            }
            Self::Destroyed => out[0] = DESTROYED,
            Self::Free | Self::Damaged => return out,
        }
        let crc = crc32c::crc32c(&out[..CRC_AT]);
        out[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
        out
    }

    pub fn decode(bytes: &[u8; SLOT]) -> Self {
        if bytes.iter().all(|&byte| byte == 0) {
            return Self::Free;
        }
        let crc = crc32c::crc32c(&bytes[..CRC_AT]).to_le_bytes();
        if bytes[CRC_AT..CRC_AT + 4] != crc {
            return Self::Damaged;
        }
        match bytes[0] {
            DESTROYED => Self::Destroyed,
            LIVE => {
                let user = std::str::from_utf8(&bytes[4..20]).ok().and_then(|text| text.parse().ok());
                let (mut nonce, mut wrapped) = ([0; 12], [0; 48]);
                nonce.copy_from_slice(&bytes[20..32]);
                wrapped.copy_from_slice(&bytes[32..80]);
                user.map_or(Self::Damaged, |user| Self::Live { user, nonce, wrapped })
            }
            _ => Self::Damaged,
        }
    }
}

pub(super) fn header() -> [u8; HEADER] {
    let mut out = [0; HEADER];
    out[..8].copy_from_slice(MAGIC);
    out[8..12].copy_from_slice(&VERSION.to_le_bytes());
    let crc = crc32c::crc32c(&out[..12]);
    out[12..16].copy_from_slice(&crc.to_le_bytes());
    out
}

/// Byte offset of a slot.
pub(super) const fn offset(slot: u32) -> u64 {
    HEADER as u64 + slot as u64 * SLOT as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_comes_back_as_it_went_and_a_flipped_bit_is_seen() {
        let user = "0123456789abcdef".parse().unwrap();
        let slot = Slot::Live { user, nonce: [7; 12], wrapped: [9; 48] };
        let bytes = slot.encode();
        assert_eq!(Slot::decode(&bytes), slot);
        for at in 0..CRC_AT + 4 {
            let mut flipped = bytes;
            flipped[at] ^= 4;
            assert_eq!(Slot::decode(&flipped), Slot::Damaged, "{at}");
        }
        assert_eq!(Slot::decode(&Slot::Destroyed.encode()), Slot::Destroyed);
        assert_eq!(Slot::decode(&[0; SLOT]), Slot::Free);
    }
}
