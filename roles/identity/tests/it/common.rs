//! An issuer with a supervisor that says what the test wants.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use spiffe::WorkloadApiClient;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use zizon_contracts::supervisor::{Request, WhoIsAnswer};
use zizon_identity::{Clock, Config, Issuer, IssuerError, IssuerHandle, IssuerOptions, TimeSource};
use zizon_telemetry::Metrics;

/// Longer than anything here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What the supervisor of a test knows.
#[derive(Default)]
pub struct Knowledge {
    pub roles: HashMap<u32, String>,
    pub operator_uid: u32,
}

/// A supervisor's socket.
pub struct FakeSupervisor {
    pub known: Arc<Mutex<Knowledge>>,
    task: JoinHandle<()>,
    path: PathBuf,
}

impl FakeSupervisor {
    pub fn at(path: &Path) -> Self {
        let knowledge = Knowledge { roles: HashMap::new(), operator_uid: rustix::process::getuid().as_raw() };
        let known = Arc::new(Mutex::new(knowledge));
        let task = tokio::spawn(answer(UnixListener::bind(path).unwrap(), Arc::clone(&known)));
        Self { known, task, path: path.to_owned() }
    }

    pub fn says(&self, pid: u32, role: Option<&str>) {
        let roles = &mut self.known.lock().unwrap().roles;
        match role {
            Some(role) => drop(roles.insert(pid, role.to_owned())),
            None => drop(roles.remove(&pid)),
        }
    }

    pub async fn dies(self) {
        self.task.abort();
        let _ = self.task.await;
        std::fs::remove_file(self.path).unwrap();
    }
}

async fn answer(listener: UnixListener, known: Arc<Mutex<Knowledge>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (read, mut write) = stream.into_split();
        let mut line = String::new();
        BufReader::new(read).read_line(&mut line).await.unwrap();
        let Ok(Request::WhoIs { pid }) = serde_json::from_str(&line) else { continue };
        let answer = {
            let known = known.lock().unwrap();
            WhoIsAnswer { role: known.roles.get(&pid).cloned(), operator_uid: known.operator_uid }
        };
        let _ = write.write_all(format!("{}\n", serde_json::to_string(&answer).unwrap()).as_bytes()).await;
    }
}

/// The machine's clock, moved.
pub struct MovedClock {
    origin: Instant,
    moved_ms: AtomicI64,
}

impl MovedClock {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { origin: Instant::now(), moved_ms: AtomicI64::new(0) })
    }

    pub fn advance(&self, by: Duration) {
        self.moved_ms.fetch_add(i64::try_from(by.as_millis()).unwrap(), SeqCst);
    }

    pub fn step_back(&self, by: Duration) {
        self.moved_ms.fetch_sub(i64::try_from(by.as_millis()).unwrap(), SeqCst);
    }
}

impl TimeSource for MovedClock {
    fn wall_ms(&self) -> u64 {
        let real = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
        real.checked_add_signed(self.moved_ms.load(SeqCst)).unwrap()
    }

    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }
}

/// An issuer in a directory of its own.
pub struct Platform {
    pub directory: TempDir,
    pub supervisor: Option<FakeSupervisor>,
    pub issuer: IssuerHandle,
    pub metrics: Arc<Metrics>,
    pub shutdown: CancellationToken,
}

pub fn short_lived() -> Config {
    Config { svid_life_seconds: 10, ca_life_seconds: 180, recheck_seconds: 1, ..Config::default() }
}

impl Platform {
    pub fn start(config: Config) -> Self {
        Self::start_with(config, Clock::system())
    }

    pub fn start_with(config: Config, clock: Clock) -> Self {
        let directory = tempfile::tempdir().unwrap();
        // Callers of other uids have to reach the socket.
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let supervisor = FakeSupervisor::at(&directory.path().join("supervisor.sock"));
        let (metrics, shutdown) = (Metrics::new(), CancellationToken::new());
        let issuer = start_in(directory.path(), config, clock, &metrics, &shutdown).unwrap();
        Self { directory, supervisor: Some(supervisor), issuer, metrics, shutdown }
    }

    pub fn says(&self, pid: u32, role: Option<&str>) {
        self.supervisor.as_ref().unwrap().says(pid, role);
    }

    pub fn known(&self) -> Arc<Mutex<Knowledge>> {
        Arc::clone(&self.supervisor.as_ref().unwrap().known)
    }

    pub fn endpoint(&self) -> String {
        format!("unix:{}", self.socket().display())
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("run/workload.sock")
    }

    pub async fn client(&self) -> WorkloadApiClient {
        WorkloadApiClient::connect_to(self.endpoint()).await.unwrap()
    }

    pub async fn restart(&mut self, config: Config) {
        self.shutdown.cancel();
        self.issuer.stopped().await.unwrap();
        (self.metrics, self.shutdown) = (Metrics::new(), CancellationToken::new());
        self.issuer = start_in(self.directory.path(), config, Clock::system(), &self.metrics, &self.shutdown).unwrap();
    }

    /// A number from what is exported.
    pub fn exported(&self, line_start: &str) -> f64 {
        let text = self.metrics.encode();
        let line =
            text.lines().find(|line| line.starts_with(line_start)).unwrap_or_else(|| panic!("{line_start} in {text}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }
}

pub fn start_in(
    directory: &Path,
    config: Config,
    clock: Clock,
    metrics: &Arc<Metrics>,
    shutdown: &CancellationToken,
) -> Result<IssuerHandle, IssuerError> {
    Issuer::start(IssuerOptions {
        directory: directory.join("identity"),
        socket: directory.join("run/workload.sock"),
        trust_domain: "zizon.local".parse().unwrap(),
        supervisor: directory.join("supervisor.sock"),
        config,
        clock,
        metrics: Arc::clone(metrics),
        shutdown: shutdown.clone(),
    })
}

/// Waits until `condition` holds.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < PATIENCE, "{what}: did not happen in time");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
