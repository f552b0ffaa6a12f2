//! Which host this is: a number chosen at random once. Host names repeat and change, and two hosts may share one bucket.

use std::path::Path;

use crate::durable;

/// This host's id, made when it is first asked for; `data` is the plugin's data folder. `None` where it can't be kept: an id that is
/// another one each time would be worse than none.
pub fn of_this_host(data: &Path) -> Option<String> {
    let folder = data.join("--global");
    let path = folder.join("host-id");
    if let Some(id) = read(&path) {
        return Some(id);
    }
    let id = format!("{:016x}", getrandom::u64().ok()?);
    durable::make_folder(&folder, 0o700).ok()?;
    durable::write(&path, id.as_bytes(), 0o600).ok()?;
    // Of two that make it at once the later one has made it.
    read(&path)
}

fn read(path: &Path) -> Option<String> {
    let text = String::from_utf8(durable::read(path).ok()??).ok()?;
    let text = text.trim();
    (text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_made_once() {
        let data = tempfile::tempdir().unwrap();
        let id = of_this_host(data.path()).unwrap();
        assert_eq!(of_this_host(data.path()), Some(id.clone()));
        assert_ne!(of_this_host(tempfile::tempdir().unwrap().path()), Some(id));
        assert_eq!(of_this_host(Path::new("/proc/nowhere")), None);
    }
}
