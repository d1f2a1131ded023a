//! A configuration that is not right refuses to start, and says where and what to do.

use std::fs;

use zizon_tests::platform::zizon;

fn refusal(config: &str) -> String {
    let home = tempfile::tempdir().expect("a temporary directory");
    let file = home.path().join("zizon.toml");
    fs::write(&file, config).expect("the configuration is written");
    let data = home.path().join("data").display().to_string();
    let output =
        zizon(&["up", "--demo", "--listen", "127.0.0.1:0", "--data", &data, "--config", &file.display().to_string()]);
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn an_unknown_key_is_refused_with_file_and_line() {
    let said = refusal("[orders]\n\nguest_chekout = true\n");
    assert!(said.contains("zizon.toml, line 3") && said.contains("guest_chekout") && said.contains("help:"), "{said}");
}

#[test]
fn a_bad_value_is_refused_with_file_and_line() {
    let said = refusal("[platform]\nlog_level = \"loud\"\n");
    assert!(said.contains("zizon.toml, line 2") && said.contains("help:"), "{said}");
    let said = refusal("[orders]\nreservation_ttl_seconds = 0\n");
    assert!(said.contains("zizon.toml, line 2") && said.contains("reservation_ttl_seconds"), "{said}");
}

#[test]
fn text_that_is_not_toml_is_refused_with_its_line() {
    let said = refusal("[platform]\nlog_level = \n");
    assert!(said.contains("zizon.toml, line 2"), "{said}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let output = zizon(&["up", "--config", "/nonexistent/zizon.toml"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains("/nonexistent/zizon.toml") && said.contains("help:"), "{said}");
}

#[test]
fn a_policy_that_is_not_right_is_refused_with_its_line() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let policy = home.path().join("authz.yaml");
    fs::write(&policy, "version: 1\ntrust_domain: zizon.local\nservises: {}\n").expect("the policy is written");
    let said = refusal(&format!("[platform]\nauthz_file = \"{}\"\n", policy.display()));
    assert!(said.contains("authz.yaml") && said.contains("servises"), "{said}");
}

#[test]
fn the_reference_lists_what_the_binary_takes() {
    let output = zizon(&["docs", "configuration"]);
    let printed = String::from_utf8_lossy(&output.stdout);
    let committed = include_str!("../../../docs/configuration.md");
    assert_eq!(printed.trim_end(), committed.trim_end(), "cargo xtask docs writes docs/configuration.md");
}
