//! Proof: of N units exactly N are sold, whoever asks at once and whatever dies meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use zizon_contracts::orders::StockView;
use zizon_load::client::Client;
use zizon_load::{DEFAULT_PRODUCT, Offer};

use crate::ProveError;
use crate::buyer::{Heard, Meanwhile, Moment, Wish, ask_all, block_on, nonce, problem_code};
use crate::check::oversell::{Ending, Kill, Seen, judge};
use crate::platform::{CONFIG, Platform, kill_now};
use crate::proof::{Part, Proof, Verdict};
use crate::random::Choices;
use crate::session::{Running, Session, SetOnDrop};

/// The most buyers at once: each has a connection, and the edge has its own limits.
pub const BUYERS_MAX: u32 = 1_000;
/// A role is killed within the first answers: one in this many buyers has one.
const KILLED_WITHIN: u32 = 4;
/// How long stock that an interrupted attempt held may take to come back.
const SETTLE_PATIENCE: Duration = Duration::from_secs(60);
const SETTLE_LOOK: Duration = Duration::from_millis(100);
/// Roles on an order's path; the death of each is tried.
const KILLED: [&str; 2] = ["orders", "edge"];

/// Where a kill has met nobody, the sale is made anew and the role killed earlier: after one answer, then this long after all have asked.
const EARLIER: [Moment; 4] = [
    Moment::Answers(1),
    Moment::After(Duration::from_millis(2)),
    Moment::After(Duration::from_millis(1)),
    Moment::After(Duration::ZERO),
];
/// Pause after a reading of the stock that failed: the role is down.
const READING_PAUSE: Duration = Duration::from_millis(50);

/// How orders are written.
const EXECUTORS: [&str; 2] = ["atomic", "stepwise"];

/// Sizes of the proof.
#[derive(Debug, Clone)]
pub struct Oversell {
    /// Buyers, each wanting one unit.
    pub buyers: u32,
    /// Units there are.
    pub units: u32,
    /// What is sold; the demo's product when none is named.
    pub product: Option<String>,
}

impl Oversell {
    /// Whether these sizes can prove anything.
    ///
    /// # Errors
    /// [`ProveError::Size`].
    pub fn check(&self) -> Result<(), ProveError> {
        let size = |what: String, remedy| Err(ProveError::Size { what, remedy });
        if self.units == 0 {
            return size("--units 0: a sale of nothing shows nothing".into(), "write --units 100 --buyers 200");
        }
        if self.buyers > BUYERS_MAX {
            let what = format!("--buyers {}: at most {BUYERS_MAX}, each has a connection of its own", self.buyers);
            return size(what, "write --units 100 --buyers 200");
        }
        if self.buyers <= self.units {
            let what = format!("--buyers {} --units {}: nobody would be refused", self.buyers, self.units);
            return size(what, "write more buyers than units: --units 100 --buyers 200");
        }
        Ok(())
    }

    /// Proves it on platforms of the proof's own.
    ///
    /// # Errors
    /// When it cannot be carried through; what it finds is in the proof.
    pub fn spawn(&self, session: &Session<'_>) -> Result<Proof, ProveError> {
        self.check()?;
        let began = Instant::now();
        let mut choices = Choices::from_seed(session.seed);
        let mut parts = Vec::new();
        for executor in EXECUTORS {
            let config = CONFIG.replace("[orders]", &format!("[orders]\nexecutor = \"{executor}\""));
            let platform = Platform::start(session, &config)?;
            let mut sale = Sale::new(self, session, platform)?;
            for killed in [None].into_iter().chain(KILLED.map(Some)) {
                match sale.round(executor, killed, &mut choices) {
                    Ok(part) => parts.push(part),
                    Err(error) => return self.proof(parts, began, Vec::new()).or_refuted(error),
                }
            }
        }
        Ok(self.proof(parts, began, Vec::new()))
    }

    /// Proves as much as can be seen from outside: what buyers are answered. The units are sold for good.
    ///
    /// # Errors
    /// When it cannot be carried through.
    pub fn from_outside(&self, session: &Session<'_>, running: &Running) -> Result<Proof, ProveError> {
        self.check()?;
        let began = Instant::now();
        let client = Client::new(&running.url, &running.ca_file)?;
        let offer = block_on(async { Ok(client.offer(self.product.as_deref()).await?) })?;
        session.say.note(&format!("{} buyers at {} for {} units", self.buyers, running.url, self.units));
        let bodies = self.bodies(&offer)?;
        let crowd = ask_all(&client, bodies, &session.stop, None)?;
        let endings = crowd.heard.iter().map(ending).collect();
        let seen = Seen {
            units: self.units.into(),
            endings,
            stock: None,
            readings: Vec::new(),
            fsck: None,
            orders_before: 0,
            kill: None,
            restarts: 0,
            refused_too_early: None,
        };
        let note = measured(&crowd.heard, crowd.took);
        let parts = vec![Part { title: "all at once".into(), checks: judge(&seen), note }];
        let not_shown = vec![
            "stock, the equation and the storage: only the platform's operator may read them".to_owned(),
            "that it holds when a role dies: from outside nothing can be killed".to_owned(),
        ];
        Ok(self.proof(parts, began, not_shown))
    }

    /// One undisturbed sale on `platform`, as it was seen.
    pub(crate) fn once<'a>(&'a self, session: &'a Session<'a>, platform: Platform<'a>) -> Result<Seen, ProveError> {
        self.check()?;
        let mut sale = Sale::new(self, session, platform)?;
        let crowd = sale.crowd(None)?;
        sale.seen(crowd, None)
    }

    fn bodies(&self, offer: &Offer) -> Result<Vec<Vec<u8>>, ProveError> {
        let run = nonce()?;
        let wish = |n: u32| Wish { user: format!("prove_{run}_{n}"), key: format!("prove-{run}-{n}"), quantity: 1 };
        Ok((0..self.buyers).map(|n| wish(n).body(offer)).collect())
    }

    fn proof(&self, parts: Vec<Part>, began: Instant, mut not_shown: Vec<String>) -> Proof {
        not_shown.push("orders of several products at once: model checks and property tests cover those".to_owned());
        Proof {
            name: "oversell",
            claim: format!("Of {} units exactly {} are sold, however many ask at once.", self.units, self.units),
            method: format!(
                "{} buyers ask for one unit each at the same moment; whoever gets no clear answer asks again with the same key.",
                self.buyers
            ),
            verdict: Verdict::of(parts.iter().flat_map(|part| &part.checks)),
            parts,
            facts: Vec::new(),
            not_shown,
            seconds: began.elapsed().as_secs_f64(),
            timeline: None,
        }
    }
}

/// One platform with one product, sold out again and again.
struct Sale<'a> {
    sizes: &'a Oversell,
    session: &'a Session<'a>,
    platform: Platform<'a>,
    sku: &'a str,
    offer: Offer,
    /// Orders stored by now.
    orders: u64,
    /// Roles started again by now.
    restarts: u64,
}

/// A crowd that has its answers.
struct Crowd {
    before: StockView,
    bodies: Vec<Vec<u8>>,
    heard: Vec<Heard>,
    readings: Vec<i64>,
    took: Duration,
    kill: Option<Kill>,
}

impl<'a> Sale<'a> {
    fn new(sizes: &'a Oversell, session: &'a Session<'a>, platform: Platform<'a>) -> Result<Self, ProveError> {
        let client = Client::new(&platform.url()?, &platform.ca_file())?;
        let offer = block_on(async { Ok(client.offer(sizes.product.as_deref()).await?) })?;
        let sku = sizes.product.as_deref().unwrap_or(DEFAULT_PRODUCT);
        Ok(Self { sizes, session, platform, sku, offer, orders: 0, restarts: 0 })
    }

    /// One part of the proof; with a role to kill, as often as it takes for the kill to meet somebody.
    fn round(&mut self, executor: &str, killed: Option<&str>, choices: &mut Choices) -> Result<Part, ProveError> {
        let title = match killed {
            None => format!("{executor} executor"),
            Some(role) => format!("{executor} executor, kill -9 of {role} in the middle"),
        };
        self.session.say.note(&format!("oversell: {} buyers, {} units, {title}", self.sizes.buyers, self.sizes.units));
        // Early in the crowd: the answers of one batch come together, and the kill is to find others at work.
        let answers = 1 + choices.below(u64::from(self.sizes.buyers / KILLED_WITHIN));
        let first = Moment::Answers(usize::try_from(answers).unwrap_or(1));
        let (mut part, mut is_void) = self.sale(&title, executor, killed.map(|role| (role, first)))?;
        for moment in EARLIER {
            if !is_void {
                break;
            }
            self.session.say.note("oversell: it was killed when all had their answers; once more, earlier");
            (part, is_void) = self.sale(&title, executor, killed.map(|role| (role, moment)))?;
        }
        if Verdict::of(&part.checks) == Verdict::Refuted {
            self.platform.keep_evidence();
        }
        Ok(part)
    }

    /// Sells all units once. The second is whether all is well but for the kill, which met nobody: it shows nothing.
    fn sale(&mut self, title: &str, executor: &str, kill: Option<(&str, Moment)>) -> Result<(Part, bool), ProveError> {
        let mut crowd = self.crowd(kill)?;
        let again = self.ask_again(&mut crowd)?;
        let mut note = measured(&crowd.heard, crowd.took);
        if let Some(kill) = &crowd.kill {
            note.push_str(&format!("; {} waited when {} died", kill.met, kill.role));
        }
        let is_atomic = executor == EXECUTORS[0];
        if again > 0 && !is_atomic {
            note.push_str(&format!("; {again} refused at first got a unit that came back"));
        }
        let mut seen = self.seen(crowd, is_atomic.then_some(again))?;
        let part = Part { title: title.to_owned(), checks: judge(&seen), note };
        // Without the kill and its restart.
        let met_nobody = seen.kill.take().is_some_and(|kill| kill.met == 0);
        seen.restarts = seen.restarts.saturating_sub(1);
        Ok((part, met_nobody && Verdict::of(&judge(&seen)) == Verdict::Proven))
    }

    /// All ask at once. With a role to kill, it dies at the given moment.
    fn crowd(&mut self, kill: Option<(&str, Moment)>) -> Result<Crowd, ProveError> {
        let before = self.platform.set_stock(self.sku, self.sizes.units.into())?;
        let bodies = self.sizes.bodies(&self.offer)?;
        let client = Client::new(&self.platform.url()?, &self.platform.ca_file())?;
        let victim = match kill {
            Some((role, moment)) => Some((role, moment, self.platform.process_of(role)?)),
            None => None,
        };
        // The moment of death and the answers there were, once it is dead.
        let death: Arc<OnceLock<(Instant, usize)>> = Arc::default();
        let meanwhile = victim.map(|(_, moment, pid)| {
            let death = Arc::clone(&death);
            let act = move |answers| {
                if kill_now(pid) {
                    // It is killed once.
                    let _ = death.set((Instant::now(), answers));
                }
            };
            Meanwhile { moment, act: Arc::new(act) }
        });
        let stop = &self.session.stop;
        let (crowd, readings) = self.watched(|| ask_all(&client, bodies.clone(), stop, meanwhile))?;
        let kill = match (victim, death.get()) {
            (Some((role, _, pid)), Some(&(at, answers_before))) => {
                let successor = self.platform.await_role(role, pid)?;
                let met = crowd.heard.iter().filter(|heard| heard.unsettled_at.is_some_and(|when| when >= at)).count();
                Some(Kill { role: role.to_owned(), pid, successor, answers_before, met })
            }
            (Some((role, ..)), None) => {
                Some(Kill { role: role.to_owned(), pid: 0, successor: 0, answers_before: 0, met: 0 })
            }
            (None, _) => None,
        };
        Ok(Crowd { before, bodies, heard: crowd.heard, readings, took: crowd.took, kill })
    }

    /// Reads the stock over and over while `work` runs.
    fn watched<T>(&self, work: impl FnOnce() -> Result<T, ProveError>) -> Result<(T, Vec<i64>), ProveError> {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut readings = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    // While orders is down nobody can read its stock.
                    match self.platform.stock_if_up(self.sku) {
                        Some(view) => readings.push(view.available),
                        None => thread::sleep(READING_PAUSE),
                    }
                }
                readings
            });
            let ended = SetOnDrop(&over);
            let done = work()?;
            drop(ended);
            Ok((done, reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))))
        })
    }

    /// A unit that an interrupted attempt held comes back to the stock; who was refused meanwhile asks again. Returns how many got one.
    fn ask_again(&self, crowd: &mut Crowd) -> Result<u64, ProveError> {
        if crowd.kill.is_none() {
            return Ok(0);
        }
        let began = Instant::now();
        let mut again = 0;
        while began.elapsed() < SETTLE_PATIENCE {
            let stock = self.settled(crowd)?;
            let refused: Vec<usize> = (0..crowd.heard.len())
                .filter(|&at| matches!(ending(&crowd.heard[at]), Ending::Refused { .. }))
                .collect();
            if stock.available <= 0 || refused.is_empty() {
                break;
            }
            let client = Client::new(&self.platform.url()?, &self.platform.ca_file())?;
            let bodies = refused.iter().map(|&at| crowd.bodies[at].clone()).collect();
            let heard = ask_all(&client, bodies, &self.session.stop, None)?.heard;
            again += heard.iter().filter(|heard| matches!(ending(heard), Ending::Sold { .. })).count() as u64;
            for (at, heard) in refused.into_iter().zip(heard) {
                crowd.heard[at] = heard;
            }
        }
        Ok(again)
    }

    /// The stock once what is under way has come to its end: units taken are the orders sold. The last reading when that does not come.
    fn settled(&self, crowd: &Crowd) -> Result<StockView, ProveError> {
        let began = Instant::now();
        loop {
            self.session.go_on()?;
            let stock = self.platform.stock(self.sku)?;
            let sold = crowd.heard.iter().filter(|heard| matches!(ending(heard), Ending::Sold { .. })).count();
            let taken = stock.held + stock.sold - crowd.before.held - crowd.before.sold;
            if u64::try_from(taken) == Ok(sold as u64) || began.elapsed() > SETTLE_PATIENCE {
                return Ok(stock);
            }
            thread::sleep(SETTLE_LOOK);
        }
    }

    fn seen(&mut self, crowd: Crowd, refused_too_early: Option<u64>) -> Result<Seen, ProveError> {
        let after = self.settled(&crowd)?;
        let fsck = self.platform.fsck(true)?;
        let restarts = self.platform.restarts()?;
        let seen = Seen {
            units: self.sizes.units.into(),
            endings: crowd.heard.iter().map(ending).collect(),
            stock: Some((crowd.before, after)),
            readings: crowd.readings,
            orders_before: self.orders,
            kill: crowd.kill,
            restarts: restarts.saturating_sub(self.restarts),
            refused_too_early,
            fsck: Some(fsck),
        };
        self.orders += seen.sold();
        self.restarts = restarts;
        Ok(seen)
    }
}

/// How a buyer's attempt ended.
fn ending(heard: &Heard) -> Ending {
    match &heard.reply {
        Err(last) => Ending::Unanswered { last: last.clone() },
        Ok(reply) if reply.status == 201 => Ending::Sold { order: order_id(&reply.body) },
        Ok(reply) => Ending::Refused { status: reply.status, code: problem_code(&reply.body) },
    }
}

/// The order's id. A 201 without one is an order nobody can name: it counts as the same as any other such.
fn order_id(body: &[u8]) -> String {
    let order: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    order["id"].as_str().unwrap_or_default().to_owned()
}

fn measured(heard: &[Heard], took: Duration) -> String {
    let retries: u32 = heard.iter().map(|heard| heard.retries).sum();
    let mut note = format!("{} answers within {} ms", heard.len(), took.as_millis());
    if retries > 0 {
        note.push_str(&format!("; asked again {retries} times"));
    }
    note
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_show_nothing_are_refused_with_a_remedy() {
        let sizes = |buyers, units| Oversell { buyers, units, product: None }.check();
        assert!(sizes(200, 100).is_ok());
        for (buyers, units, said) in
            [(200, 0, "shows nothing"), (0, 1, "nobody"), (5, 5, "nobody"), (1001, 1, "at most 1000")]
        {
            let error = sizes(buyers, units).unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
            assert!(error.help().contains("--units"));
        }
    }
}
