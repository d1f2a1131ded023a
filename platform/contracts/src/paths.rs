//! Where a local platform keeps its things under its data directory.

use std::path::{Path, PathBuf};

/// The longest path a unix socket is bound at: `sun_path` has 108 bytes with its terminator, and some clients add to it.
pub const MAX_SOCKET_PATH: usize = 100;

/// Places under one data directory, which must be absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    data: PathBuf,
    run: PathBuf,
}

impl Paths {
    /// Places under `data`. Sockets go to `data/run` when every client can be given their paths, otherwise to
    /// `short_base/zizon-<digest of data>`.
    #[must_use]
    pub fn new(data: &Path, short_base: &Path) -> Self {
        let near = Self::near(data);
        let run = if takes_sockets(&near) { near } else { short_run(short_base, digest(data)) };
        Self { data: data.to_owned(), run }
    }

    /// Places under `data`, with the sockets in `run`.
    #[must_use]
    pub fn with_run(data: &Path, run: &Path) -> Self {
        Self { data: data.to_owned(), run: run.to_owned() }
    }

    /// Where people look for the sockets of `data`: their directory, or a link to it.
    #[must_use]
    pub fn near(data: &Path) -> PathBuf {
        data.join("run")
    }

    /// The data directory.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Directory of the sockets; mode 0755 so that workloads of other uids can reach the Workload API.
    #[must_use]
    pub fn run(&self) -> &Path {
        &self.run
    }

    /// The SPIFFE Workload API.
    #[must_use]
    pub fn workload_socket(&self) -> PathBuf {
        self.run.join("workload.sock")
    }

    /// The supervisor's socket.
    #[must_use]
    pub fn supervisor_socket(&self) -> PathBuf {
        self.run.join("supervisor.sock")
    }

    /// Prometheus text of all roles.
    #[must_use]
    pub fn metrics_socket(&self) -> PathBuf {
        self.run.join("metrics.sock")
    }

    /// Holds the supervisor's pid while it runs.
    #[must_use]
    pub fn lock_file(&self) -> PathBuf {
        self.data.join("up.lock")
    }

    /// The authority that signs the public listener's certificate.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.data.join("ca.pem")
    }

    /// The configuration the platform was started with last, for backups; not there when it had none.
    #[must_use]
    pub fn config_in_use(&self) -> PathBuf {
        self.data.join("config-in-use.toml")
    }

    /// Where a restore puts the configuration of what it restores, for the operator to start with.
    #[must_use]
    pub fn restored_config(&self) -> PathBuf {
        self.data.join("zizon.toml")
    }

    /// What a restore has left, see [`crate::restored::Restored`].
    #[must_use]
    pub fn restored_file(&self) -> PathBuf {
        self.data.join("restored.json")
    }

    /// Secrets, directory mode 0700.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.data.join("keys")
    }

    /// A role's own files.
    #[must_use]
    pub fn role(&self, name: &str) -> PathBuf {
        self.data.join(name)
    }

    /// A role's log.
    #[must_use]
    pub fn log_file(&self, name: &str) -> PathBuf {
        self.data.join("log").join(format!("{name}.log"))
    }
}

fn short_run(base: &Path, digest: u64) -> PathBuf {
    base.join(format!("zizon-{digest:016x}"))
}

/// Whether `base` can be given to [`Paths::new`] for data directories that are not fit for sockets themselves.
#[must_use]
pub fn is_fit_base(base: &Path) -> bool {
    base.is_absolute() && takes_sockets(&short_run(base, 0))
}

/// Whether sockets in `run` have addresses that every client takes: short enough for the kernel, and the same as text, as bytes and in
/// a URI, because `SPIFFE_ENDPOINT_SOCKET` is a URI that some clients decode and others do not (SPIFFE Workload Endpoint, 4).
fn takes_sockets(run: &Path) -> bool {
    let longest = run.join("supervisor.sock");
    let bytes = longest.as_os_str().as_encoded_bytes();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._~+-".contains(byte);
    bytes.len() <= MAX_SOCKET_PATH && bytes.iter().all(plain)
}

/// FNV-1a over the path's bytes: a stable short name, not a security boundary.
fn digest(path: &Path) -> u64 {
    path.as_os_str()
        .as_encoded_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_stay_beside_the_data_when_they_fit() {
        let paths = Paths::new(Path::new("/srv/zizon"), Path::new("/run"));
        assert_eq!(paths.workload_socket(), Path::new("/srv/zizon/run/workload.sock"));
    }

    #[test]
    fn a_name_that_means_something_else_in_a_uri_gets_plain_sockets() {
        for name in ["/srv/my shop", "/srv/화장품", "/srv/a#b", "/srv/a?b", "/srv/a%20b"] {
            let paths = Paths::new(Path::new(name), Path::new("/run/user/1000"));
            assert!(paths.run().starts_with("/run/user/1000"), "{}", paths.run().display());
        }
    }

    #[test]
    fn a_long_data_directory_gets_short_sockets_of_its_own() {
        let long = PathBuf::from(format!("/srv/{}", "x".repeat(200)));
        let paths = Paths::new(&long, Path::new("/run/user/1000"));
        assert!(paths.supervisor_socket().as_os_str().len() <= MAX_SOCKET_PATH);
        let other = Paths::new(&long.join("y"), Path::new("/run/user/1000"));
        assert_ne!(paths.run(), other.run());
    }
}
