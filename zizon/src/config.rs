//! The one configuration file: read whole, checked whole, or the program does not start.

use std::path::{Path, PathBuf};

use anyhow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use zizon_base::spiffe::TrustDomain;

use crate::exit::Failure;

/// Everything that can be configured, a section per role.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What all roles share.
    pub platform: Platform,
    /// The public listener.
    pub edge: zizon_edge::Config,
    /// Products and prices.
    pub catalog: zizon_catalog::Config,
    /// Stock and orders.
    pub orders: zizon_orders::Config,
    /// The issuer of identities on this machine.
    pub identity: zizon_identity::Config,
}

/// What all roles share.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Platform {
    /// SPIFFE trust domain of every identity.
    pub trust_domain: String,
    /// Who may call which route (YAML). The built-in policy when left out.
    pub authz_file: Option<PathBuf>,
    /// Least severe log lines kept: `error`, `warn`, `info`, `debug`, `trace`.
    pub log_level: LogLevel,
}

impl Default for Platform {
    fn default() -> Self {
        Self { trust_domain: "zizon.local".to_owned(), authz_file: None, log_level: LogLevel::Info }
    }
}

/// Severity of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Somebody must act.
    Error,
    /// Somebody should look.
    Warn,
    /// Facts of operation.
    Info,
    /// For finding faults.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// The level's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl Config {
    /// Reads `file`, or the defaults without one.
    pub fn load(file: Option<&Path>) -> Result<Self> {
        Ok(Self::load_text(file)?.0)
    }

    /// Reads `file`, or the defaults without one; also returns what stands in it.
    pub fn load_text(file: Option<&Path>) -> Result<(Self, Option<String>)> {
        let Some(file) = file else { return Ok((Self::default(), None)) };
        let text = std::fs::read_to_string(file).map_err(|error| {
            let remedy = "name a readable TOML file with --config, or leave --config out for the defaults";
            Failure::usage(format!("cannot read the configuration {}: {error}", file.display()), remedy)
        })?;
        Ok((Self::parse(&text, &file.display().to_string())?, Some(text)))
    }

    fn parse(text: &str, name: &str) -> Result<Self> {
        let config: Self = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| line_at(text, span.start));
            let key = key_at(text, line).map_or_else(String::new, |key| format!("{key}: "));
            let message = format!("{name}, line {line}: {key}{}", plain(&error.message().trim().replace('\n', "; ")));
            Failure::usage(message, "docs/configuration.md lists every key with its unit and default")
        })?;
        config.validate(text, name)?;
        Ok(config)
    }

    fn validate(&self, text: &str, name: &str) -> Result<()> {
        let refuse = |key: &str, problem: &str, remedy: &str| -> anyhow::Error {
            let place = find_key(text, key).map_or_else(|| name.to_owned(), |line| format!("{name}, line {line}"));
            Failure::usage(format!("{place}: {key}: {problem}"), remedy).into()
        };
        if let Err(error) = self.platform.trust_domain.parse::<TrustDomain>() {
            return Err(refuse("platform.trust_domain", &error.to_string(), "use a name such as zizon.local"));
        }
        let sections =
            [self.edge.validate(), self.catalog.validate(), self.orders.validate(), self.identity.validate()];
        for checked in sections {
            checked.map_err(|error| refuse(&error.path(), &error.problem, &error.remedy))?;
        }
        Ok(())
    }

    /// The trust domain, which loading has checked.
    ///
    /// # Errors
    /// Only for a configuration that was not loaded by [`Config::load`].
    pub fn trust_domain(&self) -> Result<TrustDomain> {
        Ok(self.platform.trust_domain.parse()?)
    }
}

fn line_at(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset.min(text.len())].iter().filter(|&&byte| byte == b'\n').count() + 1
}

/// The dotted key that is set on `line`, as far as plain TOML layout shows it.
fn key_at(text: &str, line: usize) -> Option<String> {
    let mut section = None;
    for before in text.lines().take(line.saturating_sub(1)) {
        section = section_of(before).or(section);
    }
    let (key, _) = text.lines().nth(line.checked_sub(1)?)?.split_once('=')?;
    let key = key.trim().trim_matches('"');
    let plain = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    plain.then(|| section.map_or_else(|| key.to_owned(), |section| format!("{section}.{key}")))
}

fn section_of(line: &str) -> Option<&str> {
    line.trim().strip_prefix('[').and_then(|rest| rest.split(']').next()).map(str::trim)
}

/// The reader's own words for types, in those of people who write TOML.
fn plain(message: &str) -> String {
    let mut message = message.to_owned();
    for unsigned in ["u8", "u16", "u32", "u64", "usize"] {
        message = message.replace(&format!("expected {unsigned}"), "expected a whole number, 0 or more");
    }
    for (theirs, ours) in
        [("floating point", "decimal number"), ("unknown variant", "unknown value"), ("unknown field", "unknown key")]
    {
        message = message.replace(theirs, ours);
    }
    message
}

/// The line on which `section.key` is set, as far as plain TOML layout shows it.
fn find_key(text: &str, dotted: &str) -> Option<usize> {
    let (section, key) = dotted.rsplit_once('.')?;
    let mut current = "";
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(name) = section_of(line) {
            current = name;
        } else if let Some((name, _)) = line.split_once('=') {
            let name = name.trim();
            if (current == section && name == key) || (current.is_empty() && name == dotted) {
                return Some(at + 1);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        Config::parse(text, "zizon.toml").unwrap_err().to_string()
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let message = refusal("[platform]\ntrust_domian = \"a\"\n");
        assert!(
            message.starts_with("zizon.toml, line 2: platform.trust_domian: unknown key `trust_domian`"),
            "{message}"
        );
    }

    #[test]
    fn a_value_of_the_wrong_type_is_named_with_its_line() {
        let message = refusal("\n[platform]\nlog_level = 3\n");
        assert!(message.starts_with("zizon.toml, line 3: platform.log_level: "), "{message}");
        let message = refusal("[orders]\nguest_checkout = \"yes\"\n");
        assert!(message.starts_with("zizon.toml, line 2: orders.guest_checkout: "), "{message}");
        let message = refusal("[edge]\nconnections_max = -1\n");
        assert!(
            message.contains("edge.connections_max: ") && message.ends_with("a whole number, 0 or more"),
            "{message}"
        );
    }

    #[test]
    fn a_value_out_of_range_is_named_with_its_line() {
        let message = refusal("[platform]\nlog_level = \"info\"\ntrust_domain = \"Not A Domain\"\n");
        assert!(message.starts_with("zizon.toml, line 3: platform.trust_domain:"), "{message}");
    }

    #[test]
    fn the_defaults_are_valid() {
        assert!(Config::parse("", "zizon.toml").is_ok());
    }
}
