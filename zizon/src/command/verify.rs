//! `zizon verify`.

use std::{
    io::{IsTerminal, Write},
    process::ExitCode,
};

use anyhow::Result;
use zizon_load::{Verify, VerifyReport};

use super::load::target;
use crate::{
    cli, exit,
    output::{self, Style},
};

/// Checks every acknowledged order; exit code 1 and a list when anything is amiss.
pub fn run(options: &cli::Verify) -> Result<ExitCode> {
    let (url, ca_file) = target(options.url.clone(), options.ca.clone(), &options.local.data)?;
    let verify = Verify::against(url, ca_file, &options.acks);
    let report = zizon_load::verify(&verify, |progress| {
        let mut out = std::io::stderr().lock();
        // Progress that cannot be shown is no reason to stop checking.
        let _ = if out.is_terminal() {
            write!(out, "\r\x1b[2K{progress}").and_then(|()| out.flush())
        } else {
            writeln!(out, "{progress}")
        };
    })?;
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[2K");
    }
    if options.local.json {
        output::json(&report)?;
    } else {
        print(&report);
    }
    Ok(ExitCode::from(if report.is_clean() { 0 } else { exit::NO }))
}

fn print(report: &VerifyReport) {
    let lists = [
        ("missing", report.missing_total, &report.missing),
        ("different", report.different_total, &report.different),
        ("duplicate", report.duplicates_total, &report.duplicates),
        ("unreadable", report.unreadable_total, &report.unreadable),
    ];
    for (name, total, entries) in lists {
        if total > 0 {
            output::line(&output::paint(&format!("{total} {name}:"), Style::Red));
            for entry in entries {
                output::line(&format!("  {entry}"));
            }
            if total > entries.len() as u64 {
                output::line(&format!("  and {} more", total - entries.len() as u64));
            }
        }
    }
    if report.torn_last_line {
        output::line("the file ends in half a line, which was never counted as acknowledged");
    }
    let verdict = if report.is_clean() {
        output::paint("every acknowledged order is there, as acknowledged, once", Style::Green)
    } else {
        output::paint("not every acknowledged order is as it was acknowledged", Style::Red)
    };
    output::line(&format!("{} orders checked: {verdict}", report.checked));
}
