//! pgbackup: backups of dokku-postgres services that are proven to restore.
//!
//! One sentence holds the house: a **service**'s **database** is dumped into an **archive**, kept in a **store**, described
//! by a **manifest**, and judged by a **verification**. The modules below stand in the order in which the data flows.
//!
//! # One byte, there
//!
//! It is in a row of a table in the container `dokku.postgres.prod`. [`service`] has found that container on disk and in [`docker`].
//! [`database::snapshot`] locks the tables and takes the snapshot that everything of this backup is read in.
//! [`database::dump`] lets pg_dump write the schema, and [`database::rows`] carries our byte straight from the server's socket, turned
//! into a block of pg_dump's [`custom_format`] in place. [`archive::pack`] compresses it, on several cores, into the `.tgz` that users
//! of dokku-postgres know; where that is wanted, [`archive::encryption`] goes around it. An upload of the [`store`] takes it to a
//! bucket, in parts, the first one last. When the store has confirmed all of them, the [`manifest`] is put beside the object and the
//! [`history`] remembers it. All this is [`commands::backup`], on one screen. A second destination gets the same bytes, read back and compared
//! ([`commands::copying`], [`copies`]). Which older ones may go then is for [`retention`] to
//! say, and never those that [`holds`] holds.
//!
//! # And back
//!
//! The [`catalog`] knows which backups there are and which one is meant. The store gives the object, [`archive::encryption`] opens
//! it where it is encrypted, [`archive::unpack`] trusts nothing in it, [`database::load`] puts our byte into a staging database ([`database::staging`]) beside the live one,
//! [`database::fingerprint`] asks that database what it holds, and [`verification`] compares. Only then does [`database::swap`] exchange
//! the two names, in one transaction. All this is [`commands::restore`], where each state is a type.
//!
//! # Around it
//!
//! [`invocation`] is how Dokku calls us, [`cli`] reads arguments, [`settings`] and [`dokku`] know the host platform, [`lock`] and
//! [`journal`] keep runs apart and remember what is under way, [`notify`] tells others, [`interrupt`] is Ctrl-C, [`error`] is what a user reads when
//! something fails, and [`ui`] is the only voice.

pub mod docker;
pub mod dokku;
pub mod service;
pub mod settings;

pub mod custom_format;
pub mod database;
pub mod plain_format;

pub mod archive;

pub mod store;

pub mod changes;
pub mod manifest;
pub mod retention;
pub mod verification;

pub mod catalog;
pub mod certificate;
pub mod copies;
pub mod drill;
pub mod durable;
pub mod health;
pub mod history;
pub mod holds;
pub mod journal;
pub mod lock;
pub mod notify;
pub mod run_log;
pub mod schedule;
pub mod signing;

pub mod cli;
pub mod commands;
pub mod invocation;
pub mod triggers;
pub mod ui;

pub mod checksum;
pub mod error;
pub mod interrupt;
pub mod secret;
pub mod step;
pub mod text;
