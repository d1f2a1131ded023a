//! `zizon fsck`.

use std::{
    io::{IsTerminal, Write},
    path::Path,
    process::ExitCode,
    sync::mpsc::sync_channel,
    thread,
};

use anyhow::Result;
use http::Method;
use serde::Serialize;
use serde_json::{Value, json};
use zizon_base::role::Role;
use zizon_contracts::paths::Paths;
use zizon_orders::background::audit::{AuditReport, audit_items};
use zizon_table::{FsckError, FsckHooks, FsckOptions, FsckProgress, FsckReport, FsckStep, Item, fsck};

use super::{
    local::{self, block_on},
    operator::{NOTHING, Operator},
};
use crate::{
    cli,
    exit::{self, Failure},
    output::{self, Style},
    up::lock,
};

/// Roles with a table of their own.
const STORES: [Role; 2] = [Role::Catalog, Role::Orders];

/// Items on their way to the audit.
const ITEMS_WAITING: usize = 1024;

/// What was found in one role's table.
#[derive(Debug, Serialize)]
struct Finding {
    role: &'static str,
    ok: bool,
    plans: u64,
    items: u64,
    truncated_bytes: u64,
    /// The first thing that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_difference: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stock: Option<AuditReport>,
}

/// Checks everything; exit code 0 only if all agrees.
pub fn run(options: &cli::Fsck) -> Result<ExitCode> {
    let report = if options.online { online(options)? } else { offline(options)? };
    if options.local.json {
        output::json(&report)?;
    } else {
        print(&report);
    }
    let ok = report.get("ok").and_then(Value::as_bool).unwrap_or(false);
    Ok(ExitCode::from(if ok { 0 } else { exit::NO }))
}

fn online(options: &cli::Fsck) -> Result<Value> {
    block_on(async {
        let operator = Operator::connect(&options.local.data).await?;
        operator.call(Role::Orders, Method::POST, "/internal/v1/fsck", NOTHING).await
    })
}

fn offline(options: &cli::Fsck) -> Result<Value> {
    let paths = local::paths_of(&options.local.data)?;
    if let Some(pid) = lock::holder(&paths.lock_file()) {
        let message = format!("a platform is running on {} as pid {pid}", paths.data().display());
        return Err(Failure::refused(message, "stop it first, or check a snapshot with --online").into());
    }
    let mut findings = Vec::new();
    for role in STORES {
        findings.push(check(role, &paths)?);
    }
    let ok = findings.iter().all(|finding| finding.ok);
    Ok(json!({ "ok": ok, "stores": findings }))
}

fn check(role: Role, paths: &Paths) -> Result<Finding> {
    let directory = paths.role(role.name());
    let (report, stock) = if role == Role::Orders {
        let (report, stock) = check_with_stock(&directory)?;
        (report, Some(stock))
    } else {
        (check_table(role, &directory, &mut |_| {}), None)
    };
    let report = report.map_err(|error| refused(role, &directory, &error))?;
    let first_difference = first_difference(&report, stock.as_ref());
    Ok(Finding {
        role: role.name(),
        ok: first_difference.is_none(),
        plans: report.plans,
        items: report.items,
        truncated_bytes: report.truncated_bytes,
        first_difference,
        stock,
    })
}

fn check_table(role: Role, directory: &Path, visit: &mut dyn FnMut(&Item)) -> Result<FsckReport, FsckError> {
    let mut progress = |progress: FsckProgress| show_progress(role, progress);
    let report = fsck(directory, &FsckOptions::default(), &mut FsckHooks { progress: &mut progress, visit });
    clear_progress();
    report
}

/// The table's check hands every item to the audit of the stock, which adds up orders on a thread of its own.
fn check_with_stock(directory: &Path) -> Result<(Result<FsckReport, FsckError>, AuditReport)> {
    thread::scope(|scope| {
        let (items, audited) = sync_channel::<Item>(ITEMS_WAITING);
        let audit = scope.spawn(move || audit_items(audited));
        let report = check_table(Role::Orders, directory, &mut |item| {
            // The audit goes away early only when it has failed, which its result says.
            let _ = items.send(item.clone());
        });
        drop(items);
        let audit = audit.join().map_err(|_| anyhow::anyhow!("the audit of the stock ended early"))?;
        Ok((report, audit?))
    })
}

fn first_difference(report: &FsckReport, stock: Option<&AuditReport>) -> Option<String> {
    let damage = report.journal_damage.as_ref().map(|damage| format!("journal: {damage}"));
    let damage = damage.or_else(|| report.index_damage.as_ref().map(|damage| format!("index: {damage}")));
    let damage = damage.or_else(|| report.differences.first().map(ToString::to_string));
    damage.or_else(|| stock.and_then(|stock| stock.differences.first().cloned()))
}

fn refused(role: Role, dir: &Path, error: &FsckError) -> Failure {
    let remedy = match error {
        FsckError::Locked { .. } => "stop that process first, or check a snapshot with --online",
        FsckError::NoTable(_) => "name the data directory of a platform with --data",
        _ => "the message names the file; a backup of the journal restores it",
    };
    Failure::unknown(format!("{role} in {}: {error}", dir.display()), remedy)
}

fn show_progress(role: Role, progress: FsckProgress) {
    let mut out = std::io::stderr().lock();
    if !out.is_terminal() {
        return;
    }
    let step = match progress.step {
        FsckStep::Verify => "verifying the journal",
        FsckStep::Rebuild => "rebuilding the state",
        FsckStep::Compare => "comparing with the index",
    };
    let percent = (progress.done * 100).checked_div(progress.of).map_or_else(String::new, |done| format!(" {done} %"));
    // Progress that cannot be shown is no reason to stop.
    let _ = write!(out, "\r\x1b[2K{role}: {step}{percent}").and_then(|()| out.flush());
}

fn clear_progress() {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[2K");
    }
}

fn print(report: &Value) {
    for store in report["stores"].as_array().into_iter().flatten() {
        let text = |name: &str| store[name].to_string();
        let role = store["role"].as_str().unwrap_or_default();
        match store["first_difference"].as_str() {
            Some(difference) => {
                output::line(&format!(
                    "{}  {}",
                    output::paint(role, Style::Bold),
                    output::paint(difference, Style::Red)
                ));
            }
            None => output::line(&format!(
                "{}  {}  {} plans, {} items, journal and index agree",
                output::paint(role, Style::Bold),
                output::paint("ok", Style::Green),
                text("plans"),
                text("items")
            )),
        }
        if let Some(stock) = store.get("stock").filter(|stock| stock.is_object()) {
            print_stock(stock);
        }
    }
    if report["stores"].is_null() {
        print_stock(report);
    }
}

fn print_stock(stock: &Value) {
    let verdict = if stock["ok"] == true {
        output::paint("the equation closes", Style::Green)
    } else {
        output::paint("the equation does not close", Style::Red)
    };
    output::line(&format!(
        "stock   {verdict}  {} products, {} orders, {} changes of state",
        stock["products"], stock["orders"], stock["facts"]
    ));
    for difference in stock["differences"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        output::line(&format!("  {difference}"));
    }
}
