//! A checksum of rows (or whatever texts) that doesn't depend on their order: a restored table holds the same rows, and none in the same place.

use xxhash_rust::xxh3::xxh3_128;

/// A checksum over a set of texts that doesn't depend on their order: the 128-bit hashes (XXH3) of all of them, added up. Two sets with the
/// same sum are the same unless somebody made them so: it finds what got lost or changed, it is no signature.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum(u128);

impl Sum {
    /// Adds one text.
    #[inline]
    pub fn add(&mut self, text: &[u8]) {
        self.add_hash(xxh3_128(text));
    }

    /// Adds a text whose hash is known.
    pub fn add_hash(&mut self, hash: u128) {
        self.0 = self.0.wrapping_add(hash);
    }

    /// Adds all that another one holds.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }

    /// Takes a text out that was added.
    pub fn remove(&mut self, text: &[u8]) {
        self.0 = self.0.wrapping_sub(xxh3_128(text));
    }
}

impl std::str::FromStr for Sum {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u128::from_str_radix(text, 16).map(Self)
    }
}

impl std::fmt::Display for Sum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_know_no_order_but_repetitions() {
        let sum = |texts: &[&str]| {
            let mut sum = Sum::default();
            for text in texts {
                sum.add(text.as_bytes());
            }
            sum
        };
        assert_eq!(sum(&["a", "b", "a"]), sum(&["a", "a", "b"]));
        assert_ne!(sum(&["a", "b"]), sum(&["a", "b", "b"]));
        let mut more = sum(&["a", "b"]);
        more.remove(b"b");
        assert_eq!(more, sum(&["a"]));
        let read: Sum = sum(&["b", "c"]).to_string().parse().unwrap();
        assert_eq!(sum(&["a"]).and(read), sum(&["c", "b", "a"]));
    }
}
