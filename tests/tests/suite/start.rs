//! Beginning, wherever the data are and whatever is in the way.

use std::{
    fs,
    os::unix::process::CommandExt,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use zizon_tests::{
    Platform, eventually_within,
    platform::{binary, zizon},
};

const PRICE: i64 = 2_690_000;

#[test]
fn a_data_directory_may_have_any_name() {
    let home = tempfile::tempdir().expect("a temporary directory");
    for name in ["내 가게", "a#b?c%20d", &"d".repeat(120)] {
        let data = home.path().join(name);
        let mut platform = Platform::builder().data(&data).start();
        assert_eq!(platform.client().order("name-1", "PROD001", 1, PRICE).status, 201, "{name}");
        assert_eq!(platform.json(&["stock", "show", "PROD001"])["held"], 1, "{name}");
        assert!(data.join("run/workload.sock").exists() && data.join("run/metrics.sock").exists(), "{name}");
        assert!(platform.stop().0.success(), "{name}");
    }
}

#[test]
fn commands_of_this_machine_need_no_dns_for_the_shops_name() {
    let platform = Platform::builder().argument("--host").argument("shop.example").start();
    assert!(platform.url().starts_with("https://shop.example:"));
    let report = platform.json(&["load", "orders", "--rate", "50", "--duration", "1s"]);
    assert_eq!((report["created"].as_u64(), report["errors"].as_u64()), (Some(50), Some(0)), "{report}");
}

#[test]
fn another_user_is_told_whom_the_platform_answers() {
    if !rustix::process::getuid().is_root() {
        println!("NOT RUN: only root can become another user");
        return;
    }
    let platform = Platform::demo();
    // Where the other user can reach both.
    let open = tempfile::Builder::new().permissions(mode(0o755)).tempdir_in("/tmp").expect("a temporary directory");
    let program = open.path().join("zizon");
    fs::copy(binary(), &program).expect("a copy of the binary");
    fs::set_permissions(platform.data().parent().expect("it has a parent"), mode(0o755)).expect("a mode");
    for command in [&["status"][..], &["stock", "show", "PROD001"]] {
        let output = Command::new(&program)
            .args(command)
            .arg("--data")
            .arg(platform.data())
            .current_dir(open.path())
            .uid(65_534)
            .output()
            .expect("the binary starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains("answers only the user that started it (uid 0)") && said.contains("help:"), "{said}");
    }
}

fn mode(mode: u32) -> fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(mode)
}

#[test]
fn a_role_that_takes_long_is_waited_for_and_what_it_does_is_said() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let (data, out) = (home.path().join("data"), home.path().join("out"));
    // Orders reads its key before it answers anybody, and a pipe gives it none until somebody writes.
    fs::create_dir_all(data.join("keys")).expect("a directory");
    let key = data.join("keys/ids.key");
    assert!(Command::new("mkfifo").arg(&key).status().expect("mkfifo runs").success());
    let mut child = Command::new(binary())
        .args(["up", "--demo", "--listen", "127.0.0.1:0", "--data"])
        .arg(&data)
        .stdin(Stdio::null())
        .stdout(fs::File::create(&out).expect("a file"))
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    let said = || fs::read_to_string(&out).unwrap_or_default();
    eventually_within(Duration::from_secs(30), "it is said what is going on", || {
        said().contains(" s  orders: starting")
    });
    assert!(!said().contains("ready in"), "{}", said());
    fs::write(&key, "5a".repeat(32)).expect("orders takes its key");
    eventually_within(Duration::from_secs(30), "it is ready", || said().contains("ready in"));
    kill_process(pid(child.id()), Signal::TERM).expect("the platform is asked to stop");
    assert!(child.wait().expect("the platform is waited for").success());
}

#[test]
fn an_issuer_that_cannot_start_ends_the_start_with_its_reason() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let data = home.path().join("data");
    fs::create_dir_all(data.join("identity")).expect("a directory");
    fs::write(data.join("identity/ca.json"), "{}").expect("a damaged file");
    let began = Instant::now();
    let refused = zizon(&["up", "--demo", "--listen", "127.0.0.1:0", "--data", &data.display().to_string()]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(3), "{said}");
    assert!(said.contains("error: identity does not start") && said.contains("ca.json"), "{said}");
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
}

#[test]
fn a_terminal_that_is_closed_ends_the_platform_unless_it_was_started_to_outlive_it() {
    let platform = Platform::builder().ignoring_hangup().start();
    kill_process(pid(platform.pid()), Signal::HUP).expect("the platform is told");
    assert_eq!(platform.client().order("hangup-1", "PROD001", 1, PRICE).status, 201);
    assert_eq!(platform.json(&["status"])["ready"], true);

    let own = fs::read_to_string("/proc/self/status").expect("a status");
    let ignored = own.lines().find_map(|line| line.strip_prefix("SigIgn:")).expect("the ignored signals");
    if u64::from_str_radix(ignored.trim(), 16).expect("a mask") & 1 != 0 {
        println!("NOT RUN: the end by SIGHUP: these tests were started to ignore it, and so would the platform");
        return;
    }
    let mut platform = Platform::demo();
    kill_process(pid(platform.pid()), Signal::HUP).expect("the platform is told");
    let status = platform.wait(Duration::from_secs(15));
    assert!(status.success(), "{status}");
}

fn pid(id: u32) -> Pid {
    i32::try_from(id).ok().and_then(Pid::from_raw).expect("a process id")
}
