//! Faults of the disk under the real binary: what is refused, what goes on, what is said.

use std::{
    fs,
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use zizon_tests::{Load, Platform, eventually_within, platform::zizon};

const PRICE: i64 = 2_690_000;

/// A small file system of its own; unmounted when dropped.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Nothing when this user may not mount.
    pub fn mount(at: &Path, megabytes: u32) -> Option<Self> {
        fs::create_dir_all(at).expect("a mount point");
        let size = format!("size={megabytes}m");
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).stderr(Stdio::null()).status();
        mount.is_ok_and(|status| status.success()).then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, because a role that is just ending may still have it open.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_refuses_orders_serves_reads_and_recovers_by_itself() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let data = home.path().join("disk");
    let Some(_disk) = SmallDisk::mount(&data, 480) else {
        println!("NOT RUN: a full disk: this user may not mount a tmpfs");
        return;
    };
    let mut platform = Platform::builder().data(&data).start();
    let client = platform.client();
    let order = client.order("before-1", "PROD001", 1, PRICE);
    assert_eq!(order.status, 201);
    let load = Load::start(&platform, &home.path().join("acks.jsonl"), 200, 12);
    eventually_within(Duration::from_secs(10), "orders flow", || load.acked() > 100);

    let filler = data.join("filler");
    fill(&filler);
    let mut refused = None;
    eventually_within(Duration::from_secs(10), "orders are refused", || {
        let answer = client.order("during-1", "PROD001", 1, PRICE);
        if answer.status == 503 {
            refused = Some(answer);
        }
        refused.is_some()
    });
    let refused = refused.expect("a refusal");
    assert_eq!(refused.code(), "storage-full");
    assert!(refused.header("retry-after").is_some());
    eventually_within(Duration::from_secs(2), "it is said that nobody can order", || {
        client.get("/readyz").status == 503
    });
    assert_eq!(client.get("/api/v1/products/PROD001").status, 200);
    let body = order.json();
    let path = format!("/api/v1/orders/{}", body["id"].as_str().expect("an id"));
    assert_eq!(client.get_with_token(&path, body["access_token"].as_str().expect("a token")).status, 200);
    let replay = client.order("before-1", "PROD001", 1, PRICE);
    assert_eq!((replay.status, &replay.body), (201, &order.body), "a replay writes nothing");

    fs::remove_file(&filler).expect("space returns");
    eventually_within(Duration::from_secs(10), "orders are taken again", || {
        client.order("after-1", "PROD001", 1, PRICE).status == 201
    });
    assert_eq!(platform.role("orders")["restarts"], 0, "nothing had to be restarted");
    // One order was made beside the load: "after-1".
    let report = load.assert_nothing_lost(&mut platform, 1);
    assert!(report["errors"].as_u64().is_some_and(|errors| errors > 0), "the load never met a full disk: {report}");
}

/// Takes all the space there is, to the last byte.
fn fill(filler: &Path) {
    let mut file = fs::File::create(filler).expect("a file");
    for block in [1 << 20, 1] {
        let block = vec![0u8; block];
        while file.write_all(&block).is_ok() {}
    }
}

#[test]
fn a_platform_that_stopped_on_a_full_disk_starts_on_it_again() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let data = home.path().join("disk");
    let Some(_disk) = SmallDisk::mount(&data, 480) else {
        println!("NOT RUN: a start on a full disk: this user may not mount a tmpfs");
        return;
    };
    let mut platform = Platform::builder().data(&data).start();
    let order = platform.client().order("before-1", "PROD001", 1, PRICE);
    assert_eq!(order.status, 201);
    fill(&data.join("filler"));
    assert!(platform.stop().0.success());

    let mut platform = Platform::builder().data(&data).not_ready().start();
    let client = platform.client();
    eventually_within(Duration::from_secs(10), "what is there is served", || {
        let replay = client.order("before-1", "PROD001", 1, PRICE);
        replay.status == 201 && replay.body == order.body
    });
    assert_eq!(client.get("/readyz").status, 503, "nobody can order");
    assert_eq!(client.order("during-1", "PROD001", 1, PRICE).code(), "storage-full");
    fs::remove_file(data.join("filler")).expect("space returns");
    platform.wait_ready();
    assert_eq!(client.order("after-1", "PROD001", 1, PRICE).status, 201);
    platform.assert_checked();
}

/// A stopped platform with one order, and its data directory.
fn stopped_with_an_order(home: &Path) -> (PathBuf, zizon_tests::Answer) {
    let data = home.join("data");
    let mut platform = Platform::builder().data(&data).start();
    let order = platform.client().order("kept-1", "PROD001", 1, PRICE);
    assert_eq!(order.status, 201);
    let (status, _) = platform.stop();
    assert!(status.success());
    (data, order)
}

#[test]
fn a_flipped_bit_in_the_journal_is_refused_and_named() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let (data, _) = stopped_with_an_order(home.path());
    let segment = data.join("orders/journal/00000000000000000001.seg");
    let mut file = fs::OpenOptions::new().read(true).write(true).open(&segment).expect("the first segment");
    // Within the first frames: the demo's stock.
    let mut byte = [0];
    file.seek(SeekFrom::Start(6000)).expect("a place in the file");
    file.read_exact(&mut byte).expect("a byte");
    byte[0] ^= 0x10;
    file.seek(SeekFrom::Start(6000)).expect("a place in the file");
    file.write_all(&byte).expect("the bit is flipped");
    drop(file);

    let data_text = data.display().to_string();
    let checked = zizon(&["fsck", "--data", &data_text, "--json"]);
    assert_eq!(checked.status.code(), Some(1));
    let report = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(report.contains("00000000000000000001.seg") && report.contains("\"ok\": false"), "{report}");
    let report: serde_json::Value = serde_json::from_str(&report).expect("one document");
    let orders = &report["stores"][1];
    assert!(orders["stock"].is_null() && orders["seq"].is_null(), "nothing is said about what is not known: {report}");

    let refused = zizon(&["up", "--demo", "--listen", "127.0.0.1:0", "--data", &data_text]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(3), "{said}");
    let named = said.contains("error: orders does not start") && said.contains("00000000000000000001.seg");
    assert!(named && said.contains("backup"), "{said}");
}

#[test]
fn a_lost_index_is_rebuilt_from_the_journal() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let (data, order) = stopped_with_an_order(home.path());
    fs::remove_dir_all(data.join("orders/index")).expect("the index is lost");
    let mut platform = Platform::builder().data(&data).start();
    let again = platform.client().order("kept-1", "PROD001", 1, PRICE);
    assert_eq!((again.status, &again.body), (201, &order.body));
    assert_eq!(platform.json(&["stock", "show", "PROD001"])["held"], 1);
    let _ = platform.stop();
    assert!(platform.run(&["fsck"]).status.success());
}
