//! A demo platform of its own for one benchmark.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::shell;

/// A running platform; stopped and removed when dropped.
pub struct Platform {
    child: Child,
    /// Its data directory.
    pub data: PathBuf,
    /// Milliseconds from the start of the process to its `ready` line.
    pub ready_ms: f64,
}

impl Platform {
    /// Starts `zizon up --demo` on a free port and waits until it is ready.
    pub fn start(name: &str) -> Result<Self> {
        let data = shell::target().join(format!("bench-data-{name}-{}", std::process::id()));
        if data.exists() {
            fs::remove_dir_all(&data)?;
        }
        let began = Instant::now();
        let mut child = Command::new(shell::zizon())
            .args(["up", "--demo", "--listen", "127.0.0.1:0", "--data"])
            .arg(&data)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .context("cannot start zizon")?;
        let output = child.stdout.take().context("no standard output")?;
        let mut lines = BufReader::new(output).lines();
        let ready = lines.by_ref().map_while(std::result::Result::ok).any(|line| line.starts_with("ready"));
        if !ready {
            bail!("the platform ended before it was ready");
        }
        let ready_ms = began.elapsed().as_secs_f64() * 1000.0;
        // Keeps the pipe open and drained for as long as the platform lives.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self { child, data, ready_ms })
    }

    /// Runs a `zizon` command against it that answers one JSON document.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let output = Command::new(shell::zizon())
            .args(arguments)
            .arg("--data")
            .arg(&self.data)
            .arg("--json")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()?;
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("zizon {} answered no JSON ({})", arguments.join(" "), output.status))
    }

    /// Process ids of the supervisor and of every role with the role's name.
    pub fn processes(&self) -> Result<Vec<(String, u32)>> {
        let status = self.json(&["status"])?;
        let mut found = vec![("supervisor".to_owned(), self.child.id())];
        for role in status["roles"].as_array().into_iter().flatten() {
            let pid = role["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).context("a role without pid")?;
            found.push((role["role"].as_str().unwrap_or_default().to_owned(), pid));
        }
        Ok(found)
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let deadline = Instant::now() + Duration::from_secs(12);
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.data);
    }
}

/// User and system CPU seconds a process has used (`/proc/PID/stat`, fields 14 and 15, in hundredths).
pub fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<f64> = after_name.split_whitespace().map(|field| field.parse().unwrap_or(0.0)).collect();
    (fields.get(11).unwrap_or(&0.0) + fields.get(12).unwrap_or(&0.0)) / 100.0
}

/// Resident memory of a process in MB (`/proc/PID/status`, `VmRSS`).
pub fn resident_mb(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1024.0
}
