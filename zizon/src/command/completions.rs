//! `zizon completions`.

use clap::CommandFactory;

use crate::cli::Cli;

/// Writes the script to standard output.
pub fn run(shell: clap_complete::Shell) {
    clap_complete::generate(shell, &mut Cli::command(), "zizon", &mut std::io::stdout());
}
