//! What a user can ask for: one file per command, holding its arguments (their doc comments are the help) and its `run`.

pub mod context;

pub use context::Context;
