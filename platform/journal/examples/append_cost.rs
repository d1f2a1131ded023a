//! Prints what appending, syncing, reading, scanning and opening cost on this machine.
//!
//! `cargo run --release -p zizon-journal --example append_cost -- DIR`

use std::error::Error;
use std::time::Instant;

use zizon_journal::{Env, Journal, Location, Options, Seq};

const PAYLOAD_BYTES: usize = 300;
const BATCHES: u64 = 2_000;
const PER_BATCH: u64 = 256;

fn main() -> Result<(), Box<dyn Error>> {
    let parent = std::env::args().nth(1).unwrap_or_else(|| ".".into());
    let dir = tempfile::tempdir_in(parent)?;
    let (mut journal, _) = Journal::open(Env::real(), dir.path(), Options::default())?;
    let payload: Vec<u8> = (0..PAYLOAD_BYTES).map(|i| b"{\"sku\":\"PROD001\",\"q\":2}"[i % 23]).collect();
    let mut locations: Vec<Location> = Vec::new();
    let (mut append_ns, mut write_ns, mut sync_ns) = (0, 0, Vec::new());
    let started = Instant::now();
    for _ in 0..BATCHES {
        let before = Instant::now();
        for _ in 0..PER_BATCH {
            locations.push(journal.append(&payload)?.location);
        }
        append_ns += before.elapsed().as_nanos();
        let mut batch = journal.begin_sync().ok_or("nothing buffered")?;
        let outcome = batch.run();
        write_ns += outcome.write_ns();
        sync_ns.push(outcome.sync_ns());
        journal.finish_sync(outcome)?;
    }
    let frames = BATCHES * PER_BATCH;
    let seconds = started.elapsed().as_secs_f64();
    sync_ns.sort_unstable();
    println!("append of {PAYLOAD_BYTES} B: {} ns", append_ns / u128::from(frames));
    println!("batches of {PER_BATCH}: {:.0} frames/s", f64::from(u32::try_from(frames)?) / seconds);
    println!("write {} us/batch, fdatasync median {} us", write_ns / BATCHES / 1000, sync_ns[sync_ns.len() / 2] / 1000);

    let reader = journal.reader();
    per("read, raw", locations.len(), || locations.iter().step_by(1).all(|at| reader.read(*at).is_ok()));
    per("scan, raw", locations.len(), || reader.scan(Seq(1)).all(|frame| frame.is_ok()));
    per("verify", locations.len(), || reader.verify(&mut |_| {}).is_ok());
    let before = Instant::now();
    let mut segments = 0;
    while journal.maintenance().compress_one()? {
        segments += 1;
    }
    println!("compressed {segments} segments in {} ms", before.elapsed().as_millis());
    per("scan, compressed", locations.len(), || reader.scan(Seq(1)).all(|frame| frame.is_ok()));
    let scattered: Vec<Location> = locations.iter().copied().step_by(997).collect();
    per("read, compressed, scattered", scattered.len(), || scattered.iter().all(|at| reader.read(*at).is_ok()));
    drop((reader, journal));
    let before = Instant::now();
    let (_journal, recovery) = Journal::open(Env::real(), dir.path(), Options::default())?;
    println!("open: {} ms, last sequence {}", before.elapsed().as_millis(), recovery.last.0);
    Ok(())
}

fn per(what: &str, count: usize, work: impl FnOnce() -> bool) {
    let before = Instant::now();
    let ok = work();
    println!("{what}: {} ns per frame{}", before.elapsed().as_nanos() / count as u128, if ok { "" } else { " FAILED" });
}
