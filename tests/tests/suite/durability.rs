//! Nothing acknowledged is lost, whatever dies.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use zizon_tests::{Platform, eventually_within, platform::zizon};

const ROLES: [&str; 4] = ["edge", "orders", "catalog", "identity"];

/// Random roles at random moments, one in four before the one killed last is ready again; then every acknowledged order is
/// asked for, the units are counted, and journal, index and stock are compared.
#[test]
fn thirty_kills_of_random_roles_at_random_moments_under_load_lose_nothing() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock after 1970");
    let seed = now.subsec_nanos().to_string();
    println!("again with: zizon prove durability --kills 30 --rate 400 --seed {seed}");
    let output = zizon(&["prove", "durability", "--kills", "30", "--rate", "400", "--seed", &seed, "--json"]);
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "seed {seed}: {said}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one document");
    let proof = &report["proofs"][0];
    assert_eq!(proof["verdict"], "proven", "seed {seed}: {said}");
    let kills = proof["timeline"]["kills"].as_array().expect("kills");
    assert_eq!(kills.len(), 30, "seed {seed}: {said}");
    for role in ROLES {
        assert!(kills.iter().any(|kill| kill["role"] == role), "seed {seed}: {role} was never killed: {kills:?}");
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
