//! Where the sockets are: in `DIR/run`, or where a link of that name points.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use anyhow::{Context, Result};
use zizon_contracts::paths::Paths;

use crate::exit::Failure;

/// Makes the directory of the sockets with `make`. Where it is not `DIR/run` itself, that becomes a link to it, so that people and
/// programs find the sockets where they are documented, and whatever `XDG_RUNTIME_DIR` says to them.
pub fn make_place(paths: &Paths, make: impl Fn(&Path) -> Result<()>) -> Result<()> {
    let near = Paths::near(paths.data());
    let unusable = |what: &Path| format!("cannot prepare {}", what.display());
    if near.is_symlink() {
        fs::remove_file(&near).with_context(|| unusable(&near))?;
    }
    make(paths.run()).with_context(|| unusable(paths.run()))?;
    if paths.run() == near {
        return Ok(());
    }
    // Its parent may be writable for everybody, and whoever made the directory first could exchange the sockets.
    let (owner, own) = (fs::metadata(paths.run())?.uid(), rustix::process::getuid().as_raw());
    if owner != own {
        let message = format!("{} belongs to uid {owner}, not to this user (uid {own})", paths.run().display());
        return Err(Failure::usage(message, "remove it, or set XDG_RUNTIME_DIR to a directory of this user").into());
    }
    if near.is_dir() {
        // Left from when the directory had another name; it held sockets only.
        fs::remove_dir_all(&near).with_context(|| unusable(&near))?;
    }
    std::os::unix::fs::symlink(paths.run(), &near).with_context(|| unusable(&near))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(run: &Path) -> Result<()> {
        Ok(fs::create_dir_all(run)?)
    }

    #[test]
    fn sockets_elsewhere_are_found_by_a_link() {
        let home = tempfile::tempdir().unwrap();
        let (data, short) = (home.path().join("my shop"), home.path().join("short"));
        fs::create_dir_all(data.join("run")).unwrap();
        let paths = Paths::new(&data, &short);
        for _ in 0..2 {
            make_place(&paths, make).unwrap();
            assert_eq!(fs::read_link(data.join("run")).unwrap(), paths.run());
        }
        let near = Paths::with_run(&data, &data.join("run"));
        make_place(&near, make).unwrap();
        assert!(data.join("run").is_dir() && !data.join("run").is_symlink());
    }
}
