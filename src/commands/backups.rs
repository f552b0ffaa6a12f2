//! What the commands that read backups have in common: the catalog of a service, and finding the one that is meant.

use anyhow::Result;

use crate::catalog::selector::Selector;
use crate::catalog::{Backup, Catalog};
use crate::commands::Context;
use crate::history::History;
use crate::service::name::ServiceName;
use crate::store::Store;

/// The backups of a service: what the store lists and what this host remembers.
///
/// # Errors
/// When the history or the store can't be read.
pub fn catalog(service: &ServiceName, store: &dyn Store, context: &Context) -> Result<Catalog> {
    let history = history(service, context).read()?;
    Ok(Catalog::read(store, service, &history, context.now())?)
}

/// Finds the one backup that is meant. How it was chosen is told where the user didn't give its key.
///
/// # Errors
/// When there is none, or more than one; or when the store fails.
pub fn find(
    selector: &Selector,
    service: &ServiceName,
    store: &dyn Store,
    context: &Context,
) -> Result<(Catalog, Backup)> {
    let catalog = catalog(service, store, context)?;
    let backup = catalog.find(store, selector)?;
    if selector.key().is_none() {
        let chosen = selector.describe();
        context.ui.detail(format!("{} is {}", chosen.replacen("the ", "The ", 1), backup.key));
    }
    Ok((catalog, backup))
}

/// The history of a service on this host.
pub fn history(service: &ServiceName, context: &Context) -> History {
    History::of(&context.environment.data_folder().join(service.as_str()))
}
