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
    /// One key, drawn once per run: a key may only ever be repeated with the same meaning, and the
    /// next run may order something else.
    Fixed { key: [u8; KEY_LEN] },
}

impl KeyMaker {
    pub(crate) fn fresh() -> Result<Self, getrandom::Error> {
        Ok(Self::Fresh { run: random_letters()? })
    }

    pub(crate) fn fixed() -> Result<Self, getrandom::Error> {
        Ok(Self::Fixed { key: random_letters()? })
    }

    /// The key of request `index`.
    pub(crate) fn key(&self, index: u64) -> [u8; KEY_LEN] {
        match self {
            Self::Fresh { run } => {
                let mut key = [b'0'; KEY_LEN];
                key[..RUN_LEN].copy_from_slice(run);
                let mut rest = index;
                for slot in key[RUN_LEN..].iter_mut().rev() {
                    *slot = digit(rest);
                    rest >>= 5;
                }
                key
            }
            Self::Fixed { key } => *key,
        }
    }
}

fn random_letters<const LEN: usize>() -> Result<[u8; LEN], getrandom::Error> {
    let mut random = [0_u8; LEN];
    getrandom::fill(&mut random)?;
    Ok(random.map(|byte| digit(byte.into())))
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
            assert!(seen.insert(one.key(index)));
            assert!(seen.insert(two.key(index)));
        }
    }

    #[test]
    fn a_fixed_key_stays_within_a_run_and_differs_between_runs() {
        let maker = KeyMaker::fixed().unwrap();
        assert_eq!(maker.key(1), maker.key(2));
        assert_ne!(maker.key(1), KeyMaker::fixed().unwrap().key(1));
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
