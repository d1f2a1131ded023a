//! What a command reports: proofs or controls, on what machine, and how to repeat it.

mod html;
mod machine;
mod svg;
mod text;

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;
use serde::Serialize;

use crate::ProveError;
use crate::control::{self, Outcome};
use crate::proof::{Proof, Verdict};

pub use machine::Machine;
pub use text::Tone;

/// Everything a command found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Proven only when everything in it is.
    pub verdict: Verdict,
    /// Version of the platform that was proven.
    pub version: String,
    /// What it was proven on.
    pub machine: Machine,
    /// Seed of all random choices.
    pub seed: u64,
    /// The command that repeats it.
    pub command: String,
    /// When it ended; RFC 3339, UTC.
    pub at: String,
    /// The proofs.
    pub proofs: Vec<Proof>,
    /// The negative controls, where they were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub controls: Vec<Outcome>,
}

impl Report {
    /// Proofs on this machine.
    #[must_use]
    pub fn of_proofs(version: &str, seed: u64, command: String, proofs: Vec<Proof>) -> Self {
        let all = !proofs.is_empty() && proofs.iter().all(Proof::is_proven);
        let verdict = if all { Verdict::Proven } else { Verdict::Refuted };
        Self::new(verdict, version, seed, command, proofs, Vec::new())
    }

    /// Negative controls on this machine.
    #[must_use]
    pub fn of_controls(version: &str, seed: u64, command: String, controls: Vec<Outcome>) -> Self {
        Self::new(control::verdict(&controls), version, seed, command, Vec::new(), controls)
    }

    fn new(
        verdict: Verdict,
        version: &str,
        seed: u64,
        command: String,
        proofs: Vec<Proof>,
        controls: Vec<Outcome>,
    ) -> Self {
        let (version, machine, at) = (version.to_owned(), Machine::here(), now());
        Self { verdict, version, machine, seed, command, at, proofs, controls }
    }

    /// Whether something in it does not hold. A report of nothing refutes nothing.
    #[must_use]
    pub fn refutes(&self) -> bool {
        self.proofs.iter().any(|proof| !proof.is_proven()) || self.controls.iter().any(|outcome| !outcome.caught)
    }

    /// The report for a terminal, `paint`ed where that is wanted.
    #[must_use]
    pub fn text(&self, paint: &dyn Fn(&str, Tone) -> String) -> String {
        text::render(self, paint)
    }

    /// The report as one page of HTML that needs nothing else.
    #[must_use]
    pub fn html(&self) -> String {
        html::render(self)
    }

    /// What was found, in one line.
    #[must_use]
    pub fn summary(&self) -> String {
        if self.proofs.is_empty() {
            let caught = self.controls.iter().filter(|outcome| outcome.caught).count();
            return format!("{caught} of {} defects made on purpose were noticed", self.controls.len());
        }
        let (held, all) = self
            .proofs
            .iter()
            .flat_map(Proof::checks)
            .fold((0, 0), |(held, all), check| (held + u32::from(check.holds), all + 1));
        match self.verdict {
            Verdict::Proven => format!("all {all} checks hold"),
            Verdict::Refuted => format!("{} of {all} checks do not hold", all - held),
        }
    }
}

/// Refuses a report file that cannot be written, before anything has run. A file that is there is left as it is.
///
/// # Errors
/// [`ProveError::Report`].
pub fn check_writable(file: &Path) -> Result<(), ProveError> {
    let failed = |source| ProveError::Report { file: file.to_owned(), source };
    match OpenOptions::new().write(true).create_new(true).open(file) {
        Ok(_) => fs::remove_file(file).map_err(failed),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // A pipe that nobody reads would wait for ever.
            let flags = OFlags::NONBLOCK.bits().cast_signed();
            OpenOptions::new().append(true).custom_flags(flags).open(file).map(drop).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

/// Writes the page.
///
/// # Errors
/// [`ProveError::Report`].
pub fn write(file: &Path, report: &Report) -> Result<(), ProveError> {
    fs::write(file, report.html()).map_err(|source| ProveError::Report { file: file.to_owned(), source })
}

fn now() -> String {
    let now = time::OffsetDateTime::now_utc();
    let now = now.replace_nanosecond(0).unwrap_or(now);
    now.format(&time::format_description::well_known::Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_that_cannot_be_written_is_refused_and_one_that_can_leaves_no_trace() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("report.html");
        check_writable(&file).unwrap();
        assert!(!file.exists());
        fs::write(&file, "old").unwrap();
        check_writable(&file).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "old");
        let dangling = dir.path().join("dangling");
        std::os::unix::fs::symlink(dir.path().join("target"), &dangling).unwrap();
        assert!(check_writable(&dangling).is_err());
        assert!(dangling.is_symlink() && !dir.path().join("target").exists(), "neither made nor removed");
        for bad in [dir.path().to_owned(), dir.path().join("none/report.html")] {
            let error = check_writable(&bad).unwrap_err();
            assert!(error.to_string().contains("cannot write the report"), "{error}");
            assert!(!error.help().is_empty());
        }
    }
}
