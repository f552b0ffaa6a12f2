//! The host platform: what Dokku hands us and where it wants things kept, and its other plugins. Everything known of Dokku
//! is in this folder.

pub mod crontab;
pub mod environment;
pub mod host_id;
pub mod maintenance;
pub mod properties;
