use std::sync::atomic::{AtomicBool, Ordering};

use zizon_journal::{Env, Journal, Options};

use crate::support::{assert_readable, payload};

#[test]
fn frames_survive_while_segments_are_zeroed_ahead_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let options =
        Options { segment_bytes: 4 << 20, max_frame_bytes: 64 << 10, max_batch_bytes: 1 << 20, ..Options::default() };
    let open = || Journal::open(Env::real(), dir.path(), options.clone()).unwrap();
    let mut all = Vec::new();
    for life in 0..3 {
        let (mut journal, recovery) = open();
        assert_eq!(recovery.truncated_bytes, 0, "zeros are nothing that was cut off");
        if life > 0 {
            assert_readable(&journal, &all);
        }
        let (maintenance, done) = (journal.maintenance(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    maintenance.fill_one();
                }
            });
            for n in 0..400 {
                let bytes = payload(life * 400 + n, 9_000);
                all.push((journal.append(&bytes).unwrap(), bytes));
                if n % 3 == 0 {
                    journal.sync().unwrap();
                }
            }
            journal.sync().unwrap();
            done.store(true, Ordering::Relaxed);
        });
        assert_readable(&journal, &all);
    }
    let report = open().0.reader().verify(&mut |_| {}).unwrap();
    assert_eq!(report.frames, 1_200);
}

#[test]
fn a_journal_that_is_closed_or_stopped_is_not_zeroed() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(Env::real(), dir.path(), Options::default()).unwrap();
    let maintenance = journal.maintenance();
    assert!(maintenance.fill_one());
    drop(journal);
    assert!(!maintenance.fill_one());
}
