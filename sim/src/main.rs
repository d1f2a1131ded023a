//! `zizon-sim`: runs seeds of the simulation, one with its trace or many until one breaks something; the other rungs are
//! subcommands.

mod cli;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cli::run(&cli::Args::parse()) {
        Ok(cli::End::Held) => ExitCode::SUCCESS,
        Ok(cli::End::Broken) => ExitCode::from(1),
        Err(error) => {
            eprintln!("zizon-sim: {error}");
            ExitCode::from(2)
        }
    }
}
