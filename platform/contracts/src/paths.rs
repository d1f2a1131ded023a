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
    /// Places under `data`. Sockets go to `data/run` when their paths fit into a socket address, otherwise to
    /// `short_base/zizon-<digest of data>`.
    #[must_use]
    pub fn new(data: &Path, short_base: &Path) -> Self {
        let near = data.join("run");
        let longest = near.join("supervisor.sock");
        let run = if longest.as_os_str().len() <= MAX_SOCKET_PATH {
            near
        } else {
            short_base.join(format!("zizon-{:016x}", digest(data)))
        };
        Self { data: data.to_owned(), run }
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
    fn a_long_data_directory_gets_short_sockets_of_its_own() {
        let long = PathBuf::from(format!("/srv/{}", "x".repeat(200)));
        let paths = Paths::new(&long, Path::new("/run/user/1000"));
        assert!(paths.supervisor_socket().as_os_str().len() <= MAX_SOCKET_PATH);
        let other = Paths::new(&long.join("y"), Path::new("/run/user/1000"));
        assert_ne!(paths.run(), other.run());
    }
}
