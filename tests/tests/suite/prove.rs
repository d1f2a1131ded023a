//! Proofs as commands, at small sizes: what they say, and that nothing is left of them.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use serde_json::Value;
use zizon_tests::{
    Platform, eventually_within,
    platform::{binary, kill, terminate},
};

/// Runs `zizon prove` with a temporary directory of its own, which must be empty afterwards.
fn prove(arguments: &[&str]) -> Output {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let output = command(temporary.path(), arguments).output().expect("the binary starts");
    assert_nothing_left(temporary.path());
    output
}

fn command(temporary: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.arg("prove").args(arguments).env("TMPDIR", temporary).stdin(Stdio::null());
    command
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {}", said(output)))
}

fn said(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Processes that were started with something in `temporary`.
fn processes_of(temporary: &Path) -> Vec<String> {
    let name = temporary.display().to_string();
    let entries = fs::read_dir("/proc").expect("/proc can be read").flatten();
    let commands = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let texts = commands.map(|command| String::from_utf8_lossy(&command).replace('\0', " "));
    texts.filter(|text| text.contains(&name)).collect()
}

fn assert_nothing_left(temporary: &Path) {
    assert_eq!(processes_of(temporary), Vec::<String>::new(), "a process was left");
    let left: Vec<_> = fs::read_dir(temporary).expect("it can be read").flatten().map(|entry| entry.path()).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

fn assert_every_check_holds(report: &Value) -> usize {
    let mut count = 0;
    for proof in report["proofs"].as_array().expect("proofs") {
        for part in proof["parts"].as_array().expect("parts") {
            for check in part["checks"].as_array().expect("checks") {
                assert_eq!(check["holds"], true, "{check}");
                count += 1;
            }
        }
    }
    count
}

#[test]
fn forty_buyers_prove_that_ten_units_are_sold_ten_times_with_both_executors_and_a_role_killed() {
    let output = prove(&["oversell", "--buyers", "40", "--units", "10", "--seed", "1", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let report = report(&output);
    assert_eq!((&report["verdict"], &report["seed"]), (&"proven".into(), &1.into()));
    assert!(assert_every_check_holds(&report) >= 6 * 7, "{report}");
    let parts: Vec<&str> = report["proofs"][0]["parts"]
        .as_array()
        .expect("parts")
        .iter()
        .filter_map(|part| part["title"].as_str())
        .collect();
    for title in ["atomic executor", "stepwise executor"] {
        assert!(parts.contains(&title), "{parts:?}");
        for role in ["orders", "edge"] {
            assert!(parts.contains(&format!("{title}, kill -9 of {role} in the middle").as_str()), "{parts:?}");
        }
    }
    let claims = report.to_string();
    for claim in
        ["orders died while buyers waited", "edge died while buyers waited", "nobody was refused while a unit was left"]
    {
        assert!(claims.contains(claim), "{claim}");
    }
}

#[test]
fn ten_clients_prove_that_a_key_has_one_answer_across_a_kill_and_a_restart() {
    let output = prove(&["replay", "--clients", "10", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(assert_every_check_holds(&report(&output)) >= 11, "{}", said(&output));
}

#[test]
fn all_is_proven_with_three_kills_and_reported_on_one_page() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let page = place.path().join("proof.html");
    let sizes = ["--buyers", "40", "--units", "10", "--clients", "10", "--kills", "3", "--rate", "300", "--seed", "5"];
    let page_name = page.display().to_string();
    let output = prove(&[&["all", "--json", "--report", &page_name], &sizes[..]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let report = report(&output);
    let names: Vec<_> =
        report["proofs"].as_array().expect("proofs").iter().map(|proof| proof["name"].clone()).collect();
    assert_eq!(names, ["oversell", "replay", "durability"]);
    assert_every_check_holds(&report);
    let kills = report["proofs"][2]["timeline"]["kills"].as_array().expect("kills").len();
    assert_eq!(kills, 3, "{report}");
    assert!(
        report["command"].as_str().is_some_and(|command| command.contains("--kills 3") && command.contains("--seed 5"))
    );

    let html = fs::read_to_string(&page).expect("the page is written");
    assert!(html.contains("<h1>Proven</h1>") && html.contains("<svg") && html.contains("class=\"kill\""), "{html}");
    for outside in ["http:", "https:", "src=", "<script", "url("] {
        assert!(!html.contains(outside), "the page asks for {outside}");
    }
}

#[test]
fn every_defect_made_on_purpose_is_noticed() {
    let output = prove(&["--self-test", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let report = report(&output);
    let controls = report["controls"].as_array().expect("controls");
    assert!(controls.iter().all(|control| control["caught"] == true), "{report}");
    let names: Vec<&str> = controls.iter().filter_map(|control| control["name"].as_str()).collect();
    assert_eq!(
        names,
        [
            "the orders' journal loses its acknowledged tail, as a power failure takes it from a platform that answers before fsync",
            "the same loss, seen by who asks again with his key",
            "one digit of an acknowledgement is altered",
            "one unit more is put on sale than is claimed",
            "units are taken from the stock without an order",
            // The variants of the code itself: acknowledge before fsync, no nonce, no fence, no high-water mark.
            "an order is acknowledged before it is on the disk",
            "units are held in the order's name, not in the attempt's",
            "units are given back while their order may still be written",
            "a reader of the feed does not know what it has taken already",
            "a buyer without an answer is taken for a refused one",
            "one order is handed to two buyers",
            "the stock is below zero for a moment",
            "a counter is off by one",
            "the platform's own check is not clean",
            "the storage that was checked has no orders",
            "a role is killed when nobody waits any more",
            "a role ends by itself and is started again",
            "a buyer is refused while a unit is left",
            "a second 201 has one byte changed",
            "a key makes a second order",
            "another body under the same key is taken",
        ],
        "each defect is tried"
    );
    for control in &controls[5..9] {
        let said = control["said"].as_str().expect("words");
        assert!(said.starts_with("simulation, seed "), "{said}");
    }
}

/// Damages the journal under a platform that runs: what is acknowledged cannot be read back when the role is started again.
fn damage_journal(data: &Path) {
    use std::os::unix::fs::FileExt;
    let segment = data.join("orders/journal/00000000000000000001.seg");
    let file = fs::OpenOptions::new().write(true).open(segment).expect("the journal's first file");
    for at in (4096..64 << 10).step_by(256) {
        file.write_all_at(b"damaged", at).expect("it can be written");
    }
}

#[test]
fn a_role_that_does_not_come_back_refutes_and_what_it_left_is_kept() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let arguments = ["durability", "--kills", "200", "--rate", "300", "--json", "--seed", "3"];
    let mut child = command(temporary.path(), &arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let homes = || -> Vec<_> {
        fs::read_dir(temporary.path()).expect("it can be read").flatten().map(|entry| entry.path()).collect()
    };
    let acked =
        || homes().iter().any(|home| fs::metadata(home.join("acks.jsonl")).is_ok_and(|acks| acks.len() > 60_000));
    eventually_within(Duration::from_secs(60), "orders are acknowledged", acked);
    damage_journal(&homes()[0].join("data"));
    eventually_within(Duration::from_secs(180), "the proof ends", || matches!(child.try_wait(), Ok(Some(_))));
    let output = child.wait_with_output().expect("it has ended");
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let report = report(&output);
    assert_eq!(report["verdict"], "refuted");
    let check = &report["proofs"][0]["parts"][0]["checks"][0];
    assert_eq!(
        (&check["claim"], &check["holds"]),
        (&"the platform comes back, whatever is killed".into(), &false.into())
    );
    let seen = check["seen"].as_str().expect("words");
    assert!(seen.contains("orders") && seen.contains("corrupt journal file"), "its own last words: {seen}");

    // Nothing runs any more; the evidence is there, and its place is told.
    assert_eq!(processes_of(temporary.path()), Vec::<String>::new());
    let kept = homes().pop().expect("the directory is kept");
    assert!(said(&output).contains(&format!("kept {}", kept.display())), "{}", said(&output));
    for evidence in ["acks.jsonl", "data/log/orders.log", "data/orders/journal/00000000000000000001.seg"] {
        assert!(kept.join(evidence).exists(), "{evidence}");
    }
}

#[test]
fn a_refuted_proof_is_not_lost_when_a_later_one_cannot_be_carried_through() {
    // As `all` does it: the first proof is refuted because nothing is on sale, and the next has nowhere to ask.
    let mut platform = Platform::demo();
    assert!(platform.run(&["stock", "set", "PROD002", "0"]).status.success());
    let (url, ca) = (platform.url(), platform.data().join("ca.pem").display().to_string());
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let arguments =
        ["all", "--product", "PROD002", "--units", "5", "--buyers", "12", "--url", &url, "--ca", &ca, "--json"];
    let mut child = command(temporary.path(), &arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let stderr = child.stderr.take().expect("standard error is piped");
    let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.starts_with("replay: ")), "the second proof begins");
    let _ = platform.stop();
    terminate(child.id());
    let rest: Vec<String> = lines.collect();
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(1), "{rest:?} {}", said(&output));
    let report = report(&output);
    assert_eq!((&report["verdict"], &report["proofs"][0]["name"]), (&"refuted".into(), &"oversell".into()));
    assert!(rest.iter().any(|line| line.starts_with("error:")), "why the rest was not decided: {rest:?}");
}

#[test]
fn a_running_platform_is_proven_as_far_as_that_goes_from_outside() {
    let platform = Platform::demo();
    assert!(platform.run(&["stock", "set", "PROD002", "5"]).status.success());
    let (url, ca) = (platform.url(), platform.data().join("ca.pem").display().to_string());
    let there = ["--url", &url, "--ca", &ca, "--json"];
    let prove = |arguments: &[&str]| prove(&[arguments, &there].concat());

    let replay = prove(&["replay", "--clients", "5"]);
    assert_eq!(replay.status.code(), Some(0), "{}", said(&replay));
    let durability = prove(&["durability", "--rate", "100", "--duration", "1s"]);
    assert_eq!(durability.status.code(), Some(0), "{}", said(&durability));
    let gaps = report(&durability)["proofs"][0]["not_shown"].to_string();
    assert!(gaps.contains("nothing can be killed"), "{gaps}");

    let sold_out = prove(&["oversell", "--product", "PROD002", "--units", "5", "--buyers", "12"]);
    assert_eq!(sold_out.status.code(), Some(0), "{}", said(&sold_out));
    // None is left: that five are sold again does not hold.
    let refuted = prove(&["oversell", "--product", "PROD002", "--units", "5", "--buyers", "12"]);
    assert_eq!(refuted.status.code(), Some(1), "{}", said(&refuted));
    assert_eq!(report(&refuted)["verdict"], "refuted");
}

#[test]
fn what_cannot_be_proven_is_refused_before_anything_runs() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let nowhere = home.path().join("none/proof.html").display().to_string();
    let ca = home.path().join("ca.pem").display().to_string();
    for (arguments, words) in [
        (&["oversell", "--units", "0"][..], "--units 0"),
        (&["oversell", "--buyers", "0"], "nobody would be refused"),
        (&["oversell", "--buyers", "5000"], "at most 1000"),
        (&["replay", "--clients", "1"], "--clients 1"),
        (&["durability", "--kills", "0"], "--kills 0"),
        (&["durability", "--kills", "1000000"], "1 to 10000"),
        (&["durability", "--rate", "fast"], "--rate"),
        (&["all", "--kills", "99999"], "1 to 10000"),
        (&["replay", "--url", "https://localhost:1"], "--ca"),
        (&["replay", "--ca", &ca], "--url"),
        (&["oversell", "--url", "https://localhost:1", "--ca", &ca], "--product"),
        (&["oversell", "--url", "https://localhost:1", "--ca", &ca, "--product", "PROD001"], "--units"),
        (&["replay", "--url", "https://localhost:1", "--ca", &ca], "ca.pem"),
        (&["durability", "--product", "NOPE"], "NOPE"),
        (&["oversell", "--product", "NOPE"], "NOPE"),
        (&["all", "--report", &nowhere], "none/proof.html"),
        (&[], "no proof was named"),
    ] {
        let output = prove(arguments);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
        assert!(said.contains("help:"), "{arguments:?} names no way out: {said}");
    }
}

/// Starts a proof and waits until it has killed a role, or is about to.
fn in_the_middle(temporary: &Path) -> Child {
    let arguments = ["durability", "--kills", "1000", "--rate", "100"];
    let mut child =
        command(temporary, &arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let stderr = child.stderr.take().expect("standard error is piped");
    let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
    let found = lines.any(|line| line.starts_with("kill "));
    assert!(found, "the proof ended before its first kill");
    child
}

#[test]
fn a_proof_that_is_stopped_leaves_neither_processes_nor_directories() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let mut child = in_the_middle(temporary.path());
    assert!(!processes_of(temporary.path()).is_empty(), "a platform runs");
    terminate(child.id());
    eventually_within(Duration::from_secs(20), "the proof ends", || matches!(child.try_wait(), Ok(Some(_))));
    assert_eq!(child.wait().expect("it has ended").code(), Some(3));
    assert_nothing_left(temporary.path());
}

#[test]
fn a_proof_that_is_killed_leaves_no_process() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let mut child = in_the_middle(temporary.path());
    kill(child.id());
    child.wait().expect("it has ended");
    eventually_within(Duration::from_secs(20), "its platform stops", || processes_of(temporary.path()).is_empty());
}
