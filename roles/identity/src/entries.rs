//! Who is entitled to which identity.
//!
//! Entries and selectors have the shape of SPIRE's registration entries: an entry is given to a caller that shows all of its
//! selectors, and a caller gets every entry it matches.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use zizon_base::role::{OPERATOR_PATH, Role, SUPERVISOR_PATH};
use zizon_base::spiffe::{SpiffeId, TrustDomain};

/// The longest hint (Workload API standard, section 5.2), in bytes.
pub const HINT_BYTES_MAX: usize = 1024;

/// The name by which the supervisor calls itself.
pub(crate) const SUPERVISOR: &str = "supervisor";

/// A fact about a caller that attestation can establish.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Selector {
    /// `zizon:role:NAME`: the supervisor started it as this role, or it is the supervisor.
    Role(String),
    /// `zizon:operator`: it runs as the uid that started the platform and is none of the platform's own processes.
    Operator,
    /// `unix:uid:N`.
    UnixUid(u32),
    /// `unix:gid:N`.
    UnixGid(u32),
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role(name) => write!(f, "zizon:role:{name}"),
            Self::Operator => f.write_str("zizon:operator"),
            Self::UnixUid(uid) => write!(f, "unix:uid:{uid}"),
            Self::UnixGid(gid) => write!(f, "unix:gid:{gid}"),
        }
    }
}

/// A text that is no selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown selector {0:?}; selectors are zizon:role:NAME, zizon:operator, unix:uid:N and unix:gid:N")]
pub struct UnknownSelector(pub String);

impl FromStr for Selector {
    type Err = UnknownSelector;

    fn from_str(text: &str) -> Result<Self, UnknownSelector> {
        let unknown = || UnknownSelector(text.to_owned());
        if text == "zizon:operator" {
            return Ok(Self::Operator);
        }
        let (kind, value) = text.rsplit_once(':').ok_or_else(unknown)?;
        match kind {
            "zizon:role" if value == SUPERVISOR || value.parse::<Role>().is_ok() => Ok(Self::Role(value.to_owned())),
            "unix:uid" => value.parse().map(Self::UnixUid).map_err(|_| unknown()),
            "unix:gid" => value.parse().map(Self::UnixGid).map_err(|_| unknown()),
            _ => Err(unknown()),
        }
    }
}

/// Everything attestation established about a caller.
pub type Selectors = BTreeSet<Selector>;

/// An identity and what a caller must show for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The identity.
    pub spiffe_id: SpiffeId,
    /// All of these must be shown.
    pub selectors: Vec<Selector>,
    /// Tells a workload with several identities what this one is for.
    pub hint: Option<String>,
}

/// Why entries cannot be used together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntriesError {
    /// An entry without selectors would be given to everybody.
    #[error("the entry of {0} has no selector")]
    NoSelector(SpiffeId),
    /// The same identity twice.
    #[error("{0} has two entries")]
    SeveralEntries(SpiffeId),
    /// A hint that is too long.
    #[error("the hint of {0} is longer than {HINT_BYTES_MAX} bytes")]
    HintTooLong(SpiffeId),
    /// A hint that two entries have; the standard asks for unique ones in a response, and one caller may match both.
    #[error("the hint {0:?} is used twice")]
    HintTwice(String),
}

/// The entries of an issuer, in the order in which a caller sees its identities; the first is its default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entries(Vec<Arc<Entry>>);

impl Entries {
    /// Checks and takes `entries`.
    ///
    /// # Errors
    /// [`EntriesError`] names the first entry that cannot be used.
    pub fn new(entries: Vec<Entry>) -> Result<Self, EntriesError> {
        let mut ids = BTreeSet::new();
        let mut hints = BTreeSet::new();
        for entry in &entries {
            let id = || entry.spiffe_id.clone();
            if entry.selectors.is_empty() {
                return Err(EntriesError::NoSelector(id()));
            }
            if !ids.insert(&entry.spiffe_id) {
                return Err(EntriesError::SeveralEntries(id()));
            }
            let Some(hint) = &entry.hint else { continue };
            if hint.len() > HINT_BYTES_MAX {
                return Err(EntriesError::HintTooLong(id()));
            }
            if !hints.insert(hint) {
                return Err(EntriesError::HintTwice(hint.clone()));
            }
        }
        Ok(Self(entries.into_iter().map(Arc::new).collect()))
    }

    /// Each role its own identity, the supervisor its own, the uid that started the platform the operator's.
    #[must_use]
    pub fn built_in(domain: &TrustDomain) -> Self {
        let entry = |spiffe_id, selector| Entry { spiffe_id, selectors: vec![selector], hint: None };
        let workload = |path| domain.workload(path).expect("the built-in paths are valid SPIFFE paths");
        let mut entries: Vec<Entry> = Role::ALL
            .iter()
            .map(|role| entry(role.spiffe_id(domain), Selector::Role(role.name().to_owned())))
            .collect();
        entries.push(entry(workload(SUPERVISOR_PATH), Selector::Role(SUPERVISOR.to_owned())));
        entries.push(entry(workload(OPERATOR_PATH), Selector::Operator));
        Self(entries.into_iter().map(Arc::new).collect())
    }

    /// The entries a caller is entitled to; empty when there are none.
    #[must_use]
    pub fn of(&self, shown: &Selectors) -> Vec<Arc<Entry>> {
        self.0.iter().filter(|entry| entry.selectors.iter().all(|wanted| shown.contains(wanted))).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain() -> TrustDomain {
        "zizon.local".parse().unwrap()
    }

    fn ids(entries: &Entries, shown: &[&str]) -> Vec<String> {
        let shown = shown.iter().map(|text| text.parse().unwrap()).collect();
        entries.of(&shown).iter().map(|entry| entry.spiffe_id.path().to_owned()).collect()
    }

    #[test]
    fn each_kind_of_caller_gets_exactly_its_own_identity() {
        let entries = Entries::built_in(&domain());
        assert_eq!(ids(&entries, &["zizon:role:edge", "unix:uid:0"]), ["ns/shop/sa/edge"]);
        assert_eq!(ids(&entries, &["zizon:role:supervisor", "unix:uid:0"]), ["ns/ops/sa/supervisor"]);
        assert_eq!(ids(&entries, &["zizon:operator", "unix:uid:0"]), ["ns/ops/sa/operator"]);
        assert!(ids(&entries, &["unix:uid:0", "unix:gid:0"]).is_empty());
    }

    #[test]
    fn an_entry_asks_for_all_of_its_selectors() {
        let entry = Entry {
            spiffe_id: domain().workload("ns/a/sa/b").unwrap(),
            selectors: vec![Selector::UnixUid(7), Selector::UnixGid(8)],
            hint: None,
        };
        let entries = Entries::new(vec![entry]).unwrap();
        assert!(ids(&entries, &["unix:uid:7"]).is_empty());
        assert_eq!(ids(&entries, &["unix:uid:7", "unix:gid:8", "unix:gid:9"]), ["ns/a/sa/b"]);
    }

    #[test]
    fn an_entry_for_everybody_and_a_hint_used_twice_are_refused() {
        let entry = |name: &str, selectors| Entry {
            spiffe_id: domain().workload(name).unwrap(),
            selectors,
            hint: Some("internal".to_owned()),
        };
        assert!(matches!(Entries::new(vec![entry("a", vec![])]), Err(EntriesError::NoSelector(_))));
        let two = vec![entry("a", vec![Selector::UnixUid(1)]), entry("b", vec![Selector::UnixUid(2)])];
        assert_eq!(Entries::new(two), Err(EntriesError::HintTwice("internal".to_owned())));
    }

    #[test]
    fn a_selector_reads_back_as_it_is_written() {
        for text in ["zizon:role:orders", "zizon:role:supervisor", "zizon:operator", "unix:uid:1000", "unix:gid:0"] {
            assert_eq!(text.parse::<Selector>().unwrap().to_string(), text);
        }
        for bad in ["zizon:role:nobody", "unix:uid:-1", "unix:uid:", "k8s:ns:default", ""] {
            assert!(bad.parse::<Selector>().is_err(), "{bad}");
        }
    }
}
