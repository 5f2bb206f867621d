//! Every differentiable operation as a row: how to call it, on which shapes, on which values. `gradients.rs` checks the
//! rows against finite differences, `views.rs` checks them on views.

mod rows;

pub use rows::rows;
use wengert::{Rng, Tensor};

/// The function of a row: from its inputs to one output.
pub type Function = fn(&[Tensor<f64>]) -> Tensor<f64>;

/// One operation.
pub struct Row {
    pub name: &'static str,
    pub f: Function,
    /// The inputs' shapes, several times.
    pub cases: Vec<Vec<Vec<usize>>>,
    /// The values lie between these.
    pub range: (f64, f64),
    /// Whether the function has no derivative where elements are equal, as those of a broadcast input are.
    pub kinks_at_ties: bool,
    /// Whether its gradient cannot be differentiated again, and says so.
    pub first_order_only: bool,
}

/// `n` values in a range, none close to a whole number or a half, where functions have kinks.
pub fn values(n: usize, (low, high): (f64, f64), rng: &mut Rng) -> Vec<f64> {
    (0..n)
        .map(|_| {
            loop {
                let x = low + (high - low) * rng.uniform();
                if (2.0 * x - (2.0 * x).round()).abs() > 0.02 {
                    return x;
                }
            }
        })
        .collect()
}

/// A tensor of the shape that is a view of a larger one, in the order of dimensions `order`, with steps and offsets; what
/// is not part of the view is NaN.
pub fn view(values: &[f64], shape: &[usize], order: &[usize], step: usize, offset: usize) -> Tensor<f64> {
    let whole = Tensor::from_slice(values, shape);
    let order_signed: Vec<isize> = order.iter().map(|&d| d as isize).collect();
    let moved = whole.permute(&order_signed);
    let places: Vec<usize> = moved.shape().iter().map(|&size| offset + size * step).collect();
    let inside = |mut flat: usize| -> f64 {
        let mut index = vec![0; places.len()];
        for (i, &size) in index.iter_mut().zip(&places).rev() {
            *i = flat % size;
            flat /= size;
        }
        let on = index.iter().all(|&i| i >= offset && (i - offset).is_multiple_of(step));
        if on { moved.get(&index.iter().map(|i| (i - offset) / step).collect::<Vec<_>>()) } else { f64::NAN }
    };
    let mut x = Tensor::from_fn(&places, inside);
    for (d, &size) in places.iter().enumerate() {
        x = x.slice(d as isize, offset, size, step);
    }
    let mut back = vec![0; order.len()];
    order.iter().enumerate().for_each(|(to, &from)| back[from] = to as isize);
    x.permute(&back)
}
