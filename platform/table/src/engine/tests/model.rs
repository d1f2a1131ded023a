//! The engine against the model: any plans, any schedule of its steps, any restarts.

use proptest::collection::vec;
use proptest::prelude::*;

use super::plans::plan;
use super::world::{Verdict, World, small};
use crate::engine::LsmStore;
use crate::{EngineOptions, Op};

#[derive(Debug, Clone)]
pub(super) enum Step {
    Submit(Vec<Op>),
    Begin,
    Finish,
    Sync,
    Seal,
    Maintain,
    Restart,
    Crash(u64),
}

pub(super) fn step(crashes: bool) -> impl Strategy<Value = Step> {
    let end = if crashes { any::<u64>().prop_map(Step::Crash).boxed() } else { Just(Step::Restart).boxed() };
    prop_oneof![
        12 => plan().prop_map(Step::Submit),
        3 => Just(Step::Begin),
        3 => Just(Step::Finish),
        2 => Just(Step::Sync),
        1 => Just(Step::Seal),
        1 => Just(Step::Maintain),
        1 => end,
    ]
}

pub(super) fn run(options: EngineOptions, steps: Vec<Step>) -> Verdict {
    run_in(World::new(options), steps)
}

fn run_in(mut world: World, steps: Vec<Step>) -> Verdict {
    for step in steps {
        match step {
            Step::Submit(ops) => world.submit(ops)?,
            Step::Begin => world.begin(),
            Step::Finish => world.finish()?,
            Step::Sync => world.sync()?,
            Step::Seal => world.seal(),
            Step::Maintain => world.maintain()?,
            Step::Restart => world.restart()?,
            Step::Crash(seed) => world.crash(seed)?,
        }
    }
    world.sync()?;
    world.check_feed()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_does_what_the_model_does_under_any_schedule(steps in vec(step(false), 1..80)) {
        run(small(), steps).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn the_engine_without_a_cache_does_what_the_model_does(steps in vec(step(false), 1..60)) {
        let options = EngineOptions { hot_items: 0, inline_bytes: 0, ..small() };
        run(options, steps).map_err(TestCaseError::fail)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_over_an_lsm_tree_does_what_the_model_does_over_crashes(steps in vec(step(true), 1..60)) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = LsmStore::new(dir.path(), small().index);
        run_in(World::on(std::sync::Arc::new(store), small()), steps).map_err(TestCaseError::fail)?;
    }
}
