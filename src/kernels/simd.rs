//! Run-time choice of the instruction set.
//!
//! A Cargo user builds for the baseline processor, so every hot loop is compiled several times by the macro `simd!` and the
//! best version that the machine has is taken at run time. `WENGERT_ISA=portable|avx2|avx512` forces one; tests use
//! [`with_isa`].

use std::cell::Cell;
use std::sync::OnceLock;

/// An instruction set that kernels are compiled for. Later ones include the earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// The baseline of the target: SSE2 on x86-64, NEON on AArch64.
    Portable,
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512 F, VL, BW and DQ.
    Avx512,
}

impl Isa {
    /// Every instruction set that this machine can run, the portable one first.
    pub fn available() -> Vec<Isa> {
        [Isa::Portable, Isa::Avx2, Isa::Avx512].into_iter().filter(|&isa| isa <= detected()).collect()
    }

    fn named(name: &str) -> Option<Isa> {
        match name {
            "portable" => Some(Isa::Portable),
            "avx2" => Some(Isa::Avx2),
            "avx512" => Some(Isa::Avx512),
            _ => None,
        }
    }
}

fn detected() -> Isa {
    static DETECTED: OnceLock<Isa> = OnceLock::new();
    *DETECTED.get_or_init(|| {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                if is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                {
                    return Isa::Avx512;
                }
                return Isa::Avx2;
            }
        }
        Isa::Portable
    })
}

fn chosen() -> Isa {
    static CHOSEN: OnceLock<Isa> = OnceLock::new();
    *CHOSEN.get_or_init(|| match std::env::var("WENGERT_ISA") {
        Ok(name) => match Isa::named(&name) {
            Some(isa) if isa <= detected() => isa,
            Some(isa) => panic!("WENGERT_ISA={name}: this machine runs at most {:?}, not {isa:?}", detected()),
            None => panic!("WENGERT_ISA={name}: expected portable, avx2 or avx512"),
        },
        Err(_) => detected(),
    })
}

thread_local! {
    static FORCED: Cell<Option<Isa>> = const { Cell::new(None) };
}

/// The instruction set that kernels called from this thread use.
#[inline]
pub fn isa() -> Isa {
    FORCED.get().unwrap_or_else(chosen)
}

/// Runs `f` with the kernels of this thread, and of the work it hands to other threads, on the given instruction set.
///
/// # Panics
/// When this machine does not have it.
pub fn with_isa<R>(isa: Isa, f: impl FnOnce() -> R) -> R {
    struct Restore(Option<Isa>);
    impl Drop for Restore {
        fn drop(&mut self) {
            FORCED.set(self.0);
        }
    }
    assert!(isa <= detected(), "with_isa: this machine runs at most {:?}, not {isa:?}", detected());
    let _restore = Restore(FORCED.replace(Some(isa)));
    f()
}

/// Whether the baseline of the target has fused multiply-adds.
pub(crate) const PORTABLE_FUSES: bool = cfg!(any(target_arch = "aarch64", target_feature = "fma"));

/// Carries what a kernel's body calls `FUSED`.
pub(crate) struct Fused<const YES: bool>;

/// The name is there for the macro alone, which writes this where a name was given.
#[inline(always)]
pub(crate) fn fused<const YES: bool>(_name: &str) -> Fused<YES> {
    Fused
}

/// Compiles a function once per instruction set and calls the one that its first argument names.
///
/// Generics stand in square brackets: `simd! { pub fn scale[T: Number](x: &mut [T], by: T) { ... } }`. The body runs on
/// the caller's thread. The compiled function takes the [`Isa`] first: the entry of a kernel asks [`isa`] once, and hands
/// it to the work that it gives to other threads. The first of the generics is the element type, which has a say in
/// what is compiled ([`Element::on`](crate::element::Element::on)). Before them `<FUSED>` may stand, which in the body tells
/// whether the instruction set has fused multiply-adds, for the functions of [`math`](super::math).
macro_rules! simd {
    ($(
        $(#[$meta:meta])*
        $vis:vis fn $name:ident $(<$FUSED:ident>)? [$T:ident : $($generics:tt)*] ($($arg:ident : $ty:ty),* $(,)?)
            $(-> $ret:ty)? $body:block
    )+) => {$(
        $(#[$meta])*
        #[allow(clippy::too_many_arguments, reason = "kernels take slices and sizes")]
        #[allow(unused_unsafe, reason = "without these instruction sets the versions are plain functions")]
        $vis fn $name<$T: $($generics)*>(isa: $crate::kernels::simd::Isa, $($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn body<$(const $FUSED: bool,)? $T: $($generics)*>(
                $(_: $crate::kernels::simd::Fused<$FUSED>,)? $($arg: $ty),*
            ) $(-> $ret)? $body

            #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma"))]
            fn avx512<$T: $($generics)*>($($arg: $ty),*) $(-> $ret)? {
                body($($crate::kernels::simd::fused::<true>(stringify!($FUSED)),)? $($arg),*)
            }

            #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
            fn avx2<$T: $($generics)*>($($arg: $ty),*) $(-> $ret)? {
                body($($crate::kernels::simd::fused::<true>(stringify!($FUSED)),)? $($arg),*)
            }

            $T::on(
                isa,
                ($($arg,)*),
                // SAFETY: `isa()` and `with_isa` only ever give what was detected on this machine.
                |($($arg,)*)| unsafe { avx512($($arg),*) },
                // SAFETY: as above.
                |($($arg,)*)| unsafe { avx2($($arg),*) },
                |($($arg,)*)| body(
                    $($crate::kernels::simd::fused::<{ $crate::kernels::simd::PORTABLE_FUSES }>(stringify!($FUSED)),)?
                    $($arg),*
                ),
            )
        }
    )+};
}
pub(crate) use simd;
