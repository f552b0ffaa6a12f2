//! Backups that somebody is about to restore, or to prove by a drill: while it is asked whether, waited for the service and read, nobody
//! prunes or deletes them.
//!
//! A small file for each, in the folder of the service whose backup it is, that says which process wants it: what a killed one has left
//! counts for nothing. It is in nobody's way otherwise, so that whoever has gone to lunch holds back no more than that one deletion.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::commands::context::Context;
use crate::durable;
use crate::lock::Owner;
use crate::service::Service;
use crate::store::key::BackupKey;

/// What stands in the file.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    key: BackupKey,
    owner: Owner,
}

/// A backup that stays until this is dropped, or until we die.
#[derive(Debug)]
pub struct Wanted {
    path: Option<PathBuf>,
}

impl Wanted {
    /// Says that this backup is wanted, and what for. That it can't be said is no reason to go without; of a service that never was on this
    /// host nothing is deleted here.
    pub fn note(context: &Context, key: &BackupKey, doing: &str) -> Self {
        let folder = folder(context, key);
        let known = folder.parent().is_some_and(Path::exists);
        if !known && Service::find(&context.environment.lib_root, key.service()).is_err() {
            return Self { path: None };
        }
        let noted = Owner::ourselves(doing).and_then(|owner| write(&folder, &Note { key: key.clone(), owner }));
        match noted {
            Ok(path) => Self { path: Some(path) },
            Err(error) => {
                context.ui.debug(format!("That {key} is wanted can't be noted: {error:#}"));
                Self { path: None }
            }
        }
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = fs::remove_file(path);
        }
    }
}

fn write(folder: &Path, note: &Note) -> Result<PathBuf> {
    durable::make_folder(folder, 0o700)?;
    // An id that is given again is another process's.
    let path = folder.join(format!("{}-{}.json", note.owner.pid, note.owner.process_start));
    durable::write(&path, &serde_json::to_vec(note)?, 0o600)?;
    Ok(path)
}

/// Who wants a backup at this moment. What the dead have left is removed.
pub fn by(context: &Context, key: &BackupKey) -> Option<Owner> {
    let entries = fs::read_dir(folder(context, key)).into_iter().flatten().filter_map(Result::ok);
    let files = entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|it| it == "json"));
    let mut wanting = None;
    for path in files {
        let Ok(Some(text)) = durable::read(&path) else { continue };
        match serde_json::from_slice::<Note>(&text) {
            Ok(note) if note.owner.lives() => {
                if note.key == *key {
                    wanting = Some(note.owner);
                }
            }
            _ => drop(fs::remove_file(&path)),
        }
    }
    wanting
}

fn folder(context: &Context, key: &BackupKey) -> PathBuf {
    context.environment.data_folder().join(key.service().as_str()).join("wanted")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::list::tests::world;

    #[test]
    fn it_is_wanted_as_long_as_somebody_lives_who_wants_it() {
        let (host, context, _) = world();
        let key = |text: &str| text.parse::<BackupKey>().unwrap();
        let (old, new) = (key("postgres-prod-2023-04-03-11-00-04.tgz"), key("postgres-prod-2023-04-04-11-00-04.tgz"));
        // Of a service that never was here nothing is kept.
        drop(Wanted::note(&context, &old, "restore"));
        assert!(!folder(&context, &old).exists());
        let service = host.path().join("services/postgres/prod");
        fs::create_dir_all(&service).unwrap();
        fs::write(service.join("PASSWORD"), "x").unwrap();
        assert_eq!(by(&context, &old), None);
        let wanted = Wanted::note(&context, &old, "restore");
        assert_eq!(by(&context, &old).unwrap().pid, std::process::id());
        assert_eq!(by(&context, &new), None);
        drop(wanted);
        assert_eq!(by(&context, &old), None);
        // Killed.
        let mut owner = Owner::ourselves("restore").unwrap();
        owner.process_start += 1;
        let left = write(&folder(&context, &old), &Note { key: old.clone(), owner }).unwrap();
        assert_eq!(by(&context, &old), None);
        assert!(!left.exists());
    }
}
