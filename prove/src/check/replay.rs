//! One key makes one order, and every answer to it is the same to the byte.

use crate::proof::{Check, Part};

/// What another body under the same key must be answered.
pub const OTHER_BODY: (u16, &str) = (422, "idempotency-key-reused");

/// One client's final answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status; `None` without a final answer in time.
    pub status: Option<u16>,
    /// `Idempotent-Replayed: true`.
    pub replayed: bool,
    /// The body; what happened last where there is no answer.
    pub body: Vec<u8>,
    /// Times it was sent again after an unknown outcome.
    pub retries: u32,
}

/// All clients asking at once.
#[derive(Debug, Clone)]
pub struct Round {
    /// When it was, in words: `at first`, `after kill -9 of orders`.
    pub when: String,
    /// Every client's answer.
    pub answers: Vec<Answer>,
    /// What was measured meanwhile, for people.
    pub note: String,
}

/// Everything seen of a key.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The rounds in order; the first makes the order.
    pub rounds: Vec<Round>,
    /// Status and problem code of another body under the same key.
    pub other_body: (u16, String),
    /// Orders of this user the operator sees at the end; `None` from outside.
    pub orders: Option<u64>,
    /// Roles that were started again, by the supervisor's count; one is killed. `None` from outside.
    pub restarts: Option<u64>,
}

/// What the answers show.
#[must_use]
pub fn judge(seen: &Seen) -> Vec<Part> {
    let first = seen.rounds.first().and_then(|round| round.answers.first()).map(|answer| answer.body.as_slice());
    let rounds = seen.rounds.iter().enumerate().map(|(at, round)| {
        let checks = vec![all_created(round), same_bytes(round, first.unwrap_or_default()), made_once(round, at == 0)];
        Part { title: round.when.clone(), checks, note: round.note.clone() }
    });
    let mut parts: Vec<Part> = rounds.collect();
    parts.push(Part { title: "another body under the same key".into(), checks: afterwards(seen), note: String::new() });
    parts
}

/// The same without the parts.
#[must_use]
pub fn checks(seen: &Seen) -> Vec<Check> {
    judge(seen).into_iter().flat_map(|part| part.checks).collect()
}

fn afterwards(seen: &Seen) -> Vec<Check> {
    let (status, code) = &seen.other_body;
    let refused = (*status, code.as_str()) == OTHER_BODY;
    let mut checks =
        vec![Check::new("another body under the same key is refused", refused, format!("{status} {code}"))];
    let one =
        |orders| Check::new("there is one order, not several", orders == 1, format!("orders of this user: {orders}"));
    checks.extend(seen.orders.map(one));
    checks.extend(seen.restarts.map(|restarts| super::by_itself(1, restarts)));
    checks
}

fn all_created(round: &Round) -> Check {
    let created = round.answers.iter().filter(|answer| answer.status == Some(201)).count();
    let other = round.answers.iter().find(|answer| answer.status != Some(201));
    let mut said = format!("{created} x 201");
    if let Some(other) = other {
        let status = other.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
        said.push_str(&format!(", and {status}: {}", excerpt(&other.body)));
    }
    let holds = created == round.answers.len() && created > 0;
    Check::new(format!("all {} are answered 201", round.answers.len()), holds, said)
}

fn same_bytes(round: &Round, first: &[u8]) -> Check {
    let equal = round.answers.iter().filter(|answer| answer.body == first).count();
    let holds = equal == round.answers.len() && !first.is_empty();
    let digest = blake3::hash(first).to_hex();
    let said = format!("{equal} of {} have BLAKE3 {}", round.answers.len(), &digest[..12]);
    Check::new("all have the same bytes", holds, said)
}

/// The first round makes the order once: one answer is no replay. With retries the answer that made it may have been lost on the way.
fn made_once(round: &Round, is_first: bool) -> Check {
    let made = round.answers.iter().filter(|answer| !answer.replayed).count();
    let retries: u32 = round.answers.iter().map(|answer| answer.retries).sum();
    let (claim, holds) = match (is_first, retries) {
        (true, 0) => ("one of them made it, the others are marked as replays", made == 1),
        (true, _) => ("at most one of them made it, the others are marked as replays", made <= 1),
        (false, _) => ("all are marked as replays", made == 0),
    };
    let said = match retries {
        0 => format!("{made} not marked"),
        retries => format!("{made} not marked, {retries} asked again after an unknown outcome"),
    };
    Check::new(claim, holds, said)
}

/// The beginning of a body, for people.
fn excerpt(body: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(body).chars().take(120).collect();
    text.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::Verdict;

    type Break = fn(&mut Seen);

    fn answer(replayed: bool) -> Answer {
        Answer { status: Some(201), replayed, body: b"{\"id\":\"ord_1\"}".to_vec(), retries: 0 }
    }

    fn good() -> Seen {
        let first = (0..10).map(|n| answer(n != 3)).collect();
        let round = |when: &str, answers| Round { when: when.into(), answers, note: String::new() };
        let later = |when: &str| round(when, (0..10).map(|_| answer(true)).collect());
        Seen {
            rounds: vec![round("at first", first), later("after a kill"), later("after a restart")],
            other_body: (422, "idempotency-key-reused".into()),
            orders: Some(1),
            restarts: Some(1),
        }
    }

    fn verdict(seen: &Seen) -> Verdict {
        Verdict::of(judge(seen).iter().flat_map(|part| &part.checks))
    }

    #[test]
    fn equal_answers_prove_and_each_defect_refutes() {
        assert_eq!(verdict(&good()), Verdict::Proven);
        let defects: [(&str, Break); 9] = [
            ("a role that ended by itself", |seen| seen.restarts = Some(2)),
            ("other bytes at once", |seen| seen.rounds[0].answers[9].body.push(b' ')),
            ("other bytes after a restart", |seen| seen.rounds[2].answers[0].body[8] = b'2'),
            ("another status", |seen| seen.rounds[1].answers[4].status = Some(200)),
            ("no answer", |seen| seen.rounds[1].answers[4].status = None),
            ("made twice", |seen| seen.rounds[0].answers[4].replayed = false),
            ("made again after a restart", |seen| seen.rounds[2].answers[4].replayed = false),
            ("another body taken", |seen| seen.other_body = (201, String::new())),
            ("two orders", |seen| seen.orders = Some(2)),
        ];
        for (name, break_it) in defects {
            let mut seen = good();
            break_it(&mut seen);
            assert_eq!(verdict(&seen), Verdict::Refuted, "{name}");
        }
    }

    #[test]
    fn the_answer_that_made_the_order_may_be_lost_where_a_client_had_to_ask_again() {
        let mut seen = good();
        seen.rounds[0].answers[3].replayed = true;
        assert_eq!(verdict(&seen), Verdict::Refuted);
        seen.rounds[0].answers[3].retries = 1;
        assert_eq!(verdict(&seen), Verdict::Proven);
    }

    #[test]
    fn no_answers_are_no_proof() {
        let mut seen = good();
        seen.rounds[1].answers.clear();
        assert_eq!(verdict(&seen), Verdict::Refuted);
        seen.rounds.clear();
        assert!(!judge(&seen).is_empty());
    }
}
