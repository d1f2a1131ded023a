//! What the kernel knows about processes, files and file systems.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::interrupt;

/// A process is idle below this share of a core ...
const IDLE_SHARE: f64 = 0.02;
/// ... for so long.
const IDLE_FOR: Duration = Duration::from_millis(500);
/// How long is waited for it.
const SETTLED_WITHIN: Duration = Duration::from_secs(15);

/// User and system CPU seconds a process has used (`/proc/PID/stat`, fields 14 and 15, in hundredths): of all its threads,
/// but not of the kernel's, which write back and serve interrupts for it. Not a number when there is no such process.
pub fn cpu_seconds(pid: u32) -> f64 {
    stat_seconds(&pid.to_string(), 14)
}

/// User and system CPU seconds of all children of this process that have ended and were waited for (fields 16 and 17).
pub fn ended_children_cpu_seconds() -> f64 {
    stat_seconds("self", 16)
}

/// The sum of two neighbouring times of `/proc/PID/stat`; fields are numbered from 1, as in proc(5).
fn stat_seconds(process: &str, field: usize) -> f64 {
    let Ok(stat) = fs::read_to_string(format!("/proc/{process}/stat")) else { return f64::NAN };
    // The name, field 2, may hold anything, spaces and parentheses as well.
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let times = after_name.split_whitespace().skip(field - 3).take(2);
    times.map(|time| time.parse().unwrap_or(0.0)).sum::<f64>() / 100.0
}

/// CPU seconds of the threads that a process has now, to the nanosecond: for spans too short for hundredths. Not a number
/// when there is no such process.
fn fine_cpu_seconds(pid: u32) -> f64 {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return f64::NAN };
    let nanos = |thread: io::Result<fs::DirEntry>| -> Option<f64> {
        let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse().ok()
    };
    threads.filter_map(nanos).sum::<f64>() / 1e9
}

/// Waits until a process has used less than [`IDLE_SHARE`] of a core for [`IDLE_FOR`], at most [`SETTLED_WITHIN`]; what
/// it still does then is said.
pub fn settle(role: &str, pid: u32) -> Result<()> {
    let began = Instant::now();
    loop {
        let before = fine_cpu_seconds(pid);
        interrupt::sleep(IDLE_FOR)?;
        let share = (fine_cpu_seconds(pid) - before) / IDLE_FOR.as_secs_f64();
        // A process that has ended does nothing any more.
        if share.is_nan() || share < IDLE_SHARE {
            return Ok(());
        }
        if began.elapsed() >= SETTLED_WITHIN {
            println!(
                "      {role} still keeps {:.0} % of a core busy after {} s",
                share * 100.0,
                SETTLED_WITHIN.as_secs()
            );
            return Ok(());
        }
    }
}

/// Resident memory of a process in MB.
pub fn resident_mb(pid: u32) -> f64 {
    status(pid, "VmRSS:") / 1024.0
}

/// Threads of a process.
pub fn threads(pid: u32) -> f64 {
    status(pid, "Threads:")
}

/// Open descriptors of a process.
pub fn descriptors(pid: u32) -> f64 {
    fs::read_dir(format!("/proc/{pid}/fd"))
        .map_or(f64::NAN, |entries| u32::try_from(entries.count()).map_or(f64::NAN, f64::from))
}

/// A number of `/proc/PID/status`.
fn status(pid: u32, field: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(f64::NAN)
}

/// Bytes that all files below take on the disk. Files that go away meanwhile count nothing.
pub fn bytes_under(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    let size = |entry: io::Result<fs::DirEntry>| -> Option<u64> {
        let entry = entry.ok()?;
        let metadata = entry.metadata().ok()?;
        Some(if metadata.is_dir() { bytes_under(&entry.path()) } else { metadata.blocks() * 512 })
    };
    entries.filter_map(size).sum()
}

/// Bytes free for this user on the file system of `path`.
pub fn free_bytes(path: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(path).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

/// CPU time of some processes since a moment.
pub struct CpuMeter {
    processes: Vec<(String, u32)>,
    before: Vec<f64>,
}

impl CpuMeter {
    /// From now on.
    pub fn start(processes: &[(String, u32)]) -> Self {
        let before = processes.iter().map(|(_, pid)| cpu_seconds(*pid)).collect();
        Self { processes: processes.to_vec(), before }
    }

    /// What they have used until now.
    pub fn read(&self) -> CpuUsed {
        let each = self.processes.iter().zip(&self.before);
        CpuUsed(each.map(|((role, pid), before)| (role.clone(), cpu_seconds(*pid) - before)).collect())
    }
}

/// Seconds that processes used, by their names.
#[derive(Debug, Clone)]
pub struct CpuUsed(Vec<(String, f64)>);

impl CpuUsed {
    /// Seconds of `role`; not a number when its process has ended meanwhile.
    pub fn seconds(&self, role: &str) -> f64 {
        self.0.iter().filter(|(name, _)| name == role).map(|(_, seconds)| seconds).sum()
    }

    /// Microseconds of `role` for each of `count` operations.
    pub fn us_per(&self, role: &str, count: f64) -> f64 {
        self.seconds(role) * 1e6 / count.max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_threads_memory_and_descriptors() {
        let pid = std::process::id();
        assert!(resident_mb(pid) > 0.1 && threads(pid) >= 1.0 && descriptors(pid) >= 3.0);
        assert!(cpu_seconds(pid) >= 0.0);
        assert!(threads(u32::MAX).is_nan() && descriptors(u32::MAX).is_nan());
        assert!(cpu_seconds(u32::MAX).is_nan() && fine_cpu_seconds(u32::MAX).is_nan());
        assert!(fine_cpu_seconds(pid) > 0.0);
    }

    #[test]
    fn a_process_that_ended_has_no_time_instead_of_a_negative_one() {
        let meter = CpuMeter { processes: vec![("edge".to_owned(), u32::MAX)], before: vec![3.0] };
        assert!(meter.read().us_per("edge", 10.0).is_nan());
    }

    #[test]
    fn a_process_settles_when_its_work_is_done() -> Result<()> {
        let mut child = std::process::Command::new("sleep").arg("60").spawn()?;
        let began = Instant::now();
        let settled = settle("sleep", child.id());
        let took = began.elapsed();
        child.kill()?;
        child.wait()?;
        settled?;
        assert!(took >= IDLE_FOR && took < SETTLED_WITHIN, "{took:?}");
        Ok(())
    }

    #[test]
    fn a_child_counts_when_it_has_ended() {
        let before = ended_children_cpu_seconds();
        let work = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done";
        assert!(std::process::Command::new("sh").args(["-c", work]).status().unwrap().success());
        assert!(ended_children_cpu_seconds() > before);
    }

    #[test]
    fn bytes_of_nothing_are_none() {
        assert_eq!(bytes_under(Path::new("/nowhere/at/all")), 0);
        assert!(free_bytes(Path::new("/")).is_some_and(|bytes| bytes > 0));
    }
}
