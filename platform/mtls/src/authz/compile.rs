//! From the file to tables.

use hashbrown::HashMap;
use serde_saphyr::Spanned;
use std::{str::FromStr as _, sync::Arc};
use zizon_base::{
    role::Role,
    spiffe::{SpiffeId, TrustDomain},
};

use super::{
    document::{Document, PolicyError, Service, Services},
    policy::{Mode, Policy},
    routes::{Route, RouteTable},
};

/// Whom a rule is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    /// The path of one identity of the policy's trust domain.
    Exact(Box<str>),
    /// `ns/<name>`: every identity below it.
    Namespace(Box<str>),
    /// Everybody; only in deny rules.
    Everybody,
}

impl Subject {
    pub(super) fn covers(&self, path: &str) -> bool {
        match self {
            Self::Exact(own) => **own == *path,
            Self::Namespace(namespace) => namespace_of(path) == Some(namespace),
            Self::Everybody => true,
        }
    }
}

/// `ns/<name>` of a path that has something below it.
pub(super) fn namespace_of(path: &str) -> Option<&str> {
    let after_kind = path.strip_prefix("ns/")?;
    let end = after_kind.find('/')?;
    Some(&path[.."ns/".len() + end])
}

/// The rules about calls to one service.
#[derive(Debug)]
pub(super) struct ServiceTable {
    pub(super) mode: Mode,
    pub(super) by_identity: HashMap<Box<str>, RouteTable>,
    pub(super) by_namespace: HashMap<Box<str>, RouteTable>,
    pub(super) deny: Vec<DenyRule>,
    /// Names of the allow rules, by their number.
    pub(super) names: Vec<Arc<str>>,
}

#[derive(Debug)]
pub(super) struct DenyRule {
    pub(super) name: Arc<str>,
    pub(super) from: Subject,
    pub(super) except: Vec<Subject>,
    pub(super) routes: RouteTable,
}

pub(super) fn compile(document: Document, domain: &TrustDomain, hash: String) -> Result<Policy, PolicyError> {
    if document.version.value != 1 {
        return Err(PolicyError::at(
            &document.version,
            format!("version {} is unknown; this binary reads version 1", document.version.value),
        ));
    }
    if let Some(written) = &document.trust_domain
        && written.value != domain.as_str()
    {
        let problem =
            format!("trust_domain {:?} is not the platform's, {domain}; correct it or leave it out", written.value);
        return Err(PolicyError::at(written, problem));
    }
    let Services { identity, catalog, orders, edge } = document.services;
    let written = [(Role::Identity, identity), (Role::Catalog, catalog), (Role::Orders, orders), (Role::Edge, edge)];
    let services = written
        .into_iter()
        .filter_map(|(role, service)| Some((role, service?)))
        .map(|(role, service)| Ok((role, compile_service(role, &service, document.mode)?)))
        .collect::<Result<_, PolicyError>>()?;
    let denied = document.denylist.iter().map(|entry| denied_id(entry, domain)).collect::<Result<_, PolicyError>>()?;
    Ok(Policy::assemble(domain.clone(), services, denied, hash))
}

fn compile_service(role: Role, service: &Service, mode: Mode) -> Result<ServiceTable, PolicyError> {
    if service.id.value != role.spiffe_path() {
        let problem = format!("id of {role} is {:?}, but its identity is {}", service.id.value, role.spiffe_path());
        return Err(PolicyError::at(&service.id, problem));
    }
    let mut table = ServiceTable {
        mode: service.mode.unwrap_or(mode),
        by_identity: HashMap::new(),
        by_namespace: HashMap::new(),
        deny: Vec::new(),
        names: Vec::new(),
    };
    for (number, rule) in service.allow.iter().enumerate() {
        table.names.push(format!("{role}.allow[{number}]").into());
        let routes = match subject(&rule.from)? {
            Subject::Exact(path) => table.by_identity.entry(path).or_default(),
            Subject::Namespace(namespace) => table.by_namespace.entry(namespace).or_default(),
            Subject::Everybody => {
                let problem = "from: \"*\" is only for deny rules; name the identities that are allowed".to_owned();
                return Err(PolicyError::at(&rule.from, problem));
            }
        };
        insert_routes(routes, &rule.routes, &rule.from, number)?;
    }
    for (number, rule) in service.deny.iter().enumerate() {
        let mut routes = RouteTable::default();
        insert_routes(&mut routes, &rule.routes, &rule.from, number)?;
        table.deny.push(DenyRule {
            name: format!("{role}.deny[{number}]").into(),
            from: subject(&rule.from)?,
            except: rule.except.iter().map(subject).collect::<Result<_, _>>()?,
            routes,
        });
    }
    Ok(table)
}

fn insert_routes(
    table: &mut RouteTable,
    routes: &[Spanned<String>],
    rule: &Spanned<String>,
    number: usize,
) -> Result<(), PolicyError> {
    if routes.is_empty() {
        return Err(PolicyError::at(rule, "routes is empty; name at least one route or remove the rule".to_owned()));
    }
    for written in routes {
        let inserted = Route::parse(&written.value).and_then(|route| table.insert(&route, number));
        inserted.map_err(|problem| PolicyError::at(written, format!("routes: {problem}")))?;
    }
    Ok(())
}

fn subject(written: &Spanned<String>) -> Result<Subject, PolicyError> {
    let text = written.value.as_str();
    if text == "*" {
        return Ok(Subject::Everybody);
    }
    if let Some(namespace) = text.strip_suffix("/*") {
        let one_name = namespace.strip_prefix("ns/").is_some_and(|name| !name.contains('/'));
        if one_name && is_path(namespace) {
            return Ok(Subject::Namespace(namespace.into()));
        }
    } else if is_path(text) {
        return Ok(Subject::Exact(text.into()));
    }
    let problem = format!(
        "{text:?} names nobody; write an identity's path such as ns/shop/sa/edge, a namespace such as ns/shop/*, or \"*\""
    );
    Err(PolicyError::at(written, problem))
}

fn is_path(text: &str) -> bool {
    TrustDomain::from_str("x").is_ok_and(|domain| domain.workload(text).is_ok())
}

/// An entry of the deny list: a path in the policy's own trust domain or a whole SPIFFE id.
fn denied_id(written: &Spanned<String>, domain: &TrustDomain) -> Result<SpiffeId, PolicyError> {
    let text = written.value.as_str();
    let parsed = if text.starts_with("spiffe://") { text.parse() } else { domain.workload(text) };
    parsed.map_err(|error| PolicyError::at(written, format!("denylist: {text:?} is not an identity: {error}")))
}
