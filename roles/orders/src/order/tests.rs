//! The table of transitions against the reference (commerce, section 3.5).

use proptest::prelude::*;

use super::fact::{Actor, Fact, StockEffect, fold};
use super::state::{Event, FulfillmentStatus, Lifecycle, PaymentStatus, State, apply};
use zizon_base::time::Timestamp;
use zizon_table::{Item, Key};

/// Every change of the lifecycle there is: from, event, to. What is not here must be refused or leave it as it is.
const TABLE: &[(Lifecycle, Event, Lifecycle)] = &[
    (Lifecycle::PendingPayment, Event::PaymentCovered, Lifecycle::Confirmed),
    (Lifecycle::PendingPayment, Event::PaymentOverpaid, Lifecycle::Confirmed),
    (Lifecycle::PendingPayment, Event::Expired, Lifecycle::Expired),
    (Lifecycle::PendingPayment, Event::CancelledByShopper, Lifecycle::Cancelled),
    (Lifecycle::PendingPayment, Event::CancelledByStaff, Lifecycle::Cancelled),
    (Lifecycle::Expired, Event::LatePaymentReserved, Lifecycle::Confirmed),
    (Lifecycle::Confirmed, Event::PickStarted, Lifecycle::Preparing),
    (Lifecycle::Confirmed, Event::CancelledByShopper, Lifecycle::Cancelled),
    (Lifecycle::Confirmed, Event::CancelledByStaff, Lifecycle::Cancelled),
    (Lifecycle::Preparing, Event::CancelledByStaff, Lifecycle::Cancelled),
    (Lifecycle::Preparing, Event::ShippedAll, Lifecycle::Shipped),
    (Lifecycle::Shipped, Event::DeliveredAll, Lifecycle::Delivered),
    (Lifecycle::Delivered, Event::Completed, Lifecycle::Completed),
];

fn every_state() -> impl Iterator<Item = State> {
    Lifecycle::ALL.iter().flat_map(|&lifecycle| {
        PaymentStatus::ALL.iter().flat_map(move |&payment| {
            FulfillmentStatus::ALL.iter().map(move |&fulfillment| State { lifecycle, payment, fulfillment })
        })
    })
}

#[test]
fn the_lifecycle_changes_only_as_the_table_says() {
    for state in every_state() {
        for &event in Event::ALL {
            let Ok(after) = apply(state, event) else { continue };
            if after.lifecycle != state.lifecycle {
                let row = (state.lifecycle, event, after.lifecycle);
                assert!(TABLE.contains(&row), "{row:?}");
            }
        }
    }
}

#[test]
fn every_row_of_the_table_can_happen() {
    for &(from, event, to) in TABLE {
        let possible = every_state()
            .filter(|state| state.lifecycle == from)
            .any(|state| apply(state, event).is_ok_and(|after| after.lifecycle == to));
        assert!(possible, "{from:?} {event:?} {to:?}");
    }
}

#[test]
fn nothing_but_money_moves_a_finished_order() {
    for state in every_state().filter(|state| matches!(state.lifecycle, Lifecycle::Completed | Lifecycle::Cancelled)) {
        for &event in Event::ALL {
            if let Ok(after) = apply(state, event) {
                assert_eq!(
                    (after.lifecycle, after.fulfillment),
                    (state.lifecycle, state.fulfillment),
                    "{state:?} {event:?}"
                );
            }
        }
    }
}

#[test]
fn what_was_sent_cannot_be_called_off() {
    for state in every_state().filter(|state| state.fulfillment != FulfillmentStatus::Unfulfilled) {
        for event in [Event::CancelledByShopper, Event::CancelledByStaff] {
            assert!(apply(state, event).is_err(), "{state:?}");
        }
    }
}

#[test]
fn names_are_unique_and_found_again() {
    for &event in Event::ALL {
        assert_eq!(Event::from_name(event.name()), Some(event));
    }
    assert_eq!(Event::from_name("nonsense"), None);
}

#[test]
fn facts_that_do_not_follow_are_damage() {
    let fact = |version, event| Fact {
        version,
        event,
        at: Timestamp::default(),
        actor: Actor::System,
        effect: StockEffect::None,
        deferred: false,
    };
    assert_eq!(fold(&[fact(1, Event::Expired)]).unwrap().lifecycle, Lifecycle::Expired);
    assert!(fold(&[fact(2, Event::Expired)]).is_err());
    assert!(fold(&[fact(1, Event::Expired), fact(2, Event::CancelledByShopper)]).is_err());
}

proptest! {
    /// Whatever happens in whatever order, units are reserved, sold or free: never two of these, never less than none.
    #[test]
    fn units_of_an_order_are_in_one_place(events in prop::collection::vec(prop::sample::select(Event::ALL), 0..40)) {
        let mut state = State::CREATED;
        let (mut available, mut reserved, mut sold) = (0, 1, 0);
        for event in events {
            // A late payment reserves anew, which is the payments' part to do.
            if event == Event::LatePaymentReserved {
                continue;
            }
            let Ok(after) = apply(state, event) else { continue };
            let (a, r, s) = StockEffect::of(state, event).deltas(1);
            (available, reserved, sold) = (available + a, reserved + r, sold + s);
            prop_assert!(available >= 0 && reserved >= 0 && sold >= 0);
            prop_assert_eq!(available + reserved + sold, 1);
            state = after;
        }
        let released = matches!(state.lifecycle, Lifecycle::Expired | Lifecycle::Cancelled);
        prop_assert_eq!(available == 1, released);
        prop_assert_eq!(reserved == 1, state.lifecycle == Lifecycle::PendingPayment);
    }

    #[test]
    fn a_fact_comes_back_as_it_went(
        version in 1u32..9999, event in prop::sample::select(Event::ALL), at in 0u64..1 << 42, deferred in any::<bool>(),
        actor in prop::sample::select(&[Actor::Shopper, Actor::Operator, Actor::System][..]), effect in 0i64..4,
    ) {
        let effect = StockEffect::from_code(effect).unwrap();
        let fact = Fact { version, event, at: Timestamp::from_millis(at), actor, effect, deferred };
        let item = fact.write(Item::new(Key::new("p", "s")));
        prop_assert_eq!(Fact::read(version, &item), Ok(fact));
    }
}
