//! The host platform: what Dokku hands us and where it wants things kept, and its other plugins. Everything known of Dokku
//! is in this folder.

pub mod environment;
pub mod maintenance;
pub mod properties;
