//! Proof: one key has one answer, for everybody who asks, to the byte, also after kills and restarts.

use std::time::Instant;

use serde::Deserialize;
use serde_json::Value;
use zizon_load::Offer;
use zizon_load::client::Client;

use crate::ProveError;
use crate::buyer::{Heard, Wish, ask_all, block_on, nonce, problem_code};
use crate::check::replay::{Answer, Round, Seen, judge};
use crate::platform::{CONFIG, Platform};
use crate::proof::{Proof, Verdict};
use crate::session::{Running, Session};

/// The most clients at once.
pub const CLIENTS_MAX: u32 = 1_000;

/// Sizes of the proof.
#[derive(Debug, Clone)]
pub struct Replay {
    /// Clients that ask with one key.
    pub clients: u32,
    /// What they order; the demo's product when none is named.
    pub product: Option<String>,
}

/// What `zizon order ls --json` prints, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Orders {
    data: Vec<Value>,
}

impl Replay {
    /// Whether these sizes can prove anything.
    ///
    /// # Errors
    /// [`ProveError::Size`].
    pub fn check(&self) -> Result<(), ProveError> {
        if (2..=CLIENTS_MAX).contains(&self.clients) {
            return Ok(());
        }
        let what =
            format!("--clients {}: it takes 2 to {CLIENTS_MAX}, each with a connection of its own", self.clients);
        Err(ProveError::Size { what, remedy: "write --clients 50" })
    }

    /// Proves it on a platform of the proof's own.
    ///
    /// # Errors
    /// When it cannot be carried through; what it finds is in the proof.
    pub fn spawn(&self, session: &Session<'_>) -> Result<Proof, ProveError> {
        self.check()?;
        let began = Instant::now();
        let mut platform = Platform::start(session, CONFIG)?;
        let outcome = self.on(session, &mut platform);
        let proof = match outcome {
            Ok(seen) => self.proof(&seen, began, Vec::new()),
            Err(error) => self.blank(began).or_refuted(error)?,
        };
        if !proof.is_proven() {
            platform.keep_evidence();
        }
        Ok(proof)
    }

    fn on(&self, session: &Session<'_>, platform: &mut Platform<'_>) -> Result<Seen, ProveError> {
        let mut key = Key::new(self, session, &platform.url()?, &platform.ca_file())?;
        key.round("at first")?;

        let before = platform.kill_role("orders")?;
        platform.await_role("orders", before)?;
        key.round("after kill -9 of orders")?;
        let restarts = platform.restarts()?;

        platform.stop()?;
        platform.up()?;
        key.client = Client::new(&platform.url()?, &platform.ca_file())?;
        key.round("after a restart of the whole platform")?;

        let other_body = key.other_body()?;
        let user = key.wish.user.clone();
        let orders: Orders = platform.command(&["order", "ls", "--user", &user])?;
        // The supervisor counts anew since the restart.
        let restarts = Some(restarts + platform.restarts()?);
        Ok(Seen { rounds: key.rounds, other_body, orders: Some(orders.data.len() as u64), restarts })
    }

    /// Proves it on a running platform, as far as that can be seen from outside. One order is made there.
    ///
    /// # Errors
    /// When it cannot be carried through.
    pub fn from_outside(&self, session: &Session<'_>, running: &Running) -> Result<Proof, ProveError> {
        self.check()?;
        let began = Instant::now();
        let mut key = Key::new(self, session, &running.url, &running.ca_file)?;
        key.round("at first")?;
        key.round("again")?;
        let other_body = key.other_body()?;
        let seen = Seen { rounds: key.rounds, other_body, orders: None, restarts: None };
        let not_shown = vec![
            "that it holds across a kill and a restart: from outside nothing can be killed".to_owned(),
            "that no second order exists: only the platform's operator may list orders".to_owned(),
        ];
        Ok(self.proof(&seen, began, not_shown))
    }

    fn proof(&self, seen: &Seen, began: Instant, mut not_shown: Vec<String>) -> Proof {
        not_shown.push(
            "that it holds for years: an order is its own idempotency record, and no order is deleted".to_owned(),
        );
        let parts = judge(seen);
        let verdict = Verdict::of(parts.iter().flat_map(|part| &part.checks));
        let times = seen.rounds.len();
        let method = format!("{} clients send one body with one key at the same moment, {times} times.", self.clients);
        Proof { method, verdict, parts, not_shown, ..self.blank(began) }
    }

    /// The proof before anything was seen.
    fn blank(&self, began: Instant) -> Proof {
        let claim = "One key makes one order, and everybody who asks with it gets the same bytes.";
        let method = format!("{} clients send one body with one key at the same moment.", self.clients);
        Proof::unseen("replay", claim, method, began)
    }
}

/// One key and all who ask with it.
struct Key<'a> {
    sizes: &'a Replay,
    session: &'a Session<'a>,
    client: Client,
    offer: Offer,
    wish: Wish,
    rounds: Vec<Round>,
}

impl<'a> Key<'a> {
    fn new(
        sizes: &'a Replay,
        session: &'a Session<'a>,
        url: &str,
        ca_file: &std::path::Path,
    ) -> Result<Self, ProveError> {
        let client = Client::new(url, ca_file)?;
        let offer = block_on(async { Ok(client.offer(sizes.product.as_deref()).await?) })?;
        let run = nonce()?;
        let wish = Wish { user: format!("prove_{run}"), key: format!("prove-{run}"), quantity: 1 };
        Ok(Self { sizes, session, client, offer, wish, rounds: Vec::new() })
    }

    fn round(&mut self, when: &str) -> Result<(), ProveError> {
        self.session.say.note(&format!("replay: {} clients with one key, {when}", self.sizes.clients));
        let bodies = vec![self.wish.body(&self.offer); self.sizes.clients as usize];
        let crowd = ask_all(&self.client, bodies, &self.session.stop, None)?;
        let note = format!("{} answers within {} ms", crowd.heard.len(), crowd.took.as_millis());
        let answers = crowd.heard.into_iter().map(answer).collect();
        self.rounds.push(Round { when: when.to_owned(), answers, note });
        Ok(())
    }

    /// Two units under the key of one.
    fn other_body(&self) -> Result<(u16, String), ProveError> {
        let other = Wish { quantity: 2, ..self.wish.clone() }.body(&self.offer);
        let crowd = ask_all(&self.client, vec![other], &self.session.stop, None)?;
        let answer = crowd.heard.into_iter().next().map(answer);
        Ok(answer.map_or((0, String::new()), |answer| (answer.status.unwrap_or(0), problem_code(&answer.body))))
    }
}

pub(crate) fn answer(heard: Heard) -> Answer {
    let Heard { reply, retries, .. } = heard;
    match reply {
        Ok(reply) => Answer { status: Some(reply.status), replayed: reply.replayed, body: reply.body, retries },
        Err(last) => Answer { status: None, replayed: false, body: last.into_bytes(), retries },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_or_too_many_are_refused() {
        for clients in [0, 1, CLIENTS_MAX + 1] {
            let error = Replay { clients, product: None }.check().unwrap_err();
            assert!(error.to_string().contains("--clients"), "{error}");
        }
        assert!(Replay { clients: 50, product: None }.check().is_ok());
    }
}
