//! Text like NumPy's: nested brackets, aligned columns, long lines broken, the middle of large tensors left out.
//!
//! Three things differ, on purpose: numbers are separated by commas and written as Rust writes them (`1.0`, `true`); there
//! are four decimals at most, as in PyTorch; and scientific notation begins only where four decimals would hide a number.

use super::Tensor;
use crate::element::{DType, Element};
use std::fmt;

/// More elements than this, and only the first and last `EDGE` along each dimension are printed.
const SUMMARISE: usize = 1000;
const EDGE: usize = 3;
/// Columns of a line, as in NumPy.
const LINE: usize = 75;
/// Digits after the point.
const DECIMALS: usize = 4;

/// `{:.2}` asks for two decimals.
impl<T: Element> fmt::Display for Tensor<T> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if self.numel() == 0 {
            return f.write_str("[]");
        }
        let edge = if self.numel() > SUMMARISE { EDGE } else { usize::MAX };
        let mut shown = Vec::new();
        collect(self, edge, 0, self.layout.offset, &mut shown);
        let texts = texts(&shown, f.precision());
        let width = texts.iter().map(String::len).max().unwrap_or(0);
        write_level(f, self.shape(), edge, 0, width, &mut texts.iter())
    }
}

/// The text after the shape, the element type and, of a tracked tensor, the operation that made it.
impl<T: Element> fmt::Debug for Tensor<T> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Tensor {:?} {}", self.shape(), T::DTYPE)?;
        if let Some(entry) = &self.entry {
            write!(f, " ({})", entry.op())?;
        }
        f.write_str(if self.rank() > 1 { "\n" } else { " " })?;
        fmt::Display::fmt(self, f)
    }
}

/// The indices that are shown of a dimension, and whether some are left out after the first ones.
fn shown_indices(size: usize, edge: usize) -> (Vec<usize>, bool) {
    if edge == usize::MAX || size <= 2 * edge {
        ((0..size).collect(), false)
    } else {
        ((0..edge).chain(size - edge..size).collect(), true)
    }
}

fn collect<T: Element>(x: &Tensor<T>, edge: usize, dim: usize, place: usize, out: &mut Vec<T>) {
    if dim == x.rank() {
        out.push(x.storage.as_slice()[place]);
        return;
    }
    for i in shown_indices(x.shape()[dim], edge).0 {
        collect(x, edge, dim + 1, place + i * x.strides()[dim], out);
    }
}

/// Every value as text: floats with the same number of decimals, or all in scientific notation where one is too large or
/// too small for that.
fn texts<T: Element>(values: &[T], precision: Option<usize>) -> Vec<String> {
    if !matches!(T::DTYPE, DType::F32 | DType::F64) {
        return values.iter().map(|x| x.to_string()).collect();
    }
    let values = || values.iter().map(|x| x.to_f64());
    let sizes = || values().map(f64::abs).filter(|x| x.is_finite() && *x > 0.0);
    let (smallest, largest) = (sizes().fold(f64::INFINITY, f64::min), sizes().fold(0.0, f64::max));
    let scientific = largest >= 1e8 || smallest < 1e-4 || (0.0 < largest && largest < 1e-3);
    // As many decimals as the value with the most of them needs.
    let needed = |x: f64| {
        let text = if scientific { mantissa_and_exponent(x, DECIMALS).0 } else { format!("{x:.DECIMALS$}") };
        text.trim_end_matches('0').split('.').nth(1).map_or(0, str::len)
    };
    let decimals = precision.unwrap_or_else(|| values().map(needed).max().unwrap_or(0).max(1));
    let text = |x: f64| match x {
        x if !x.is_finite() => format!("{x}").to_lowercase(),
        x if scientific => {
            let (mantissa, exponent) = mantissa_and_exponent(x, decimals);
            format!("{mantissa}e{exponent:+03}")
        }
        x => format!("{x:.decimals$}"),
    };
    values().map(text).collect()
}

/// `("1.50", -3)` of 0.0015.
fn mantissa_and_exponent(x: f64, decimals: usize) -> (String, i32) {
    let text = format!("{x:.decimals$e}");
    match text.split_once('e') {
        Some((mantissa, exponent)) => (mantissa.to_string(), exponent.parse().unwrap_or(0)),
        None => (text, 0),
    }
}

fn write_level<'a>(
    f: &mut fmt::Formatter,
    shape: &[usize],
    edge: usize,
    dim: usize,
    width: usize,
    texts: &mut impl Iterator<Item = &'a String>,
) -> fmt::Result {
    if dim == shape.len() {
        let text = texts.next().expect("a text for every value that is shown");
        return write!(f, "{text:>width$}");
    }
    let (indices, cut) = shown_indices(shape[dim], edge);
    if dim + 1 == shape.len() {
        return write_row(f, indices.len(), cut.then_some(edge), dim, width, texts);
    }
    let gap = format!(",{}{}", "\n".repeat(shape.len() - dim - 1), " ".repeat(dim + 1));
    f.write_str("[")?;
    for (n, _) in indices.iter().enumerate() {
        if n > 0 {
            f.write_str(&gap)?;
        }
        if cut && n == edge {
            write!(f, "...{gap}")?;
        }
        write_level(f, shape, edge, dim + 1, width, texts)?;
    }
    f.write_str("]")
}

/// The innermost dimension: `count` texts, dots before number `dots`, a new line wherever the next one would not fit.
fn write_row<'a>(
    f: &mut fmt::Formatter,
    count: usize,
    dots: Option<usize>,
    dim: usize,
    width: usize,
    texts: &mut impl Iterator<Item = &'a String>,
) -> fmt::Result {
    let indent = dim + 1;
    // Room for the brackets that close this dimension and those around it, one of them in the comma's place.
    let line = LINE.saturating_sub(indent);
    let mut column = indent;
    let mut write = |f: &mut fmt::Formatter, text: &str, last: bool| {
        if column > indent && column + text.len() > line {
            write!(f, "\n{}", " ".repeat(indent))?;
            column = indent;
        } else if column > indent {
            f.write_str(" ")?;
        }
        column += text.len() + 2;
        write!(f, "{text}{}", if last { "" } else { "," })
    };
    f.write_str("[")?;
    for n in 0..count {
        if dots == Some(n) {
            write(f, "...", false)?;
        }
        let text = texts.next().expect("a text for every value that is shown");
        write(f, &format!("{text:>width$}"), n + 1 == count)?;
    }
    f.write_str("]")
}
