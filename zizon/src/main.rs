//! Zizon: one binary, a subcommand per role and per task.

mod cli;
mod command;
mod config;
mod exit;
mod output;
mod roles;
mod up;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match command::dispatch(cli) {
        Ok(code) => code,
        Err(error) => {
            output::print_error(&error);
            exit::code_of(&error)
        }
    }
}
