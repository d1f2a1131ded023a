//! What a proof ran on, as far as it matters to what it shows.

use std::fs;
use std::path::Path;

use serde::Serialize;

/// The machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// CPUs this process may use.
    pub cpus: usize,
    /// The CPU's model.
    pub cpu: String,
    /// Kernel and its release.
    pub kernel: String,
    /// Memory, in MB.
    pub memory_mb: u64,
    /// File system of the temporary directory, where the platforms under proof keep their data.
    pub file_system: String,
}

impl Machine {
    /// This machine.
    #[must_use]
    pub fn here() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Self {
            cpus: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            cpu: field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            kernel: format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
            memory_mb: field(&read("/proc/meminfo"), "MemTotal").and_then(|text| kilobytes(&text)).unwrap_or(0) / 1024,
            file_system: file_system(&read("/proc/self/mountinfo"), &std::env::temp_dir())
                .unwrap_or_else(|| "unknown".to_owned()),
        }
    }

    /// In one line.
    #[must_use]
    pub fn line(&self) -> String {
        let Self { cpus, cpu, kernel, memory_mb, file_system } = self;
        format!("{cpus} CPUs ({cpu}), {:.0} GB, {kernel}, data on {file_system}", gigabytes(*memory_mb))
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn gigabytes(megabytes: u64) -> f64 {
    megabytes as f64 / 1024.0
}

fn field(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_once(':').map(|(_, value)| value.trim().to_owned())
}

fn kilobytes(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

/// The type of the file system `directory` is on: the mount with the longest path above it (proc(5), mountinfo).
fn file_system(mountinfo: &str, directory: &Path) -> Option<String> {
    let mounts = mountinfo.lines().filter_map(|line| {
        let (front, back) = line.split_once(" - ")?;
        Some((front.split(' ').nth(4)?, back.split(' ').next()?))
    });
    let above = mounts.filter(|(point, _)| directory.starts_with(point));
    above.max_by_key(|(point, _)| point.len()).map(|(_, kind)| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mount_above_counts() {
        let mounts = "22 1 254:0 / / rw shared:1 - ext4 /dev/vda rw\n30 22 0:26 / /tmp rw shared:9 - tmpfs tmpfs rw\n31 22 0:27 / /tmpx rw - xfs d rw\n";
        assert_eq!(file_system(mounts, Path::new("/tmp/a")).as_deref(), Some("tmpfs"));
        assert_eq!(file_system(mounts, Path::new("/var")).as_deref(), Some("ext4"));
    }

    #[test]
    fn this_machine_has_a_kernel_and_a_file_system() {
        let here = Machine::here();
        assert!(here.cpus > 0 && here.kernel.len() > "Linux ".len(), "{here:?}");
        assert_ne!(here.file_system, "unknown");
    }
}
