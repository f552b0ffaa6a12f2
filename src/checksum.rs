//! A checksum of rows (or whatever texts) that doesn't depend on their order: a restored table holds the same rows, and none in the same place.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3Default, xxh3_128};

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

/// Ranges that are told apart at most.
const MOST_RANGES: usize = 1024;

/// Checksums of things that have a number, by ranges of these: as narrow as a bound on how many ranges there are lets them be, so that a
/// difference names the thing itself where there are few. Which ranges come out doesn't depend on the order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct Ranges {
    /// A range is that of all numbers that are the same but for so many bits.
    bits: u32,
    /// By number, without these bits.
    sums: BTreeMap<u32, Sum>,
}

/// The hash of one thing with its number, while its bytes pass.
pub struct Numbered {
    number: u32,
    hash: Box<Xxh3Default>,
}

impl Numbered {
    /// Begins with nothing but the number.
    pub fn new(number: u32) -> Self {
        let mut one = Self { number, hash: Box::new(Xxh3Default::new()) };
        one.add(&number.to_be_bytes());
        one
    }

    /// Adds the next bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
    }
}

impl Ranges {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.sums.is_empty()
    }

    /// Adds one that is whole.
    pub fn add(&mut self, one: &Numbered) {
        self.sums.entry(shortened(one.number, self.bits)).or_default().add_hash(one.hash.digest128());
        while self.sums.len() > MOST_RANGES {
            self.widen(self.bits + 1);
        }
    }

    /// Makes them ranges of so many bits, if they are narrower.
    fn widen(&mut self, bits: u32) {
        let more = bits.saturating_sub(self.bits);
        for (number, sum) in std::mem::take(&mut self.sums) {
            let all = self.sums.entry(shortened(number, more)).or_default();
            *all = all.and(sum);
        }
        self.bits += more;
    }

    /// Everything together.
    pub fn total(&self) -> Sum {
        self.sums.values().fold(Sum::default(), |all, sum| all.and(*sum))
    }

    /// The first and last numbers of each range in which two sides differ.
    pub fn differing(&self, other: &Self) -> Vec<(u32, u32)> {
        let (mut one, mut other) = (self.clone(), other.clone());
        one.widen(other.bits);
        other.widen(one.bits);
        let bits = one.bits;
        let mut numbers: Vec<u32> = one.sums.keys().chain(other.sums.keys()).copied().collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers.retain(|number| one.sums.get(number) != other.sums.get(number));
        numbers.into_iter().map(|number| ends(number, bits)).collect()
    }
}

/// A number without its last bits.
fn shortened(number: u32, bits: u32) -> u32 {
    number.checked_shr(bits).unwrap_or_default()
}

/// The first and the last number of a range.
fn ends(number: u32, bits: u32) -> (u32, u32) {
    let first = number.checked_shl(bits).unwrap_or_default();
    (first, first | shortened(u32::MAX, 32 - bits.min(32)))
}

impl From<Ranges> for BTreeMap<String, String> {
    /// `4711` or `16384-16399`, each with its sum.
    fn from(ranges: Ranges) -> Self {
        let name = |number| match ends(number, ranges.bits) {
            (first, last) if first == last => first.to_string(),
            (first, last) => format!("{first}-{last}"),
        };
        ranges.sums.iter().map(|(number, sum)| (name(*number), sum.to_string())).collect()
    }
}

impl TryFrom<BTreeMap<String, String>> for Ranges {
    type Error = String;

    fn try_from(named: BTreeMap<String, String>) -> Result<Self, String> {
        let mut ranges = Self::default();
        for (at, (name, sum)) in named.iter().enumerate() {
            let (first, last) = name.split_once('-').unwrap_or((name, name));
            let read = first.parse::<u32>().ok().zip(last.parse::<u32>().ok()).zip(sum.parse::<Sum>().ok());
            let Some(((first, last), sum)) = read else {
                return Err(format!("{name}: {sum} is no checksum of a range"));
            };
            let bits = 32 - (first ^ last).leading_zeros();
            if ends(shortened(first, bits), bits) != (first, last) || (at > 0 && bits != ranges.bits) {
                return Err(format!("{name} is no range beside the others"));
            }
            ranges.bits = bits;
            ranges.sums.insert(shortened(first, bits), sum);
        }
        Ok(ranges)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ranges<'a>(things: impl IntoIterator<Item = (u32, &'a [u8])>) -> Ranges {
        let mut ranges = Ranges::default();
        for (number, bytes) in things {
            let mut one = Numbered::new(number);
            for byte in bytes {
                one.add(&[*byte]);
            }
            ranges.add(&one);
        }
        ranges
    }

    #[test]
    fn few_are_told_by_their_numbers_and_many_by_ranges() {
        let few = ranges([(4711, b"a".as_slice()), (4712, b""), (u32::MAX, b"c")]);
        let other = ranges([(4711, b"b".as_slice()), (u32::MAX, b"c"), (7, b"")]);
        assert_eq!(few.differing(&other), [(7, 7), (4711, 4711), (4712, 4712)]);
        assert_eq!(BTreeMap::from(few.clone()).keys().collect::<Vec<_>>(), ["4294967295", "4711", "4712"]);
        let many = |changed: u32| {
            let ranges =
                ranges((1..=5000).map(|number| (number, if number == changed { b"x".as_slice() } else { b"y" })));
            assert!(ranges.sums.len() <= MOST_RANGES && ranges.sums.len() > MOST_RANGES / 2);
            ranges
        };
        assert_eq!(many(0).differing(&many(4000)), [(4000, 4007)]);
        assert_eq!(many(0).differing(&many(0)), []);
        assert_ne!(few.total(), other.total());
        // The whole range of numbers is one of them.
        let mut all = many(0);
        all.widen(32);
        assert_eq!(BTreeMap::from(all.clone()).keys().collect::<Vec<_>>(), ["0-4294967295"]);
        assert_eq!(all.differing(&many(0)), []);
        for wrong in ["x", "5-6", "4-3", "4-5-6", "-1"] {
            let named = BTreeMap::from([(wrong.to_owned(), Sum::default().to_string())]);
            assert!(Ranges::try_from(named).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn ranges_know_no_order_and_are_read_as_written(numbers in proptest::collection::btree_set(any::<u32>(), 0..3000)) {
            let there = ranges(numbers.iter().map(|number| (*number, b"x".as_slice())));
            let back = ranges(numbers.iter().rev().map(|number| (*number, b"x".as_slice())));
            prop_assert_eq!(&there, &back);
            let text = serde_json::to_string(&there).unwrap();
            prop_assert_eq!(serde_json::from_str::<Ranges>(&text).unwrap(), there);
        }
    }

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
