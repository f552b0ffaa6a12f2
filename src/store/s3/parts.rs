//! How an object is cut into parts, as plain arithmetic.
//!
//! Three limits pull at it: a store takes 10,000 parts at most (some 1,000), R2 wants all parts but the last to be of equal
//! size, and memory is (parts in flight + 2) × part size: one part is being filled and part 1 is held back until the head
//! is known. So the size is chosen once, from the expected size of the object, and kept. Only when an object turns out much
//! larger than expected and three quarters of the parts are gone do the later parts grow: then 3.8 times the expected size
//! still fits. (A store that insists on equal parts refuses such an object at its end; the expected size is an upper
//! bound, so that this is the last resort and not a plan.)

/// One mebibyte.
const MIB: u64 = 1024 * 1024;
/// S3's own floor is 5 MiB; 8 MiB is 78 GiB in 10,000 parts, and 40 MiB of memory with three parts in flight.
pub const SMALLEST: u64 = 8 * MIB;
/// S3's ceiling for one part is 5 GiB.
const LARGEST: u64 = 5 * 1024 * MIB;
/// What AWS and nearly all others take.
pub const MOST_PARTS: u32 = 10_000;
/// Parts in flight, when the user didn't say.
pub const IN_FLIGHT: usize = 3;
/// Memory for part buffers that we keep to as long as the part size allows it.
const MEMORY: u64 = 48 * MIB;

/// How one object is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    size: u64,
    most: u32,
    in_flight: usize,
    /// The user named the number of parts in flight: it is kept, whatever the memory.
    in_flight_fixed: bool,
}

impl Cut {
    /// Chooses the size of parts for an object of at most `expected` bytes in at most `most` parts.
    pub fn new(expected: u64, most: u32, in_flight: Option<usize>) -> Self {
        let most = most.clamp(4, MOST_PARTS);
        let planned = u64::from(most / 4 * 3);
        let size = expected.div_ceil(planned).next_multiple_of(MIB).clamp(SMALLEST, LARGEST);
        Self { size, most, in_flight: in_flight.unwrap_or(IN_FLIGHT).max(1), in_flight_fixed: in_flight.is_some() }
    }

    /// Smaller parts than S3 allows, for tests with many of them.
    #[cfg(test)]
    fn tiny(size: u64, most: u32) -> Self {
        Self { size, most, in_flight: IN_FLIGHT, in_flight_fixed: false }
    }

    /// The size of part `number` (from 1) in bytes, or `None` when the store takes no such part.
    pub fn size_of(&self, number: u32) -> Option<u64> {
        if number == 0 || number > self.most {
            return None;
        }
        let planned = self.most / 4 * 3;
        let step = (self.most / 20).max(1);
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

    const GIB: u64 = 1024 * MIB;

    fn capacity(cut: &Cut) -> u64 {
        (1..=cut.most()).map(|number| cut.size_of(number).unwrap()).sum()
    }

    #[test]
    fn small_objects_have_the_smallest_parts_and_full_parallelism() {
        let cut = Cut::new(0, MOST_PARTS, None);
        assert_eq!((cut.size_of(1), cut.in_flight(SMALLEST)), (Some(SMALLEST), 3));
        assert_eq!(Cut::new(50 * GIB, MOST_PARTS, None).size_of(1), Some(SMALLEST));
    }

    #[test]
    fn the_expected_size_fits_in_equal_parts() {
        for (expected, most) in [(1, 10_000), (600 * GIB, 10_000), (5 * 1024 * GIB, 10_000), (1024 * GIB, 1_000)] {
            let cut = Cut::new(expected, most, None);
            let size = cut.size_of(1).unwrap();
            let needed = u32::try_from(expected.div_ceil(size)).unwrap();
            assert_eq!(cut.size_of(needed), Some(size), "{expected} in {most}");
        }
    }

    #[test]
    fn a_wrong_guess_still_fits() {
        for most in [1_000, 10_000] {
            let cut = Cut::new(200 * GIB, most, None);
            assert!(capacity(&cut) > 700 * GIB, "{most}: {}", capacity(&cut) / GIB);
        }
        assert!(capacity(&Cut::new(0, MOST_PARTS, None)) > 290 * GIB);
        assert_eq!(Cut::new(0, 1_000, None).size_of(1_001), None);
        assert_eq!(Cut::new(0, 1_000, None).size_of(0), None);
    }

    #[test]
    fn parts_never_shrink_and_stay_within_the_limit() {
        let cut = Cut::tiny(5, 100);
        let sizes: Vec<u64> = (1..=100).map(|number| cut.size_of(number).unwrap()).collect();
        assert!(sizes.is_sorted());
        assert_eq!((sizes[74], sizes[75], sizes[80]), (5, 10, 20));
        assert!((1..=10_000).all(|n| Cut::new(u64::MAX, MOST_PARTS, None).size_of(n).unwrap() <= LARGEST));
    }

    #[test]
    fn larger_parts_fly_alone_unless_the_user_said_how_many() {
        let cut = Cut::new(0, MOST_PARTS, None);
        assert_eq!((cut.in_flight(16 * MIB), cut.in_flight(64 * MIB)), (1, 1));
        assert_eq!(Cut::new(0, MOST_PARTS, Some(8)).in_flight(64 * MIB), 8);
    }
}
