//! Commands of the binary against the platform under proof: what its operator would type.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde_json::Value;
use zizon_contracts::orders::StockView;

use super::{LOOK, Platform, text};
use crate::proof::FsckSeen;
use crate::{ProveError, fsck};

/// How long a command may take whose work does not grow with what is stored.
const PATIENCE: Duration = Duration::from_secs(600);
/// Of what a command said, this much is read.
const DOCUMENT_MAX: u64 = 1024 * 1024;

impl Platform<'_> {
    /// Runs a command of the binary against it and reads the one JSON document it prints, whatever its exit code.
    ///
    /// # Errors
    /// When it cannot be run, prints no such document, or the proof is stopped.
    pub fn command<T: DeserializeOwned>(&self, arguments: &[&str]) -> Result<T, ProveError> {
        self.asked(arguments).inspect_err(|_| self.keep_evidence())
    }

    /// As [`Self::command`], where it may fail: the platform may be down at this moment.
    fn asked<T: DeserializeOwned>(&self, arguments: &[&str]) -> Result<T, ProveError> {
        let failed = |reason: String| ProveError::Command { command: arguments.join(" "), reason };
        let out = tempfile::tempfile().map_err(ProveError::system("make a temporary file"))?;
        let errors = tempfile::tempfile().map_err(ProveError::system("make a temporary file"))?;
        let copy = |file: &File| file.try_clone().map_err(ProveError::system("copy a descriptor"));
        let mut child = Command::new(&self.session.program)
            .args(arguments)
            .arg("--json")
            .arg("--data")
            .arg(self.data())
            .stdin(Stdio::null())
            .stdout(copy(&out)?)
            .stderr(copy(&errors)?)
            .process_group(0)
            .spawn()
            .map_err(ProveError::system(format!("start {}", self.session.program.display())))?;
        // A check takes as long as what is stored takes to be read.
        let patience = if arguments.first() == Some(&"fsck") { Duration::MAX } else { PATIENCE };
        let ended = self.wait_for(&mut child, patience);
        if ended.is_err() {
            let _ = child.kill();
            let _ = child.wait();
        }
        ended?;
        let document: Value = serde_json::from_slice(&read_back(out))
            .map_err(|error| failed(format!("{error}: {}", text(&read_back(errors)))))?;
        // What it could not do it says in a document of its own.
        match document.get("error").and_then(Value::as_str) {
            Some(said) => Err(failed(said.to_owned())),
            None => serde_json::from_value(document).map_err(|error| failed(error.to_string())),
        }
    }

    fn wait_for(&self, child: &mut Child, patience: Duration) -> Result<(), ProveError> {
        let began = Instant::now();
        while began.elapsed() < patience {
            self.session.go_on()?;
            let ended = child.try_wait().map_err(ProveError::system("wait for a command"))?;
            if ended.is_some() {
                return Ok(());
            }
            sleep(LOOK / 2);
        }
        Err(ProveError::Late { what: "a command did not end".into(), patience_s: patience.as_secs() })
    }

    /// The stock of a product.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn stock(&self, sku: &str) -> Result<StockView, ProveError> {
        self.command(&["stock", "show", sku])
    }

    /// The same where the platform may be down: then nobody can read it.
    #[must_use]
    pub fn stock_if_up(&self, sku: &str) -> Option<StockView> {
        self.asked(&["stock", "show", sku]).ok()
    }

    /// Sets how many units can be ordered.
    ///
    /// # Errors
    /// When it cannot be set.
    pub fn set_stock(&self, sku: &str, units: u64) -> Result<StockView, ProveError> {
        self.command(&["stock", "set", sku, &units.to_string()])
    }

    /// The check of journal, index and stock: of the running platform, or of its files once it has stopped.
    ///
    /// # Errors
    /// When it gives no answer.
    pub fn fsck(&self, online: bool) -> Result<FsckSeen, ProveError> {
        let arguments: &[&str] = if online { &["fsck", "--online"] } else { &["fsck"] };
        Ok(self.command::<fsck::Document>(arguments)?.seen())
    }
}

fn read_back(mut file: File) -> Vec<u8> {
    let mut said = Vec::new();
    // What cannot be read back is reported as what it is not: a document.
    let _ = file.rewind().and_then(|()| file.take(DOCUMENT_MAX).read_to_end(&mut said));
    said
}
