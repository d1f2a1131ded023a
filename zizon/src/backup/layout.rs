//! Which files of a data directory are in a backup, and so which files of a backup's directory are this program's.

use std::path::Path;

use zizon_base::role::Role;

/// Roles with a journal.
pub const STORES: [Role; 2] = [Role::Catalog, Role::Orders];
/// Files of the data directory besides journals and users' keys.
pub const FILES: [&str; 6] =
    ["keys/ids.key", "keys/personal.key", "keys/edge-ca.key", "ca.pem", "identity/ca.json", "config-in-use.toml"];
/// Files without which the orders' journal is of no use.
pub const NEEDED: [&str; 2] = ["keys/ids.key", "keys/personal.key"];
/// The key of every user with personal fields.
pub const USERS_KEYS: &str = "orders/users.keys";
/// Directories that a backup makes in its own, which is the first.
pub const DIRECTORIES: [&str; 6] = ["", "keys", "identity", "orders", "catalog/journal", "orders/journal"];

/// Digits of the hash in a stored file's name.
pub const TAG_DIGITS: usize = 16;
/// Digits in a segment's name.
const SEGMENT_DIGITS: usize = 20;

/// Whether a name, relative to a backup's directory, is one that a backup gives: that of a file of a data directory, and its hash or
/// `tmp`. Whatever else is there is somebody else's.
pub fn is_ours(stored: &Path) -> bool {
    let Some((path, ending)) = stored.to_str().and_then(|name| name.rsplit_once('.')) else { return false };
    let tag = ending.len() == TAG_DIGITS && ending.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (tag || ending == "tmp") && is_backed_up(path)
}

fn is_backed_up(path: &str) -> bool {
    path == USERS_KEYS || FILES.contains(&path) || STORES.iter().any(|role| in_journal(*role, path))
}

fn in_journal(role: Role, path: &str) -> bool {
    let name = path.strip_prefix(role.name()).and_then(|rest| rest.strip_prefix("/journal/"));
    let is_segment = |name: &str| {
        name.strip_suffix(".seg")
            .is_some_and(|digits| digits.len() == SEGMENT_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit()))
    };
    name.is_some_and(|name| name == "watermark" || is_segment(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_a_backup_gives_are_its_own() {
        let segment = "orders/journal/00000000000000000007.seg";
        for ours in [segment, "catalog/journal/watermark", "ca.pem", "keys/ids.key", "orders/users.keys"] {
            assert!(is_ours(Path::new(&format!("{ours}.0123456789abcdef"))), "{ours}");
            assert!(is_ours(Path::new(&format!("{ours}.tmp"))), "{ours}");
            assert!(DIRECTORIES.contains(&Path::new(ours).parent().unwrap().to_str().unwrap()), "{ours}");
        }
        for theirs in [
            "notes.tmp",
            "notes.0123456789abcdef",
            "keys/x.tmp",
            "old/keys/ids.key.0123456789abcdef",
            "orders/journal/7.seg.0123456789abcdef",
            "keys/ids.key.0123456789ABCDEF",
            "keys/ids.key",
            "backup.json",
        ] {
            assert!(!is_ours(Path::new(theirs)), "{theirs}");
        }
    }
}
