//! Authorities on disk and over time.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

const START: u64 = 1_800_000_000;
const LIFE: u64 = 86_400;

fn domain() -> TrustDomain {
    "zizon.local".parse().unwrap()
}

fn lives(leaf_seconds: u64) -> CaLives {
    CaLives { ca_seconds: LIFE, leaf_seconds, publish_gap_seconds: 240 }
}

fn open(directory: &Path, now: u64) -> Authorities {
    Authorities::open(directory, &domain(), lives(120), now).unwrap()
}

fn stages(authorities: &Authorities) -> Vec<(u64, Stage)> {
    authorities.slots().map(|slot| (slot.number, slot.stage)).collect()
}

fn id() -> SpiffeId {
    domain().workload("ns/shop/sa/orders").unwrap()
}

#[test]
fn a_day_of_rotation_goes_through_every_slot() {
    let directory = tempfile::tempdir().unwrap();
    let mut authorities = open(directory.path(), START);
    let mut seen = vec![stages(&authorities)];
    for now in (START..START + LIFE + 10).step_by(5) {
        authorities.advance(now).unwrap();
        if seen.last() != Some(&stages(&authorities)) {
            seen.push(stages(&authorities));
        }
    }
    let expected = [
        vec![(1, Stage::Active)],
        vec![(1, Stage::Active), (2, Stage::Prepared)],
        vec![(1, Stage::Old), (2, Stage::Active)],
        vec![(2, Stage::Active)],
        vec![(2, Stage::Active), (3, Stage::Prepared)],
    ];
    assert_eq!(seen, expected);
}

#[test]
fn a_restart_at_any_moment_goes_on_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    for now in (START..START + LIFE).step_by(1800) {
        let before = {
            let authorities = open(directory.path(), now);
            (stages(&authorities), authorities.bundle())
        };
        let authorities = open(directory.path(), now);
        assert_eq!((stages(&authorities), authorities.bundle()), before);
    }
}

#[test]
fn a_rotation_that_cannot_be_kept_changes_nothing_and_signing_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path().join("identity");
    let mut authorities = open(&at, START);
    let before = (stages(&authorities), authorities.bundle());
    fs::remove_dir_all(&at).unwrap();
    assert!(authorities.advance(START + LIFE / 2).is_err());
    assert_eq!((stages(&authorities), authorities.bundle()), before);
    assert!(authorities.issue(&id(), START + LIFE / 2).is_ok());
}

#[test]
fn the_old_root_stays_for_leaves_of_an_earlier_longer_configuration() {
    let directory = tempfile::tempdir().unwrap();
    drop(Authorities::open(directory.path(), &domain(), lives(3600), START).unwrap());
    let mut authorities = open(directory.path(), START + LIFE / 2);
    let activation = START + LIFE / 6 * 5;
    authorities.advance(activation).unwrap();
    assert_eq!(stages(&authorities), [(1, Stage::Old), (2, Stage::Active)]);
    authorities.advance(activation + 3600).unwrap();
    assert_eq!(stages(&authorities).len(), 2);
    authorities.advance(activation + 3600 + 31).unwrap();
    assert_eq!(stages(&authorities), [(2, Stage::Active)]);
}

#[test]
fn a_leaf_never_outlives_its_authority() {
    let directory = tempfile::tempdir().unwrap();
    let mut authorities = open(directory.path(), START);
    assert_eq!(authorities.issue(&id(), START + LIFE - 50).unwrap().not_after, START + LIFE);
    assert!(matches!(authorities.issue(&id(), START + LIFE), Err(CaError::NoActive)));
}

#[test]
fn serials_differ_in_both_halves() {
    let directory = tempfile::tempdir().unwrap();
    let mut authorities = open(directory.path(), START);
    let serials: Vec<String> = (0..50).map(|_| authorities.issue(&id(), START).unwrap().serial).collect();
    for half in [0..16, 16..32] {
        let mut parts: Vec<&str> = serials.iter().map(|serial| &serial[half.clone()]).collect();
        parts.sort_unstable();
        parts.dedup();
        assert_eq!(parts.len(), 50);
    }
}

#[test]
fn a_key_that_is_not_its_certificates_is_refused() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    drop(open(one.path(), START));
    drop(open(other.path(), START));
    let read = |directory: &Path| -> serde_json::Value {
        serde_json::from_str(&fs::read_to_string(directory.join("ca.json")).unwrap()).unwrap()
    };
    let mut mixed = read(one.path());
    mixed["authorities"][0]["key"] = read(other.path())["authorities"][0]["key"].clone();
    fs::write(one.path().join("ca.json"), mixed.to_string()).unwrap();
    let error = Authorities::open(one.path(), &domain(), lives(120), START).err().unwrap().to_string();
    assert!(error.contains("key and certificate of authority 1 do not match"), "{error}");
}

#[test]
fn only_the_issuer_can_read_its_keys() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path().join("identity");
    drop(open(&at, START));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&at), mode(&at.join("ca.json"))), (0o700, 0o600));
}
