//! Secrets of this role: 32 random bytes as 64 hexadecimal digits in a file of its own, readable by its owner only.
//!
//! They are made once, durable before their first use, and never made again where something depends on them: another
//! `ids.key` would give every customer's retry a second order, another `personal.key` would lose all personal data.

pub mod check;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use zeroize::Zeroizing;

use crate::error::RunError;

/// Name of the secret behind ids and access tokens.
pub const IDS_KEY: &str = "ids.key";
/// Name of the secret that wraps users' keys.
pub const PERSONAL_KEY: &str = "personal.key";

/// Reads the secret `keys/name`, or makes it if nothing `depends` on it yet.
///
/// # Errors
/// The file cannot be used, or is missing although a dependent path exists.
pub fn secret(keys: &Path, name: &str, depends: &[&Path]) -> Result<Zeroizing<[u8; 32]>, RunError> {
    let file = keys.join(name);
    let failed = |source| RunError::KeyFile { file: file.clone(), source };
    match fs::read_to_string(&file) {
        Ok(text) => {
            let text = Zeroizing::new(text);
            decode(text.trim()).ok_or_else(|| RunError::KeyFormat { file: file.clone() })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(depends) = depends.iter().find(|path| holds_something(path)) {
                return Err(RunError::KeyMissing { file, depends: depends.to_path_buf() });
            }
            make(keys, &file).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

/// A value by which a secret is known again and from which it does not follow: 64 bits of a BLAKE3 key derivation.
pub fn check_value(name: &str, secret: &[u8; 32]) -> [u8; 8] {
    let mut deriver = blake3::Hasher::new_derive_key("zizon orders 2026 check value of a secret");
    deriver.update(name.as_bytes()).update(secret);
    let mut value = [0; 8];
    deriver.finalize_xof().fill(&mut value);
    value
}

/// Whether `path` is a file, or a directory with anything in it.
fn holds_something(path: &Path) -> bool {
    match fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_some(),
        Err(_) => path.exists(),
    }
}

fn make(keys: &Path, file: &Path) -> io::Result<Zeroizing<[u8; 32]>> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(keys)?;
    let mut secret = Zeroizing::new([0; 32]);
    getrandom::fill(secret.as_mut_slice()).map_err(io::Error::other)?;
    let mut text = Zeroizing::new(String::with_capacity(65));
    for byte in secret.iter() {
        text.push(char::from(HEX[usize::from(byte >> 4)]));
        text.push(char::from(HEX[usize::from(byte & 15)]));
    }
    text.push('\n');
    let unfinished = file.with_extension("tmp");
    let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    out.write_all(text.as_bytes())?;
    out.sync_all()?;
    fs::rename(&unfinished, file)?;
    File::open(keys)?.sync_all()?;
    Ok(secret)
}

const HEX: &[u8; 16] = b"0123456789abcdef";

fn decode(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut secret = Zeroizing::new([0; 32]);
    for (at, byte) in secret.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(at * 2..at * 2 + 2)?, 16).ok()?;
    }
    Some(secret)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_is_made_once_and_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let journal = dir.path().join("journal");
        let first = secret(dir.path(), IDS_KEY, &[&journal]).unwrap();
        assert_eq!(secret(dir.path(), IDS_KEY, &[&journal]).unwrap(), first);
        let mode = fs::metadata(dir.path().join(IDS_KEY)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_secret_that_something_depends_on_is_never_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let journal = dir.path().join("journal");
        fs::create_dir(&journal).unwrap();
        assert!(secret(dir.path(), PERSONAL_KEY, &[&journal]).is_ok());
        fs::remove_file(dir.path().join(PERSONAL_KEY)).unwrap();
        fs::write(journal.join("segment"), b"x").unwrap();
        let error = secret(dir.path(), PERSONAL_KEY, &[&journal]).unwrap_err();
        assert!(error.to_string().contains("personal.key"), "{error}");
    }

    #[test]
    fn a_file_that_holds_no_secret_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(IDS_KEY), "zz").unwrap();
        assert!(matches!(secret(dir.path(), IDS_KEY, &[]), Err(RunError::KeyFormat { .. })));
    }
}
