//! Lines for a shell that bring a service back where nothing is left of it: the one that makes it anew, and the one that fills it without
//! pgbackup. Both must work as they are printed: tests take them out of `info` and run them.

use crate::manifest::{Manifest, Server};
use crate::service::name::ServiceName;
use crate::service::options::CreateOptions;
use crate::store::VersionId;

/// Where an object lies, as stock tools ask for it.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// `s3://bucket/prefix` or `file:///folder`.
    pub destination: &'a str,
    /// The store's address, where it isn't AWS.
    pub endpoint: Option<&'a str>,
    /// Its region, where it was set.
    pub region: Option<&'a str>,
}

/// Which object.
#[derive(Debug, Clone, Copy)]
pub struct Object<'a> {
    /// Its name in that place.
    pub name: &'a str,
    /// Its version, where it isn't the present one.
    pub version: Option<&'a VersionId>,
}

/// The line that makes a service like the one that a backup was taken of.
pub fn create(service: &ServiceName, manifest: Option<&Manifest>) -> String {
    let mut line = format!("dokku postgres:create {service}");
    let mut add = |flag: &str, value: &str| {
        line.push(' ');
        line.push_str(flag);
        line.push(' ');
        line.push_str(&quoted(value));
    };
    let Some(server) = manifest.map(|manifest| &manifest.server) else { return line };
    let (image, version) = image(server);
    if let Some(image) = image {
        add("--image", image);
    }
    add("--image-version", version);
    for (flag, value) in server.options.iter().flat_map(CreateOptions::flags) {
        add(flag, &value);
    }
    line
}

/// The image and its version, as dokku-postgres has them apart. What has no tag, or is known by a digest, is told by the server's own version.
fn image(server: &Server) -> (Option<&str>, &str) {
    let name = server.image.rsplit('/').next().unwrap_or_default();
    match server.image.rsplit_once(':') {
        Some((image, tag)) if name.contains(':') && !image.contains('@') && image != "sha256" => (Some(image), tag),
        _ => (None, &server.version),
    }
}

/// What a service's database is called if dokku-postgres makes it now.
pub fn database_of(service: &ServiceName) -> String {
    service.as_str().replace('-', "_")
}

/// The line that fills the database of a service with stock tools: all of it, or nothing when something fails.
pub fn by_hand(place: &Place, object: &Object, service: &ServiceName, database: &str) -> String {
    let (name, encrypted) = (object.name, object.name.ends_with(".gpg"));
    let read = if let Some(folder) = place.destination.strip_prefix("file://") {
        let file = quoted(&format!("{folder}/{name}"));
        if encrypted {
            format!("gpg --decrypt {file} | tar -xzO backup/export")
        } else {
            format!("tar -xzOf {file} backup/export")
        }
    } else {
        let decrypt = if encrypted { " | gpg --decrypt" } else { "" };
        format!("{}{decrypt} | tar -xzO backup/export", fetch(place, object))
    };
    // Owners and grants name roles that a new server doesn't have; apps of dokku-postgres connect as postgres.
    format!(
        "{read} | docker exec -i dokku.postgres.{service} pg_restore -U postgres -d {} --clean --if-exists --no-owner --no-acl --single-transaction",
        quoted(database)
    )
}

/// The command that writes an object of a bucket to standard output.
pub fn fetch(place: &Place, object: &Object) -> String {
    let flags = flags(place);
    match object.version {
        None => format!("aws s3 cp{flags} {} -", object_url(place, object)),
        Some(version) => {
            let (bucket, key) = bucket_and_key(place.destination, object.name);
            // What it prints goes away: the object comes by a way of its own.
            format!(
                "aws s3api get-object{flags} --bucket {bucket} --key {} --version-id {} /dev/fd/3 3>&1 >/dev/null",
                quoted(&key),
                quoted(version.as_str())
            )
        }
    }
}

/// The command that signs a link to an object of a bucket; `None` for a version, which it knows nothing of.
pub fn presign(place: &Place, object: &Object) -> Option<String> {
    object.version.is_none().then(|| format!("aws s3 presign{} {}", flags(place), object_url(place, object)))
}

fn flags(place: &Place) -> String {
    let flag =
        |name: &str, value: Option<&str>| value.map(|value| format!(" {name} {}", quoted(value))).unwrap_or_default();
    flag("--endpoint-url", place.endpoint) + &flag("--region", place.region)
}

fn object_url(place: &Place, object: &Object) -> String {
    quoted(&format!("{}/{}", place.destination, object.name))
}

fn bucket_and_key<'a>(destination: &'a str, name: &str) -> (&'a str, String) {
    let rest = destination.strip_prefix("s3://").unwrap_or(destination);
    match rest.split_once('/') {
        None => (rest, name.to_owned()),
        Some((bucket, prefix)) => (bucket, format!("{prefix}/{name}")),
    }
}

/// For a shell: as it is where it is plain, else in single quotes.
pub fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/:._-+=@%,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::tests::manifest;

    const PLAIN: &str = "postgres-my-prod-2023-04-03-11-00-04.tgz";

    #[test]
    fn a_service_is_made_as_it_was() {
        let service = "new".parse().unwrap();
        let mut saved = manifest(PLAIN);
        let mut line = |image: &str| {
            saved.server.image = image.to_owned();
            create(&service, Some(&saved))
        };
        assert_eq!(line("postgres:15.18"), "dokku postgres:create new --image postgres --image-version 15.18");
        assert_eq!(
            line("registry:5000/postgis/postgis:15-3.4"),
            "dokku postgres:create new --image registry:5000/postgis/postgis --image-version 15-3.4"
        );
        for nameless in ["", "postgres", "registry:5000/postgres", "sha256:abcdef", "postgres@sha256:abcdef"] {
            assert_eq!(line(nameless), "dokku postgres:create new --image-version 15.18", "{nameless}");
        }
        assert_eq!(create(&service, None), "dokku postgres:create new");
        saved.server.image = "postgres:15.18".to_owned();
        saved.server.options = Some(CreateOptions {
            config_options: Some("-c shared_buffers=1GB -c search_path='a b'".to_owned()),
            memory: Some("512".to_owned()),
            ..CreateOptions::default()
        });
        assert_eq!(
            create(&service, Some(&saved)),
            "dokku postgres:create new --image postgres --image-version 15.18 \
             --config-options '-c shared_buffers=1GB -c search_path='\\''a b'\\''' --memory 512"
        );
    }

    #[test]
    fn the_line_survives_names_and_says_where() {
        let service = "new".parse().unwrap();
        let name = format!("{PLAIN}.gpg");
        let plain = Object { name: PLAIN, version: None };
        let encrypted = Object { name: &name, version: None };
        let line =
            |destination, key| by_hand(&Place { destination, endpoint: None, region: None }, key, &service, "a b");
        let into = "docker exec -i dokku.postgres.new pg_restore -U postgres -d 'a b' --clean --if-exists --no-owner --no-acl --single-transaction";
        assert_eq!(
            line("file:///mnt/my backup's", &plain),
            format!("tar -xzOf '/mnt/my backup'\\''s/{PLAIN}' backup/export | {into}")
        );
        assert_eq!(
            line("file:///mnt", &encrypted),
            format!("gpg --decrypt /mnt/{PLAIN}.gpg | tar -xzO backup/export | {into}")
        );
        let place = Place { destination: "s3://b/p", endpoint: Some("http://h:1"), region: Some("eu-west-2") };
        assert_eq!(
            by_hand(&place, &encrypted, &service, "a b"),
            format!(
                "aws s3 cp --endpoint-url http://h:1 --region eu-west-2 s3://b/p/{PLAIN}.gpg - | gpg --decrypt | tar -xzO backup/export | {into}"
            )
        );
        let version = "a1".parse().unwrap();
        let old = Object { version: Some(&version), ..encrypted };
        assert_eq!(
            by_hand(&place, &old, &service, "a b"),
            format!(
                "aws s3api get-object --endpoint-url http://h:1 --region eu-west-2 --bucket b --key p/{PLAIN}.gpg --version-id a1 /dev/fd/3 3>&1 >/dev/null | gpg --decrypt | tar -xzO backup/export | {into}"
            )
        );
    }
}
