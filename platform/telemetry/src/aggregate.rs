//! Joins the exports of several processes into one document.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// One family: its `#` lines as the first process wrote them, and the samples of all.
#[derive(Default)]
struct Joined {
    metadata: String,
    samples: String,
}

/// One exposition document out of one per process, each sample with the label `label="<process>"` in
/// front. Lines of a family stay together, as the format demands; `parts` are (label value, document).
#[must_use]
pub fn aggregate(label: &str, parts: &[(&str, &str)]) -> String {
    let mut families: BTreeMap<&str, Joined> = BTreeMap::new();
    for (value, document) in parts {
        let first_seen: Vec<&str> = families.keys().copied().collect();
        let mut current = "";
        for line in document.lines() {
            if line.is_empty() {
                continue;
            }
            if let Some(metadata) = line.strip_prefix("# ") {
                let Some(name) = metadata.split(' ').nth(1) else { continue };
                current = name;
                let family = families.entry(name).or_default();
                if !first_seen.contains(&name) {
                    family.metadata.push_str(line);
                    family.metadata.push('\n');
                }
            } else {
                push_sample(&mut families.entry(current).or_default().samples, line, label, value);
            }
        }
    }
    let mut out = String::new();
    for family in families.values() {
        out.push_str(&family.metadata);
        out.push_str(&family.samples);
    }
    out
}

/// `name{a="b"} 1` or `name 1`, with one label more.
fn push_sample(out: &mut String, line: &str, label: &str, value: &str) {
    let name_end = line.find(['{', ' ']).unwrap_or(line.len());
    let (name, rest) = line.split_at(name_end);
    // Writing to a String cannot fail.
    let _ = match rest.strip_prefix('{') {
        Some(labels) if labels.starts_with('}') => {
            writeln!(out, "{name}{{{label}=\"{value}\"{labels}")
        }
        Some(labels) => writeln!(out, "{name}{{{label}=\"{value}\",{labels}"),
        None => writeln!(out, "{name}{{{label}=\"{value}\"}}{rest}"),
    };
}
