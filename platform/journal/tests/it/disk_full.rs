use std::path::Path;
use std::process::Command;

use zizon_journal::{AppendError, Env, Journal, MemFs, Options, Space};

use crate::support::{World, assert_readable, fill, payload, small};

#[test]
fn a_full_disk_is_refused_by_append_and_never_by_a_batch() {
    // Room for the watermark, the active segment and its successor, and for nothing else.
    let world = World::on(MemFs::new(2048 + 2 * (16 << 10)));
    let mut journal = world.open();
    let mut all = Vec::new();
    loop {
        let bytes = payload(all.len() as u64, 500);
        match journal.append(&bytes) {
            Ok(appended) => all.push((appended, bytes)),
            Err(error) => {
                assert_eq!(error, AppendError::Full);
                break;
            }
        }
        journal.sync().expect("an accepted frame has its room");
    }
    assert!(all.len() > 40, "both segments were used: {}", all.len());
    assert_eq!(journal.space(500), Space::Full);
    assert_readable(&journal, &all);
    // Refused again without harm, accepted when there is space.
    assert_eq!(journal.append(&[0; 500]), Err(AppendError::Full));
    world.fs.set_capacity(1 << 20);
    assert_eq!(journal.append(&[0; 500]), Err(AppendError::Full), "looked at again only after a while");
    world.clock.advance_ms(50);
    assert_eq!(journal.space(500), Space::Ok);
    all.extend(fill(&mut journal, 100, 200, 10));
    assert_readable(&journal, &all);
    drop(journal);
    assert_readable(&world.open(), &all);
}

#[test]
fn frames_buffered_before_the_disk_filled_are_written() {
    let world = World::on(MemFs::new(1 << 20));
    let mut journal = world.open();
    let mut all = fill(&mut journal, 0, 4, 2);
    for n in 4..24 {
        let bytes = payload(n, 500);
        all.push((journal.append(&bytes).unwrap(), bytes));
    }
    world.fs.set_capacity(0);
    journal.sync().unwrap();
    assert_readable(&journal, &all);
}

#[test]
fn a_full_disk_does_not_keep_a_journal_from_opening_and_reading() {
    let world = World::on(MemFs::new(1 << 20));
    let mut journal = world.open();
    let all = fill(&mut journal, 0, 100, 10);
    drop(journal);
    world.fs.set_capacity(0);
    assert_readable(&world.open(), &all);
}

#[test]
fn below_the_reserve_append_is_refused_although_there_is_room() {
    let mut world = World::on(MemFs::new(1 << 20));
    world.options.free_reserve_bytes = 100 << 10;
    let mut journal = world.open();
    journal.append(&[0; 500]).unwrap();
    world.fs.set_capacity(120 << 10);
    journal.append(&[0; 500]).expect("the free space is looked at only every 50 ms");
    world.clock.advance_ms(50);
    assert_eq!(journal.append(&[0; 500]), Err(AppendError::Full));
    journal.sync().expect("what was accepted is written");
    world.fs.set_capacity(1 << 20);
    world.clock.advance_ms(50);
    journal.append(&[0; 500]).unwrap();
}

#[test]
fn compression_without_space_leaves_the_segment_as_it_is() {
    let world = World::on(MemFs::new(1 << 20));
    let mut journal = world.open();
    let all = fill(&mut journal, 0, 100, 10);
    world.fs.set_capacity(0);
    assert!(matches!(journal.maintenance().compress_one(), Err(zizon_journal::MaintenanceError::NoSpace)));
    assert_readable(&journal, &all);
}

struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

#[test]
fn a_real_small_file_system_fills_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(dir.path()).output();
    match mount {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            println!("NOT RUN: mounting a tmpfs needs root: {}", String::from_utf8_lossy(&output.stderr).trim());
            return;
        }
        Err(error) => {
            println!("NOT RUN: no mount command: {error}");
            return;
        }
    }
    let _mounted = Mounted(dir.path());
    let options = Options { segment_bytes: 64 << 10, ..small() };
    let (mut journal, _) = Journal::open(Env::real(), dir.path().join("journal"), options.clone()).unwrap();
    let ballast = dir.path().join("ballast");
    std::fs::write(&ballast, vec![1; 500 << 10]).unwrap();
    let mut all = Vec::new();
    while all.len() < 10_000 {
        let bytes = payload(all.len() as u64, 900);
        match journal.append(&bytes) {
            Ok(appended) => all.push((appended, bytes)),
            Err(error) => {
                assert_eq!(error, AppendError::Full);
                break;
            }
        }
        journal.sync().expect("an accepted frame has its room");
    }
    assert!((64..1000).contains(&all.len()), "{}", all.len());
    assert_readable(&journal, &all);
    std::fs::remove_file(&ballast).unwrap();
    let started = std::time::Instant::now();
    while journal.space(900) == Space::Full {
        assert!(started.elapsed().as_secs() < 5, "space was not noticed");
        std::thread::yield_now();
    }
    let bytes = payload(7, 900);
    all.push((journal.append(&bytes).unwrap(), bytes));
    journal.sync().unwrap();
    assert_readable(&journal, &all);
    drop(journal);
    let (journal, _) = Journal::open(Env::real(), dir.path().join("journal"), options).unwrap();
    assert_readable(&journal, &all);
}

#[test]
fn a_segment_is_not_allocated_out_of_the_reserve() {
    let mut world = World::on(MemFs::new(1 << 20));
    world.options.free_reserve_bytes = 100 << 10;
    let mut journal = world.open();
    // Free: the reserve and half a segment.
    world.fs.set_capacity(1024 + (32 << 10) + (108 << 10));
    world.clock.advance_ms(50);
    let mut accepted = 0;
    while journal.append(&[0; 500]).is_ok() {
        journal.sync().unwrap();
        accepted += 1;
        world.clock.advance_ms(50);
    }
    assert_eq!(accepted, 2 * (((16 << 10) - 4096 - 64) / 532), "the two segments allocated at first, and no third");
}
