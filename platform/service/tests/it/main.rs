//! Roles and callers over real sockets and real certificates, in one process.

mod lifecycle;
mod serving;
mod support;
mod upstream;
