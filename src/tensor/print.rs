//! Text like NumPy's: nested brackets, aligned columns, the middle of large tensors left out.

use super::Tensor;
use crate::element::{DType, Element};
use std::fmt;

/// More elements than this, and only the first and last [`EDGE`] along each dimension are printed.
const SUMMARISE: usize = 1000;
const EDGE: usize = 3;

impl<T: Element> fmt::Display for Tensor<T> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let edge = if self.numel() > SUMMARISE { EDGE } else { usize::MAX };
        let mut shown = Vec::new();
        collect(self, edge, 0, self.layout.offset, &mut shown);
        let texts = texts(&shown, f.precision());
        let width = texts.iter().map(String::len).max().unwrap_or(0);
        write_level(f, self.shape(), edge, 0, 0, width, &mut texts.iter())
    }
}

impl<T: Element> fmt::Debug for Tensor<T> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Tensor {:?} {}", self.shape(), T::DTYPE)?;
        if let Some(entry) = &self.entry {
            write!(f, " ({})", entry.op())?;
        }
        let edge = if self.numel() > SUMMARISE { EDGE } else { usize::MAX };
        let mut shown = Vec::new();
        collect(self, edge, 0, self.layout.offset, &mut shown);
        let texts = texts(&shown, f.precision());
        let width = texts.iter().map(String::len).max().unwrap_or(0);
        f.write_str(if self.rank() > 1 { "\n" } else { " " })?;
        write_level(f, self.shape(), edge, 0, 0, width, &mut texts.iter())
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

/// Every value as text: floats with the same number of decimals, or all in scientific notation where they differ much.
fn texts<T: Element>(values: &[T], precision: Option<usize>) -> Vec<String> {
    if !matches!(T::DTYPE, DType::F32 | DType::F64) {
        return values.iter().map(|x| x.to_string()).collect();
    }
    let finite = || values.iter().map(|x| x.to_f64().abs()).filter(|x| x.is_finite() && *x > 0.0);
    let (smallest, largest) = (finite().fold(f64::INFINITY, f64::min), finite().fold(0.0, f64::max));
    let decimals = precision.unwrap_or_else(|| {
        let needed = |x: &T| {
            let text = format!("{:.4}", x.to_f64());
            text.trim_end_matches('0').split('.').nth(1).map_or(0, str::len)
        };
        values.iter().map(needed).max().unwrap_or(0).max(1)
    });
    let scientific = largest >= 1e8 || (largest > 0.0 && (largest < 1e-3 || largest / smallest >= 1e7));
    values
        .iter()
        .map(|x| match x.to_f64() {
            x if !x.is_finite() => format!("{x}").to_lowercase(),
            x if scientific => format!("{x:.*e}", precision.unwrap_or(4)),
            x => format!("{x:.decimals$}"),
        })
        .collect()
}

fn write_level<'a>(
    f: &mut fmt::Formatter,
    shape: &[usize],
    edge: usize,
    dim: usize,
    indent: usize,
    width: usize,
    texts: &mut impl Iterator<Item = &'a String>,
) -> fmt::Result {
    if dim == shape.len() {
        let text = texts.next().expect("a text for every value that is shown");
        return write!(f, "{text:>width$}");
    }
    let (indices, cut) = shown_indices(shape[dim], edge);
    let last = dim + 1 == shape.len();
    let gap = if last {
        ", ".to_string()
    } else {
        format!(",{}{}", "\n".repeat(shape.len() - dim - 1), " ".repeat(indent + 1))
    };
    f.write_str("[")?;
    for (n, _) in indices.iter().enumerate() {
        if n > 0 {
            f.write_str(&gap)?;
        }
        if cut && n == edge {
            write!(f, "...{gap}")?;
        }
        write_level(f, shape, edge, dim + 1, indent + 1, width, texts)?;
    }
    f.write_str("]")
}
