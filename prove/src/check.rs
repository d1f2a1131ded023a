//! The checks themselves: pure functions from what was seen to what it shows. They know nothing of platforms, so that broken observations
//! can be put before them (`control`, and the tests here).

pub mod durability;
pub mod oversell;
pub mod replay;

use zizon_contracts::orders::StockView;

use crate::proof::{Check, FsckSeen, grouped};

/// The stock equation, `on_hand = available + held + sold`, over two readings between which nothing was put in or taken out.
fn equation(before: &StockView, after: &StockView) -> Check {
    let closes = |view: &StockView| {
        let parts = i128::from(view.available) + i128::from(view.held) + i128::from(view.sold);
        parts == i128::from(view.on_hand)
    };
    let was =
        if before.on_hand == after.on_hand { String::new() } else { format!(", was {}", grouped(before.on_hand)) };
    let seen = format!(
        "on hand {}{was} = {} + {} held + {} sold",
        grouped(after.on_hand),
        grouped(after.available),
        grouped(after.held),
        grouped(after.sold)
    );
    let holds = closes(before) && closes(after) && before.on_hand == after.on_hand;
    Check::new("the stock equation closes, and no unit came or went", holds, seen)
}

/// Units ordered between two readings.
fn ordered(before: &StockView, after: &StockView) -> i128 {
    let taken = |view: &StockView| i128::from(view.held) + i128::from(view.sold);
    taken(after) - taken(before)
}

fn storage(claim: &str, fsck: &FsckSeen) -> Check {
    Check::new(claim, fsck.ok, fsck.said.clone())
}

/// Every start of a role again is owed to a kill.
fn by_itself(kills: u64, restarts: u64) -> Check {
    let said = format!("{} started again, {} killed", grouped(restarts), grouped(kills));
    Check::new("no role ended by itself", restarts == kills, said)
}
