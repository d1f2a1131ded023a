//! Every role's listening socket is bound here and handed to the child, so that an address outlives a restart and a
//! connection made meanwhile waits instead of being refused.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::Result;
use zizon_base::role::Role;

use crate::exit::Failure;

/// A role's sockets.
#[derive(Debug)]
pub struct Listeners {
    /// The role.
    pub role: Role,
    /// mTLS, loopback.
    pub internal: TcpListener,
    /// Only the edge's.
    pub public: Option<TcpListener>,
}

impl Listeners {
    /// Where the mTLS listener is.
    pub fn internal_address(&self) -> Result<SocketAddr> {
        Ok(self.internal.local_addr()?)
    }

    /// Where clients of the role go.
    pub fn address(&self) -> Result<SocketAddr> {
        Ok(self.public.as_ref().unwrap_or(&self.internal).local_addr()?)
    }
}

/// Binds all roles' sockets; the edge's public one at `public`.
pub fn bind_all(public: SocketAddr) -> Result<Vec<Listeners>> {
    Role::ALL.into_iter().map(|role| bind(role, public)).collect()
}

fn bind(role: Role, public: SocketAddr) -> Result<Listeners> {
    let internal = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let public = if role == Role::Edge { Some(bind_public(public)?) } else { None };
    Ok(Listeners { role, internal, public })
}

fn bind_public(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).map_err(|error| {
        let remedy = if error.kind() == std::io::ErrorKind::AddrInUse {
            "another program listens there: stop it, or choose another address with --listen"
        } else {
            "choose an address of this machine with --listen"
        };
        Failure::usage(format!("cannot listen on {address}: {error}"), remedy).into()
    })
}
