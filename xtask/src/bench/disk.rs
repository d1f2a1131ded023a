//! The disk alone: how long an append of 4 KiB with `fdatasync` takes, in a bare loop.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::{figure::quantile, interrupt, leftovers};

const BLOCK: usize = 4096;

/// A directory beside what cargo builds, so that all benchmarks use one disk; removed when dropped.
pub struct Scratch(PathBuf);

impl Scratch {
    /// A new one.
    pub fn create(name: &str) -> Result<Self> {
        let path = leftovers::directory(name);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A file that is appended to and synced, on the file system under test; removed when dropped.
pub struct Probe {
    file: File,
    path: PathBuf,
    block: Vec<u8>,
    /// Milliseconds of each append with its sync.
    pub times_ms: Vec<f64>,
}

impl Probe {
    /// A new file at `path`.
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { file, path: path.to_owned(), block: vec![0x5a; BLOCK], times_ms: Vec::new() })
    }

    /// One append with its sync.
    pub fn once(&mut self) -> Result<()> {
        let began = Instant::now();
        self.file.write_all(&self.block)?;
        self.file.sync_data()?;
        self.times_ms.push(began.elapsed().as_secs_f64() * 1e3);
        Ok(())
    }

    /// One after the other for so long.
    pub fn for_about(&mut self, duration: Duration) -> Result<()> {
        let end = Instant::now() + duration;
        while Instant::now() < end {
            interrupt::check()?;
            self.once()?;
        }
        Ok(())
    }

    /// Median and 99th percentile so far, in ms.
    pub fn figures(&self) -> (f64, f64) {
        (quantile(&self.times_ms, 0.5), quantile(&self.times_ms, 0.99))
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
