//! The one place between framing and routing: everything that may refuse a request before anybody acts on it.
//!
//! A request gets here when its framing is beyond doubt and leaves for the routes when every guard has let it pass.
//! Admission control is the first member; a WAF, rate limits and blocks are further implementations of [`Guard`],
//! added to the [`Chain`] in [`crate::run`]. Guards decide from the request and their own state; none waits.

mod admission;
mod limit;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use zizon_base::problem::Problem;

use admission::ClientPlace;
use limit::InWork;

pub use admission::Admission;

use crate::view::RequestView;

/// What a guard says.
#[derive(Debug)]
pub enum Verdict {
    /// Goes on.
    Pass,
    /// Goes on and holds this: from the head until the body is there, from the whole request until it is answered.
    Hold(Permit),
    /// Is answered here.
    Refuse(Problem),
}

/// Looks at requests before they are routed.
pub trait Guard: Send + Sync + 'static {
    /// A metric label.
    fn name(&self) -> &'static str;

    /// Decides by the head. Called before the body is read.
    fn inspect(&self, request: &RequestView<'_>) -> Verdict;

    /// Decides by the whole request. Called once the body is there.
    fn inspect_body(&self, _request: &RequestView<'_>, _body: &[u8]) -> Verdict {
        Verdict::Pass
    }
}

/// One place of a bounded number; given back when it is dropped.
#[derive(Debug)]
pub struct Permit {
    taken: Arc<AtomicUsize>,
    _of_client: Option<ClientPlace>,
    in_work: Option<InWork>,
}

impl Permit {
    /// Takes one of `bound` places.
    #[must_use]
    pub fn take(taken: &Arc<AtomicUsize>, bound: usize) -> Option<Self> {
        let before = taken.fetch_add(1, Ordering::Relaxed);
        // Made first, so that a refused place is given back by its drop.
        let permit = Self { taken: Arc::clone(taken), _of_client: None, in_work: None };
        (before < bound).then_some(permit)
    }

    /// The same place, counted for a client as well.
    fn of_client(mut self, place: ClientPlace) -> Self {
        self._of_client = Some(place);
        self
    }

    /// The same place, and how long it is held counts.
    fn timed(mut self, in_work: InWork) -> Self {
        self.in_work = Some(in_work);
        self
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a request holds while it is in work.
#[derive(Debug, Default)]
pub struct Held {
    first: Option<Permit>,
    others: Vec<Permit>,
}

impl Held {
    fn add(&mut self, permit: Permit) {
        match self.first {
            None => self.first = Some(permit),
            Some(_) => self.others.push(permit),
        }
    }

    /// A role has answered the request: how long it took counts.
    pub fn answered(&mut self) {
        let permits = self.first.iter_mut().chain(&mut self.others);
        permits.filter_map(|permit| permit.in_work.as_mut()).for_each(InWork::answered);
    }
}

/// A refusal and who refused.
#[derive(Debug)]
pub struct Refusal {
    /// [`Guard::name`].
    pub guard: &'static str,
    /// What the client is told.
    pub problem: Problem,
}

/// The guards, in the order in which they are asked.
#[derive(Default)]
pub struct Chain(Vec<Box<dyn Guard>>);

impl Chain {
    /// Adds a guard behind those that are there.
    #[must_use]
    pub fn with(mut self, guard: impl Guard) -> Self {
        self.0.push(Box::new(guard));
        self
    }

    /// Asks every guard about the head.
    ///
    /// # Errors
    /// The first refusal.
    pub fn inspect(&self, request: &RequestView<'_>) -> Result<Held, Refusal> {
        let mut held = Held::default();
        self.ask(&mut held, |guard| guard.inspect(request)).map(|()| held)
    }

    /// Asks every guard about the whole request.
    ///
    /// # Errors
    /// The first refusal.
    pub fn inspect_body(&self, request: &RequestView<'_>, body: &[u8], held: &mut Held) -> Result<(), Refusal> {
        // What was held while the body came is free for the next one.
        *held = Held::default();
        self.ask(held, |guard| guard.inspect_body(request, body))
    }

    fn ask(&self, held: &mut Held, question: impl Fn(&dyn Guard) -> Verdict) -> Result<(), Refusal> {
        for guard in &self.0 {
            match question(guard.as_ref()) {
                Verdict::Pass => {}
                Verdict::Hold(permit) => held.add(permit),
                Verdict::Refuse(problem) => return Err(Refusal { guard: guard.name(), problem }),
            }
        }
        Ok(())
    }
}
