//! The size that runs with every change. `zizon-sim --seeds 0..20000` is the same with more seeds.

use std::collections::{HashMap, HashSet};

use zizon_sim::{Fault, Flaw, Hunt, Mode, Options, Step, hunt, run, sweep};

#[test]
fn three_hundred_seeds_break_nothing_and_do_enough_to_break_something() {
    let (stats, caught) = sweep(&Hunt { jobs: 2, ..Hunt::sound(0..300) }, &|_| true);
    assert_eq!(caught, None, "replay it with `cargo run --release -p zizon-sim -- --seed N --trace`");
    assert_eq!(stats.undecided, 0, "a history was too large to be checked");
    assert!(stats.placed > 600 && stats.replayed > 1_000 && stats.refused > 1_000, "{stats:?}");
    assert!(stats.unknown > 10 && stats.crashes > 600 && stats.power_losses > 200, "{stats:?}");
    assert!(stats.histories > 1_500 && stats.calls > 30_000, "{stats:?}");
    for fault in Fault::ALL {
        assert!(stats.faults[fault as usize] > 10, "{} came {} times", fault.name(), stats.faults[fault as usize]);
    }
}

#[test]
fn a_seed_gives_the_same_run_again_and_another_seed_another_one() {
    for mode in [Mode::Atomic, Mode::Stepwise] {
        for seed in 0..20 {
            let options = Options { mode: Some(mode), ..Options::seed(seed) };
            let first = run(&options);
            assert_eq!(first, run(&options), "{mode:?}, seed {seed}");
            // A trace changes nothing.
            assert_eq!(first.hash, run(&Options { trace: true, ..options }).hash, "{mode:?}, seed {seed}");
            let other = run(&Options { seed: seed + 1_000, ..options });
            assert_ne!(first.hash, other.hash, "{mode:?}, seed {seed}");
        }
    }
}

/// Seeds within which each flaw must show: some ten times as many as it takes.
fn bound(flaw: Flaw) -> u64 {
    match flaw {
        Flaw::NoGenerationBump => 10_000,
        Flaw::NoFence | Flaw::NoPosition => 300,
        _ => 100,
    }
}

#[test]
fn every_known_flaw_is_caught() {
    for flaw in Flaw::ALL {
        let caught = hunt(flaw, 0..bound(flaw));
        let caught = caught.unwrap_or_else(|| panic!("{flaw} is not caught: {}", flaw.about()));
        if flaw == Flaw::StaleLooks {
            // Nothing but the order of all answers shows it.
            assert!(caught.violated.contains("is not linearizable"), "{}", caught.violated);
        }
    }
}

#[test]
fn a_flaw_has_one_name() {
    for flaw in Flaw::ALL {
        assert_eq!(flaw.name().parse(), Ok(flaw));
    }
    let unknown = "no-such".parse::<Flaw>().expect_err("there is no such flaw");
    assert!(unknown.contains("no-nonce"), "{unknown}");
}

/// Kinds of crashes that are struck.
const CRASHES: usize = 14;
/// Runs that may be struck until a crash has met somebody at every step; one or two do.
const CRASH_SEEDS: u64 = 6;

#[test]
fn a_crash_at_every_step_and_every_disk_operation_leaves_a_sound_shop() {
    let order = [Step::Read, Step::PlaceAtOnce, Step::Hold, Step::Put, Step::GiveBack, Step::Settle, Step::Note];
    let at_any_moment = ["process killed", "power lost"];
    let in_an_operation = ["process killed in a disk operation", "power lost in a disk operation"];
    let mut met = HashMap::<(&str, usize), u64>::new();
    let (mut kinds, mut missing) = (HashSet::new(), Vec::new());
    for seed in 0..CRASH_SEEDS {
        let report = zizon_sim::crashpoints(seed..seed + 1, None, &mut |_| {});
        assert_eq!(report.violated, None, "{:#?}", report.lines);
        assert!(report.runs() > 2_500, "{:?}", report.struck);
        kinds.extend(report.struck.iter().filter(|struck| struck.runs > 0).map(|struck| struck.kind));
        for struck in &report.struck {
            for step in Step::ALL {
                *met.entry((struck.kind, step as usize)).or_default() +=
                    struck.places[step as usize].iter().sum::<u64>();
            }
        }
        let has = |kind: &str, step: Step| met.get(&(kind, step as usize)).is_some_and(|&times| times > 0);
        let somewhere = |step: &Step| met.iter().any(|((_, at), &times)| *at == *step as usize && times > 0);
        missing =
            Step::ALL.into_iter().filter(|step| !somewhere(step)).map(|step| ("any crash", step.name())).collect();
        for kind in at_any_moment.into_iter().chain(in_an_operation) {
            missing.extend(order.iter().filter(|step| !has(kind, **step)).map(|step| (kind, step.name())));
        }
        if missing.is_empty() && kinds.len() == CRASHES {
            return;
        }
    }
    panic!("crashes that met nobody: {missing:?}; kinds that came: {kinds:?}");
}

#[test]
fn crash_points_catch_a_shop_that_acknowledges_before_the_disk_has_it() {
    let report = zizon_sim::crashpoints(0..3, Some(Flaw::AcknowledgeEarly), &mut |_| {});
    let (_, _, point, why) = report.violated.expect("it is caught");
    assert!(why.contains("acknowledged") || why.contains("not linearizable"), "{point:?}: {why}");
}

#[test]
fn two_hundred_pieces_of_damage_are_noticed_and_nothing_damaged_is_served() {
    use zizon_sim::damage::{Noticed, Region, damage};
    let report = damage(1, 200, &mut |_| {}).expect("the temporary directory is usable");
    assert_eq!(report.harmed, None);
    let journal = |noticed| report.count(|region| !region.is_index(), noticed);
    assert!(
        journal(Noticed::Refused) > 20 && journal(Noticed::Reported) > 5 && journal(Noticed::Repaired) > 10,
        "{report:?}"
    );
    // Every region is hit; of the journal, only what has not been begun is hit without being noticed.
    for region in Region::ALL {
        assert!(report.regions.contains_key(&region), "{} was not hit: {report:?}", region.name());
        let harmless = report.count(|of| of == region, Noticed::Harmless);
        assert!(harmless == 0 || region == Region::Spare || region.is_index(), "{report:?}");
    }
    let index = |noticed| report.count(Region::is_index, noticed);
    assert_eq!(index(Noticed::Refused), 0, "an index can be made anew: {report:?}");
    assert!(index(Noticed::Reported) > 5 && index(Noticed::Repaired) > 10, "{report:?}");
    assert!(index(Noticed::Harmless) <= 1, "{report:?}");
}

#[test]
fn files_that_are_whole_and_tell_something_else_are_caught_by_what_they_answer() {
    for (what, said) in zizon_sim::damage::controls().expect("tables can be made") {
        let said = said.unwrap_or_else(|| panic!("nothing is said of {what}"));
        assert!(
            ["served damaged", "served as absent", "gone without a word"].iter().any(|words| said.contains(words)),
            "{what}: {said}"
        );
    }
}

mod command {
    use std::process::{Command, Output};

    fn sim(args: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_zizon-sim")).args(args.split(' ')).output().expect("the program starts")
    }

    fn said(output: &Output) -> String {
        [&output.stdout[..], &output.stderr[..]].concat().escape_ascii().to_string().replace("\\n", "\n")
    }

    #[test]
    fn a_failing_seed_is_printed_with_the_command_that_replays_it() {
        let hunt = sim("--seeds 0..200 --flaw blind-compensation --steps 800 --jobs 1");
        let told = said(&hunt);
        assert_eq!(hunt.status.code(), Some(1), "{told}");
        let command = told.lines().find_map(|line| line.trim().strip_prefix("cargo run --release -p zizon-sim -- "));
        let replay = sim(command.expect("a command to replay it"));
        assert_eq!(replay.status.code(), Some(1));
        let violated = told.lines().find_map(|line| line.split_once(": ")).expect("what was violated").1;
        assert!(said(&replay).ends_with(&format!("violated: {violated}\n")), "{}", said(&replay));
    }

    #[test]
    fn runs_that_hold_end_with_success_and_mistakes_with_words() {
        assert_eq!(sim("--seeds 0..5").status.code(), Some(0));
        assert_eq!(sim("--seed 3 --mode stepwise").status.code(), Some(0));
        for (args, word) in [
            ("--seeds 5..5", "no seeds"),
            ("--seeds five", "0..300"),
            ("--flaw none", "no-nonce"),
            ("--jobs 0", "at least 1"),
            ("--trace", "--seed"),
        ] {
            let refused = sim(args);
            assert_eq!(refused.status.code(), Some(2), "{args}");
            assert!(said(&refused).contains(word), "{args}: {}", said(&refused));
        }
    }
}

#[cfg(feature = "model")]
mod model {
    use zizon_sim::model::{Bounds, Variant, check};

    #[test]
    fn the_model_of_the_stepwise_protocol_holds_in_every_state() {
        let mut happens = Vec::new();
        for bounds in Bounds::small() {
            let checked = check(&bounds);
            assert_eq!(checked.violated, None, "{}", bounds.name);
            assert!(checked.states > 10_000, "{}: {} states", bounds.name, checked.states);
            happens.extend(checked.happens);
        }
        for what in Bounds::must_happen() {
            assert!(happens.contains(&what), "never: {what}");
        }
    }

    #[test]
    fn every_broken_model_is_refuted() {
        for variant in Variant::BROKEN {
            let refuted =
                Bounds::small().into_iter().any(|bounds| check(&Bounds { variant, ..bounds }).violated.is_some());
            assert!(refuted, "{variant} is not refuted");
        }
    }
}
