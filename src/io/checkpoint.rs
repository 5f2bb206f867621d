//! All that a training run needs to go on, in one file.

use super::{AnyTensor, LoadOptions, TensorFile, load_tensors, load_with, save_tensors, state};
use crate::element::{Element, Float};
use crate::error::{Error, Result};
use crate::nn::Module;
use crate::optim::Optimizer;
use crate::rng::Rng;
use crate::tensor::Tensor;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Models, optimizers, generators and values under names, as one safetensors file: what a training run that was stopped needs
/// to go on with the same bits.
///
/// The file is replaced as a whole: a program that is killed at any moment leaves the old one or the new one. Options (a
/// learning rate, the size of a batch) are the program's, which makes the same objects again and has their state restored.
///
/// ```
/// use wengert::{io::Checkpoint, nn::{Layer, Linear}, optim::{Adam, Optimizer}};
/// use wengert::{Tensor, record, set_thread_rng, thread_rng};
/// # let path = std::env::temp_dir().join(format!("wengert-doc-checkpoint-{}.safetensors", std::process::id()));
/// let (mut net, mut adam) = (Linear::new(4, 1), Adam::new(1e-3));
/// let train = |net: &mut Linear, adam: &mut Adam| {
///     let loss = record(|| net.forward(&Tensor::randn([8, 4])).square().mean());
///     adam.step(net, &loss.backward());
/// };
/// train(&mut net, &mut adam);
/// let checkpoint = Checkpoint::new().with_model("net", &net).with_optimizer("adam", &adam);
/// checkpoint.with_rng("thread", &thread_rng()).with_value("epoch", 3).save(&path)?;
/// train(&mut net, &mut adam);
///
/// let (mut resumed, mut its_adam) = (Linear::new(4, 1), Adam::new(1e-3));
/// let saved = Checkpoint::load(&path)?;
/// saved.restore_model("net", &mut resumed)?;
/// saved.restore_optimizer("adam", &mut its_adam)?;
/// set_thread_rng(saved.rng("thread")?);
/// assert_eq!(saved.value::<u64>("epoch")?, 3);
/// train(&mut resumed, &mut its_adam);
/// assert_eq!(resumed.weight.to_vec(), net.weight.to_vec());
/// # std::fs::remove_file(path).unwrap();
/// # Ok::<(), wengert::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// Where it was read from; empty for one that is being made.
    path: PathBuf,
    tensors: Vec<(String, AnyTensor)>,
    values: BTreeMap<String, String>,
}

impl Checkpoint {
    /// With nothing in it.
    #[allow(clippy::new_without_default, reason = "an empty checkpoint is no default of anything")]
    pub fn new() -> Checkpoint {
        Checkpoint { path: PathBuf::new(), tensors: Vec::new(), values: BTreeMap::new() }
    }

    /// With a model's parameters, buffers and counters, under `name` and a dot.
    pub fn with_model<T: Float>(mut self, name: &str, model: &(impl Module<T> + ?Sized)) -> Checkpoint {
        self.tensors.extend(state(model).into_iter().map(|(part, x)| (format!("{name}.{part}"), x)));
        self
    }

    /// With what an optimizer has gathered, under `name` and a dot; that must not be the name of a model too.
    pub fn with_optimizer<T: Float>(mut self, name: &str, optimizer: &(impl Optimizer<T> + ?Sized)) -> Checkpoint {
        let state = optimizer.state_dict().into_iter();
        self.tensors.extend(state.map(|(part, x)| (format!("{name}.{part}"), x.into())));
        self
    }

    /// With a generator as it stands.
    pub fn with_rng(self, name: &str, rng: &Rng) -> Checkpoint {
        // The words of a position use all 64 bits.
        let words = rng.position().map(|word| word as i64);
        self.with_tensor(name, &Tensor::from_vec(words.to_vec(), [4]))
    }

    /// With a tensor.
    pub fn with_tensor<T: Element>(mut self, name: &str, x: &Tensor<T>) -> Checkpoint {
        self.tensors.push((name.to_string(), x.into()));
        self
    }

    /// With a number or a text: the epoch, for instance.
    pub fn with_value(mut self, name: &str, value: impl Display) -> Checkpoint {
        self.values.insert(name.to_string(), value.to_string());
        self
    }

    /// Writes it, in place of a file that is there.
    ///
    /// # Errors
    /// [`Error::DuplicateKeys`] when a name stands twice; [`Error::Io`] when the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        save_tensors(path, &self.tensors, &self.values)
    }

    /// Reads what [`Checkpoint::save`] wrote.
    ///
    /// # Errors
    /// As [`load_tensors`].
    pub fn load(path: impl AsRef<Path>) -> Result<Checkpoint> {
        let TensorFile { tensors, metadata, .. } = load_tensors(&path)?;
        Ok(Checkpoint { path: path.as_ref().to_owned(), tensors, values: metadata })
    }

    /// Sets a model to what was kept under `name`.
    ///
    /// # Errors
    /// As [`load`](super::load). Then the model is as it was before.
    pub fn restore_model<T: Float>(&self, name: &str, model: &mut (impl Module<T> + ?Sized)) -> Result<()> {
        let options = LoadOptions { prefix: &format!("{name}."), ..Default::default() };
        load_with(&self.path, model, options).map(|_| ())
    }

    /// Sets an optimizer to what was kept under `name`.
    ///
    /// # Errors
    /// [`Error::UnknownKeys`] with the names that are not those of its state, as of another kind of optimizer;
    /// [`Error::KeyDtype`] when they are of another element type. Then the optimizer is as it was before.
    pub fn restore_optimizer<T: Float>(&self, name: &str, optimizer: &mut (impl Optimizer<T> + ?Sized)) -> Result<()> {
        let prefix = format!("{name}.");
        let mut state = Vec::new();
        for (key, x) in &self.tensors {
            if let Some(part) = key.strip_prefix(&prefix) {
                let x = x.get().ok_or_else(|| Error::key_dtype(&self.path, key, T::DTYPE, x.dtype()))?;
                state.push((part.to_string(), x));
            }
        }
        optimizer.load_state_dict(state).map_err(|parts| {
            let names = parts.into_iter().map(|part| format!("{prefix}{part}")).collect();
            Error::unknown_keys(&self.path, names)
        })
    }

    /// The generator that was kept under `name`.
    ///
    /// # Errors
    /// When there is none.
    pub fn rng(&self, name: &str) -> Result<Rng> {
        let words = self.tensor::<i64>(name)?;
        match words.to_vec()[..] {
            [a, b, c, d] => Ok(Rng::at([a, b, c, d].map(|word| word as u64))),
            _ => Err(Error::key_shape(&self.path, name, &[4], words.shape())),
        }
    }

    /// The tensor that was kept under `name`.
    ///
    /// # Errors
    /// [`Error::MissingKeys`] when there is none, [`Error::KeyDtype`] when its elements are not `T`.
    pub fn tensor<T: Element>(&self, name: &str) -> Result<Tensor<T>> {
        let x = self.tensors.iter().find(|(found, _)| found == name);
        let (_, x) = x.ok_or_else(|| Error::missing_keys(&self.path, vec![name.into()]))?;
        x.get().ok_or_else(|| Error::key_dtype(&self.path, name, T::DTYPE, x.dtype()))
    }

    /// The number or text that was kept under `name`.
    ///
    /// # Errors
    /// [`Error::MissingKeys`] when there is none, [`Error::Malformed`] when it is not a `V`.
    pub fn value<V: FromStr>(&self, name: &str) -> Result<V> {
        let text = self.values.get(name).ok_or_else(|| Error::missing_keys(&self.path, vec![name.into()]))?;
        text.parse().map_err(|_| {
            let kind = std::any::type_name::<V>();
            Error::malformed(&self.path, None, format!("{name} as a value of type {kind}"), format!("{text:?}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd::record;
    use crate::io::test_dir;
    use crate::nn::{BatchNorm1d, Dropout, Layer, Linear, Tanh};
    use crate::optim::{Adam, AdamW, Sgd, SgdOptions};
    use crate::rng::{set_thread_rng, thread_rng};
    use crate::sequential;

    fn net() -> crate::nn::Sequential {
        sequential![Linear::new(3, 8), BatchNorm1d::new(8), Tanh, Dropout::new(0.3), Linear::new(8, 2)]
    }

    fn train(net: &mut crate::nn::Sequential, optimizer: &mut dyn Optimizer, steps: usize) {
        for _ in 0..steps {
            let loss = record(|| net.forward(&Tensor::randn([5, 3])).square().mean());
            optimizer.step(net, &loss.backward());
        }
    }

    fn bits(net: &crate::nn::Sequential) -> Vec<u32> {
        let values = state(net).into_iter().filter_map(|(_, x)| x.get::<f32>());
        values.flat_map(|x| x.to_vec()).map(f32::to_bits).collect()
    }

    #[test]
    fn a_run_that_was_stopped_goes_on_with_the_same_bits() {
        let momentum = SgdOptions { lr: 0.1, momentum: 0.9, ..Default::default() };
        let optimizers: [fn(SgdOptions) -> Box<dyn Optimizer>; 4] = [
            |_| Box::new(Adam::new(0.01)),
            |_| Box::new(AdamW::new(0.01)),
            |_| Box::new(Sgd::new(0.1)),
            |momentum| Box::new(Sgd::with(momentum)),
        ];
        for (i, make) in optimizers.into_iter().enumerate() {
            let path = test_dir("checkpoint").join(i.to_string());
            crate::seed(5);
            let (mut whole, mut optimizer) = (net(), make(momentum));
            train(&mut whole, &mut *optimizer, 3);
            let checkpoint = Checkpoint::new().with_model("net", &whole).with_optimizer("optimizer", &*optimizer);
            checkpoint.with_rng("thread", &thread_rng()).save(&path).unwrap();
            train(&mut whole, &mut *optimizer, 3);

            crate::seed(99);
            let (mut resumed, mut optimizer) = (net(), make(momentum));
            train(&mut resumed, &mut *optimizer, 1);
            let saved = Checkpoint::load(&path).unwrap();
            saved.restore_model("net", &mut resumed).unwrap();
            saved.restore_optimizer("optimizer", &mut *optimizer).unwrap();
            set_thread_rng(saved.rng("thread").unwrap());
            train(&mut resumed, &mut *optimizer, 3);
            assert_eq!(bits(&resumed), bits(&whole));
        }
    }

    #[test]
    fn what_does_not_fit_is_named_and_changes_nothing() {
        let path = test_dir("checkpoint").join("other");
        let (mut net, mut adam) = (net(), Adam::new(0.01));
        train(&mut net, &mut adam, 1);
        let checkpoint = Checkpoint::new().with_model("net", &net).with_optimizer("adam", &adam);
        checkpoint.clone().with_value("epoch", "three").save(&path).unwrap();
        let saved = Checkpoint::load(&path).unwrap();

        let mut sgd = Sgd::<f32>::new(0.1);
        let error = saved.restore_optimizer("adam", &mut sgd).unwrap_err().to_string();
        assert!(error.contains("adam.0.bias.exp_avg"), "{error}");
        let mut wide = Adam::<f64>::new(0.1);
        assert!(matches!(saved.restore_optimizer("adam", &mut wide), Err(Error::KeyDtype { .. })));
        assert!(matches!(saved.restore_model("nobody", &mut net), Err(Error::MissingKeys { .. })));
        assert!(matches!(saved.rng("thread"), Err(Error::MissingKeys { .. })));
        let error = saved.value::<u64>("epoch").unwrap_err().to_string();
        assert!(error.contains("epoch as a value of type u64") && error.contains("three"), "{error}");
        let twice = checkpoint.with_optimizer("adam", &adam).save(&path).unwrap_err();
        assert!(matches!(twice, Error::DuplicateKeys { .. }));

        let before = adam.state_dict().len();
        let half = vec![("w.exp_avg".to_string(), Tensor::zeros([2])), ("w.speed".to_string(), Tensor::zeros([2]))];
        assert_eq!(adam.load_state_dict(half), Err(vec!["w.speed".to_string(), "w.exp_avg".to_string()]));
        assert_eq!(adam.state_dict().len(), before);
    }
}
