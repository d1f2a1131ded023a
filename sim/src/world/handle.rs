//! What the process does with one request, and what its answer claims.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use zizon_base::ids::OrderId;
use zizon_base::problem::{Code, FieldError, Problem};
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
    Placed {
        body: Vec<u8>,
        replayed: bool,
    },
    /// A look, or a command that was obeyed: the order as it stands.
    Stands {
        order: Option<Standing>,
        called_off: bool,
    },
    Refused(Box<Problem>),
}

/// An order as a look shows it: where it stands, and everything in it that may never change.
pub(crate) struct Standing {
    pub life: Life,
    pub fixed: serde_json::Value,
}

/// Looks that were answered, as a cache between keeps them. Only a broken world has one.
pub(crate) type Memory = Arc<Mutex<BTreeMap<OrderId, Vec<u8>>>>;

/// Does what the edge passes on.
pub(crate) async fn handle(shop: Arc<Shop>, ask: Ask, key: OrderKey, memory: Option<Memory>) -> Reply {
    let (service, id) = (shop.service(), key.id.as_str());
    let token = Some(key.token.as_str());
    match ask {
        Ask::Place(_, body) => match service.place(key.bodies[usize::from(body)].as_bytes(), None).await {
            Ok(Answer { body, replayed, .. }) => Reply::Placed { body: body.to_vec(), replayed },
            Err(problem) => Reply::Refused(problem),
        },
        Ask::Show(_) => match service.show(id, token).await {
            Ok(body) => {
                let body = memory.map_or(body.clone(), |memory| memory.lock().entry(key.id).or_insert(body).clone());
                Reply::Stands { order: standing(&body), called_off: false }
            }
            Err(problem) => Reply::Refused(problem),
        },
        Ask::Cancel(_) => match service.cancel(id, token).await {
            Ok(body) => Reply::Stands { order: standing(&body), called_off: true },
            Err(problem) => Reply::Refused(problem),
        },
    }
}

/// Reads the body of an order; `None` where it is none that may be answered here.
pub(crate) fn standing(body: &[u8]) -> Option<Standing> {
    let mut fixed: serde_json::Value = serde_json::from_slice(body).ok()?;
    let order = fixed.as_object_mut()?;
    let life = match order.remove("status")?.as_str()? {
        "pending_payment" => Life::Pending,
        "cancelled" => Life::Cancelled,
        "expired" => Life::Expired,
        _ => return None,
    };
    // What follows from where it stands.
    for follows in ["payment_status", "fulfillment_status", "reservation", "links"] {
        order.remove(follows)?;
    }
    Some(Standing { life, fixed })
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
            Self::Stands { order: None, .. } => return Claim::Never,
            Self::Stands { order: Some(order), called_off } => {
                return match (called_off, order.life) {
                    (false, life) => Claim::That(Call::Stands(life)),
                    (true, Life::Cancelled) => Claim::That(Call::CalledOff),
                    (true, _) => Claim::Never,
                };
            }
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

    /// The products a refusal for want of stock says there is not enough of, and how much there is.
    ///
    /// # Errors
    /// It names none, or one in a way that cannot be understood, or one of which there is as much as was asked for.
    pub fn shorts(&self, units: [u32; 2]) -> Result<Vec<(usize, i64)>, String> {
        let Self::Refused(problem) = self else { return Ok(Vec::new()) };
        if problem.code != Code::InsufficientStock {
            return Ok(Vec::new());
        }
        // Lines stand in the order of products, without those that are not asked for.
        let lines: Vec<usize> = (0..PRODUCTS.len()).filter(|&product| units[product] > 0).collect();
        let mut shorts = Vec::new();
        for error in &problem.errors {
            let (product, available) =
                short(error, &lines).ok_or_else(|| format!("a refusal cannot be understood: {}", error.pointer))?;
            if available >= i64::from(units[product]) {
                let (asked, product) = (units[product], PRODUCTS[product]);
                return Err(format!("{asked} of {product} were refused although {available} are left"));
            }
            shorts.push((product, available));
        }
        if shorts.is_empty() { Err("a refusal names no product that is short".to_owned()) } else { Ok(shorts) }
    }
}

/// The product that one entry of a refusal is about, and how much of it there is.
fn short(error: &FieldError, lines: &[usize]) -> Option<(usize, i64)> {
    let line = error.pointer.strip_prefix("#/items/")?.split('/').next()?.parse::<usize>().ok()?;
    let available = error.extensions.iter().find(|(name, _)| *name == "available")?.1.as_i64()?;
    Some((*lines.get(line)?, available))
}
