//! Loss of power at any point: what was told is there, what was not may be, and the state is that after
//! some first part of the plans in their order.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};
use zizon_journal::MemFault;

use super::model::{run, step};
use super::plans::plan;
use super::world::{World, small};
use crate::EngineOptions;

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_crash_between_any_steps_loses_nothing_that_was_told(steps in vec(step(true), 1..80)) {
        run(small(), steps).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn a_crash_inside_any_disk_operation_loses_nothing_that_was_told(
        plans in vec(plan(), 1..30),
        operation in 0..40_u64,
        seed in any::<u64>(),
    ) {
        let mut world = World::new(small());
        world.fs.inject(MemFault::PowerOff, operation);
        for ops in plans {
            // Fails from the loss of power on; what it answers before then counts.
            if world.submit(ops).and_then(|()| world.sync()).is_err() {
                break;
            }
        }
        world.crash(seed).map_err(TestCaseError::fail)?;
    }
}

#[test]
fn acknowledging_before_the_sync_is_caught_by_the_crash_test() {
    let options = EngineOptions { known_bad_acknowledge_early: true, ..small() };
    let config = Config { cases: 200, failure_persistence: None, max_shrink_iters: 0, ..Config::default() };
    let caught = TestRunner::new(config)
        .run(&vec(step(true), 1..80), |steps| run(options.clone(), steps).map_err(TestCaseError::fail));
    match caught {
        Err(TestError::Fail(reason, _)) => assert!(reason.message().contains("was told"), "{reason}"),
        other => panic!("the crash test does not notice: {other:?}"),
    }
}
