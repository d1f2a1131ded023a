//! Negative controls: evidence is broken on purpose, and the check it is meant for must say so. A check that cannot fail shows nothing.

mod observations;
mod processes;
mod simulation;

use serde::Serialize;

use crate::ProveError;
use crate::proof::{Check, Verdict};
use crate::session::Session;

/// Something broken on purpose.
pub struct Control<'a> {
    /// What is broken.
    pub name: String,
    /// Breaks it and puts it before the check.
    pub run: Box<dyn Fn() -> Result<Caught, Missed> + 'a>,
}

/// The defect was noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caught {
    /// By which check, and what it saw.
    pub by: String,
}

/// The defect was not noticed.
#[derive(Debug)]
pub enum Missed {
    /// The check holds although what it checks is broken: it shows nothing.
    Unnoticed {
        /// What it said.
        said: String,
    },
    /// The control could not be carried through, which shows nothing either way.
    NotRun(ProveError),
}

impl<E: Into<ProveError>> From<E> for Missed {
    fn from(error: E) -> Self {
        Self::NotRun(error.into())
    }
}

/// What came of a control.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// What was broken.
    pub name: String,
    /// Whether it was noticed.
    pub caught: bool,
    /// By which check, or what the check said instead.
    pub said: String,
}

/// All controls: defects in real processes first, then in the code in a simulated world, then ones that only an observation can
/// have.
#[must_use]
pub fn all<'a>(session: &'a Session<'a>) -> Vec<Control<'a>> {
    let mut controls = processes::all(session);
    controls.extend(simulation::all(session));
    controls.extend(observations::all());
    controls
}

/// Runs them in order. Those that came to their end stand, whatever became of a later one: the second is why one could not be carried
/// through, which ends the run.
pub fn run(session: &Session<'_>, controls: &[Control<'_>]) -> (Vec<Outcome>, Option<ProveError>) {
    let mut outcomes = Vec::with_capacity(controls.len());
    for (at, control) in controls.iter().enumerate() {
        session.say.note(&format!("control {} of {}: {}", at + 1, controls.len(), control.name));
        let (caught, said) = match session.go_on().map_err(Missed::from).and_then(|()| (control.run)()) {
            Ok(caught) => (true, caught.by),
            Err(Missed::Unnoticed { said }) => (false, said),
            Err(Missed::NotRun(error)) => return (outcomes, Some(error)),
        };
        outcomes.push(Outcome { name: control.name.clone(), caught, said });
    }
    (outcomes, None)
}

/// What the outcomes say. No control is no control.
#[must_use]
pub fn verdict(outcomes: &[Outcome]) -> Verdict {
    if !outcomes.is_empty() && outcomes.iter().all(|outcome| outcome.caught) {
        Verdict::Proven
    } else {
        Verdict::Refuted
    }
}

/// The check whose claim has these words must refute; that another one does is not enough.
fn must_refute(checks: &[Check], claim: &str) -> Result<Caught, Missed> {
    let meant: Vec<&Check> = checks.iter().filter(|check| check.claim.contains(claim)).collect();
    match meant.iter().find(|check| !check.holds) {
        Some(check) => Ok(Caught { by: format!("{}: {}", check.claim, check.seen) }),
        None => Err(Missed::Unnoticed {
            said: meant.first().map_or_else(|| format!("no check says \"{claim}\""), |check| check.seen.clone()),
        }),
    }
}

/// Before it is broken, the same evidence must hold: otherwise a check that always refutes would pass as a good one.
fn must_hold(checks: &[Check]) -> Result<(), Missed> {
    match checks.iter().find(|check| !check.holds) {
        None => Ok(()),
        Some(check) => Err(Missed::Unnoticed { said: format!("refuted before it was broken: {}", check.seen) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_is_caught_only_by_the_check_it_is_meant_for() {
        let checks = [Check::new("none is lost", true, "0 lost"), Check::new("each is there once", false, "1 double")];
        assert!(must_refute(&checks, "there once").is_ok());
        assert!(matches!(must_refute(&checks, "none is lost"), Err(Missed::Unnoticed { .. })));
        assert!(matches!(must_refute(&checks, "no such claim"), Err(Missed::Unnoticed { .. })));
        assert!(must_hold(&checks).is_err());
    }

    #[test]
    fn one_defect_unnoticed_or_none_tried_is_a_failure() {
        let outcome = |caught| Outcome { name: "n".into(), caught, said: String::new() };
        assert_eq!(verdict(&[outcome(true), outcome(true)]), Verdict::Proven);
        assert_eq!(verdict(&[outcome(true), outcome(false)]), Verdict::Refuted);
        assert_eq!(verdict(&[]), Verdict::Refuted);
    }

    #[test]
    fn every_broken_observation_is_caught() {
        for control in observations::all() {
            assert!((control.run)().is_ok(), "{}", control.name);
        }
    }
}
