//! Whether a role can do its work. `/readyz` answers `zizon_contracts::supervisor::Readiness`.

/// One condition of readiness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What is checked (`table`, `prices`, `identity`).
    pub name: &'static str,
    /// Whether it holds.
    pub ok: bool,
    /// Why not, or a figure, for people. No personal data.
    pub detail: String,
}

impl Check {
    /// A condition that holds.
    #[must_use]
    pub fn ok(name: &'static str) -> Self {
        Self { name, ok: true, detail: String::new() }
    }

    /// A condition that does not hold, and why.
    #[must_use]
    pub fn failed(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, ok: false, detail: detail.into() }
    }

    /// Holds or not, with a detail for either.
    #[must_use]
    pub fn new(name: &'static str, ok: bool, detail: impl Into<String>) -> Self {
        Self { name, ok, detail: detail.into() }
    }
}

/// What a role says about itself when `/readyz` asks. Must answer at once, from what is known already.
pub trait Readiness: Send + Sync + 'static {
    /// Every condition; the role is ready when all hold.
    fn check(&self) -> Vec<Check>;
}

impl<F: Fn() -> Vec<Check> + Send + Sync + 'static> Readiness for F {
    fn check(&self) -> Vec<Check> {
        self()
    }
}
