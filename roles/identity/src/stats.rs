//! What the issuer tells its operators in numbers.

use std::sync::Arc;

use zizon_telemetry::{Counter, CounterFamily, Gauge, Metrics, Unit};

use crate::issuance::Issuance;
use crate::limits::Limits;

/// How the opening of a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Admitted,
    Header,
    Denied,
    Gone,
    Supervisor,
    Shed,
}

impl Outcome {
    const ALL: [Self; 6] = [Self::Admitted, Self::Header, Self::Denied, Self::Gone, Self::Supervisor, Self::Shed];

    const fn label(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::Header => "header",
            Self::Denied => "denied",
            Self::Gone => "gone",
            Self::Supervisor => "supervisor",
            Self::Shed => "shed",
        }
    }
}

/// Counters of one issuer.
#[derive(Debug, Clone)]
pub(crate) struct Stats {
    opens: CounterFamily<1>,
    issued: Counter,
    delivered: Counter,
    renewal_failures: Counter,
    withdrawn: Counter,
    slow: Counter,
    refused_connections: Counter,
    audit_failures: Counter,
    clock_steps: Counter,
    clock_step: Gauge,
}

impl Stats {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let counter = |name, help| metrics.counter(name, help, Unit::None);
        let opens = metrics.counter_family(
            "zizon_identity_stream_opens_total",
            "Workload API streams that were asked for, by outcome: admitted, header, denied, gone, supervisor, shed",
            Unit::None,
            ["outcome"],
        );
        for outcome in Outcome::ALL {
            let _ = opens.with([outcome.label()]);
        }
        Self {
            opens,
            issued: counter("zizon_identity_svids_issued_total", "X.509-SVIDs signed"),
            delivered: counter("zizon_identity_svids_delivered_total", "X.509-SVIDs sent to a process"),
            renewal_failures: counter(
                "zizon_identity_renewal_failures_total",
                "Renewals that failed; the last good SVID stays in use",
            ),
            withdrawn: counter(
                "zizon_identity_streams_withdrawn_total",
                "Streams ended because the caller lost its entitlement",
            ),
            slow: counter("zizon_identity_slow_readers_total", "Connections closed because the caller did not read"),
            refused_connections: counter(
                "zizon_identity_connections_refused_total",
                "Connections closed unheard: too many, or the caller had ended",
            ),
            audit_failures: counter(
                "zizon_identity_audit_failures_total",
                "Lines of the issuance audit that could not be written",
            ),
            clock_steps: counter(
                "zizon_identity_clock_steps_total",
                "Steps of the wall clock against the monotonic one",
            ),
            clock_step: metrics.gauge(
                "zizon_identity_clock_step_seconds",
                "Size of the last step of the wall clock",
                Unit::Seconds,
            ),
        }
    }

    pub(crate) fn opened(&self, outcome: Outcome) {
        self.opens.with([outcome.label()]).inc();
    }

    pub(crate) fn issued(&self) {
        self.issued.inc();
    }

    pub(crate) fn delivered(&self) {
        self.delivered.inc();
    }

    pub(crate) fn renewal_failed(&self) {
        self.renewal_failures.inc();
    }

    pub(crate) fn withdrawn(&self) {
        self.withdrawn.inc();
    }

    pub(crate) fn slow(&self) {
        self.slow.inc();
    }

    pub(crate) fn refused_connection(&self) {
        self.refused_connections.inc();
    }

    /// Answers whether it is the first time.
    pub(crate) fn audit_failed(&self) -> bool {
        self.audit_failures.inc() == 0
    }

    pub(crate) fn clock_stepped(&self, step_ms: i64) {
        self.clock_steps.inc();
        self.clock_step.set(step_ms / 1000);
    }
}

/// Defines every metric of this role; with the parts of a running issuer also those that are read from it.
#[allow(clippy::cast_precision_loss, reason = "metrics are floating point by their format, and the numbers small")]
pub(crate) fn register(metrics: &Metrics, issuer: Option<(Arc<Issuance>, Arc<Limits>)>) {
    let (issuance, limits) = issuer.unzip();
    metrics.observe_gauge("zizon_identity_streams", "Open Workload API streams", Unit::None, move || {
        limits.as_ref().map_or(0.0, |limits| f64::from(limits.open()))
    });
    let owner = issuance.clone();
    metrics.observe_gauge_family(
        "zizon_identity_authorities",
        "Signing authorities by slot: prepared, active, old",
        Unit::None,
        ["slot"],
        move || {
            let counts = owner.as_ref().map_or([0; 3], |issuance| issuance.authorities());
            let named = ["prepared", "active", "old"].into_iter().zip(counts);
            named.map(|(slot, count)| ([slot.to_owned()], count as f64)).collect()
        },
    );
    metrics.observe_gauge_family(
        "zizon_identity_svid_remaining_seconds",
        "Time until a published SVID expires, by SPIFFE path",
        Unit::Seconds,
        ["id"],
        move || {
            let Some(issuance) = &issuance else { return Vec::new() };
            let left = issuance.seconds_left().into_iter();
            left.map(|(id, seconds)| ([id.path().to_owned()], seconds as f64)).collect()
        },
    );
}
