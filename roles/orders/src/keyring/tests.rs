use std::future::Future;

use zeroize::Zeroizing;

use super::*;

fn order(user: &str) -> OrderId {
    zizon_base::ids::IdKey::new(&Zeroizing::new([7; 32])).order_id(
        "guest",
        &user.parse().unwrap(),
        &"k".parse().unwrap(),
    )
}

fn open(dir: &tempfile::TempDir, key: u8) -> Result<Keyring, KeyringError> {
    Keyring::open(&dir.path().join("users.keys"), &Zeroizing::new([key; 32]))
}

fn plain(opened: Opened) -> Vec<u8> {
    match opened {
        Opened::Plain(bytes) => bytes.to_vec(),
        Opened::Erased => panic!("erased"),
    }
}

#[tokio::test]
async fn what_was_sealed_opens_again_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let id = order("u1");
    let blob = open(&dir, 1).unwrap().seal(&id.user_hash(), &id, b"text").await.unwrap();
    assert!(!blob.windows(4).any(|part| part == b"text"));
    let reopened = open(&dir, 1).unwrap();
    assert!(!reopened.is_empty());
    assert_eq!(plain(reopened.open_sealed(&id, &blob).unwrap()), b"text");
}

#[tokio::test]
async fn a_blob_opens_only_for_its_order_and_under_the_platforms_key() {
    let dir = tempfile::tempdir().unwrap();
    let id = order("u1");
    let ring = open(&dir, 1).unwrap();
    let blob = ring.seal(&id.user_hash(), &id, b"text").await.unwrap();
    assert!(matches!(ring.open_sealed(&order("u2"), &blob), Err(KeyringError::Damaged)));
    let mut flipped = blob.to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    assert!(matches!(ring.open_sealed(&id, &flipped), Err(KeyringError::Damaged)));
    assert!(matches!(open(&dir, 2).unwrap().open_sealed(&id, &blob), Err(KeyringError::Damaged)));
}

#[tokio::test]
async fn a_destroyed_key_is_gone_from_the_file_and_a_later_order_gets_another() {
    let dir = tempfile::tempdir().unwrap();
    let id = order("u1");
    let ring = open(&dir, 1).unwrap();
    let before = ring.seal(&id.user_hash(), &id, b"old").await.unwrap();
    let other = order("u2");
    let others = ring.seal(&other.user_hash(), &other, b"stays").await.unwrap();
    assert!(ring.destroy(&id.user_hash()).await.unwrap());
    let file = std::fs::read(dir.path().join("users.keys")).unwrap();
    assert!(!file.windows(16).any(|part| part == id.user_hash().as_str().as_bytes()));
    let after = ring.seal(&id.user_hash(), &id, b"new").await.unwrap();
    let ring = open(&dir, 1).unwrap();
    assert_eq!(ring.open_sealed(&id, &before).unwrap(), Opened::Erased);
    assert_eq!(plain(ring.open_sealed(&id, &after).unwrap()), b"new");
    assert_eq!(plain(ring.open_sealed(&other, &others).unwrap()), b"stays");
}

#[tokio::test]
async fn a_torn_slot_at_the_end_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let (id, other) = (order("u1"), order("u2"));
    let blob = open(&dir, 1).unwrap().seal(&id.user_hash(), &id, b"text").await.unwrap();
    let path = dir.path().join("users.keys");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.extend_from_slice(&[5; 96]);
    bytes.extend_from_slice(&[5; 20]);
    std::fs::write(&path, bytes).unwrap();
    let ring = open(&dir, 1).unwrap();
    let others = ring.seal(&other.user_hash(), &other, b"more").await.unwrap();
    assert_eq!(plain(ring.open_sealed(&id, &blob).unwrap()), b"text");
    assert_eq!(plain(ring.open_sealed(&other, &others).unwrap()), b"more");
}

#[test]
fn a_file_of_something_else_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("users.keys"), vec![b'x'; 200]).unwrap();
    assert!(matches!(open(&dir, 1), Err(KeyringError::Foreign { .. })));
}

#[tokio::test]
async fn a_destruction_whose_sync_failed_is_never_taken_for_done() {
    let dir = tempfile::tempdir().unwrap();
    let id = order("u1");
    let ring = open(&dir, 1).unwrap();
    ring.seal(&id.user_hash(), &id, b"text").await.unwrap();
    ring.0.state.lock().poisoned = true;
    for _ in 0..2 {
        let destroyed = ring.destroy(&id.user_hash()).await;
        assert!(matches!(destroyed, Err(KeyringError::Poisoned)), "{destroyed:?}");
    }
}

#[tokio::test]
async fn a_destruction_whose_caller_went_away_is_synced_before_the_next_one_answers() {
    let dir = tempfile::tempdir().unwrap();
    let id = order("u1");
    let ring = open(&dir, 1).unwrap();
    ring.seal(&id.user_hash(), &id, b"text").await.unwrap();
    let under_way = Arc::clone(&ring.0.sync).lock_owned().await;
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let user = id.user_hash();
    assert!(Box::pin(ring.destroy(&user)).as_mut().poll(&mut context).is_pending());
    let mut again = Box::pin(ring.destroy(&user));
    assert!(again.as_mut().poll(&mut context).is_pending(), "nothing is synced yet");
    drop(under_way);
    assert!(!again.await.unwrap());
    let state = ring.0.state.lock();
    assert_eq!(state.synced, state.written);
}

#[tokio::test]
async fn a_copy_opens_what_was_sealed_before_it_and_nothing_of_those_who_were_erased() {
    let (dir, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let keyring = open(&dir, 1).unwrap();
    let orders: Vec<OrderId> = (0..2500).map(|n| order(&format!("u{n}"))).collect();
    let mut blobs = Vec::new();
    for id in &orders {
        blobs.push(keyring.seal(&id.user_hash(), id, b"text").await.unwrap());
    }
    assert!(keyring.destroy(&orders[7].user_hash()).await.unwrap());
    let mut bytes = Vec::new();
    let length = super::copy(&dir.path().join("users.keys"), &mut bytes).unwrap();
    assert_eq!(length, bytes.len() as u64);
    std::fs::write(to.path().join("users.keys"), &bytes).unwrap();
    let copied = open(&to, 1).unwrap();
    for (n, (id, blob)) in orders.iter().zip(&blobs).enumerate() {
        let opened = copied.open_sealed(id, blob).unwrap();
        if n == 7 { assert_eq!(opened, Opened::Erased) } else { assert_eq!(plain(opened), b"text") }
    }
    std::fs::write(to.path().join("other"), vec![1; 500]).unwrap();
    assert!(super::copy(&to.path().join("other"), &mut Vec::new()).is_err());
}
