//! The effects of a plan: what its frame in the journal says.

use bytes::Bytes;

use super::decode::{DecodeError, Source, decode_image};
use super::encode::{encode_image, image_bytes, len_bytes, put_bytes, put_len};
use super::{EFFECT_DELETE, EFFECT_PUT, PLAN_VERSION};
use crate::model::error::WriteError;
use crate::model::item::Item;
use crate::model::key::Key;
use crate::model::limits::{MAX_ITEM_BYTES, MAX_PK_BYTES, MAX_PLAN_OPS, MAX_SK_BYTES};

/// Writes effects one after the other into a buffer that is used again and again.
#[derive(Debug)]
pub struct PlanWriter<'a> {
    out: &'a mut Vec<u8>,
    header: usize,
}

impl<'a> PlanWriter<'a> {
    /// Begins a plan of `count` effects; what was in the buffer is dropped.
    pub fn begin(out: &'a mut Vec<u8>, count: usize) -> Self {
        out.clear();
        out.push(PLAN_VERSION);
        put_len(out, count);
        Self { header: out.len(), out }
    }

    /// Bytes of the effects so far, as [`effect_bytes`] counts them.
    #[must_use]
    pub fn effect_bytes(&self) -> usize {
        self.out.len() - self.header
    }

    /// The item is this one; returns where its image lies in the plan (offset, length).
    pub fn put(&mut self, item: &Item) -> (usize, usize) {
        self.key(EFFECT_PUT, &item.key);
        let bytes = image_bytes(item);
        put_len(self.out, bytes);
        let at = self.out.len();
        encode_image(item, self.out);
        debug_assert_eq!(self.out.len() - at, bytes);
        (at, bytes)
    }

    /// The item is gone.
    pub fn delete(&mut self, key: &Key) {
        self.key(EFFECT_DELETE, key);
    }

    fn key(&mut self, tag: u8, key: &Key) {
        self.out.push(tag);
        put_bytes(self.out, &key.pk);
        put_bytes(self.out, &key.sk);
    }
}

/// Bytes one effect takes in a plan.
///
/// # Errors
/// Those of [`super::check_item`].
pub fn effect_bytes(key: &Key, new: Option<&Item>) -> Result<usize, WriteError> {
    let name = 1 + len_bytes(key.pk.len()) + key.pk.len() + len_bytes(key.sk.len()) + key.sk.len();
    Ok(match new {
        None => name,
        Some(item) => {
            let image = super::check_item(item)?;
            name + len_bytes(image) + image
        }
    })
}

/// One effect as it stands in a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectRef {
    /// Which item.
    pub key: Key,
    /// Its image; `None` when it is gone.
    pub image: Option<Bytes>,
    /// Offset of the image in the plan.
    pub image_at: usize,
}

impl EffectRef {
    /// The item after the plan; `None` when it is gone.
    ///
    /// # Errors
    /// When the image is damaged.
    pub fn item(&self) -> Result<Option<Item>, DecodeError> {
        self.image.as_ref().map(|image| decode_image(self.key.clone(), image)).transpose()
    }
}

/// Reads the effects of a plan in order.
#[derive(Debug)]
pub struct PlanReader<'a> {
    whole: &'a Bytes,
    at: usize,
    left: usize,
}

impl<'a> PlanReader<'a> {
    /// Begins to read.
    ///
    /// # Errors
    /// When the bytes are no plan of a known version.
    pub fn new(whole: &'a Bytes) -> Result<Self, DecodeError> {
        let mut from = Source::new(whole);
        match from.byte()? {
            PLAN_VERSION => {}
            other => return Err(DecodeError::Version(other)),
        }
        let left = from.count(MAX_PLAN_OPS)?;
        Ok(Self { whole, at: from.at(), left })
    }

    fn effect(&mut self) -> Result<EffectRef, DecodeError> {
        let mut from = Source::resume(self.whole, self.at);
        let tag = from.byte()?;
        let key = Key::new(from.bytes(MAX_PK_BYTES)?, from.bytes(MAX_SK_BYTES)?);
        if key.pk.is_empty() || key.sk.is_empty() {
            return Err(DecodeError::Bound);
        }
        let image = match tag {
            EFFECT_PUT => Some(from.bytes(MAX_ITEM_BYTES)?),
            EFFECT_DELETE => None,
            _ => return Err(DecodeError::Form),
        };
        self.at = from.at();
        let image_at = self.at - image.as_ref().map_or(0, Bytes::len);
        Ok(EffectRef { key, image, image_at })
    }
}

impl Iterator for PlanReader<'_> {
    type Item = Result<EffectRef, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            let trailing = self.at < self.whole.len();
            self.at = self.whole.len();
            return trailing.then_some(Err(DecodeError::Trailing));
        }
        self.left -= 1;
        let effect = self.effect();
        if effect.is_err() {
            self.left = 0;
            self.at = self.whole.len();
        }
        Some(effect)
    }
}
