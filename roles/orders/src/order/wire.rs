//! Small binary encoding: varints, and texts and bytes with their length.

/// The bytes are not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stored {0} cannot be read")]
pub struct Damaged(pub &'static str);

pub(crate) fn put_uint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, value: &[u8]) {
    put_uint(out, value.len() as u64);
    out.extend_from_slice(value);
}

pub(crate) fn put_text(out: &mut Vec<u8>, value: &str) {
    put_bytes(out, value.as_bytes());
}

/// Reads what the functions above wrote.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    pub const fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, what }
    }

    pub const fn damaged(&self) -> Damaged {
        Damaged(self.what)
    }

    pub fn u8(&mut self) -> Result<u8, Damaged> {
        let (&first, rest) = self.rest.split_first().ok_or(Damaged(self.what))?;
        self.rest = rest;
        Ok(first)
    }

    /// Shortest form only, so that one value has one encoding.
    pub fn uint(&mut self) -> Result<u64, Damaged> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(self.damaged());
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return if byte == 0 && shift > 0 { Err(self.damaged()) } else { Ok(value) };
            }
        }
        Err(self.damaged())
    }

    /// A number that fits `T`.
    pub fn fit<T: TryFrom<u64>>(&mut self) -> Result<T, Damaged> {
        T::try_from(self.uint()?).map_err(|_| Damaged(self.what))
    }

    pub fn bytes(&mut self) -> Result<&'a [u8], Damaged> {
        let length: usize = self.fit()?;
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Damaged(self.what))?;
        self.rest = rest;
        Ok(taken)
    }

    pub fn text(&mut self) -> Result<&'a str, Damaged> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Damaged(self.what))
    }

    pub fn end(&self) -> Result<(), Damaged> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.damaged()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_come_back_as_they_went(value in any::<u64>()) {
            let mut out = Vec::new();
            put_uint(&mut out, value);
            let mut reader = Reader::new(&out, "number");
            prop_assert_eq!(reader.uint(), Ok(value));
            prop_assert_eq!(reader.end(), Ok(()));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut reader = Reader::new(&bytes, "number");
            while reader.uint().is_ok() {}
            let _ = Reader::new(&bytes, "text").text();
        }
    }

    #[test]
    fn a_number_has_one_encoding() {
        assert!(Reader::new(&[0x80, 0x00], "number").uint().is_err());
        assert!(Reader::new(&[0xff; 10], "number").uint().is_err());
    }
}
