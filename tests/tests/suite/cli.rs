//! What the command line says.

use zizon_tests::platform::zizon;

fn help(arguments: &[&str]) -> String {
    let output = zizon(arguments);
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).expect("help is text")
}

#[test]
fn every_command_explains_itself_with_examples() {
    let pages: String = [
        &["--help"][..],
        &["up", "--help"],
        &["run", "--help"],
        &["status", "--help"],
        &["product", "--help"],
        &["product", "ls", "--help"],
        &["product", "show", "--help"],
        &["product", "put", "--help"],
        &["stock", "--help"],
        &["stock", "show", "--help"],
        &["stock", "set", "--help"],
        &["stock", "put", "--help"],
        &["stock", "shard", "--help"],
        &["order", "--help"],
        &["order", "show", "--help"],
        &["order", "ls", "--help"],
        &["order", "cancel", "--help"],
        &["load", "--help"],
        &["load", "orders", "--help"],
        &["verify", "--help"],
        &["fsck", "--help"],
        &["backup", "--help"],
        &["restore", "--help"],
        &["prove", "--help"],
        &["prove", "oversell", "--help"],
        &["prove", "replay", "--help"],
        &["prove", "durability", "--help"],
        &["prove", "all", "--help"],
        &["completions", "--help"],
    ]
    .iter()
    .map(|arguments| format!("$ zizon {}\n{}\n", arguments.join(" "), help(arguments)))
    .collect();
    insta::assert_snapshot!("help", pages);
}

#[test]
fn errors_say_what_and_what_to_do() {
    let empty = tempfile::tempdir().expect("a temporary directory");
    let data = empty.path().display().to_string();
    let mut said = String::new();
    for arguments in [
        &["status", "--data", &data][..],
        &["status", "--data", "/nonexistent"],
        &["stock", "show", "a b"],
        &["stock", "set", "PROD001", "-1"],
        &["order", "show", "ord_nope"],
        &["load", "orders", "--duration", "5"],
        &["run", "nobody"],
        &["up", "--listen", "nowhere"],
        &["frobnicate"],
    ] {
        let output = zizon(arguments);
        let shown: Vec<_> = arguments.iter().map(|word| word.replace(&data, "DIR")).collect();
        let text = String::from_utf8_lossy(&output.stderr).replace(&data, "DIR");
        said.push_str(&format!("$ zizon {}\n{text}exit {}\n\n", shown.join(" "), output.status.code().unwrap_or(-1)));
    }
    insta::assert_snapshot!("errors", said);
}

#[test]
fn a_shell_can_complete_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = help(&["completions", shell]);
        for command in
            ["up", "status", "product", "stock", "order", "load", "verify", "fsck", "backup", "restore", "prove"]
        {
            assert!(script.contains(command), "{shell} knows no {command}");
        }
    }
}

#[test]
fn json_is_one_document_even_when_nothing_runs() {
    let output = zizon(&["status", "--json", "--data", "/nonexistent"]);
    assert_eq!(output.status.code(), Some(3));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    assert_eq!(document["ready"], false);
}

#[test]
fn an_error_asked_for_in_json_is_one_json_document() {
    for arguments in [
        &["stock", "show", "PROD001", "--json", "--data", "/nonexistent"][..],
        &["fsck", "--json", "--data", "/nonexistent"],
        &["backup", "/nonexistent/b", "--json", "--data", "/nonexistent"],
        &["restore", "/nonexistent", "--json", "--check"],
        &["stock", "set", "PROD001", "-1", "--json"],
        &["verify", "--acks", "/nonexistent", "--url", "https://localhost:1", "--ca", "/nonexistent", "--json"],
    ] {
        let output = zizon(arguments);
        assert!(!output.status.success(), "{arguments:?}");
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
        assert!(document["error"].is_string(), "{arguments:?}: {document}");
    }
}
