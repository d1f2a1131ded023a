//! The command line. Names are a contract: scripts use them.

mod prove;
mod storage;

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use zizon_base::{
    ids::{OrderId, Sku, UserRef},
    role::Role,
};

pub use self::prove::{DurabilitySizes, OversellSizes, Prove, ProveOutput, ProveTarget, ProveWhat};
pub use self::storage::{Backup, Fsck, Restore};

/// Zero-trust commerce in one binary.
#[derive(Debug, Parser)]
#[command(
    name = "zizon",
    version,
    max_term_width = 100,
    disable_help_subcommand = true,
    after_help = "Start here:\n  zizon up --demo                        the whole platform with a demo shop\n  zizon status                           how every role is\n  zizon load orders --rate 2000          order at a fixed rate\n\nEvery command explains itself: zizon COMMAND --help"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the whole platform on this machine.
    #[command(
        after_help = "Examples:\n  zizon up --demo\n  zizon up --data /srv/zizon --listen 0.0.0.0:8443 --host shop.example.com --config /etc/zizon.toml\n\nCtrl-C or SIGTERM finishes what is in flight and stops within 10 seconds."
    )]
    Up(Up),
    /// Run one role, as production does.
    #[command(
        after_help = "Examples:\n  zizon run orders --data /srv/zizon --listen 10.0.0.5:7443 --peer catalog=10.0.0.6:7443\n\nThe identity comes from the SPIFFE Workload API at SPIFFE_ENDPOINT_SOCKET."
    )]
    Run(Run),
    /// Show how every role is.
    #[command(
        after_help = "Examples:\n  zizon status\n  zizon status --json | jq .ready\n\nExit code 1 when something is not ready, 3 when no platform runs."
    )]
    Status(Local),
    /// Show and change products.
    #[command(
        subcommand,
        after_help = "Examples:\n  zizon product ls\n  zizon product show PROD001 --json > p.json\n  zizon product put p.json"
    )]
    Product(Product),
    /// Show and change stock.
    #[command(
        subcommand,
        after_help = "Examples:\n  zizon stock show PROD001\n  zizon stock set PROD001 500\n  zizon stock shard PROD001 --peak 12500"
    )]
    Stock(Stock),
    /// Show and cancel orders.
    #[command(
        subcommand,
        after_help = "Examples:\n  zizon order ls --user user_42\n  zizon order show ID\n  zizon order cancel ID"
    )]
    Order(Order),
    /// Generate load.
    #[command(
        subcommand,
        after_help = "Examples:\n  zizon load orders --rate 2000 --duration 30s\n  zizon load orders --rate max --keys fixed"
    )]
    Load(Load),
    /// Check that every acknowledged order is there, as acknowledged, once.
    #[command(
        after_help = "Examples:\n  zizon load orders --rate 2000 --duration 30s --acks acks.jsonl\n  zizon verify --acks acks.jsonl\n\nExit codes:\n  0  orders were checked, and all are there, as acknowledged, once\n  1  something is missing, different, double or a bad line, or there is nothing to check\n  2  the file cannot be read\n  3  the platform does not answer"
    )]
    Verify(Verify),
    /// Rebuild state from the journal and compare it with the index.
    #[command(
        after_help = "Examples:\n  zizon fsck --data zizon-data\n  zizon fsck --data zizon-data --online\n\nExit code 0 only if journal, index and the stock equation agree."
    )]
    Fsck(Fsck),
    /// Copy the data directory, while the platform runs or not.
    #[command(
        after_help = "Examples:\n  zizon backup /backup/zizon --data /srv/zizon\n  zizon backup /backup/zizon --data /srv/zizon --json | jq .stores\n\nEvery order acknowledged before it begins is in it. A second backup into the same directory\ncopies only what is new, and until it is complete the one before stays.\n\nThe keys are in it: keep it as secret as the data directory itself."
    )]
    Backup(Backup),
    /// Make a data directory from a backup, and check it.
    #[command(
        after_help = "Examples:\n  zizon restore /backup/zizon --data /srv/zizon-restored\n  zizon restore /backup/zizon --check\n\nNothing that exists is overwritten. Every file is compared with its checksum, the index is\nrebuilt and zizon fsck has to find all in order, or nothing is restored.\n\nExit codes:\n  0  restored (or, with --check, whole)\n  1  the backup is damaged, unfinished or not sound; nothing was restored\n  2  a directory that cannot be used\n  3  the disk, or an interruption"
    )]
    Restore(Restore),
    /// Prove that no unit is sold twice, a key has one answer, and nothing acknowledged is lost.
    #[command(
        after_help = "Examples:\n  zizon prove all --report proof.html\n  zizon prove durability --kills 100 --rate 2000\n  zizon prove replay --url https://shop.example.com --ca ca.pem\n  zizon prove --self-test\n\nA proof starts a platform of its own in a temporary directory and removes it, unless --url names one.\n\nExit codes:\n  0  proven, or every defect of the self-test noticed\n  1  refuted, or a defect went unnoticed\n  2  wrong usage\n  3  it could not be carried through, or was stopped: nothing was decided"
    )]
    Prove(Prove),
    /// Print a completion script for a shell.
    #[command(after_help = "Examples:\n  zizon completions bash > /etc/bash_completion.d/zizon")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print what this binary says about itself, for the files under docs/.
    #[command(hide = true)]
    Docs {
        /// Which.
        document: Document,
    },
}

/// A document this binary can write about itself.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Document {
    /// docs/configuration.md
    Configuration,
    /// docs/cli.md
    Cli,
    /// openapi.json
    Openapi,
}

/// Options of every command that talks to a local platform.
#[derive(Debug, Clone, Args)]
pub struct Local {
    /// The platform's data directory.
    #[arg(long, value_name = "DIR", default_value = "zizon-data")]
    pub data: PathBuf,
    /// Print one JSON document.
    #[arg(long)]
    pub json: bool,
}

/// `zizon up`.
#[derive(Debug, Args)]
pub struct Up {
    /// Seed a demo shop and let guests order.
    #[arg(long)]
    pub demo: bool,
    /// Where everything is kept.
    #[arg(long, value_name = "DIR", default_value = "zizon-data")]
    pub data: PathBuf,
    /// Where the public listener is.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8443")]
    pub listen: SocketAddr,
    /// A name or address the public certificate is for, besides localhost; may be repeated.
    #[arg(long, value_name = "NAME", default_value = "localhost", value_parser = parse_host)]
    pub host: Vec<String>,
    /// Configuration file (docs/configuration.md).
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `zizon run`.
#[derive(Debug, Args)]
pub struct Run {
    /// identity, catalog, orders or edge.
    #[arg(value_parser = parse_role)]
    pub role: Role,
    /// Where the role keeps its files.
    #[arg(long, value_name = "DIR", default_value = "zizon-data")]
    pub data: PathBuf,
    /// Configuration file (docs/configuration.md).
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the role's mTLS listener is; not needed when a supervisor hands a listener over.
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<SocketAddr>,
    /// Where the edge's public listener is.
    #[arg(long, value_name = "ADDR:PORT")]
    pub public: Option<SocketAddr>,
    /// Where another role is; may be repeated.
    #[arg(long, value_name = "ROLE=ADDR:PORT", value_parser = parse_peer)]
    pub peer: Vec<(Role, String)>,
    /// A name or address the public certificate is for, besides localhost; may be repeated.
    #[arg(long, value_name = "NAME", default_value = "localhost", value_parser = parse_host)]
    pub host: Vec<String>,
    /// Seed a demo shop and let guests order.
    #[arg(long)]
    pub demo: bool,
}

fn parse_role(text: &str) -> Result<Role, String> {
    text.parse::<Role>().map_err(|error| error.to_string())
}

/// A host name as certificates hold it (RFC 1123, 2.1: labels of letters, digits and hyphens), or an IP address.
fn parse_host(text: &str) -> Result<String, String> {
    let label = |label: &str| {
        let inner = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        (1..=63).contains(&label.len()) && inner && !label.starts_with('-') && !label.ends_with('-')
    };
    let name = text.strip_prefix("*.").unwrap_or(text);
    if text.parse::<IpAddr>().is_ok() || (name.len() <= 253 && name.split('.').all(label)) {
        return Ok(text.to_ascii_lowercase());
    }
    Err("write a host name (shop.example.com; an international one as xn--...) or an IP address".to_owned())
}

fn parse_peer(text: &str) -> Result<(Role, String), String> {
    let (role, address) = text.split_once('=').ok_or("write ROLE=ADDR:PORT")?;
    Ok((parse_role(role)?, address.to_owned()))
}

/// `zizon product`.
#[derive(Debug, Subcommand)]
pub enum Product {
    /// List products.
    #[command(after_help = "Examples:\n  zizon product ls\n  zizon product ls --json | jq '.data[].id'")]
    Ls(Local),
    /// Show one product.
    #[command(after_help = "Examples:\n  zizon product show PROD001")]
    Show {
        /// The product's id.
        id: Sku,
        /// Where.
        #[command(flatten)]
        local: Local,
    },
    /// Create or replace a product from a JSON file (`-` for standard input).
    #[command(
        after_help = "Examples:\n  zizon product show PROD001 --json > p.json\n  zizon product put p.json\n  zizon product ls --json | jq -c '.data[]' > all.jsonl\n  zizon product put --lines all.jsonl"
    )]
    Put {
        /// The file.
        file: PathBuf,
        /// The file holds many products, each on a line of its own.
        #[arg(long)]
        lines: bool,
        /// Where.
        #[command(flatten)]
        local: Local,
    },
}

/// `zizon stock`.
#[derive(Debug, Subcommand)]
pub enum Stock {
    /// Show the stock of a SKU, read in one consistent snapshot.
    #[command(
        after_help = "Examples:\n  zizon stock show PROD001 --json\n\nAlways: on_hand = available + held + sold."
    )]
    Show {
        /// The SKU.
        sku: Sku,
        /// Where.
        #[command(flatten)]
        local: Local,
    },
    /// Set how many units can be ordered from here on.
    #[command(after_help = "Examples:\n  zizon stock set PROD001 500")]
    Set {
        /// The SKU.
        sku: Sku,
        /// Units available.
        #[arg(allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(0..=zizon_orders::stock::operator::MAX_UNITS))]
        available: i64,
        /// Where.
        #[command(flatten)]
        local: Local,
    },
    /// Set how many units of many SKUs can be ordered, from a file (`-` for standard input).
    #[command(
        after_help = "Examples:\n  zizon stock put stock.jsonl\n\nEach line of the file is {\"sku\": \"PROD001\", \"available\": 500}."
    )]
    Put {
        /// The file.
        file: PathBuf,
        /// Where.
        #[command(flatten)]
        local: Local,
    },
    /// Split the stock of a SKU over counters for an expected peak.
    #[command(after_help = "Examples:\n  zizon stock shard PROD001 --peak 12500")]
    Shard {
        /// The SKU.
        sku: Sku,
        /// Orders per second at the peak.
        #[arg(long, value_name = "N")]
        peak: u32,
        /// Where.
        #[command(flatten)]
        local: Local,
    },
}

/// `zizon order`.
#[derive(Debug, Subcommand)]
pub enum Order {
    /// Show one order.
    #[command(after_help = "Examples:\n  zizon order ls --json | jq -r '.data[0].id' | xargs zizon order show")]
    Show {
        /// The order.
        id: OrderId,
        /// Where.
        #[command(flatten)]
        local: Local,
    },
    /// List orders, the newest first.
    #[command(
        after_help = "Examples:\n  zizon order ls --user user_42\n  zizon order ls --limit 100 --cursor f15203\n\nThe last line, or next_cursor with --json, says how to go on where there are more.\nUp to 10,000 orders of a user are sorted by age. Beyond that, and without --user, the feed is\nread backwards, a part at a time: a list may be shorter than --limit and still go on."
    )]
    Ls {
        /// Only this user's.
        #[arg(long, value_name = "U")]
        user: Option<UserRef>,
        /// At most this many.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
        /// Go on where the list before ended (`next_cursor`).
        #[arg(long, value_name = "C")]
        cursor: Option<String>,
        /// Where.
        #[command(flatten)]
        local: Local,
    },
    /// Cancel an order and return its stock.
    #[command(after_help = "Examples:\n  zizon order ls --user user_42   # shows the ids\n  zizon order cancel ID")]
    Cancel {
        /// The order.
        id: OrderId,
        /// Where.
        #[command(flatten)]
        local: Local,
    },
}

/// `zizon load`.
#[derive(Debug, Subcommand)]
pub enum Load {
    /// Order at a fixed rate, on schedule, without waiting for answers.
    #[command(
        after_help = "Examples:\n  zizon load orders --rate 2000 --duration 30s\n  zizon load orders --rate max --connections 64 --duration 10s --json\n  zizon load orders --rate 500 --duration 1m --acks acks.jsonl\n\nLatency counts from the moment a request was due, so a stalled server cannot hide its delay."
    )]
    Orders(LoadOrders),
}

/// `zizon load orders`.
#[derive(Debug, Args)]
pub struct LoadOrders {
    /// Base URL; the local platform's when left out.
    #[arg(long)]
    pub url: Option<String>,
    /// Authority to trust (PEM); the local platform's when left out.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Requests per second, or `max`: one in flight per connection.
    #[arg(long, value_name = "N|max", default_value = "1000")]
    pub rate: String,
    /// For how long (`30s`, `5m`).
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    pub duration: std::time::Duration,
    /// Fresh keys make orders; a fixed key makes one order per run and replays it.
    #[arg(long, value_enum, default_value_t = Keys::Fresh)]
    pub keys: Keys,
    /// What to order.
    #[arg(long, value_name = "ID", default_value = "PROD001")]
    pub product: Sku,
    /// Order many products instead, each order one of them at random: a file with one product id per line.
    #[arg(long, value_name = "FILE", conflicts_with = "product")]
    pub products: Option<PathBuf>,
    /// Connections to keep open.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub connections: u32,
    /// Append one fsynced line per acknowledged answer; a replay has a line of its own, which must say the same.
    #[arg(long, value_name = "FILE")]
    pub acks: Option<PathBuf>,
    /// Write one JSON line when all connections are open and one per second: rate, counts, latency since the start and of that second.
    #[arg(long, value_name = "FILE")]
    pub progress: Option<PathBuf>,
    /// Where.
    #[command(flatten)]
    pub local: Local,
}

/// How idempotency keys are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Keys {
    /// A new key for each request.
    Fresh,
    /// One key, one user and one body for the whole run.
    Fixed,
}

/// `zizon verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// Base URL; the local platform's when left out.
    #[arg(long)]
    pub url: Option<String>,
    /// Authority to trust (PEM); the local platform's when left out.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// What `zizon load orders --acks` wrote.
    #[arg(long, value_name = "FILE")]
    pub acks: PathBuf,
    /// Where.
    #[command(flatten)]
    pub local: Local,
}

/// Reads `500ms`, `30s`, `5m`, `2h`.
pub fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    let split = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let value: u64 = digits.parse().map_err(|_| "write a number and a unit: 500ms, 30s, 5m, 2h".to_owned())?;
    let millis = match unit {
        "ms" => Some(value),
        "s" => value.checked_mul(1000),
        "m" => value.checked_mul(60_000),
        "h" => value.checked_mul(3_600_000),
        _ => return Err("the unit is ms, s, m or h".to_owned()),
    };
    let millis = millis.filter(|&millis| millis > 0 && millis <= 7 * 24 * 3_600_000);
    millis.map(std::time::Duration::from_millis).ok_or_else(|| "between 1 ms and 7 days".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn hosts_are_names_or_addresses() {
        for good in
            ["localhost", "shop.example.com", "SHOP.example", "xn--9d0bm53a.kr", "10.0.0.1", "::1", "*.example.com"]
        {
            assert_eq!(parse_host(good), Ok(good.to_ascii_lowercase()));
        }
        let long = "a".repeat(64);
        for bad in ["", "bad host!", "-a.example", "a..b", "a_b", "화장품.kr", "https://shop", "shop:8443", &long] {
            assert!(parse_host(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_have_a_unit_and_a_bound() {
        assert_eq!(parse_duration("30s").unwrap().as_secs(), 30);
        assert_eq!(parse_duration("5m").unwrap().as_secs(), 300);
        for bad in ["", "5", "s", "0s", "1d", "999999h", "99999999999999999999h"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
