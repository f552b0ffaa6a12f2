//! One test binary: it links once, and the services it starts are shared. Each file is one command or one promise.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a test fails by panicking

mod adoption;
mod at_every_step;
mod backup;
mod certificate;
mod check;
mod checks;
mod cli;
mod concurrency;
mod copy;
mod corpus;
mod deploy;
mod doctor;
mod encryption;
mod faults_input;
mod faults_process;
mod faults_store;
mod foreign_objects;
mod fuzz;
mod harness;
mod host;
mod install;
mod layers;
mod lost_host;
mod names;
mod prune;
mod restore;
mod roles;
mod schedule;
mod secrets;
mod signing;
mod soak;
mod store;
mod told;
mod traffic;
mod verify;
