//! Where the sockets are: in `DIR/run`, or where a link of that name points.

use std::{fs, os::unix::fs::DirBuilderExt, path::Path};

use anyhow::{Context, Result};
use rustix::fs::{Mode, OFlags, fchmod, fstat, open};
use zizon_contracts::paths::Paths;

use crate::exit::Failure;

/// Workloads of other users reach the Workload API in it.
const MODE: u32 = 0o755;

/// Makes the directory of the sockets. Where it is not `DIR/run` itself, that becomes a link to it, so that people and programs find
/// the sockets where they are documented, and whatever `XDG_RUNTIME_DIR` says to them.
pub fn make_place(paths: &Paths) -> Result<()> {
    let near = Paths::near(paths.data());
    let unusable = |what: &Path| format!("cannot prepare {}", what.display());
    if near.is_symlink() {
        fs::remove_file(&near).with_context(|| unusable(&near))?;
    }
    own_directory(paths.run())?;
    if paths.run() == near {
        return Ok(());
    }
    if near.is_dir() {
        // Left from when the directory had another name; it held sockets only.
        fs::remove_dir_all(&near).with_context(|| unusable(&near))?;
    }
    std::os::unix::fs::symlink(paths.run(), &near).with_context(|| unusable(&near))
}

/// Removes a directory that only held sockets of this platform, once nobody serves them. `DIR/run` itself stays.
pub fn remove_place(paths: &Paths) {
    if paths.run() == Paths::near(paths.data()) {
        return;
    }
    for socket in [paths.workload_socket(), paths.supervisor_socket(), paths.metrics_socket()] {
        // It may be gone already; what cannot be removed is used again by the next start.
        let _ = fs::remove_file(socket);
    }
    let _ = fs::remove_dir(paths.run());
}

/// Makes `run`, or takes one that belongs to this user. Its parent may be writable for everybody, so nothing is changed before it is
/// certain whose it is, and no link is followed: whoever puts one there would choose whose mode is changed and where sockets go.
fn own_directory(run: &Path) -> Result<()> {
    let unusable = || format!("cannot prepare {}", run.display());
    match fs::DirBuilder::new().mode(0o700).create(run) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error).with_context(unusable),
        _ => {}
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = open(run, flags, Mode::empty()).map_err(|error| {
        let message = format!("{} is no directory of this user: {error}", run.display());
        Failure::usage(message, "remove it, or set XDG_RUNTIME_DIR to a directory of this user")
    })?;
    let (owner, own) = (fstat(&opened).with_context(unusable)?.st_uid, rustix::process::getuid().as_raw());
    if owner != own {
        let message = format!("{} belongs to uid {owner}, not to this user (uid {own})", run.display());
        return Err(Failure::usage(message, "remove it, or set XDG_RUNTIME_DIR to a directory of this user").into());
    }
    fchmod(&opened, Mode::from_raw_mode(MODE)).with_context(unusable)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn sockets_elsewhere_are_found_by_a_link() {
        let home = tempfile::tempdir().unwrap();
        let (data, short) = (home.path().join("my shop"), home.path().join("short"));
        fs::create_dir_all(data.join("run")).unwrap();
        fs::create_dir(&short).unwrap();
        let paths = Paths::new(&data, &short);
        for _ in 0..2 {
            make_place(&paths).unwrap();
            assert_eq!(fs::read_link(data.join("run")).unwrap(), paths.run());
        }
        remove_place(&paths);
        assert!(!paths.run().exists());
        let near = Paths::with_run(&data, &data.join("run"));
        make_place(&near).unwrap();
        assert!(data.join("run").is_dir() && !data.join("run").is_symlink());
        remove_place(&near);
        assert!(data.join("run").is_dir());
    }

    #[test]
    fn a_link_that_somebody_put_there_is_not_followed() {
        let home = tempfile::tempdir().unwrap();
        let (data, short, victim) =
            (home.path().join("my shop"), home.path().join("short"), home.path().join("victim"));
        for made in [&data, &short, &victim] {
            fs::create_dir(made).unwrap();
        }
        fs::set_permissions(&victim, fs::Permissions::from_mode(0o700)).unwrap();
        let paths = Paths::new(&data, &short);
        symlink(&victim, paths.run()).unwrap();
        let refused = make_place(&paths).unwrap_err().to_string();
        assert!(refused.contains("is no directory of this user"), "{refused}");
        assert_eq!(fs::metadata(&victim).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
