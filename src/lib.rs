//! pgbackup: backups of dokku-postgres services that are proven to restore.
//!
//! One sentence holds the house: a **service**'s **database** is dumped into an **archive**, kept in a **store**, described
//! by a **manifest**, and judged by a **verification**. The modules below stand in the order in which the data flows.

pub mod docker;
pub mod dokku;
pub mod service;
pub mod settings;

pub mod custom_format;
pub mod database;

pub mod archive;

pub mod store;

pub mod manifest;
pub mod verification;

pub mod catalog;
pub mod durable;
pub mod history;
pub mod journal;
pub mod lock;

pub mod commands;
pub mod triggers;
pub mod ui;

pub mod cli;
pub mod invocation;

pub mod error;
pub mod interrupt;
pub mod secret;
pub mod text;
