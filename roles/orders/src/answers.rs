//! Answers to requests that were repeated, kept for the next repetition.
//!
//! The 201 of an order never changes, and whoever repeats a request, once more after a lost answer or a thousand times in a
//! loop, sends the same bytes. So a repetition of the same bytes needs no reading, deriving, looking up and writing again. Only
//! answers that came from the table are kept: what is in here is durable. Nothing is kept of a request but a keyed hash.

use bytes::Bytes;
use parking_lot::Mutex;
use zizon_base::ids::OrderId;
use zizon_journal::Rng;

use crate::service::Answer;

/// Requests that are remembered, each in the one slot its checksum names.
const SLOTS: usize = 1_024;
/// Longer requests and answers are not kept: together at most 4 MiB are.
const REQUEST_BYTES_MAX: usize = 8 * 1024;
const ANSWER_BYTES_MAX: usize = 4 * 1024;

/// A request as it was sent.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Its body.
    pub body: &'a [u8],
    /// The value of `Idempotency-Key`.
    pub header_key: Option<&'a [u8]>,
}

/// The answers.
#[derive(Debug)]
pub struct Answers {
    /// Of this process: nobody outside can find two requests that are taken for one.
    key: [u8; 32],
    slots: Box<[Mutex<Option<Kept>>]>,
}

#[derive(Debug)]
struct Kept {
    sum: u32,
    hash: [u8; 32],
    id: OrderId,
    body: Bytes,
}

impl Answers {
    /// None yet.
    #[must_use]
    pub fn new(rng: &dyn Rng) -> Self {
        let mut key = [0; 32];
        rng.fill(&mut key);
        Self { key, slots: (0..SLOTS).map(|_| Mutex::default()).collect() }
    }

    /// The answer to this request, if it was repeated before.
    #[must_use]
    pub fn find(&self, asked: Asked<'_>) -> Option<Answer> {
        let (sum, slot) = self.slot(asked);
        // A request that is new, as most are, costs the checksum alone.
        let kept = slot.lock();
        let kept = kept.as_ref().filter(|kept| kept.sum == sum && kept.hash == self.hash(asked))?;
        Some(Answer { id: kept.id, body: kept.body.clone(), replayed: true })
    }

    /// Keeps the answer to a request whose order stood already; forgets what was in its slot.
    pub fn keep(&self, asked: Asked<'_>, answer: &Answer) {
        if !answer.replayed || asked.body.len() > REQUEST_BYTES_MAX || answer.body.len() > ANSWER_BYTES_MAX {
            return;
        }
        let (sum, slot) = self.slot(asked);
        let kept = Kept { sum, hash: self.hash(asked), id: answer.id, body: answer.body.clone() };
        *slot.lock() = Some(kept);
    }

    fn slot(&self, asked: Asked<'_>) -> (u32, &Mutex<Option<Kept>>) {
        let sum = crc32c::crc32c_append(crc32c::crc32c(asked.body), asked.header_key.unwrap_or_default());
        (sum, &self.slots[usize::try_from(sum).unwrap_or(0) % SLOTS])
    }

    fn hash(&self, asked: Asked<'_>) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        // The length first, counted from 1 so that no key and an empty one are two things.
        let key_len = asked.header_key.map_or(0, |key| key.len() as u64 + 1);
        hasher.update(&key_len.to_le_bytes()).update(asked.header_key.unwrap_or_default()).update(asked.body);
        *hasher.finalize().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use zizon_base::ids::IdKey;
    use zizon_journal::Env;

    use super::*;

    fn asked<'a>(body: &'a [u8], header_key: Option<&'a [u8]>) -> Asked<'a> {
        Asked { body, header_key }
    }

    fn answer(text: &str, replayed: bool) -> Answer {
        let keys = IdKey::new(&zeroize::Zeroizing::new([3; 32]));
        let id = keys.order_id("guest", &"user".parse().unwrap(), &"key".parse().unwrap());
        Answer { id, body: Bytes::copy_from_slice(text.as_bytes()), replayed }
    }

    #[test]
    fn the_same_bytes_are_answered_and_nothing_else() {
        let answers = Answers::new(&*Env::real().rng);
        answers.keep(asked(b"body", Some(b"key")), &answer("one", true));
        assert_eq!(answers.find(asked(b"body", Some(b"key"))), Some(answer("one", true)));
        for other in [
            asked(b"body", None),
            asked(b"body", Some(b"")),
            asked(b"bodyk", Some(b"ey")),
            asked(b"bodykey", None),
            asked(b"Body", Some(b"key")),
        ] {
            assert_eq!(answers.find(other), None, "{other:?}");
        }
        answers.keep(asked(b"body", Some(b"")), &answer("two", true));
        assert_eq!(answers.find(asked(b"body", None)), None, "no key is not an empty key");
    }

    #[test]
    fn an_order_that_was_just_made_and_what_is_large_are_not_kept() {
        let answers = Answers::new(&*Env::real().rng);
        let large = vec![b' '; REQUEST_BYTES_MAX + 1];
        answers.keep(asked(b"new", None), &answer("new", false));
        answers.keep(asked(&large, None), &answer("large", true));
        answers.keep(asked(b"much", None), &answer(&"x".repeat(ANSWER_BYTES_MAX + 1), true));
        assert!(answers.slots.iter().all(|slot| slot.lock().is_none()));
    }

    #[test]
    fn a_checksum_alone_is_no_match() {
        let answers = Answers::new(&*Env::real().rng);
        // CRCs are linear: these two have the same one.
        let (one, two) = colliding();
        assert_eq!(crc32c::crc32c(&one), crc32c::crc32c(&two));
        answers.keep(asked(&one, None), &answer("one", true));
        assert_eq!(answers.find(asked(&two, None)), None);
        answers.keep(asked(&two, None), &answer("two", true));
        assert_eq!(answers.find(asked(&one, None)), None, "one slot, one request");
        assert_eq!(answers.find(asked(&two, None)), Some(answer("two", true)));
    }

    /// Two different requests with the same checksum: the second begins differently and ends in four bytes that make up
    /// for it, found one bit at a time.
    fn colliding() -> (Vec<u8>, Vec<u8>) {
        let one = b"a request!    ".to_vec();
        let mut two = b"another one   ".to_vec();
        let at = two.len() - 4;
        let base = crc32c::crc32c(&two);
        let mut wanted = base ^ crc32c::crc32c(&one);
        // What each bit of the last four bytes changes, reduced to one leading bit each.
        let mut basis: Vec<(u32, u32)> = Vec::new();
        for bit in 0..32_u32 {
            let mut changed = two.clone();
            changed[at + bit as usize / 8] ^= 1 << (bit % 8);
            let (mut effect, mut bits) = (crc32c::crc32c(&changed) ^ base, 1 << bit);
            for &(other, its) in &basis {
                if effect ^ other < effect {
                    (effect, bits) = (effect ^ other, bits ^ its);
                }
            }
            basis.push((effect, bits));
        }
        basis.sort_unstable_by_key(|&(effect, _)| std::cmp::Reverse(effect));
        let mut flip = 0;
        for (effect, bits) in basis {
            if wanted ^ effect < wanted {
                (wanted, flip) = (wanted ^ effect, flip ^ bits);
            }
        }
        assert_eq!(wanted, 0);
        for (byte, change) in two[at..].iter_mut().zip(u32::to_le_bytes(flip)) {
            *byte ^= change;
        }
        (one, two)
    }
}
