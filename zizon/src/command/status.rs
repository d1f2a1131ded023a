//! `zizon status`.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::json;
use zizon_contracts::supervisor::{RoleState, StatusReport};

use super::local;
use crate::{
    cli::Local,
    exit,
    output::{self, Style, Table},
};

/// Shows how every role is; exit code 1 when something is not ready.
pub fn run(options: &Local) -> Result<ExitCode> {
    let report = local::block_on(async {
        let paths = local::paths_of(&options.data)?;
        local::report(&paths).await
    });
    let report = match report {
        Ok(report) => report,
        Err(error) if options.json => {
            output::json(&json!({ "ready": false, "roles": [], "error": error.to_string() }))?;
            return Ok(exit::code_of(&error));
        }
        Err(error) => return Err(error),
    };
    if options.json {
        output::json(&report)?;
    } else {
        print(&report);
    }
    Ok(ExitCode::from(if report.ready { 0 } else { exit::NO }))
}

fn print(report: &StatusReport) {
    let mut table =
        Table::new(&["role", "state", "pid", "uptime", "restarts", "svid left", "address", "spiffe id"], &[2, 3, 4, 5]);
    for role in &report.roles {
        let svid = role.svid_seconds_left.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds} s"));
        table.row(vec![
            (role.role.clone(), Some(Style::Bold)),
            (state_name(role.state).to_owned(), Some(state_style(role.state))),
            (role.pid.to_string(), None),
            (uptime(role.uptime_s), None),
            (role.restarts.to_string(), (role.restarts > 0).then_some(Style::Yellow)),
            (svid, None),
            (role.address.clone(), None),
            (role.spiffe_id.clone(), Some(Style::Dim)),
        ]);
    }
    output::line(table.render().trim_end());
    output::line("");
    if report.ready {
        output::line(&format!("{} at {}", output::paint("ready", Style::Green), report.url));
    } else {
        output::line(&output::paint("not ready", Style::Red));
        for detail in &report.detail {
            output::line(&format!("  {detail}"));
        }
    }
}

/// The word for a state.
pub const fn state_name(state: RoleState) -> &'static str {
    match state {
        RoleState::Starting => "starting",
        RoleState::Ready => "ready",
        RoleState::NotReady => "not ready",
        RoleState::Restarting => "restarting",
        RoleState::Draining => "draining",
        RoleState::Stopped => "stopped",
    }
}

const fn state_style(state: RoleState) -> Style {
    match state {
        RoleState::Ready => Style::Green,
        RoleState::Starting | RoleState::Draining => Style::Yellow,
        RoleState::NotReady | RoleState::Restarting | RoleState::Stopped => Style::Red,
    }
}

fn uptime(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}
