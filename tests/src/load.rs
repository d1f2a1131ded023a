//! Orders in the background while something goes wrong, and what must hold of them afterwards.

use std::{
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::JoinHandle,
    time::Duration,
};

use serde_json::Value;

use crate::{Platform, eventually_within, platform::binary};

/// What the demo shop's load orders.
pub const PRODUCT: &str = "PROD001";

/// Units of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stock {
    /// In the house.
    pub on_hand: i64,
    /// To be had.
    pub available: i64,
    /// Kept for orders that are not paid.
    pub held: i64,
    /// Paid.
    pub sold: i64,
}

impl Stock {
    /// As the platform says.
    ///
    /// # Panics
    /// When it says nothing.
    #[must_use]
    pub fn of(platform: &Platform, product: &str) -> Self {
        let view = platform.json(&["stock", "show", product]);
        let units = |name: &str| view[name].as_i64().unwrap_or_else(|| panic!("no {name}: {view}"));
        Self { on_hand: units("on_hand"), available: units("available"), held: units("held"), sold: units("sold") }
    }
}

/// A generator that runs beside a test. Each 201 is a line in its file, synced.
#[derive(Debug)]
pub struct Load {
    child: Child,
    output: Option<JoinHandle<Vec<u8>>>,
    acks: PathBuf,
    before: Stock,
}

impl Load {
    /// Orders at `rate` a second for `seconds`.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(platform: &Platform, acks: &Path, rate: u32, seconds: u32) -> Self {
        let before = Stock::of(platform, PRODUCT);
        let mut child = Command::new(binary())
            .args(["load", "orders", "--connections", "16", "--json", "--product", PRODUCT])
            .args(["--rate", &rate.to_string(), "--duration", &format!("{seconds}s")])
            .arg("--acks")
            .arg(acks)
            .arg("--data")
            .arg(platform.data())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the generator starts");
        let mut stdout = child.stdout.take().expect("standard output is piped");
        let output = std::thread::spawn(move || {
            let mut out = Vec::new();
            stdout.read_to_end(&mut out).expect("the output is read");
            out
        });
        Self { child, output: Some(output), acks: acks.to_owned(), before }
    }

    /// Orders acknowledged so far.
    #[must_use]
    pub fn acked(&self) -> usize {
        std::fs::read(&self.acks).map_or(0, |acks| acks.iter().filter(|byte| **byte == b'\n').count())
    }

    /// Waits for its end. Then every acknowledged order must be there, as acknowledged, once; the units taken are those
    /// of the orders acknowledged here and the `others` made beside it, and at most those nobody knows of; the stock
    /// equation must hold; and fsck must find nothing, in the running platform and, stopped, in its files. Returns the
    /// generator's report.
    ///
    /// # Panics
    /// When any of it does not hold.
    pub fn assert_nothing_lost(mut self, platform: &mut Platform, others: i64) -> Value {
        eventually_within(Duration::from_secs(120), "the generator ends", || {
            matches!(self.child.try_wait(), Ok(Some(_)))
        });
        let output = self.output.take().expect("it is taken once").join().expect("the reader ends");
        let report: Value = serde_json::from_slice(&output).expect("the generator prints JSON");
        platform.wait_ready();
        let count = |name: &str| report[name].as_i64().unwrap_or_else(|| panic!("no {name}: {report}"));
        let (acked, unknown) = (count("acked"), count("errors"));

        let verified = platform.json(&["verify", "--acks", &self.acks.display().to_string()]);
        for (what, should) in
            [("missing_total", 0), ("different_total", 0), ("duplicates_total", 0), ("checked", acked)]
        {
            assert_eq!(verified[what], should, "{what}: {verified}");
        }
        let after = Stock::of(platform, PRODUCT);
        assert_eq!(after.on_hand, after.available + after.held + after.sold, "the stock equation: {after:?}");
        assert_eq!(after.on_hand, self.before.on_hand, "units came or went: {:?}, then {after:?}", self.before);
        let taken = self.before.available - after.available - others;
        assert!((acked..=acked + unknown).contains(&taken), "{taken} units are taken: {report}");
        platform.assert_checked();
        report
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // It has ended, or the test has failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
