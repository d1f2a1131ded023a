//! `cargo xtask lint`.

use anyhow::Result;

use crate::{architecture, shell};

/// Formatting, clippy with denied warnings, the dependency policy, the architecture.
pub fn run() -> Result<()> {
    shell::heading("formatting");
    shell::run("cargo", &["fmt", "--all", "--check"])?;
    shell::heading("architecture");
    architecture::check()?;
    shell::heading("clippy");
    shell::run("cargo", &["clippy", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    shell::heading("dependency policy");
    if shell::exists("cargo-deny", "--version") {
        shell::run("cargo", &["deny", "check", "bans", "licenses", "sources"])
    } else {
        shell::not_run("cargo deny", "not installed (cargo install --locked cargo-deny)");
        Ok(())
    }
}
