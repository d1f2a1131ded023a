//! Crockford base32 in lower case: no `i`, `l`, `o`, `u`, so that an id survives being read aloud.

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// What is no digit, in [`DIGITS`].
const NONE: u8 = 0xff;

/// The value of every byte.
const DIGITS: [u8; 256] = {
    let mut digits = [NONE; 256];
    let mut value = 0;
    while value < 32 {
        digits[ALPHABET[value as usize] as usize] = value;
        value += 1;
    }
    digits
};

/// Encodes the leading `digits * 5` bits of `bytes`, most significant bit first.
///
/// # Panics
/// When `bytes` holds fewer bits than asked for.
#[must_use]
pub fn encode_bits(bytes: &[u8], digits: usize) -> String {
    assert!(digits * 5 <= bytes.len() * 8, "not enough bits to encode");
    let mut out = String::with_capacity(digits);
    let (mut bits, mut held) = (0_u32, 0);
    let mut bytes = bytes.iter();
    for _ in 0..digits {
        if held < 5 {
            bits = bits << 8 | u32::from(bytes.next().copied().unwrap_or(0));
            held += 8;
        }
        held -= 5;
        out.push(char::from(ALPHABET[(bits >> held & 31) as usize]));
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
    text.bytes().all(|byte| DIGITS[usize::from(byte)] != NONE)
}

/// The value of one digit, if it is one.
#[must_use]
pub fn digit(byte: u8) -> Option<u8> {
    Some(DIGITS[usize::from(byte)]).filter(|value| *value != NONE)
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
    fn every_digit_has_its_value_and_nothing_else_has_one() {
        for byte in 0..=u8::MAX {
            let expected = ALPHABET.iter().position(|&known| known == byte).map(|at| u8::try_from(at).unwrap());
            assert_eq!(digit(byte), expected);
        }
    }

    #[test]
    fn bits_are_the_same_as_integers() {
        let value = 0x0123_4567_89ab_cdef_u64;
        for digits in 1..=12 {
            let leading = value >> (64 - digits * 5);
            assert_eq!(encode_bits(&value.to_be_bytes(), digits), encode_u64(leading, digits));
        }
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
