//! Backups and restores that do not come to their end: killed, interrupted, out of space, or two at once.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use zizon_tests::{
    eventually,
    platform::{binary, kill, terminate, zizon},
};

use crate::{
    backup::{backed_up, backup, files, grow, json_of, long_journal, names, restore, said, text},
    storage::SmallDisk,
};

fn start_backup(data: &Path, dir: &Path, output: Stdio) -> Child {
    Command::new(binary())
        .args(["backup", &text(dir), "--json", "--data", &text(data)])
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(Stdio::null())
        .spawn()
        .expect("the backup starts")
}

#[test]
fn a_backup_that_is_killed_leaves_the_one_before_whole() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let (data, dir) = (home.path().join("data"), home.path().join("backup"));
    let mut journal = long_journal(&data, 8);
    let mut there = backup(&data, &dir)["id"].clone();
    let (mut killed, mut finished) = (0, 0);
    for round in 0..14 {
        grow(&mut journal, 16);
        let mut child = start_backup(&data, &dir, Stdio::null());
        thread::sleep(Duration::from_millis(3 + 7 * round));
        if child.try_wait().expect("it can be asked").is_none() {
            kill(child.id());
        }
        let ended = child.wait().expect("it ends").success();
        let checked = json_of(&["restore", &text(&dir), "--check"]);
        if ended {
            assert_ne!(checked["id"], there);
        }
        (killed, finished) = (killed + u32::from(!ended), finished + u32::from(ended));
        there = checked["id"].clone();
    }
    assert!(killed > 2, "{killed} killed, {finished} finished");
    let after = backup(&data, &dir);
    assert_eq!(after["first"], false);
    let listed = json_of(&["restore", &text(&dir), "--check"]);
    assert_eq!(files(&dir).len() as u64, listed["files"].as_u64().expect("a count") + 1, "leftovers are gone");

    // The first one of all, killed: it is no backup, and the next run makes one.
    let fresh = home.path().join("fresh");
    let mut child = Command::new(binary())
        .args(["backup", &text(&fresh), "--data", &text(&data)])
        .stdout(Stdio::null())
        .spawn()
        .expect("the backup starts");
    eventually("it has begun", || fresh.join("catalog").exists() || child.try_wait().is_ok_and(|s| s.is_some()));
    let _ = child.kill();
    if !child.wait().expect("it ends").success() {
        let refused = zizon(&["restore", &text(&fresh), "--check"]);
        assert_eq!(refused.status.code(), Some(1));
        assert!(said(&refused).contains("never finished"), "{}", said(&refused));
    }
    backup(&data, &fresh);
    json_of(&["restore", &text(&fresh), "--check"]);
}

#[test]
fn a_backup_that_is_interrupted_says_that_nothing_was_changed_only_when_that_is_so() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let (data, dir) = (home.path().join("data"), home.path().join("backup"));
    let mut journal = long_journal(&data, 4);
    let mut there = backup(&data, &dir)["id"].clone();
    let (mut interrupted, mut finished) = (0, 0);
    for round in 0..24 {
        grow(&mut journal, 4);
        let child = start_backup(&data, &dir, Stdio::piped());
        thread::sleep(Duration::from_millis(5 + 3 * round));
        terminate(child.id());
        let output = child.wait_with_output().expect("it ends");
        let now = json_of(&["restore", &text(&dir), "--check"])["id"].clone();
        match output.status.code() {
            Some(0) => {
                assert_ne!(now, there, "round {round}");
                finished += 1;
            }
            // Before it listens, the signal itself ends it.
            Some(3) | None => {
                assert_eq!(now, there, "round {round}: {}", said(&output));
                interrupted += 1;
            }
            code => panic!("{code:?}: {}", said(&output)),
        }
        there = now;
    }
    assert!(interrupted > 0, "{interrupted} interrupted, {finished} finished");
}

#[test]
fn two_backups_at_once_are_refused_and_an_interrupted_restore_leaves_nothing() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let (data, dir) = backed_up(home.path());
    let lock = fs::OpenOptions::new().write(true).open(dir.join("backup.lock")).expect("the lock");
    lock.lock().expect("it is free");
    for arguments in [&["backup", &text(&dir), "--data", &text(&data)][..], &["restore", &text(&dir), "--check"]] {
        let refused = zizon(arguments);
        assert!(refused.status.code() == Some(1) && said(&refused).contains("in use"), "{}", said(&refused));
    }
    drop(lock);

    let before = names(home.path());
    let (target, beside) = (home.path().join("new"), home.path().join(".new.restoring"));
    let mut child = Command::new(binary())
        .args(["restore", &text(&dir), "--data", &text(&target)])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the restore starts");
    eventually("it has begun", || beside.join("keys").exists());
    terminate(child.id());
    let status = child.wait().expect("it ends");
    assert_eq!(status.code(), Some(3), "a restore takes longer than that");
    assert_eq!(names(home.path()), before);

    // One that was killed is cleaned up by the next.
    fs::create_dir_all(beside.join("orders/journal")).expect("a leftover");
    fs::write(beside.join("orders/journal/x"), "x").expect("a leftover");
    restore(&dir, &target);
    assert!(!beside.exists() && !target.join("orders/journal/x").exists());
}

#[test]
fn a_full_disk_ends_a_backup_and_leaves_the_one_before() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let (data, disk) = (home.path().join("data"), home.path().join("disk"));
    let Some(_disk) = SmallDisk::mount(&disk, 12) else {
        println!("NOT RUN: a backup on a full disk: this user may not mount a tmpfs");
        return;
    };
    let mut journal = long_journal(&data, 4);
    let dir = disk.join("backup");
    let first = backup(&data, &dir);
    grow(&mut journal, 16);
    let full = zizon(&["backup", &text(&dir), "--data", &text(&data)]);
    assert_eq!(full.status.code(), Some(3), "{}", said(&full));
    assert!(said(&full).contains("No space left") && said(&full).contains("free some space"), "{}", said(&full));
    assert_eq!(json_of(&["restore", &text(&dir), "--check"])["id"], first["id"]);
    // A restore says before it begins that there is no room.
    let mut filler = fs::File::create(disk.join("filler")).expect("a file");
    while filler.write_all(&[0; 1 << 16]).is_ok() {}
    let output = zizon(&["restore", &text(&dir), "--data", &text(&disk.join("new"))]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert_eq!(names(&disk), ["backup", "filler"]);

    // Nothing can be put in the place of a mounted disk: said at once, with where it can go.
    let empty = home.path().join("mounted");
    if let Some(_mounted) = SmallDisk::mount(&empty, 1) {
        let output = zizon(&["restore", &text(&dir), "--data", &text(&empty)]);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains("a file system is mounted"), "{}", said(&output));
        assert!(said(&output).contains("mounted/zizon"), "{}", said(&output));
    }
}
