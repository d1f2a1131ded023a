//! What is written: the order plan of `platform/table/examples/bench_table.rs`, as bytes for the other engines.

/// Units in a counter before the first order.
pub const UNITS: i64 = 1_000_000_000;
/// Counters of a product, all of which a plan takes from.
pub const SHARDS: u64 = 3;
/// Units a plan takes from each counter; it must hold as many.
pub const TAKEN: i64 = 2;
/// Bytes of the order's document.
pub const DOCUMENT: usize = 190;

/// One plan: the order `n` of a client, on a product.
#[derive(Debug, Clone, Copy)]
pub struct Order {
    pub client: usize,
    pub n: u64,
    pub product: u64,
}

impl Order {
    pub fn new(client: usize, n: u64, products: u64) -> Self {
        Self { client, n, product: spread(client, n) % products }
    }

    /// Ids are hashes in production: spread over the key space.
    pub fn partition(&self) -> String {
        format!("U#{:016x}", spread(self.client, self.n))
    }

    pub fn sort(&self) -> String {
        format!("O#{:016x}{:010x}", spread(self.client, self.n), self.n)
    }

    /// Partition and sort key in one, for engines that know only one.
    pub fn key(&self) -> Vec<u8> {
        format!("{}\0{}", self.partition(), self.sort()).into_bytes()
    }

    /// The attributes of the order item, packed: as short as a careful hand would make them.
    pub fn value(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(DOCUMENT + 80);
        bytes.extend_from_slice(b"PLACED\0standard\0");
        for number in [0_i64, 0x1234_5678_9abc, 1_790_000_000_000] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&[7; 32]);
        bytes.extend_from_slice(&[0x5a; DOCUMENT]);
        bytes
    }
}

pub fn counter_partition(product: u64, shard: u64) -> String {
    format!("S#PROD{product:06}#local#{shard:03}")
}

pub fn counter_key(product: u64, shard: u64) -> Vec<u8> {
    format!("{}\0S", counter_partition(product, shard)).into_bytes()
}

/// Available, reserved, sold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counter {
    pub available: i64,
    pub reserved: i64,
    pub sold: i64,
}

impl Counter {
    pub const FULL: Self = Self { available: UNITS, reserved: 0, sold: 0 };

    /// The counter after a plan; `None` when it does not hold enough.
    pub fn take(self) -> Option<Self> {
        let enough = self.available >= TAKEN;
        enough.then_some(Self { available: self.available - TAKEN, reserved: self.reserved + TAKEN, ..self })
    }

    pub fn to_bytes(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        for (slot, number) in bytes.chunks_exact_mut(8).zip([self.available, self.reserved, self.sold]) {
            slot.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let number = |at: usize| Some(i64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        Some(Self { available: number(0)?, reserved: number(8)?, sold: number(16)? })
    }
}

fn spread(client: usize, n: u64) -> u64 {
    (n << 16 | client as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
