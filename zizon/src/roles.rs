//! `zizon run ROLE`: the one place that knows all roles, and wires each to its ports.

use std::{
    io::IsTerminal,
    net::{SocketAddr, TcpListener},
    process::ExitCode,
};

use anyhow::{Context, Result};
use bytes::Bytes;
use rustix::{
    fs::Mode,
    process::{Signal, getppid, set_parent_process_death_signal, umask},
};
use utoipa::openapi::{InfoBuilder, OpenApi, OpenApiBuilder};
use zizon_base::role::Role;
use zizon_contracts::supervisor::SUPERVISOR_PID_ENV;
use zizon_mtls::authz::{DEFAULT_POLICY, Policy};
use zizon_service::{RoleArgs, RoleContext, RoleSetup, terminated};
use zizon_table::OpenError;
use zizon_telemetry::{LogFormat, LogOptions};

use crate::{
    cli,
    command::local,
    config::Config,
    exit::{self, Failure},
    up,
};

/// Runs one role until it is told to stop.
pub fn run(options: cli::Run) -> Result<ExitCode> {
    die_with_the_supervisor()?;
    umask(Mode::RWXG | Mode::RWXO);
    let config = Config::load(options.config.as_deref())?;
    zizon_telemetry::init_logging(&log_options(&config))?;
    let role = options.role;
    let result = local::block_on(serve(options, config));
    if let Err(error) = &result
        && !std::io::stderr().is_terminal()
    {
        let remedy = remedy(error);
        tracing::error!(role = role.name(), error = %format!("{error:#}"), remedy, "{}", up::FAILED);
        // It has been said, in the form the reader of this output expects.
        return Ok(exit::code_of(error));
    }
    result.map(|()| ExitCode::SUCCESS)
}

/// What to do about an error that ends a role, where that is known.
fn remedy(error: &anyhow::Error) -> &str {
    let storage = || error.chain().find_map(|cause| cause.downcast_ref::<OpenError>()).map(OpenError::remedy);
    error.downcast_ref::<Failure>().map(|failure| failure.remedy.as_str()).or_else(storage).unwrap_or_default()
}

/// A role without its supervisor would hold sockets and files that the next one needs; the journal makes this safe.
fn die_with_the_supervisor() -> Result<()> {
    let Some(supervisor) = std::env::var(SUPERVISOR_PID_ENV).ok() else { return Ok(()) };
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The supervisor may have died before the kernel was asked to tell.
    let parent = getppid().map_or(0, |parent| parent.as_raw_nonzero().get());
    if supervisor != parent.to_string() {
        return Err(
            Failure::unknown("the supervisor of this role has ended", "start the platform with zizon up").into()
        );
    }
    Ok(())
}

async fn serve(options: cli::Run, config: Config) -> Result<()> {
    let public_address = options.public;
    let arguments = RoleArgs {
        role: options.role,
        data_dir: std::path::absolute(&options.data)?,
        trust_domain: config.trust_domain()?,
        listen: options.listen,
        peers: options.peer.into_iter().collect(),
        endpoint: None,
        authz_file: config.platform.authz_file.clone(),
        demo: options.demo,
    };
    let mut setup = RoleSetup::take(arguments).map_err(|error| {
        let message = format!("{:#}", anyhow::Error::from(error));
        Failure::usage(message, "zizon run --help shows what a role needs; zizon up starts all of them")
    })?;
    let public = match options.role {
        Role::Edge => Some(public_listener(setup.second_listener.take(), public_address)?),
        _ => None,
    };
    let shutdown = setup.shutdown.clone();
    let signalled = async {
        terminated().await?;
        shutdown.cancel();
        // The role ends by itself once it has drained.
        std::future::pending::<std::io::Result<()>>().await
    };
    tokio::select! {
        ended = run_role(setup, config, public, options.host) => ended,
        failed = signalled => Ok(failed?),
    }
}

async fn run_role(setup: RoleSetup, config: Config, public: Option<TcpListener>, hosts: Vec<String>) -> Result<()> {
    match setup.role {
        Role::Identity => Ok(zizon_identity::run(setup, config.identity).await?),
        Role::Catalog => Ok(zizon_catalog::run(connect(setup).await?, config.catalog).await?),
        Role::Orders => {
            let mut orders = config.orders;
            if setup.demo {
                orders.demo_stock = zizon_catalog::demo::stock();
            }
            Ok(zizon_orders::run(connect(setup).await?, orders).await?)
        }
        Role::Edge => {
            let public_listener = public.context("the edge has no public listener")?;
            let openapi = Bytes::from(openapi_document()?);
            let extra = zizon_edge::EdgeOptions { public_listener, hosts, openapi };
            Ok(zizon_edge::run(connect(setup).await?, extra, config.edge).await?)
        }
    }
}

async fn connect(setup: RoleSetup) -> Result<RoleContext> {
    Ok(setup.connect().await?)
}

/// The second listener a supervisor hands over, otherwise one bound at `--public`.
fn public_listener(handed_over: Option<TcpListener>, address: Option<SocketAddr>) -> Result<TcpListener> {
    if let Some(inherited) = handed_over {
        return Ok(inherited);
    }
    let address = address.ok_or_else(|| {
        Failure::usage("the edge has nothing to listen on for the public", "name an address with --public ADDR:PORT")
    })?;
    TcpListener::bind(address).map_err(|error| {
        Failure::usage(format!("cannot listen on {address}: {error}"), "choose a free address with --public").into()
    })
}

/// The policy the configuration names, or the built-in one.
pub fn policy(config: &Config) -> Result<Policy> {
    let domain = config.trust_domain()?;
    let Some(file) = &config.platform.authz_file else { return Ok(Policy::from_yaml(DEFAULT_POLICY, &domain)?) };
    let remedy = "docs/authorisation.md describes the file; leave platform.authz_file out for the built-in policy";
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::usage(format!("cannot read the policy {}: {error}", file.display()), remedy))?;
    Policy::from_yaml(&text, &domain)
        .map_err(|error| Failure::usage(format!("{}: {error}", file.display()), remedy).into())
}

/// JSON lines everywhere but on a terminal.
pub fn log_options(config: &Config) -> LogOptions {
    let format = if std::io::stderr().is_terminal() { LogFormat::Pretty } else { LogFormat::Json };
    LogOptions { format, level: config.platform.log_level.name().to_owned() }
}

/// The public API, put together from the handlers of every role.
pub fn openapi_document() -> Result<String> {
    let info = InfoBuilder::new()
        .title("Zizon")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("Orders, stock and products of a Zizon platform. Errors are RFC 9457 problem documents."))
        .build();
    let mut document: OpenApi = OpenApiBuilder::new().info(info).build();
    document.merge(zizon_catalog::openapi());
    document.merge(zizon_orders::openapi());
    Ok(document.to_pretty_json()?)
}
