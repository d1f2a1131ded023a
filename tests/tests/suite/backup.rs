//! Backups of a running platform, and what is restored from them.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use zizon_journal::{Env, Journal, Options, SeededRng, Seq};
use zizon_tests::{
    Platform, client, eventually_within,
    platform::{binary, zizon},
};

pub const PRICE: i64 = 2_690_000;

pub fn text(path: &Path) -> String {
    path.display().to_string()
}

pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Runs a command that has to succeed and reads its JSON document.
pub fn json_of(arguments: &[&str]) -> Value {
    let output = zizon(&[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    serde_json::from_slice(&output.stdout).expect("one JSON document")
}

pub fn backup(data: &Path, dir: &Path) -> Value {
    json_of(&["backup", &text(dir), "--data", &text(data)])
}

pub fn restore(dir: &Path, data: &Path) -> Value {
    json_of(&["restore", &text(dir), "--data", &text(data)])
}

/// Files of a backup and their content, without its lock.
pub fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                waiting.push(path);
            } else if !path.ends_with("backup.lock") {
                found.insert(path.clone(), fs::read(&path).expect("a file"));
            }
        }
    }
    found
}

/// Names in a directory.
pub fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("a directory");
    let mut names: Vec<_> = entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names
}

/// The generator; killed when dropped.
struct Load(Child);

impl Load {
    fn start(data: &Path, acks: &Path, duration: &str) -> Self {
        let child = Command::new(binary())
            .args([
                "load",
                "orders",
                "--rate",
                "500",
                "--connections",
                "16",
                "--duration",
                duration,
                "--json",
                "--acks",
            ])
            .arg(acks)
            .arg("--data")
            .arg(data)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the generator starts");
        Self(child)
    }

    fn finish(mut self) {
        eventually_within(Duration::from_secs(90), "the generator ends", || matches!(self.0.try_wait(), Ok(Some(_))));
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // It has ended, or nobody needs it any more.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What has been acknowledged by now: whole lines only. Waits until there are `least` of them.
fn acknowledged(acks: &Path, least: usize) -> String {
    let mut lines = String::new();
    eventually_within(Duration::from_secs(30), "orders are acknowledged", || {
        let all = fs::read_to_string(acks).unwrap_or_default();
        all[..all.rfind('\n').map_or(0, |end| end + 1)].clone_into(&mut lines);
        lines.lines().count() >= least
    });
    lines
}

/// Every order of `acks` is there, as acknowledged, once.
fn verify(platform: &Platform, acks: &Path) -> u64 {
    let verified = platform.json(&["verify", "--acks", &text(acks)]);
    for amiss in ["missing_total", "different_total", "duplicates_total"] {
        assert_eq!(verified[amiss], 0, "{verified}");
    }
    assert!(verified["error"].is_null(), "{verified}");
    verified["checked"].as_u64().expect("a count")
}

/// Where a restored journal ends.
fn last_of(report: &Value, role: &str) -> u64 {
    let stores = report["stores"].as_array().expect("stores");
    let store = stores.iter().find(|store| store["role"] == role).expect("the role's store");
    store["last_seq"].as_u64().expect("a sequence")
}

/// Frame by frame, the restored journal is the original's up to `last`, and has nothing besides. Both platforms have stopped.
fn assert_prefix(restored: &Path, original: &Path, role: &str, last: u64) {
    let open = |data: &Path| {
        let (journal, _) =
            Journal::open(Env::real(), data.join(role).join("journal"), Options::default()).expect("it opens");
        journal
    };
    let (restored, original) = (open(restored), open(original));
    assert_eq!(restored.next_seq().0, last + 1, "{role} ends where the backup says");
    assert!(original.next_seq().0 > last, "{role}: the original went on");
    let (mut copies, mut frames) = (restored.reader().scan(Seq(1)), original.reader().scan(Seq(1)));
    for seq in 1..=last {
        let next = (copies.next(), frames.next());
        let (Some(Ok(copy)), Some(Ok(frame))) = next else { panic!("{role}: frame {seq} cannot be read: {next:?}") };
        assert_eq!((copy.seq.0, &copy.payload, copy.at_ms), (seq, &frame.payload, frame.at_ms), "{role}: frame {seq}");
    }
    assert!(copies.next().is_none(), "{role}: nothing follows {last}");
}

#[test]
fn a_backup_taken_under_load_restores_to_a_prefix_with_every_order_acknowledged_before_it_began() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| home.path().join(name);
    let mut platform =
        Platform::builder().data(&at("data")).config("[orders]\nreservation_ttl_seconds = 600\n").start();
    let mut body: Value = serde_json::from_str(&client::order_body("personal-1", "PROD001", 1, PRICE)).expect("JSON");
    body["note"] = json!("leave it with the neighbour");
    let personal = platform.client().post("/api/v1/orders", &body.to_string());
    assert_eq!(personal.status, 201);

    let load = Load::start(platform.data(), &at("acks"), "12s");
    let mut backups = Vec::new();
    for (round, least) in [(0, 400), (1, 1500), (2, 3000)] {
        fs::write(at(&format!("acks-{round}")), acknowledged(&at("acks"), least)).expect("a copy");
        let report = backup(platform.data(), &at("backup"));
        let orders = &report["stores"][1];
        assert!(orders["last_seq"].as_u64() >= orders["durable_at_begin"].as_u64(), "{report}");
        assert!(orders["durable_at_begin"].as_u64().is_some_and(|durable| durable >= least as u64), "{report}");
        backups.push(report);
    }
    load.finish();
    let (status, _) = platform.stop();
    assert!(status.success());
    assert_eq!(backups[0]["first"], true);
    assert_eq!(backups[2]["first"], false);
    for (path, _) in files(&at("backup")) {
        assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600, "{}", path.display());
    }
    assert_eq!(fs::metadata(at("backup")).expect("a directory").permissions().mode() & 0o777, 0o700);

    let restored = restore(&at("backup"), &at("restored"));
    assert_eq!(restored["stores"], backups[2]["stores"]);
    assert!(restored["findings"][1]["stock"]["ok"] == true, "{restored}");
    let config = restored["config"].as_str().expect("the configuration is there");
    assert!(fs::read_to_string(config).expect("a file").contains("reservation_ttl_seconds = 600"));
    for role in ["catalog", "orders"] {
        assert_prefix(&at("restored"), &at("data"), role, last_of(&restored, role));
    }
    // Indexes are made anew, within directories that are closed.
    let is_index = |path: &Path| path.components().any(|part| part.as_os_str() == "index");
    for (path, _) in files(&at("restored")).into_iter().filter(|(path, _)| !is_index(path)) {
        let mode = fs::metadata(&path).expect("a file").permissions().mode() & 0o777;
        let is_public = path.ends_with("ca.pem");
        assert!(mode == if is_public { 0o644 } else { 0o600 }, "{} has mode {mode:o}", path.display());
    }
    assert_eq!(fs::metadata(at("restored")).expect("a directory").permissions().mode() & 0o777, 0o700);
    let mut again = Platform::builder().data(&at("restored")).start();
    assert!(verify(&again, &at("acks-2")) >= 3000);
    // What was acknowledged after it may be there or not: whatever is there is as it was acknowledged.
    let later = again.json(&["verify", "--acks", &text(&at("acks"))]);
    assert_eq!((&later["different_total"], &later["duplicates_total"]), (&json!(0), &json!(0)), "{later}");

    let shown = again.json(&["order", "show", personal.json()["id"].as_str().expect("an id")]);
    assert_eq!(shown["note"], "leave it with the neighbour", "the users' keys open it");
    let replay = again.client().post("/api/v1/orders", &body.to_string());
    assert_eq!((replay.status, &replay.body), (201, &personal.body));
    assert_eq!(again.client().order("after-1", "PROD001", 1, PRICE).status, 201);
    let online = again.run(&["fsck", "--online"]);
    assert!(online.status.success(), "{}", said(&online));

    // The restored platform goes on with the backup it came from.
    let report = backup(again.data(), &at("backup"));
    assert_eq!(report["first"], false);
    let _ = again.stop();
    // The one it was made of has gone another way by now.
    let refused = zizon(&["backup", &text(&at("backup")), "--data", &text(&at("data"))]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("different ways since a restore"), "{}", said(&refused));
}

/// A data directory with a journal of about `megabytes` in segments of 1 MiB, none of which compresses.
pub fn long_journal(data: &Path, megabytes: u64) -> Journal {
    let options =
        Options { segment_bytes: 1 << 20, max_frame_bytes: 1 << 19, free_reserve_bytes: 0, ..Options::default() };
    let (mut journal, _) = Journal::open(Env::real(), data.join("catalog/journal"), options).expect("a journal");
    grow(&mut journal, megabytes);
    journal
}

pub fn grow(journal: &mut Journal, megabytes: u64) {
    let random = SeededRng::new(journal.next_seq().0);
    for _ in 0..megabytes * 8 {
        let payload: Vec<u8> = (0..1 << 14).flat_map(|_| random.next_u64().to_le_bytes()).collect();
        journal.append(&payload).expect("a frame");
        journal.sync().expect("it is durable");
    }
}

#[test]
fn a_second_backup_copies_only_what_is_new() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let (data, dir) = (home.path().join("data"), home.path().join("backup"));
    let mut journal = long_journal(&data, 24);
    let first = backup(&data, &dir);
    assert!(first["copied"]["copied_bytes"].as_u64() > Some(20 << 20), "{first}");
    let still = backup(&data, &dir);
    assert_eq!((&still["copied"]["copied"], &still["bytes"]), (&json!(0), &first["bytes"]), "{still}");
    grow(&mut journal, 3);
    let second = backup(&data, &dir);
    let copied = second["copied"]["copied_bytes"].as_u64().expect("a count");
    assert!(copied > 2 << 20 && copied < 6 << 20, "{second}");
    // What was replaced is gone: one file per segment, and nothing unfinished.
    let listed = json_of(&["restore", &text(&dir), "--check"]);
    assert_eq!(files(&dir).len() as u64, listed["files"].as_u64().expect("a count") + 1);

    while journal.maintenance().compress_one().expect("a segment is compressed") {}
    backup(&data, &dir);
    drop(journal);
    let stopped = backup(&data, &dir);
    assert_eq!(stopped["copied"]["copied"], 0, "{stopped}");
    json_of(&["restore", &text(&dir), "--check"]);
}

#[test]
fn a_copy_of_a_backup_kept_within_it_and_other_peoples_files_outlive_the_next_run() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let (data, dir) = (home.path().join("data"), home.path().join("backup"));
    let mut journal = long_journal(&data, 3);
    backup(&data, &dir);
    // Generations: the whole directory, and one under a name that a backup uses itself.
    for generation in ["old", "orders"] {
        let copy = dir.join(generation);
        let copied = Command::new("cp").arg("-a").arg(&dir).arg(home.path().join("copy")).status();
        assert!(copied.expect("cp runs").success());
        fs::rename(home.path().join("copy"), &copy).expect("it is moved in");
    }
    fs::write(dir.join("notes.tmp"), "the operator's").expect("a file");
    fs::write(dir.join("notes.0123456789abcdef"), "the operator's").expect("a file");
    let before = [files(&dir.join("old")), files(&dir.join("orders"))];
    grow(&mut journal, 3);
    while journal.maintenance().compress_one().expect("a segment is compressed") {}
    backup(&data, &dir);
    backup(&data, &dir);
    assert!(before == [files(&dir.join("old")), files(&dir.join("orders"))], "no file of a generation is touched");
    for whole in [dir.clone(), dir.join("old"), dir.join("orders")] {
        json_of(&["restore", &text(&whole), "--check"]);
    }
    assert!(dir.join("notes.tmp").exists() && dir.join("notes.0123456789abcdef").exists());

    let refused = zizon(&["backup", &text(&dir.join("old")), "--data", &text(&data)]);
    assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
    assert!(said(&refused).contains("within the backup"), "{}", said(&refused));
    assert!(before[0] == files(&dir.join("old")));
}

/// A stopped platform with an order, and its backup.
pub fn backed_up(home: &Path) -> (PathBuf, PathBuf) {
    let (data, dir) = (home.join("data"), home.join("backup"));
    let mut platform = Platform::builder().data(&data).start();
    assert_eq!(platform.client().order("kept-1", "PROD001", 1, PRICE).status, 201);
    let _ = platform.stop();
    backup(&data, &dir);
    (data, dir)
}

#[test]
fn damage_to_any_file_of_a_backup_is_refused_and_named() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let (_, dir) = backed_up(home.path());
    let target = home.path().join("new");
    let before = names(home.path());
    let refused = |path: &Path, what: &str| {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        for arguments in [&["--check"][..], &["--data", &text(&target)]] {
            let output = zizon(&[&["restore", &text(&dir)], arguments].concat());
            assert_eq!(output.status.code(), Some(1), "{name} {what}: {}", said(&output));
            assert!(said(&output).contains(&name) && said(&output).contains("help:"), "{what}: {}", said(&output));
            assert_eq!(names(home.path()), before, "{name} {what}: nothing is left");
        }
    };
    let all = files(&dir);
    assert!(all.len() >= 9, "{:?}", all.keys());
    for (path, bytes) in &all {
        for at in [0, bytes.len() / 2, bytes.len() - 1] {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x20;
            fs::write(path, &flipped).expect("a bit is flipped");
            refused(path, "flipped");
        }
        fs::write(path, &bytes[..bytes.len() - 1]).expect("it is cut");
        refused(path, "cut short");
        if !path.ends_with("backup.json") {
            fs::remove_file(path).expect("it is removed");
            refused(path, "missing");
        }
        fs::write(path, bytes).expect("it is put back");
    }
    restore(&dir, &target);
}

#[test]
fn a_journal_that_does_not_make_sense_is_not_restored_although_its_checksums_are_right() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let (data, dir) = (home.path().join("data"), home.path().join("backup"));
    drop(long_journal(&data, 1));
    backup(&data, &dir);
    let before = names(home.path());
    let output = zizon(&["restore", &text(&dir), "--data", &text(&home.path().join("new"))]);
    assert!(!output.status.success() && said(&output).contains("catalog"), "{}", said(&output));
    assert_eq!(names(home.path()), before);
}

#[test]
fn what_cannot_be_backed_up_or_restored_is_said_with_a_remedy_and_leaves_nothing() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let (data, dir) = backed_up(home.path());
    let at = |name: &str| text(&home.path().join(name));
    let (data_text, dir_text) = (text(&data), text(&dir));
    fs::create_dir(home.path().join("photos")).expect("a directory");
    fs::write(home.path().join("photos/one.jpg"), "x").expect("a file");
    fs::create_dir(home.path().join("empty")).expect("a directory");
    std::os::unix::fs::symlink(&dir, home.path().join("link")).expect("a link");
    std::os::unix::fs::symlink(home.path().join("gone"), home.path().join("dangling")).expect("a link");
    let platform = Platform::builder().data(&home.path().join("other")).start();
    let before = names(home.path());
    let cases: &[(&[&str], i32, &str)] = &[
        (&["backup", &dir_text, "--data", &at("other")], 1, "another platform"),
        (&["backup", &at("photos"), "--data", &data_text], 2, "not empty"),
        (&["backup", &at("data/backup"), "--data", &data_text], 2, "in one another"),
        (&["backup", &text(home.path()), "--data", &data_text], 2, "in one another"),
        (&["backup", &at("new"), "--data", &at("nowhere")], 3, "no platform"),
        (&["backup", &at("new"), "--data", &at("empty")], 3, "no platform"),
        (&["backup", "/proc/nowhere", "--data", &data_text], 3, "/proc/nowhere"),
        (&["restore", &at("nowhere"), "--check"], 2, "no backup"),
        (&["restore", &at("photos"), "--check"], 2, "no backup"),
        (&["restore", &dir_text], 2, "--data"),
        (&["restore", &dir_text, "--check", "--data", &at("new")], 2, "--check"),
        (&["restore", &dir_text, "--data", &at("photos")], 2, "not empty"),
        (&["restore", &dir_text, "--data", &at("photos/one.jpg")], 2, "not a directory"),
        (&["restore", &dir_text, "--data", &at("backup/new")], 2, "in one another"),
        (&["restore", &dir_text, "--data", &at("link/new")], 2, "in one another"),
        (&["restore", &dir_text, "--data", &at("dangling")], 2, "is a link"),
        (&["backup", &at("link"), "--data", &at("backup")], 2, "in one another"),
        (&["restore", &dir_text, "--data", &at("other")], 1, "running"),
        (&["restore", &dir_text, "--data", "/proc/nowhere"], 3, "/proc/"),
    ];
    for (arguments, code, named) in cases {
        let output = zizon(&[arguments, &["--json"][..]].concat());
        assert_eq!(output.status.code(), Some(*code), "{arguments:?}: {}", said(&output));
        let document: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
        assert!(document["error"].as_str().is_some_and(|error| error.contains(named)), "{arguments:?}: {document}");
        assert!(document["help"].is_string(), "{arguments:?}: {document}");
        assert_eq!(names(home.path()), before, "{arguments:?}");
    }
    drop(platform);

    // A platform without its keys is not worth a backup.
    fs::rename(data.join("keys/personal.key"), data.join("aside")).expect("a key is put aside");
    let refused = zizon(&["backup", &dir_text, "--data", &data_text]);
    assert!(refused.status.code() == Some(1) && said(&refused).contains("personal.key"), "{}", said(&refused));
    fs::rename(data.join("aside"), data.join("keys/personal.key")).expect("the key is put back");
    // An empty directory is as good as none.
    restore(&dir, &home.path().join("empty"));
    // A platform put back to an earlier state must not replace the backup of a later one.
    fs::rename(&data, home.path().join("later")).expect("it is moved");
    fs::rename(home.path().join("empty"), &data).expect("it is moved");
    let mut platform = Platform::builder().data(&data).start();
    assert_eq!(platform.client().order("later-1", "PROD001", 1, PRICE).status, 201);
    backup(&data, &dir);
    let _ = platform.stop();
    fs::copy(data.join("restored.json"), home.path().join("later/restored.json")).expect("a copy");
    let refused = zizon(&["backup", &dir_text, "--data", &at("later")]);
    assert!(refused.status.code() == Some(1) && said(&refused).contains("before the backup"), "{}", said(&refused));
}
