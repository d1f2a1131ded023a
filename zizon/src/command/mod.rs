//! One module per command.

mod backup;
mod bulk;
mod completions;
mod docs;
pub mod fsck;
mod load;
pub mod local;
mod operator;
mod order;
mod product;
mod prove;
mod restore;
mod status;
mod stock;
mod verify;

use std::process::ExitCode;

use anyhow::Result;

use crate::{
    cli::{Cli, Command, Load},
    roles, up,
};

/// Runs what was asked for.
pub fn dispatch(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        Command::Up(options) => up::run(options),
        Command::Run(options) => roles::run(options),
        Command::Status(local) => status::run(&local),
        Command::Product(command) => product::run(command),
        Command::Stock(command) => stock::run(command),
        Command::Order(command) => order::run(command),
        Command::Load(Load::Orders(options)) => load::run(&options),
        Command::Verify(options) => verify::run(&options),
        Command::Fsck(options) => fsck::run(&options),
        Command::Backup(options) => backup::run(&options),
        Command::Restore(options) => restore::run(&options),
        Command::Prove(options) => prove::run(&options),
        Command::Completions { shell } => {
            completions::run(shell);
            Ok(ExitCode::SUCCESS)
        }
        Command::Docs { document } => docs::run(document),
    }
}
