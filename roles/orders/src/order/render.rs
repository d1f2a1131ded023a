//! The JSON of an order, written by hand: it is made for every order and every replay, and must come out the same.

use zizon_base::ids::{IdKey, OrderId};
use zizon_base::json::JsonWriter;
use zizon_base::time::Timestamp;

use super::document::{Line, OrderDocument};
use super::state::{Lifecycle, State};

/// Path of an order, without its id.
pub const ORDERS_PATH: &str = "/api/v1/orders/";

/// The body of the 201 and of every later look at the order; only the statuses may differ, and what follows from them:
/// an order that does not wait for a payment any more has no reservation and no link to pay.
#[must_use]
pub fn render(id: &OrderId, document: &OrderDocument, state: State, keys: &IdKey) -> Vec<u8> {
    let mut out = Vec::with_capacity(704 + document.lines.len() * 256);
    let mut json = JsonWriter::new(&mut out);
    json.begin_object();
    json.string("id", id.as_str());
    json.string("number", &keys.order_number(id, document.market, document.created));
    json.string("status", state.lifecycle.name());
    json.string("payment_status", state.payment.name());
    json.string("fulfillment_status", state.fulfillment.name());
    json.string("user_id", document.user.as_str());
    json.string("market", document.market.code());
    json.string("currency", document.market.currency().code());
    json.array("items");
    for (number, line) in (1..).zip(&document.lines) {
        render_line(&mut json, number, line);
    }
    json.end_array();
    let totals = document.totals();
    json.object("totals");
    json.int("subtotal", totals.subtotal);
    json.int("discount", 0);
    json.int("shipping", 0);
    json.int("tax_included", totals.tax_included);
    json.int("duty", 0);
    json.int("total", totals.total);
    json.end_object();
    let payable = state.lifecycle == Lifecycle::PendingPayment;
    if payable {
        json.object("reservation");
        instant(&mut json, "expires_at", document.expires);
        json.end_object();
    } else {
        json.null("reservation");
    }
    instant(&mut json, "created_at", document.created);
    json.object("links");
    if payable {
        json.string("pay", &[ORDERS_PATH, id.as_str(), "/payments"].concat());
    }
    json.end_object();
    if document.guest {
        json.string("access_token", &keys.access_token(id));
    }
    json.end_object();
    out
}

fn render_line(json: &mut JsonWriter<'_>, number: i64, line: &Line) {
    json.begin_object();
    json.int("line", number);
    json.string("product_id", line.sku.as_str());
    json.string("sku", line.sku.as_str());
    json.string("name", &line.name);
    json.int("quantity", i64::from(line.quantity));
    json.int("unit_price", line.unit_price);
    json.int("subtotal", line.subtotal);
    json.int("discount", 0);
    json.int("tax", line.tax);
    json.bool("gift", false);
    json.end_object();
}

fn instant(json: &mut JsonWriter<'_>, name: &'static str, at: Timestamp) {
    json.string(name, &at.to_rfc3339());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zeroize::Zeroizing;
    use zizon_contracts::orders::OrderBody;

    use super::*;
    use crate::order::document::tests::document;
    use crate::order::state::{Event, apply};

    proptest! {
        #[test]
        fn what_is_written_by_hand_is_the_contract(
            document in document(), event in prop::option::of(prop::sample::select(Event::ALL)),
        ) {
            let state = event.and_then(|event| apply(State::CREATED, event).ok()).unwrap_or(State::CREATED);
            let keys = IdKey::new(&Zeroizing::new([3; 32]));
            let id = keys.order_id("guest", &document.user, &"key".parse().unwrap());
            let bytes = render(&id, &document, state, &keys);
            let body: OrderBody = serde_json::from_slice(&bytes).unwrap();
            prop_assert_eq!(serde_json::to_vec(&body).unwrap(), bytes);
            let payable = state.lifecycle == Lifecycle::PendingPayment;
            prop_assert_eq!((body.reservation.is_some(), body.links.pay.is_some()), (payable, payable));
            prop_assert_eq!(body.items.len(), document.lines.len());
            prop_assert_eq!(body.access_token.is_some(), document.guest);
            // I3: the total is the sum of the lines.
            let sum: i64 = body.items.iter().map(|item| item.subtotal - item.discount).sum();
            prop_assert_eq!(body.totals.total, sum + body.totals.shipping + body.totals.duty);
        }
    }

    /// An order as version 1 stored it and the 201 it was answered with. Whoever repeats the request, at any age and after any upgrade,
    /// gets these bytes: neither side of this test is ever changed.
    #[test]
    fn an_order_stored_by_version_1_is_answered_with_the_same_bytes_for_ever() {
        let stored = "0103024b52e5f2e8eba03485ea9feca03407757365725f3432020750524f443030311ceba3a8ebaaa8eb9dbc2022ec8580eb9dbcec9db82220ed9484eba19c02d097a401a0afc80283ed1d0750524f4430303205536572756d01f0a802f0a802ff1a0200000201030104deadbeef";
        let answered = r#"{"id":"ord_me4yxqe3s6wf7mrh8d7rm764kzzc50y043nkrgkqrd","number":"K261124-MKE8F9PT","status":"pending_payment","payment_status":"unpaid","fulfillment_status":"unfulfilled","user_id":"user_42","market":"KR","currency":"KRW","items":[{"line":1,"product_id":"PROD001","sku":"PROD001","name":"루모라 \"셀라인\" 프로","quantity":2,"unit_price":2690000,"subtotal":5380000,"discount":0,"tax":489091,"gift":false},{"line":2,"product_id":"PROD002","sku":"PROD002","name":"Serum","quantity":1,"unit_price":38000,"subtotal":38000,"discount":0,"tax":3455,"gift":false}],"totals":{"subtotal":5418000,"discount":0,"shipping":0,"tax_included":492546,"duty":0,"total":5418000},"reservation":{"expires_at":"2026-11-24T12:29:03.621Z"},"created_at":"2026-11-24T12:14:03.621Z","links":{"pay":"/api/v1/orders/ord_me4yxqe3s6wf7mrh8d7rm764kzzc50y043nkrgkqrd/payments"},"access_token":"ebppgf06rzhb7dgpasaanm886v6k13nv"}"#;
        let bytes: Vec<u8> =
            (0..stored.len()).step_by(2).map(|at| u8::from_str_radix(&stored[at..at + 2], 16).unwrap()).collect();
        let document = OrderDocument::decode(&bytes).unwrap();
        assert_eq!(document.encode(), bytes);
        let keys = IdKey::new(&Zeroizing::new([3; 32]));
        let id = keys.order_id("guest", &document.user, &"test_1_0.5".parse().unwrap());
        assert_eq!(String::from_utf8(render(&id, &document, State::CREATED, &keys)).unwrap(), answered);
    }
}
