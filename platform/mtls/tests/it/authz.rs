//! The policy: its file, its decisions, and an independent reading of it.

use proptest::prelude::*;
use zizon_base::{
    role::{OPERATOR_PATH, Role, SUPERVISOR_PATH},
    spiffe::{SpiffeId, TrustDomain},
};
use zizon_mtls::authz::{DEFAULT_POLICY, Decision, DenyReason, Mode, PathError, Policy, PolicyError};

fn domain() -> TrustDomain {
    "zizon.local".parse().unwrap()
}

fn id(path: &str) -> SpiffeId {
    domain().workload(path).unwrap()
}

fn policy(text: &str) -> Policy {
    Policy::from_yaml(text, &domain()).unwrap()
}

fn refused(text: &str) -> PolicyError {
    Policy::from_yaml(text, &domain()).unwrap_err()
}

fn rule(decision: &Decision) -> &str {
    match decision {
        Decision::Allow { rule } => rule,
        Decision::Deny { reason } => panic!("denied: {reason}"),
    }
}

fn reason(decision: Decision) -> DenyReason {
    match decision {
        Decision::Deny { reason } => reason,
        Decision::Allow { rule } => panic!("allowed by {rule}"),
    }
}

const SMALL: &str = r#"version: 1
services:
  orders:
    id: ns/shop/sa/orders
    allow:
      - {from: ns/shop/sa/edge, routes: ["POST /api/v1/orders", "GET /api/v1/orders/{id}"]}
      - {from: ns/shop/*, routes: ["GET /shared", "GET /internal/help"]}
    deny:
      - {from: "*", routes: ["* /internal/**"], except: [ns/shop/sa/console]}
denylist: [ns/shop/sa/thief]
"#;

#[test]
fn every_route_of_the_platform_has_its_callers_and_no_others() {
    let policy = Policy::standard(&domain());
    let edge = Role::Edge.spiffe_path();
    let orders = Role::Orders.spiffe_path();
    let routes: &[(Role, &str, &str, &[&str])] = &[
        (Role::Orders, "POST", "/api/v1/orders", &[edge]),
        (Role::Orders, "GET", "/api/v1/orders/ord_1", &[edge]),
        (Role::Orders, "POST", "/api/v1/orders/ord_1/cancel", &[edge]),
        (Role::Orders, "GET", "/internal/v1/stock/PROD001", &[OPERATOR_PATH]),
        (Role::Orders, "PUT", "/internal/v1/stock/PROD001", &[OPERATOR_PATH]),
        (Role::Orders, "POST", "/internal/v1/stock/PROD001/shards", &[OPERATOR_PATH]),
        (Role::Orders, "GET", "/internal/v1/orders", &[OPERATOR_PATH]),
        (Role::Orders, "GET", "/internal/v1/orders/ord_1", &[OPERATOR_PATH]),
        (Role::Orders, "POST", "/internal/v1/orders/ord_1/cancel", &[OPERATOR_PATH]),
        (Role::Orders, "GET", "/internal/v1/fsck", &[OPERATOR_PATH]),
        (Role::Orders, "POST", "/internal/v1/fsck", &[OPERATOR_PATH]),
        (Role::Catalog, "GET", "/internal/v1/fsck", &[OPERATOR_PATH]),
        (Role::Catalog, "POST", "/internal/v1/fsck", &[OPERATOR_PATH]),
        (Role::Catalog, "GET", "/api/v1/products", &[edge]),
        (Role::Catalog, "GET", "/api/v1/products/PROD001", &[edge]),
        (Role::Catalog, "GET", "/internal/v1/feed", &[orders]),
        (Role::Catalog, "GET", "/internal/v1/products", &[OPERATOR_PATH]),
        (Role::Catalog, "GET", "/internal/v1/products/PROD001", &[OPERATOR_PATH]),
        (Role::Catalog, "PUT", "/internal/v1/products/PROD001", &[OPERATOR_PATH]),
        (Role::Orders, "GET", "/readyz", &[edge, SUPERVISOR_PATH]),
        (Role::Catalog, "GET", "/readyz", &[edge, SUPERVISOR_PATH]),
        (Role::Identity, "GET", "/readyz", &[SUPERVISOR_PATH]),
        (Role::Edge, "GET", "/readyz", &[SUPERVISOR_PATH]),
    ];
    let callers = [
        edge,
        orders,
        Role::Catalog.spiffe_path(),
        Role::Identity.spiffe_path(),
        OPERATOR_PATH,
        SUPERVISOR_PATH,
        "ns/ops/sa/prometheus",
        "ns/shop/sa/stranger",
    ];
    for (service, method, path, allowed) in routes {
        for caller in callers {
            let decision = policy.decide(*service, &id(caller), method, path);
            assert_eq!(
                decision.is_allowed(),
                allowed.contains(&caller),
                "{caller} {method} {service}{path}: {decision:?}"
            );
        }
    }
    for service in Role::ALL {
        for path in ["/healthz", "/metrics"] {
            assert!(policy.decide(service, &id(SUPERVISOR_PATH), "GET", path).is_allowed());
            assert!(!policy.decide(service, &id(edge), "GET", path).is_allowed());
        }
        assert!(policy.decide(service, &id("ns/ops/sa/prometheus"), "GET", "/metrics").is_allowed());
    }
}

#[test]
fn the_deciding_rule_is_named() {
    let policy = policy(SMALL);
    assert_eq!(
        rule(&policy.decide(Role::Orders, &id("ns/shop/sa/edge"), "GET", "/api/v1/orders/ord_1")),
        "orders.allow[0]"
    );
    assert_eq!(rule(&policy.decide(Role::Orders, &id("ns/shop/sa/catalog"), "GET", "/shared")), "orders.allow[1]");
    let denied = policy.decide(Role::Orders, &id("ns/shop/sa/edge"), "GET", "/internal/help");
    assert_eq!(reason(denied).to_string(), "rule orders.deny[0] denies it");
}

#[test]
fn a_deny_rule_wins_over_an_allow_rule_except_for_those_it_spares() {
    let policy = policy(SMALL);
    assert!(matches!(
        reason(policy.decide(Role::Orders, &id("ns/shop/sa/edge"), "GET", "/internal/help")),
        DenyReason::Rule(_)
    ));
    assert!(policy.decide(Role::Orders, &id("ns/shop/sa/console"), "GET", "/internal/help").is_allowed());
}

#[test]
fn a_namespace_covers_what_is_below_it_and_nothing_beside_it() {
    let policy = policy(SMALL);
    for (caller, allowed) in [
        ("ns/shop/sa/edge", true),
        ("ns/shop/x", true),
        ("ns/shop", false),
        ("ns/shopping/sa/edge", false),
        ("shop/sa/edge", false),
        ("x/ns/shop/sa", false),
    ] {
        assert_eq!(policy.decide(Role::Orders, &id(caller), "GET", "/shared").is_allowed(), allowed, "{caller}");
    }
}

#[test]
fn a_service_the_policy_does_not_name_allows_nothing() {
    let decision = policy(SMALL).decide(Role::Catalog, &id("ns/shop/sa/edge"), "GET", "/shared");
    assert_eq!(reason(decision), DenyReason::NoRule);
}

#[test]
fn the_same_path_of_another_trust_domain_is_nobody() {
    let stranger: SpiffeId = "spiffe://elsewhere.local/ns/shop/sa/edge".parse().unwrap();
    let policy = policy(SMALL);
    assert_eq!(
        reason(policy.decide(Role::Orders, &stranger, "POST", "/api/v1/orders")),
        DenyReason::ForeignTrustDomain
    );
    assert!(!policy.admits(Role::Orders, &stranger));
}

#[test]
fn the_deny_list_wins_over_everything() {
    let policy = policy(SMALL);
    assert_eq!(reason(policy.decide(Role::Orders, &id("ns/shop/sa/thief"), "GET", "/shared")), DenyReason::Listed);
    assert_eq!(policy.denied().collect::<Vec<_>>(), [&id("ns/shop/sa/thief")]);
    assert!(!policy.admits(Role::Orders, &id("ns/shop/sa/thief")));
}

#[test]
fn audit_lets_through_under_a_name_that_says_so_but_never_an_ambiguous_path() {
    let audit = policy(&SMALL.replace("services:", "mode: audit\nservices:"));
    assert_eq!(audit.mode(Role::Orders), Mode::Audit);
    let edge = id("ns/shop/sa/edge");
    assert_eq!(rule(&audit.decide(Role::Orders, &edge, "DELETE", "/x")), "audit:no_rule");
    assert_eq!(rule(&audit.decide(Role::Orders, &edge, "GET", "/internal/help")), "audit:deny_rule");
    assert_eq!(reason(audit.decide(Role::Orders, &edge, "GET", "/a/../b")), DenyReason::Path(PathError::DotSegment));
    assert_eq!(reason(audit.decide(Role::Orders, &id("ns/shop/sa/thief"), "GET", "/x")), DenyReason::Listed);
    assert_eq!(
        reason(audit.decide(Role::Catalog, &edge, "GET", "/x")),
        DenyReason::NoRule,
        "a service without rules is enforced"
    );
}

#[test]
fn a_service_may_have_its_own_mode() {
    let own = policy(&SMALL.replace("    allow:", "    mode: audit\n    allow:"));
    assert_eq!((own.mode(Role::Orders), own.mode(Role::Edge)), (Mode::Audit, Mode::Enforce));
}

#[test]
fn disguised_paths_do_not_reach_past_a_rule() {
    let policy = Policy::standard(&domain());
    let edge = id("ns/shop/sa/edge");
    for path in [
        "/api/v1/orders/../../../internal/v1/orders",
        "/api/v1/orders/..%2f..%2f..%2finternal/v1/orders",
        "/api/v1/orders/%2e%2e/x",
        "//internal/v1/orders",
        "/%69nternal/v1/orders",
        "/internal%2fv1%2forders",
        "/internal/v1/orders;/api/v1/orders",
        "/internal/v1/orders?x=/api/v1/orders",
        "/INTERNAL/v1/orders",
        "/api/v1/orders%00",
        "/api/v1/orders/a/b",
        "/api/v1/orders/",
        "/api\\v1\\orders",
        "api/v1/orders",
        "*",
        "",
    ] {
        for method in ["GET", "POST", "PUT", "post", "*", ""] {
            assert!(!policy.decide(Role::Orders, &edge, method, path).is_allowed(), "{method} {path}");
        }
    }
    assert!(
        policy.decide(Role::Orders, &edge, "POST", "/%61pi/v1/orders").is_allowed(),
        "the decoded path is what counts"
    );
}

#[test]
fn the_hash_is_the_start_of_the_files_sha256() {
    // printf 'version: 1\nservices: {}\n' | sha256sum
    let policy = policy("version: 1\nservices: {}\n");
    assert_eq!(policy.hash(), "30b5892f7c0e");
    assert_ne!(policy.hash(), Policy::standard(&domain()).hash());
}

#[test]
fn what_is_wrong_is_named_with_its_line_and_key() {
    let cases: &[(&str, &str, u64, &[&str])] = &[
        ("version: 1", "version: 2", 1, &["version 2"]),
        ("services:", "service:", 2, &["service"]),
        ("  orders:", "  order:", 3, &["order", "catalog"]),
        ("    id: ns/shop/sa/orders", "    id: ns/shop/sa/catalog", 4, &["id of orders", "ns/shop/sa/orders"]),
        ("    allow:", "    alow:", 5, &["alow", "allow"]),
        ("{from: ns/shop/sa/edge, routes", "{from: ns/shop/sa/edge, route", 6, &["route"]),
        ("{from: ns/shop/sa/edge, ", "{from: /ns/shop/sa/edge, ", 6, &["/ns/shop/sa/edge", "names nobody"]),
        ("{from: ns/shop/sa/edge, ", "{from: \"*\", ", 6, &["from", "deny rules"]),
        ("{from: ns/shop/sa/edge, ", "{from: ns/*, ", 6, &["ns/*", "names nobody"]),
        ("\"POST /api/v1/orders\"", "\"post /api/v1/orders\"", 6, &["routes", "post", "capitals"]),
        ("\"POST /api/v1/orders\"", "\"POST api/v1/orders\"", 6, &["routes", "api/v1/orders"]),
        ("\"POST /api/v1/orders\"", "\"POST /api/.*\"", 6, &["routes", "/api/.*"]),
        ("\"POST /api/v1/orders\"", "\"GET /api/v1/orders/{key}\"", 6, &["routes", "repeats"]),
        ("[\"GET /shared\", \"GET /internal/help\"]", "[]", 7, &["routes is empty"]),
        ("except: [ns/shop/sa/console]", "except: [spiffe://x/y]", 9, &["spiffe://x/y"]),
        ("denylist: [ns/shop/sa/thief]", "denylist: [\"spiffe://x\"]", 10, &["denylist", "spiffe://x"]),
        ("denylist: [ns/shop/sa/thief]", "denylist: []\nmode: permissive", 11, &["permissive"]),
        ("version: 1", "version: 1\ntrust_domain: prod.example", 2, &["trust_domain", "prod.example", "zizon.local"]),
        ("version: 1", "version: 1\nversion: 1", 2, &["version"]),
    ];
    for (from, to, line, words) in cases {
        let text = SMALL.replacen(from, to, 1);
        assert_ne!(text, SMALL, "{from} is in the text");
        let error = refused(&text);
        assert_eq!(error.line, *line, "{to}: {error}");
        for word in *words {
            assert!(error.problem.contains(word), "{to}: {error} lacks {word}");
        }
        assert!(error.to_string().starts_with(&format!("line {line}: ")), "{error}");
    }
}

#[test]
fn what_is_no_document_is_refused_without_panic() {
    for text in [
        "",
        "[]",
        "version",
        "version: 1",
        "\u{0}",
        "{",
        "version: 1\nservices: {orders: {}}",
        "version: &a [*a]",
        &"[".repeat(10_000),
    ] {
        refused(text);
    }
    assert_eq!(refused(&"#".repeat(2 << 20)).line, 0);
}

/// The rules of the standard policy as a person reads them: who, whose, and the route; split into words, without tables.
fn rules_as_read() -> Vec<(Role, String, String)> {
    let mut rules = Vec::new();
    let (mut service, mut from, mut denies) = (Role::Orders, String::new(), false);
    for line in DEFAULT_POLICY.lines().filter(|line| !line.trim_start().starts_with('#')) {
        let word = line.trim();
        if let Ok(role) = word.trim_end_matches(':').parse() {
            service = role;
        }
        denies = match word {
            "allow:" => false,
            "deny:" => true,
            _ => denies,
        };
        if let Some(start) = word.find("from: ") {
            from = word[start + 6..].split([',', '}']).next().unwrap().trim().to_owned();
        }
        let listed = word.strip_prefix("- ").filter(|rest| !rest.contains("from:")).into_iter();
        let inline =
            word.split_once("routes: [").into_iter().flat_map(|(_, rest)| rest.trim_end_matches("]}").split(", "));
        for route in listed.chain(inline) {
            if !denies {
                rules.push((service, from.clone(), route.trim_matches('"').to_owned()));
            }
        }
    }
    rules
}

fn matches_as_read(route: &str, method: &str, path: &str) -> bool {
    let (wanted_method, wanted_path) = route.split_once(' ').unwrap();
    let (wanted, given): (Vec<_>, Vec<_>) = (wanted_path.split('/').collect(), path.split('/').collect());
    wanted_method == method
        && wanted.len() == given.len()
        && wanted
            .iter()
            .zip(&given)
            .all(|(wanted, given)| wanted == given || (wanted.starts_with('{') && !given.is_empty()))
}

#[test]
fn the_plain_reading_finds_all_the_rules() {
    assert_eq!(rules_as_read().len(), 4 + 8 + 3 + 1 + 3 + 1 + 5 + 3 + 1 + 3 + 1 + 3 + 1);
}

/// Paths of the standard policy with something in place of each parameter, and paths made of words that look like theirs.
fn path() -> impl Strategy<Value = String> {
    let real: Vec<String> = rules_as_read()
        .iter()
        .map(|(_, _, route)| route.split_once(' ').unwrap().1.replace("{id}", "ord_1").replace("{sku}", "PROD001"))
        .collect();
    prop_oneof![prop::sample::select(real), made_up_path()]
}

fn made_up_path() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "api",
        "v1",
        "orders",
        "products",
        "internal",
        "stock",
        "shards",
        "cancel",
        "feed",
        "fsck",
        "readyz",
        "healthz",
        "metrics",
        "ord_1",
        "PROD001",
        "",
        ".",
        "..",
        "%2e%2e",
        "%2f",
        "%00",
        "%69nternal",
        "*",
        "**",
        "{id}",
        "a;b",
        "a b",
        "é",
    ]);
    prop::collection::vec(word, 0..6).prop_map(|words| format!("/{}", words.join("/")))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_allowed_that_no_rule_names(
        service in prop::sample::select(Role::ALL.to_vec()),
        caller in prop::sample::select(vec!["ns/shop/sa/edge", "ns/shop/sa/orders", "ns/ops/sa/operator", "ns/ops/sa/supervisor", "ns/ops/sa/prometheus", "ns/shop/sa/other", "ns/shop/sa/edge/x", "edge"]),
        method in prop::sample::select(vec!["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "get", "*", ""]),
        path in path(),
    ) {
        let policy = Policy::standard(&domain());
        let decision = policy.decide(service, &id(caller), method, &path);
        let decoded = path.replace("%69", "i");
        let read = rules_as_read().into_iter().any(|(of, from, route)| of == service && from == caller && matches_as_read(&route, method, &decoded));
        let clean = zizon_mtls::authz::normalise_path(&path).is_ok();
        prop_assert_eq!(decision.is_allowed(), read && clean, "{} {} {}{}", caller, method, service, path);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[ -~\n]{0,200}") {
        let _ = Policy::from_yaml(&text, &domain());
    }
}

proptest! {
    #[test]
    fn a_damaged_policy_is_read_or_refused(at in 0..SMALL.len(), byte in any::<u8>()) {
        let mut bytes = SMALL.as_bytes().to_vec();
        bytes[at] = byte;
        let _ = Policy::from_yaml(&String::from_utf8_lossy(&bytes), &domain());
    }
}
