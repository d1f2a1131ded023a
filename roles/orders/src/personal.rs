//! The personal fields of an order, as they are sealed.

use serde::{Deserialize, Serialize};
use zizon_contracts::orders::ShippingAddress;

use crate::request::OrderRequest;

/// What of an order is about a person.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Personal {
    /// The note to the shop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Where it goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shipping_address: Option<ShippingAddress>,
}

impl Personal {
    /// The personal fields of a request.
    #[must_use]
    pub fn of(request: &OrderRequest) -> Self {
        Self { note: request.note.clone(), shipping_address: request.shipping_address.clone() }
    }
}
