//! A model that follows another one slowly.

use crate::element::Float;
use crate::nn::{Module, Slot};
use crate::shape::ensure;
use std::collections::HashMap;

/// Moves a model towards another of the same kind: `average = decay average + (1 - decay) model` for every parameter, frozen
/// ones included; buffers and counters are copied. Called after each step, it keeps an exponential moving average (EMA), which
/// is often the better model (Polyak and Juditsky, 1992; for GANs Yazıcı et al., 2019).
///
/// ```
/// use wengert::{Tensor, nn::{Linear, Module}, optim::update_average};
/// let (model, mut average) = (Linear::new(2, 1), Linear::new(2, 1));
/// update_average(&mut average, &model, 0.0);
/// assert_eq!(average.weight.to_vec(), model.weight.to_vec());
/// ```
///
/// # Panics
/// When a parameter of `average` is not in `model` under the same name and with the same shape.
#[track_caller]
pub fn update_average<T: Float>(
    average: &mut (impl Module<T> + ?Sized),
    model: &(impl Module<T> + ?Sized),
    decay: f64,
) {
    let (mut params, mut buffers, mut counts) = (HashMap::new(), HashMap::new(), HashMap::new());
    model.for_each(&mut |name, slot| match slot {
        Slot::Param(param) => drop(params.insert(name.to_string(), param.packed())),
        Slot::Buffer(buffer) => drop(buffers.insert(name.to_string(), buffer.get())),
        Slot::Counter(counter) => drop(counts.insert(name.to_string(), counter.get())),
    });
    let mut unknown = Vec::new();
    average.for_each_param_mut(&mut |name, param| match params.get(name) {
        Some(target) if target.shape() == param.shape() => {
            let (old, new) = (T::of(decay), T::of(1.0 - decay));
            let pairs = param.as_mut_slice().iter_mut().zip(target.elements());
            pairs.for_each(|(average, &target)| *average = old * *average + new * target);
        }
        _ => unknown.push(name.to_string()),
    });
    ensure(unknown.is_empty(), || format!("update_average: the model has no {} of this shape", unknown.join(", ")));
    average.for_each(&mut |name, slot| match slot {
        Slot::Buffer(buffer) => {
            if let Some(target) = buffers.get(name) {
                buffer.set(target);
            }
        }
        Slot::Counter(counter) => {
            if let Some(&target) = counts.get(name) {
                counter.set(target);
            }
        }
        Slot::Param(_) => {}
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd::record;
    use crate::nn::{BatchNorm1d, Layer, Linear};
    use crate::tensor::Tensor;

    #[test]
    fn parameters_follow_slowly_and_statistics_at_once() {
        let net = || (Linear::<f64>::with(3, 2, Default::default()), BatchNorm1d::<f64>::with(2, Default::default()));
        let (model, mut average) = (net(), net());
        record(|| model.1.forward(&model.0.forward(&Tensor::from_fn([4, 3], |i| (i * i) as f64))));
        let expected: Vec<f64> =
            average.0.weight.to_vec().iter().zip(model.0.weight.to_vec()).map(|(a, m)| 0.75 * a + 0.25 * m).collect();
        update_average(&mut average, &model, 0.75);
        assert_eq!(average.0.weight.to_vec(), expected);
        let state = |net: &(Linear<f64>, BatchNorm1d<f64>)| {
            let mut all = Vec::new();
            net.for_each(&mut |_, slot| match slot {
                Slot::Buffer(buffer) => all.extend(buffer.get().to_vec()),
                Slot::Counter(counter) => all.push(counter.get() as f64),
                Slot::Param(_) => {}
            });
            all
        };
        assert_eq!(state(&average), state(&model));
        assert_eq!(state(&average)[4], 1.0);
    }

    #[test]
    #[should_panic(expected = "update_average: the model has no weight, bias of this shape")]
    fn a_model_of_another_shape_is_refused() {
        update_average(&mut Linear::new(2, 1), &Linear::new(3, 2), 0.5);
    }
}
