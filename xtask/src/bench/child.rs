//! Programs that a benchmark starts: none outlives it, nor what it started itself.

use std::{
    io::Read,
    os::unix::process::CommandExt,
    process::{Child, Command, ExitStatus, Stdio},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};

use super::interrupt;

/// How long a program may take to end when it is asked to.
const ENDING: Duration = Duration::from_secs(12);
/// Of what a program says about an error, the last bytes are kept, and the last lines shown.
const SAID_BYTES: usize = 4_096;
const SAID_LINES: usize = 12;

/// A program in a process group of its own, which is asked to end when dropped.
pub struct Running {
    child: Child,
    name: String,
    output: Option<JoinHandle<Vec<u8>>>,
    said: Option<JoinHandle<Vec<u8>>>,
}

/// How a program ended and what it printed.
pub struct Ended {
    /// Its status.
    pub status: ExitStatus,
    /// Standard output, when it was asked for.
    pub output: Vec<u8>,
    said: Vec<u8>,
}

impl Ended {
    /// The status and, where it was kept, the last of what the program said on standard error.
    pub fn in_words(&self) -> String {
        let text = String::from_utf8_lossy(&self.said);
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        if lines.is_empty() {
            return self.status.to_string();
        }
        format!("{}; it said:\n  {}", self.status, lines[lines.len().saturating_sub(SAID_LINES)..].join("\n  "))
    }
}

impl Running {
    /// Starts `command` without standard input; standard output is kept, standard error is shown.
    pub fn start(command: &mut Command) -> Result<Self> {
        command.stdout(Stdio::piped());
        Self::spawn(command)
    }

    /// The same, but the last of standard error is kept for an error and not shown.
    pub fn quiet(command: &mut Command) -> Result<Self> {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Self::spawn(command)
    }

    /// The same, but everything is shown.
    pub fn shown(command: &mut Command) -> Result<Self> {
        Self::spawn(command)
    }

    fn spawn(command: &mut Command) -> Result<Self> {
        interrupt::install();
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = in_own_group(command).spawn().with_context(|| format!("cannot run {name}"))?;
        let output = child.stdout.take().map(|pipe| std::thread::spawn(move || read(pipe, usize::MAX)));
        let said = child.stderr.take().map(|pipe| std::thread::spawn(move || read(pipe, SAID_BYTES)));
        Ok(Self { child, name, output, said })
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
        let taken = |reader: &mut Option<JoinHandle<Vec<u8>>>| {
            reader.take().map(|reader| reader.join().unwrap_or_default()).unwrap_or_default()
        };
        Ok(Ended { status, output: taken(&mut self.output), said: taken(&mut self.said) })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        end(&mut self.child, &self.name);
    }
}

/// Everything a pipe gives, or the last of it.
fn read(mut pipe: impl Read, last: usize) -> Vec<u8> {
    let mut text = Vec::new();
    let mut part = vec![0; SAID_BYTES];
    // What could not be read is missing in the answer, which is then no JSON.
    while let Ok(count @ 1..) = pipe.read(&mut part) {
        text.extend_from_slice(&part[..count]);
        if text.len() > last {
            text.drain(..text.len() - last);
        }
    }
    text
}

/// Makes `command` start without standard input and in a process group of its own: what it starts can be ended with it, and
/// Ctrl-C reaches it through this program alone.
pub fn in_own_group(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).process_group(0)
}

/// Asks a program that was started [`in_own_group`] to end, with what it started, and ends them when they do not.
pub fn end(child: &mut Child, name: &str) {
    if matches!(child.try_wait(), Ok(Some(_))) {
        return;
    }
    signal(child, Signal::TERM);
    let deadline = Instant::now() + ENDING;
    while Instant::now() < deadline && matches!(child.try_wait(), Ok(None)) {
        std::thread::sleep(interrupt::TICK);
    }
    if matches!(child.try_wait(), Ok(None)) {
        eprintln!("{name} did not end within {} s and is killed", ENDING.as_secs());
        signal(child, Signal::KILL);
        let _ = child.wait();
    }
}

fn signal(child: &Child, signal: Signal) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // A group that is gone needs no signal.
        let _ = kill_process_group(group, signal);
    }
}

/// Builds something with cargo, shown; fails when it fails or the benchmark is interrupted.
pub fn build(arguments: &[&str]) -> Result<()> {
    println!("$ cargo {}", arguments.join(" "));
    let mut command = Command::new("cargo");
    command.args(arguments).current_dir(crate::shell::root());
    let ended = Running::shown(&mut command)?.wait()?;
    if !ended.status.success() {
        bail!("cargo {}: {}", arguments.join(" "), ended.status);
    }
    Ok(())
}

/// Runs a program to its end and returns what it printed.
pub fn program(file: &std::path::Path, arguments: &[&str]) -> Result<String> {
    let ended = Running::start(Command::new(file).args(arguments))?.wait()?;
    if !ended.status.success() {
        bail!("{}: {}", file.display(), ended.status);
    }
    Ok(String::from_utf8_lossy(&ended.output).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn the_last_words_of_a_program_are_kept_for_its_error() -> Result<()> {
        let script = "for i in $(seq 5000); do echo progress $i >&2; done; echo the reason >&2; echo out; exit 3";
        let ended = Running::quiet(&mut shell(script))?.wait()?;
        let words = ended.in_words();
        assert!(words.contains("exit status: 3; it said:") && words.ends_with("\n  the reason"), "{words}");
        assert_eq!((words.lines().count(), ended.output.as_slice()), (1 + SAID_LINES, &b"out\n"[..]));
        assert_eq!(Running::quiet(&mut shell("exit 1"))?.wait()?.in_words(), "exit status: 1");
        Ok(())
    }

    #[test]
    fn a_program_ends_with_what_it_started() -> Result<()> {
        // The grandchild holds the pipe: reading comes to its end when both have.
        let mut running = Running::start(&mut shell("sleep 60 & echo $!; wait"))?;
        std::thread::sleep(Duration::from_millis(200));
        let output = running.output.take().context("standard output is kept")?;
        let began = Instant::now();
        drop(running);
        let printed = output.join().unwrap_or_default();
        assert!(began.elapsed() < ENDING && !printed.is_empty());
        Ok(())
    }
}
