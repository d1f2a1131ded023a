//! One open stream: sends what is published as long as its caller is entitled to it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::{Sender, error::TrySendError};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tonic::Status;

use crate::attest::{AttestError, Attestation, Caller};
use crate::audit::Fact;
use crate::entries::Entry;
use crate::issuance::{Snapshot, Svid, Use};
use crate::limits::Permit;
use crate::service::Shared;

/// Responses a caller may leave unread before its connection is closed; each is complete, so one would do.
pub(crate) const UNREAD_MAX: usize = 2;

/// What a stream carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Svids,
    Bundles,
}

/// Everything one stream holds.
pub(crate) struct Stream {
    pub(crate) shared: Arc<Shared>,
    pub(crate) caller: Arc<Caller>,
    pub(crate) kind: Kind,
    pub(crate) attestation: Attestation,
    pub(crate) entries: Vec<Arc<Entry>>,
    pub(crate) uses: Vec<Use>,
    pub(crate) updates: watch::Receiver<Arc<Snapshot>>,
    pub(crate) out: Sender<Result<Bytes, Status>>,
    pub(crate) permit: Permit,
}

/// Why a stream ends from this side.
enum End {
    /// The caller is told.
    Tell(Status),
    /// There is nobody to tell.
    Silently,
}

impl Stream {
    /// Sends until the caller leaves, loses its entitlement, does not read, or the issuer stops. The first response goes out at once.
    pub(crate) async fn run(mut self) {
        let end = self.follow().await;
        if let End::Tell(status) = end
            && self.out.try_send(Err(status)).is_err()
        {
            self.caller.dismissed.cancel();
        }
        drop(self.permit);
    }

    async fn follow(&mut self) -> End {
        let mut sent: Option<Bytes> = None;
        let mut confirmed = Instant::now();
        let recheck_every = self.shared.recheck_every;
        let mut recheck_at = confirmed + recheck_every;
        if let Err(end) = self.send(&mut sent) {
            return end;
        }
        loop {
            let attest = tokio::select! {
                biased;
                () = self.shared.shutdown.cancelled() => return End::Tell(Status::unavailable("the issuer is stopping")),
                () = self.out.closed() => return End::Silently,
                () = self.caller.ended() => return self.withdrawn("the caller has ended"),
                changed = self.updates.changed() => match changed {
                    Ok(()) => self.response() != sent,
                    Err(_) => return End::Tell(Status::unavailable("the issuer is stopping")),
                },
                () = sleep_until(recheck_at) => true,
            };
            if !attest {
                continue;
            }
            recheck_at = Instant::now() + recheck_every;
            match self.attest_again().await {
                Ok(()) => confirmed = Instant::now(),
                Err(Loss::Entitlement(why)) => return self.withdrawn(why),
                // The caller is the very process that was attested (its pidfd is held), and only the supervisor could have changed
                // its mind. It is believed for the life of one SVID, which the caller could use without asking anyway.
                Err(Loss::Unknown) if confirmed.elapsed() < self.shared.svid_life => {}
                Err(Loss::Unknown) => return End::Tell(Status::unavailable("who the caller is cannot be confirmed")),
            }
            if let Err(end) = self.send(&mut sent) {
                return end;
            }
        }
    }

    /// Attests the caller again and takes up what it is entitled to.
    async fn attest_again(&mut self) -> Result<(), Loss> {
        let attestation = match self.shared.attestor.attest(&self.caller).await {
            Ok(attestation) => attestation,
            Err(AttestError::Gone) => return Err(Loss::Entitlement("the caller has ended")),
            Err(AttestError::Supervisor(_)) => return Err(Loss::Unknown),
        };
        if attestation.facts.start_ticks != self.attestation.facts.start_ticks {
            return Err(Loss::Entitlement("the caller has ended"));
        }
        self.attestation = attestation;
        let entries = self.shared.entries.of(&self.attestation.selectors);
        if entries.is_empty() {
            return Err(Loss::Entitlement("no identity issued"));
        }
        if entries != self.entries {
            let uses = self.shared.take_up(self.kind, &entries).map_err(|_| Loss::Unknown)?;
            (self.entries, self.uses) = (entries, uses);
        }
        Ok(())
    }

    /// Sends the present response unless it was the last one sent.
    fn send(&self, sent: &mut Option<Bytes>) -> Result<(), End> {
        let Some(response) = self.response() else {
            // Published with the stream's own use of it, so only a stopping issuer gets here.
            return Err(End::Tell(Status::unavailable("the identity is not available")));
        };
        if sent.as_ref() == Some(&response) {
            return Ok(());
        }
        if !self.caller.alive() {
            return Err(self.withdrawn("the caller has ended"));
        }
        match self.out.try_send(Ok(response.clone())) {
            Ok(()) => {}
            Err(TrySendError::Closed(_)) => return Err(End::Silently),
            Err(TrySendError::Full(_)) => {
                self.shared.stats.slow();
                tracing::warn!(pid = self.caller.pid, "a caller does not read; its connection is closed");
                self.caller.dismissed.cancel();
                return Err(End::Silently);
            }
        }
        *sent = Some(response);
        self.record_delivery();
        Ok(())
    }

    /// The complete response as of now; `None` when something of it is missing.
    fn response(&self) -> Option<Bytes> {
        let snapshot = self.updates.borrow();
        if self.kind == Kind::Bundles {
            return Some(snapshot.bundles.clone());
        }
        let svids = self.svids(&snapshot)?;
        match svids.as_slice() {
            [only] => Some(only.message.clone()),
            several => Some(several.iter().flat_map(|svid| svid.message.iter().copied()).collect()),
        }
    }

    fn svids(&self, snapshot: &Snapshot) -> Option<Vec<Arc<Svid>>> {
        self.entries.iter().map(|entry| snapshot.svids.get(&entry.spiffe_id).cloned()).collect()
    }

    fn record_delivery(&self) {
        if self.kind == Kind::Bundles {
            return;
        }
        let Some(svids) = self.svids(&self.updates.borrow()) else { return };
        let now = self.shared.issuance.clock().now();
        for svid in svids {
            self.shared.stats.delivered();
            let fact = Fact::Delivered {
                id: svid.id.as_str(),
                serial: &svid.serial,
                not_after: svid.not_after,
                pid: self.caller.pid,
                uid: self.caller.uid,
                exe: self.attestation.facts.exe.as_deref(),
            };
            self.shared.issuance.record(now, fact);
        }
    }

    fn withdrawn(&self, why: &'static str) -> End {
        self.shared.stats.withdrawn();
        tracing::info!(pid = self.caller.pid, why, "a stream ended because its caller is not entitled to it any more");
        End::Tell(Status::permission_denied(why))
    }
}

/// What came of attesting again.
enum Loss {
    Entitlement(&'static str),
    Unknown,
}

/// How long a stream may wait for [`Stream::run`] to end once the issuer stops.
pub(crate) const DRAIN: Duration = Duration::from_secs(3);
