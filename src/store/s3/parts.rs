//! How an object is cut into parts, as plain arithmetic.
//!
//! Three limits pull at it: a store takes 10,000 parts at most (Scaleway 1,000), R2 wants all parts but the last to be of equal
//! size, and memory is the parts in flight, one that is being filled, and part 1, which is held back until the head is known. So the
//! size is chosen once, from the expected size of the object, and kept; part 1 is as small as a store allows it.
//!
//! The expected size is an upper bound (the tables, not compressed). Should an object turn out far larger all the same, the
//! parts double again and again once three quarters of their number are gone: whatever was expected, 1,000 parts reach
//! 1 TiB and 10,000 parts the 5 TiB that an object may have. Where all must be equal nothing can grow: there the size leaves room
//! for twice of what is expected.
//!
//! Memory at the most: 40 MiB up to 58 GiB in 10,000 parts (5 GiB in 1,000). Beyond that two parts and 8 MiB: for 5 TiB in 10,000 parts
//! 1.4 GiB, for 1 TiB in 1,000 parts 2.8 GiB; at R2 three parts, for 5 TiB 3.1 GiB. What is compressed needs fewer parts, not smaller ones.

/// One mebibyte.
const MIB: u64 = 1024 * 1024;
/// S3's own floor is 5 MiB; 8 MiB is 78 GiB in 10,000 parts, and 40 MiB of memory with three parts in flight.
pub const SMALLEST: u64 = 8 * MIB;
/// S3's ceiling for one part is 5 GiB.
const LARGEST: u64 = 5 * 1024 * MIB;
/// What AWS and nearly all others take.
pub const MOST_PARTS: u32 = 10_000;
/// Parts in flight, when the user didn't say.
const IN_FLIGHT: usize = 3;
/// Memory for part buffers that we keep to as long as the part size allows it.
const MEMORY: u64 = 48 * MIB;
/// In how many steps the size of parts doubles in the last quarter, if it has to: 8 MiB reach 1 TiB in 1,000 parts then.
const STEPS: u32 = 42;

/// What a store takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most parts of one object.
    pub most_parts: u32,
    /// All parts but the last must be of equal size.
    pub equal_parts: bool,
    /// Parts in flight when the user doesn't say.
    pub in_flight: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { most_parts: MOST_PARTS, equal_parts: false, in_flight: IN_FLIGHT }
    }
}

/// How one object is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    size: u64,
    most: u32,
    equal: bool,
    in_flight: usize,
    /// The user named the number of parts in flight: it is kept, whatever the memory.
    in_flight_fixed: bool,
}

impl Cut {
    /// Chooses the size of parts for an object of at most `expected` bytes.
    pub fn new(expected: u64, limits: Limits, in_flight: Option<usize>) -> Self {
        let most = limits.most_parts.clamp(4, MOST_PARTS);
        let planned = u64::from(if limits.equal_parts { most / 2 } else { most / 4 * 3 - 1 });
        let size = expected.div_ceil(planned).next_multiple_of(MIB).clamp(SMALLEST, LARGEST);
        Self {
            size,
            most,
            equal: limits.equal_parts,
            in_flight: in_flight.unwrap_or(limits.in_flight).max(1),
            in_flight_fixed: in_flight.is_some(),
        }
    }

    /// Smaller parts than S3 allows, for tests with many of them.
    #[cfg(test)]
    fn tiny(size: u64, most: u32) -> Self {
        Self { size, most, equal: false, in_flight: IN_FLIGHT, in_flight_fixed: false }
    }

    /// The size of part `number` (from 1) in bytes, or `None` when the store takes no such part.
    pub fn size_of(&self, number: u32) -> Option<u64> {
        if number == 0 || number > self.most {
            return None;
        }
        if self.equal {
            return Some(self.size);
        }
        if number == 1 {
            return Some(self.size.min(SMALLEST));
        }
        let planned = self.most / 4 * 3;
        let step = ((self.most - planned) / STEPS).max(1);
        let doublings = number.checked_sub(planned + 1).map_or(0, |beyond| beyond / step + 1).min(20);
        Some((self.size << doublings).min(LARGEST.max(self.size)))
    }

    /// How many parts may be on their way at once while parts have this size.
    pub fn in_flight(&self, size: u64) -> usize {
        if self.in_flight_fixed {
            return self.in_flight;
        }
        let fit = (MEMORY / size.max(1)).saturating_sub(2).max(1);
        self.in_flight.min(usize::try_from(fit).unwrap_or(1))
    }

    /// The most parts that the store takes.
    pub fn most(&self) -> u32 {
        self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GIB: u64 = 1024 * MIB;
    const TIB: u64 = 1024 * GIB;
    const MANY: Limits = Limits { most_parts: MOST_PARTS, equal_parts: false, in_flight: 3 };
    const SCALEWAY: Limits = Limits { most_parts: 1_000, equal_parts: false, in_flight: 3 };
    const R2: Limits = Limits { most_parts: MOST_PARTS, equal_parts: true, in_flight: 2 };

    fn capacity(cut: &Cut) -> u64 {
        (1..=cut.most()).map(|number| cut.size_of(number).unwrap()).sum()
    }

    /// The most memory that parts need until `bytes` are sent: those in flight, the one being filled, and part 1.
    fn peak(cut: &Cut, bytes: u64) -> u64 {
        let (mut sent, mut peak) = (0, 0);
        let first = cut.size_of(1).unwrap();
        for size in (1..=cut.most()).map_while(|number| cut.size_of(number)) {
            if sent >= bytes {
                return peak;
            }
            sent += size;
            peak = peak.max(first + size * (cut.in_flight(size) as u64 + 1));
        }
        panic!("{bytes} bytes don't fit")
    }

    #[test]
    fn small_objects_have_the_smallest_parts_and_full_parallelism() {
        let cut = Cut::new(0, MANY, None);
        assert_eq!((cut.size_of(1), cut.in_flight(SMALLEST)), (Some(SMALLEST), 3));
        assert_eq!(Cut::new(50 * GIB, MANY, None).size_of(2), Some(SMALLEST));
        assert_eq!(Cut::new(0, R2, None).in_flight(SMALLEST), 2);
    }

    #[test]
    fn the_expected_size_fits_in_equal_parts() {
        for (expected, limits) in [(1, MANY), (600 * GIB, MANY), (5 * TIB, MANY), (TIB, SCALEWAY), (5 * TIB, R2)] {
            let cut = Cut::new(expected, limits, None);
            let size = cut.size_of(2).unwrap();
            let needed = u32::try_from((expected - cut.size_of(1).unwrap().min(expected)).div_ceil(size)).unwrap() + 1;
            assert!((2..=needed).all(|number| cut.size_of(number) == Some(size)), "{expected} in {limits:?}");
        }
    }

    #[test]
    fn a_thousand_parts_reach_a_tebibyte_and_ten_thousand_five_whatever_was_expected() {
        for expected in [0, GIB, 200 * GIB, TIB] {
            assert!(capacity(&Cut::new(expected, SCALEWAY, None)) >= TIB, "{expected}");
            assert!(capacity(&Cut::new(expected, MANY, None)) >= 5 * TIB, "{expected}");
        }
        assert!(capacity(&Cut::new(5 * TIB, MANY, None)) >= 5 * TIB);
        assert_eq!(Cut::new(0, SCALEWAY, None).size_of(1_001), None);
        assert_eq!(Cut::new(0, SCALEWAY, None).size_of(0), None);
    }

    /// The numbers of the module's head and of docs/providers.md.
    #[test]
    fn memory_is_what_the_documentation_says() {
        for (bytes, limits, most) in [
            (58 * GIB, MANY, 40 * MIB),
            (5 * GIB, SCALEWAY, 40 * MIB),
            (5 * TIB, MANY, 1_440 * MIB),
            (TIB, SCALEWAY, 2_880 * MIB),
            (5 * TIB, R2, 3_160 * MIB),
        ] {
            let peak = peak(&Cut::new(bytes, limits, None), bytes);
            assert!(peak <= most, "{} MiB for {} GiB in {limits:?}", peak / MIB, bytes / GIB);
        }
    }

    #[test]
    fn where_all_parts_must_be_equal_all_are_and_twice_the_expected_fits() {
        for expected in [0, 10 * GIB, TIB] {
            let cut = Cut::new(expected, R2, None);
            let sizes: std::collections::BTreeSet<_> = (1..=MOST_PARTS).map(|number| cut.size_of(number)).collect();
            assert_eq!(sizes.len(), 1);
            assert!(capacity(&cut) >= 2 * expected);
        }
    }

    #[test]
    fn parts_never_shrink_and_stay_within_the_limit() {
        let cut = Cut::tiny(5, 100);
        let sizes: Vec<u64> = (1..=100).map(|number| cut.size_of(number).unwrap()).collect();
        assert!(sizes.is_sorted());
        assert_eq!((sizes[74], sizes[75], sizes[76], sizes[99]), (5, 10, 20, 5 << 20));
    }

    proptest! {
        #[test]
        fn whatever_is_expected_the_rules_hold(
            expected in any::<u64>(),
            most_parts in 1u32..20_000,
            equal_parts in any::<bool>(),
            number in 2u32..=10_000,
        ) {
            let cut = Cut::new(expected, Limits { most_parts, equal_parts, in_flight: 3 }, None);
            for number in [1, number.min(cut.most()), cut.most()] {
                let size = cut.size_of(number).unwrap();
                prop_assert!((SMALLEST..=LARGEST).contains(&size));
                prop_assert!(cut.in_flight(size) >= 1);
            }
            prop_assert!(cut.size_of(number.min(cut.most())) >= cut.size_of(1));
        }
    }

    #[test]
    fn larger_parts_fly_alone_unless_the_user_said_how_many() {
        let cut = Cut::new(0, MANY, None);
        assert_eq!((cut.in_flight(16 * MIB), cut.in_flight(64 * MIB)), (1, 1));
        assert_eq!(Cut::new(0, MANY, Some(8)).in_flight(64 * MIB), 8);
    }
}
