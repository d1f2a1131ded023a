use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use zizon_journal::{Env, Journal, MaintenanceError, OpenError};

use crate::support::{World, small};

const CHILD_DIR: &str = "ZIZON_JOURNAL_TEST_CHILD_DIR";

#[test]
fn a_second_owner_in_the_same_process_is_refused_with_the_pid() {
    let dir = tempfile::tempdir().unwrap();
    let first = Journal::open(Env::real(), dir.path(), small()).unwrap();
    let second = Journal::open(Env::real(), dir.path(), small());
    assert!(matches!(second, Err(OpenError::Locked { pid }) if pid == std::process::id()));
    drop(first);
    Journal::open(Env::real(), dir.path(), small()).unwrap();
}

/// Does nothing unless it was started by the test below, as the other process.
#[test]
fn helper_that_owns_a_journal() {
    let Ok(dir) = std::env::var(CHILD_DIR) else { return };
    let _journal = Journal::open(Env::real(), dir, small()).unwrap();
    println!("\nowner");
    let _ = std::io::stdin().read(&mut [0]);
}

#[test]
fn another_process_is_refused_with_the_pid_of_the_owner_until_that_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "ownership::helper_that_owns_a_journal", "--nocapture"])
        .env(CHILD_DIR, dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "owner"), "the other process did not open the journal");
    let error = Journal::open(Env::real(), dir.path(), small()).err().unwrap();
    assert!(matches!(error, OpenError::Locked { pid } if pid == child.id()), "{error}");
    assert_eq!(error.to_string(), format!("journal is in use by process {}; stop it first", child.id()));
    child.kill().unwrap();
    child.wait().unwrap();
    Journal::open(Env::real(), dir.path(), small()).unwrap();
}

#[test]
fn maintenance_of_a_closed_journal_touches_nothing() {
    let world = World::new();
    let journal = world.open();
    let maintenance = journal.maintenance();
    drop(journal);
    assert!(matches!(maintenance.compress_one(), Err(MaintenanceError::Closed)));
    assert!(matches!(maintenance.retain_from(zizon_journal::Seq(5)), Err(MaintenanceError::Closed)));
    world.open();
}

#[test]
fn a_batch_under_way_keeps_the_next_owner_out() {
    let world = World::new();
    let mut journal = world.open();
    journal.append(b"a").unwrap();
    let mut batch = journal.begin_sync().unwrap();
    drop(journal);
    assert!(matches!(world.try_open(), Err(OpenError::Locked { .. })));
    assert!(batch.run().is_ok());
    drop(batch);
    assert_eq!(world.try_open().unwrap().1.last, zizon_journal::Seq(1));
}
