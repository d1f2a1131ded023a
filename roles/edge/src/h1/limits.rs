//! How much of a request is read before it is refused.

use std::time::Duration;

/// Bounds of one HTTP/1.1 connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request head: request line, fields and line ends. Longer is 431.
    pub head_bytes_max: usize,
    /// Fields in a request head. More is 431.
    pub fields_max: usize,
    /// Bytes of a request target. Longer is 414.
    pub target_bytes_max: usize,
    /// Bytes of one chunk-size line's extension.
    pub chunk_extension_bytes_max: usize,
    /// Bytes of all chunk extensions of a body together.
    pub chunk_extensions_bytes_max: usize,
    /// Bytes of a trailer section; it is checked and dropped.
    pub trailer_bytes_max: usize,
    /// From the first byte of a head to its last.
    pub head_time_max: Duration,
    /// From the end of a head to the last byte of its body.
    pub body_time_max: Duration,
    /// A body may lag behind `body_rate_min` by this much before it counts as slow.
    pub body_grace: Duration,
    /// Bytes per second a body must keep up.
    pub body_rate_min: u64,
    /// Between two requests.
    pub idle_time_max: Duration,
    /// From the first to the last byte of an answer that the client does not read.
    pub write_time_max: Duration,
    /// Bytes read and dropped after an early refusal, so that it reaches a client that is still sending.
    pub linger_bytes_max: usize,
    /// Time spent on the same.
    pub linger_time_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes_max: 32 * 1024,
            fields_max: 100,
            target_bytes_max: 8 * 1024,
            chunk_extension_bytes_max: 256,
            chunk_extensions_bytes_max: 4096,
            trailer_bytes_max: 8 * 1024,
            head_time_max: Duration::from_secs(5),
            body_time_max: Duration::from_secs(30),
            body_grace: Duration::from_secs(3),
            body_rate_min: 1024,
            idle_time_max: Duration::from_secs(60),
            write_time_max: Duration::from_secs(30),
            linger_bytes_max: 1024 * 1024,
            linger_time_max: Duration::from_secs(2),
        }
    }
}
