//! What the processor at hand is like, where that decides which of several ways is the fastest. Measured on AMD's Zen 4.

use super::simd::Isa;
use std::sync::OnceLock;

/// The family of a processor made by AMD, as `cpuid` gives it.
fn amd_family() -> Option<u32> {
    static FAMILY: OnceLock<Option<u32>> = OnceLock::new();
    *FAMILY.get_or_init(|| {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        {
            use std::arch::x86_64::__cpuid;
            // SAFETY: every x86-64 processor has `cpuid`.
            #[allow(unused_unsafe, reason = "newer compilers know that themselves")]
            let [maker, signature] = unsafe { [__cpuid(0).ebx, __cpuid(1).eax] };
            (maker == u32::from_le_bytes(*b"Auth")).then_some((signature >> 8 & 0xf) + (signature >> 20 & 0xff))
        }
        #[cfg(not(all(target_arch = "x86_64", not(miri))))]
        None
    })
}

/// Whether registers of this instruction set are multiplied in two halves, one after the other, so that a cycle brings no more
/// products than with those of half the width: those of 512 bits on Zen 4, the only one of its family that has them.
pub(super) fn multiplies_in_halves(isa: Isa) -> bool {
    isa == Isa::Avx512 && amd_family() == Some(25)
}

/// Whether the processor reaches far enough ahead of a pass over memory by itself: then requests make it take a tenth longer
/// (Zen 4), where on Intel's processors they halve its time. Zen and its successors, from family 23 on, are taken to do so.
///
/// Never in tests, so that they go through the requests on every machine.
#[inline]
pub(super) fn fetches_ahead() -> bool {
    !cfg!(test) && amd_family().is_some_and(|family| family >= 23)
}
