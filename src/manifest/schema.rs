//! The objects of a schema, each by its name with what defines it: `index public.users_mail`, `grant SELECT on table public.users to
//! report`, `column public.users.mail`. Compared one by one, so that a difference has a name.
//!
//! A schema of very many objects is kept as one digest for each table (and whatever else stands by itself) with all that
//! belongs to it: a difference then names the table, and the manifest of 50,000 tables stays readable.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::checksum::Sum;

/// Names and definitions up to this length are kept as they are: some ten thousand tables.
pub const LARGEST: usize = 16 << 20;

/// Which objects are read and how their definitions are written: raised with each change to that, so that a backup of another version of pgbackup
/// is compared by what is there, and no change of ours is taken for one of the database's.
pub const READING: u32 = 4;

/// What is known of a schema.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// The [`READING`] of who wrote it.
    #[serde(default = "first")]
    pub reading: u32,
    /// Each object with its definition; an empty one says that it is there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub objects: BTreeMap<String, String>,
    /// Instead of `objects`, where there are too many: what stands by itself with the digest of all that belongs to it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub digests: BTreeMap<String, String>,
}

/// Before it was written down.
fn first() -> u32 {
    1
}

/// Something in a schema, as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its kind and name: `column public.users.mail`.
    pub name: String,
    /// What it belongs to: `table public.users`; itself when it stands by itself.
    pub part_of: String,
    /// What it is: `text NOT NULL`.
    pub definition: String,
}

impl Schema {
    /// Collects objects. When they take more than `largest` bytes, digests are all that is kept.
    pub fn collect<E>(objects: impl Iterator<Item = Result<Object, E>>, largest: usize) -> Result<Self, E> {
        let mut schema = Self { reading: READING, ..Self::default() };
        let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
        let mut bytes = 0;
        for object in objects {
            let Object { name, part_of, definition } = object?;
            bytes += name.len() + definition.len();
            sums.entry(part_of).or_default().add(format!("{name}\0{definition}").as_bytes());
            if bytes <= largest {
                schema.objects.insert(name, definition);
            } else {
                schema.objects.clear();
            }
        }
        if bytes > largest {
            schema.digests = sums.into_iter().map(|(name, sum)| (name, sum.to_string())).collect();
        }
        Ok(schema)
    }

    /// How it has to be read to be comparable with this one: the `largest` of [`Self::collect`].
    pub fn form(&self) -> usize {
        if self.digests.is_empty() { usize::MAX } else { 0 }
    }

    /// Keeps what the other one says too.
    pub fn retain_common(&mut self, other: &Self) {
        self.objects.retain(|name, definition| other.objects.get(name) == Some(definition));
        self.digests.retain(|name, digest| other.digests.get(name) == Some(digest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str, part_of: &str, definition: &str) -> Object {
        Object { name: name.to_owned(), part_of: part_of.to_owned(), definition: definition.to_owned() }
    }

    fn collect<'a>(objects: impl Iterator<Item = &'a Object>, largest: usize) -> Schema {
        let Ok(schema) = Schema::collect(objects.cloned().map(Ok::<_, std::convert::Infallible>), largest);
        schema
    }

    #[test]
    fn a_large_schema_becomes_digests_that_change_with_every_part_and_no_order() {
        let parts = [
            object("table a", "table a", ""),
            object("column a.x", "table a", "text"),
            object("table b", "table b", ""),
        ];
        let small = collect(parts.iter(), 1000);
        assert_eq!(small.objects.len(), 3);
        assert!(small.digests.is_empty());
        let large = collect(parts.iter(), 10);
        assert!(large.objects.is_empty());
        assert_eq!(large.digests.len(), 2);
        assert_eq!(large, collect(parts.iter().rev(), large.form()));
        let other = [parts[0].clone(), object("column a.x", "table a", "integer"), parts[2].clone()];
        let other = collect(other.iter(), large.form());
        assert_ne!(other.digests["table a"], large.digests["table a"]);
        assert_eq!(other.digests["table b"], large.digests["table b"]);
    }
}
