//! `zizon verify`.

use std::{
    io::{IsTerminal, Write},
    path::Path,
    process::ExitCode,
};

use anyhow::Result;
use serde_json::json;
use zizon_load::{Verify, VerifyError, VerifyReport};

use super::load;
use crate::{
    cli,
    exit::{self, Failure},
    output::{self, Style},
};

/// Checks every acknowledged order; exit code 1 and a list when anything is amiss.
pub fn run(options: &cli::Verify) -> Result<ExitCode> {
    let (url, ca_file) = load::target(options.url.clone(), options.ca.clone(), &options.local.data)?;
    let verify = Verify::against(url, ca_file, &options.acks);
    let report = zizon_load::verify(&verify, |progress| {
        let mut out = std::io::stderr().lock();
        // Progress that cannot be shown is no reason to stop checking.
        let _ = if out.is_terminal() {
            write!(out, "\r\x1b[2K{progress}").and_then(|()| out.flush())
        } else {
            writeln!(out, "{progress}")
        };
    });
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[2K");
    }
    let report = report.map_err(failed)?;
    let failure = unclean(&report, &options.acks);
    if options.local.json {
        let mut document = serde_json::to_value(&report)?;
        if let Some(failure) = &failure {
            document["error"] = json!(failure.message);
            document["help"] = json!(failure.remedy);
        }
        output::json(&document)?;
    } else {
        print(&report);
    }
    match failure {
        None => Ok(ExitCode::SUCCESS),
        Some(failure) => {
            let error = failure.into();
            output::print_error(&error);
            Ok(exit::code_of(&error))
        }
    }
}

/// A verification that could not be carried through.
fn failed(error: VerifyError) -> Failure {
    let remedy = error.help().to_owned();
    match error {
        VerifyError::Target(error) => load::failure(error),
        error @ (VerifyError::Read { .. } | VerifyError::Line { .. }) => {
            Failure::usage(format!("{:#}", anyhow::Error::from(error)), remedy)
        }
        error @ VerifyError::Unavailable { .. } => Failure::unknown(error.to_string(), remedy),
    }
}

/// A verification that was carried through and has not succeeded.
fn unclean(report: &VerifyReport, acks: &Path) -> Option<Failure> {
    let message = report.failure()?;
    let remedy = if report.checked == 0 && report.bad_lines_total == 0 {
        "zizon load orders --acks FILE writes one; a run without a single acknowledged order leaves it empty"
    } else if report.bad_lines_total > 0 {
        "a bad line was written by something else than the generator; zizon fsck --online says whether the stock adds up"
    } else {
        "zizon fsck checks the journal itself; is this the platform, and the data, that the orders were sent to?"
    };
    Some(Failure::refused(format!("{}: {message}", acks.display()), remedy))
}

fn print(report: &VerifyReport) {
    for (name, total, entries) in report.lists() {
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
    let repeated = match report.repeated {
        0 => String::new(),
        repeated => format!(", {repeated} more acknowledgements repeat them"),
    };
    let verdict = if report.is_clean() {
        format!(": {}", output::paint("every acknowledged order is there, as acknowledged, once", Style::Green))
    } else {
        String::new()
    };
    output::line(&format!("{} orders checked{repeated}{verdict}", report.checked));
}
