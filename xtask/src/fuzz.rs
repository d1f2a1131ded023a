//! `cargo xtask fuzz`: a short run of every fuzz target, from its seed corpus.

use std::{fs, process::Command};

use anyhow::{Result, bail};

use crate::shell;

/// Fuzzes each target for `seconds`.
pub fn run(seconds: u32) -> Result<()> {
    let targets = targets()?;
    if !shell::exists("cargo-fuzz", "--version") {
        println!("installing cargo-fuzz");
        if shell::run("cargo", &["install", "--locked", "cargo-fuzz@0.13.2"]).is_err() {
            shell::not_run(&format!("fuzz targets {}", targets.join(", ")), "cargo-fuzz could not be installed");
            return Ok(());
        }
    }
    for target in targets {
        println!("$ cargo fuzz run {target}");
        let corpus = format!("fuzz/corpus/{target}");
        let seeds = format!("fuzz/seeds/{target}");
        fs::create_dir_all(shell::root().join(&corpus))?;
        // The stable compiler has the instrumentation but refuses the flag without this variable.
        let status = Command::new("cargo")
            .args(["fuzz", "run", "--sanitizer", "none", &target, &corpus, &seeds, "--"])
            .args([format!("-max_total_time={seconds}"), "-max_len=8192".to_owned(), "-rss_limit_mb=2048".to_owned()])
            .env("RUSTC_BOOTSTRAP", "1")
            .current_dir(shell::root())
            .status()?;
        if !status.success() {
            bail!("fuzz target {target}: {status}");
        }
    }
    Ok(())
}

fn targets() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(shell::root().join("fuzz/fuzz_targets"))? {
        let path = entry?.path();
        if let Some(name) = path.file_stem().and_then(|stem| stem.to_str()) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}
