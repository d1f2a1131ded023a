//! What the process does with one request, and what its answer claims.

use std::sync::Arc;

use zizon_base::problem::{Code, Problem};
use zizon_orders::service::Answer;
use zizon_orders::simulation::Shop;

use super::net::{Ask, Learned};
use super::profile::{OrderKey, PRODUCTS};
use super::record::Asking;
use crate::linear::order::{Call, Life};

/// What a task came to.
pub(crate) enum Done {
    Answered(Box<Answered>),
    Background,
}

/// A request with its answer.
pub(crate) struct Answered {
    pub client: usize,
    pub question: u64,
    pub ask: Ask,
    pub asking: Asking,
    pub reply: Reply,
}

/// An answer, as a client understands it.
pub(crate) enum Reply {
    Placed { body: Vec<u8>, replayed: bool },
    Stands(Life),
    CalledOff,
    Refused(Box<Problem>),
}

/// Does what the edge passes on.
pub(crate) async fn handle(shop: Arc<Shop>, ask: Ask, key: OrderKey) -> Reply {
    let (service, id) = (shop.service(), key.id.as_str());
    let token = Some(key.token.as_str());
    match ask {
        Ask::Place(_, body) => match service.place(key.bodies[usize::from(body)].as_bytes(), None).await {
            Ok(Answer { body, replayed, .. }) => Reply::Placed { body: body.to_vec(), replayed },
            Err(problem) => Reply::Refused(problem),
        },
        Ask::Show(_) => match service.show(id, token).await {
            Ok(body) => Reply::Stands(life(&body)),
            Err(problem) => Reply::Refused(problem),
        },
        Ask::Cancel(_) => match service.cancel(id, token).await {
            Ok(_) => Reply::CalledOff,
            Err(problem) => Reply::Refused(problem),
        },
    }
}

fn life(body: &[u8]) -> Life {
    let order: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    match order["status"].as_str() {
        Some("cancelled") => Life::Cancelled,
        Some("expired") => Life::Expired,
        _ => Life::Pending,
    }
}

/// What is known of a request that was not answered.
pub(crate) const fn unanswered(ask: Ask) -> Call {
    match ask {
        Ask::Place(_, body) => Call::MaybePlaced(body),
        // Nobody learns anything from a look that was not answered; it is taken out of the history then.
        Ask::Show(_) => Call::Missing,
        Ask::Cancel(_) => Call::MaybeCalledOff,
    }
}

/// What an answer claims.
pub(crate) enum Claim {
    /// This, as a call of the key's history.
    That(Call),
    /// That nothing was done, and nothing else.
    Nothing,
    /// That it is not known what was done.
    Unknown,
    /// Something that may never be answered here.
    Never,
}

impl Reply {
    pub fn claim(&self, ask: Ask) -> Claim {
        let body = if let Ask::Place(_, body) = ask { body } else { 0 };
        let problem = match self {
            Self::Placed { replayed: false, .. } => return Claim::That(Call::Created(body)),
            Self::Placed { replayed: true, .. } => return Claim::That(Call::Replayed(body)),
            Self::Stands(life) => return Claim::That(Call::Stands(*life)),
            Self::CalledOff => return Claim::That(Call::CalledOff),
            Self::Refused(problem) => problem,
        };
        match (problem.code, ask) {
            (Code::InsufficientStock, Ask::Place(..)) => Claim::That(Call::Short),
            (Code::IdempotencyKeyReused, Ask::Place(..)) => Claim::That(Call::Reused(body)),
            (Code::NotFound, Ask::Show(_) | Ask::Cancel(_)) => Claim::That(Call::Missing),
            (Code::InvalidTransition, Ask::Cancel(_)) => Claim::That(Call::TooLate),
            (Code::OutcomeUnknown, Ask::Place(..) | Ask::Cancel(_)) => Claim::Unknown,
            (
                Code::Overloaded
                | Code::PricesStale
                | Code::UpstreamUnavailable
                | Code::StorageFull
                | Code::StorageFailed,
                _,
            ) => Claim::Nothing,
            _ => Claim::Never,
        }
    }

    /// Whether a client that hears this knows what it wanted to know.
    pub const fn learned(&self) -> Learned {
        match self {
            Self::Refused(problem) if problem.code.retryable() => Learned::AskAgain,
            _ => Learned::Yes,
        }
    }

    /// The products a refusal says there is not enough of, and how much there is.
    pub fn shorts(&self, units: [u32; 2]) -> Vec<(usize, i64)> {
        let Self::Refused(problem) = self else { return Vec::new() };
        // Lines stand in the order of products, without those that are not asked for.
        let lines: Vec<usize> = (0..PRODUCTS.len()).filter(|&product| units[product] > 0).collect();
        let short = problem.errors.iter().filter_map(|error| {
            let line = error.pointer.strip_prefix("#/items/")?.split('/').next()?.parse::<usize>().ok()?;
            let available = error.extensions.iter().find(|(name, _)| *name == "available")?.1.as_i64()?;
            Some((*lines.get(line)?, available))
        });
        short.collect()
    }
}
