//! `zizon prove` and its proofs.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use zizon_base::ids::Sku;

use super::parse_duration;

/// `zizon prove`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Prove {
    /// Which proof.
    #[command(subcommand)]
    pub proof: Option<ProveWhat>,
    /// Break the evidence on purpose: each defect must be noticed.
    #[arg(long)]
    pub self_test: bool,
    /// How.
    #[command(flatten)]
    pub output: ProveOutput,
}

/// A proof.
#[derive(Debug, Subcommand)]
pub enum ProveWhat {
    /// Many buyers at once: as many get a unit as there are, whatever dies.
    #[command(
        after_help = "Examples:\n  zizon prove oversell\n  zizon prove oversell --buyers 500 --units 7\n  zizon prove oversell --url https://shop.example.com --ca ca.pem --product PROD001 --units 3\n\nAt a running platform --units must be the stock that is left, and is sold."
    )]
    Oversell {
        /// Sizes.
        #[command(flatten)]
        sizes: OversellSizes,
        /// Where.
        #[command(flatten)]
        target: ProveTarget,
        /// How.
        #[command(flatten)]
        output: ProveOutput,
    },
    /// One key, many clients: one order, and the same bytes for all.
    #[command(after_help = "Examples:\n  zizon prove replay\n  zizon prove replay --clients 200 --json")]
    Replay {
        /// Sizes.
        #[command(flatten)]
        sizes: ReplaySizes,
        /// Where.
        #[command(flatten)]
        target: ProveTarget,
        /// How.
        #[command(flatten)]
        output: ProveOutput,
    },
    /// Orders while random roles are killed: every acknowledged one is there, equal, once.
    #[command(
        after_help = "Examples:\n  zizon prove durability\n  zizon prove durability --kills 1000 --rate max --seed 7\n  zizon prove durability --url https://shop.example.com --ca ca.pem --duration 30s\n\nThe same seed makes the same choices of roles and pauses."
    )]
    Durability {
        /// Sizes.
        #[command(flatten)]
        sizes: DurabilitySizes,
        /// Where.
        #[command(flatten)]
        target: ProveTarget,
        /// How.
        #[command(flatten)]
        output: ProveOutput,
    },
    /// All of it, with a report on one page.
    #[command(after_help = "Examples:\n  zizon prove all\n  zizon prove all --report proof.html --kills 100")]
    All {
        /// Sizes.
        #[command(flatten)]
        oversell: OversellSizes,
        /// Sizes.
        #[command(flatten)]
        replay: ReplaySizes,
        /// Sizes.
        #[command(flatten)]
        durability: DurabilitySizes,
        /// Where.
        #[command(flatten)]
        target: ProveTarget,
        /// How.
        #[command(flatten)]
        output: ProveOutput,
    },
}

/// Sizes of `zizon prove oversell`.
#[derive(Debug, Clone, Args)]
pub struct OversellSizes {
    /// Buyers at once, each for one unit.
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub buyers: u32,
    /// Units there are, 100 when left out; at a running platform what is left of the product.
    #[arg(long, value_name = "N")]
    pub units: Option<u32>,
}

/// Sizes of `zizon prove replay`.
#[derive(Debug, Clone, Args)]
pub struct ReplaySizes {
    /// Clients at once, all with one key.
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub clients: u32,
}

/// Sizes of `zizon prove durability`.
#[derive(Debug, Clone, Args)]
pub struct DurabilitySizes {
    /// Roles killed with kill -9, one after the other.
    #[arg(long, value_name = "N", default_value_t = 30, conflicts_with = "url")]
    pub kills: u32,
    /// Orders per second meanwhile, or `max`.
    #[arg(long, value_name = "N|max", default_value = "1000")]
    pub rate: String,
    /// How long orders are made at a running platform.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration, requires = "url")]
    pub duration: std::time::Duration,
}

/// What is proven.
#[derive(Debug, Clone, Args)]
pub struct ProveTarget {
    /// Start a platform for the proof and remove it; the default.
    #[arg(long, conflicts_with_all = ["url", "ca"])]
    pub spawn: bool,
    /// Base URL of a running platform, which is ordered from and never stopped.
    #[arg(long)]
    pub url: Option<String>,
    /// Authority to trust there (PEM).
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// What to order; the demo's PROD001 when left out.
    #[arg(long, value_name = "ID")]
    pub product: Option<Sku>,
}

/// How a proof is made and reported.
#[derive(Debug, Clone, Args)]
pub struct ProveOutput {
    /// Print one JSON document.
    #[arg(long)]
    pub json: bool,
    /// Write a page of HTML that needs nothing else.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Where all random choices come from; one is drawn and printed when left out.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Keep the platforms' directories, and say where they are.
    #[arg(long)]
    pub keep: bool,
}
