//! `zizon prove`.

use std::{
    io::{IsTerminal, Write},
    path::Path,
    process::ExitCode,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Result;
use tokio::signal::unix::{SignalKind, signal};
use zizon_load::Rate;
use zizon_prove::{
    ProveError, control,
    durability::Durability,
    oversell::Oversell,
    proof::{Proof, Verdict},
    random::fresh_seed,
    replay::Replay,
    report::{self, Report, Tone},
    session::{Running, Say, Session},
};

use super::load;
use crate::{
    cli::{DurabilitySizes, OversellSizes, Prove, ProveOutput, ProveTarget, ProveWhat},
    exit::{self, Failure},
    output::{self, Style, quoted},
    up::Hangup,
};

/// Units on sale unless told otherwise.
const UNITS: u32 = 100;
/// How often progress is told where there is no terminal to tell it on.
const CALM: Duration = Duration::from_secs(10);

/// One proof with its sizes.
enum Task {
    Oversell(Oversell),
    Replay(Replay),
    Durability(Durability),
}

impl Task {
    fn check(&self, running: Option<&Running>) -> Result<(), ProveError> {
        match self {
            Self::Oversell(sizes) => sizes.check(),
            Self::Replay(sizes) => sizes.check(),
            Self::Durability(sizes) if running.is_some() => sizes.check(),
            Self::Durability(sizes) => sizes.check().and_then(|()| sizes.check_room(&std::env::temp_dir())),
        }
    }

    fn run(&self, session: &Session<'_>, running: Option<&Running>) -> Result<Proof, ProveError> {
        match (self, running) {
            (Self::Oversell(sizes), None) => sizes.spawn(session),
            (Self::Oversell(sizes), Some(running)) => sizes.from_outside(session, running),
            (Self::Replay(sizes), None) => sizes.spawn(session),
            (Self::Replay(sizes), Some(running)) => sizes.from_outside(session, running),
            (Self::Durability(sizes), None) => sizes.spawn(session),
            (Self::Durability(sizes), Some(running)) => sizes.from_outside(session, running),
        }
    }

    /// The words that ask for it again.
    fn words(&self, running: Option<&Running>) -> String {
        match self {
            Self::Oversell(sizes) => format!(" --buyers {} --units {}", sizes.buyers, sizes.units),
            Self::Replay(sizes) => format!(" --clients {}", sizes.clients),
            Self::Durability(sizes) => {
                let rate = match sizes.rate {
                    Rate::Max => "max".to_owned(),
                    Rate::PerSecond(rate) => rate.to_string(),
                };
                match running {
                    None => format!(" --kills {} --rate {rate}", sizes.kills),
                    Some(_) => format!(" --rate {rate} --duration {}ms", sizes.duration.as_millis()),
                }
            }
        }
    }
}

/// Proves what was asked for.
pub fn run(options: &Prove) -> Result<ExitCode> {
    let Some(proof) = &options.proof else {
        if options.self_test {
            return self_test(&options.output);
        }
        let remedy = "name one: zizon prove all; or break the evidence on purpose: zizon prove --self-test";
        return Err(Failure::usage("no proof was named", remedy).into());
    };
    let (name, tasks, target, output) = tasks(proof)?;
    let running = running(target)?;
    tasks.iter().try_for_each(|task| task.check(running.as_ref())).map_err(failure)?;
    let mut command = format!("zizon prove {name}");
    tasks.iter().for_each(|task| command.push_str(&task.words(running.as_ref())));
    if let Some(product) = &target.product {
        command.push_str(&format!(" --product {product}"));
    }
    if let Some(running) = &running {
        let ca = running.ca_file.to_string_lossy();
        command.push_str(&format!(" --url {} --ca {}", quoted(&running.url), quoted(&ca)));
    }
    carry_out(output, &command, |session, command| {
        let mut proofs = Vec::with_capacity(tasks.len());
        let mut ended = None;
        for task in &tasks {
            match task.run(session, running.as_ref()) {
                Ok(proof) => proofs.push(proof),
                Err(error) => {
                    ended = Some(error);
                    break;
                }
            }
        }
        (Report::of_proofs(&version(), session.seed, command, proofs), ended)
    })
}

/// Breaks the evidence on purpose.
fn self_test(output: &ProveOutput) -> Result<ExitCode> {
    carry_out(output, "zizon prove --self-test", |session, command| {
        let (outcomes, ended) = control::run(session, &control::all(session));
        (Report::of_controls(&version(), session.seed, command, outcomes), ended)
    })
}

fn version() -> String {
    format!("zizon {}", env!("CARGO_PKG_VERSION"))
}

type Tasks<'a> = (&'static str, Vec<Task>, &'a ProveTarget, &'a ProveOutput);

fn tasks(proof: &ProveWhat) -> Result<Tasks<'_>> {
    Ok(match proof {
        ProveWhat::Oversell { sizes, target, output } => ("oversell", vec![oversell(sizes, target)?], target, output),
        ProveWhat::Replay { sizes, target, output } => ("replay", vec![replay(sizes.clients, target)], target, output),
        ProveWhat::Durability { sizes, target, output } => {
            ("durability", vec![durability(sizes, target)?], target, output)
        }
        ProveWhat::All { oversell: buyers, replay: clients, durability: kills, target, output } => {
            let mut tasks = Vec::new();
            // Its units are sold for good: at a running platform only where that is asked for.
            if target.url.is_none() || buyers.units.is_some() {
                tasks.push(oversell(buyers, target)?);
            }
            tasks.push(replay(clients.clients, target));
            tasks.push(durability(kills, target)?);
            ("all", tasks, target, output)
        }
    })
}

fn product(target: &ProveTarget) -> Option<String> {
    target.product.as_ref().map(ToString::to_string)
}

fn oversell(sizes: &OversellSizes, target: &ProveTarget) -> Result<Task> {
    if target.url.is_some() && (target.product.is_none() || sizes.units.is_none()) {
        let remedy = "name it with --product, and with --units how many are left of it; they will be sold";
        return Err(Failure::usage("at a running platform this proof sells a product out", remedy).into());
    }
    let units = sizes.units.unwrap_or(UNITS);
    Ok(Task::Oversell(Oversell { buyers: sizes.buyers, units, product: product(target) }))
}

fn replay(clients: u32, target: &ProveTarget) -> Task {
    Task::Replay(Replay { clients, product: product(target) })
}

fn durability(sizes: &DurabilitySizes, target: &ProveTarget) -> Result<Task> {
    let rate = sizes.rate.parse().map_err(|error: String| {
        Failure::usage(format!("--rate: {error}"), "write --rate 1000, or --rate max for one in flight per connection")
    })?;
    let (kills, duration) = (sizes.kills, sizes.duration);
    Ok(Task::Durability(Durability { kills, rate, duration, product: product(target) }))
}

fn running(target: &ProveTarget) -> Result<Option<Running>> {
    match (&target.url, &target.ca) {
        (None, None) => Ok(None),
        (Some(url), Some(ca)) => Ok(Some(Running { url: url.clone(), ca_file: ca.clone() })),
        (Some(_), None) => {
            let remedy = "add --ca FILE: the authority that signed its certificate, ca.pem of its data directory";
            Err(Failure::usage("--url without --ca: whom to trust there is not said", remedy).into())
        }
        (None, Some(_)) => {
            Err(Failure::usage("--ca without --url", "add --url https://HOST:PORT, or leave both out").into())
        }
    }
}

/// Runs `work` with everything it needs, and reports what came of it: what was found, and why it could not go on where it could not.
fn carry_out(
    options: &ProveOutput,
    command: &str,
    work: impl FnOnce(&Session<'_>, String) -> (Report, Option<ProveError>),
) -> Result<ExitCode> {
    options.report.as_deref().map(report::check_writable).transpose().map_err(failure)?;
    let seed = options.seed.unwrap_or_else(fresh_seed);
    let teller = Teller::default();
    let stop = stop_on_signals()?;
    let program = std::env::current_exe()?;
    let session = Session { program, stop, keep: options.keep, seed, say: &teller };
    let (report, ended) = work(&session, format!("{command} --seed {seed}"));
    teller.clear();
    let Some(error) = ended else {
        show(&report, options)?;
        return Ok(ExitCode::from(if report.verdict == Verdict::Proven { 0 } else { exit::NO }));
    };
    if !report.refutes() {
        return Err(failure(error).into());
    }
    // What was found stands, although the rest was not decided.
    show(&report, options)?;
    output::print_error(&failure(error).into());
    Ok(ExitCode::from(exit::NO))
}

fn show(report: &Report, options: &ProveOutput) -> Result<()> {
    if options.json {
        output::json(report)?;
    } else {
        output::line(report.text(&paint).trim_end());
    }
    let Some(file) = &options.report else { return Ok(()) };
    if let Err(error) = report::write(file, report) {
        // The verdict is told already, and its exit code is the command's.
        output::print_error(&failure(error).into());
    } else if !options.json {
        output::line(&format!("report: {}", shown(file)));
    }
    Ok(())
}

fn shown(file: &Path) -> String {
    std::path::absolute(file).unwrap_or_else(|_| file.to_owned()).display().to_string()
}

fn paint(text: &str, tone: Tone) -> String {
    let style = match tone {
        Tone::Good => Style::Green,
        Tone::Bad => Style::Red,
        Tone::Strong => Style::Bold,
        Tone::Quiet => Style::Dim,
    };
    output::paint(text, style)
}

/// A proof that could not be carried through, with its exit code and remedy.
fn failure(error: ProveError) -> Failure {
    let remedy = error.help().to_owned();
    match error {
        ProveError::Load(error) => load::failure(error),
        error @ (ProveError::Size { .. } | ProveError::Report { .. }) => Failure::usage(error.to_string(), remedy),
        error => Failure::unknown(error.to_string(), remedy),
    }
}

/// Ctrl-C, SIGTERM and a closed terminal end the proof; what it has started is ended and removed.
fn stop_on_signals() -> Result<Arc<AtomicBool>> {
    let stop = Arc::<AtomicBool>::default();
    let told = Arc::clone(&stop);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate, mut hangup) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, Hangup::new()?)
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
        });
        told.store(true, Ordering::Relaxed);
    })?;
    Ok(stop)
}

/// Tells on standard error how far the proof is: one line that changes on a terminal, calm lines elsewhere.
#[derive(Debug, Default)]
struct Teller {
    last: Mutex<Option<Instant>>,
}

impl Teller {
    fn clear(&self) {
        if std::io::stderr().is_terminal() {
            eprint!("\r\x1b[2K");
        }
    }

    /// Whether it is time for another calm line.
    fn is_due(&self) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|at| at.elapsed() >= CALM);
        if due {
            *last = Some(Instant::now());
        }
        due
    }
}

impl Say for Teller {
    fn note(&self, text: &str) {
        self.clear();
        output::error_line(text);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn progress(&self, text: &str) {
        let mut out = std::io::stderr().lock();
        // Progress that cannot be shown is no reason to stop proving.
        let _ = if out.is_terminal() {
            write!(out, "\r\x1b[2K{text}").and_then(|()| out.flush())
        } else if self.is_due() {
            writeln!(out, "{text}")
        } else {
            Ok(())
        };
    }
}
