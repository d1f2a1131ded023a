//! `zizon load`.

use std::{
    io::{ErrorKind, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::Result;
use zizon_load::{Keys, LoadError, OrdersLoad, Progress};

use super::local::{self, block_on};
use crate::{
    cli,
    exit::{self, Failure},
    output,
};

/// Runs the generator and prints its report.
pub fn run(options: &cli::LoadOrders) -> Result<ExitCode> {
    let (url, ca_file) = target(options.url.clone(), options.ca.clone(), &options.local.data)?;
    let mut load = OrdersLoad::to(url, ca_file);
    load.rate = options.rate.parse().map_err(|error: String| {
        Failure::usage(format!("--rate: {error}"), "write --rate 2000, or --rate max for one in flight per connection")
    })?;
    load.duration = options.duration;
    load.keys = match options.keys {
        cli::Keys::Fresh => Keys::Fresh,
        cli::Keys::Fixed => Keys::Fixed,
    };
    let default = zizon_load::DEFAULT_PRODUCT;
    load.product = (options.product.as_str() != default).then(|| options.product.to_string());
    if let Some(file) = &options.products {
        load.products = products(file)?;
    }
    load.connections = usize::try_from(options.connections)?;
    load.acks.clone_from(&options.acks);
    stop_on_interrupt(&load.stop)?;

    let mut lines = options.progress.as_deref().map(progress_file).transpose()?;
    let report = zizon_load::run(&load, |progress| {
        progress_line(progress);
        if let Some(lines) = &mut lines {
            // What was measured is worth more than a line about it: the report says all of it again.
            let _ =
                serde_json::to_writer(&mut *lines, progress).map_err(Into::into).and_then(|()| lines.write_all(b"\n"));
        }
    });
    clear_progress();
    let report = report.map_err(failure)?;
    if options.local.json {
        output::json(&report)?;
    } else {
        output::line(report.render().trim_end());
    }
    Ok(ExitCode::from(if report.errors == 0 { 0 } else { exit::NO }))
}

fn progress_file(file: &std::path::Path) -> Result<std::fs::File, Failure> {
    std::fs::File::create(file).map_err(|error| {
        Failure::usage(format!("cannot write {}: {error}", file.display()), "name a file in a directory that exists")
    })
}

/// The product ids of a file, one a line.
fn products(file: &std::path::Path) -> Result<Vec<String>, Failure> {
    let remedy = "name a file with one product id on each line (zizon product ls --json | jq -r '.data[].id')";
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::usage(format!("cannot read {}: {error}", file.display()), remedy))?;
    let ids: Vec<String> = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    if ids.is_empty() {
        return Err(Failure::usage(format!("{} names no product", file.display()), remedy));
    }
    Ok(ids)
}

/// The URL and authority given, or those of the local platform.
pub fn target(url: Option<String>, ca: Option<PathBuf>, data: &std::path::Path) -> Result<(String, PathBuf)> {
    match (url, ca) {
        (Some(url), Some(ca)) => Ok((url, ca)),
        (url, ca) => {
            let paths = local::paths_of(data)?;
            let report = block_on(local::report(&paths))?;
            if report.ca_file.is_empty() {
                let message =
                    format!("{} has a certificate of your own, which no authority here has signed", report.url);
                return Err(Failure::usage(message, "name its address with --url and its authority with --ca").into());
            }
            Ok((url.unwrap_or(report.local_url), ca.unwrap_or_else(|| paths.ca_file())))
        }
    }
}

/// An error of the generator with its exit code and remedy.
pub fn failure(error: LoadError) -> Failure {
    let code = match &error {
        LoadError::Option { .. } | LoadError::Url { .. } | LoadError::Ca { .. } | LoadError::Product { .. } => {
            exit::USAGE
        }
        LoadError::Acks { source, .. } if is_bad_path(source.kind()) => exit::USAGE,
        LoadError::Acks { .. } | LoadError::Connect { .. } | LoadError::Setup { .. } => exit::UNKNOWN,
    };
    let remedy = error.help().to_owned();
    Failure { code, message: format!("{:#}", anyhow::Error::from(error)), remedy }
}

/// Whether a file was named that cannot be, rather than one that could not be read or written to its end.
const fn is_bad_path(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::IsADirectory | ErrorKind::NotADirectory
    )
}

/// Ctrl-C ends the run and still prints what was measured.
fn stop_on_interrupt(stop: &Arc<AtomicBool>) -> Result<()> {
    let stop = Arc::clone(stop);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("interrupt".to_owned()).spawn(move || {
        if runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
            stop.store(true, Ordering::Relaxed);
        }
    })?;
    Ok(())
}

fn progress_line(progress: &Progress) {
    let line = format!(
        "{:>4.0} s of {:.0}  {:>7.0}/s  {} created, {} replayed, {} errors, p99 {:.1} ms",
        progress.elapsed.as_secs_f64(),
        progress.duration.as_secs_f64(),
        progress.rate,
        progress.created,
        progress.replayed,
        progress.errors,
        progress.p99_ms
    );
    let mut out = std::io::stderr().lock();
    // Progress that cannot be shown is no reason to stop measuring.
    let _ = if out.is_terminal() {
        write!(out, "\r\x1b[2K{line}").and_then(|()| out.flush())
    } else {
        writeln!(out, "{line}")
    };
}

fn clear_progress() {
    let mut out = std::io::stderr().lock();
    if out.is_terminal() {
        let _ = write!(out, "\r\x1b[2K");
    }
}
