//! `zizon up`: every role as a child process of one supervisor.
//!
//! The story: take the directory, bind every socket, start the issuer, start the others, ask them how they are, say so,
//! keep them running, and on a signal let them finish in order.

mod banner;
mod begin;
mod child;
mod control;
mod health;
mod listeners;
pub mod lock;
mod logfile;
mod metrics;
mod notice;
mod sockets;
mod state;
mod words;

pub use words::FAILED;

use std::{
    ffi::OsString,
    io::Write,
    os::fd::OwnedFd,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::{
    fs::{MemfdFlags, Mode, SealFlags, fcntl_add_seals, memfd_create},
    process::{getppid, set_parent_process_death_signal, umask},
};
use tokio::{
    net::UnixStream,
    signal::unix::{Signal, SignalKind, signal},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use zizon_base::role::{Role, SUPERVISOR_PATH};
use zizon_contracts::{paths::Paths, supervisor::StatusReport};
use zizon_mtls::{ConnRegistry, RegistryOptions, SourceOptions, SvidSource};
use zizon_service::{Upstream, UpstreamOptions};

use self::{
    child::{Recipe, Stop},
    listeners::Listeners,
    state::State,
};
use crate::{cli, command::local as command_local, config::Config, exit::Failure, output};

/// How long the issuer may take to serve.
const ISSUER_PATIENCE: Duration = Duration::from_secs(15);
/// The edge finishes first, then those it calls; together less than 10 s.
const GRACE: [(Role, Duration); 4] = [
    (Role::Edge, Duration::from_millis(3500)),
    (Role::Orders, Duration::from_millis(2500)),
    (Role::Catalog, Duration::from_millis(700)),
    (Role::Identity, Duration::from_millis(700)),
];

/// Starts the platform and stays until it is told to stop.
pub fn run(options: cli::Up) -> Result<ExitCode> {
    // Whatever else the caller left open is not for roles: they would hold it as long as they live.
    close_fds::set_fds_cloexec(3, &[]);
    stop_with_the_proof()?;
    let (config, text) = Config::load_text(options.config.as_deref())?;
    crate::roles::policy(&config)?;
    // Whatever is made without a mode of its own is for this user alone.
    umask(Mode::RWXG | Mode::RWXO);
    let data = lock::data_dir(&options.data, true)?;
    let paths = Paths::new(&data, &command_local::short_base());
    let _lock = lock::Lock::acquire(&paths.lock_file(), &data)?;
    prepare(&paths)?;
    let mut logs = crate::roles::log_options(&config);
    // That a role cannot be reached is known here, and said in words of its own.
    logs.level.push_str(",zizon_service::upstream=error");
    zizon_telemetry::init_logging(&logs)?;
    keep_for_backups(&paths.config_in_use(), text.as_deref());
    let text = text.map(|text| kept(&text)).transpose()?;
    let outcome = command_local::block_on(supervise(options, config, text, paths.clone()));
    sockets::remove_place(&paths);
    outcome
}

/// A platform that `zizon prove` has started stops when that ends, even by `kill -9`: nobody else knows of it.
fn stop_with_the_proof() -> Result<()> {
    let Some(prover) = std::env::var(zizon_prove::PROVER_PID_ENV).ok() else { return Ok(()) };
    set_parent_process_death_signal(Some(rustix::process::Signal::TERM))?;
    // It may have ended before the kernel was asked to tell.
    let parent = getppid().map_or(0, |parent| parent.as_raw_nonzero().get());
    if prover != parent.to_string() {
        return Err(Failure::unknown("the proof that wanted this platform has ended", "").into());
    }
    Ok(())
}

/// The configuration as it was read, in memory: a role that is started again is configured as it was, whatever has become of the file.
fn kept(text: &str) -> Result<Arc<OwnedFd>> {
    let memory = memfd_create("zizon.toml", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = std::fs::File::from(memory);
    file.write_all(text.as_bytes())?;
    let memory = OwnedFd::from(file);
    fcntl_add_seals(&memory, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(Arc::new(memory))
}

/// The configuration beside the data, so that a backup has it too. Nothing reads it here: a disk that takes no more is no reason not to
/// start.
fn keep_for_backups(file: &std::path::Path, text: Option<&str>) {
    let unfinished = file.with_extension("tmp");
    let done = match text {
        Some(text) => std::fs::write(&unfinished, text).and_then(|()| std::fs::rename(&unfinished, file)),
        None => std::fs::remove_file(file),
    };
    if let Err(error) = done
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(file = %file.display(), %error, "the configuration was not kept for backups");
    }
}

/// Makes the directories with their modes.
fn prepare(paths: &Paths) -> Result<()> {
    let make = |path: &std::path::Path, mode: u32| -> Result<()> {
        std::fs::DirBuilder::new().recursive(true).mode(mode).create(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
        Ok(())
    };
    // Workloads of other users reach the Workload API through these two; everything else keeps to itself.
    make(paths.data(), 0o755).with_context(|| format!("cannot prepare {}", paths.data().display()))?;
    make(&paths.keys(), 0o700).with_context(|| format!("cannot prepare {}", paths.keys().display()))?;
    sockets::make_place(paths)
}

async fn supervise(options: cli::Up, config: Config, text: Option<Arc<OwnedFd>>, paths: Paths) -> Result<ExitCode> {
    let began = Instant::now();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = Hangup::new()?;
    let stop = CancellationToken::new();
    // Ends before roles do: a role that has been stopped is not one that fails to answer.
    let watching = stop.child_token();
    let bound = listeners::bind_all(options.listen)?;
    let public = bound.iter().find(|role| role.public.is_some()).context("no public listener")?.address()?;
    let urls = banner::urls(public, &options.host);
    // Whoever signed the operator's own certificate is not known here.
    let own = config.edge.tls.certificate_file.is_some();
    let authority = if own { String::new() } else { paths.ca_file().display().to_string() };
    let state = State::new(config.trust_domain()?, urls, authority);
    for role in &bound {
        state.add(role.role, role.address()?.to_string(), role.internal_address()?.to_string());
    }

    let mut tasks = JoinSet::new();
    let control = control::bind(&paths.supervisor_socket(), 0o666)?;
    tasks.spawn(control::serve(control, Arc::clone(&state), stop.clone()));
    let addresses: Vec<(Role, String)> =
        bound.iter().map(|role| Ok((role.role, role.internal_address()?.to_string()))).collect::<Result<_>>()?;
    let mut children = start_children(bound, &addresses, &options, text.as_ref(), &paths, &state, &watching);

    let started = tokio::select! {
        started = start(&addresses, &paths, &state, &watching, &mut tasks, began) => Some(started),
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        _ = hangup.recv() => None,
    };
    if let Some(started) = started {
        match started {
            Ok(report) => announce(&report, began),
            Err(error) => {
                watching.cancel();
                drain(&mut children).await;
                return Err(error);
            }
        }
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
    }
    // Nothing can be done when nobody listens at the other end.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    output::line("stopping: finishing what is in flight");
    watching.cancel();
    let draining = Instant::now();
    drain(&mut children).await;
    stop.cancel();
    tasks.shutdown().await;
    output::line(&format!("stopped in {:.1} s", draining.elapsed().as_secs_f64()));
    Ok(ExitCode::SUCCESS)
}

fn announce(report: &StatusReport, began: Instant) {
    if !report.ca_file.is_empty() {
        // Everybody may know whom to trust.
        let _ = std::fs::set_permissions(&report.ca_file, std::fs::Permissions::from_mode(0o644));
    }
    banner::print_ready(report, began.elapsed());
    let status = if report.ready { "ready".to_owned() } else { report.detail.join("; ") };
    // Only a service manager listens, and only sometimes.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready, sd_notify::NotifyState::Status(&status)]);
}

/// The token and task of each role's keeper, in the order in which they are stopped.
type Children = Vec<(CancellationToken, tokio::task::JoinHandle<()>)>;

fn start_children(
    bound: Vec<Listeners>,
    addresses: &[(Role, String)],
    options: &cli::Up,
    text: Option<&Arc<OwnedFd>>,
    paths: &Paths,
    state: &Arc<State>,
    stopping: &CancellationToken,
) -> Children {
    let mut by_role: Vec<(Role, CancellationToken, tokio::task::JoinHandle<()>)> = Vec::new();
    for listeners in bound {
        let role = listeners.role;
        let arguments = arguments(role, addresses, options, paths);
        let recipe = Recipe { listeners, arguments, config: text.cloned(), paths: paths.clone() };
        let stop = CancellationToken::new();
        let grace = GRACE.iter().find(|(named, _)| *named == role).map_or(Duration::from_secs(1), |(_, grace)| *grace);
        let (state, socket) = (Arc::clone(state), paths.workload_socket());
        let keeper_stop = Stop { platform: stopping.clone(), role: stop.clone(), grace };
        let task = tokio::spawn(async move {
            if role != Role::Identity {
                // Others would only start in order to wait for their identity.
                tokio::select! {
                    () = keeper_stop.platform.cancelled() => {}
                    _ = timeout(ISSUER_PATIENCE, wait_for_socket(&socket)) => {}
                }
            }
            child::keep(recipe, state, keeper_stop).await;
        });
        by_role.push((role, stop, task));
    }
    by_role.sort_by_key(|(role, ..)| GRACE.iter().position(|(named, _)| named == role));
    by_role.into_iter().map(|(_, stop, task)| (stop, task)).collect()
}

/// A terminal that is closed ends the platform as Ctrl-C does, unless the caller has asked for the opposite (`nohup`).
pub struct Hangup(Option<Signal>);

impl Hangup {
    /// Listens for it, inside a runtime.
    pub fn new() -> Result<Self> {
        Ok(Self(if ignores_hangup() { None } else { Some(signal(SignalKind::hangup())?) }))
    }

    /// Waits for it, for ever where it is ignored.
    pub async fn recv(&mut self) {
        match &mut self.0 {
            Some(signal) => drop(signal.recv().await),
            None => std::future::pending().await,
        }
    }
}

/// Bit 0 of the ignored signals is SIGHUP (proc(5)).
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 != 0)
}

async fn wait_for_socket(socket: &std::path::Path) {
    while UnixStream::connect(socket).await.is_err() {
        sleep(Duration::from_millis(5)).await;
    }
}

fn arguments(role: Role, addresses: &[(Role, String)], options: &cli::Up, paths: &Paths) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["--data".into(), paths.data().into()];
    if options.config.is_some() {
        arguments.extend(["--config".into(), child::CONFIG_FILE.into()]);
    }
    if options.demo {
        arguments.push("--demo".into());
    }
    for (peer, address) in addresses.iter().filter(|(peer, _)| *peer != role) {
        arguments.extend(["--peer".into(), format!("{peer}={address}").into()]);
    }
    if role == Role::Edge {
        // Programs of this machine use the address itself.
        let address = Some(options.listen.ip()).filter(|address| !address.is_unspecified()).map(|ip| ip.to_string());
        for host in options.host.iter().chain(&address) {
            arguments.extend(["--host".into(), host.into()]);
        }
    }
    arguments
}

/// Takes the supervisor's own identity, begins to ask every role how it is, and waits until they answer.
async fn start(
    addresses: &[(Role, String)],
    paths: &Paths,
    state: &Arc<State>,
    stop: &CancellationToken,
    tasks: &mut JoinSet<()>,
    began: Instant,
) -> Result<StatusReport> {
    let socket = paths.workload_socket();
    let issuer = tokio::select! {
        () = wait_for_socket(&socket) => Ok(()),
        () = state.wait_until(|state| state.hopeless().is_some()) => Err(()),
        () = sleep(ISSUER_PATIENCE) => Err(()),
        never = begin::say_what_goes_on(state, began) => match never {},
    };
    if issuer.is_err() {
        let silent = || Failure::unknown("the identity role does not serve", log_of(Role::Identity, paths));
        return Err(begin::hopeless(state, paths).unwrap_or_else(silent).into());
    }
    watch_over(addresses, paths, state, stop, tasks).await?;
    begin::wait(state, paths, began).await
}

async fn watch_over(
    addresses: &[(Role, String)],
    paths: &Paths,
    state: &Arc<State>,
    stop: &CancellationToken,
    tasks: &mut JoinSet<()>,
) -> Result<()> {
    let endpoint = format!("unix:{}", paths.workload_socket().display());
    let source = SvidSource::connect(&endpoint, SourceOptions::default()).await.map_err(|error| {
        let message = format!("no identity for the supervisor: {:#}", anyhow::Error::from(error));
        Failure::unknown(message, log_of(Role::Identity, paths))
    })?;
    if source.id().path() != SUPERVISOR_PATH {
        bail!(Failure::usage(
            format!("the Workload API took the supervisor for {}", source.id()),
            "only one platform may use a data directory; stop the other one"
        ));
    }
    let registry = ConnRegistry::new(RegistryOptions::default());
    let mut upstreams = Vec::new();
    for (role, address) in addresses {
        let (source, registry) = (Arc::clone(&source), Arc::clone(&registry));
        let upstream = Arc::new(Upstream::new(source, registry, *role, address, UpstreamOptions::default()));
        tasks.spawn(health::poll(*role, Arc::clone(&upstream), Arc::clone(state), stop.clone()));
        upstreams.push((*role, upstream));
    }
    let listener = control::bind(&paths.metrics_socket(), 0o600)?;
    tasks.spawn(metrics::serve(listener, upstreams, stop.clone()));
    Ok(())
}

fn log_of(role: Role, paths: &Paths) -> String {
    format!("its whole log is {}", paths.log_file(role.name()).display())
}

/// Stops roles one after the other, so that nobody loses what it calls while it still has work.
async fn drain(children: &mut Children) {
    for (stop, task) in children.drain(..) {
        stop.cancel();
        // A keeper ends with its child; one that panicked has nothing left to stop.
        let _ = task.await;
    }
}
