//! Commands about what is stored: `zizon backup`, `zizon restore`, `zizon fsck`.

use std::path::PathBuf;

use clap::Args;

use super::Local;

/// `zizon backup`.
#[derive(Debug, Args)]
pub struct Backup {
    /// Where the backup is, or will be.
    pub dir: PathBuf,
    /// Where.
    #[command(flatten)]
    pub local: Local,
}

/// `zizon restore`.
#[derive(Debug, Args)]
pub struct Restore {
    /// Where the backup is.
    pub dir: PathBuf,
    /// The data directory to make; it must not exist, or be empty.
    #[arg(long, value_name = "NEW", required_unless_present = "check", conflicts_with = "check")]
    pub data: Option<PathBuf>,
    /// Only compare every file of the backup with its checksum.
    #[arg(long)]
    pub check: bool,
    /// Print one JSON document.
    #[arg(long)]
    pub json: bool,
}

/// `zizon fsck`.
#[derive(Debug, Args)]
pub struct Fsck {
    /// Check what is durable of the running platform at this moment; orders go on.
    #[arg(long)]
    pub online: bool,
    /// Where.
    #[command(flatten)]
    pub local: Local,
}
