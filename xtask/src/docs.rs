//! `cargo xtask docs`: pages that are generated from the code, so that they cannot drift from it.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::{bench::Platform, shell};

/// Files and the arguments of `zizon` that print them.
const PAGES: &[(&str, &[&str])] = &[
    ("docs/configuration.md", &["docs", "configuration"]),
    ("docs/cli.md", &["docs", "cli"]),
    ("docs/openapi.json", &["docs", "openapi"]),
];

/// Writes the pages, or with `check` compares them.
pub fn run(check: bool) -> Result<()> {
    shell::run("cargo", &["build", "--release", "--package", "zizon"])?;
    let mut pages = Vec::new();
    for (page, arguments) in PAGES {
        let text = shell::output(&shell::zizon().to_string_lossy(), arguments)
            .with_context(|| format!("zizon {} failed", arguments.join(" ")))?;
        pages.push((*page, text));
    }
    pages.push(("docs/metrics.md", metrics()?));
    let mut stale = Vec::new();
    for (page, text) in pages {
        let path = shell::root().join(page);
        let same = fs::read_to_string(&path).is_ok_and(|current| current == text);
        if same {
            continue;
        }
        if check {
            stale.push(page);
        } else {
            fs::write(&path, text)?;
            println!("wrote {page}");
        }
    }
    if stale.is_empty() {
        return Ok(());
    }
    bail!("not what the code says: {}; run cargo xtask docs and review the difference", stale.join(", "))
}

/// docs/metrics.md: what a running platform says it can export.
fn metrics() -> Result<String> {
    let table = Platform::start("docs")?.metrics("/catalogue")?;
    Ok(format!(
        "# Metrics\n\nEvery metric of every role, in the Prometheus text format at `run/metrics.sock` with a `role` label. \
         Base units: seconds, bytes.\nThis page is generated: `cargo xtask docs`.\n\n{table}"
    ))
}
