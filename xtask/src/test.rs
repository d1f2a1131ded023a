//! `cargo xtask test`: the whole of it, in an order in which the cheapest failures come first.

use std::time::Instant;

use anyhow::Result;

use crate::{architecture, docs, fuzz, peers, shell};

/// Runs every test of the workspace; with `all` also what needs tools from elsewhere.
pub fn run(all: bool) -> Result<()> {
    let began = Instant::now();
    shell::heading("architecture");
    architecture::check()?;
    shell::heading("generated pages");
    docs::run(true)?;
    shell::heading("tests");
    shell::run("cargo", &["test", "--release", "--workspace", "--no-fail-fast"])?;
    if all {
        shell::heading("fuzz");
        fuzz::run(10)?;
        shell::heading("peers");
        peers::run()?;
    } else {
        shell::not_run("fuzzing and real peers", "cargo xtask test --all runs them");
    }
    println!("\nall tests passed in {} s", began.elapsed().as_secs());
    Ok(())
}
