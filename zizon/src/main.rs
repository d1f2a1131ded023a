//! Zizon: one binary, a subcommand per role and per task.

mod backup;
mod cli;
mod command;
mod config;
mod exit;
mod output;
mod roles;
mod up;

use std::process::ExitCode;

use clap::Parser;

/// What a request needs is made in one thread and dropped in another; glibc's allocator is slow at that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Also a command line that cannot be read is answered in the form it asks for.
    let wants_json = std::env::args_os().any(|argument| argument == "--json");
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if wants_json && error.use_stderr() => {
            let usage = exit::Failure::usage(
                usage_problem(&error),
                "the same command with --help instead of --json explains itself",
            );
            return fail(&usage.into(), true);
        }
        Err(error) => error.exit(),
    };
    command::dispatch(cli).unwrap_or_else(|error| fail(&error, wants_json))
}

/// What is wrong with the command line, in one line: which argument, and what it may be.
fn usage_problem(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let lines =
        text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    let words: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    words.join(" ").trim_start_matches("error: ").to_owned()
}

/// Says what went wrong: for people on standard error, and for scripts as the one JSON document they expect.
fn fail(error: &anyhow::Error, wants_json: bool) -> ExitCode {
    output::print_error(error);
    if wants_json {
        output::json_error(error);
    }
    exit::code_of(error)
}
