//! The folders that we keep things in, and secrets that others on this host could read.

use std::fs::{self, Metadata};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::finding::{Finding, Group};
use crate::commands::context::Context;
use crate::dokku::properties::Subject;
use crate::service::Service;
use crate::settings;

/// Looks at the folders and at the secrets of a service.
pub fn examine(context: &Context, service: &Service) -> Vec<Finding> {
    let mut findings = vec![folders(context, service)];
    findings.push(own_secrets(context, service));
    findings.push(service_secrets(service));
    findings
}

/// The plugin's folders: made by `install`, written by us.
fn folders(context: &Context, service: &Service) -> Finding {
    let environment = &context.environment;
    let (config, data) = (environment.config_folder(), environment.data_folder());
    let owner = format!("{}:{}", environment.system_user, environment.system_group);
    let folders = [(config, 0o755), (data.clone(), 0o700), (data.join(service.name.as_str()), 0o700)];
    let wrong = folders.iter().enumerate().find_map(|(index, (folder, mode))| {
        // The service's own is made when it is first needed.
        let found = match fs::metadata(folder) {
            Ok(found) => found,
            Err(_) if index == 2 => return None,
            Err(error) => return Some((folder, *mode, format!("{} can't be looked at: {error}", folder.display()))),
        };
        wrong_with(folder, &found, *mode).map(|what| (folder, *mode, what))
    });
    match wrong {
        None => Group::Host.ok("folders", "The plugin's folders can be written, and the closed ones are closed"),
        Some((folder, mode, what)) => {
            let finding = if what.ends_with("by others") {
                Group::Host.warn("folders", what)
            } else {
                Group::Host.fail("folders", what)
            };
            let folder = folder.display();
            finding.fix(format!("sudo install -d -m {mode:o} {folder} && sudo chown -R {owner} {folder}"))
        }
    }
}

fn wrong_with(folder: &Path, found: &Metadata, mode: u32) -> Option<String> {
    let shown = folder.display();
    if !found.is_dir() {
        return Some(format!("{shown} is not a folder"));
    }
    if access(folder, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK).is_err() {
        return Some(format!(
            "{shown} can't be written: it belongs to user {} with mode {:o}",
            found.uid(),
            found.mode() & 0o777
        ));
    }
    let open = found.permissions().mode() & 0o777 & !mode;
    (open != 0).then(|| format!("{shown} has mode {:o} and can be used by others", found.mode() & 0o777))
}

/// Our own secrets: keys and what encrypts.
fn own_secrets(context: &Context, service: &Service) -> Finding {
    let config = context.environment.config_folder();
    let open: Vec<PathBuf> = [Subject::Service(service.name.clone()), Subject::Global]
        .iter()
        .flat_map(|subject| SECRETS.map(|secret| config.join(subject.to_string()).join(secret)))
        .filter(|path| fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o077 != 0))
        .collect();
    secrets("own-secrets", "The secrets of pgbackup can be read by its user alone", &open)
}

/// Properties that open something.
const SECRETS: [&str; 3] = [settings::SECRET_ACCESS_KEY, settings::SESSION_TOKEN, settings::ENCRYPTION];

/// dokku-postgres up to 1.48 leaves its secrets readable for everybody.
fn service_secrets(service: &Service) -> Finding {
    let open: Vec<PathBuf> = ["PASSWORD", "backup/AWS_SECRET_ACCESS_KEY", "backup-encryption/ENCRYPTION_KEY"]
        .iter()
        .map(|file| service.root.join(file))
        .filter(|path| is_open(path, &service.root))
        .collect();
    secrets("service-secrets", "The secrets of dokku-postgres can't be read by others", &open)
}

/// Whether anybody on this host can read a file: its mode says so, and no folder on the way is closed.
fn is_open(path: &Path, root: &Path) -> bool {
    let others = |path: &Path, bit: u32| fs::metadata(path).is_ok_and(|found| found.permissions().mode() & bit != 0);
    others(path, 0o004) && others(root, 0o001) && path.parent().is_none_or(|folder| others(folder, 0o001))
}

fn secrets(check: &'static str, good: &str, open: &[PathBuf]) -> Finding {
    if open.is_empty() {
        return Group::Host.ok(check, good);
    }
    let paths: Vec<String> = open.iter().map(|path| path.display().to_string()).collect();
    Group::Host
        .warn(check, format!("Everybody on this host can read {}", paths.join(" and ")))
        .fix(format!("sudo chmod 600 {}", paths.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::finding::Verdict;
    use crate::commands::doctor::tests::world;
    use crate::durable;

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn verdicts(context: &Context, service: &Service) -> Vec<(&'static str, Verdict)> {
        examine(context, service).iter().map(|finding| (finding.check, finding.verdict)).collect()
    }

    #[test]
    fn open_secrets_are_found_with_the_command_that_closes_them() {
        let (_folder, context, service) = world();
        let environment = &context.environment;
        durable::make_folder(&environment.config_folder(), 0o755).unwrap();
        durable::make_folder(&environment.data_folder(), 0o700).unwrap();
        // As dokku-postgres writes it.
        mode(&service.root.join("PASSWORD"), 0o640);
        let ok = ["folders", "own-secrets", "service-secrets"].map(|check| (check, Verdict::Ok));
        assert_eq!(verdicts(&context, &service), ok);
        let secret = service.root.join("backup/AWS_SECRET_ACCESS_KEY");
        durable::make_folder(secret.parent().unwrap(), 0o755).unwrap();
        mode(&service.root, 0o755);
        fs::write(&secret, "x").unwrap();
        mode(&secret, 0o644);
        let found = service_secrets(&service);
        assert_eq!(
            (found.verdict, found.fixes[0].as_str()),
            (Verdict::Warn, &*format!("sudo chmod 600 {}", secret.display()))
        );
        mode(secret.parent().unwrap(), 0o750);
        assert_eq!(service_secrets(&service).verdict, Verdict::Ok, "nobody gets that far");

        context.properties().set(&Subject::Global, settings::SECRET_ACCESS_KEY, "x").unwrap();
        assert_eq!(own_secrets(&context, &service).verdict, Verdict::Ok);
        mode(&environment.config_folder().join("--global").join(settings::SECRET_ACCESS_KEY), 0o640);
        assert_eq!(own_secrets(&context, &service).verdict, Verdict::Warn);
    }

    #[test]
    fn folders_that_are_missing_or_open() {
        let (_folder, context, service) = world();
        assert_eq!(folders(&context, &service).verdict, Verdict::Fail);
        durable::make_folder(&context.environment.config_folder(), 0o755).unwrap();
        durable::make_folder(&context.environment.data_folder(), 0o700).unwrap();
        mode(&context.environment.data_folder(), 0o755);
        assert_eq!(folders(&context, &service).verdict, Verdict::Warn);
    }
}
