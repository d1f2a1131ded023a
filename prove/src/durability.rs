//! Proof: what was acknowledged is there afterwards, whatever was killed meanwhile.

mod room;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use zizon_load::client::Client;
use zizon_load::{DEFAULT_PRODUCT, LoadError, OrdersLoad, Progress, Rate, Report, Unsettled, Verify};

use crate::ProveError;
use crate::buyer::{block_on, settle};
use crate::check::durability::{Kill, Seen, judge};
use crate::platform::{CONFIG, Platform, ROLES};
use crate::proof::{Fact, Part, Proof, Verdict, grouped};
use crate::random::Choices;
use crate::session::{Running, Session, SetOnDrop};
use crate::timeline::{self, Timeline};

/// The most kills of one run.
pub const KILLS_MAX: u32 = 10_000;
/// Least and most time between a recovery and the next kill.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(900));
/// One kill in this many is made without waiting for the role before it to be ready: a death in the middle of a recovery.
const EARLY_ONE_IN: u64 = 4;
/// How long orders are made before the first kill and after the last.
const MARGIN: Duration = Duration::from_secs(1);
/// How long an answer may take before its outcome is unknown.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);
/// A run that is ended by its kills has no duration of its own; this is the generator's longest.
const NO_END: Duration = Duration::from_secs(24 * 3600);
/// Pause between two looks at whether to go on.
const LOOK: Duration = Duration::from_millis(5);

/// Sizes of the proof.
#[derive(Debug, Clone)]
pub struct Durability {
    /// Roles killed.
    pub kills: u32,
    /// How fast orders are made meanwhile.
    pub rate: Rate,
    /// How long orders are made at a running platform, where nothing can be killed.
    pub duration: Duration,
    /// What is ordered; the demo's product when none is named.
    pub product: Option<String>,
}

impl Durability {
    /// Whether these sizes can prove anything.
    ///
    /// # Errors
    /// [`ProveError::Size`].
    pub fn check(&self) -> Result<(), ProveError> {
        if (1..=KILLS_MAX).contains(&self.kills) {
            return Ok(());
        }
        let what = format!("--kills {}: it takes 1 to {KILLS_MAX}", self.kills);
        Err(ProveError::Size { what, remedy: "write --kills 30; each takes about a second" })
    }

    /// Proves it on a platform of the proof's own.
    ///
    /// # Errors
    /// When it cannot be carried through; what it finds is in the proof.
    pub fn spawn(&self, session: &Session<'_>) -> Result<Proof, ProveError> {
        self.check()?;
        let began = Instant::now();
        session
            .say
            .note(&format!("durability: orders and {} x kill -9 of a random role, seed {}", self.kills, session.seed));
        let mut platform = Platform::start(session, CONFIG)?;
        let proof = match self.on(session, &mut platform, began) {
            Err(error) => blank(self.method(), began).or_refuted(error)?,
            Ok(proof) => proof,
        };
        if !proof.is_proven() {
            platform.keep_evidence();
        }
        Ok(proof)
    }

    fn on(&self, session: &Session<'_>, platform: &mut Platform<'_>, began: Instant) -> Result<Proof, ProveError> {
        let acks = platform.beside("acks.jsonl");
        let sku = self.product.as_deref().unwrap_or(DEFAULT_PRODUCT);
        let client = Client::new(&platform.url()?, &platform.ca_file())?;
        // A product that is not sold is said to be that, rather than to have no stock.
        block_on(async { Ok(client.offer(self.product.as_deref()).await?) })?;
        let before = platform.stock(sku)?;
        let mut load = self.load(&platform.url()?, &platform.ca_file(), &acks);
        let unsettled = Arc::<Unsettled>::default();
        load.unsettled = Some(Arc::clone(&unsettled));
        let (report, kills) = under_load(session, &load, |alive| self.kill_all(session, platform, alive))?;
        platform.await_ready()?;

        let (open, left_out) = unsettled.take();
        session.say.note(&format!(
            "durability: {} requests without a clear answer are asked again",
            grouped(open.len() as u64)
        ));
        let tell = |left: usize| session.say.progress(&format!("{left} requests are still to be asked"));
        let settled = settle(&Client::new(&platform.url()?, &platform.ca_file())?, open, &session.stop, &tell)?;
        session.say.note("durability: every acknowledged order is asked for");
        let verify = verify(session, &platform.url()?, &platform.ca_file(), &acks)?;
        session.say.note("durability: journal, index and stock are compared");
        let online = Some(platform.fsck(true)?);
        let after = platform.stock(sku)?;
        let restarts = platform.restarts()?;
        platform.stop()?;
        let offline = Some(platform.fsck(false)?);
        let seen = Seen {
            kills_asked: self.kills,
            kills,
            restarts,
            acked: report.acked.unwrap_or(0),
            answered_201: report.created + report.replayed,
            found: settled.orders,
            refused: settled.refused,
            unanswered: settled.open + left_out,
            verify,
            stock: Some((before, after)),
            online,
            offline,
        };
        let timeline = timeline::of_file(&acks, &seen.kills)?;
        let not_shown = vec![
            "a power failure: what a killed process has written survives in the kernel; fsync is shown by fault injection, not here".to_owned(),
            "a disk that lies about what it has kept, or loses it".to_owned(),
        ];
        Ok(proof(&seen, &report, timeline, self.method(), not_shown, began))
    }

    fn method(&self) -> String {
        format!(
            "Orders are made while a random role is killed with kill -9 at a random moment, {} times; then each acknowledged order is asked for.",
            self.kills
        )
    }

    /// Proves as much as can be seen from outside: orders are made, and each acknowledged one is asked for. They stay.
    ///
    /// # Errors
    /// When it cannot be carried through.
    pub fn from_outside(&self, session: &Session<'_>, running: &Running) -> Result<Proof, ProveError> {
        self.check()?;
        let began = Instant::now();
        session.say.note(&format!("durability: orders at {} for {} s", running.url, self.duration.as_secs()));
        let home = tempfile::Builder::new().prefix("zizon-prove-").tempdir();
        let home = home.map_err(ProveError::system("make a temporary directory"))?;
        let acks = home.path().join("acks.jsonl");
        let mut load = self.load(&running.url, &running.ca_file, &acks);
        load.duration = self.duration;
        load.stop = session.stop.clone();
        let report = zizon_load::run(&load, |progress| session.say.progress(&progress.to_string()))?;
        session.go_on()?;
        session.say.note("durability: every acknowledged order is asked for");
        let verify = verify(session, &running.url, &running.ca_file, &acks)?;
        let seen = Seen {
            kills_asked: 0,
            kills: Vec::new(),
            restarts: 0,
            acked: report.acked.unwrap_or(0),
            answered_201: report.created + report.replayed,
            found: 0,
            refused: 0,
            unanswered: 0,
            verify,
            stock: None,
            online: None,
            offline: None,
        };
        let timeline = timeline::of_file(&acks, &[])?;
        let not_shown = vec![
            "that it holds when a role dies: from outside nothing can be killed".to_owned(),
            "stock, the equation and the storage: only the platform's operator may read them".to_owned(),
        ];
        let method =
            format!("Orders are made for {} s; then each acknowledged one is asked for.", self.duration.as_secs());
        Ok(proof(&seen, &report, timeline, method, not_shown, began))
    }

    fn load(&self, url: &str, ca_file: &Path, acks: &Path) -> OrdersLoad {
        let mut load = OrdersLoad::to(url, ca_file);
        load.rate = self.rate;
        load.duration = NO_END;
        load.product.clone_from(&self.product);
        load.acks = Some(PathBuf::from(acks));
        load.request_timeout = ANSWER_PATIENCE;
        load
    }

    /// Kills a random role at a random moment, again and again. `alive` says how the generator is and whether it still runs.
    fn kill_all(
        &self,
        session: &Session<'_>,
        platform: &mut Platform<'_>,
        alive: &dyn Fn() -> Option<String>,
    ) -> Result<Vec<Kill>, ProveError> {
        let mut choices = Choices::from_seed(session.seed);
        let mut kills = Vec::new();
        wait(session, MARGIN)?;
        for number in 1..=self.kills {
            let (role, pause) = (choices.one_of(&ROLES), choices.between(PAUSE.0, PAUSE.1));
            let is_early = choices.below(EARLY_ONE_IN) == 0;
            wait(session, pause)?;
            let Some(how) = alive() else { break };
            session.say.progress(&format!("kill {number:>3} of {}: {role:<9} {how}", self.kills));
            let pid = platform.kill_role(role)?;
            let at_ms = wall_ms();
            let successor =
                if is_early { platform.await_successor(role, pid)? } else { platform.await_role(role, pid)? };
            kills.push(Kill { role: role.to_owned(), at_ms, pid, successor, is_early });
        }
        platform.await_ready()?;
        wait(session, MARGIN)?;
        Ok(kills)
    }
}

/// Runs `work` while orders are made, and ends the generator whatever comes of it.
fn under_load<T>(
    session: &Session<'_>,
    load: &OrdersLoad,
    work: impl FnOnce(&dyn Fn() -> Option<String>) -> Result<T, ProveError>,
) -> Result<(Report, T), ProveError> {
    let how: Mutex<String> = Mutex::new(String::new());
    let stop = Arc::clone(&load.stop);
    let (report, done) = thread::scope(|scope| {
        let generator = scope.spawn(|| {
            zizon_load::run(load, |progress| *how.lock().unwrap_or_else(PoisonError::into_inner) = words(progress))
        });
        // Also when `work` fails or panics: the scope waits for the generator.
        let ended = SetOnDrop(&stop);
        let alive = || (!generator.is_finished()).then(|| how.lock().unwrap_or_else(PoisonError::into_inner).clone());
        let done = work(&alive);
        drop(ended);
        let report = generator.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (report, done)
    });
    session.go_on()?;
    // A generator that failed is the reason why the work did not come to its end.
    let report: Result<Report, LoadError> = report;
    Ok((report?, done?))
}

fn words(progress: &Progress) -> String {
    format!("{:>6.0} orders/s  {} acknowledged  {} without a 201", progress.rate, progress.created, progress.errors)
}

/// Asks for every acknowledged order.
pub(crate) fn verify(
    session: &Session<'_>,
    url: &str,
    ca_file: &Path,
    acks: &Path,
) -> Result<zizon_load::VerifyReport, ProveError> {
    let mut verify = Verify::against(url, ca_file, acks);
    verify.stop = Arc::clone(&session.stop);
    let report = zizon_load::verify(&verify, |progress| session.say.progress(&progress.to_string()))?;
    session.go_on()?;
    Ok(report)
}

/// Waits, unless the proof is stopped.
fn wait(session: &Session<'_>, time: Duration) -> Result<(), ProveError> {
    let began = Instant::now();
    loop {
        session.go_on()?;
        let left = time.saturating_sub(began.elapsed());
        if left.is_zero() {
            return Ok(());
        }
        thread::sleep(left.min(LOOK));
    }
}

/// Milliseconds since 1970, the clock of the acknowledgements.
fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn proof(
    seen: &Seen,
    report: &Report,
    timeline: Timeline,
    method: String,
    not_shown: Vec<String>,
    began: Instant,
) -> Proof {
    let checks = judge(seen);
    Proof {
        verdict: Verdict::of(&checks),
        parts: vec![Part { title: "under load".into(), checks, note: String::new() }],
        facts: facts(report, seen, &timeline),
        not_shown,
        timeline: Some(timeline),
        ..blank(method, began)
    }
}

/// The proof before anything was seen.
fn blank(method: String, began: Instant) -> Proof {
    let claim = "Every acknowledged order is there afterwards, as it was acknowledged, once.";
    Proof::unseen("durability", claim, method, began)
}

fn facts(report: &Report, seen: &Seen, timeline: &Timeline) -> Vec<Fact> {
    let fact = |name: &str, value: String| Fact { name: name.to_owned(), value };
    let asked =
        report.requested_rate.map_or_else(|| "max asked for".to_owned(), |rate| format!("{rate:.0}/s asked for"));
    let mut facts = vec![
        fact(
            "orders",
            format!(
                "{} acknowledged in {:.1} s, {:.0}/s, {asked}",
                grouped(report.acked.unwrap_or(0)),
                report.duration_s,
                report.achieved_rate
            ),
        ),
        fact(
            "no 201",
            match seen.found + seen.refused + seen.unanswered {
                0 => format!("{} requests", grouped(report.errors)),
                open => format!(
                    "{} requests; {} of them left it open: asked again, {} are orders and {} are not",
                    grouped(report.errors),
                    grouped(open),
                    grouped(seen.found),
                    grouped(seen.refused)
                ),
            },
        ),
        fact(
            "latency",
            format!(
                "p50 {:.1} ms, p99 {:.0} ms, max {:.0} ms from the intended start, kills included",
                report.p50_ms, report.p99_ms, report.max_ms
            ),
        ),
    ];
    for (role, silences) in timeline.silences() {
        let times = timeline.kills.iter().filter(|kill| kill.role == role).count();
        let value = match (silences.get(silences.len() / 2), silences.last()) {
            (Some(median), Some(longest)) => {
                let alone = silences.len();
                format!("kills: {times}, alone: {alone}; then no answer for {median} ms (median), {longest} ms at most")
            }
            _ => format!("kills: {times}, each while another role was down"),
        };
        facts.push(fact(role, value));
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_kill_and_too_many_are_refused() {
        let sizes = |kills| Durability { kills, rate: Rate::Max, duration: MARGIN, product: None };
        for kills in [0, KILLS_MAX + 1] {
            let error = sizes(kills).check().unwrap_err();
            assert!(error.to_string().contains("--kills"), "{error}");
        }
        assert!(sizes(30).check().is_ok());
    }
}
