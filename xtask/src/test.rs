//! `cargo xtask test`: the whole of it, in an order in which the cheapest failures come first.

use std::time::Instant;

use anyhow::Result;

use crate::{architecture, docs, fuzz, peers, shell};

/// Runs every test of the workspace and the independent clients; with `all` also the fuzz targets, which build everything again.
pub fn run(all: bool) -> Result<()> {
    let began = Instant::now();
    shell::heading("architecture");
    architecture::check()?;
    shell::heading("generated pages");
    docs::run(true)?;
    // Not all at once: a workspace-wide build would give the binary the features that only tests want.
    shell::heading("rooms");
    let rooms =
        ["test", "--release", "--workspace", "--exclude", "zizon", "--exclude", "zizon-tests", "--no-fail-fast"];
    shell::run("cargo", &rooms)?;
    shell::heading("binary");
    shell::run("cargo", &["test", "--release", "--package", "zizon"])?;
    shell::heading("behaviour of the binary");
    shell::run("cargo", &["test", "--release", "--package", "zizon-tests", "--no-fail-fast"])?;
    if !may_mount() {
        shell::not_run("the stories of the full disk", "this user may not mount a tmpfs");
    }
    shell::heading("peers");
    peers::run()?;
    if all {
        shell::heading("fuzz");
        fuzz::run(10)?;
    } else {
        shell::not_run("fuzzing", "it builds everything a second time; cargo xtask test --all runs it");
    }
    println!("\nall tests passed in {} s", began.elapsed().as_secs());
    Ok(())
}

/// Whether this user may mount a tmpfs: where he may not, the tests that fill a disk pass without doing anything, and what
/// they print is not shown.
fn may_mount() -> bool {
    let at = shell::target().join("tmp/mount-probe");
    if std::fs::create_dir_all(&at).is_err() {
        return false;
    }
    let at = at.display().to_string();
    let mounted = shell::output("mount", &["-t", "tmpfs", "-o", "size=1m", "tmpfs", &at]).is_some();
    mounted && shell::output("umount", &[&at]).is_some()
}
