//! Route patterns (`GET /api/v1/orders/{id}`, `* /internal/**`) and tables of them.

use hashbrown::HashMap;
use matchit::Router;

/// A route as written: a method or `*`, and a path of literal segments, `{name}` segments (one segment each) and at most one `**` at
/// the end (any rest, also none).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Route {
    /// `None` is any method.
    pub(super) method: Option<Box<str>>,
    segments: Vec<Segment>,
    /// Ends in `**`.
    rest: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(Box<str>),
    Any,
}

const SHAPE: &str = "a route is a method or *, a space and a path such as /api/v1/orders/{id} or /internal/**";

impl Route {
    /// Reads a route.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (method, path) = text.split_once(' ').ok_or_else(|| format!("{text:?} is not a route; {SHAPE}"))?;
        let method = match method {
            "*" => None,
            name if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase()) => Some(name.into()),
            other => return Err(format!("{other:?} is not a method; write it in capitals, or * for any")),
        };
        let (segments, rest) = parse_path(path).ok_or_else(|| format!("{path:?} is not a path of a route; {SHAPE}"))?;
        Ok(Self { method, segments, rest })
    }

    /// The patterns for `matchit` that mean the same. Parameters are named by position, because their names mean nothing here and two
    /// names for one position would clash.
    fn patterns(&self) -> Vec<String> {
        let mut base = String::new();
        for (index, segment) in self.segments.iter().enumerate() {
            base.push('/');
            match segment {
                Segment::Literal(text) => base.push_str(text),
                Segment::Any => base.push_str(&format!("{{p{index}}}")),
            }
        }
        match (self.rest, base.is_empty()) {
            (false, true) => vec!["/".to_owned()],
            (false, false) => vec![base],
            (true, true) => vec!["/".to_owned(), "/{*rest}".to_owned()],
            (true, false) => vec![base.clone(), format!("{base}/"), format!("{base}/{{*rest}}")],
        }
    }
}

fn parse_path(path: &str) -> Option<(Vec<Segment>, bool)> {
    let inner = path.strip_prefix('/')?;
    if inner.is_empty() {
        return Some((Vec::new(), false));
    }
    let mut names: Vec<&str> = inner.split('/').collect();
    let rest = names.last() == Some(&"**");
    if rest {
        names.pop();
    }
    let segments = names.into_iter().map(parse_segment).collect::<Option<_>>()?;
    Some((segments, rest))
}

fn parse_segment(text: &str) -> Option<Segment> {
    if let Some(name) = text.strip_prefix('{').and_then(|open| open.strip_suffix('}')) {
        let valid = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        return valid.then_some(Segment::Any);
    }
    let valid = !text.is_empty()
        && text != "."
        && text != ".."
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte));
    valid.then(|| Segment::Literal(text.into()))
}

/// Routes by method, each with the number of the rule it came from.
#[derive(Debug, Default)]
pub(super) struct RouteTable {
    by_method: HashMap<Box<str>, Router<usize>>,
    any_method: Router<usize>,
}

impl RouteTable {
    /// Adds a route; the error says which pattern is in the way.
    pub(super) fn insert(&mut self, route: &Route, rule: usize) -> Result<(), String> {
        let router = match &route.method {
            Some(method) => self.by_method.entry(method.clone()).or_default(),
            None => &mut self.any_method,
        };
        for pattern in route.patterns() {
            router
                .insert(pattern, rule)
                .map_err(|error| format!("the route repeats or overlaps another of the same identity ({error})"))?;
        }
        Ok(())
    }

    /// The rule that has `method` and `path` (normalised).
    pub(super) fn find(&self, method: &str, path: &str) -> Option<usize> {
        let at = |router: &Router<usize>| router.at(path).ok().map(|found| *found.value);
        self.by_method.get(method).and_then(at).or_else(|| at(&self.any_method))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(routes: &[&str]) -> RouteTable {
        let mut table = RouteTable::default();
        for (rule, route) in routes.iter().enumerate() {
            table.insert(&Route::parse(route).unwrap(), rule).unwrap();
        }
        table
    }

    #[test]
    fn a_parameter_is_exactly_one_segment() {
        let table = table(&["GET /orders/{id}"]);
        assert_eq!(table.find("GET", "/orders/ord_1"), Some(0));
        for path in ["/orders", "/orders/", "/orders/a/b", "/orders/a/"] {
            assert_eq!(table.find("GET", path), None, "{path}");
        }
    }

    #[test]
    fn two_stars_are_any_rest_and_also_none() {
        let table = table(&["* /internal/**"]);
        for path in ["/internal", "/internal/", "/internal/a", "/internal/a/b/"] {
            assert_eq!(table.find("PATCH", path), Some(0), "{path}");
        }
        assert_eq!(table.find("GET", "/internals"), None);
        assert_eq!(table.find("GET", "/"), None);
    }

    #[test]
    fn the_whole_tree_can_be_named() {
        let table = table(&["* /**"]);
        for path in ["/", "/a", "/a/b"] {
            assert_eq!(table.find("GET", path), Some(0), "{path}");
        }
    }

    #[test]
    fn methods_do_not_mix() {
        let table = table(&["GET /a", "POST /a"]);
        assert_eq!(
            (table.find("GET", "/a"), table.find("POST", "/a"), table.find("HEAD", "/a"), table.find("get", "/a")),
            (Some(0), Some(1), None, None)
        );
    }

    #[test]
    fn parameters_of_any_name_share_a_position() {
        let table = table(&["GET /a/{id}", "GET /a/{sku}/b", "GET /a/c"]);
        assert_eq!(table.find("GET", "/a/c"), Some(2));
        assert_eq!(table.find("GET", "/a/x"), Some(0));
        assert_eq!(table.find("GET", "/a/c/b"), Some(1));
    }

    #[test]
    fn what_is_no_route_is_refused() {
        for text in [
            "",
            "GET",
            "/a",
            "get /a",
            "GET  /a",
            "GET a",
            "GET /a//b",
            "GET /a/../b",
            "GET /a/**/b",
            "GET /{}",
            "GET /a{id}",
            "GET /a*",
            "GET /%61",
            "GET /{*x}",
            "GET /a b",
            "GET /a?b",
        ] {
            assert!(Route::parse(text).is_err(), "{text:?}");
        }
    }
}
