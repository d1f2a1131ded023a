//! Starting, stopping, restarting.

use std::{
    fs,
    process::Command,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use zizon_tests::{
    Platform, eventually_within,
    platform::{binary, freeze, kill, terminate, zizon},
};

#[test]
fn it_says_what_runs_and_that_it_is_ready() {
    let mut platform = Platform::demo();
    let said = platform.output();
    for role in ["identity", "catalog", "orders", "edge"] {
        assert!(said.contains(role), "{said}");
    }
    assert!(said.contains("spiffe://zizon.local/ns/shop/sa/orders"), "{said}");
    assert!(said.lines().any(|line| line.starts_with("ready in ")), "{said}");
    let status = platform.json(&["status"]);
    assert_eq!(status["ready"], true);
    for role in status["roles"].as_array().expect("roles") {
        assert!(role["pid"].is_u64() && role["restarts"].is_u64() && role["uptime_s"].is_u64(), "{role}");
        assert!(role["svid_seconds_left"].as_u64().is_some_and(|left| left > 0), "{role}");
        assert_eq!(role["state"], "ready");
    }
}

#[test]
fn a_second_platform_on_the_same_data_is_refused_with_the_pid_of_the_first() {
    let platform = Platform::demo();
    let data = platform.data().display().to_string();
    let second = zizon(&["up", "--demo", "--listen", "127.0.0.1:0", "--data", &data]);
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(!second.status.success());
    assert!(said.contains(&platform.pid().to_string()), "{said}");
}

#[test]
fn status_works_while_the_issuer_is_down_and_names_the_last_pid() {
    let platform = Platform::demo();
    let pid = platform.role_pid("identity");
    kill(pid);
    let status = platform.json(&["status"]);
    let identity = status["roles"].as_array().and_then(|roles| roles.iter().find(|role| role["role"] == "identity"));
    assert!(identity.is_some_and(|role| role["pid"].is_u64()), "{status}");
    eventually_within(Duration::from_secs(15), "identity is back", || platform.role("identity")["state"] == "ready");
}

#[test]
fn a_drain_finishes_what_is_in_flight_and_exits_within_ten_seconds() {
    let mut platform = Platform::demo();
    let client = platform.client();
    let stopping = AtomicBool::new(false);
    let unanswered = AtomicUsize::new(0);
    let made = AtomicUsize::new(0);
    let (status, took) = thread::scope(|scope| {
        for worker in 0..4 {
            let (client, stopping, unanswered, made) = (&client, &stopping, &unanswered, &made);
            scope.spawn(move || {
                for n in 0.. {
                    let Ok(mut connection) = client.connect() else { return };
                    let body = zizon_tests::client::order_body(&format!("drain-{worker}-{n}"), "PROD001", 1, 2_690_000);
                    let headers = [("Content-Type", "application/json")];
                    let request = zizon_tests::client::request("POST", "/api/v1/orders", &headers, body.as_bytes());
                    if std::io::Write::write_all(&mut connection, &request).is_err() {
                        return;
                    }
                    let _ = std::io::Write::flush(&mut connection);
                    match zizon_tests::client::read_answer(&mut connection) {
                        Ok(answer) if answer.status == 201 => {
                            made.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok(answer) => assert_eq!(answer.status, 503, "{}", String::from_utf8_lossy(&answer.body)),
                        // A connection accepted by the kernel but never by the edge: the request was not read.
                        Err(_) if stopping.load(Ordering::Relaxed) => {
                            unanswered.fetch_add(1, Ordering::Relaxed);
                            return;
                        }
                        Err(error) => panic!("a request was lost: {error}"),
                    }
                }
            });
        }
        eventually_within(Duration::from_secs(10), "orders flow", || made.load(Ordering::Relaxed) > 50);
        stopping.store(true, Ordering::Relaxed);
        platform.stop()
    });
    assert!(status.success(), "{status}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(unanswered.load(Ordering::Relaxed) <= 4);
}

#[test]
fn frozen_roles_do_not_hold_up_the_end() {
    let mut platform = Platform::demo();
    for role in ["edge", "orders", "catalog", "identity"] {
        freeze(platform.role_pid(role));
    }
    let (status, took) = platform.stop();
    assert!(status.success(), "{status}");
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn roles_do_not_inherit_what_the_caller_left_open() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let marker = home.path().join("marker");
    fs::write(&marker, "").expect("a file is made");
    let platform = Platform::builder().leaving_open(&marker).start();
    let open = |pid: u32| -> Vec<std::path::PathBuf> {
        let entries = fs::read_dir(format!("/proc/{pid}/fd")).expect("the process lives");
        entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok()).collect()
    };
    assert!(open(platform.pid()).contains(&marker), "the supervisor was given it");
    for role in ["edge", "orders", "catalog", "identity"] {
        let open = open(platform.role_pid(role));
        assert!(!open.is_empty() && !open.contains(&marker), "{role}: {open:?}");
    }
}

#[test]
fn a_role_whose_supervisor_is_gone_does_not_start() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let output = Command::new(binary())
        .args(["run", "orders", "--listen", "127.0.0.1:0", "--data"])
        .arg(home.path())
        // Not this process, which is the parent.
        .env("ZIZON_SUPERVISOR_PID", "1")
        .output()
        .expect("the binary starts");
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("supervisor of this role has ended"), "{said}");
}

#[test]
fn while_orders_restarts_the_edge_answers_and_recovers_within_a_second_of_its_return() {
    let platform = Platform::demo();
    let client = platform.client();
    let before = platform.role_pid("orders");
    kill(before);
    let began = Instant::now();
    let mut n = 0;
    let mut ready_again = None;
    loop {
        let asked = Instant::now();
        let answer = client.order(&format!("down-{n}"), "PROD001", 1, 2_690_000);
        n += 1;
        assert!(asked.elapsed() < Duration::from_secs(8), "an answer took {:?}", asked.elapsed());
        match answer.status {
            201 => break,
            503 => {
                let problem = answer.json();
                assert_eq!(problem["retryable"], true, "{problem}");
                assert!(answer.header("retry-after").is_some());
            }
            other => panic!("{other}: {}", String::from_utf8_lossy(&answer.body)),
        }
        if ready_again.is_none() && platform.role("orders")["state"] == "ready" {
            ready_again = Some(Instant::now());
        }
        assert!(began.elapsed() < Duration::from_secs(20), "orders does not come back");
    }
    if let Some(ready) = ready_again {
        assert!(ready.elapsed() < Duration::from_secs(2), "{:?} after orders was ready again", ready.elapsed());
    }
}

#[test]
fn a_terminated_role_is_started_again() {
    let platform = Platform::demo();
    let before = platform.role_pid("catalog");
    terminate(before);
    eventually_within(Duration::from_secs(15), "catalog is back", || {
        platform.role("catalog")["pid"].as_u64() != Some(u64::from(before))
            && platform.role("catalog")["state"] == "ready"
    });
    assert_eq!(platform.client().get("/api/v1/products/PROD001").status, 200);
}

#[test]
fn a_role_is_started_again_as_it_was_whatever_has_become_of_the_program_and_the_configuration() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let (program, config) = (home.path().join("zizon"), home.path().join("zizon.toml"));
    std::fs::copy(zizon_tests::platform::binary(), &program).expect("a copy of the binary");
    std::fs::write(&config, "[orders]\nguest_checkout = true\n").expect("a configuration");
    let config_text = config.display().to_string();
    let mut platform =
        Platform::builder().without_demo().program(&program).argument("--config").argument(&config_text).start();
    std::fs::remove_file(&program).expect("the program is replaced");
    std::fs::write(&config, "[orders]\nguest_chekout = true\n").expect("a configuration");
    for role in ["orders", "edge"] {
        platform.kill_role(role);
    }
    assert!(!platform.output().contains("guest_chekout"));
}
