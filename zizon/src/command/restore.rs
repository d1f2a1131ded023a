//! `zizon restore`.

use std::{path::Path, process::ExitCode, time::Instant};

use anyhow::Result;
use serde::Serialize;
use zizon_base::time::Timestamp;
use zizon_contracts::fsck::StoreFinding;

use super::{backup::summary, fsck};
use crate::{
    backup::{
        interrupt::Interrupt,
        manifest::{Manifest, Store},
        restore::{Done, check, restore},
    },
    cli,
    output::{self, ProgressLine, Style, bytes, grouped, quoted},
};

/// What was done, for machines.
#[derive(Debug, Serialize)]
struct Report<'a> {
    ok: bool,
    backup: String,
    id: &'a str,
    began_at: String,
    seconds: f64,
    files: usize,
    bytes: u64,
    stores: &'a [Store],
    /// The data directory, where one was made.
    data: Option<String>,
    /// The configuration in it, to start with.
    config: Option<String>,
    /// What the check of it found.
    findings: Option<&'a [StoreFinding]>,
}

/// Restores a backup, or only checks it.
pub fn run(options: &cli::Restore) -> Result<ExitCode> {
    let began = Instant::now();
    let interrupt = Interrupt::listen()?;
    let mut line = ProgressLine::default();
    let say = &mut |text: &str| line.show(text);
    let (manifest, made) = match &options.data {
        Some(data) => {
            let done = restore(&options.dir, data, &interrupt, say)?;
            let Done { manifest, findings, config } = done;
            (manifest, Some((data.as_path(), findings, config)))
        }
        None => (check(&options.dir, &interrupt, say)?, None),
    };
    drop(line);
    let seconds = began.elapsed().as_secs_f64();
    if options.json {
        let absolute =
            |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string();
        output::json(&Report {
            ok: true,
            backup: absolute(&options.dir),
            id: &manifest.id,
            began_at: Timestamp::from_millis(manifest.began_at_ms).to_rfc3339(),
            seconds,
            files: manifest.files.len(),
            bytes: manifest.bytes(),
            stores: &manifest.stores,
            data: made.as_ref().map(|(data, ..)| absolute(data)),
            config: made.as_ref().and_then(|(_, _, config)| config.as_deref().map(absolute)),
            findings: made.as_ref().map(|(_, findings, _)| findings.as_slice()),
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    let size = format!("{} files, {}", grouped(&manifest.files.len().to_string()), bytes(manifest.bytes()));
    let Some((data, findings, config)) = made else {
        print_stores(&manifest);
        output::line(&summary(&manifest));
        let whole = output::paint("whole", Style::Green);
        output::line(&format!("{whole}: {size}, each as it was backed up, in {seconds:.1} s"));
        return Ok(ExitCode::SUCCESS);
    };
    findings.iter().for_each(fsck::print);
    output::line("");
    output::line(&summary(&manifest));
    let restored = output::paint("restored", Style::Green);
    output::line(&format!("{restored} to {} in {seconds:.1} s: {size}", data.display()));
    let word = |path: &Path| quoted(&path.to_string_lossy());
    let config = config.map_or_else(String::new, |config| format!(" --config {}", word(&config)));
    output::line(&format!("start it: zizon up --data {}{config}", word(data)));
    Ok(ExitCode::SUCCESS)
}

fn print_stores(manifest: &Manifest) {
    for store in &manifest.stores {
        let role = output::paint(&format!("{:<7}", store.role), Style::Bold);
        let last = grouped(&store.last_seq.to_string());
        output::line(&format!("{role}  {} to {last}", grouped(&store.first_seq.to_string())));
    }
}
