//! Bytes of keys, items and effects: compact, versioned, canonical (one encoding per value), bounded.
//!
//! ```text
//! plan   = version:u8 (1) count:varint effect*
//! effect = 1 key image_len:varint image      the item is this one
//!        | 2 key                             the item is gone
//! key    = len:varint pk len:varint sk
//! image  = version:u8 (1) count:varint (len:varint name value)*        names strictly ascending
//! value  = 0 zigzag-varint | 1 len text | 2 len bytes | 3 (false) | 4 (true)
//!        | 5 count (len name value)* | 6 count value*
//! ```
//! Integers are LEB128, shortest form only.

mod decode;
mod encode;
mod plan;

pub use decode::{DecodeError, decode_image};
pub use encode::{check_item, encode_image, image_bytes};
pub use plan::{EffectRef, PlanReader, PlanWriter, effect_bytes};

/// Version of the encoding of an item image.
pub const IMAGE_VERSION: u8 = 1;
/// Version of the encoding of a plan's effects.
pub const PLAN_VERSION: u8 = 1;

const TAG_INT: u8 = 0;
const TAG_STR: u8 = 1;
const TAG_BYTES: u8 = 2;
const TAG_FALSE: u8 = 3;
const TAG_TRUE: u8 = 4;
const TAG_MAP: u8 = 5;
const TAG_LIST: u8 = 6;

const EFFECT_PUT: u8 = 1;
const EFFECT_DELETE: u8 = 2;
