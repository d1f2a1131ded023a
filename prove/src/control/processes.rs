//! Defects in real processes and real files.

use std::fs;
use std::path::Path;
use std::time::Duration;

use zizon_contracts::orders::StockView;
use zizon_load::client::Client;
use zizon_load::{DEFAULT_PRODUCT, OrdersLoad, Rate, Report};

use super::{Caught, Control, Missed, must_hold, must_refute};
use crate::ProveError;
use crate::buyer::{Wish, ask_all, block_on, nonce};
use crate::check::{durability, replay};
use crate::durability::verify;
use crate::oversell::Oversell;
use crate::platform::{CONFIG, Platform};
use crate::session::Session;

/// Orders of a control are few: what is shown is that the check can fail.
const RATE_PER_SECOND: f64 = 200.0;
const DURATION: Duration = Duration::from_millis(500);
const CONNECTIONS: usize = 8;

pub(super) fn all<'a>(session: &'a Session<'a>) -> Vec<Control<'a>> {
    type Run = fn(&Session<'_>) -> Result<Caught, Missed>;
    let control = |name: &str, run: Run| Control { name: name.to_owned(), run: Box::new(move || run(session)) };
    vec![
        control(
            "the orders' journal loses its acknowledged tail, as a power failure takes it from a platform that answers before fsync",
            lost_tail,
        ),
        control("the same loss, seen by who asks again with his key", lost_key),
        control("one digit of an acknowledgement is altered", altered_line),
        control("one unit more is put on sale than is claimed", one_too_many),
        control("units are taken from the stock without an order", unit_taken),
    ]
}

/// A platform with orders, each acknowledged in a file.
struct Shop<'a> {
    session: &'a Session<'a>,
    platform: Platform<'a>,
    acked: u64,
    answered_201: u64,
    errors: u64,
    before: StockView,
}

impl<'a> Shop<'a> {
    fn open(session: &'a Session<'a>) -> Result<Self, ProveError> {
        let platform = Platform::start(session, CONFIG)?;
        let before = platform.stock(DEFAULT_PRODUCT)?;
        let mut shop = Self { session, platform, acked: 0, answered_201: 0, errors: 0, before };
        shop.orders()?;
        Ok(shop)
    }

    /// Makes some orders; returns how many were acknowledged.
    fn orders(&mut self) -> Result<u64, ProveError> {
        let mut load = OrdersLoad::to(self.platform.url()?, self.platform.ca_file());
        load.rate = Rate::PerSecond(RATE_PER_SECOND);
        load.duration = DURATION;
        load.connections = CONNECTIONS;
        load.acks = Some(self.platform.beside("acks.jsonl"));
        load.stop = self.session.stop.clone();
        let report: Report = zizon_load::run(&load, |_| {})?;
        self.session.go_on()?;
        let acked = report.acked.unwrap_or(0);
        self.acked += acked;
        self.answered_201 += report.created + report.replayed;
        self.errors += report.errors;
        Ok(acked)
    }

    /// What the durability proof would see at this moment.
    fn seen(&self) -> Result<durability::Seen, ProveError> {
        let acks = self.platform.beside("acks.jsonl");
        let verify = verify(self.session, &self.platform.url()?, &self.platform.ca_file(), &acks)?;
        Ok(durability::Seen {
            kills_asked: 0,
            kills: Vec::new(),
            restarts: 0,
            acked: self.acked,
            answered_201: self.answered_201,
            found: 0,
            refused: 0,
            unanswered: self.errors,
            verify,
            stock: Some((self.before.clone(), self.platform.stock(DEFAULT_PRODUCT)?)),
            online: Some(self.platform.fsck(true)?),
            offline: None,
        })
    }

    /// Sets the files of orders aside as they are when everything is on disk.
    fn set_aside(&mut self) -> Result<(), ProveError> {
        self.platform.stop()?;
        copy(&self.platform.data().join("orders"), &self.platform.beside("orders.before"))?;
        self.platform.up()
    }

    /// Puts those files back: what was written since is gone.
    fn put_back(&mut self) -> Result<(), ProveError> {
        self.platform.kill();
        let orders = self.platform.data().join("orders");
        fs::remove_dir_all(&orders).map_err(ProveError::system("remove the orders' files"))?;
        copy(&self.platform.beside("orders.before"), &orders)?;
        self.platform.up()
    }
}

fn lost_tail(session: &Session<'_>) -> Result<Caught, Missed> {
    let mut shop = Shop::open(session)?;
    shop.set_aside()?;
    let lost = shop.orders()?;
    must_hold(&durability::judge(&shop.seen()?))?;
    shop.put_back()?;
    let seen = shop.seen()?;
    let caught = must_refute(&durability::judge(&seen), "none is lost")?;
    if seen.verify.missing_total == lost && lost > 0 {
        return Ok(caught);
    }
    Err(Missed::Unnoticed { said: format!("{lost} orders were lost and {} were missed", seen.verify.missing_total) })
}

fn lost_key(session: &Session<'_>) -> Result<Caught, Missed> {
    let mut shop = Shop::open(session)?;
    shop.set_aside()?;
    let run = nonce()?;
    let wish = Wish { user: format!("prove_{run}"), key: format!("prove-{run}"), quantity: 1 };
    let mut seen = replay::Seen {
        rounds: vec![ask(&shop, &wish, "at first")?, ask(&shop, &wish, "again")?],
        other_body: (replay::OTHER_BODY.0, replay::OTHER_BODY.1.to_owned()),
        orders: None,
        restarts: None,
    };
    must_hold(&replay::checks(&seen))?;
    shop.put_back()?;
    seen.rounds.push(ask(&shop, &wish, "after the loss")?);
    must_refute(&replay::checks(&seen), "all have the same bytes")
}

fn ask(shop: &Shop<'_>, wish: &Wish, when: &str) -> Result<replay::Round, ProveError> {
    let client = Client::new(&shop.platform.url()?, &shop.platform.ca_file())?;
    let offer = block_on(async { Ok(client.offer(None).await?) })?;
    let bodies = vec![wish.body(&offer); 4];
    let heard = ask_all(&client, bodies, &shop.session.stop, None)?.heard;
    let answers = heard.into_iter().map(crate::replay::answer).collect();
    Ok(replay::Round { when: when.to_owned(), answers, note: String::new() })
}

fn altered_line(session: &Session<'_>) -> Result<Caught, Missed> {
    let shop = Shop::open(session)?;
    must_hold(&durability::judge(&shop.seen()?))?;
    let file = shop.platform.beside("acks.jsonl");
    let failed = || ProveError::system("alter an acknowledgement");
    let mut text = fs::read(&file).map_err(failed())?;
    let name = b"\"digest\":\"";
    let at = text.windows(name.len()).position(|window| window == name).map(|at| at + name.len());
    let digit = at.and_then(|at| text.get_mut(at)).ok_or(std::io::ErrorKind::InvalidData.into()).map_err(failed())?;
    *digit = if *digit == b'0' { b'1' } else { b'0' };
    fs::write(&file, text).map_err(failed())?;
    must_refute(&durability::judge(&shop.seen()?), "as it was acknowledged")
}

fn one_too_many(session: &Session<'_>) -> Result<Caught, Missed> {
    let sizes = Oversell { buyers: 40, units: 11, product: None };
    let platform = Platform::start(session, CONFIG)?;
    let mut seen = sizes.once(session, platform)?;
    must_hold(&crate::check::oversell::judge(&seen))?;
    seen.units -= 1;
    must_refute(&crate::check::oversell::judge(&seen), "buyers get a unit")
}

fn unit_taken(session: &Session<'_>) -> Result<Caught, Missed> {
    let shop = Shop::open(session)?;
    let good = shop.seen()?;
    must_hold(&durability::judge(&good))?;
    let left = good.stock.map_or(0, |(_, after)| after.available);
    shop.platform.set_stock(DEFAULT_PRODUCT, u64::try_from(left - 1).unwrap_or(0))?;
    must_refute(&durability::judge(&shop.seen()?), "the stock equation closes")
}

/// Copies a directory of plain files and directories.
fn copy(from: &Path, to: &Path) -> Result<(), ProveError> {
    let failed = || ProveError::system(format!("copy {}", from.display()));
    fs::create_dir_all(to).map_err(failed())?;
    for entry in fs::read_dir(from).map_err(failed())? {
        let entry = entry.map_err(failed())?;
        let target = to.join(entry.file_name());
        if entry.file_type().map_err(failed())?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target).map_err(failed())?;
        }
    }
    Ok(())
}
