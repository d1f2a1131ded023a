//! One mTLS hop, kept alive: what it adds to a request over plaintext, both measured in one run.
//!
//! The goal for processor time is about the transport, so it compares hyper over mTLS with hyper over plaintext: the same
//! program at both ends. What the stack of a role (authorisation, routing, pool, deadlines, metrics) adds to that is a
//! figure of its own, and so is all of it together. The goal for the p99 is judged on all of it.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{
    Figure, Goal,
    child::{build, program},
    number,
    options::{Options, RUNS, Spec, value},
    publish, shown,
};
use crate::shell;

/// Options.
pub const OPTIONS: &[Spec] =
    &[RUNS, value("--seconds", "5", "of each transport in each run"), value("--in-flight", "16", "requests in flight")];

/// Goals: ms of p99 that the whole hop adds, and CPU of TLS over plaintext.
const P99_MS: f64 = 0.15;
const CPU: f64 = 1.15;

/// Runs it.
pub fn run(options: &Options) -> Result<()> {
    let runs = options.runs()?;
    let seconds = options.seconds("--seconds", 1..=3_600)?.to_string();
    let in_flight = options.number("--in-flight", 1..=4_096)?.to_string();
    build(&["build", "--release", "--package", "zizon-service", "--example", "bench_hop", "--features", "testing"])?;
    let file = shell::target().join("release/examples/bench_hop");
    let mut figures = Figures::new();
    for run in 1..=runs {
        let answer = program(&file, &["--seconds", &seconds, "--in-flight", &in_flight])?;
        let answer: Value = serde_json::from_str(&answer).context("the hop benchmark printed no JSON")?;
        figures.add(&answer);
        let said = |name: &str| {
            let (rate, us) = (number(&answer[name], "rate"), number(&answer[name], "cpu_us"));
            format!("{}/s ({} us)", shown(rate), shown(us))
        };
        println!(
            "run {run}: plaintext {}, hyper over TLS {}, role stack over TLS {}",
            said("plaintext"),
            said("tls_alone"),
            said("mtls")
        );
    }
    let goals = [
        Goal::new("p99 added by the hop, role stack included <= 0.15 ms", figures.p99_added.median() <= P99_MS),
        Goal::new("CPU of hyper over mTLS <= 1.15 x that of hyper over plaintext", figures.tls_ratio.median() <= CPU),
    ];
    let settings = json!({ "runs": runs, "seconds": seconds, "in_flight": in_flight, "body_bytes": 1024 });
    publish("hop", &settings, &figures.all(), &goals)
}

struct Figures {
    mtls_rate: Figure,
    tls_rate: Figure,
    plain_rate: Figure,
    mtls_us: Figure,
    tls_us: Figure,
    plain_us: Figure,
    tls_ratio: Figure,
    stack_ratio: Figure,
    whole_ratio: Figure,
    p99_added: Figure,
}

impl Figures {
    fn new() -> Self {
        Self {
            mtls_rate: Figure::more("role stack over mTLS, requests", "1/s"),
            tls_rate: Figure::plain("hyper over the same mTLS, requests", "1/s"),
            plain_rate: Figure::plain("hyper over plaintext, requests", "1/s"),
            mtls_us: Figure::less("role stack over mTLS, CPU per request", "us"),
            tls_us: Figure::less("hyper over mTLS, CPU per request", "us"),
            plain_us: Figure::plain("hyper over plaintext, CPU per request", "us"),
            tls_ratio: Figure::less("mTLS over plaintext, hyper at both ends, CPU", "x"),
            stack_ratio: Figure::less("role stack over hyper, both over mTLS, CPU", "x"),
            whole_ratio: Figure::less("role stack over mTLS over hyper over plaintext, CPU", "x"),
            p99_added: Figure::less("p99 added, role stack over mTLS to hyper over plaintext", "ms"),
        }
    }

    fn add(&mut self, answer: &Value) {
        let of = |name: &str, what: &str| number(&answer[name], what);
        let [mtls, tls, plain] = ["mtls", "tls_alone", "plaintext"].map(|name| of(name, "cpu_us"));
        self.mtls_rate.runs.push(of("mtls", "rate"));
        self.tls_rate.runs.push(of("tls_alone", "rate"));
        self.plain_rate.runs.push(of("plaintext", "rate"));
        self.mtls_us.runs.push(mtls);
        self.tls_us.runs.push(tls);
        self.plain_us.runs.push(plain);
        self.tls_ratio.runs.push(tls / plain);
        self.stack_ratio.runs.push(mtls / tls);
        self.whole_ratio.runs.push(mtls / plain);
        self.p99_added.runs.push(of("mtls", "p99_ms") - of("plaintext", "p99_ms"));
    }

    fn all(self) -> [Figure; 10] {
        [
            self.tls_ratio,
            self.p99_added,
            self.stack_ratio,
            self.whole_ratio,
            self.mtls_rate,
            self.tls_rate,
            self.plain_rate,
            self.mtls_us,
            self.tls_us,
            self.plain_us,
        ]
    }
}
