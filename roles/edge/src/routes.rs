//! Which path is what, and who answers it: the whole table of the public listener.

use zizon_base::role::Role;

/// A place in the tree of paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// `/api/v1/orders`.
    Orders,
    /// `/api/v1/orders/{id}`.
    Order,
    /// `/api/v1/orders/{id}/cancel`.
    OrderCancel,
    /// `/api/v1/products`.
    Products,
    /// `/api/v1/products/{id}`.
    Product,
    /// `/healthz`.
    Health,
    /// `/readyz`.
    Ready,
    /// `/openapi.json`.
    OpenApi,
    /// `/problems/{code}`.
    Problem(&'a str),
    /// `/`.
    Landing,
    /// `*`.
    Server,
    /// Nothing is there.
    Nowhere,
}

/// What is refused first when there is too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// Never refused.
    Health,
    /// Refused last.
    Checkout,
    /// Refused first.
    Browse,
}

impl<'a> Place<'a> {
    /// The number of places, for tables indexed by [`Place::index`].
    pub const COUNT: usize = 12;

    /// The place at `path`.
    #[must_use]
    pub fn of_path(path: &'a str) -> Self {
        if let Some(rest) = path.strip_prefix("/api/v1/") {
            return Self::of_api(rest);
        }
        match path {
            "/" => Self::Landing,
            "/healthz" => Self::Health,
            "/readyz" => Self::Ready,
            "/openapi.json" => Self::OpenApi,
            "*" => Self::Server,
            _ => match path.strip_prefix("/problems/") {
                Some(code) if is_segment(code) => Self::Problem(code),
                _ => Self::Nowhere,
            },
        }
    }

    fn of_api(rest: &str) -> Self {
        let (collection, below) = rest.split_once('/').map_or((rest, None), |(first, rest)| (first, Some(rest)));
        match (collection, below) {
            ("orders", None) => Self::Orders,
            ("products", None) => Self::Products,
            ("products", Some(id)) if is_segment(id) => Self::Product,
            ("orders", Some(below)) => match below.split_once('/') {
                None if is_segment(below) => Self::Order,
                Some((id, "cancel")) if is_segment(id) => Self::OrderCancel,
                _ => Self::Nowhere,
            },
            _ => Self::Nowhere,
        }
    }

    /// Its template: a metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Orders => "/api/v1/orders",
            Self::Order => "/api/v1/orders/{id}",
            Self::OrderCancel => "/api/v1/orders/{id}/cancel",
            Self::Products => "/api/v1/products",
            Self::Product => "/api/v1/products/{id}",
            Self::Health => "/healthz",
            Self::Ready => "/readyz",
            Self::OpenApi => "/openapi.json",
            Self::Problem(_) => "/problems/{code}",
            Self::Landing => "/",
            Self::Server => "*",
            Self::Nowhere => "none",
        }
    }

    /// Its position in tables, below [`Place::COUNT`].
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Orders => 0,
            Self::Order => 1,
            Self::OrderCancel => 2,
            Self::Products => 3,
            Self::Product => 4,
            Self::Health => 5,
            Self::Ready => 6,
            Self::OpenApi => 7,
            Self::Problem(_) => 8,
            Self::Landing => 9,
            Self::Server => 10,
            Self::Nowhere => 11,
        }
    }

    /// What it takes, as `Allow` lists it; HEAD wherever GET is.
    #[must_use]
    pub const fn allow(self) -> &'static str {
        match self {
            Self::Orders | Self::OrderCancel => "POST, OPTIONS",
            Self::Server => "GET, HEAD, POST, OPTIONS",
            _ => "GET, HEAD, OPTIONS",
        }
    }

    /// The role that answers it; `None` where the edge does.
    #[must_use]
    pub const fn role(self) -> Option<Role> {
        match self {
            Self::Orders | Self::Order | Self::OrderCancel => Some(Role::Orders),
            Self::Products | Self::Product => Some(Role::Catalog),
            _ => None,
        }
    }

    /// The same place without what was borrowed from the path.
    #[must_use]
    pub const fn without_name(self) -> Place<'static> {
        match self {
            Self::Orders => Place::Orders,
            Self::Order => Place::Order,
            Self::OrderCancel => Place::OrderCancel,
            Self::Products => Place::Products,
            Self::Product => Place::Product,
            Self::Health => Place::Health,
            Self::Ready => Place::Ready,
            Self::OpenApi => Place::OpenApi,
            Self::Problem(_) => Place::Problem(""),
            Self::Landing => Place::Landing,
            Self::Server => Place::Server,
            Self::Nowhere => Place::Nowhere,
        }
    }

    /// What is refused first.
    #[must_use]
    pub const fn priority(self) -> Priority {
        match self {
            Self::Health | Self::Ready => Priority::Health,
            Self::Orders | Self::Order | Self::OrderCancel => Priority::Checkout,
            _ => Priority::Browse,
        }
    }
}

fn is_segment(text: &str) -> bool {
    !text.is_empty() && !text.contains('/')
}

/// A method the routes know (RFC 9110, 9.3; RFC 5789).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Reads.
    Get,
    /// Reads, without the body of the answer.
    Head,
    /// Acts.
    Post,
    /// Asks what is allowed.
    Options,
    /// Known, and not taken anywhere here.
    Elsewhere,
}

impl Verb {
    /// The method, if it is one; methods are case-sensitive.
    #[must_use]
    pub fn of_method(method: &str) -> Option<Self> {
        Some(match method {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "OPTIONS" => Self::Options,
            "PUT" | "PATCH" | "DELETE" | "TRACE" => Self::Elsewhere,
            _ => return None,
        })
    }
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Routed<'a> {
    /// The edge answers.
    Local(Place<'a>),
    /// A role answers.
    Forward(Role),
    /// `Allow` is the answer.
    Options,
    /// 404.
    NotFound,
    /// 405.
    MethodNotAllowed,
    /// 501.
    MethodUnknown,
}

/// Who answers `verb` at `place`.
#[must_use]
pub fn route<'a>(place: Place<'a>, verb: Option<Verb>) -> Routed<'a> {
    let Some(verb) = verb else { return Routed::MethodUnknown };
    let reads = matches!(verb, Verb::Get | Verb::Head);
    match place {
        Place::Nowhere => Routed::NotFound,
        _ if verb == Verb::Options => Routed::Options,
        Place::Orders | Place::OrderCancel if verb == Verb::Post => Routed::Forward(Role::Orders),
        Place::Orders | Place::OrderCancel | Place::Server => Routed::MethodNotAllowed,
        _ if !reads => Routed::MethodNotAllowed,
        _ => place.role().map_or(Routed::Local(place), Routed::Forward),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_public_path_is_one_place() {
        for (path, place) in [
            ("/", Place::Landing),
            ("*", Place::Server),
            ("/api/v1/orders", Place::Orders),
            ("/api/v1/orders/", Place::Nowhere),
            ("/api/v1/orders/ord_1", Place::Order),
            ("/api/v1/orders/ord_1/cancel", Place::OrderCancel),
            ("/api/v1/orders/ord_1/cancel/", Place::Nowhere),
            ("/api/v1/orders//cancel", Place::Nowhere),
            ("/api/v1/orders/ord_1/other", Place::Nowhere),
            ("/api/v1/products", Place::Products),
            ("/api/v1/products/PROD001", Place::Product),
            ("/api/v1/products/a/b", Place::Nowhere),
            ("/api/v1", Place::Nowhere),
            ("/internal/v1/stock/x", Place::Nowhere),
            ("/metrics", Place::Nowhere),
            ("/problems/overloaded", Place::Problem("overloaded")),
            ("/problems/", Place::Nowhere),
            ("/Healthz", Place::Nowhere),
        ] {
            assert_eq!(Place::of_path(path), place, "{path}");
        }
    }

    #[test]
    fn methods_decide_between_roles_allow_and_refusal() {
        assert_eq!(route(Place::Orders, Verb::of_method("POST")), Routed::Forward(Role::Orders));
        assert_eq!(route(Place::Orders, Verb::of_method("GET")), Routed::MethodNotAllowed);
        assert_eq!(route(Place::Product, Verb::of_method("HEAD")), Routed::Forward(Role::Catalog));
        assert_eq!(route(Place::Product, Verb::of_method("PUT")), Routed::MethodNotAllowed);
        assert_eq!(route(Place::Server, Verb::of_method("OPTIONS")), Routed::Options);
        assert_eq!(route(Place::Nowhere, Verb::of_method("OPTIONS")), Routed::NotFound);
        assert_eq!(route(Place::Ready, Verb::of_method("get")), Routed::MethodUnknown);
        assert_eq!(route(Place::Ready, Verb::of_method("GET")), Routed::Local(Place::Ready));
    }
}
