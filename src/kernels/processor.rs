//! What the processor at hand is like, where that decides which of several ways is the fastest.

use super::simd::Isa;
use std::sync::OnceLock;

/// The family of a processor made by AMD, as `cpuid` gives it.
fn amd_family() -> Option<u32> {
    static FAMILY: OnceLock<Option<u32>> = OnceLock::new();
    *FAMILY.get_or_init(|| {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::__cpuid;
            // SAFETY: every x86-64 processor has `cpuid`. Newer compilers know that themselves.
            #[allow(unused_unsafe)]
            let [maker, signature] = unsafe { [__cpuid(0).ebx, __cpuid(1).eax] };
            (maker == u32::from_le_bytes(*b"Auth")).then_some((signature >> 8 & 0xf) + (signature >> 20 & 0xff))
        }
        #[cfg(not(target_arch = "x86_64"))]
        None
    })
}

/// Whether registers of this instruction set are multiplied in two halves, one after the other, so that a cycle brings no more
/// products than with those of half the width: those of 512 bits on Zen 4, the only one of its family that has them.
pub(super) fn multiplies_in_halves(isa: Isa) -> bool {
    isa == Isa::Avx512 && amd_family() == Some(25)
}

/// Whether the processor reaches far enough ahead of a pass over memory by itself. AMD's do: on Zen 4 requests make a pass
/// take a tenth longer, where on Intel's they halve its time.
#[inline]
pub(super) fn fetches_ahead() -> bool {
    amd_family().is_some()
}
