//! The house's rules, checked against the manifests and sources: arrows only go down.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::shell;

/// Floors from top to bottom; a crate may use its own floor only where `same_floor` says so, and any floor below.
const FLOORS: &[(&str, u8)] = &[
    ("xtask", 9),
    ("zizon-tests", 9),
    ("zizon", 8),
    ("zizon-prove", 7),
    ("zizon-load", 6),
    ("zizon-sim", 6),
    ("zizon-edge", 5),
    ("zizon-catalog", 5),
    ("zizon-orders", 5),
    ("zizon-identity", 5),
    ("zizon-service", 4),
    ("zizon-mtls", 3),
    ("zizon-table", 3),
    ("zizon-journal", 2),
    ("zizon-contracts", 2),
    ("zizon-telemetry", 1),
    ("zizon-base", 0),
];

/// What `platform/base` must never mention: it does no I/O and reads no clock.
const BASE_FORBIDDEN: &[&str] = &[
    "std::fs",
    "std::net",
    "std::io",
    "std::process",
    "std::env",
    "std::thread",
    "SystemTime",
    "Instant::now",
    "tokio",
    "getrandom",
];

/// Words that have no place in a finished source file.
const FORBIDDEN_EVERYWHERE: &[&str] = &[concat!("todo", "!("), concat!("unimplemented", "!("), concat!("#[", "ignore")];

/// Checks floors, the purity of `base`, and forbidden words.
pub fn check() -> Result<()> {
    let mut broken = Vec::new();
    check_floors(&mut broken)?;
    check_sources(&mut broken)?;
    if broken.is_empty() {
        println!("architecture: arrows go down, base does no I/O");
        return Ok(());
    }
    bail!("architecture:\n  {}", broken.join("\n  "))
}

fn check_floors(broken: &mut Vec<String>) -> Result<()> {
    let metadata =
        shell::output("cargo", &["metadata", "--format-version=1", "--no-deps"]).context("cargo metadata failed")?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let floors: BTreeMap<&str, u8> = FLOORS.iter().copied().collect();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(&floor) = floors.get(name) else {
            broken.push(format!("{name} has no floor; give it one in xtask/src/architecture.rs"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let target = dependency["name"].as_str().unwrap_or_default();
            if dependency["kind"].as_str() == Some("dev") {
                continue;
            }
            if let Some(&below) = floors.get(target)
                && below >= floor
            {
                broken.push(format!("{name} (floor {floor}) uses {target} (floor {below})"));
            }
        }
    }
    Ok(())
}

fn check_sources(broken: &mut Vec<String>) -> Result<()> {
    let root = shell::root();
    for room in ["zizon", "roles", "platform", "load", "sim", "prove", "tests", "xtask", "fuzz", "bench"] {
        visit(&root.join(room), &mut |path, text| {
            let shown = path.strip_prefix(&root).unwrap_or(path).display();
            for word in FORBIDDEN_EVERYWHERE.iter() {
                if text.contains(word) {
                    broken.push(format!("{shown} contains {word}"));
                }
            }
            if path.starts_with(root.join("platform/base/src")) {
                for word in BASE_FORBIDDEN {
                    if text.contains(word) {
                        broken.push(format!("{shown} mentions {word}"));
                    }
                }
            }
        })?;
    }
    Ok(())
}

fn visit(directory: &Path, seen: &mut impl FnMut(&Path, &str)) -> Result<()> {
    let Ok(entries) = fs::read_dir(directory) else { return Ok(()) };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("target") {
            visit(&path, seen)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            seen(&path, &fs::read_to_string(&path)?);
        }
    }
    Ok(())
}
