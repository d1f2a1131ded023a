//! The life of an order on three axes (reference: commerce, section 3.5). A pure function says what may happen.

/// Where the order stands as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lifecycle {
    /// Stock is reserved; payment is awaited.
    PendingPayment,
    /// Paid for.
    Confirmed,
    /// Being picked; the address is frozen.
    Preparing,
    /// All of it is on its way.
    Shipped,
    /// All of it has arrived.
    Delivered,
    /// Kept by the shopper. Final.
    Completed,
    /// Not paid in time. Final, but for a late payment.
    Expired,
    /// Called off. Final.
    Cancelled,
}

/// Where the money stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PaymentStatus {
    /// Nothing was paid.
    Unpaid,
    /// Promised by the payer's bank.
    Authorized,
    /// Less than the total was paid.
    PartiallyPaid,
    /// The total was paid.
    Paid,
    /// More than the total was paid.
    Overpaid,
    /// Some of it was given back.
    PartiallyRefunded,
    /// All of it was given back.
    Refunded,
    /// The promise was released.
    Voided,
    /// The last attempt did not work.
    Failed,
}

/// Where the goods stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FulfillmentStatus {
    /// Nothing was sent.
    Unfulfilled,
    /// Some was sent.
    PartiallyShipped,
    /// All was sent.
    Shipped,
    /// Some has arrived.
    PartiallyDelivered,
    /// All has arrived.
    Delivered,
    /// The shopper wants to give something back.
    ReturnRequested,
    /// Some came back.
    PartiallyReturned,
    /// All came back.
    Returned,
}

macro_rules! names {
    ($kind:ident: $($variant:ident = $name:literal),* $(,)?) => {
        impl $kind {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name clients see.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }
    };
}

names!(Lifecycle: PendingPayment = "pending_payment", Confirmed = "confirmed", Preparing = "preparing",
    Shipped = "shipped", Delivered = "delivered", Completed = "completed", Expired = "expired",
    Cancelled = "cancelled");
names!(PaymentStatus: Unpaid = "unpaid", Authorized = "authorized", PartiallyPaid = "partially_paid", Paid = "paid",
    Overpaid = "overpaid", PartiallyRefunded = "partially_refunded", Refunded = "refunded", Voided = "voided",
    Failed = "failed");
names!(FulfillmentStatus: Unfulfilled = "unfulfilled", PartiallyShipped = "partially_shipped", Shipped = "shipped",
    PartiallyDelivered = "partially_delivered", Delivered = "delivered", ReturnRequested = "return_requested",
    PartiallyReturned = "partially_returned", Returned = "returned");
names!(Event: PaymentAuthorized = "payment_authorized", PaymentPart = "payment_part", PaymentCovered = "confirmed",
    PaymentOverpaid = "payment_overpaid", PaymentFailed = "payment_failed", PaymentVoided = "payment_voided",
    RefundedPart = "refunded_part", RefundedAll = "refunded_all", Expired = "expired",
    CancelledByShopper = "cancelled", CancelledByStaff = "cancelled_by_staff", LatePaymentReserved = "late_payment_reserved",
    PickStarted = "pick_started", ShippedPart = "shipped_part", ShippedAll = "shipped", DeliveredPart = "delivered_part",
    DeliveredAll = "delivered", Completed = "completed", ReturnRequested = "return_requested",
    ReturnedPart = "returned_part", ReturnedAll = "returned_all");

/// What can happen to an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// The payer's bank promised the amount.
    PaymentAuthorized,
    /// Less than the total was paid.
    PaymentPart,
    /// The total was paid; the reserved stock is sold.
    PaymentCovered,
    /// More than the total was paid.
    PaymentOverpaid,
    /// A payment did not work.
    PaymentFailed,
    /// A promise was released.
    PaymentVoided,
    /// Some was given back.
    RefundedPart,
    /// All was given back.
    RefundedAll,
    /// The time for payment is over.
    Expired,
    /// The shopper called it off: until picking starts.
    CancelledByShopper,
    /// Staff called it off: until it is shipped.
    CancelledByStaff,
    /// Money came after expiry, and the stock could be reserved again.
    LatePaymentReserved,
    /// Picking started.
    PickStarted,
    /// Some was sent.
    ShippedPart,
    /// All was sent.
    ShippedAll,
    /// Some has arrived.
    DeliveredPart,
    /// All has arrived.
    DeliveredAll,
    /// Kept for the market's time of return, or confirmed by the shopper.
    Completed,
    /// The shopper wants to give something back.
    ReturnRequested,
    /// Some came back.
    ReturnedPart,
    /// All came back.
    ReturnedAll,
}

impl Event {
    /// The event with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|event| event.name() == name)
    }
}

/// An order's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct State {
    /// The whole.
    pub lifecycle: Lifecycle,
    /// The money.
    pub payment: PaymentStatus,
    /// The goods.
    pub fulfillment: FulfillmentStatus,
}

/// The table has no such transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an order that is {} cannot take {}", .state.lifecycle.name(), .event.name())]
pub struct TransitionError {
    /// Where the order stood.
    pub state: State,
    /// What should have happened.
    pub event: Event,
}

impl State {
    /// An order that was just made.
    pub const CREATED: Self = Self {
        lifecycle: Lifecycle::PendingPayment,
        payment: PaymentStatus::Unpaid,
        fulfillment: FulfillmentStatus::Unfulfilled,
    };

    /// Whether nothing but the money can move any more. A late payment may still revive an expired order.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self.lifecycle, Lifecycle::Completed | Lifecycle::Cancelled | Lifecycle::Expired)
    }
}

/// The state after `event`.
///
/// # Errors
/// [`TransitionError`] when the table has no such transition.
pub fn apply(state: State, event: Event) -> Result<State, TransitionError> {
    let (lifecycle, payment, fulfillment) =
        (lifecycle_after(state, event), payment_after(state, event), fulfillment_after(state, event));
    match (lifecycle, payment, fulfillment) {
        (Some(lifecycle), Some(payment), Some(fulfillment)) => Ok(State { lifecycle, payment, fulfillment }),
        _ => Err(TransitionError { state, event }),
    }
}

/// The next lifecycle; `None` where the event is not allowed.
fn lifecycle_after(state: State, event: Event) -> Option<Lifecycle> {
    use Lifecycle as L;
    let now = state.lifecycle;
    match (now, event) {
        (L::PendingPayment, Event::PaymentCovered | Event::PaymentOverpaid) => Some(L::Confirmed),
        (L::PendingPayment, Event::Expired) => Some(L::Expired),
        (L::PendingPayment | L::Confirmed, Event::CancelledByShopper) => Some(L::Cancelled),
        (L::PendingPayment | L::Confirmed | L::Preparing, Event::CancelledByStaff) => Some(L::Cancelled),
        (L::Expired, Event::LatePaymentReserved) => Some(L::Confirmed),
        (L::Confirmed, Event::PickStarted) => Some(L::Preparing),
        (L::Preparing, Event::ShippedPart) => Some(L::Preparing),
        (L::Preparing, Event::ShippedAll) => Some(L::Shipped),
        (L::Preparing | L::Shipped, Event::DeliveredPart) => Some(now),
        (L::Shipped, Event::DeliveredAll) => Some(L::Delivered),
        (L::Delivered, Event::Completed) => Some(L::Completed),
        (L::Delivered, Event::ReturnRequested | Event::ReturnedPart | Event::ReturnedAll) => Some(now),
        // Money that comes in parts, or is promised, moves nothing by itself; giving it back is always possible.
        (L::PendingPayment, Event::PaymentAuthorized | Event::PaymentPart | Event::PaymentFailed) => Some(now),
        (L::PendingPayment | L::Expired | L::Cancelled, Event::PaymentVoided) => Some(now),
        (_, Event::RefundedPart | Event::RefundedAll) => Some(now),
        _ => None,
    }
}

/// The next payment status; `None` where the event is not allowed.
fn payment_after(state: State, event: Event) -> Option<PaymentStatus> {
    use PaymentStatus as P;
    let now = state.payment;
    match event {
        Event::PaymentAuthorized => matches!(now, P::Unpaid | P::Failed | P::Voided).then_some(P::Authorized),
        Event::PaymentPart => {
            matches!(now, P::Unpaid | P::Authorized | P::PartiallyPaid | P::Failed).then_some(P::PartiallyPaid)
        }
        Event::PaymentCovered => {
            matches!(now, P::Unpaid | P::Authorized | P::PartiallyPaid | P::Failed | P::Voided).then_some(P::Paid)
        }
        Event::PaymentOverpaid => {
            matches!(now, P::Unpaid | P::Authorized | P::PartiallyPaid | P::Failed | P::Voided).then_some(P::Overpaid)
        }
        Event::LatePaymentReserved => {
            matches!(now, P::Unpaid | P::Authorized | P::PartiallyPaid | P::Failed | P::Voided).then_some(P::Paid)
        }
        Event::PaymentFailed => matches!(now, P::Unpaid | P::Authorized | P::Failed).then_some(P::Failed),
        Event::PaymentVoided => (now == P::Authorized).then_some(P::Voided),
        Event::RefundedPart => matches!(now, P::PartiallyPaid | P::Paid | P::Overpaid | P::PartiallyRefunded)
            .then_some(P::PartiallyRefunded),
        Event::RefundedAll => {
            matches!(now, P::PartiallyPaid | P::Paid | P::Overpaid | P::PartiallyRefunded).then_some(P::Refunded)
        }
        _ => Some(now),
    }
}

/// The next fulfilment status; `None` where the event is not allowed.
fn fulfillment_after(state: State, event: Event) -> Option<FulfillmentStatus> {
    use FulfillmentStatus as F;
    let now = state.fulfillment;
    let returnable = matches!(now, F::Delivered | F::ReturnRequested | F::PartiallyReturned);
    match event {
        Event::ShippedPart => matches!(now, F::Unfulfilled | F::PartiallyShipped).then_some(F::PartiallyShipped),
        Event::ShippedAll => {
            matches!(now, F::Unfulfilled | F::PartiallyShipped | F::PartiallyDelivered).then_some(F::Shipped)
        }
        Event::DeliveredPart => {
            matches!(now, F::PartiallyShipped | F::Shipped | F::PartiallyDelivered).then_some(F::PartiallyDelivered)
        }
        Event::DeliveredAll => matches!(now, F::Shipped | F::PartiallyDelivered).then_some(F::Delivered),
        Event::ReturnRequested => returnable.then_some(F::ReturnRequested),
        Event::ReturnedPart => matches!(now, F::ReturnRequested | F::PartiallyReturned).then_some(F::PartiallyReturned),
        Event::ReturnedAll => matches!(now, F::ReturnRequested | F::PartiallyReturned).then_some(F::Returned),
        Event::CancelledByShopper | Event::CancelledByStaff => (now == F::Unfulfilled).then_some(now),
        _ => Some(now),
    }
}
