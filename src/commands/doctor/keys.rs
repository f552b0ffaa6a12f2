//! Whose keys open the store, and which others are there and not used: a backup that is written by another identity than one thinks lands
//! where nobody looks, or nowhere.

use anyhow::Result;

use super::finding::{Finding, Group};
use crate::commands::context::{Context, WhoseKeys};
use crate::dokku::properties::Subject;
use crate::service::Service;
use crate::service::credentials::BackupAuth;
use crate::settings::{Auth, KeysOf, OwnKeys, Settings};
use crate::store::Terms;
use crate::store::s3::{Answer, Source};

/// Names the keys in force, and those behind them.
///
/// # Errors
/// When the keys that the settings call for are not there, or we were asked to stop.
pub fn examine(
    context: &Context,
    settings: &Settings,
    (service, of): (&Service, KeysOf),
    terms: &Terms,
) -> Result<Vec<Finding>> {
    let (used, words) = context.keys_of(settings, service)?;
    let from = terms.keys_from.as_ref().map(|from| format!(", here {from}")).unwrap_or_default();
    let mut findings = vec![Group::Destination.ok("credentials", format!("The keys are {words}{from}"))];
    if of == KeysOf::Copy {
        return Ok(findings);
    }
    let set = configured(context, service, used)?;
    let host = on_host(context.keys_of_host()?, terms.keys_from.as_deref());
    let others: Vec<String> = set.into_iter().chain(host).collect();
    if !others.is_empty() {
        let auth = match settings.auth {
            Auth::Auto => "",
            Auth::Iam => " (property auth is iam)",
            Auth::Service => " (property auth is service)",
            Auth::Own => " (property auth is own)",
        };
        findings.push(
            Group::Destination
                .ok("other-keys", format!("Other keys are there and not used{auth}: {}", others.join("; "))),
        );
    }
    Ok(findings)
}

/// Keys that were set by somebody and are not the ones in force.
fn configured(context: &Context, service: &Service, used: WhoseKeys) -> Result<Vec<String>> {
    let properties = context.properties();
    let own = OwnKeys::read(&properties, &Subject::Service(service.name.clone()), KeysOf::Destination)?;
    let global = OwnKeys::read(&properties, &Subject::Global, KeysOf::Destination)?;
    let mut others = Vec::new();
    if let Some(own) = own.as_ref().filter(|_| used != WhoseKeys::Own) {
        others.push(format!("those of pgbackup:auth ({})", own.access_key_id));
    }
    // Without a pair of its own the service has read the global one.
    match (own, global) {
        (Some(own), Some(global)) if own.access_key_id != global.access_key_id => {
            others.push(format!("those of pgbackup:auth --global ({})", global.access_key_id));
        }
        _ => {}
    }
    if used != WhoseKeys::Service {
        match BackupAuth::read(service) {
            Ok(Some(keys)) => others.push(format!("those of postgres:backup-auth ({})", keys.access_key)),
            Ok(None) => {}
            Err(incomplete) => others.push(format!("those of postgres:backup-auth ({})", incomplete.message)),
        }
    }
    Ok(others)
}

/// What the host has besides. A metadata service that gives none is on many hosts, and nobody has set it up.
fn on_host(found: &[(Source, Answer)], in_force: Option<&str>) -> Vec<String> {
    found
        .iter()
        .filter(|(source, _)| in_force != Some(source.name()))
        .filter_map(|(source, answer)| match answer {
            Answer::Keys(id) => Some(format!("{} ({id})", source.name())),
            Answer::Nothing(_) => None,
            Answer::Fails(_) if *source == Source::Instance => None,
            Answer::Fails(why) => Some(format!("{}, which {}", source.name(), why.what)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::s3::Why;

    #[test]
    fn keys_of_the_host_that_are_not_used_are_named_with_their_ids() {
        let found = [
            (Source::Environment, Answer::Nothing(None)),
            (Source::Profile, Answer::Keys("AKIAPROFILE".into())),
            (Source::Container, Answer::Fails(Why { what: "gives none: x".into(), remedy: String::new() })),
            (Source::Instance, Answer::Keys("ASIAROLE".into())),
        ];
        assert_eq!(
            on_host(&found, Some(Source::Profile.name())),
            ["the container's credentials service, which gives none: x", "the instance role (ASIAROLE)"]
        );
        assert_eq!(on_host(&found, None).len(), 3);
        let off = [(Source::Instance, Answer::Fails(Why { what: "is switched off".into(), remedy: String::new() }))];
        assert_eq!(on_host(&off, None), Vec::<String>::new());
    }
}
