//! Defects a platform cannot be made to have from outside: observations with one thing wrong.

use zizon_contracts::orders::StockView;

use super::{Caught, Control, Missed, must_hold, must_refute};
use crate::check::{oversell, replay};
use crate::proof::FsckSeen;

pub(super) fn all() -> Vec<Control<'static>> {
    vec![
        sale("a buyer without an answer is taken for a refused one", "every buyer has a final answer", |seen| {
            seen.endings[3] = oversell::Ending::Unanswered { last: "503 outcome-unknown".into() };
        }),
        sale("one order is handed to two buyers", "no order belongs to two buyers", |seen| {
            seen.endings[1] = seen.endings[0].clone();
        }),
        sale("the stock is below zero for a moment", "never below zero", |seen| seen.readings.push(-1)),
        sale("a counter is off by one", "the stock equation closes", |seen| {
            if let Some((_, after)) = &mut seen.stock {
                after.available += 1;
            }
        }),
        sale("the platform's own check is not clean", "own check agrees", |seen| {
            seen.fsck = Some(FsckSeen { ok: false, said: "an index entry differs".into(), orders: Some(2) });
        }),
        sale("the storage that was checked has no orders", "as many orders are stored", |seen| {
            seen.fsck = Some(FsckSeen { ok: true, said: "all agree over 0 orders".into(), orders: Some(0) });
        }),
        sale("a role is killed when nobody waits any more", "died while buyers waited", |seen| {
            seen.kill.iter_mut().for_each(|kill| kill.met = 0);
        }),
        sale("a role ends by itself and is started again", "no role ended by itself", |seen| seen.restarts += 1),
        sale("a buyer is refused while a unit is left", "nobody was refused while", |seen| {
            seen.refused_too_early = Some(1);
        }),
        key("a second 201 has one byte changed", "have the same bytes", |seen| seen.rounds[1].answers[2].body[8] ^= 1),
        key("a key makes a second order", "there is one order", |seen| seen.orders = Some(2)),
        key("another body under the same key is taken", "another body", |seen| seen.other_body = (201, String::new())),
    ]
}

fn sale(name: &str, claim: &'static str, break_it: fn(&mut oversell::Seen)) -> Control<'static> {
    let run = move || -> Result<Caught, Missed> {
        let mut seen = good_sale();
        must_hold(&oversell::judge(&seen))?;
        break_it(&mut seen);
        must_refute(&oversell::judge(&seen), claim)
    };
    Control { name: name.to_owned(), run: Box::new(run) }
}

fn key(name: &str, claim: &'static str, break_it: fn(&mut replay::Seen)) -> Control<'static> {
    let run = move || -> Result<Caught, Missed> {
        let mut seen = good_key();
        must_hold(&replay::checks(&seen))?;
        break_it(&mut seen);
        must_refute(&replay::checks(&seen), claim)
    };
    Control { name: name.to_owned(), run: Box::new(run) }
}

/// Four buyers, two units.
fn good_sale() -> oversell::Seen {
    let sold = |n: u32| oversell::Ending::Sold { order: format!("ord_{n}") };
    let refused = || oversell::Ending::Refused { status: 409, code: "insufficient-stock".into() };
    let view = |available, held| StockView { sku: "P".into(), on_hand: 2, available, held, sold: 0, shards: 1 };
    oversell::Seen {
        units: 2,
        endings: vec![sold(1), sold(2), refused(), refused()],
        stock: Some((view(2, 0), view(0, 2))),
        readings: vec![1],
        fsck: Some(FsckSeen { ok: true, said: "all agree".into(), orders: Some(2) }),
        orders_before: 0,
        kill: Some(oversell::Kill { role: "orders".into(), pid: 10, successor: 11, answers_before: 1, met: 3 }),
        restarts: 1,
        refused_too_early: Some(0),
    }
}

/// Three clients, before and after a restart.
fn good_key() -> replay::Seen {
    let answer =
        |replayed| replay::Answer { status: Some(201), replayed, body: b"{\"id\":\"ord_1\"}".to_vec(), retries: 0 };
    let round = |when: &str, first: bool| replay::Round {
        when: when.to_owned(),
        answers: vec![answer(!first), answer(true), answer(true)],
        note: String::new(),
    };
    replay::Seen {
        rounds: vec![round("at first", true), round("after a restart", false)],
        other_body: (422, "idempotency-key-reused".into()),
        orders: Some(1),
        restarts: Some(1),
    }
}
