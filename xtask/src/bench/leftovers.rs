//! Directories of benchmarks, and those that a killed one left behind: of many orders they are gigabytes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{proc, shown};
use crate::shell;

const PREFIX: &str = "bench-data-";

/// Where this process keeps what the benchmark `name` needs.
pub fn directory(name: &str) -> PathBuf {
    shell::target().join(format!("{PREFIX}{name}-{}", std::process::id()))
}

/// Removes the directories of benchmarks that are gone, unless something still runs in them.
pub fn remove() {
    remove_in(&shell::target());
}

fn remove_in(target: &Path) {
    for entry in fs::read_dir(target).into_iter().flatten().flatten() {
        let path = entry.path();
        let Some(owner) = owner(&path) else { continue };
        if Path::new("/proc").join(owner.to_string()).exists() {
            continue;
        }
        if let Some(pid) = user(&path) {
            println!(
                "{} was left by a benchmark that was killed, and process {pid} still runs in it; end that (kill {pid}), \
                 and the next benchmark removes it",
                path.display()
            );
            continue;
        }
        let mb = proc::bytes_under(&path) / 1_000_000;
        match fs::remove_dir_all(&path) {
            Ok(()) => println!(
                "removed {}, {} MB left by a benchmark that was killed",
                path.display(),
                shown(u32::try_from(mb).map_or(f64::INFINITY, f64::from)).trim_end_matches(".00")
            ),
            Err(error) => println!("{} was left by a benchmark and cannot be removed: {error}", path.display()),
        }
    }
}

/// The process that made a directory, by its name.
fn owner(path: &Path) -> Option<u32> {
    let (_, pid) = path.file_name()?.to_str()?.strip_prefix(PREFIX)?.rsplit_once('-')?;
    pid.parse().ok()
}

/// A process that was told about the directory.
fn user(path: &Path) -> Option<u32> {
    let wanted = path.to_str()?.as_bytes();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.find(|pid| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.windows(wanted.len()).any(|part| part == wanted)
    })
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use anyhow::Result;

    use super::*;

    #[test]
    fn what_a_dead_benchmark_left_is_removed_and_nothing_else() -> Result<()> {
        let target = std::env::temp_dir().join(format!("zizon-leftovers-{}", std::process::id()));
        let path = |name: &str| target.join(name);
        let mut dead = Command::new("true").spawn()?;
        dead.wait()?;
        let (gone, own) = (dead.id(), std::process::id());
        let [left, used, alive, other] = [
            path(&format!("bench-data-stored-few-{gone}")),
            path(&format!("bench-data-soak-{gone}")),
            path(&format!("bench-data-soak-{own}")),
            path("bench-data-mine"),
        ];
        for directory in [&left, &used, &alive, &other] {
            fs::create_dir_all(directory.join("data"))?;
        }
        let mut user =
            Command::new("sh").args(["-c", "read line"]).arg(used.join("data")).stdin(Stdio::piped()).spawn()?;
        remove_in(&target);
        let exist = [&left, &used, &alive, &other].map(|directory| directory.exists());
        user.kill()?;
        user.wait()?;
        remove_in(&target);
        let after = used.exists();
        fs::remove_dir_all(&target)?;
        assert_eq!((exist, after), ([false, true, true, true], false));
        Ok(())
    }
}
