//! SPIFFE ids (SPIFFE-ID standard, section 2).

use std::{fmt, str::FromStr};

/// A trust domain name: `[a-z0-9._-]`, 1 to 255 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrustDomain(Box<str>);

/// A workload's identity: `spiffe://<trust domain>/<path>` with a non-root path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpiffeId {
    text: Box<str>,
    domain_end: usize,
}

/// Why a text is not a SPIFFE id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SpiffeIdError {
    /// Does not begin with `spiffe://` in lower case.
    #[error("a SPIFFE id begins with spiffe://")]
    Scheme,
    /// Empty, too long or with a forbidden character.
    #[error("a trust domain is 1 to 255 characters of a-z, 0-9, dot, dash and underscore")]
    TrustDomain,
    /// No path, or a path that breaks the rules.
    #[error("a path has non-empty segments of A-Z, a-z, 0-9, dot, dash and underscore, none of them . or ..")]
    Path,
    /// Longer than 2,048 bytes.
    #[error("a SPIFFE id has at most 2048 bytes")]
    Length,
}

const SCHEME: &str = "spiffe://";

impl TrustDomain {
    /// The name without scheme.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The trust domain's own id, `spiffe://<name>`, the key of bundle maps.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{SCHEME}{}", self.0)
    }

    /// The id of the workload at `path`, written without its leading slash (`ns/shop/sa/edge`).
    ///
    /// # Errors
    /// [`SpiffeIdError`] when the path breaks the rules.
    pub fn workload(&self, path: &str) -> Result<SpiffeId, SpiffeIdError> {
        format!("{SCHEME}{}/{path}", self.0).parse()
    }
}

impl FromStr for TrustDomain {
    type Err = SpiffeIdError;

    fn from_str(text: &str) -> Result<Self, SpiffeIdError> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
        if text.is_empty() || text.len() > 255 || !text.bytes().all(allowed) {
            return Err(SpiffeIdError::TrustDomain);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl SpiffeId {
    /// The whole id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The trust domain's name.
    #[must_use]
    pub fn trust_domain(&self) -> &str {
        &self.text[SCHEME.len()..self.domain_end]
    }

    /// The path without its leading slash.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.text[self.domain_end + 1..]
    }
}

impl FromStr for SpiffeId {
    type Err = SpiffeIdError;

    fn from_str(text: &str) -> Result<Self, SpiffeIdError> {
        if text.len() > 2048 {
            return Err(SpiffeIdError::Length);
        }
        let rest = text.strip_prefix(SCHEME).ok_or(SpiffeIdError::Scheme)?;
        let (domain, path) = rest.split_once('/').ok_or(SpiffeIdError::Path)?;
        domain.parse::<TrustDomain>()?;
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let segment = |part: &str| !part.is_empty() && part != "." && part != ".." && part.bytes().all(allowed);
        if !path.split('/').all(segment) {
            return Err(SpiffeIdError::Path);
        }
        Ok(Self { domain_end: SCHEME.len() + domain.len(), text: text.into() })
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_comes_apart_into_domain_and_path() {
        let id: SpiffeId = "spiffe://zizon.local/ns/shop/sa/orders".parse().unwrap();
        assert_eq!((id.trust_domain(), id.path()), ("zizon.local", "ns/shop/sa/orders"));
    }

    #[test]
    fn what_the_standard_forbids_is_refused() {
        for bad in [
            "spiffe://zizon.local",
            "spiffe://zizon.local/",
            "spiffe://zizon.local/a/",
            "spiffe://zizon.local//a",
            "spiffe://zizon.local/./a",
            "spiffe://zizon.local/a/..",
            "spiffe://Zizon/a",
            "spiffe:///a",
            "https://a/b",
            "spiffe://a/b%20c",
            "spiffe://a/b?c",
            "spiffe://a:1/b",
            "SPIFFE://a/b",
        ] {
            assert!(bad.parse::<SpiffeId>().is_err(), "{bad}");
        }
        assert!(format!("spiffe://a/{}", "b".repeat(2048)).parse::<SpiffeId>().is_err());
    }
}
