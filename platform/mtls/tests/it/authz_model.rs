//! Random policies against a model that keeps the rules as a list and compares segment by segment.

use proptest::prelude::*;
use std::fmt::Write as _;
use zizon_base::{role::Role, spiffe::TrustDomain};
use zizon_mtls::authz::{Policy, normalise_path};

#[derive(Debug, Clone)]
struct Rule {
    denies: bool,
    from: &'static str,
    except: Vec<&'static str>,
    routes: Vec<Route>,
}

#[derive(Debug, Clone)]
struct Route {
    method: &'static str,
    segments: Vec<&'static str>,
    rest: bool,
}

impl Route {
    fn text(&self) -> String {
        let mut text = format!("{} ", self.method);
        self.segments.iter().for_each(|segment| write!(text, "/{segment}").unwrap());
        match (self.rest, self.segments.is_empty()) {
            (true, _) => text + "/**",
            (false, true) => text + "/",
            (false, false) => text,
        }
    }

    fn covers(&self, method: &str, path: &str) -> bool {
        let given: Vec<&str> = if path == "/" { Vec::new() } else { path[1..].split('/').collect() };
        let long_enough =
            if self.rest { given.len() >= self.segments.len() } else { given.len() == self.segments.len() };
        (self.method == "*" || self.method == method)
            && long_enough
            && self
                .segments
                .iter()
                .zip(&given)
                .all(|(own, other)| own == other || (own.starts_with('{') && !other.is_empty()))
    }
}

fn names(subject: &str, caller: &str) -> bool {
    match subject.strip_suffix("/*") {
        Some(namespace) => caller.strip_prefix(namespace).is_some_and(|rest| rest.starts_with('/')),
        None => subject == "*" || subject == caller,
    }
}

fn allowed(rules: &[Rule], caller: &str, method: &str, path: &str) -> bool {
    let covers = |rule: &&Rule| names(rule.from, caller) && rule.routes.iter().any(|route| route.covers(method, path));
    let denied = rules
        .iter()
        .filter(|rule| rule.denies)
        .any(|rule| covers(&rule) && !rule.except.iter().any(|spared| names(spared, caller)));
    !denied && rules.iter().filter(|rule| !rule.denies).any(|rule| covers(&rule))
}

fn text(rules: &[Rule]) -> String {
    let mut text = "version: 1\nservices:\n  orders:\n    id: ns/shop/sa/orders\n".to_owned();
    for (key, denies) in [("allow", false), ("deny", true)] {
        writeln!(text, "    {key}: [").unwrap();
        for rule in rules.iter().filter(|rule| rule.denies == denies) {
            let routes: Vec<String> = rule.routes.iter().map(|route| format!("\"{}\"", route.text())).collect();
            let except = if denies { format!(", except: [{}]", rule.except.join(", ")) } else { String::new() };
            writeln!(text, "      {{from: \"{}\", routes: [{}]{except}}},", rule.from, routes.join(", ")).unwrap();
        }
        writeln!(text, "    ]").unwrap();
    }
    text
}

const CALLERS: [&str; 5] =
    ["ns/shop/sa/edge", "ns/shop/sa/orders", "ns/ops/sa/operator", "ns/shopping/sa/edge", "edge"];

fn route() -> impl Strategy<Value = Route> {
    let segment = prop::sample::select(vec!["a", "b", "internal", "{id}", "{sku}"]);
    let method = prop::sample::select(vec!["GET", "POST", "*"]);
    (method, prop::collection::vec(segment, 0..4), any::<bool>()).prop_map(|(method, segments, rest)| Route {
        method,
        segments,
        rest,
    })
}

fn rule() -> impl Strategy<Value = Rule> {
    let from = prop::sample::select(vec!["ns/shop/sa/edge", "ns/ops/sa/operator", "ns/shop/*", "*"]);
    let spared = prop::sample::select(vec!["ns/shop/sa/edge", "ns/ops/*"]);
    (any::<bool>(), from, prop::collection::vec(spared, 0..2), prop::collection::vec(route(), 1..3)).prop_map(
        |(denies, from, except, routes)| {
            // Everybody may only be denied.
            Rule { denies: denies || from == "*", from, except, routes }
        },
    )
}

fn path() -> impl Strategy<Value = String> {
    let segment = prop::sample::select(vec!["a", "b", "internal", "x", "", "..", "%61", "%2f"]);
    prop::collection::vec(segment, 0..5).prop_map(|segments| format!("/{}", segments.join("/")))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, max_global_rejects: 100_000, ..ProptestConfig::default() })]

    #[test]
    fn tables_decide_as_the_list_of_rules_does(
        rules in prop::collection::vec(rule(), 0..5),
        requests in prop::collection::vec((prop::sample::select(CALLERS.to_vec()), prop::sample::select(vec!["GET", "POST", "PUT"]), path()), 40),
    ) {
        let domain: TrustDomain = "zizon.local".parse().unwrap();
        let compiled = Policy::from_yaml(&text(&rules), &domain);
        // Routes of one identity that repeat each other are refused, which is the only refusal here.
        if let Err(error) = &compiled {
            prop_assert!(error.problem.contains("repeats or overlaps"), "{} in {}", error, text(&rules));
        }
        prop_assume!(compiled.is_ok());
        let policy = compiled.unwrap();
        for (caller, method, path) in requests {
            let decision = policy.decide(Role::Orders, &domain.workload(caller).unwrap(), method, &path);
            let expected = normalise_path(&path).is_ok_and(|path| allowed(&rules, caller, method, &path));
            prop_assert_eq!(decision.is_allowed(), expected, "{} {} {} under {}", caller, method, path, text(&rules));
        }
    }
}
