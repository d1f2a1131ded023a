//! The operating system's file system.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{FallocateFlags, FlockOperation};

use super::{File, Fs, LockError, LockGuard};

/// The operating system's file system.
#[derive(Debug, Default, Clone, Copy)]
pub struct RealFs;

struct RealFile(fs::File);

impl File for RealFile {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(into, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.0, FallocateFlags::empty(), 0, len) {
            Ok(()) => Ok(()),
            // File systems without fallocate get real zeros.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => write_zeros(&self.0, len),
            Err(error) => Err(error.into()),
        }
    }

    fn written(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        use rustix::fs::{SeekFrom, seek};
        use rustix::io::Errno;
        // The file position that this moves is not used by anything else here.
        match seek(&self.0, SeekFrom::Data(offset)) {
            Ok(start) => Ok(Some(start..seek(&self.0, SeekFrom::Hole(start))?)),
            Err(Errno::NXIO) => Ok(None),
            Err(Errno::INVAL | Errno::OPNOTSUPP) => {
                let len = self.len()?;
                Ok((offset < len).then_some(offset..len))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

fn write_zeros(file: &fs::File, len: u64) -> io::Result<()> {
    let zeros = vec![0; 1 << 20];
    let mut at = file.metadata()?.len();
    while at < len {
        let part = usize::try_from(len - at).map_or(zeros.len(), |left| left.min(zeros.len()));
        file.write_all_at(&zeros[..part], at)?;
        at += part as u64;
    }
    Ok(())
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

impl Fs for RealFs {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(RealFile(options().open(path)?)))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(RealFile(options().create(true).truncate(true).open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        // Names that are not UTF-8 are not ours.
        fs::read_dir(dir)?.filter_map(|entry| entry.map(|e| e.file_name().into_string().ok()).transpose()).collect()
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fs::File::open(dir)?.sync_all()
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn lock(&self, path: &Path) -> Result<Arc<dyn LockGuard>, LockError> {
        let mut file = options().create(true).truncate(false).open(path)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(LockError::Held { pid: read_pid(&file) }),
            Err(error) => return Err(LockError::Io(error.into())),
        }
        file.set_len(0)?;
        // The lock is what counts; on a full disk it is held without saying by whom.
        match file.write_all(format!("{}\n", std::process::id()).as_bytes()) {
            Err(error) if !matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
                Err(error.into())
            }
            _ => Ok(Arc::new(RealLock(file))),
        }
    }
}

/// The holder writes its id right after taking the lock, so an empty file is worth a second look.
fn read_pid(file: &fs::File) -> u32 {
    for _ in 0..20 {
        let mut text = [0; 32];
        let pid =
            file.read_at(&mut text, 0).ok().and_then(|n| std::str::from_utf8(&text[..n]).ok()?.trim().parse().ok());
        if let Some(pid) = pid {
            return pid;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    0
}

struct RealLock(fs::File);

impl LockGuard for RealLock {}

impl Drop for RealLock {
    fn drop(&mut self) {
        // The next owner must not be mistaken for this one in the instant before it writes its own id.
        let _ = self.0.set_len(0);
    }
}
