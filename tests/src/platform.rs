//! A platform under test.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{Client, eventually_within};

/// How long a platform may take to start on a busy machine.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// The binary under test, built by the same cargo that runs the tests.
///
/// # Panics
/// When it has not been built.
#[must_use]
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("a running test has a file");
    let profile = test.parent().and_then(Path::parent).expect("tests run from target/PROFILE/deps");
    let binary = profile.join("zizon");
    assert!(binary.exists(), "{} is missing: cargo build --release --package zizon", binary.display());
    binary
}

/// Runs `zizon` and waits for it.
///
/// # Panics
/// When it cannot be started.
#[must_use]
pub fn zizon(arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).stdin(Stdio::null()).output().expect("the binary starts")
}

/// How to start a platform.
#[derive(Debug)]
pub struct Builder {
    demo: bool,
    config: String,
    data: Option<PathBuf>,
    expect_ready: bool,
    /// A shell command before it.
    before: String,
    arguments: Vec<String>,
    program: Option<PathBuf>,
}

impl Builder {
    /// Without the demo shop.
    #[must_use]
    pub const fn without_demo(mut self) -> Self {
        self.demo = false;
        self
    }

    /// With this configuration file.
    #[must_use]
    pub fn config(mut self, toml: &str) -> Self {
        toml.clone_into(&mut self.config);
        self
    }

    /// On this directory instead of a temporary one.
    #[must_use]
    pub fn data(mut self, data: &Path) -> Self {
        self.data = Some(data.to_owned());
        self
    }

    /// With another argument of `zizon up`.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// By this copy of the binary.
    #[must_use]
    pub fn program(mut self, program: &Path) -> Self {
        self.program = Some(program.to_owned());
        self
    }

    /// Does not expect that anybody can order.
    #[must_use]
    pub const fn not_ready(mut self) -> Self {
        self.expect_ready = false;
        self
    }

    /// With a hard limit of open files for every process of it.
    #[must_use]
    pub fn open_files_max(mut self, count: u32) -> Self {
        self.before = format!("ulimit -n {count}");
        self
    }

    /// By a caller that ignores SIGHUP, as `nohup` does.
    #[must_use]
    pub fn ignoring_hangup(mut self) -> Self {
        self.before = "trap '' HUP".to_owned();
        self
    }

    /// By a caller that has left this file open, as descriptor 9.
    #[must_use]
    pub fn leaving_open(mut self, file: &Path) -> Self {
        self.before = format!("exec 9<'{}'", file.display());
        self
    }

    /// Starts it and waits until it says that it is ready.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn start(self) -> Platform {
        let home = tempfile::Builder::new().prefix("zizon-test-").tempdir().expect("a temporary directory");
        let data = self.data.clone().unwrap_or_else(|| home.path().join("data"));
        let mut arguments = vec!["up".to_owned(), "--data".to_owned(), data.display().to_string()];
        arguments.extend(["--listen".to_owned(), "127.0.0.1:0".to_owned()]);
        if self.demo {
            arguments.push("--demo".to_owned());
        }
        if !self.config.is_empty() {
            let file = home.path().join("zizon.toml");
            fs::write(&file, &self.config).expect("the configuration is written");
            arguments.extend(["--config".to_owned(), file.display().to_string()]);
        }
        arguments.extend(self.arguments);
        let program = self.program.unwrap_or_else(binary);
        let command = if self.before.is_empty() {
            Command::new(program)
        } else {
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!("{} && exec \"$0\" \"$@\"", self.before)]).arg(program);
            shell
        };
        let mut platform = Platform::spawn(command, home, data, &arguments);
        platform.wait_for_start(self.expect_ready);
        platform
    }
}

/// A running platform; killed when dropped.
#[derive(Debug)]
pub struct Platform {
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
    data: PathBuf,
    _home: TempDir,
}

impl Platform {
    /// A demo platform, ready for orders.
    #[must_use]
    pub fn demo() -> Self {
        Self::builder().start()
    }

    /// How to start one otherwise.
    #[must_use]
    pub const fn builder() -> Builder {
        Builder {
            demo: true,
            config: String::new(),
            data: None,
            expect_ready: true,
            before: String::new(),
            arguments: Vec::new(),
            program: None,
        }
    }

    fn spawn(mut command: Command, home: TempDir, data: PathBuf, arguments: &[String]) -> Self {
        let mut child = command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let (say, lines) = channel();
        for stream in [
            child.stdout.take().map(|out| Box::new(out) as Box<dyn std::io::Read + Send>),
            child.stderr.take().map(|err| Box::new(err) as Box<dyn std::io::Read + Send>),
        ] {
            let say = say.clone();
            let stream = stream.expect("the streams are piped");
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    if say.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        Self { child, lines, said: Vec::new(), data, _home: home }
    }

    fn wait_for_start(&mut self, expect_ready: bool) {
        let deadline = Instant::now() + START_PATIENCE;
        loop {
            match self.lines.recv_timeout(Duration::from_millis(100)) {
                Ok(line) => {
                    let ready = line.starts_with("ready in");
                    let running = line.starts_with("running after");
                    self.said.push(line);
                    if ready || (running && !expect_ready) {
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
                Err(_) => panic!("the platform did not start:\n{}\n{}", self.said.join("\n"), self.logs()),
            }
        }
    }

    /// What it has printed so far.
    pub fn output(&mut self) -> String {
        self.said.extend(self.lines.try_iter());
        self.said.join("\n")
    }

    /// What the roles have logged.
    #[must_use]
    pub fn logs(&self) -> String {
        let mut out = String::new();
        for role in ["identity", "catalog", "orders", "edge"] {
            let text = fs::read_to_string(self.data.join(format!("log/{role}.log"))).unwrap_or_default();
            out.push_str(&format!("--- {role}\n{text}"));
        }
        out
    }

    /// Its data directory.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The supervisor's process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Runs a command against it.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Output {
        let data = self.data.display().to_string();
        let mut all = arguments.to_vec();
        all.extend(["--data", &data]);
        zizon(&all)
    }

    /// Runs a command against it and reads its JSON document, whatever the exit code.
    ///
    /// # Panics
    /// When standard output is not one JSON document.
    #[must_use]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.push("--json");
        let output = self.run(&all);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!(
                "zizon {} printed no JSON ({error}):\n{}\n{}",
                all.join(" "),
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            )
        })
    }

    /// The entry of a role in `zizon status`.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn role(&self, name: &str) -> Value {
        let status = self.json(&["status"]);
        let roles = status["roles"].as_array().expect("status lists roles");
        roles.iter().find(|role| role["role"] == name).expect("the role exists").clone()
    }

    /// A role's process id.
    ///
    /// # Panics
    /// When status does not name one.
    #[must_use]
    pub fn role_pid(&self, name: &str) -> u32 {
        let pid = self.role(name)["pid"].as_u64().expect("pid is an integer");
        u32::try_from(pid).expect("a process id")
    }

    /// The public base URL.
    ///
    /// # Panics
    /// When status does not name it.
    #[must_use]
    pub fn url(&self) -> String {
        self.json(&["status"])["url"].as_str().expect("status names the URL").to_owned()
    }

    /// The public listener's port.
    ///
    /// # Panics
    /// When the URL has none.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.url().rsplit(':').next().and_then(|port| port.parse().ok()).expect("the URL has a port")
    }

    /// A client that trusts its authority.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(self.port(), &self.data.join("ca.pem"))
    }

    /// Kills a role at once and waits until it runs again and all is ready.
    pub fn kill_role(&self, name: &str) {
        let before = self.role_pid(name);
        kill(before);
        eventually_within(Duration::from_secs(20), &format!("{name} is started again"), || {
            let entry = self.role(name);
            entry["pid"].as_u64() != Some(u64::from(before)) && entry["state"] == "ready"
        });
        self.wait_ready();
    }

    /// Waits until an order would be accepted.
    pub fn wait_ready(&self) {
        let client = self.client();
        eventually_within(Duration::from_secs(20), "the platform is ready", || {
            client.try_get("/readyz").is_ok_and(|answer| answer.status == 200)
        });
    }

    /// Asks it to stop and waits; the exit status and how long it took.
    ///
    /// # Panics
    /// When it does not stop within 15 seconds.
    pub fn stop(&mut self) -> (ExitStatus, Duration) {
        let began = Instant::now();
        terminate(self.child.id());
        (self.wait(Duration::from_secs(15)), began.elapsed())
    }

    /// Compares journal, index and stock while it runs, then stops it and checks its files.
    ///
    /// # Panics
    /// When a check finds anything.
    pub fn assert_checked(&mut self) {
        let online = self.run(&["fsck", "--online"]);
        assert!(online.status.success(), "{}", String::from_utf8_lossy(&online.stdout));
        let (status, _) = self.stop();
        assert!(status.success(), "{status}:\n{}", self.logs());
        let offline = self.run(&["fsck"]);
        assert!(offline.status.success(), "{}", String::from_utf8_lossy(&offline.stdout));
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    /// When it has not within `bound`.
    pub fn wait(&mut self, bound: Duration) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("the child can be waited for") {
                return status;
            }
            assert!(began.elapsed() < bound, "the platform did not stop:\n{}", self.logs());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills the supervisor at once; its roles die with it.
    ///
    /// # Panics
    /// When it cannot be waited for.
    pub fn kill(&mut self) {
        self.child.kill().expect("the supervisor can be killed");
        self.child.wait().expect("the supervisor can be waited for");
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        // Its roles die with it; there is nothing to keep.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn process(pid: u32) -> rustix::process::Pid {
    i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).expect("a process id")
}

/// `kill -9`.
///
/// # Panics
/// When there is no such process.
pub fn kill(pid: u32) {
    rustix::process::kill_process(process(pid), rustix::process::Signal::KILL).expect("the process can be killed");
}

/// `kill -TERM`.
///
/// # Panics
/// When there is no such process.
pub fn terminate(pid: u32) {
    rustix::process::kill_process(process(pid), rustix::process::Signal::TERM).expect("the process can be signalled");
}

/// `kill -STOP`.
///
/// # Panics
/// When there is no such process.
pub fn freeze(pid: u32) {
    rustix::process::kill_process(process(pid), rustix::process::Signal::STOP).expect("the process can be signalled");
}

/// `kill -CONT`.
///
/// # Panics
/// When there is no such process.
pub fn thaw(pid: u32) {
    rustix::process::kill_process(process(pid), rustix::process::Signal::CONT).expect("the process can be signalled");
}

/// Descriptors that a process has open.
///
/// # Panics
/// When there is no such process.
#[must_use]
pub fn open_descriptors(pid: u32) -> u64 {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("the process lives").count() as u64
}

/// Lets a running process have at most `count` descriptors; `None`: as many as it could have at most.
///
/// # Panics
/// When there is no such process.
pub fn limit_descriptors(pid: u32, count: Option<u64>) {
    use rustix::process::{Resource, Rlimit, prlimit};
    // The hard limit stays, so that the soft one can be raised again by anybody.
    let hard = hard_limit(pid);
    let current = count.or(hard);
    prlimit(Some(process(pid)), Resource::Nofile, Rlimit { current, maximum: hard }).expect("the limit is set");
}

fn hard_limit(pid: u32) -> Option<u64> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("the process lives");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("a limit of open files");
    line.split_whitespace().nth(4).and_then(|hard| hard.parse().ok())
}

/// Processor time that a process has used.
///
/// # Panics
/// When there is no such process.
#[must_use]
pub fn processor_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process lives");
    // The name in parentheses may hold blanks; what follows it does not. User and system time are fields 14 and 15.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = [11, 12].iter().map(|at| fields[*at].parse::<u64>().expect("a number of ticks")).sum();
    // Towards programs the kernel counts in hundredths of a second, whatever its own clock does.
    Duration::from_millis(ticks * 10)
}
