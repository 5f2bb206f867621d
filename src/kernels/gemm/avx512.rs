//! The register tile for AVX-512, in assembly: 28 of 32 registers hold C, and the compiler, left to itself, spills them as
//! soon as rows of A are read at a distance that is only known at run time.

use super::tile::Tile;
use std::arch::asm;

/// What the assembly reads from memory, where registers are short. Distances are in bytes.
#[repr(C)]
struct Frame {
    a: *const f32,
    b: *const f32,
    a_stride: usize,
    outer: *const [usize; 2],
    outer_end: *const [usize; 2],
    inner: usize,
    a_step: usize,
    b_step: usize,
    c_stride: usize,
    c: *mut f32,
    accumulate: usize,
    bias_row: *const f32,
    bias_column: *const f32,
    relu: usize,
    /// Which lanes of the first and of the second register are columns of the tile.
    masks: [usize; 2],
}

/// Assembly for row `i`, if the tile has it.
macro_rules! if_row {
    ($i:literal, $($text:expr),*) => { concat!(".if {m} > ", $i, "\n", $($text),*, "\n.endif\n") };
}

/// Assembly for the second register of a row, if there is one.
macro_rules! if_wide {
    ($($text:expr),*) => { concat!("\n.if {n} > 1\n", $($text),*, "\n.endif") };
}

/// One number of A, broadcast, times a row of B.
macro_rules! multiply {
    ($i:literal, $at:literal, $d:literal, $x:literal, $low:literal, $high:literal) => {
        if_row!(
            $i,
            concat!("vbroadcastss ", $x, ", dword ptr [", $at, " + ", $d, "]\nvfmadd231ps ", $low, ", zmm28, ", $x),
            if_wide!("vfmadd231ps ", $high, ", zmm29, ", $x)
        )
    };
}

macro_rules! load_b {
    () => {
        concat!("vmovups zmm28, zmmword ptr [{b}]", if_wide!("vmovups zmm29, zmmword ptr [{b} + 64]"), "\n")
    };
}

/// A step of rows at any distance, `d` bytes on.
macro_rules! step {
    ($d:literal) => {
        concat!(
            load_b!(),
            multiply!(0, "{p0}", $d, "zmm30", "zmm0", "zmm1"),
            multiply!(1, "{p0} + {r}", $d, "zmm31", "zmm2", "zmm3"),
            multiply!(2, "{p0} + 2 * {r}", $d, "zmm30", "zmm4", "zmm5"),
            multiply!(3, "{p3}", $d, "zmm31", "zmm6", "zmm7"),
            multiply!(4, "{p3} + {r}", $d, "zmm30", "zmm8", "zmm9"),
            multiply!(5, "{p3} + 2 * {r}", $d, "zmm31", "zmm10", "zmm11"),
            multiply!(6, "{p6}", $d, "zmm30", "zmm12", "zmm13"),
            multiply!(7, "{p6} + {r}", $d, "zmm31", "zmm14", "zmm15"),
            multiply!(8, "{p6} + 2 * {r}", $d, "zmm30", "zmm16", "zmm17"),
            multiply!(9, "{p9}", $d, "zmm31", "zmm18", "zmm19"),
            multiply!(10, "{p9} + {r}", $d, "zmm30", "zmm20", "zmm21"),
            multiply!(11, "{p9} + 2 * {r}", $d, "zmm31", "zmm22", "zmm23"),
            multiply!(12, "{p12}", $d, "zmm30", "zmm24", "zmm25"),
            multiply!(13, "{p12} + {r}", $d, "zmm31", "zmm26", "zmm27"),
            "add {b}, qword ptr [{f} + 56]",
        )
    };
}

/// A step of rows that are neighbours.
macro_rules! near_step {
    () => {
        concat!(
            load_b!(),
            multiply!(0, "{p0}", "0", "zmm30", "zmm0", "zmm1"),
            multiply!(1, "{p0}", "4", "zmm31", "zmm2", "zmm3"),
            multiply!(2, "{p0}", "8", "zmm30", "zmm4", "zmm5"),
            multiply!(3, "{p0}", "12", "zmm31", "zmm6", "zmm7"),
            multiply!(4, "{p0}", "16", "zmm30", "zmm8", "zmm9"),
            multiply!(5, "{p0}", "20", "zmm31", "zmm10", "zmm11"),
            multiply!(6, "{p0}", "24", "zmm30", "zmm12", "zmm13"),
            multiply!(7, "{p0}", "28", "zmm31", "zmm14", "zmm15"),
            multiply!(8, "{p0}", "32", "zmm30", "zmm16", "zmm17"),
            multiply!(9, "{p0}", "36", "zmm31", "zmm18", "zmm19"),
            multiply!(10, "{p0}", "40", "zmm30", "zmm20", "zmm21"),
            multiply!(11, "{p0}", "44", "zmm31", "zmm22", "zmm23"),
            multiply!(12, "{p0}", "48", "zmm30", "zmm24", "zmm25"),
            multiply!(13, "{p0}", "52", "zmm31", "zmm26", "zmm27"),
            "add {b}, qword ptr [{f} + 56]\nadd {p0}, qword ptr [{f} + 48]",
        )
    };
}

/// The pointers to the rows move on.
macro_rules! advance {
    ($by:literal) => {
        concat!(
            "add {p0}, ",
            $by,
            "\n",
            if_row!(3, "add {p3}, ", $by),
            if_row!(6, "add {p6}, ", $by),
            if_row!(9, "add {p9}, ", $by),
            if_row!(12, "add {p12}, ", $by),
        )
    };
}

/// The pointers to rows 0, 3, 6, 9 and 12, of which the first is known; the others are at one and two distances.
macro_rules! pointers {
    () => {
        "lea {x}, [{r} + 2 * {r}]
         lea {p3}, [{p0} + {x}]
         lea {p6}, [{p0} + 2 * {x}]
         lea {p9}, [{p3} + 2 * {x}]
         lea {p12}, [{p0} + 4 * {x}]"
    };
}

/// The same instruction for both registers of all rows, with the place of C in memory.
macro_rules! for_c {
    ($of:ident) => {
        concat!(
            $of!(0, "{p0}", "zmm0", "zmm1"),
            $of!(1, "{p0} + {r}", "zmm2", "zmm3"),
            $of!(2, "{p0} + 2 * {r}", "zmm4", "zmm5"),
            $of!(3, "{p3}", "zmm6", "zmm7"),
            $of!(4, "{p3} + {r}", "zmm8", "zmm9"),
            $of!(5, "{p3} + 2 * {r}", "zmm10", "zmm11"),
            $of!(6, "{p6}", "zmm12", "zmm13"),
            $of!(7, "{p6} + {r}", "zmm14", "zmm15"),
            $of!(8, "{p6} + 2 * {r}", "zmm16", "zmm17"),
            $of!(9, "{p9}", "zmm18", "zmm19"),
            $of!(10, "{p9} + {r}", "zmm20", "zmm21"),
            $of!(11, "{p9} + 2 * {r}", "zmm22", "zmm23"),
            $of!(12, "{p12}", "zmm24", "zmm25"),
            $of!(13, "{p12} + {r}", "zmm26", "zmm27"),
        )
    };
}

macro_rules! clear {
    ($i:literal, $at:literal, $low:literal, $high:literal) => {
        if_row!(
            $i,
            concat!("vpxord ", $low, ", ", $low, ", ", $low),
            if_wide!("vpxord ", $high, ", ", $high, ", ", $high)
        )
    };
}

macro_rules! add {
    ($i:literal, $at:literal, $low:literal, $high:literal) => {
        if_row!(
            $i,
            concat!("vaddps ", $low, "{{k1}}, ", $low, ", zmmword ptr [", $at, "]"),
            if_wide!("vaddps ", $high, "{{k2}}, ", $high, ", zmmword ptr [", $at, " + 64]")
        )
    };
}

macro_rules! add_row {
    ($i:literal, $at:literal, $low:literal, $high:literal) => {
        if_row!($i, concat!("vaddps ", $low, ", ", $low, ", zmm28"), if_wide!("vaddps ", $high, ", ", $high, ", zmm29"))
    };
}

macro_rules! add_column {
    ($i:literal, $at:literal, $low:literal, $high:literal) => {
        if_row!(
            $i,
            concat!("vbroadcastss zmm30, dword ptr [{x} + 4 * ", $i, "]\nvaddps ", $low, ", ", $low, ", zmm30"),
            if_wide!("vaddps ", $high, ", ", $high, ", zmm30")
        )
    };
}

/// The instruction gives its last operand when one is NaN.
macro_rules! relu {
    ($i:literal, $at:literal, $low:literal, $high:literal) => {
        if_row!($i, concat!("vmaxps ", $low, ", zmm30, ", $low), if_wide!("vmaxps ", $high, ", zmm30, ", $high))
    };
}

macro_rules! store {
    ($i:literal, $at:literal, $low:literal, $high:literal) => {
        if_row!(
            $i,
            concat!("vmovups zmmword ptr [", $at, "]{{k1}}, ", $low),
            if_wide!("vmovups zmmword ptr [", $at, " + 64]{{k2}}, ", $high)
        )
    };
}

/// A tile of `M` rows and at most `16 N` columns.
///
/// # Safety
/// As for [`Kernels::tile`](super::Kernels::tile).
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
pub(super) unsafe fn tile<const M: usize, const N: usize>(t: &Tile<f32>) {
    const { assert!(M <= 14 && N <= 2) };
    // Field by field: the compiler would read two at once, which then cannot be forwarded from the two stores that have
    // just written them, but waits until all stores before have reached the cache.
    macro_rules! get {
        ($field:expr) => {
            // SAFETY: a reference to a plain field.
            unsafe { std::ptr::read_volatile(&$field) }
        };
    }
    let inner = get!(t.inner);
    let range = if inner == 0 { [].as_ptr_range() } else { t.outer.as_ptr_range() };
    let mut masks = [0xffff; 2];
    masks[N - 1] = (1 << (t.width - 16 * (N - 1))) - 1;
    let frame = Frame {
        a: get!(t.a),
        b: get!(t.b),
        a_stride: get!(t.a_stride).wrapping_mul(4),
        outer: range.start,
        outer_end: range.end,
        inner,
        a_step: get!(t.a_step).wrapping_mul(4),
        b_step: get!(t.b_step).wrapping_mul(4),
        c_stride: get!(t.c_stride).wrapping_mul(4),
        c: get!(t.c),
        accumulate: usize::from(t.accumulate),
        bias_row: get!(t.finish.bias_row),
        bias_column: get!(t.finish.bias_column),
        relu: usize::from(t.finish.relu),
        masks,
    };
    // SAFETY: the caller vouches for the pointers and the instruction set; all registers that are written are declared,
    // and of memory only C is written.
    unsafe {
        asm!(
            for_c!(clear),
            "mov {r}, qword ptr [{f} + 16]",
            "mov {t}, qword ptr [{f} + 24]",
            "2:", // Outer steps.
            "cmp {t}, qword ptr [{f} + 32]",
            "je 9f",
            "mov {x}, qword ptr [{t}]",
            "mov {p0}, qword ptr [{f}]",
            "lea {p0}, [{p0} + 4 * {x}]",
            "mov {x}, qword ptr [{t} + 8]",
            "mov {b}, qword ptr [{f} + 8]",
            "lea {b}, [{b} + 4 * {x}]",
            "add {t}, 16",
            pointers!(),
            "mov {x}, qword ptr [{f} + 40]",
            "cmp {r}, 4",
            "je 6f",
            "cmp qword ptr [{f} + 48], 4",
            "jne 5f",
            "sub {x}, 4",
            "jb 4f",
            "3:", // Four steps to a neighbour.
            step!("0"),
            step!("4"),
            step!("8"),
            step!("12"),
            advance!("16"),
            "sub {x}, 4",
            "jae 3b",
            "4:",
            "add {x}, 4",
            "jz 2b",
            "5:", // Any step.
            step!("0"),
            advance!("qword ptr [{f} + 48]"),
            "dec {x}",
            "jnz 5b",
            "jmp 2b",
            "6:", // Rows that are neighbours.
            near_step!(),
            "dec {x}",
            "jnz 6b",
            "jmp 2b",
            "9:",
            "mov {r}, qword ptr [{f} + 64]",
            "mov {p0}, qword ptr [{f} + 72]",
            pointers!(),
            "kmovw k1, word ptr [{f} + 112]",
            "kmovw k2, word ptr [{f} + 120]",
            "cmp qword ptr [{f} + 80], 0",
            "je 7f",
            for_c!(add),
            "7:",
            "mov {x}, qword ptr [{f} + 88]",
            "test {x}, {x}",
            "je 8f",
            "vmovups zmm28{{k1}}{{z}}, zmmword ptr [{x}]",
            ".if {n} > 1\n vmovups zmm29{{k2}}{{z}}, zmmword ptr [{x} + 64]\n .endif",
            for_c!(add_row),
            "8:",
            "mov {x}, qword ptr [{f} + 96]",
            "test {x}, {x}",
            "je 9f",
            for_c!(add_column),
            "9:",
            "cmp qword ptr [{f} + 104], 0",
            "je 2f",
            "vpxord zmm30, zmm30, zmm30",
            for_c!(relu),
            "2:",
            for_c!(store),
            // The caller is compiled for the baseline: its instructions would wait for the upper halves of registers.
            "vzeroupper",
            m = const M,
            n = const N,
            f = in(reg) &frame,
            r = out(reg) _,
            t = out(reg) _,
            x = out(reg) _,
            b = out(reg) _,
            p0 = out(reg) _,
            p3 = out(reg) _,
            p6 = out(reg) _,
            p9 = out(reg) _,
            p12 = out(reg) _,
            out("zmm0") _, out("zmm1") _, out("zmm2") _, out("zmm3") _, out("zmm4") _, out("zmm5") _, out("zmm6") _,
            out("zmm7") _, out("zmm8") _, out("zmm9") _, out("zmm10") _, out("zmm11") _, out("zmm12") _,
            out("zmm13") _, out("zmm14") _, out("zmm15") _, out("zmm16") _, out("zmm17") _, out("zmm18") _,
            out("zmm19") _, out("zmm20") _, out("zmm21") _, out("zmm22") _, out("zmm23") _, out("zmm24") _,
            out("zmm25") _, out("zmm26") _, out("zmm27") _, out("zmm28") _, out("zmm29") _, out("zmm30") _,
            out("zmm31") _, out("k1") _, out("k2") _,
            options(nostack),
        );
    }
}
