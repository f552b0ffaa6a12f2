//! The apps that use the database: whether they can be put into maintenance while a restore puts it in place.

use super::finding::{Finding, Group};
use crate::commands::context::Context;
use crate::dokku::maintenance::Maintenance;
use crate::service::Service;

/// Where the plugin comes from.
const PLUGIN: &str = "https://github.com/dokku/dokku-maintenance.git";

/// Looks at a service's apps.
pub fn examine(context: &Context, service: &Service) -> Vec<Finding> {
    let apps = &service.linked_apps;
    if apps.is_empty() {
        return vec![Group::Restore.ok("apps", "No app is linked to the service")];
    }
    let mut findings = Vec::new();
    let gone: Vec<&str> =
        apps.iter().map(String::as_str).filter(|app| !context.environment.dokku_root.join(app).is_dir()).collect();
    findings.push(if gone.is_empty() {
        Group::Restore.ok("apps", format!("Linked to {}", apps.join(", ")))
    } else {
        Group::Restore
            .warn("apps", format!("Linked to {}, which does not exist", gone.join(", ")))
            .fix(format!("Take it out of {}", service.root.join("LINKS").display()))
    });
    findings.push(maintenance(context, service));
    findings
}

fn maintenance(context: &Context, service: &Service) -> Finding {
    if context.settings(&service.name).is_ok_and(|settings| !settings.maintenance) {
        return Group::Restore.ok("maintenance", "Apps are not put into maintenance (property maintenance)");
    }
    if Maintenance::find(&context.environment.plugin_enabled_path).is_some() {
        return Group::Restore.ok("maintenance", "Apps are put into maintenance while the database is replaced");
    }
    let finding = Group::Restore.warn(
        "maintenance",
        "The plugin maintenance is not enabled: apps go on while a restore replaces their database",
    );
    let available = context.environment.plugin_available_path.join("maintenance").is_dir();
    finding.fix(if available {
        "Enable it: sudo dokku plugin:enable maintenance".to_owned()
    } else {
        format!("Install it: sudo dokku plugin:install {PLUGIN} maintenance")
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::commands::doctor::finding::Verdict;
    use crate::commands::doctor::tests::world;
    use crate::dokku::properties::Subject;

    fn verdicts(context: &Context, service: &Service) -> Vec<(&'static str, Verdict)> {
        examine(context, service).iter().map(|finding| (finding.check, finding.verdict)).collect()
    }

    #[test]
    fn apps_and_the_plugin_for_their_maintenance() {
        let (_folder, context, mut service) = world();
        service.linked_apps.clear();
        assert_eq!(verdicts(&context, &service), [("apps", Verdict::Ok)]);
        service.linked_apps = vec!["web".into()];
        assert_eq!(verdicts(&context, &service), [("apps", Verdict::Warn), ("maintenance", Verdict::Warn)]);
        fs::create_dir_all(context.environment.dokku_root.join("web")).unwrap();
        let subcommands = context.environment.plugin_enabled_path.join("maintenance/subcommands");
        fs::create_dir_all(&subcommands).unwrap();
        for name in ["enable", "disable", "report"] {
            fs::write(subcommands.join(name), "").unwrap();
            fs::set_permissions(subcommands.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        assert_eq!(verdicts(&context, &service), [("apps", Verdict::Ok), ("maintenance", Verdict::Ok)]);
        fs::remove_dir_all(&subcommands).unwrap();
        context.properties().set(&Subject::Global, "maintenance", "off").unwrap();
        assert_eq!(verdicts(&context, &service)[1], ("maintenance", Verdict::Ok));
    }
}
