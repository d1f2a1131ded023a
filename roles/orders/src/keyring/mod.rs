//! Personal fields under a key per user that can be destroyed: an append-only journal keeps the sealed bytes for ever,
//! and without the key they are noise.
//!
//! A user's key is 32 random bytes, wrapped by the platform's key (`DIR/keys/personal.key`) in a slot of a file of its
//! own. Destroying it overwrites the slot in place and syncs. A copy-on-write file system may keep the wrapped bytes, and
//! a backup from before keeps them beside the platform's key: after a restore, erasures are applied again.

mod copy;
mod rate;
mod slot;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use bytes::Bytes;
use parking_lot::Mutex;
use zeroize::Zeroizing;
use zizon_base::ids::{OrderId, UserHash};

pub use self::copy::copy;
use self::rate::Rate;
use self::slot::{HEADER, SLOT, Slot, header, offset};

/// Most users with a key: bounds the file (96 bytes each) and this process's memory.
const MAX_SLOTS: u32 = 1 << 26;
/// Layout of a sealed blob: slot 4, nonce 12, ciphertext and tag.
const BLOB_HEAD: usize = 16;

/// What a personal field could not be sealed or opened for.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The file cannot be used.
    #[error("the file of users' keys {file} cannot be used", file = file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The file is not one of ours, or of a later version.
    #[error("{file} is no file of users' keys that this version knows", file = file.display())]
    Foreign {
        /// The file.
        file: PathBuf,
    },
    /// A sync failed earlier: nothing that is written can be trusted until a restart.
    #[error("the file of users' keys could not be synced")]
    Poisoned,
    /// The file has no room for another user.
    #[error("the file of users' keys is full")]
    Full,
    /// Too many users got their first key just now; nothing was written.
    #[error("too many new users at once")]
    TooMany,
    /// What is stored does not open under its key.
    #[error("stored personal data or its key is damaged")]
    Damaged,
    /// A cryptographic operation failed.
    #[error("cryptography failed")]
    Crypto,
}

/// What a sealed blob holds.
#[derive(Debug, PartialEq, Eq)]
pub enum Opened {
    /// The plain bytes.
    Plain(Zeroizing<Vec<u8>>),
    /// The key was destroyed.
    Erased,
}

#[derive(Default)]
struct State {
    live: HashMap<UserHash, u32>,
    next: u32,
    /// Slots written so far, and of these how many are known to be on the disk.
    written: u64,
    synced: u64,
    poisoned: bool,
    rate: Rate,
}

struct Inner {
    file: File,
    path: PathBuf,
    wrap: LessSafeKey,
    state: Mutex<State>,
    opened: Instant,
    /// One sync at a time; whoever waits for it finds its own write covered by the next one at the latest.
    sync: Arc<tokio::sync::Mutex<()>>,
}

/// The keys of all users. Clones share it.
#[derive(Clone)]
pub struct Keyring(Arc<Inner>);

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keyring")
    }
}

impl Keyring {
    /// Opens the file, making it (0600) if it does not exist. `personal_key` wraps every user's key.
    ///
    /// # Errors
    /// The file cannot be used or is not ours.
    pub fn open(path: &Path, personal_key: &Zeroizing<[u8; 32]>) -> Result<Self, KeyringError> {
        let io = |source| KeyringError::Io { file: path.to_owned(), source };
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        if length < HEADER as u64 {
            file.write_all_at(&header(), 0).map_err(io)?;
            file.sync_all().map_err(io)?;
            sync_directory(path).map_err(io)?;
        } else {
            let mut found = [0; HEADER];
            file.read_exact_at(&mut found, 0).map_err(io)?;
            if found != header() {
                return Err(KeyringError::Foreign { file: path.to_owned() });
            }
        }
        // What an earlier process wrote and did not sync is read like anything else: it must be as durable as it looks.
        file.sync_data().map_err(io)?;
        let state = scan(&file).map_err(io)?;
        let wrap = cipher(personal_key.as_slice())?;
        let inner = Inner {
            file,
            path: path.to_owned(),
            wrap,
            state: Mutex::new(state),
            opened: Instant::now(),
            sync: Arc::default(),
        };
        Ok(Self(Arc::new(inner)))
    }

    /// Whether any user's key was ever written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.state.lock().next == 0
    }

    /// Seals `plain` for `user`, bound to `order`. The user's key is durable when this returns.
    ///
    /// # Errors
    /// See [`KeyringError`].
    pub async fn seal(&self, user: &UserHash, order: &OrderId, plain: &[u8]) -> Result<Bytes, KeyringError> {
        let slot = self.slot_of(user)?;
        self.durable().await?;
        let key = self.key_at(slot)?.ok_or(KeyringError::Damaged)?;
        let nonce = random_nonce()?;
        let mut sealed = plain.to_vec();
        let aad = Aad::from(order.as_str().as_bytes());
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed)
            .map_err(|_| KeyringError::Crypto)?;
        let mut blob = Vec::with_capacity(BLOB_HEAD + sealed.len());
        blob.extend_from_slice(&slot.to_le_bytes());
        blob.extend_from_slice(&nonce);
        blob.extend_from_slice(&sealed);
        Ok(blob.into())
    }

    /// Opens what [`Keyring::seal`] made.
    ///
    /// # Errors
    /// The blob does not open under its key.
    pub fn open_sealed(&self, order: &OrderId, blob: &[u8]) -> Result<Opened, KeyringError> {
        let (head, sealed) = blob.split_at_checked(BLOB_HEAD).ok_or(KeyringError::Damaged)?;
        let (mut slot, mut nonce) = ([0; 4], [0; 12]);
        slot.copy_from_slice(&head[..4]);
        nonce.copy_from_slice(&head[4..]);
        let Some(key) = self.key_at(u32::from_le_bytes(slot))? else { return Ok(Opened::Erased) };
        let mut plain = Zeroizing::new(sealed.to_vec());
        let aad = Aad::from(order.as_str().as_bytes());
        let opened = key.open_in_place(Nonce::assume_unique_for_key(nonce), aad, &mut plain);
        let length = opened.map_err(|_| KeyringError::Damaged)?.len();
        plain.truncate(length);
        Ok(Opened::Plain(plain))
    }

    /// Destroys the user's key: everything sealed under it is unreadable from here on, in every copy of the journal.
    /// False when the user has none; that is as durable an answer as the other one.
    ///
    /// # Errors
    /// The slot could not be overwritten and synced.
    pub async fn destroy(&self, user: &UserHash) -> Result<bool, KeyringError> {
        let found = {
            let mut state = self.0.state.lock();
            let slot = state.live.get(user).copied();
            if let Some(slot) = slot {
                self.write(slot, &Slot::Destroyed)?;
                state.live.remove(user);
                state.written += 1;
            }
            slot.is_some()
        };
        // Also when there is none: an earlier call may have overwritten it and not come to its sync.
        self.durable().await?;
        Ok(found)
    }

    /// The user's slot, written if there is none yet.
    fn slot_of(&self, user: &UserHash) -> Result<u32, KeyringError> {
        let mut state = self.0.state.lock();
        if let Some(&slot) = state.live.get(user) {
            return Ok(slot);
        }
        let slot = state.next;
        if slot >= MAX_SLOTS {
            return Err(KeyringError::Full);
        }
        if !state.rate.permits(u64::try_from(self.0.opened.elapsed().as_nanos()).unwrap_or(u64::MAX)) {
            return Err(KeyringError::TooMany);
        }
        let mut key = Zeroizing::new([0; 32]);
        getrandom::fill(key.as_mut_slice()).map_err(|_| KeyringError::Crypto)?;
        let nonce = random_nonce()?;
        let mut wrapped = key.to_vec();
        let aad = Aad::from(user.as_str().as_bytes());
        let seal = self.0.wrap.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut wrapped);
        seal.map_err(|_| KeyringError::Crypto)?;
        let wrapped = wrapped.try_into().map_err(|_| KeyringError::Crypto)?;
        self.write(slot, &Slot::Live { user: *user, nonce, wrapped })?;
        state.next += 1;
        state.written += 1;
        state.live.insert(*user, slot);
        Ok(slot)
    }

    /// The key in a slot; `None` when it was destroyed.
    fn key_at(&self, slot: u32) -> Result<Option<LessSafeKey>, KeyringError> {
        let mut bytes = [0; SLOT];
        self.0.file.read_exact_at(&mut bytes, offset(slot)).map_err(|source| self.io(source))?;
        match Slot::decode(&bytes) {
            Slot::Destroyed => Ok(None),
            Slot::Free | Slot::Damaged => Err(KeyringError::Damaged),
            Slot::Live { user, nonce, wrapped } => {
                let mut key = Zeroizing::new(wrapped);
                let aad = Aad::from(user.as_str().as_bytes());
                let nonce = Nonce::assume_unique_for_key(nonce);
                let opened = self.0.wrap.open_in_place(nonce, aad, key.as_mut_slice());
                cipher(opened.map_err(|_| KeyringError::Damaged)?).map(Some)
            }
        }
    }

    fn write(&self, slot: u32, content: &Slot) -> Result<(), KeyringError> {
        self.0.file.write_all_at(&content.encode(), offset(slot)).map_err(|source| self.io(source))
    }

    fn io(&self, source: io::Error) -> KeyringError {
        KeyringError::Io { file: self.0.path.clone(), source }
    }

    /// Waits until everything written before this call is on the disk. Many callers share one sync.
    async fn durable(&self) -> Result<(), KeyringError> {
        let wanted = {
            let state = self.0.state.lock();
            if state.poisoned {
                return Err(KeyringError::Poisoned);
            }
            state.written
        };
        if self.0.state.lock().synced >= wanted {
            return Ok(());
        }
        let one = Arc::clone(&self.0.sync).lock_owned().await;
        let through = {
            let state = self.0.state.lock();
            if state.poisoned {
                return Err(KeyringError::Poisoned);
            }
            if state.synced >= wanted {
                return Ok(());
            }
            state.written
        };
        let inner = Arc::clone(&self.0);
        // The result is noted where it is known: whoever waits here may be gone by then.
        let synced = tokio::task::spawn_blocking(move || {
            // The turn ends with the sync, not with the caller: two at once would share one error between them.
            let _one = one;
            inner.sync(through)
        })
        .await;
        match synced {
            Ok(true) => Ok(()),
            _ => Err(KeyringError::Poisoned),
        }
    }
}

impl Inner {
    /// Whether everything written up to `through` is on the disk.
    fn sync(&self, through: u64) -> bool {
        let synced = self.file.sync_data().is_ok();
        let mut state = self.state.lock();
        if synced && !state.poisoned {
            state.synced = state.synced.max(through);
            return true;
        }
        // The kernel may have dropped the dirty pages: a later sync that succeeds would prove nothing.
        state.poisoned = true;
        false
    }
}

fn scan(file: &File) -> io::Result<State> {
    let slots = (file.metadata()?.len() - HEADER as u64) / SLOT as u64;
    let mut state = State::default();
    let mut bytes = [0; SLOT];
    for slot in 0..u32::try_from(slots).unwrap_or(MAX_SLOTS) {
        file.read_exact_at(&mut bytes, offset(slot))?;
        match Slot::decode(&bytes) {
            Slot::Free => continue,
            Slot::Destroyed => {}
            Slot::Live { user, .. } => {
                state.live.insert(user, slot);
            }
            // At the end: written and never synced, so nothing was sealed under it. Elsewhere: its user's personal
            // data is lost, and nobody else's.
            Slot::Damaged => tracing::error!(slot, "a user's key is damaged"),
        }
        state.next = slot + 1;
    }
    Ok(state)
}

fn cipher(key: &[u8]) -> Result<LessSafeKey, KeyringError> {
    UnboundKey::new(&AES_256_GCM, key).map(LessSafeKey::new).map_err(|_| KeyringError::Crypto)
}

fn random_nonce() -> Result<[u8; 12], KeyringError> {
    let mut nonce = [0; 12];
    getrandom::fill(&mut nonce).map_err(|_| KeyringError::Crypto)?;
    Ok(nonce)
}

fn sync_directory(file: &Path) -> io::Result<()> {
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}
