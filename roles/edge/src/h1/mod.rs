//! HTTP/1.1 as strictly as an edge must take it: what two readers could frame differently is refused
//! (RFC 9112, 11.2), so that nothing behind can be smuggled past what stands here.
//!
//! [`HeadParser`] reads a head, [`ChunkedDecoder`] a chunked body; both are pure and take the stream in pieces of any
//! size. [`serve`] is the loop around them over any byte stream.

mod chunked;
mod connection;
mod framing;
mod head;
mod limits;
mod pace;
mod reject;
mod target;
mod token;
mod wire;
mod write;

pub use chunked::{ChunkedDecoder, Fed};
pub use connection::{H1Options, Occupancy, serve};
pub use framing::Framing;
pub use head::{Field, Head, HeadParser, Span, parse_head};
pub use limits::Limits;
pub use reject::Reject;
pub use target::{Target, check_host, parse_target, same_host};
pub use write::DateCache;

pub(crate) use framing::content_length;
pub(crate) use pace::Pace;
pub(crate) use token::list;
pub(crate) use write::write_field;
