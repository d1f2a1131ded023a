//! `zizon fsck`.

use std::{
    io::{IsTerminal, Write},
    path::Path,
    process::ExitCode,
    sync::mpsc::sync_channel,
    thread,
    time::Duration,
};

use anyhow::Result;
use http::Method;
use serde::Serialize;
use zizon_base::role::Role;
use zizon_contracts::{
    fsck::{CheckStatus, StockReport, StoreFinding},
    paths::Paths,
};
use zizon_orders::background::audit::audit_items;
use zizon_table::{FsckError, FsckHooks, FsckOptions, FsckProgress, FsckReport, Item, fsck};

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

/// How often a running check is asked how far it is.
const ASK_EVERY: Duration = Duration::from_millis(200);

const PATH: &str = "/internal/v1/fsck";

/// What was found, for people and for machines.
#[derive(Debug, Serialize)]
struct Report {
    ok: bool,
    stores: Vec<StoreFinding>,
}

/// Checks everything; exit code 0 only if all agrees.
pub fn run(options: &cli::Fsck) -> Result<ExitCode> {
    let stores = if options.online { online(options)? } else { offline(options)? };
    let report = Report { ok: stores.iter().all(|store| store.ok), stores };
    if options.local.json {
        output::json(&report)?;
    } else {
        report.stores.iter().for_each(print);
    }
    Ok(ExitCode::from(if report.ok { 0 } else { exit::NO }))
}

fn online(options: &cli::Fsck) -> Result<Vec<StoreFinding>> {
    block_on(async {
        let operator = Operator::connect(&options.local.data).await?;
        let mut findings = Vec::new();
        for role in STORES {
            let finding = check_running(&operator, role).await;
            clear_progress();
            findings.push(finding?);
        }
        Ok(findings)
    })
}

/// The role checks beside its work; this asks until it has come to an end.
async fn check_running(operator: &Operator, role: Role) -> Result<StoreFinding> {
    let mut status: CheckStatus = operator.call(role, Method::POST, PATH, NOTHING).await?;
    loop {
        match status {
            CheckStatus::Done { finding } => return Ok(finding),
            CheckStatus::Running { step, done, of } => show_progress(role, &step, done, of),
            CheckStatus::Failed { reason } => {
                let message = format!("{role} could not check its storage: {reason}");
                return Err(
                    Failure::unknown(message, "the role's log says more; there must be room on its disk").into()
                );
            }
            CheckStatus::Idle => {
                let message = format!("{role} was started anew while it checked");
                return Err(Failure::unknown(message, "check again").into());
            }
        }
        tokio::time::sleep(ASK_EVERY).await;
        status = operator.call(role, Method::GET, PATH, NOTHING).await?;
    }
}

fn offline(options: &cli::Fsck) -> Result<Vec<StoreFinding>> {
    let paths = local::paths_of(&options.local.data)?;
    if let Some(holder) = lock::holder(&paths.lock_file())? {
        let message = format!("a platform is running on {} {holder}", paths.data().display());
        return Err(Failure::refused(message, "stop it first, or check a snapshot with --online").into());
    }
    STORES.into_iter().map(|role| check(role, &paths)).collect()
}

/// Checks the table of a role that does not run.
pub fn check(role: Role, paths: &Paths) -> Result<StoreFinding> {
    let directory = paths.role(role.name());
    let failed = |error: FsckError| refused(role, &directory, &error);
    if role == Role::Catalog {
        let report = check_table(role, &directory, &mut |_| {}).map_err(failed)?;
        return Ok(zizon_catalog::finding(&report));
    }
    let (report, stock) = check_with_stock(&directory)?;
    let report = report.map_err(failed)?;
    let stock = report.all_read().then(|| stock.map(|stock| StockReport { seq: report.last_seq, ..stock }));
    Ok(zizon_orders::background::fsck::finding(&report, stock))
}

fn check_table(role: Role, directory: &Path, visit: &mut dyn FnMut(&Item)) -> Result<FsckReport, FsckError> {
    let mut progress = |at: FsckProgress| show_progress(role, &at.step.to_string(), at.done, at.of);
    let report = fsck(directory, &FsckOptions::default(), &mut FsckHooks { progress: &mut progress, visit });
    clear_progress();
    report
}

type Audited = Result<StockReport, String>;

/// The table's check hands every item to the audit of the stock, which adds up orders on a thread of its own.
fn check_with_stock(directory: &Path) -> Result<(Result<FsckReport, FsckError>, Audited)> {
    thread::scope(|scope| {
        let (items, audited) = sync_channel::<Item>(ITEMS_WAITING);
        let audit = scope.spawn(move || audit_items(audited));
        let report = check_table(Role::Orders, directory, &mut |item| {
            // The audit goes away early only when it has failed, which its result says.
            let _ = items.send(item.clone());
        });
        drop(items);
        let audit = audit.join().map_err(|_| anyhow::anyhow!("the audit of the stock ended early"))?;
        Ok((report, audit.map_err(|error| error.to_string())))
    })
}

fn refused(role: Role, dir: &Path, error: &FsckError) -> Failure {
    let remedy = match error {
        FsckError::Locked { .. } => "stop that process first, or check a snapshot with --online",
        FsckError::NoTable(_) => "name the data directory of a platform with --data",
        FsckError::Scratch(_) => "the check needs room for a second index; free some space",
        _ => "the message names the file; a backup of the journal restores it",
    };
    Failure::unknown(format!("{role} in {}: {error}", dir.display()), remedy)
}

fn show_progress(role: Role, step: &str, done: u64, of: u64) {
    let mut out = std::io::stderr().lock();
    if !out.is_terminal() {
        return;
    }
    let percent = (done * 100).checked_div(of).map_or_else(String::new, |done| format!(" {done} %"));
    // Progress that cannot be shown is no reason to stop.
    let _ = write!(out, "\r\x1b[2K{role}: {step}{percent}").and_then(|()| out.flush());
}

fn clear_progress() {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[2K");
    }
}

/// Shows what was found.
pub fn print(store: &StoreFinding) {
    let role = output::paint(&format!("{:<7}", store.role), Style::Bold);
    match &store.first_difference {
        Some(difference) => output::line(&format!("{role}  {}", output::paint(difference, Style::Red))),
        None => output::line(&format!(
            "{role}  {}  {} plans, {} items, journal and index agree",
            output::paint("ok", Style::Green),
            store.plans,
            store.items
        )),
    }
    match &store.stock {
        Some(stock) => print_stock(stock),
        None if store.role == Role::Orders.name() => {
            output::line("stock    not checked: what it follows from could not be read whole");
        }
        None => {}
    }
}

fn print_stock(stock: &StockReport) {
    let verdict = if stock.ok {
        output::paint("the equation closes", Style::Green)
    } else {
        output::paint("the equation does not close", Style::Red)
    };
    output::line(&format!(
        "stock    {verdict}  products: {}, orders: {}, changes of state: {}",
        stock.products, stock.orders, stock.facts
    ));
    for difference in &stock.differences {
        output::line(&format!("  {difference}"));
    }
}
