//! Idempotency keys and users of generated orders.

/// Characters of a key. 26 x 5 bits: also long enough where a guest's key must not be guessable.
pub(crate) const KEY_LEN: usize = 26;
/// Characters of the part of a fresh key that names the run (70 random bits).
const RUN_LEN: usize = 14;
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Makes the key of each request.
#[derive(Debug, Clone)]
pub(crate) enum KeyMaker {
    /// Run part, then a counter.
    Fresh { run: [u8; RUN_LEN] },
    /// A function of the user and of what is ordered, the same in every run: a fixed key may only
    /// ever be repeated with the same meaning.
    Fixed { meaning: blake3::Hash },
}

impl KeyMaker {
    pub(crate) fn fresh() -> Result<Self, getrandom::Error> {
        let mut random = [0_u8; RUN_LEN];
        getrandom::fill(&mut random)?;
        Ok(Self::Fresh { run: random.map(|byte| ALPHABET[usize::from(byte & 31)]) })
    }

    pub(crate) fn fixed(product: &str, quantity: u32, price: i64) -> Self {
        let meaning = format!("zizon load fixed key\n{product}\n{quantity}\n{price}");
        Self::Fixed { meaning: blake3::hash(meaning.as_bytes()) }
    }

    /// The key of request `index`, sent by `user`.
    pub(crate) fn key(&self, index: u64, user: u32) -> [u8; KEY_LEN] {
        let mut key = [b'0'; KEY_LEN];
        match self {
            Self::Fresh { run } => {
                key[..RUN_LEN].copy_from_slice(run);
                let mut rest = index;
                for slot in key[RUN_LEN..].iter_mut().rev() {
                    *slot = digit(rest);
                    rest >>= 5;
                }
            }
            Self::Fixed { meaning } => {
                let hash = blake3::keyed_hash(meaning.as_bytes(), &user.to_le_bytes());
                for (slot, byte) in key.iter_mut().zip(hash.as_bytes()) {
                    *slot = digit(u64::from(*byte));
                }
            }
        }
        key
    }
}

fn digit(value: u64) -> u8 {
    ALPHABET[(value & 31) as usize]
}

/// A small random stream (SplitMix64) that picks users; each connection has its own.
#[derive(Debug, Clone)]
pub(crate) struct Picker(u64);

impl Picker {
    pub(crate) fn seeded() -> Result<Self, getrandom::Error> {
        getrandom::u64().map(Self)
    }

    /// A number in `0..bound`.
    #[expect(clippy::cast_possible_truncation, reason = "the high half of a 32 x 64-bit product is below `bound`")]
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        ((u128::from(z) * u128::from(bound)) >> 64) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_keys_differ_within_a_run_and_between_runs() {
        let (one, two) = (KeyMaker::fresh().unwrap(), KeyMaker::fresh().unwrap());
        let mut seen = std::collections::HashSet::new();
        for index in 0..1_000 {
            assert!(seen.insert(one.key(index, 1)));
            assert!(seen.insert(two.key(index, 1)));
        }
    }

    #[test]
    fn fixed_keys_depend_on_user_and_meaning_only() {
        let maker = KeyMaker::fixed("PROD001", 1, 2_690_000);
        assert_eq!(maker.key(1, 7), maker.key(2, 7));
        assert_ne!(maker.key(1, 7), maker.key(1, 8));
        assert_ne!(maker.key(1, 7), KeyMaker::fixed("PROD001", 2, 2_690_000).key(1, 7));
    }

    #[test]
    fn picked_users_stay_in_range_and_cover_it() {
        let mut picker = Picker::seeded().unwrap();
        let mut hits = [0_u32; 10];
        for _ in 0..10_000 {
            hits[picker.below(10) as usize] += 1;
        }
        assert!(hits.iter().all(|&n| n > 700), "{hits:?}");
    }
}
