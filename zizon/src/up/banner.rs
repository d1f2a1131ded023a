//! What `zizon up` says on the terminal.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use zizon_contracts::{paths::Paths, supervisor::StatusReport};

use super::state::Urls;
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
    row("authority", if report.ca_file.is_empty() { "your own certificate's" } else { &report.ca_file });
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

/// What a start that takes longer is doing.
pub fn print_progress(report: &StatusReport, elapsed: Duration) {
    for detail in &report.detail {
        output::line(&format!("{:>4.0} s  {detail}", elapsed.as_secs_f64()));
    }
}

/// The base URL customers type (the first host name), and one that works on this machine whatever DNS knows.
pub fn urls(listen: SocketAddr, hosts: &[String]) -> Urls {
    let base = |host: &str| match listen.port() {
        443 => format!("https://{host}"),
        port => format!("https://{host}:{port}"),
    };
    let near = match listen.ip() {
        IpAddr::V4(address) if address.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(address) if address.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        address => address,
    };
    let near = SocketAddr::new(near, listen.port()).to_string();
    let near = near.rsplit_once(':').map_or(near.as_str(), |(host, _)| host);
    Urls { public: base(hosts.first().map_or("localhost", String::as_str)), local: base(near) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_of_this_machine_need_no_dns() {
        let of = |listen: &str, hosts: &[String]| {
            let urls = urls(listen.parse().unwrap(), hosts);
            (urls.public, urls.local)
        };
        let shop = ["shop.example".to_owned()];
        assert_eq!(of("0.0.0.0:443", &shop), ("https://shop.example".into(), "https://127.0.0.1".into()));
        assert_eq!(of("[::]:8443", &shop), ("https://shop.example:8443".into(), "https://[::1]:8443".into()));
        assert_eq!(of("10.0.0.5:8443", &[]), ("https://localhost:8443".into(), "https://10.0.0.5:8443".into()));
    }
}
