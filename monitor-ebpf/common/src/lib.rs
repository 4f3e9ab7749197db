//! What sandwatch's kernel side and agent side share: the wire records, the map keys and values, the limits,
//! and the pure decisions (key building, filter tests) both sides must make alike.
//!
//! Everything here is `no_std`, `#[repr(C)]`, fixed width, and explicitly padded, so a record written by a probe is
//! read by the agent as bytes. `ABI_VERSION` changes whenever a layout does; the agent refuses any other.
#![no_std]
#![deny(missing_docs)]

#[cfg(test)]
extern crate std;

pub mod budget;
pub mod filter;
pub mod hook;
pub mod map;
pub mod offset;
pub mod program;
pub mod record;
pub mod socket;

/// Version of every layout in this crate; first field of each record.
pub const ABI_VERSION: u16 = 2;

/// Implements the byte-cast traits the agent decodes with, when built for the agent.
#[macro_export]
#[doc(hidden)]
macro_rules! wire {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$fmeta:meta])* pub $field:ident : $ty:ty),* $(,)? } size $size:expr) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[cfg_attr(feature = "user", derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout))]
        pub struct $name { $($(#[$fmeta])* pub $field: $ty),* }
        const _: () = assert!(core::mem::size_of::<$name>() == $size, stringify!($name));
        const _: () = assert!(core::mem::align_of::<$name>() <= 8);
        impl $name {
            /// All fields zero.
            pub const ZERO: Self = {
                // SAFETY: every field of a wire struct is an integer or an array of integers, for which zero is valid.
                unsafe { core::mem::zeroed() }
            };
        }
        #[cfg(feature = "user")]
        // SAFETY: repr(C), integers only, no implicit padding (IntoBytes checks that at compile time).
        unsafe impl aya::Pod for $name {}
    };
}
