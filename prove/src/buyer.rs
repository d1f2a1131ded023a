//! A shopper who does not give up: an unknown outcome is asked again with the same key until it is known.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use zizon_load::Offer;
use zizon_load::client::{Client, Reply, Silence};

use crate::ProveError;

/// How long one answer may take before its outcome is unknown.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);
/// How long a shopper asks before the outcome stays unknown.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Connections that settle what is open.
const ASKERS: usize = 16;
/// How often it is told how many are left.
const LOOK: Duration = Duration::from_millis(200);
/// Pauses between two attempts.
const PAUSE: Duration = Duration::from_millis(25);

/// What one shopper ordered, and heard.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    /// The last answer that settles it; otherwise what happened last.
    pub(crate) reply: Result<Reply, String>,
    /// Times it was sent again.
    pub(crate) retries: u32,
    /// When it was last told to ask again, or lost its connection.
    pub(crate) unsettled_at: Option<Instant>,
}

/// One unit of an offer, for one user under one key.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) user: String,
    pub(crate) key: String,
    pub(crate) quantity: u32,
}

impl Wish {
    /// The request's body; the same wish always has the same bytes.
    pub(crate) fn body(&self, offer: &Offer) -> Vec<u8> {
        let mut order = json!({
            "user_id": self.user,
            "items": [{ "product_id": offer.product, "quantity": self.quantity, "price": offer.price }],
            "idempotency_key": self.key,
        });
        if let Some(market) = &offer.market {
            order["market"] = Value::from(market.as_str());
        }
        order.to_string().into_bytes()
    }
}

/// When something is done in the middle of a crowd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// As soon as there are this many answers.
    Answers(usize),
    /// This long after all have asked.
    After(Duration),
}

/// Something done in the middle of a crowd; it is given the number of answers there are.
#[derive(Clone)]
pub(crate) struct Meanwhile {
    pub(crate) moment: Moment,
    pub(crate) act: Arc<dyn Fn(usize) + Send + Sync>,
}

/// What a crowd heard.
#[derive(Debug)]
pub(crate) struct Crowd {
    /// In the order of their bodies.
    pub(crate) heard: Vec<Heard>,
    /// From the moment at which all asked to the last answer.
    pub(crate) took: Duration,
}

/// Everybody connects first; then all ask at once.
pub(crate) fn ask_all(
    client: &Client,
    bodies: Vec<Vec<u8>>,
    stop: &Arc<AtomicBool>,
    meanwhile: Option<Meanwhile>,
) -> Result<Crowd, ProveError> {
    block_on(all_at_once(client, bodies, stop, meanwhile))
}

async fn all_at_once(
    client: &Client,
    bodies: Vec<Vec<u8>>,
    stop: &Arc<AtomicBool>,
    meanwhile: Option<Meanwhile>,
) -> Result<Crowd, ProveError> {
    let start = Arc::new(Barrier::new(bodies.len() + 1));
    let answered = Arc::new(AtomicUsize::new(0));
    let mut crowd = JoinSet::new();
    for (at, body) in bodies.into_iter().enumerate() {
        let (mut client, start, stop) = (client.another(), start.clone(), stop.clone());
        let (answered, meanwhile) = (answered.clone(), meanwhile.clone());
        crowd.spawn(async move {
            // Who has no connection yet makes one when asking.
            let _ = client.connect().await;
            start.wait().await;
            let heard = ask(&mut client, &body, &stop).await;
            let count = answered.fetch_add(1, Ordering::Relaxed) + 1;
            if let Some(Meanwhile { moment: Moment::Answers(after), act }) = meanwhile
                && count == after
            {
                act(count);
            }
            (at, heard)
        });
    }
    start.wait().await;
    let began = Instant::now();
    if let Some(Meanwhile { moment: Moment::After(time), act }) = meanwhile {
        tokio::time::sleep(time).await;
        act(answered.load(Ordering::Relaxed));
    }
    let mut all = crowd.join_all().await;
    let took = began.elapsed();
    if stop.load(Ordering::Relaxed) {
        return Err(ProveError::Stopped);
    }
    all.sort_unstable_by_key(|(at, _)| *at);
    Ok(Crowd { heard: all.into_iter().map(|(_, heard)| heard).collect(), took })
}

/// What became of requests whose outcome was unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Settled {
    /// There is an order.
    pub(crate) orders: u64,
    /// There is none, and was none.
    pub(crate) refused: u64,
    /// There was no clear answer within [`PATIENCE`].
    pub(crate) open: u64,
}

/// Asks each of `bodies` once more, a few at a time, until its outcome is known. `progress` is told how many are.
pub(crate) fn settle(
    client: &Client,
    bodies: Vec<Box<[u8]>>,
    stop: &Arc<AtomicBool>,
    progress: &dyn Fn(usize),
) -> Result<Settled, ProveError> {
    let waiting = Arc::new(Mutex::new(bodies));
    block_on(async {
        let mut askers = JoinSet::new();
        for _ in 0..ASKERS {
            let (mut client, stop, waiting) = (client.another(), stop.clone(), waiting.clone());
            askers.spawn(async move {
                let mut settled = Settled::default();
                while !stop.load(Ordering::Relaxed) {
                    let Some(body) = lock(&waiting).pop() else { break };
                    match ask(&mut client, &body, &stop).await.reply {
                        Ok(reply) if reply.status == 201 => settled.orders += 1,
                        Ok(_) => settled.refused += 1,
                        Err(_) => settled.open += 1,
                    }
                }
                settled
            });
        }
        let mut look = tokio::time::interval(LOOK);
        let mut all = Settled::default();
        loop {
            tokio::select! {
                _ = look.tick() => progress(lock(&waiting).len()),
                ended = askers.join_next() => match ended {
                    None => break,
                    Some(Err(panic)) => std::panic::resume_unwind(panic.into_panic()),
                    Some(Ok(Settled { orders, refused, open })) => {
                        all.orders += orders;
                        all.refused += refused;
                        all.open += open;
                    }
                },
            }
        }
        if stop.load(Ordering::Relaxed) { Err(ProveError::Stopped) } else { Ok(all) }
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks until the answer settles it, the patience ends or the proof is stopped.
async fn ask(client: &mut Client, body: &[u8], stop: &AtomicBool) -> Heard {
    let began = Instant::now();
    let (mut retries, mut unsettled_at) = (0, None);
    loop {
        let last = match client.post("/api/v1/orders", body, ANSWER_PATIENCE).await {
            Ok(reply) if is_final(&reply) => return Heard { reply: Ok(reply), retries, unsettled_at },
            Ok(reply) => format!("{} {}", reply.status, problem_code(&reply.body)),
            Err(silence @ (Silence::NotSent(_) | Silence::Unknown(_))) => silence.to_string(),
        };
        unsettled_at = Some(Instant::now());
        if began.elapsed() > PATIENCE || stop.load(Ordering::Relaxed) {
            return Heard { reply: Err(last), retries, unsettled_at };
        }
        retries += 1;
        tokio::time::sleep(PAUSE).await;
    }
}

/// Whether an answer settles an order. Those that say "ask again" with the same key do not.
fn is_final(reply: &Reply) -> bool {
    match reply.status {
        408 | 429 | 500..=599 => false,
        409 => problem_code(&reply.body) != "idempotency-in-progress",
        _ => true,
    }
}

/// The problem's code; empty where the body is no problem.
pub(crate) fn problem_code(body: &[u8]) -> String {
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    problem["code"].as_str().unwrap_or_default().chars().take(64).collect()
}

/// Runs a future on a runtime of one thread.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T, ProveError>>) -> Result<T, ProveError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(ProveError::system("make a runtime"))?.block_on(future)
}

/// Sixteen characters nobody has used: keys and users of one run differ from those of another.
pub(crate) fn nonce() -> Result<String, ProveError> {
    let mut bytes = [0_u8; 12];
    getrandom::fill(&mut bytes).map_err(|error| ProveError::system("read randomness")(std::io::Error::other(error)))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, code: &str) -> Reply {
        Reply { status, replayed: false, body: json!({ "code": code }).to_string().into_bytes() }
    }

    #[test]
    fn an_answer_that_says_ask_again_settles_nothing() {
        for (status, code) in [
            (503, "outcome-unknown"),
            (503, "upstream-unavailable"),
            (500, "internal"),
            (429, "too-many-requests"),
            (409, "idempotency-in-progress"),
        ] {
            assert!(!is_final(&reply(status, code)), "{status} {code}");
        }
        for (status, code) in [(201, ""), (409, "insufficient-stock"), (422, "unknown-product")] {
            assert!(is_final(&reply(status, code)), "{status} {code}");
        }
    }

    #[test]
    fn a_wish_has_the_same_bytes_each_time() {
        let offer = Offer { product: "P1".into(), price: 5, market: Some("JP".into()) };
        let wish = Wish { user: "u".into(), key: "k".into(), quantity: 1 };
        assert_eq!(wish.body(&offer), wish.body(&offer));
        assert_ne!(wish.body(&offer), Wish { quantity: 2, ..wish }.body(&offer));
    }
}
