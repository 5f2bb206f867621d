//! A model's state: its parameters, buffers and counters, under PyTorch's names.

use super::header::{Entry, Header};
use super::safetensors::{Reader, distinct};
use super::{AnyTensor, save_tensors};
use crate::element::{DType, Float};
use crate::error::{Error, Result};
use crate::nn::{Module, Slot};
use crate::tensor::Tensor;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

/// Every parameter, buffer and counter (an `i64` scalar) of a model with its dotted name, in the order of the fields:
/// PyTorch's `state_dict`. The tensors share the model's values; training the model on does not change them.
pub fn state<T: Float>(model: &(impl Module<T> + ?Sized)) -> Vec<(String, AnyTensor)> {
    let mut all = Vec::new();
    model.for_each(&mut |name, slot| {
        let tensor = match slot {
            Slot::Param(param) => AnyTensor::from(&**param),
            Slot::Buffer(buffer) => buffer.get().into(),
            Slot::Counter(counter) => Tensor::scalar(counter.get()).into(),
        };
        all.push((name.to_string(), tensor));
    });
    all
}

/// Saves a model's parameters, buffers and counters as a safetensors file, which is replaced as a whole: a crash leaves
/// the old file or the new one ([`super::write_atomically`]). `f32` is written as F32, `f64` as F64, counters as I64.
///
/// # Errors
/// [`Error::DuplicateKeys`] when two parts of the model have the same name; [`Error::Io`] when the file cannot be written.
pub fn save<T: Float>(path: impl AsRef<Path>, model: &(impl Module<T> + ?Sized)) -> Result<()> {
    save_tensors(path, &state(model), &BTreeMap::new())
}

/// Loads what [`save`] or PyTorch saved: every name of the model must be in the file, and no other.
///
/// Spectral and weight norm are also found under the names that PyTorch gave them before its parametrizations (`weight_orig`,
/// `weight_g` ..).
///
/// F32, F64, F16 and BF16 are taken for floats of either type, rounded to the nearest where the model's has fewer bits
/// (beyond its range: infinity); counters must be I64. Frozen parameters are loaded too and stay frozen.
///
/// # Errors
/// When the file is missing or is not exactly one intact safetensors file, or when names are missing
/// ([`Error::MissingKeys`], which lists them all), unknown ([`Error::UnknownKeys`]) or stand twice
/// ([`Error::DuplicateKeys`]), or a shape or an element type does not fit. Then the model is as it was before.
pub fn load<T: Float>(path: impl AsRef<Path>, model: &mut (impl Module<T> + ?Sized)) -> Result<()> {
    load_with(path, model, LoadOptions::default()).map(|_| ())
}

/// What [`load_with`] takes from a file.
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions<'a> {
    /// Whether missing and unknown names are errors (the default); if not, they are returned, and what is missing keeps
    /// its values.
    pub strict: bool,
    /// What stands before the model's names in the file, such as `"model."`; names without it are nobody's and are passed
    /// over. Nothing by default.
    pub prefix: &'a str,
}

impl Default for LoadOptions<'_> {
    fn default() -> Self {
        LoadOptions { strict: true, prefix: "" }
    }
}

/// The names for which [`load_with`] found no partner, in full, as they stand (or would) in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Of the model, not in the file.
    pub missing: Vec<String>,
    /// In the file, not of the model.
    pub unknown: Vec<String>,
}

/// [`load`], with a choice of what to do about names that do not match, and of a part of the file.
///
/// ```
/// use wengert::{io, nn::{Linear, LinearOptions}};
/// # let path = std::env::temp_dir().join(format!("wengert-doc-load-{}.safetensors", std::process::id()));
/// let without_bias: Linear = Linear::with(4, 2, LinearOptions { bias: false });
/// io::save(&path, &without_bias)?;
/// let mut net = Linear::new(4, 2);
/// let loaded = io::load_with(&path, &mut net, io::LoadOptions { strict: false, ..Default::default() })?;
/// assert_eq!(loaded.missing, ["bias"]);
/// # std::fs::remove_file(path).unwrap();
/// # Ok::<(), wengert::Error>(())
/// ```
///
/// # Errors
/// As [`load`]; missing and unknown names only when `strict`.
pub fn load_with<T: Float>(
    path: impl AsRef<Path>,
    model: &mut (impl Module<T> + ?Sized),
    options: LoadOptions,
) -> Result<Loaded> {
    let path = path.as_ref();
    let (header, mut reader) = Reader::open(path)?;
    let wanted = wanted(model, options.prefix);
    distinct(path, wanted.iter().map(|want| &*want.name))?;
    let loaded = compare(&header, &wanted, options.prefix);
    if options.strict && !loaded.missing.is_empty() {
        return Err(Error::missing_keys(path, loaded.missing));
    }
    if options.strict && !loaded.unknown.is_empty() {
        return Err(Error::unknown_keys(path, loaded.unknown));
    }
    // All is found to fit, then all is read, then all is set: a failure leaves the model as it was.
    for want in &wanted {
        if let Some(entry) = find(&header, &want.name) {
            if !entry.dtype.reads_as(want.dtype) {
                return Err(Error::key_dtype(path, &*want.name, want.dtype, entry.dtype));
            }
            if want.shape[..] != entry.shape[..] {
                return Err(Error::key_shape(path, &*want.name, &want.shape, &entry.shape));
            }
        }
    }
    let mut tensors = HashMap::new();
    let mut counts = HashMap::new();
    for want in wanted {
        let Some(entry) = find(&header, &want.name) else { continue };
        let name = want.name[options.prefix.len()..].to_string();
        if want.dtype == DType::I64 {
            counts.insert(name, reader.read::<i64>(entry)?.item());
        } else {
            tensors.insert(name, reader.read::<T>(entry)?);
        }
    }
    set(model, tensors, &counts);
    Ok(loaded)
}

/// A name of the model with what must stand under it.
struct Want {
    name: String,
    dtype: DType,
    shape: Vec<usize>,
}

fn wanted<T: Float>(model: &(impl Module<T> + ?Sized), prefix: &str) -> Vec<Want> {
    let mut wanted = Vec::new();
    model.for_each(&mut |name, slot| {
        let (dtype, shape) = match slot {
            Slot::Param(param) => (T::DTYPE, param.shape().to_vec()),
            Slot::Buffer(buffer) => (T::DTYPE, buffer.get().shape().to_vec()),
            Slot::Counter(_) => (DType::I64, Vec::new()),
        };
        wanted.push(Want { name: format!("{prefix}{name}"), dtype, shape });
    });
    wanted
}

/// How names end since PyTorch's parametrizations, and how before.
const OLDER: [(&str, &str); 5] = [
    ("parametrizations.weight.original", "weight_orig"),
    ("parametrizations.weight.0._u", "weight_u"),
    ("parametrizations.weight.0._v", "weight_v"),
    ("parametrizations.weight.original0", "weight_g"),
    ("parametrizations.weight.original1", "weight_v"),
];

/// What stands under a name of the model, or else under its older one.
fn find<'h>(header: &'h Header, name: &str) -> Option<&'h Entry> {
    let older = |(new, old): &(&str, &str)| header.find(&format!("{}{old}", name.strip_suffix(new)?));
    header.find(name).or_else(|| OLDER.iter().find_map(older))
}

fn compare(header: &Header, wanted: &[Want], prefix: &str) -> Loaded {
    let found = |want: &&Want| find(header, &want.name).is_some();
    let missing = wanted.iter().filter(|want| !found(want)).map(|want| want.name.clone()).collect();
    let names: HashSet<&str> = wanted.iter().filter_map(|want| Some(&*find(header, &want.name)?.name)).collect();
    let entries = header.entries.iter().map(|entry| &*entry.name);
    let unknown = entries.filter(|name| name.starts_with(prefix) && !names.contains(name)).map(String::from).collect();
    Loaded { missing, unknown }
}

/// Puts the values under their names, which are the model's.
fn set<T: Float>(
    model: &mut (impl Module<T> + ?Sized),
    mut tensors: HashMap<String, Tensor<T>>,
    counts: &HashMap<String, i64>,
) {
    model.for_each_param_mut(&mut |name, param| {
        if let Some(tensor) = tensors.remove(name) {
            param.set(&tensor);
        }
    });
    model.for_each(&mut |name, slot| match slot {
        Slot::Param(_) => {
            assert!(!tensors.contains_key(name), "load: {name} is in the model's visit, not in visit_mut")
        }
        Slot::Buffer(buffer) => {
            if let Some(tensor) = tensors.get(name) {
                buffer.set(tensor);
            }
        }
        Slot::Counter(counter) => {
            if let Some(&count) = counts.get(name) {
                counter.set(count);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::test_dir;
    use crate::nn::{Buffer, Counter, Linear, LinearOptions, Param, SpectralNorm, Walk, WalkMut, WeightNorm};
    use crate::sequential;

    /// A model with a slot of every kind.
    struct Net<T: Float> {
        fc: Vec<Linear<T>>,
        mean: Buffer<T>,
        seen: Counter,
    }

    impl<T: Float> Module<T> for Net<T> {
        fn visit(&self, walk: &mut Walk<T>) {
            walk.child("fc", &self.fc);
            walk.state("running_mean", Slot::Buffer(&self.mean));
            walk.state("num_batches_tracked", Slot::Counter(&self.seen));
        }
        fn visit_mut(&mut self, walk: &mut WalkMut<T>) {
            walk.child("fc", &mut self.fc);
        }
    }

    fn net<T: Float>(seen: i64) -> Net<T> {
        let net = Net {
            fc: vec![Linear::with(3, 2, LinearOptions::default()), Linear::with(2, 1, LinearOptions { bias: false })],
            mean: Buffer::new(Tensor::full([2], T::of(seen as f64 / 3.0))),
            seen: Counter::default(),
        };
        net.seen.set(seen);
        net
    }

    fn values<T: Float>(net: &impl Module<T>) -> Vec<(String, Vec<f64>)> {
        let values = |x: AnyTensor| match x {
            AnyTensor::I64(x) => vec![x.item() as f64],
            x => x.get::<T>().unwrap().to_vec().into_iter().map(|x| x.to_f64()).collect(),
        };
        state(net).into_iter().map(|(name, x)| (name, values(x))).collect()
    }

    #[test]
    fn the_state_has_every_slot_under_pytorchs_name() {
        let names: Vec<String> = state(&net::<f32>(7)).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["fc.0.weight", "fc.0.bias", "fc.1.weight", "running_mean", "num_batches_tracked"]);
    }

    #[test]
    fn a_saved_model_is_loaded_bit_by_bit() {
        fn check<T: Float>(name: &str) {
            let path = test_dir("model").join(name);
            let (saved, mut loaded) = (net::<T>(7), net::<T>(1));
            save(&path, &saved).unwrap();
            load(&path, &mut loaded).unwrap();
            assert_eq!(values(&loaded), values(&saved));
        }
        check::<f32>("f32");
        check::<f64>("f64");
    }

    #[test]
    fn a_model_of_the_other_float_type_gets_the_nearest_values() {
        let path = test_dir("model").join("other");
        let (wide, mut narrow) = (net::<f64>(7), net::<f32>(1));
        save(&path, &wide).unwrap();
        load(&path, &mut narrow).unwrap();
        let rounded = |(name, x): (String, Vec<f64>)| (name, x.into_iter().map(|x| f64::from(x as f32)).collect());
        assert_eq!(values(&narrow), values(&wide).into_iter().map(rounded).collect::<Vec<_>>());
    }

    #[test]
    fn loading_keeps_what_is_frozen_frozen_and_what_is_trained_trained() {
        let path = test_dir("model").join("frozen");
        save(&path, &net::<f32>(0)).unwrap();
        let mut net = net::<f32>(1);
        net.freeze("fc.0");
        load(&path, &mut net).unwrap();
        let trained: Vec<bool> = net.fc.iter().map(|fc| fc.weight.is_trainable()).collect();
        assert_eq!(trained, [false, true]);
    }

    #[test]
    fn a_saved_state_does_not_change_when_training_goes_on() {
        let mut net = net::<f32>(7);
        let (before, state) = (net.fc[0].weight.to_vec(), state(&net));
        net.fc[0].weight.as_mut_slice().fill(5.0);
        assert_eq!(state[0].1.get::<f32>().unwrap().to_vec(), before);
    }

    #[test]
    fn names_that_do_not_match_are_returned_where_that_is_asked_for() {
        let path = test_dir("model").join("part");
        let (saved, mut loaded) = (net::<f32>(7), net::<f32>(1));
        let mut tensors = state(&saved);
        tensors.remove(1);
        tensors.push(("fc.2.weight".into(), Tensor::zeros([1]).into()));
        save_tensors(&path, &tensors, &BTreeMap::new()).unwrap();
        let bias = loaded.fc[0].bias.as_ref().unwrap().to_vec();
        let options = LoadOptions { strict: false, ..Default::default() };
        let report = load_with(&path, &mut loaded, options).unwrap();
        assert_eq!(report, Loaded { missing: vec!["fc.0.bias".into()], unknown: vec!["fc.2.weight".into()] });
        assert_eq!(loaded.fc[0].bias.as_ref().unwrap().to_vec(), bias);
        assert_eq!(loaded.fc[0].weight.to_vec(), saved.fc[0].weight.to_vec());
        assert_eq!(loaded.seen.get(), 7);
    }

    #[test]
    fn a_prefix_finds_a_model_among_other_tensors() {
        let path = test_dir("model").join("prefix");
        let (saved, mut loaded) = (net::<f32>(7), net::<f32>(1));
        let mut tensors: Vec<_> = state(&saved).into_iter().map(|(name, x)| (format!("model.{name}"), x)).collect();
        tensors.push(("optimizer.step".into(), Tensor::from(9_i64).into()));
        save_tensors(&path, &tensors, &BTreeMap::new()).unwrap();
        load_with(&path, &mut loaded, LoadOptions { prefix: "model.", ..Default::default() }).unwrap();
        assert_eq!(values(&loaded), values(&saved));
        let missing = load_with(&path, &mut loaded, LoadOptions { prefix: "ema.", ..Default::default() });
        assert!(matches!(missing, Err(Error::MissingKeys { keys, .. }) if keys[0] == "ema.fc.0.weight"));
    }

    #[test]
    fn the_older_names_of_normed_weights_are_found() {
        let net = || sequential![SpectralNorm::new(Linear::new(3, 2)), WeightNorm::new(Linear::new(2, 2))];
        let (saved, mut loaded) = (net(), net());
        let older = ["0.bias", "0.weight_orig", "0.weight_u", "0.weight_v", "1.bias", "1.weight_g", "1.weight_v"];
        let tensors: Vec<_> = state(&saved).into_iter().zip(older).map(|((_, x), old)| (old.to_string(), x)).collect();
        let path = test_dir("model").join("older");
        save_tensors(&path, &tensors, &BTreeMap::new()).unwrap();
        load(&path, &mut loaded).unwrap();
        assert_eq!(values(&loaded), values(&saved));
        // Of a plain layer they are not.
        let report = load_with(&path, &mut sequential![Linear::new(3, 2)], LoadOptions { strict: false, prefix: "" });
        assert_eq!(report.unwrap().missing, ["0.weight"]);
    }

    #[test]
    #[should_panic(expected = "load: weight is in the model's visit, not in visit_mut")]
    fn a_parameter_that_cannot_be_set_is_not_passed_over() {
        struct Half(Param);
        impl Module for Half {
            fn visit(&self, walk: &mut Walk) {
                walk.child("weight", &self.0);
            }
            fn visit_mut(&mut self, _: &mut WalkMut) {}
        }
        let path = test_dir("model").join("half");
        let mut half = Half(Param::new(Tensor::zeros([2])));
        save(&path, &half).unwrap();
        let _ = load(&path, &mut half);
    }
}
