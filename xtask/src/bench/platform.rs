//! A demo platform of its own for one benchmark.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{RecvTimeoutError, channel},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{
    child::{self, Running},
    interrupt, leftovers, proc,
};
use crate::shell;

/// How long a platform may take to become ready.
const READY_WITHIN: Duration = Duration::from_secs(180);
/// Products of the demo.
const DEMO_PRODUCTS: usize = 200;

/// A running platform; stopped and removed when dropped.
pub struct Platform {
    child: Option<Child>,
    /// Holds everything below; removed at the end.
    root: PathBuf,
    /// Its data directory.
    pub data: PathBuf,
    config: Option<PathBuf>,
    /// Milliseconds from the last start of the process to its `ready` line.
    pub ready_ms: f64,
}

impl Platform {
    /// Starts `zizon up --demo` on a free port and waits until it is ready.
    pub fn start(name: &str) -> Result<Self> {
        Self::start_with(name, "")
    }

    /// The same with a configuration file, unless `config` is empty.
    pub fn start_with(name: &str, config: &str) -> Result<Self> {
        let root = leftovers::directory(name);
        if root.exists() {
            fs::remove_dir_all(&root)?;
        }
        fs::create_dir_all(&root)?;
        let data = root.join("data");
        let mut platform = Self { child: None, root, data, config: None, ready_ms: f64::NAN };
        if !config.is_empty() {
            let file = platform.root.join("zizon.toml");
            fs::write(&file, config)?;
            platform.config = Some(file);
        }
        platform.begin()?;
        Ok(platform)
    }

    /// A place for a file beside the data, removed with it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Starts what was stopped.
    pub fn begin(&mut self) -> Result<()> {
        interrupt::install();
        let began = Instant::now();
        let mut command = Command::new(shell::zizon());
        command.args(["up", "--demo", "--listen", "127.0.0.1:0", "--data"]).arg(&self.data);
        if let Some(config) = &self.config {
            command.arg("--config").arg(config);
        }
        let child = child::in_own_group(&mut command).stdout(Stdio::piped()).spawn();
        let child = self.child.insert(child.context("cannot start zizon")?);
        let output = child.stdout.take().context("no standard output")?;
        let (ready, seen) = channel();
        // Keeps the pipe open and drained for as long as the platform lives.
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if line.starts_with("ready") {
                    let _ = ready.send(Instant::now());
                }
            }
        });
        loop {
            interrupt::check()?;
            match seen.recv_timeout(interrupt::TICK) {
                Ok(at) => {
                    self.ready_ms = (at - began).as_secs_f64() * 1000.0;
                    return Ok(());
                }
                Err(RecvTimeoutError::Disconnected) => bail!("the platform ended before it was ready"),
                Err(RecvTimeoutError::Timeout) if began.elapsed() > READY_WITHIN => {
                    bail!("the platform is not ready after {} s", READY_WITHIN.as_secs());
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Stops it and keeps its data.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child::end(&mut child, "zizon up");
        }
    }

    /// Starts a `zizon` command against it.
    pub fn command(&self, arguments: &[&str]) -> Result<Running> {
        let mut command = Command::new(shell::zizon());
        command.args(arguments).arg("--data").arg(&self.data).arg("--json");
        Running::quiet(&mut command)
    }

    /// Runs a `zizon` command against it that answers one JSON document.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let ended = self.command(arguments)?.wait()?;
        let named = || format!("zizon {} answered no JSON ({})", arguments.join(" "), ended.in_words());
        let answer: Value = serde_json::from_slice(&ended.output).with_context(named)?;
        if let Some(error) = answer.get("error").and_then(Value::as_str) {
            bail!("zizon {}: {error}", arguments.join(" "));
        }
        Ok(answer)
    }

    /// Process ids of the supervisor and of every role with the role's name.
    pub fn processes(&self) -> Result<Vec<(String, u32)>> {
        let status = self.json(&["status"])?;
        let supervisor = self.child.as_ref().context("the platform is stopped")?.id();
        let mut found = vec![("supervisor".to_owned(), supervisor)];
        for role in status["roles"].as_array().into_iter().flatten() {
            let pid = role["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).context("a role without pid")?;
            found.push((role["role"].as_str().unwrap_or_default().to_owned(), pid));
        }
        Ok(found)
    }

    /// Process id of one role.
    pub fn pid(&self, role: &str) -> Result<u32> {
        let processes = self.processes()?;
        let found = processes.into_iter().find(|(name, _)| name == role);
        found.map(|(_, pid)| pid).with_context(|| format!("no process of {role}"))
    }

    /// Waits until the maintenance work of orders is done: flushes, compaction, compression, segments zeroed ahead. What a
    /// slice caused then counts for that slice and not for the next.
    pub fn settle(&self) -> Result<()> {
        proc::settle("orders", self.pid("orders")?)
    }

    /// Its public address.
    pub fn url(&self) -> Result<String> {
        Ok(self.json(&["status"])?["url"].as_str().context("status names no URL")?.to_owned())
    }

    /// What `GET path` at the metrics socket answers.
    pub fn metrics(&self, path: &str) -> Result<String> {
        // The sockets may be elsewhere, behind a link, because their paths must be short.
        let run = fs::canonicalize(self.data.join("run")).context("no run directory")?;
        let mut socket = UnixStream::connect(run.join("metrics.sock")).context("no metrics socket")?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(socket, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no answer from the metrics socket")?;
        if !head.starts_with("HTTP/1.1 200") {
            bail!("the metrics socket answered {}", head.lines().next().unwrap_or_default());
        }
        Ok(body.to_owned())
    }

    /// Bytes that its tables take on the disk: journals and indexes of all roles.
    pub fn disk_bytes(&self) -> u64 {
        proc::bytes_under(&self.data)
    }

    /// Writes `count` products `B000000` and on, each with plenty of stock where `stock` is wanted, and names their ids.
    pub fn fill(&self, count: u64, stock: bool) -> Result<Vec<String>> {
        let ids: Vec<String> = (0..count).map(|n| format!("B{n:06}")).collect();
        write_lines(&self.file("products.jsonl"), ids.iter().map(|id| product(id)))?;
        self.put(&["product", "put", "--lines"], "products.jsonl")?;
        self.prices_known(ids.len())?;
        if stock {
            let line = |id: &String| format!("{{\"sku\":\"{id}\",\"available\":1000000000}}");
            write_lines(&self.file("stock.jsonl"), ids.iter().map(line))?;
            self.put(&["stock", "put"], "stock.jsonl")?;
        }
        proc::settle("catalog", self.pid("catalog")?)?;
        self.settle()?;
        Ok(ids)
    }

    /// Waits until orders knows the prices of `count` products and the demo's.
    fn prices_known(&self, count: usize) -> Result<()> {
        let began = Instant::now();
        let all = u32::try_from(count + DEMO_PRODUCTS).map_or(f64::INFINITY, f64::from);
        loop {
            let known = metric(&self.metrics("/metrics")?, "zizon_price_view_products", "");
            if known >= all {
                return Ok(());
            }
            if began.elapsed() > READY_WITHIN {
                bail!("orders knows {known} prices of {all} after {} s", READY_WITHIN.as_secs());
            }
            interrupt::sleep(Duration::from_millis(200))?;
        }
    }

    fn put(&self, command: &[&str], file: &str) -> Result<()> {
        let path = self.file(file);
        let path = path.to_string_lossy();
        let answer = self.json(&[command, &[&path]].concat())?;
        let (written, seconds) = (super::number(&answer, "written"), super::number(&answer, "seconds"));
        println!("zizon {}: {} written in {seconds:.1} s", command.join(" "), super::shown(written));
        Ok(())
    }

    /// The number of products, one id a line, in a file for `zizon load orders --products`.
    pub fn ids_file(&self, name: &str, ids: &[String]) -> Result<String> {
        let path = self.file(name);
        write_lines(&path, ids.iter().cloned())?;
        Ok(path.to_string_lossy().into_owned())
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.stop();
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// A product of about the demo's size.
fn product(id: &str) -> String {
    let text = "Light, quickly absorbed and made for every day; suits sensitive skin and layers well under sunscreen.";
    format!(
        "{{\"id\":\"{id}\",\"brand\":\"Bench\",\"category\":\"skincare\",\
         \"name\":{{\"ko\":\"벤치 크림 {id}\",\"ja\":\"ベンチ クリーム {id}\",\"en\":\"Bench cream {id}\"}},\
         \"description\":{{\"ko\":\"{text}\",\"ja\":\"{text}\",\"en\":\"{text}\"}},\
         \"prices\":{{\"KR\":26900,\"JP\":2980,\"US\":2199}},\"size\":\"50 ml\",\"attributes\":{{\"skin_type\":\"all\"}}}}"
    )
}

fn write_lines(path: &Path, lines: impl Iterator<Item = String>) -> Result<()> {
    let mut file = std::io::BufWriter::new(fs::File::create(path)?);
    for line in lines {
        writeln!(file, "{line}")?;
    }
    Ok(file.flush()?)
}

/// The sum over all series of a metric in the Prometheus text format whose labels contain `label`.
pub fn metric(text: &str, name: &str, label: &str) -> f64 {
    let mut found = None;
    for line in text.lines().filter(|line| line.starts_with(name) && line.contains(label)) {
        let rest = &line[name.len()..];
        if rest.starts_with(['{', ' '])
            && let Some(value) = line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok())
        {
            found = Some(found.unwrap_or(0.0) + value);
        }
    }
    found.unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_the_series_that_match() {
        let text = "# TYPE a counter\na{x=\"1\",y=\"p\"} 2\na{x=\"2\",y=\"p\"} 3\nab{x=\"1\"} 9\nb 7\n";
        assert_eq!(metric(text, "a", ""), 5.0);
        assert_eq!(metric(text, "a", "x=\"2\""), 3.0);
        assert_eq!(metric(text, "b", ""), 7.0);
        assert!(metric(text, "c", "").is_nan());
    }

    #[test]
    fn a_bench_product_is_json() {
        let product: Value = serde_json::from_str(&product("B000001")).unwrap_or_default();
        assert_eq!((product["id"].as_str(), product["prices"]["KR"].as_i64()), (Some("B000001"), Some(26_900)));
    }
}
