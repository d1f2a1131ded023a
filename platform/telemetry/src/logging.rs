//! Structured logs on standard error.

use std::io::IsTerminal;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The shape of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// [`LogFormat::Pretty`] when standard error is a terminal, [`LogFormat::Json`] otherwise.
    #[default]
    Auto,
    /// One JSON object per event, fields at the top level.
    Json,
    /// For people: short, coloured on a terminal.
    Pretty,
}

/// What to log and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// The shape of a line.
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, `trace`, or a list of `target=level` directives.
    pub level: String,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { format: LogFormat::Auto, level: String::from("info") }
    }
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The level is neither a level nor a list of directives.
    #[error("log level {given:?} is not error, warn, info, debug, trace or target=level,...")]
    Level {
        /// What was configured.
        given: String,
        /// What the parser said.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// The format is not one of the known words.
    #[error("log format {given:?} is not auto, json or pretty")]
    Format {
        /// What was configured.
        given: String,
    },
    /// Logging is set up already in this process.
    #[error("logging is set up already")]
    AlreadySet,
}

impl FromStr for LogFormat {
    type Err = LoggingError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(LogFormat::Auto),
            "json" => Ok(LogFormat::Json),
            "pretty" => Ok(LogFormat::Pretty),
            other => Err(LoggingError::Format { given: other.to_owned() }),
        }
    }
}

/// Sends every `tracing` event of this process to standard error.
///
/// # Errors
/// A level that does not parse, or a second call in one process.
pub fn init_logging(options: &LogOptions) -> Result<(), LoggingError> {
    let filter = parse_level(&options.level)?;
    let terminal = std::io::stderr().is_terminal();
    let json = match options.format {
        LogFormat::Json => true,
        LogFormat::Pretty => false,
        LogFormat::Auto => !terminal,
    };
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let result = if json {
        registry.with(lines.json().flatten_event(true).with_current_span(false)).try_init()
    } else {
        registry.with(lines.compact().with_ansi(terminal)).try_init()
    };
    result.map_err(|_| LoggingError::AlreadySet)
}

fn parse_level(level: &str) -> Result<EnvFilter, LoggingError> {
    let level_only = ["error", "warn", "info", "debug", "trace"].contains(&level);
    let directives = level_only || level.contains('=');
    EnvFilter::try_new(if directives { level } else { "[" })
        .map_err(|source| LoggingError::Level { given: level.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_directives_are_accepted() {
        for level in ["info", "debug", "info,hyper=warn", "zizon_orders=trace"] {
            assert!(parse_level(level).is_ok(), "{level}");
        }
    }

    #[test]
    fn a_misspelt_level_is_refused_with_the_known_words() {
        let error = parse_level("verbose").expect_err("not a level");
        assert!(error.to_string().contains("error, warn, info, debug, trace"), "{error}");
        assert!("yaml".parse::<LogFormat>().is_err());
    }
}
