//! What a seed makes of the world before anything happens in it: how large it is and what may go wrong.

use zizon_base::ids::{IdKey, OrderId, Sku};
use zizon_journal::SeededRng;
use zizon_orders::execute::Mode;
use zizon_table::EngineOptions;

use crate::flaw::Flaw;
use crate::{Options, STEPS};

/// The products of every world.
pub(crate) const PRODUCTS: [&str; 2] = ["A", "B"];
/// Price of every product, won.
pub(crate) const PRICE: i64 = 1_000;
/// The credential scope of every order.
const SCOPE: &str = "guest";

/// Most room that a disk which is full has, bytes.
pub(crate) const MOST_ROOM: u64 = 20_000;

/// Units of A and B that bodies ask for.
const BODIES: [[u32; 2]; 6] = [[1, 0], [2, 0], [0, 1], [1, 1], [2, 1], [1, 2]];

/// The kinds of faults of one world.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Faults {
    pub kill: bool,
    pub power: bool,
    pub disk_errors: bool,
    pub read_errors: bool,
    pub disk_full: bool,
    pub network: bool,
    pub partition: bool,
    pub pause: bool,
    pub clock: bool,
    pub flaky: bool,
    pub stall: bool,
    pub operator: bool,
    pub callers: bool,
    pub reader: bool,
}

impl Faults {
    /// Nothing goes wrong.
    pub const fn none() -> Self {
        Self {
            kill: false,
            power: false,
            disk_errors: false,
            read_errors: false,
            disk_full: false,
            network: false,
            partition: false,
            pause: false,
            clock: false,
            flaky: false,
            stall: false,
            operator: false,
            callers: false,
            reader: false,
        }
    }

    fn drawn(rng: &SeededRng) -> Self {
        // A quiet world now and then: what breaks there is easiest to understand.
        let quiet = rng.below(16) == 0;
        let some = || !quiet && rng.below(2) == 0;
        Self {
            kill: some(),
            power: some(),
            disk_errors: some(),
            read_errors: some(),
            disk_full: some(),
            network: some(),
            partition: some(),
            pause: some(),
            clock: some(),
            flaky: some(),
            stall: some(),
            operator: some(),
            callers: !quiet,
            reader: !quiet,
        }
    }
}

/// One idempotency key and the two bodies it is used with.
#[derive(Debug, Clone)]
pub(crate) struct OrderKey {
    pub id: OrderId,
    pub token: String,
    pub bodies: [String; 2],
    pub units: [[u32; 2]; 2],
}

/// A world before it begins.
pub(crate) struct Profile {
    pub mode: Mode,
    pub flaw: Option<Flaw>,
    pub faults: Faults,
    pub clients: usize,
    pub asks_per_client: usize,
    pub keys: Vec<OrderKey>,
    pub stock: [i64; 2],
    pub shards: u16,
    pub plan_ops: usize,
    /// How many times as long as usual the run is.
    pub longer: u64,
    pub engine: EngineOptions,
    /// What is weighed most: how often handlers run compared with everything else.
    pub task_weight: u64,
}

pub(crate) fn skus() -> [Sku; 2] {
    PRODUCTS.map(|sku| sku.parse().expect("a valid SKU"))
}

impl Profile {
    pub fn drawn(options: &Options, rng: &SeededRng, ids: &IdKey) -> Self {
        let drawn = if rng.below(2) == 0 { Mode::Atomic } else { Mode::Stepwise };
        let mode = options.mode.or(options.flaw.map(Flaw::mode)).unwrap_or(drawn);
        // A longer run has more to do.
        let longer = (options.steps / STEPS).max(1);
        let count = (2 + rng.below(10)) * longer;
        let keys = (0..count).map(|number| order_key(number, rng, ids)).collect();
        let faults = Faults::drawn(rng);
        Self {
            mode,
            flaw: options.flaw,
            faults,
            clients: usize::try_from(2 + rng.below(4)).unwrap_or(2),
            asks_per_client: usize::try_from((3 + rng.below(12)) * longer).unwrap_or(3),
            keys,
            stock: [1 + below(rng, 9 * longer), 1 + below(rng, 6 * longer)],
            shards: if rng.below(2) == 0 { 1 } else { 2 },
            // With few operations, orders over both products go stepwise and the others atomically.
            plan_ops: if rng.below(3) == 0 { 2 } else { usize::MAX },
            longer,
            engine: engine(options, rng, faults.disk_full),
            task_weight: 20 + rng.below(60),
        }
    }
}

fn below(rng: &SeededRng, bound: u64) -> i64 {
    i64::try_from(rng.below(bound)).unwrap_or(0)
}

fn order_key(number: u64, rng: &SeededRng, ids: &IdKey) -> OrderKey {
    // Two users share all keys' partitions.
    let (user, key) = (format!("u{}", number % 2), format!("k{number}"));
    let id = ids.order_id(SCOPE, &user.parse().expect("a valid user"), &key.parse().expect("a valid key"));
    let first = usize::try_from(rng.below(BODIES.len() as u64)).unwrap_or(0);
    let units = [BODIES[first], BODIES[(first + 1) % BODIES.len()]];
    let bodies = units.map(|units| body(&user, &key, units));
    OrderKey { id, token: ids.access_token(&id), bodies, units }
}

fn body(user: &str, key: &str, units: [u32; 2]) -> String {
    let lines = PRODUCTS.iter().zip(units).filter(|(_, units)| *units > 0);
    let lines: Vec<String> =
        lines.map(|(sku, units)| format!(r#"{{"product_id":"{sku}","quantity":{units},"price":{PRICE}}}"#)).collect();
    format!(r#"{{"user_id":"{user}","items":[{}],"idempotency_key":"{key}"}}"#, lines.join(","))
}

/// Options so small that segments roll, are compressed, and the index is written within a run.
fn engine(options: &Options, rng: &SeededRng, disk_full: bool) -> EngineOptions {
    let pick = |choices: [usize; 3]| choices[usize::try_from(rng.below(3)).unwrap_or(0)];
    let mut engine = EngineOptions {
        memtable_bytes: pick([1_500, 6_000, 1 << 20]) as u64,
        hot_items: pick([0, 3, 4_096]),
        inline_bytes: pick([16, 128, 4_096]),
        ..EngineOptions::default()
    };
    engine.journal.segment_bytes = if rng.below(2) == 0 { 16 << 10 } else { 48 << 10 };
    engine.journal.max_frame_bytes = 8 << 10;
    // Where the disk gets full, with a reserve: what has room in the segments at hand is refused as well.
    engine.journal.free_reserve_bytes = if disk_full { MOST_ROOM } else { 0 };
    engine.journal.block_bytes = 1 << 10;
    if let Some(flaw) = options.flaw {
        flaw.set(&mut engine);
    }
    engine
}
