//! The model as `stateright` searches it, and what must hold in every state.

use std::num::NonZeroUsize;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model, Property};

use super::Bounds;
use super::handler::{self, After, Pc};
use super::keeper::{self, Cancel, Sweep};
use super::state::{KEYS, PRODUCTS, Standing, State};

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// A handler makes its next call.
    Handler(usize),
    /// The table refuses a handler's call for the moment.
    Refuse(usize),
    /// A handler's caller goes away.
    Abandon(usize),
    /// A command makes its next call.
    Cancel(usize),
    /// The settler brings the next effect.
    Settle,
    /// The settler saves where it is.
    Save,
    /// The sweeper sees a hold: product and attempt.
    See(u8, u8),
    /// The sweeper makes its next call.
    Sweep,
    /// Everything written becomes durable.
    Sync,
    /// The process dies and starts again.
    Crash,
}

impl Model for Bounds {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::first(self)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for at in 0..state.handlers.len() {
            actions.extend([Action::Handler(at), Action::Refuse(at), Action::Abandon(at)]);
        }
        actions.extend((0..state.cancels.len()).map(Action::Cancel));
        actions.extend([Action::Settle, Action::Save, Action::Sweep, Action::Sync, Action::Crash]);
        if state.sweep == Sweep::Idle {
            actions.extend(keeper::holds(state).into_iter().map(|(product, attempt)| Action::See(product, attempt)));
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        match action {
            Action::Handler(at) => handler::step(self, state, at, false),
            Action::Refuse(at) => handler::step(self, state, at, true),
            Action::Abandon(at) => handler::abandon(state, at),
            Action::Cancel(at) => keeper::cancel(self, state, at),
            Action::Settle => keeper::settle(self, state),
            Action::Save => keeper::save(self, state),
            Action::Sweep => keeper::sweep(self, state),
            Action::See(product, attempt) => Some(State { sweep: Sweep::Decide(product, attempt), ..state.clone() }),
            Action::Sync => sync(state),
            Action::Crash => crash(state),
        }
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no count is negative", |bounds: &Self, state: &State| {
                let sound = |at: usize| {
                    let shard = &state.newest.shards[at];
                    shard.available >= 0 && shard.reserved >= 0 && shard.available <= bounds.stock[at]
                };
                (0..PRODUCTS).all(sound)
            }),
            Property::always("no unit is lost or made", |bounds: &Self, state: &State| {
                (0..PRODUCTS).all(|at| on_hand(bounds, state, at) == bounds.stock[at])
            }),
            Property::always("nothing is oversold", |bounds: &Self, state: &State| {
                (0..PRODUCTS).all(|at| ordered(bounds, state, at) <= bounds.stock[at])
            }),
            Property::always("what was acknowledged stands", acknowledged_stands),
            Property::always("stock holds what orders reserved", |_: &Self, state: &State| !state.mismatch),
            Property::always("the books close at rest", |bounds: &Self, state: &State| {
                !at_rest(state)
                    || (0..PRODUCTS).all(|at| state.newest.shards[at].reserved == ordered(bounds, state, at))
            }),
            Property::always("everything comes to rest", comes_to_rest),
            Property::sometimes("an order is placed", |_: &Self, state: &State| {
                state.handlers.contains(&Pc::Acknowledged)
            }),
            Property::sometimes("a hold is fenced", |_: &Self, state: &State| void_above(state, 0)),
            Property::sometimes("a void is raised", |_: &Self, state: &State| void_above(state, 1)),
            Property::sometimes("a first line is given back for a second", gives_first_line_back),
            Property::sometimes("a second attempt places", |bounds: &Self, state: &State| {
                let second = |made: u8| !made.is_multiple_of(bounds.attempts);
                state.durable.orders.iter().any(|order| matches!(order, Standing::Placed(made) if second(*made)))
            }),
            Property::sometimes("stock is said to be short", |_: &Self, state: &State| {
                state.handlers.contains(&Pc::Short)
            }),
            Property::sometimes("a key is said to be another order's", |_: &Self, state: &State| {
                state.handlers.contains(&Pc::Reused)
            }),
            Property::sometimes("an order is called off", |_: &Self, state: &State| {
                state.cancels.contains(&Cancel::Done)
            }),
            Property::sometimes("an order stands whose caller has gone", |bounds: &Self, state: &State| {
                let gone = |at: usize| state.handlers[at] == Pc::Dead && state.leavers < bounds.leavers;
                let stands = |at: usize| matches!(state.durable.orders[bounds.requests[at].key], Standing::Placed(_));
                (0..state.handlers.len()).any(|at| gone(at) && stands(at))
            }),
        ]
    }
}

fn void_above(state: &State, generation: u8) -> bool {
    state.durable.orders.iter().any(|order| matches!(order, Standing::Void(stands) if *stands > generation))
}

fn gives_first_line_back(bounds: &Bounds, state: &State) -> bool {
    let held = |number: usize, attempt: u8| state.newest.shards[0].is_held(bounds.attempt(number, attempt));
    let gives =
        |(number, pc): (usize, &Pc)| matches!(*pc, Pc::Release(attempt, 0, After::Again) if held(number, attempt));
    state.handlers.iter().enumerate().any(gives)
}

/// Steps of settler, sweeper and disk within which everything that was left behind is decided on.
const DRAIN: usize = 200;

/// Once all requests and commands are over, settler and sweeper alone bring everything to rest, and the books close.
fn comes_to_rest(bounds: &Bounds, state: &State) -> bool {
    if !state.handlers.iter().all(Pc::is_over) || !state.cancels.iter().all(|cancel| cancel.is_over()) {
        return true;
    }
    let mut now = state.clone();
    for _ in 0..DRAIN {
        if at_rest(&now) {
            return (0..PRODUCTS).all(|at| now.newest.shards[at].reserved == ordered(bounds, &now, at));
        }
        let see = || {
            let hold = keeper::holds(&now).into_iter().next().filter(|_| now.sweep == Sweep::Idle);
            hold.map(|(product, attempt)| State { sweep: Sweep::Decide(product, attempt), ..now.clone() })
        };
        let next =
            sync(&now).or_else(|| keeper::settle(bounds, &now)).or_else(|| keeper::sweep(bounds, &now)).or_else(see);
        let Some(next) = next else { return false };
        now = next;
    }
    false
}

/// The newest state becomes durable, and whoever waited for it goes on.
fn sync(state: &State) -> Option<State> {
    let waits = state.handlers.iter().any(|pc| matches!(pc, Pc::Wait(_)))
        || state.cancels.iter().any(|cancel| matches!(cancel, Cancel::Wait(_)))
        || matches!(state.sweep, Sweep::Fenced(..) | Sweep::Lost);
    if state.durable == state.newest && !waits {
        return None;
    }
    let mut next = state.clone();
    next.durable = next.newest.clone();
    for pc in &mut next.handlers {
        if let Pc::Wait(then) = pc {
            *pc = (**then).clone();
        }
    }
    for cancel in &mut next.cancels {
        match cancel {
            Cancel::Wait(true) => *cancel = Cancel::Done,
            Cancel::Wait(false) => *cancel = Cancel::Load,
            _ => {}
        }
    }
    next.sweep = match next.sweep {
        Sweep::Fenced(product, attempt) => Sweep::GiveBack(product, attempt),
        Sweep::Lost => Sweep::Idle,
        other => other,
    };
    Some(next)
}

/// What is not durable is lost, and so is everybody at work. Who had not begun begins after it.
fn crash(state: &State) -> Option<State> {
    if state.crashes == 0 {
        return None;
    }
    let mut next = state.clone();
    next.crashes -= 1;
    next.newest = next.durable.clone();
    for pc in &mut next.handlers {
        if !pc.is_over() && *pc != Pc::Begin(0) {
            *pc = Pc::Dead;
        }
    }
    for cancel in &mut next.cancels {
        if !cancel.is_over() && *cancel != Cancel::Load {
            *cancel = Cancel::Dead;
        }
    }
    next.sweep = Sweep::Idle;
    next.settler = (next.durable.cursor, 0);
    Some(next)
}

fn held(bounds: &Bounds, state: &State, product: usize) -> i8 {
    let shard = &state.newest.shards[product];
    let attempts = (0..16).filter(|&attempt| shard.is_held(attempt));
    attempts.map(|attempt| bounds.request_of(attempt).units[product].cast_signed()).sum()
}

fn on_hand(bounds: &Bounds, state: &State, product: usize) -> i8 {
    let shard = &state.newest.shards[product];
    shard.available + shard.reserved + held(bounds, state, product)
}

/// Units of orders that stand.
fn ordered(bounds: &Bounds, state: &State, product: usize) -> i8 {
    let standing = (0..KEYS).filter(|&key| !state.newest.cancelled[key]);
    let units = standing.filter_map(|key| match state.newest.orders[key] {
        Standing::Placed(attempt) => Some(bounds.request_of(attempt).units[product].cast_signed()),
        _ => None,
    });
    units.sum()
}

fn acknowledged_stands(bounds: &Bounds, state: &State) -> bool {
    let orders = state.handlers.iter().zip(&bounds.requests).all(|(pc, request)| {
        let stands = match state.durable.orders[request.key] {
            Standing::Placed(made) => bounds.request_of(made).units == request.units,
            _ => false,
        };
        *pc != Pc::Acknowledged || stands
    });
    let cancels = state
        .cancels
        .iter()
        .zip(&bounds.cancels)
        .all(|(cancel, &key)| *cancel != Cancel::Done || state.durable.cancelled[key]);
    orders && cancels
}

/// Nobody has anything left to do.
fn at_rest(state: &State) -> bool {
    state.newest == state.durable
        && state.sweep == Sweep::Idle
        && state.newest.shards.iter().all(|shard| shard.holds == 0)
        && state.handlers.iter().all(Pc::is_over)
        && state.cancels.iter().all(|cancel| cancel.is_over())
        && usize::from(state.settler.0) == state.newest.feed.len()
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Distinct states.
    pub states: usize,
    /// The longest way to one of them.
    pub depth: usize,
    /// How long it took.
    pub took: Duration,
    /// The property that does not hold, with the steps that lead there.
    pub violated: Option<(&'static str, Vec<String>)>,
    /// What happens in some state.
    pub happens: Vec<&'static str>,
}

impl Bounds {
    /// Everything that must happen in some state of some search: what never happens is not checked.
    #[must_use]
    pub fn must_happen() -> Vec<&'static str> {
        let properties = Self::new("", [0, 0], &[], &[]).properties();
        let sometimes = properties.iter().filter(|property| property.expectation == stateright::Expectation::Sometimes);
        sometimes.map(|property| property.name).collect()
    }
}

/// Searches every state within `bounds`; the sound protocol to the end, a broken one until something is violated.
///
/// # Panics
/// When a thread of the search does.
#[must_use]
pub fn check(bounds: &Bounds) -> Checked {
    let began = Instant::now();
    let threads = available_parallelism().map_or(1, NonZeroUsize::get);
    let checker = bounds.clone().checker().threads(threads).finish_when(HasDiscoveries::AnyFailures);
    let checker = checker.spawn_bfs().join();
    let found = checker.discoveries();
    let mut violated = None;
    let mut happens = Vec::new();
    for property in bounds.properties() {
        let path = found.get(property.name);
        match (property.expectation, path) {
            (stateright::Expectation::Always, Some(path)) if violated.is_none() => {
                let steps = path.clone().into_actions();
                violated = Some((property.name, steps.iter().map(|action| format!("{action:?}")).collect()));
            }
            (stateright::Expectation::Sometimes, Some(_)) => happens.push(property.name),
            _ => {}
        }
    }
    let (states, depth) = (checker.unique_state_count(), checker.max_depth());
    Checked { states, depth, took: began.elapsed(), violated, happens }
}
