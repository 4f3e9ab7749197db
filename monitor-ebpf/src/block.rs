//! Several fields of one kernel structure with one read: a read is a call of a helper that switches page faults off and on,
//! and costs more than the bytes it copies.

use aya_ebpf::Global;

use crate::read;

/// `WORDS * 8` bytes of a structure.
pub struct Block<const WORDS: usize> {
    /// Address of the structure.
    base: u64,
    /// Offset of the first byte in it.
    start: u32,
    words: *const u64,
}

impl<const WORDS: usize> Block<WORDS> {
    /// Reads into `words`, from the field `first` of the structure at `base` on, or from the word that it is part of; all
    /// zero if that fails.
    #[inline(always)]
    pub fn read(words: *mut [u64; WORDS], base: u64, first: u32) -> Self {
        let start = first & !7;
        read::copy_kernel(words.cast(), size_of::<[u64; WORDS]>() as u32, base.wrapping_add(start as u64));
        Self { base, start, words: words.cast_const().cast() }
    }

    /// A field, zero if unreadable.
    #[inline(always)]
    pub fn get<T: Copy>(&self, field: &Global<u32>) -> T {
        self.at(field.load())
    }

    /// The field at an offset that is known to the verifier. One that is not in the block is read by itself: where the
    /// fields lie is known (`offsets`), so on each kernel one of the two ways is all that is left.
    #[inline(always)]
    pub fn at<T: Copy>(&self, offset: u32) -> T {
        let at = offset.wrapping_sub(self.start) as usize;
        if at > WORDS * 8 - size_of::<T>() {
            return read::kernel_or_zero(self.base.wrapping_add(offset as u64));
        }
        // SAFETY: checked to lie in the block. Fields are aligned to their size, and the block to a word.
        unsafe { core::ptr::read_volatile(self.words.cast::<u8>().add(at).cast()) }
    }
}
