//! What a record costs its worker: the fuller the ring, the more.
//!
//! Each worker has a budget of tokens per lane and CPU. While the reader keeps up a record costs one. Once a ring is half
//! full the price doubles with every sixteenth: a flooder, which has nothing saved up, is then priced out long before the
//! ring is full, and a worker that was quiet still sends what it has to say. So one worker's flood is not another's loss,
//! however slow the reader is.

/// Price of a record at the highest.
pub const COST_MAX: u64 = 257;

/// Tokens that a record costs when `unread` bytes of a ring of `1 << bits` bytes wait for the reader.
///
/// Without branches, each of which would be a second path through the rest of a probe to the verifier.
#[inline(always)]
pub const fn cost(unread: u64, bits: u32) -> u64 {
    // In thirty-seconds of the ring; the masks bound the shifts (a ring is at least a page, and not above 2 GiB).
    let filled = unread >> (bits.wrapping_sub(5) & 31);
    let sixteenths = (filled >> 1) & 31;
    ((1 << sixteenths) >> 8) | 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cost_is_one_token_until_the_ring_is_half_full_and_then_doubles() {
        let of = |sixteenths: u64| cost(sixteenths << 18, 22);
        assert!((0..=8).all(|sixteenths| of(sixteenths) == 1));
        assert_eq!([9, 10, 12, 15, 16].map(of), [3, 5, 17, 129, COST_MAX]);
    }

    proptest! {
        #[test]
        fn cost_never_falls_as_a_ring_fills(bits in 12u32..31, unread in 0u64..1 << 31, more in 0u64..1 << 20) {
            let size = 1u64 << bits;
            let (a, b) = (unread % (size + 1), (unread % (size + 1) + more).min(size));
            prop_assert!(cost(a, bits) <= cost(b, bits));
            prop_assert!((1..=COST_MAX).contains(&cost(b, bits)));
        }
    }
}
