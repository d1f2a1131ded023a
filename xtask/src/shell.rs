//! Running other programs, visibly.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, bail};

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_owned)
}

/// Where cargo puts what it builds.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// The binary under test.
pub fn zizon() -> PathBuf {
    target().join("release/zizon")
}

/// A heading with what comes.
pub fn heading(text: &str) {
    println!("\n== {text}");
}

/// Runs a program in the root, shown, and fails when it fails.
pub fn run<S: AsRef<OsStr>>(program: &str, arguments: &[S]) -> Result<()> {
    let began = Instant::now();
    let shown: Vec<_> = arguments.iter().map(|argument| argument.as_ref().to_string_lossy().into_owned()).collect();
    println!("$ {program} {}", shown.join(" "));
    let status = command(program, arguments).status().with_context(|| format!("cannot run {program}"))?;
    if !status.success() {
        bail!("{program} {}: {status} after {} s", shown.join(" "), began.elapsed().as_secs());
    }
    Ok(())
}

/// What a program prints to standard output, or nothing when it fails.
pub fn output<S: AsRef<OsStr>>(program: &str, arguments: &[S]) -> Option<String> {
    let output = command(program, arguments).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a program can be started.
pub fn exists(program: &str, probe: &str) -> bool {
    Command::new(program)
        .arg(probe)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn command<S: AsRef<OsStr>>(program: &str, arguments: &[S]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root()).stdin(Stdio::null());
    command
}

/// Says that something was not run and why: silence would look like success.
pub fn not_run(what: &str, why: &str) {
    println!("NOT RUN: {what}: {why}");
}
