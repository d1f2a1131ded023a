//! The policy file as it is written.

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::policy::Mode;

/// A larger file is refused unread.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// Why a policy is refused, with the place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct PolicyError {
    /// Line, from 1; 0 when the whole file is meant.
    pub line: u64,
    /// Column, from 1; 0 when the whole line is meant.
    pub column: u64,
    /// What is wrong and what to write instead.
    pub problem: String,
}

impl PolicyError {
    pub(super) fn at<T>(place: &Spanned<T>, problem: String) -> Self {
        Self { line: place.referenced.line(), column: place.referenced.column(), problem }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    pub(super) version: Spanned<u32>,
    pub(super) trust_domain: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) mode: Mode,
    pub(super) services: Services,
    #[serde(default)]
    pub(super) denylist: Vec<Spanned<String>>,
}

/// A field per role, so that a misspelt name is an unknown field with its line.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Services {
    pub(super) identity: Option<Service>,
    pub(super) catalog: Option<Service>,
    pub(super) orders: Option<Service>,
    pub(super) edge: Option<Service>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Service {
    pub(super) id: Spanned<String>,
    pub(super) mode: Option<Mode>,
    #[serde(default)]
    pub(super) allow: Vec<Allow>,
    #[serde(default)]
    pub(super) deny: Vec<Deny>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Allow {
    pub(super) from: Spanned<String>,
    pub(super) routes: Vec<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Deny {
    pub(super) from: Spanned<String>,
    pub(super) routes: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) except: Vec<Spanned<String>>,
}

pub(super) fn parse(text: &str) -> Result<Document, PolicyError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(PolicyError {
            line: 0,
            column: 0,
            problem: format!("the policy has more than {TEXT_BYTES_MAX} bytes"),
        });
    }
    serde_saphyr::from_str(text).map_err(|error| {
        let place = error.location();
        PolicyError {
            line: place.map_or(0, |place| place.line()),
            column: place.map_or(0, |place| place.column()),
            problem: error.without_snippet().to_string(),
        }
    })
}
