//! What was acknowledged is there, as it was acknowledged, once.

use zizon_contracts::orders::StockView;
use zizon_load::VerifyReport;

use super::{by_itself, equation, ordered, storage};
use crate::proof::{Check, FsckSeen, grouped};

/// One role killed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kill {
    /// The role.
    pub role: String,
    /// When, in ms since 1970.
    pub at_ms: u64,
    /// The process that was killed.
    pub pid: u32,
    /// The process that took its place.
    pub successor: u32,
    /// Whether the next kill was made before this role was ready again.
    pub is_early: bool,
}

/// Everything seen of a run.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Kills that were to be made; 0 from outside, where nobody may.
    pub kills_asked: u32,
    /// Kills that were made.
    pub kills: Vec<Kill>,
    /// Roles that were started again, by the supervisor's count.
    pub restarts: u64,
    /// Acknowledgements on disk at the client, replays included.
    pub acked: u64,
    /// Answers 201 that the client received.
    pub answered_201: u64,
    /// Requests without a clear answer that are orders: asked again with the same key afterwards, they are answered 201.
    pub found: u64,
    /// Requests without a clear answer that are refused when they are asked again.
    pub refused: u64,
    /// Requests whose outcome is unknown to the end: each may or may not have been applied.
    pub unanswered: u64,
    /// The verification of all acknowledgements afterwards.
    pub verify: VerifyReport,
    /// Stock before and after; `None` from outside.
    pub stock: Option<(StockView, StockView)>,
    /// The check of the running platform.
    pub online: Option<FsckSeen>,
    /// The check of what is on disk once it has stopped.
    pub offline: Option<FsckSeen>,
}

/// What a run shows.
#[must_use]
pub fn judge(seen: &Seen) -> Vec<Check> {
    let mut checks = Vec::new();
    if seen.kills_asked > 0 {
        checks.push(killed(seen));
        checks.push(by_itself(seen.kills.len() as u64, seen.restarts));
    }
    checks.extend([all_asked_for(seen), nothing_lost(seen), nothing_changed(seen), nothing_twice(seen)]);
    if let Some((before, after)) = &seen.stock {
        checks.push(units(seen, before, after));
        checks.push(equation(before, after));
        checks.push(counted(seen, ordered(before, after)));
    }
    checks.extend(seen.online.as_ref().map(|fsck| storage("the running platform's own check agrees", fsck)));
    checks.extend(seen.offline.as_ref().map(|fsck| storage("so does a check of its files once it has stopped", fsck)));
    checks
}

fn killed(seen: &Seen) -> Check {
    let replaced = seen.kills.iter().filter(|kill| kill.pid != kill.successor && kill.successor != 0).count();
    let holds = replaced == seen.kills_asked as usize && seen.kills.len() == replaced;
    let said = format!("{} killed, {replaced} replaced by another process", seen.kills.len());
    Check::new(format!("{} times a role was killed and came back", seen.kills_asked), holds, said)
}

fn all_asked_for(seen: &Seen) -> Check {
    let verify = &seen.verify;
    let holds = seen.acked > 0
        && seen.acked == seen.answered_201
        && verify.checked + verify.repeated == seen.acked
        && verify.bad_lines_total == 0
        && !verify.stopped_early;
    let asked = grouped(verify.checked + verify.repeated);
    let said = match verify.bad_lines.first() {
        Some(line) => format!("{} x 201, {asked} asked for; {line}", grouped(seen.answered_201)),
        None => {
            format!("{} x 201, {} written down, {asked} asked for", grouped(seen.answered_201), grouped(seen.acked))
        }
    };
    Check::new("every acknowledged order is asked for", holds, said)
}

fn nothing_lost(seen: &Seen) -> Check {
    let lost = seen.verify.missing_total + seen.verify.unreadable_total;
    Check::new("none is lost", lost == 0 && seen.verify.checked > 0, first(lost, "lost", &seen.verify.missing))
}

fn nothing_changed(seen: &Seen) -> Check {
    let different = seen.verify.different_total;
    let said = first(different, "different", &seen.verify.different);
    Check::new("each is as it was acknowledged", different == 0 && seen.verify.checked > 0, said)
}

fn nothing_twice(seen: &Seen) -> Check {
    let double = seen.verify.duplicates_total;
    Check::new(
        "each is there once",
        double == 0 && seen.verify.checked > 0,
        first(double, "double", &seen.verify.duplicates),
    )
}

fn first(count: u64, what: &str, list: &[String]) -> String {
    list.first().map_or_else(|| format!("{count} {what}"), |first| format!("{count} {what}, the first {first}"))
}

/// Every order took one unit, by each count of the storage there is.
fn counted(seen: &Seen, taken: i128) -> Check {
    let counts: Vec<Option<u64>> =
        [&seen.online, &seen.offline].into_iter().flatten().map(|fsck| fsck.orders).collect();
    let holds = !counts.is_empty() && counts.iter().all(|count| count.map(i128::from) == Some(taken));
    let words = |count: &Option<u64>| count.map_or_else(|| "no count".to_owned(), grouped);
    let said =
        format!("{} taken, {} stored", grouped(taken), counts.iter().map(words).collect::<Vec<_>>().join(" and "));
    Check::new("as many units are taken as orders are stored", holds, said)
}

/// Each order takes one unit. What is unknown to the end may have taken one, or not; nothing else may.
fn units(seen: &Seen, before: &StockView, after: &StockView) -> Check {
    let taken = ordered(before, after);
    let least = i128::from(seen.verify.checked) + i128::from(seen.found);
    let most = least + i128::from(seen.unanswered);
    let said = format!(
        "{} taken, {} acknowledged and {} found when asked again, {} unknown to the end",
        grouped(taken),
        grouped(seen.verify.checked),
        grouped(seen.found),
        grouped(seen.unanswered)
    );
    Check::new("each order has taken one unit, and nothing else has", (least..=most).contains(&taken), said)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proof::Verdict;

    type Break = fn(&mut Seen);

    fn view(available: i64, held: i64) -> StockView {
        StockView { sku: "P".into(), on_hand: available + held, available, held, sold: 0, shards: 1 }
    }

    fn good(orders: u64, unanswered: u64, applied: u64) -> Seen {
        let taken = i64::try_from(orders + 4 + applied.min(unanswered)).unwrap();
        let kill = Kill { role: "orders".into(), at_ms: 5, pid: 10, successor: 11, is_early: false };
        let fsck = Some(FsckSeen { ok: true, said: String::new(), orders: u64::try_from(taken).ok() });
        Seen {
            kills_asked: 1,
            kills: vec![kill],
            restarts: 1,
            found: 4,
            refused: 1,
            acked: orders,
            answered_201: orders,
            unanswered,
            verify: VerifyReport { checked: orders, ..VerifyReport::default() },
            stock: Some((view(1_000_000, 3), view(1_000_000 - taken, 3 + taken))),
            online: fsck.clone(),
            offline: fsck,
        }
    }

    fn verdict(seen: &Seen) -> Verdict {
        Verdict::of(&judge(seen))
    }

    proptest! {
        #[test]
        fn unknown_outcomes_may_have_been_applied_or_not(orders in 1_u64..10_000, unanswered in 0_u64..100, applied in 0_u64..100) {
            prop_assert_eq!(verdict(&good(orders, unanswered, applied)), Verdict::Proven);
        }

        #[test]
        fn a_unit_more_or_less_than_orders_explain_refutes(orders in 1_u64..10_000, unanswered in 0_u64..100) {
            for taken in [i64::try_from(orders + 4).unwrap() - 1, i64::try_from(orders + 4 + unanswered).unwrap() + 1] {
                let mut seen = good(orders, unanswered, 0);
                for fsck in [&mut seen.online, &mut seen.offline] {
                    fsck.as_mut().unwrap().orders = u64::try_from(taken).ok();
                }
                seen.stock = Some((view(1_000_000, 3), view(1_000_000 - taken, 3 + taken)));
                prop_assert_eq!(verdict(&seen), Verdict::Refuted);
            }
        }
    }

    #[test]
    fn each_defect_refutes() {
        let defects: [(&str, Break); 17] = [
            ("one received and not written down", |seen| seen.answered_201 += 1),
            ("a role that ended by itself", |seen| seen.restarts += 1),
            ("a kill of who had ended already", |seen| seen.restarts = 0),
            ("an order that took no unit", |seen| seen.offline.as_mut().unwrap().orders = Some(56)),
            ("no order in the storage", |seen| seen.online.as_mut().unwrap().orders = Some(0)),
            ("a storage that was not counted", |seen| seen.offline.as_mut().unwrap().orders = None),
            ("one lost", |seen| seen.verify.missing_total = 1),
            ("one changed", |seen| seen.verify.different_total = 1),
            ("one double", |seen| seen.verify.duplicates_total = 1),
            ("one unreadable", |seen| seen.verify.unreadable_total = 1),
            ("a line altered", |seen| seen.verify.bad_lines_total = 1),
            ("one not asked for", |seen| (seen.acked, seen.answered_201) = (seen.acked + 1, seen.answered_201 + 1)),
            ("a kill that killed nobody", |seen| seen.kills[0].successor = 10),
            ("a kill left out", |seen| seen.kills.clear()),
            ("a counter off by one", |seen| seen.stock.as_mut().unwrap().1.available += 1),
            ("fsck of the running platform", |seen| seen.online.as_mut().unwrap().ok = false),
            ("fsck of the files", |seen| seen.offline.as_mut().unwrap().ok = false),
        ];
        assert_eq!(verdict(&good(50, 2, 1)), Verdict::Proven);
        for (name, break_it) in defects {
            let mut seen = good(50, 2, 1);
            break_it(&mut seen);
            assert_eq!(verdict(&seen), Verdict::Refuted, "{name}");
        }
    }

    #[test]
    fn nothing_acknowledged_is_no_proof() {
        assert_eq!(verdict(&good(0, 0, 0)), Verdict::Refuted);
    }
}
