//! Crockford base32 in lower case: no `i`, `l`, `o`, `u`, so that an id survives being read aloud.

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Encodes the leading `digits * 5` bits of `bytes`, most significant bit first.
///
/// # Panics
/// When `bytes` holds fewer bits than asked for.
#[must_use]
pub fn encode_bits(bytes: &[u8], digits: usize) -> String {
    assert!(digits * 5 <= bytes.len() * 8, "not enough bits to encode");
    let mut out = String::with_capacity(digits);
    for digit in 0..digits {
        let mut value = 0u8;
        for bit in digit * 5..digit * 5 + 5 {
            value = value << 1 | (bytes[bit / 8] >> (7 - bit % 8) & 1);
        }
        out.push(char::from(ALPHABET[usize::from(value)]));
    }
    out
}

/// Encodes `value` as exactly `digits` digits, most significant first; higher bits are dropped.
#[must_use]
pub fn encode_u64(value: u64, digits: usize) -> String {
    (0..digits)
        .rev()
        .map(|place| {
            let shifted = value.checked_shr(u32::try_from(place * 5).unwrap_or(u32::MAX)).unwrap_or(0);
            char::from(ALPHABET[(shifted & 31) as usize])
        })
        .collect()
}

/// Whether every byte is a digit of the alphabet in lower case.
#[must_use]
pub fn is_encoded(text: &str) -> bool {
    text.bytes().all(|byte| ALPHABET.contains(&byte))
}

/// The value of one digit, if it is one.
#[must_use]
pub fn digit(byte: u8) -> Option<u8> {
    ALPHABET.iter().position(|&known| known == byte).and_then(|at| u8::try_from(at).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_read_from_the_most_significant_end() {
        assert_eq!(encode_bits(&[0b0000_1000, 0b0100_0000], 3), "110");
        assert_eq!(encode_bits(&[0xff; 5], 8), "zzzzzzzz");
    }

    #[test]
    fn integers_are_padded_to_their_width() {
        assert_eq!(encode_u64(0, 4), "0000");
        assert_eq!(encode_u64(33, 3), "011");
    }

    #[test]
    fn look_alike_letters_are_not_digits() {
        for letter in ["i", "l", "o", "u", "A"] {
            assert!(!is_encoded(letter));
        }
    }
}
