//! Programs that a benchmark starts: none outlives it.

use std::{
    io::Read,
    process::{Child, Command, ExitStatus, Stdio},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::interrupt;

/// How long a program may take to end when it is asked to.
const ENDING: Duration = Duration::from_secs(12);

/// A program that is asked to end when dropped.
pub struct Running {
    child: Child,
    name: String,
    output: Option<JoinHandle<Vec<u8>>>,
}

/// How a program ended and what it printed.
pub struct Ended {
    /// Its status.
    pub status: ExitStatus,
    /// Standard output, when it was asked for.
    pub output: Vec<u8>,
}

impl Running {
    /// Starts `command` without standard input; standard output is kept.
    pub fn start(command: &mut Command) -> Result<Self> {
        interrupt::install();
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot run {name}"))?;
        let output = child.stdout.take().map(|mut pipe| {
            std::thread::spawn(move || {
                let mut text = Vec::new();
                // What could not be read is missing in the answer, which is then no JSON.
                let _ = pipe.read_to_end(&mut text);
                text
            })
        });
        Ok(Self { child, name, output })
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> Result<bool> {
        interrupt::check()?;
        Ok(self.child.try_wait()?.is_some())
    }

    /// Waits for its end; fails, and ends it, when the benchmark is interrupted.
    pub fn wait(mut self) -> Result<Ended> {
        while !self.has_ended()? {
            std::thread::sleep(interrupt::TICK);
        }
        let status = self.child.wait()?;
        let output = self.output.take().map(|reader| reader.join().unwrap_or_default()).unwrap_or_default();
        Ok(Ended { status, output })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        end(&mut self.child, &self.name);
    }
}

/// Asks a program to end, and ends it when it does not.
pub fn end(child: &mut Child, name: &str) {
    if matches!(child.try_wait(), Ok(Some(_))) {
        return;
    }
    let _ = Command::new("kill").arg(child.id().to_string()).status();
    let deadline = Instant::now() + ENDING;
    while Instant::now() < deadline && matches!(child.try_wait(), Ok(None)) {
        std::thread::sleep(interrupt::TICK);
    }
    if matches!(child.try_wait(), Ok(None)) {
        eprintln!("{name} did not end within {} s and is killed", ENDING.as_secs());
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Builds something with cargo, shown; fails when it fails or the benchmark is interrupted.
pub fn build(arguments: &[&str]) -> Result<()> {
    interrupt::install();
    interrupt::check()?;
    crate::shell::run("cargo", arguments)?;
    interrupt::check()
}

/// Runs a program to its end and returns what it printed.
pub fn program(file: &std::path::Path, arguments: &[&str]) -> Result<String> {
    let ended = Running::start(Command::new(file).args(arguments))?.wait()?;
    if !ended.status.success() {
        anyhow::bail!("{}: {}", file.display(), ended.status);
    }
    Ok(String::from_utf8_lossy(&ended.output).into_owned())
}
