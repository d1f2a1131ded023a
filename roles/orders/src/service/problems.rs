//! What a caller is told when there is no answer.

use zizon_base::ids::OrderId;
use zizon_base::problem::{Code, FieldError, Problem};

use super::OrdersService;
use crate::execute::ExecuteError;
use crate::keyring::KeyringError;
use crate::order::state::{Event, TransitionError};
use crate::request::RequestLine;
use crate::stock::allocate::Short;

impl OrdersService {
    /// The problem of an execution that did not come to an end.
    pub(crate) fn problem(&self, error: &ExecuteError) -> Box<Problem> {
        let code = match error {
            ExecuteError::Unknown => Code::OutcomeUnknown,
            ExecuteError::Overloaded => Code::Overloaded,
            ExecuteError::Full => Code::StorageFull,
            ExecuteError::Closed => {
                self.fail("the table is closed");
                Code::StorageFailed
            }
            ExecuteError::Damaged(_) | ExecuteError::Table(_) => {
                tracing::error!(%error, "an order could not be read or written");
                Code::Internal
            }
        };
        Box::new(code.into())
    }
}

pub(super) fn no_order(id: &OrderId) -> Box<Problem> {
    Box::new(Problem::new(Code::NotFound).detail(format!("there is no order {id}")))
}

pub(super) fn insufficient(short: &[Short], lines: &[RequestLine]) -> Box<Problem> {
    let first = short.first().and_then(|first| Some((first, lines.get(first.line)?)));
    let detail = first.map(|(first, asked)| {
        let (sku, wanted, line) = (&asked.sku, first.requested, first.line + 1);
        match first.available {
            ..=0 => format!("{sku} (line {line}) is out of stock; nothing was reserved"),
            left => format!("of {sku} (line {line}) {wanted} are asked for and {left} are left; nothing was reserved"),
        }
    });
    let places = short.iter().map(|short| {
        FieldError::new(format!("#/items/{}/quantity", short.line), "insufficient-stock")
            .with("requested", short.requested)
            .with("available", short.available)
    });
    Box::new(Problem { detail, ..Problem::new(Code::InsufficientStock).fields(places) })
}

/// Why an event cannot come about any more, in a shopper's words.
pub(super) fn in_words(refused: TransitionError) -> String {
    let stands = refused.state.lifecycle.name().replace('_', " ");
    match refused.event {
        Event::CancelledByShopper | Event::CancelledByStaff => {
            format!("the order is {stands} and cannot be cancelled any more")
        }
        event => format!("the order is {stands}; \"{}\" cannot happen to it", event.name().replace('_', " ")),
    }
}

pub(super) fn keyring_problem(error: &KeyringError) -> Box<Problem> {
    if !matches!(error, KeyringError::TooMany) {
        tracing::error!(%error, "personal fields could not be sealed or opened");
    }
    Box::new(match error {
        KeyringError::TooMany => Code::Overloaded.into(),
        KeyringError::Io { .. } | KeyringError::Poisoned => Code::StorageFailed.into(),
        KeyringError::Full => Code::StorageFull.into(),
        KeyringError::Foreign { .. } | KeyringError::Damaged | KeyringError::Crypto => Code::Internal.into(),
    })
}
