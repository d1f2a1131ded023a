//! Counters of handshakes and connections: plain atomics that whoever serves metrics reads.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rustls::NamedGroup;

use crate::{error::Reason, peer::Side, registry::CloseReason};

/// The negotiated key exchange, as a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyExchange {
    /// Hybrid post-quantum.
    X25519MlKem768,
    /// X25519 alone.
    X25519,
    /// P-256.
    P256,
}

impl KeyExchange {
    /// All of them, in the order of their index.
    pub const ALL: [Self; 3] = [Self::X25519MlKem768, Self::X25519, Self::P256];

    /// The metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::X25519MlKem768 => "x25519mlkem768",
            Self::X25519 => "x25519",
            Self::P256 => "p256",
        }
    }

    pub(crate) fn of(group: NamedGroup) -> Option<Self> {
        match group {
            NamedGroup::X25519MLKEM768 => Some(Self::X25519MlKem768),
            NamedGroup::X25519 => Some(Self::X25519),
            NamedGroup::secp256r1 => Some(Self::P256),
            _ => None,
        }
    }
}

/// How many handshakes of one side ended for one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandshakeCount {
    /// Which side this process was.
    pub side: Side,
    /// How it ended; [`Reason::Ok`] is success.
    pub reason: Reason,
    /// Since the start of the process.
    pub count: u64,
}

/// Counters since the start of the process.
#[derive(Debug)]
pub struct MtlsMetrics {
    handshakes: [[AtomicU64; Reason::ALL.len()]; Side::ALL.len()],
    key_exchanges: [AtomicU64; KeyExchange::ALL.len()],
    closed: [AtomicU64; CloseReason::ALL.len()],
    verifications: AtomicU64,
    open: [AtomicU64; Side::ALL.len()],
}

impl Default for MtlsMetrics {
    fn default() -> Self {
        Self {
            handshakes: std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0))),
            key_exchanges: std::array::from_fn(|_| AtomicU64::new(0)),
            closed: std::array::from_fn(|_| AtomicU64::new(0)),
            verifications: AtomicU64::new(0),
            open: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl MtlsMetrics {
    /// Handshakes by side and result; combinations that never happened are left out.
    pub fn handshakes(&self) -> impl Iterator<Item = HandshakeCount> + '_ {
        Side::ALL
            .into_iter()
            .flat_map(move |side| {
                Reason::ALL.iter().map(move |&reason| HandshakeCount {
                    side,
                    reason,
                    count: self.handshakes_of(side, reason),
                })
            })
            .filter(|entry| entry.count > 0)
    }

    /// Handshakes of one side with one result.
    #[must_use]
    pub fn handshakes_of(&self, side: Side, reason: Reason) -> u64 {
        self.handshakes[side as usize][reason as usize].load(Relaxed)
    }

    /// Successful handshakes by key exchange.
    pub fn key_exchanges(&self) -> impl Iterator<Item = (KeyExchange, u64)> + '_ {
        KeyExchange::ALL.into_iter().map(|group| (group, self.key_exchanges[group as usize].load(Relaxed)))
    }

    /// Peer certificates verified. At least one per successful handshake, because none is ever resumed.
    #[must_use]
    pub fn verifications(&self) -> u64 {
        self.verifications.load(Relaxed)
    }

    /// Sessions resumed. Must stay zero.
    #[must_use]
    pub fn resumed(&self) -> u64 {
        Side::ALL.into_iter().map(|side| self.handshakes_of(side, Reason::Resumed)).sum()
    }

    /// Connections registered and alive.
    #[must_use]
    pub fn open(&self, side: Side) -> u64 {
        self.open[side as usize].load(Relaxed)
    }

    /// Connections closed, by reason.
    pub fn closed(&self) -> impl Iterator<Item = (CloseReason, u64)> + '_ {
        CloseReason::ALL.iter().map(|&reason| (reason, self.closed[reason as usize].load(Relaxed)))
    }

    pub(crate) fn count_handshake(&self, side: Side, reason: Reason) {
        self.handshakes[side as usize][reason as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn count_key_exchange(&self, group: NamedGroup) {
        if let Some(group) = KeyExchange::of(group) {
            self.key_exchanges[group as usize].fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn count_verification(&self) {
        self.verifications.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_opened(&self, side: Side) {
        self.open[side as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn count_closed(&self, side: Side, reason: CloseReason) {
        self.open[side as usize].fetch_sub(1, Relaxed);
        self.closed[reason as usize].fetch_add(1, Relaxed);
    }
}
