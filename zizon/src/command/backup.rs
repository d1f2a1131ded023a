//! `zizon backup`.

use std::{path::Path, process::ExitCode, time::Instant};

use anyhow::Result;
use serde::Serialize;
use zizon_base::time::Timestamp;

use super::local;
use crate::{
    backup::{
        interrupt::Interrupt,
        manifest::{Manifest, Store},
        take::{Taken, Tally, take},
    },
    cli,
    output::{self, ProgressLine, Style, Table, bytes, grouped},
};

/// What was done, for machines.
#[derive(Debug, Serialize)]
struct Report<'a> {
    backup: String,
    id: &'a str,
    began_at: String,
    seconds: f64,
    first: bool,
    stores: &'a [Store],
    copied: Tally,
    bytes: u64,
}

/// Takes a backup and says what is in it.
pub fn run(options: &cli::Backup) -> Result<ExitCode> {
    let began = Instant::now();
    let paths = local::paths_of(&options.local.data)?;
    let interrupt = Interrupt::listen()?;
    let mut line = ProgressLine::default();
    let taken = take(&paths, &options.dir, &interrupt, &mut |text| line.show(text));
    drop(line);
    let taken = taken?;
    let seconds = began.elapsed().as_secs_f64();
    if options.local.json {
        let manifest = &taken.manifest;
        output::json(&Report {
            backup: std::path::absolute(&options.dir)?.display().to_string(),
            id: &manifest.id,
            began_at: Timestamp::from_millis(manifest.began_at_ms).to_rfc3339(),
            seconds,
            first: taken.first,
            stores: &manifest.stores,
            copied: total(&taken),
            bytes: manifest.bytes(),
        })?;
    } else {
        print(&taken, &options.dir, seconds);
    }
    Ok(ExitCode::SUCCESS)
}

fn total(taken: &Taken) -> Tally {
    taken.tallies.iter().fold(Tally::default(), |sum, (_, tally)| Tally {
        copied: sum.copied + tally.copied,
        copied_bytes: sum.copied_bytes + tally.copied_bytes,
        kept: sum.kept + tally.kept,
        kept_bytes: sum.kept_bytes + tally.kept_bytes,
    })
}

fn print(taken: &Taken, dir: &Path, seconds: f64) {
    let mut table = Table::new(&["", "up to", "copied", "kept"], &[1, 2, 3]);
    for (name, tally) in &taken.tallies {
        let last = taken.manifest.store(name).map(|store| grouped(&store.last_seq.to_string()));
        table.row(vec![
            (name.clone(), Some(Style::Bold)),
            (last.unwrap_or_default(), None),
            (files(tally.copied, tally.copied_bytes), None),
            (files(tally.kept, tally.kept_bytes), None),
        ]);
    }
    output::line(table.render().trim_end());
    output::line("");
    output::line(&summary(&taken.manifest));
    let copied = bytes(total(taken).copied_bytes);
    let done = output::paint("backed up", Style::Green);
    let all = bytes(taken.manifest.bytes());
    output::line(&format!("{done} to {} in {seconds:.1} s: {copied} copied, {all} in all", dir.display()));
}

fn files(count: u64, size: u64) -> String {
    match count {
        0 => "-".to_owned(),
        1 => format!("1 file, {}", bytes(size)),
        count => format!("{} files, {}", grouped(&count.to_string()), bytes(size)),
    }
}

/// What a backup promises.
pub fn summary(manifest: &Manifest) -> String {
    let began = Timestamp::from_millis(manifest.began_at_ms).to_rfc3339();
    format!("holds everything acknowledged before {began}")
}
