//! Nothing acknowledged is lost, whatever dies.

use std::{
    fs,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use zizon_tests::{
    Platform, eventually_within,
    platform::{binary, kill, zizon},
};

const ROLES: [&str; 4] = ["edge", "orders", "catalog", "identity"];

#[test]
fn twenty_kills_under_load_lose_nothing() {
    let mut platform = Platform::demo();
    let acks = platform.data().join("acks.jsonl");
    let mut load = Command::new(binary())
        .args(["load", "orders", "--rate", "400", "--connections", "16", "--duration", "40s", "--json", "--acks"])
        .arg(&acks)
        .arg("--data")
        .arg(platform.data())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the generator starts");
    for round in 0..20 {
        let role = ROLES[round % ROLES.len()];
        // Different moments of a batch, of a second, of a restart.
        thread::sleep(Duration::from_millis(150 + 97 * round as u64 % 700));
        kill(platform.role_pid(role));
        eventually_within(Duration::from_secs(20), &format!("{role} is back after kill {round}"), || {
            platform.role(role)["restarts"].as_u64() >= Some(round as u64 / 4 + 1)
                && platform.role(role)["state"] == "ready"
        });
    }
    platform.wait_ready();
    let output = load.wait_with_output_or_kill();
    let report: serde_json::Value = serde_json::from_slice(&output).expect("the generator prints JSON");
    assert!(report["created"].as_u64().is_some_and(|created| created > 1000), "{report}");

    let verified = platform.json(&["verify", "--acks", &acks.display().to_string()]);
    assert_eq!(verified["missing_total"], 0, "{verified}");
    assert_eq!(verified["different_total"], 0, "{verified}");
    assert_eq!(verified["duplicates_total"], 0, "{verified}");
    assert!(verified["checked"].as_u64().is_some_and(|checked| checked > 1000), "{verified}");
    let online = platform.run(&["fsck", "--online"]);
    assert!(online.status.success(), "{}", String::from_utf8_lossy(&online.stdout));
    let (status, _) = platform.stop();
    assert!(status.success());
    let offline = platform.run(&["fsck"]);
    assert!(offline.status.success(), "{}", String::from_utf8_lossy(&offline.stdout));
}

trait WaitOrKill {
    fn wait_with_output_or_kill(&mut self) -> Vec<u8>;
}

impl WaitOrKill for std::process::Child {
    fn wait_with_output_or_kill(&mut self) -> Vec<u8> {
        let mut stdout = self.stdout.take().expect("standard output is piped");
        let reader = thread::spawn(move || {
            let mut out = Vec::new();
            std::io::Read::read_to_end(&mut stdout, &mut out).map(|_| out)
        });
        eventually_within(Duration::from_secs(90), "the generator ends", || matches!(self.try_wait(), Ok(Some(_))));
        reader.join().expect("the reader ends").expect("the output is read")
    }
}

#[test]
fn a_replay_after_a_restart_is_the_same_to_the_byte() {
    let platform = Platform::demo();
    let client = platform.client();
    let first = client.order("restart-1", "PROD001", 1, 2_690_000);
    platform.kill_role("orders");
    let again = client.order("restart-1", "PROD001", 1, 2_690_000);
    assert_eq!((first.status, again.status), (201, 201));
    assert_eq!(first.body, again.body);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
}

#[test]
fn the_whole_platform_comes_back_after_its_supervisor_is_killed() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let data = home.path().join("data");
    let mut platform = Platform::builder().data(&data).start();
    let first = platform.client().order("whole-1", "PROD001", 1, 2_690_000);
    assert_eq!(first.status, 201);
    let roles: Vec<u32> = ROLES.iter().map(|role| platform.role_pid(role)).collect();
    platform.kill();
    for pid in roles {
        eventually_within(Duration::from_secs(5), "no role outlives its supervisor", || {
            !fs::exists(format!("/proc/{pid}")).unwrap_or(false)
        });
    }
    let platform = Platform::builder().data(&data).start();
    let again = platform.client().order("whole-1", "PROD001", 1, 2_690_000);
    assert_eq!((again.status, &again.body), (201, &first.body));
}

#[test]
fn a_missing_id_key_is_noticed_before_ids_change() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let data = home.path().join("data");
    let mut platform = Platform::builder().data(&data).start();
    assert_eq!(platform.client().order("key-1", "PROD001", 1, 2_690_000).status, 201);
    let _ = platform.stop();
    let key = data.join("keys/ids.key");
    let aside = data.join("ids.key.aside");
    fs::rename(&key, &aside).expect("the key is put aside");
    let data = data.display().to_string();
    let refused = zizon(&["up", "--demo", "--listen", "127.0.0.1:0", "--data", &data]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(3), "{said}");
    let named = said.contains("error: orders does not start") && said.contains("keys/ids.key is missing");
    assert!(named && said.contains("restore the file from a backup"), "{said}");
    assert!(!key.exists(), "no second key is made");

    fs::write(&key, "5a".repeat(32)).expect("the key of another platform");
    let refused = zizon(&["up", "--demo", "--listen", "127.0.0.1:0", "--data", &data]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(3), "{said}");
    assert!(said.contains("keys/ids.key is not the key this journal was begun with"), "{said}");
}
