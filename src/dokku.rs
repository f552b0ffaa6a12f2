//! The host platform: what Dokku hands us and where it wants things kept. Everything known of Dokku is in this folder.

pub mod maintenance;
