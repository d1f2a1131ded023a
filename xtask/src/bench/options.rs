//! The options of a benchmark, read strictly: a misspelt one must not measure something else.

use std::{collections::BTreeMap, fmt, ops::RangeInclusive};

use anyhow::Result;

/// An option that takes a value: its name, its default and what it means.
pub struct Spec {
    /// With its dashes.
    pub name: &'static str,
    /// Value when left out; `None` for a switch, which takes no value.
    pub default: Option<&'static str>,
    /// For people.
    pub meaning: &'static str,
}

/// An option with a value.
pub const fn value(name: &'static str, default: &'static str, meaning: &'static str) -> Spec {
    Spec { name, default: Some(default), meaning }
}

/// An option without one.
pub const fn switch(name: &'static str, meaning: &'static str) -> Spec {
    Spec { name, default: None, meaning }
}

/// What every measuring benchmark takes.
pub const RUNS: Spec = value("--runs", "5", "runs; medians are taken over them");

/// The command line is wrong.
#[derive(Debug)]
pub struct Usage(pub String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// The options given, with defaults for the others.
#[derive(Debug, Default)]
pub struct Options(BTreeMap<&'static str, String>);

impl Options {
    /// Reads `words` of `cargo xtask bench NAME`.
    ///
    /// # Errors
    /// An unknown option, or one without its value.
    pub fn read(name: &str, words: &[&str], specs: &[Spec]) -> Result<Self> {
        let mut values = BTreeMap::new();
        for spec in specs {
            if let Some(default) = spec.default {
                values.insert(spec.name, default.to_owned());
            }
        }
        let mut words = words.iter();
        while let Some(&word) = words.next() {
            let (given, inline) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
            let Some(spec) = specs.iter().find(|spec| spec.name == given) else {
                let known: Vec<_> = specs.iter().map(|spec| spec.name).collect();
                let known = if known.is_empty() { "it takes none".to_owned() } else { known.join(", ") };
                return Err(Usage(format!("bench {name}: unknown option `{word}`; known: {known}")).into());
            };
            let value = match (spec.default, inline) {
                (None, None) => String::new(),
                (None, Some(_)) => return Err(Usage(format!("bench {name}: {given} takes no value")).into()),
                (Some(_), Some(value)) => value.to_owned(),
                (Some(_), None) => {
                    let next = words.next().filter(|next| !next.starts_with("--"));
                    let missing = || Usage(format!("bench {name}: {given} needs a value ({})", spec.meaning));
                    (*next.ok_or_else(missing)?).to_owned()
                }
            };
            values.insert(spec.name, value);
        }
        Ok(Self(values))
    }

    /// The text of an option.
    pub fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// Whether a switch was given.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// A whole number within a range.
    ///
    /// # Errors
    /// It is none, or out of the range.
    pub fn number(&self, name: &str, range: RangeInclusive<u64>) -> Result<u64> {
        let text = self.text(name);
        let number = text.replace(['_', ','], "").parse().ok().filter(|number| range.contains(number));
        let wrong =
            || Usage(format!("{name}: write a whole number from {} to {}, not `{text}`", range.start(), range.end()));
        number.ok_or_else(|| wrong().into())
    }

    /// How many runs are asked for.
    ///
    /// # Errors
    /// Not 1 to 100.
    pub fn runs(&self) -> Result<usize> {
        Ok(usize::try_from(self.number("--runs", 1..=100)?)?)
    }

    /// Whole seconds, written `60`, `60s` or `2m`.
    ///
    /// # Errors
    /// It is no time, or out of the range.
    pub fn seconds(&self, name: &str, range: RangeInclusive<u64>) -> Result<u64> {
        let text = self.text(name);
        let (digits, unit) = match text.strip_suffix('m') {
            Some(minutes) => (minutes, 60),
            None => (text.strip_suffix('s').unwrap_or(text), 1),
        };
        let seconds = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
        let wrong =
            || Usage(format!("{name}: write {} to {} seconds (60, 60s, 2m), not `{text}`", range.start(), range.end()));
        seconds.filter(|seconds| range.contains(seconds)).ok_or_else(|| wrong().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPECS: &[Spec] = &[RUNS, value("--seconds", "10", "per run"), switch("--fail", "exit code 1")];

    fn read(words: &[&str]) -> Result<Options> {
        Options::read("x", words, SPECS)
    }

    #[test]
    fn what_is_left_out_has_its_default() -> Result<()> {
        let options = read(&["--runs", "2", "--fail"])?;
        assert_eq!((options.runs()?, options.seconds("--seconds", 1..=60)?), (2, 10));
        assert!(options.has("--fail") && !read(&[])?.has("--fail"));
        Ok(())
    }

    #[test]
    fn times_are_seconds_or_minutes() -> Result<()> {
        for (text, seconds) in [("60", 60), ("60s", 60), ("2m", 120)] {
            assert_eq!(read(&["--seconds", text])?.seconds("--seconds", 1..=600)?, seconds);
        }
        for text in ["", "m", "-1", "1h", "700", "99999999999999999999m"] {
            assert!(read(&[&format!("--seconds={text}")])?.seconds("--seconds", 1..=600).is_err(), "{text}");
        }
        Ok(())
    }

    #[test]
    fn large_numbers_may_be_grouped_and_stay_in_range() -> Result<()> {
        assert_eq!(read(&["--runs=1_0"])?.number("--runs", 1..=10)?, 10);
        assert!(read(&["--runs", "0"])?.runs().is_err());
        Ok(())
    }

    #[test]
    fn mistakes_are_named() {
        let message = |words: &[&str]| read(words).map(drop).unwrap_err().to_string();
        assert!(message(&["--second", "1"]).contains("`--second`; known: --runs, --seconds, --fail"));
        assert!(message(&["--runs"]).contains("--runs needs a value"));
        assert!(message(&["--runs", "--fail"]).contains("--runs needs a value"));
        assert!(message(&["--fail=1"]).contains("takes no value"));
    }
}
