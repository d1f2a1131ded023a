//! The generator and the verifier against the real platform.

use std::fs;

use zizon_tests::Platform;

#[test]
fn a_fixed_key_makes_one_order_and_every_replay_is_verified() {
    let platform = Platform::demo();
    let acks = platform.data().join("acks.jsonl").display().to_string();
    let load = ["load", "orders", "--rate", "200", "--duration", "1s", "--keys", "fixed", "--acks", &acks];
    let report = platform.json(&load);
    assert_eq!(
        (&report["created"], &report["replayed"], &report["errors"]),
        (&1.into(), &199.into(), &0.into()),
        "{report}"
    );
    assert_eq!(platform.json(&["stock", "show", "PROD001"])["held"], 1);
    let verified = platform.json(&["verify", "--acks", &acks]);
    assert_eq!((&verified["checked"], &verified["repeated"]), (&1.into(), &199.into()), "{verified}");
    assert!(verified["error"].is_null(), "{verified}");
}

#[test]
fn verify_lists_bad_lines_and_takes_nothing_for_no_success() {
    let platform = Platform::demo();
    let acks = platform.data().join("acks.jsonl").display().to_string();
    let report = platform.json(&["load", "orders", "--rate", "100", "--duration", "200ms", "--acks", &acks]);
    assert_eq!(report["acked"], 20, "{report}");

    let whole = fs::read_to_string(&acks).expect("the acknowledgements");
    fs::write(&acks, format!("nonsense\n{whole}")).expect("a line is added");
    let verified = platform.json(&["verify", "--acks", &acks]);
    assert_eq!((&verified["checked"], &verified["bad_lines_total"]), (&20.into(), &1.into()), "{verified}");
    assert!(verified["bad_lines"][0].as_str().is_some_and(|line| line.contains("acks.jsonl:1: ")), "{verified}");
    assert!(verified["error"].is_string() && verified["help"].is_string(), "{verified}");
    let output = platform.run(&["verify", "--acks", &acks]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("acks.jsonl:1: ") && said.contains("20 orders checked"), "{said}");

    fs::write(&acks, "").expect("the file is emptied");
    let output = platform.run(&["verify", "--acks", &acks]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("nothing to check"));
    let verified = platform.json(&["verify", "--acks", &acks]);
    assert!(verified["error"].as_str().is_some_and(|error| error.contains("nothing to check")), "{verified}");
}

#[test]
fn what_cannot_be_done_is_said_with_its_place_a_remedy_and_an_exit_code() {
    let platform = Platform::demo();
    let cases: &[(&[&str], i32, &str)] = &[
        (&["verify", "--acks", "/nonexistent"], 2, "/nonexistent"),
        (&["verify", "--acks", "/"], 2, "/"),
        (&["load", "orders", "--acks", "/nonexistent/acks"], 2, "/nonexistent/acks"),
        (&["load", "orders", "--ca", "/nonexistent"], 2, "/nonexistent"),
        (&["load", "orders", "--url", "http://localhost:1"], 2, "http://localhost:1"),
        (&["load", "orders", "--product", "NOPE"], 2, "NOPE"),
        (&["load", "orders", "--url", "https://localhost:1"], 3, "localhost:1"),
        (&["load", "orders", "--url", "https://nowhere.invalid:1"], 3, "nowhere.invalid:1"),
    ];
    for (arguments, code, named) in cases {
        let mut all = arguments.to_vec();
        all.push("--json");
        let output = platform.run(&all);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(*code), "{arguments:?}: {said}");
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
        assert!(document["error"].as_str().is_some_and(|error| error.contains(named)), "{document}");
        assert!(document["help"].is_string(), "{document}");
    }
}
