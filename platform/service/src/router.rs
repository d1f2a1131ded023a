//! Which handler answers which method and path.

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::{HeaderValue, Method};

use crate::readiness::Readiness;
use crate::request::{Params, Request};
use crate::response::Response;

/// Bounds of one route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteLimits {
    /// Longest body, in bytes; beyond it the answer is 413.
    pub body_bytes: usize,
    /// Time for the body to arrive (408) and, anew, for the handler to answer (503).
    pub timeout: Duration,
}

impl Default for RouteLimits {
    fn default() -> Self {
        Self { body_bytes: 64 * 1024, timeout: Duration::from_secs(5) }
    }
}

pub(crate) type Handler<S> = Box<dyn Fn(Arc<S>, Request) -> BoxFuture<'static, Response> + Send + Sync>;

pub(crate) struct Route<S> {
    pub(crate) method: Method,
    pub(crate) template: &'static str,
    pub(crate) limits: RouteLimits,
    pub(crate) handler: Handler<S>,
}

/// Everything at one path template.
struct Place {
    template: &'static str,
    params: Vec<&'static str>,
    /// Index into `Router::routes` per method.
    methods: Vec<(Method, usize)>,
}

/// The routes of a role: a table of method and path template.
///
/// Templates are those of `matchit`: `/api/v1/orders/{id}`, `/files/{*rest}`. Handlers get the role's state
/// and the request, and always answer: their errors are problem documents.
pub struct Router<S> {
    pub(crate) state: Arc<S>,
    pub(crate) routes: Vec<Route<S>>,
    places: Vec<Place>,
    paths: matchit::Router<usize>,
    /// Set once the role has one; `/readyz` asks it.
    pub(crate) readiness: Arc<OnceLock<Arc<dyn Readiness>>>,
}

/// What the router found.
pub(crate) enum Found {
    /// Index of the route and the parameters.
    Route(usize, Params),
    /// The path exists, the method does not; the value of `Allow`.
    Method(HeaderValue),
    /// Nothing at this path.
    Nothing,
}

impl<S: Send + Sync + 'static> Router<S> {
    /// No routes yet; `state` goes to every handler.
    pub fn new(state: impl Into<Arc<S>>) -> Self {
        Self {
            state: state.into(),
            routes: Vec::new(),
            places: Vec::new(),
            paths: matchit::Router::new(),
            readiness: Arc::default(),
        }
    }

    /// Adds a route with the default [`RouteLimits`].
    ///
    /// # Panics
    /// As [`Router::route_with`].
    #[must_use]
    pub fn route<H, F>(self, method: &str, template: &'static str, handler: H) -> Self
    where
        H: Fn(Arc<S>, Request) -> F + Send + Sync + 'static,
        F: Future<Output = Response> + Send + 'static,
    {
        self.route_with(RouteLimits::default(), method, template, handler)
    }

    /// Adds a route with limits of its own.
    ///
    /// # Panics
    /// When the method is not a token, the template is malformed or collides with another one, or the route
    /// exists already. Routes are literals in the source, so the first test of the role finds it.
    #[must_use]
    pub fn route_with<H, F>(mut self, limits: RouteLimits, method: &str, template: &'static str, handler: H) -> Self
    where
        H: Fn(Arc<S>, Request) -> F + Send + Sync + 'static,
        F: Future<Output = Response> + Send + 'static,
    {
        let method = Method::from_bytes(method.as_bytes()).expect("the method is a token");
        let route = self.routes.len();
        let place = self.place(template);
        let taken = self.places[place].methods.iter().any(|(known, _)| *known == method);
        assert!(!taken, "route {method} {template} exists already");
        self.places[place].methods.push((method.clone(), route));
        let handler: Handler<S> = Box::new(move |state, request| Box::pin(handler(state, request)));
        self.routes.push(Route { method, template, limits, handler });
        self
    }

    /// Method and template of every route, for documentation and for tests of the policy.
    pub fn table(&self) -> impl Iterator<Item = (&Method, &'static str)> {
        self.routes.iter().map(|route| (&route.method, route.template))
    }

    fn place(&mut self, template: &'static str) -> usize {
        if let Some(known) = self.places.iter().position(|place| place.template == template) {
            return known;
        }
        let index = self.places.len();
        if let Err(error) = self.paths.insert(template, index) {
            panic!("route template {template}: {error}");
        }
        self.places.push(Place { template, params: param_names(template), methods: Vec::new() });
        index
    }

    /// `path` is normalised.
    pub(crate) fn find(&self, method: &Method, path: &str) -> Found {
        let Ok(matched) = self.paths.at(path) else { return Found::Nothing };
        let place = &self.places[*matched.value];
        let Some((_, route)) = place.methods.iter().find(|(known, _)| known == method) else {
            return Found::Method(place.allow());
        };
        let values = place.params.iter().filter_map(|name| Some((*name, matched.params.get(name)?.to_owned())));
        Found::Route(*route, Params(values.collect()))
    }
}

impl Place {
    fn allow(&self) -> HeaderValue {
        let methods: Vec<&str> = self.methods.iter().map(|(method, _)| method.as_str()).collect();
        HeaderValue::from_str(&methods.join(", ")).expect("methods are tokens")
    }
}

fn param_names(template: &'static str) -> Vec<&'static str> {
    let braced = |segment: &'static str| segment.strip_prefix('{')?.strip_suffix('}');
    let names = template.split('/').filter_map(braced);
    names.map(|name| name.strip_prefix('*').unwrap_or(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::response::empty;
    use http::StatusCode;

    fn router() -> Router<()> {
        let ok = |_: Arc<()>, _: Request| async { empty(StatusCode::OK) };
        Router::new(()).route("GET", "/orders/{id}", ok).route("POST", "/orders", ok).route("GET", "/orders", ok).route(
            "PUT",
            "/files/{*rest}",
            ok,
        )
    }

    #[test]
    fn a_route_is_found_with_its_parameters() {
        let Found::Route(0, params) = router().find(&Method::GET, "/orders/ord_1") else { panic!("not found") };
        assert_eq!(params.get("id"), Some("ord_1"));
        let Found::Route(3, params) = router().find(&Method::PUT, "/files/a/b") else { panic!("not found") };
        assert_eq!(params.get("rest"), Some("a/b"));
    }

    #[test]
    fn a_wrong_method_lists_the_right_ones() {
        let Found::Method(allow) = router().find(&Method::DELETE, "/orders") else { panic!("found") };
        assert_eq!(allow, "POST, GET");
        assert!(matches!(router().find(&Method::GET, "/orders/"), Found::Nothing));
    }

    #[test]
    #[should_panic(expected = "exists already")]
    fn a_route_cannot_be_defined_twice() {
        let _ = router().route("POST", "/orders", |_, _| async { empty(StatusCode::OK) });
    }
}
