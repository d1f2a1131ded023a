//! Which shards an order's units come from. Pure.

use crate::order::document::Allocation;
use crate::request::Demand;

/// A product's shards as an order sees them: what is available in each, by number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Available {
    /// Units by shard.
    pub units: Vec<i64>,
    /// The shard to try first.
    pub preferred: u16,
}

/// A product there is not enough of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Short {
    /// The first line that names it, from 0.
    pub line: usize,
    /// What was asked for, all lines together.
    pub requested: u32,
    /// What there is.
    pub available: i64,
}

/// Takes every product from as few shards as it can: the preferred one, else one that holds all, else the fullest ones.
/// `stock[i]` is what there is of `demand[i]`.
///
/// # Errors
/// Every product there is not enough of.
pub fn allocate(demand: &[Demand], stock: &[Available]) -> Result<Vec<Allocation>, Vec<Short>> {
    let mut allocations = Vec::with_capacity(demand.len());
    let mut short = Vec::new();
    for (wanted, available) in demand.iter().zip(stock) {
        let total: i64 = available.units.iter().filter(|&&units| units > 0).sum();
        if total < i64::from(wanted.units) {
            short.push(Short { line: wanted.line, requested: wanted.units, available: total });
        } else if short.is_empty() {
            take(wanted, available, &mut allocations);
        }
    }
    if short.is_empty() { Ok(allocations) } else { Err(short) }
}

fn take(wanted: &Demand, available: &Available, into: &mut Vec<Allocation>) {
    let count = available.units.len();
    let preferred = usize::from(available.preferred) % count.max(1);
    // From the preferred one on, so that orders that find it empty do not all go to the same next one.
    let mut order: Vec<usize> = (0..count).map(|step| (preferred + step) % count).collect();
    let enough = order.iter().copied().find(|&at| available.units[at] >= i64::from(wanted.units));
    match enough {
        Some(at) => order = vec![at],
        None => order.sort_by_key(|&at| std::cmp::Reverse(available.units[at])),
    }
    let mut missing = wanted.units;
    for at in order {
        let here = u32::try_from(available.units[at].max(0)).unwrap_or(u32::MAX).min(missing);
        if here > 0 {
            // Lines are at most 100 and shards at most 256.
            let (line, shard) = (u8::try_from(wanted.line).unwrap_or(u8::MAX), u16::try_from(at).unwrap_or(u16::MAX));
            into.push(Allocation { line, shard, units: here });
            missing -= here;
        }
        if missing == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(units: u32, shards: Vec<i64>, preferred: u16) -> Result<Vec<Allocation>, Vec<Short>> {
        allocate(&[Demand { line: 0, units }], &[Available { units: shards, preferred }])
    }

    #[test]
    fn the_preferred_shard_is_taken_when_it_holds_enough() {
        assert_eq!(one(2, vec![9, 2], 1), Ok(vec![Allocation { line: 0, shard: 1, units: 2 }]));
        assert_eq!(one(3, vec![9, 2], 1), Ok(vec![Allocation { line: 0, shard: 0, units: 3 }]));
    }

    #[test]
    fn a_line_is_split_only_when_no_shard_holds_it() {
        let split = one(5, vec![2, 3, 1], 2).unwrap();
        assert_eq!(split, [Allocation { line: 0, shard: 1, units: 3 }, Allocation { line: 0, shard: 0, units: 2 }]);
    }

    #[test]
    fn every_product_that_is_short_is_named() {
        let demand = [Demand { line: 0, units: 2 }, Demand { line: 1, units: 1 }, Demand { line: 3, units: 5 }];
        let stock = [vec![1], vec![1], vec![]].map(|units| Available { units, preferred: 0 });
        let short = allocate(&demand, &stock).unwrap_err();
        assert_eq!(short.len(), 2);
        assert_eq!((short[0].line, short[0].available), (0, 1));
        assert_eq!((short[1].line, short[1].available), (3, 0));
    }

    proptest! {
        #[test]
        fn exactly_what_was_asked_for_is_taken_from_what_is_there(
            units in 1u32..99, shards in prop::collection::vec(-2i64..60, 0..12), preferred in 0u16..16,
        ) {
            let total: i64 = shards.iter().filter(|&&n| n > 0).sum();
            match one(units, shards.clone(), preferred) {
                Err(short) => {
                    prop_assert!(total < i64::from(units));
                    prop_assert_eq!(short[0].available, total);
                }
                Ok(taken) => {
                    prop_assert_eq!(taken.iter().map(|a| a.units).sum::<u32>(), units);
                    let mut seen = std::collections::HashSet::new();
                    for part in taken {
                        prop_assert!(seen.insert(part.shard));
                        prop_assert!(i64::from(part.units) <= shards[usize::from(part.shard)] && part.units > 0);
                    }
                }
            }
        }
    }
}
