//! What `zizon up` says on the terminal.

use std::{net::SocketAddr, time::Duration};

use zizon_contracts::{paths::Paths, supervisor::StatusReport};

use crate::output::{self, Style, Table};

/// The table of roles and the URLs.
pub fn print_roles(report: &StatusReport, paths: &Paths) {
    let mut table = Table::new(&["role", "spiffe id", "address", "pid"], &[3]);
    for role in &report.roles {
        table.row(vec![
            (role.role.clone(), Some(Style::Bold)),
            (role.spiffe_id.clone(), None),
            (role.address.clone(), None),
            (role.pid.to_string(), None),
        ]);
    }
    output::line(table.render().trim_end());
    output::line("");
    let row = |name: &str, value: &str| {
        output::line(&format!("{}  {value}", output::paint(&format!("{name:<9}"), Style::Dim)));
    };
    row("shop", &report.url);
    row("orders", &format!("{}/api/v1/orders", report.url));
    row("openapi", &format!("{}/openapi.json", report.url));
    row("authority", &report.ca_file);
    row("metrics", &format!("unix:{}", paths.metrics_socket().display()));
    row("logs", &paths.data().join("log").display().to_string());
    output::line("");
}

/// The last line of a start: `ready in 0.8 s`, or why nobody can order.
pub fn print_ready(report: &StatusReport, took: Duration) {
    let seconds = format!("{:.1} s", took.as_secs_f64());
    if report.ready {
        output::line(&format!("{} in {seconds}", output::paint("ready", Style::Green)));
        return;
    }
    output::line(&format!("{} after {seconds}, but not ready:", output::paint("running", Style::Yellow)));
    for detail in &report.detail {
        output::line(&format!("  {detail}"));
    }
}

/// The base URL people type: the first host name, or the address when it listens elsewhere.
pub fn url(listen: SocketAddr, hosts: &[String]) -> String {
    let host = hosts.first().map_or("localhost", String::as_str);
    if listen.port() == 443 { format!("https://{host}") } else { format!("https://{host}:{}", listen.port()) }
}
