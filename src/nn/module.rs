//! Models as trees of named parts: the walk over them, and the layers that map one tensor to one tensor.

use super::param::{Buffer, Counter, Name, Param};
use super::summary::{self, Summary};
use super::{Conv2d, Linear, MaxPool2d};
use crate::element::Float;
use crate::error::{Error, Result};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// Something that a walk over a model finds.
pub enum Slot<'a, T: Float = f32> {
    /// A trainable tensor.
    Param(&'a Param<T>),
    /// A tensor that is saved but not trained.
    Buffer(&'a Buffer<T>),
    /// A number that is saved but not trained.
    Counter(&'a Counter),
}

/// A walk over a model that looks at every part.
pub struct Walk<'w, T: Float = f32> {
    path: String,
    found: &'w mut dyn FnMut(&str, Slot<T>),
}

/// A walk over a model that may change its parameters.
pub struct WalkMut<'w, T: Float = f32> {
    path: String,
    found: &'w mut dyn FnMut(&str, &mut Param<T>),
}

/// Calls `f` with `name` appended to the path.
fn under(path: &mut String, name: &str, f: impl FnOnce(&mut String)) {
    let length = path.len();
    if length > 0 {
        path.push('.');
    }
    path.push_str(name);
    f(path);
    path.truncate(length);
}

impl<T: Float> Walk<'_, T> {
    /// Walks a part under its field's name.
    pub fn child(&mut self, name: &str, part: &(impl Module<T> + ?Sized)) {
        let mut path = std::mem::take(&mut self.path);
        under(&mut path, name, |path| {
            let mut walk = Walk { path: std::mem::take(path), found: self.found };
            part.visit(&mut walk);
            *path = walk.path;
        });
        self.path = path;
    }

    /// Tells a layer its name.
    pub fn name(&self, name: &Name) {
        name.set(&self.path);
    }

    /// Reports state that is no parameter, under its field's name.
    pub fn state(&mut self, name: &str, slot: Slot<T>) {
        let found = &mut *self.found;
        under(&mut self.path, name, |path| found(path, slot));
    }
}

impl<T: Float> WalkMut<'_, T> {
    /// Walks a part under its field's name.
    pub fn child(&mut self, name: &str, part: &mut (impl Module<T> + ?Sized)) {
        let mut path = std::mem::take(&mut self.path);
        under(&mut path, name, |path| {
            let mut walk = WalkMut { path: std::mem::take(path), found: self.found };
            part.visit_mut(&mut walk);
            *path = walk.path;
        });
        self.path = path;
    }

    /// Tells a layer its name.
    pub fn name(&self, name: &mut Name) {
        name.replace(&self.path);
    }
}

/// Whether a dotted name is that of a part or lies in it: `blocks.1.weight` lies in `blocks.1`, `blocks.10.weight` does not.
fn is_part(name: &str, part: &str) -> bool {
    part.is_empty() || name.strip_prefix(part).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// A model or a part of one: something that can be walked over. [`module!`](crate::module) writes it from field names.
///
/// ```
/// use wengert::{module, nn::{Linear, Module}};
/// struct Net { fc1: Linear, fc2: Linear }
/// module!(Net { fc1, fc2 });
///
/// let net = Net { fc1: Linear::new(4, 8), fc2: Linear::new(8, 2) };
/// assert_eq!(net.num_parameters(), 4 * 8 + 8 + 8 * 2 + 2);
/// assert_eq!(net.parameters()[0].0, "fc1.weight");
/// ```
pub trait Module<T: Float = f32>: Send + Sync {
    /// Shows every part to the walk.
    fn visit(&self, walk: &mut Walk<T>);

    /// Shows every part to the walk, which may change parameters.
    fn visit_mut(&mut self, walk: &mut WalkMut<T>);

    /// Calls `f` with the dotted name of every parameter, buffer and counter, in the order of the fields.
    fn for_each(&self, f: &mut dyn FnMut(&str, Slot<T>)) {
        self.visit(&mut Walk { path: String::new(), found: f });
    }

    /// Calls `f` with the dotted name of every parameter, which it may change, in the order of the fields.
    fn for_each_param_mut(&mut self, f: &mut dyn FnMut(&str, &mut Param<T>)) {
        self.visit_mut(&mut WalkMut { path: String::new(), found: f });
    }

    /// The dotted name and the values of every parameter.
    fn parameters(&self) -> Vec<(String, Tensor<T>)> {
        let mut all = Vec::new();
        self.for_each(&mut |name, slot| {
            if let Slot::Param(param) = slot {
                all.push((name.to_string(), (**param).clone()));
            }
        });
        all
    }

    /// How many numbers there are to train, frozen ones included.
    fn num_parameters(&self) -> usize {
        self.parameters().iter().map(|(_, tensor)| tensor.numel()).sum()
    }

    /// Stops training the parameters whose name is `prefix` or begins with it and a dot; "" for all. Returns how many
    /// parameters matched.
    fn freeze(&mut self, prefix: &str) -> usize {
        let mut count = 0;
        self.for_each_param_mut(&mut |name, param| {
            if is_part(name, prefix) {
                param.freeze();
                count += 1;
            }
        });
        count
    }

    /// Trains the parameters again that [`Module::freeze`] stops for the same `prefix`. Returns how many parameters matched.
    fn unfreeze(&mut self, prefix: &str) -> usize {
        let mut count = 0;
        self.for_each_param_mut(&mut |name, param| {
            if is_part(name, prefix) {
                param.unfreeze();
                count += 1;
            }
        });
        count
    }
}

/// What a layer is to [`Sequential`](super::Sequential), which makes one operation of some neighbours.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub enum Role<'a, T: Float = f32> {
    /// Nothing that is joined.
    Other,
    /// A layer that can end with `max(x, 0)`.
    Linear(&'a Linear<T>),
    /// A layer that can end with `max(x, 0)` and a maximum over windows.
    Conv2d(&'a Conv2d<T>),
    /// `max(x, 0)`.
    Relu,
    /// A maximum over windows.
    MaxPool2d(&'a MaxPool2d),
}

/// A module that maps one tensor to one tensor. Layers with other signatures are [`Module`]s with their own `forward`.
pub trait Layer<T: Float = f32>: Module<T> {
    /// The output for an input.
    fn forward(&self, x: &Tensor<T>) -> Tensor<T>;

    #[doc(hidden)]
    fn role(&self) -> Role<'_, T> {
        Role::Other
    }

    /// [`Layer::forward`] for input from outside: a shape mistake is an error, not a panic.
    ///
    /// # Errors
    /// [`Error::Shape`] with the text that the panic would have.
    fn try_forward(&self, x: &Tensor<T>) -> Result<Tensor<T>> {
        crate::shape::catch(|| self.forward(x)).map_err(|failure| Error::Shape(failure.0))
    }

    /// The table that Keras prints: layers, output shapes, parameters and floating-point operations, found by running the
    /// model once on zeros of the given shape.
    fn summary(&self, input: &[usize]) -> Summary {
        let mut parameters = Vec::new();
        self.for_each(&mut |_, slot| {
            if let Slot::Param(param) = slot {
                parameters.push((param.numel(), param.is_trainable()));
            }
        });
        let zeros = Tensor::full(Shape::new(input), T::ZERO);
        summary::trace(parameters, || {
            crate::no_record(|| crate::with_mode(crate::autograd::Mode::Eval, || self.forward(&zeros)));
        })
    }
}

impl<T: Float> Module<T> for Param<T> {
    fn visit(&self, walk: &mut Walk<T>) {
        walk.name(self.name_cell());
        (walk.found)(&walk.path, Slot::Param(self));
    }
    fn visit_mut(&mut self, walk: &mut WalkMut<T>) {
        walk.name(self.name_cell_mut());
        (walk.found)(&walk.path, self);
    }
}

impl<T: Float, M: Module<T>> Module<T> for Vec<M> {
    fn visit(&self, walk: &mut Walk<T>) {
        self.iter().enumerate().for_each(|(i, part)| walk.child(&i.to_string(), part));
    }
    fn visit_mut(&mut self, walk: &mut WalkMut<T>) {
        self.iter_mut().enumerate().for_each(|(i, part)| walk.child(&i.to_string(), part));
    }
}

impl<T: Float, M: Module<T>, const N: usize> Module<T> for [M; N] {
    fn visit(&self, walk: &mut Walk<T>) {
        self.iter().enumerate().for_each(|(i, part)| walk.child(&i.to_string(), part));
    }
    fn visit_mut(&mut self, walk: &mut WalkMut<T>) {
        self.iter_mut().enumerate().for_each(|(i, part)| walk.child(&i.to_string(), part));
    }
}

impl<T: Float, M: Module<T>> Module<T> for Option<M> {
    fn visit(&self, walk: &mut Walk<T>) {
        if let Some(part) = self {
            part.visit(walk);
        }
    }
    fn visit_mut(&mut self, walk: &mut WalkMut<T>) {
        if let Some(part) = self {
            part.visit_mut(walk);
        }
    }
}

impl<T: Float, M: Module<T> + ?Sized> Module<T> for Box<M> {
    fn visit(&self, walk: &mut Walk<T>) {
        (**self).visit(walk);
    }
    fn visit_mut(&mut self, walk: &mut WalkMut<T>) {
        (**self).visit_mut(walk);
    }
}

impl<T: Float, L: Layer<T> + ?Sized> Layer<T> for Box<L> {
    #[track_caller]
    fn forward(&self, x: &Tensor<T>) -> Tensor<T> {
        (**self).forward(x)
    }
    fn role(&self) -> Role<'_, T> {
        (**self).role()
    }
}

macro_rules! tuple {
    ($($M:ident $i:tt),+) => {
        impl<T: Float, $($M: Module<T>),+> Module<T> for ($($M,)+) {
            fn visit(&self, walk: &mut Walk<T>) {
                $(walk.child(stringify!($i), &self.$i);)+
            }
            fn visit_mut(&mut self, walk: &mut WalkMut<T>) {
                $(walk.child(stringify!($i), &mut self.$i);)+
            }
        }
    };
}
tuple!(A 0);
tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);
tuple!(A 0, B 1, C 2, D 3, E 4);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5);

/// Makes one of the crate's layers, with a field `name`, a [`Module`] from the names of its parameters.
macro_rules! layer_module {
    ($name:ident { $($field:ident),+ }) => {
        impl<T: $crate::element::Float> $crate::nn::Module<T> for $name<T> {
            fn visit(&self, walk: &mut $crate::nn::Walk<T>) {
                walk.name(&self.name);
                $(walk.child(stringify!($field), &self.$field);)+
            }
            fn visit_mut(&mut self, walk: &mut $crate::nn::WalkMut<T>) {
                walk.name(&mut self.name);
                $(walk.child(stringify!($field), &mut self.$field);)+
            }
        }
    };
}
pub(super) use layer_module;

/// Makes a struct a [`Module`](crate::nn::Module) from the names of its fields that are modules.
///
/// `module!(Net { conv, fc })` for a struct of `f32` layers, `module!(Net<T> { conv, fc })` for one that is generic over its
/// float type.
#[macro_export]
macro_rules! module {
    ($name:ident { $($field:ident),* $(,)? }) => {
        impl $crate::nn::Module for $name {
            $crate::module!(@methods f32 { $($field),* });
        }
    };
    ($name:ident<$t:ident> { $($field:ident),* $(,)? }) => {
        impl<$t: $crate::Float> $crate::nn::Module<$t> for $name<$t> {
            $crate::module!(@methods $t { $($field),* });
        }
    };
    (@methods $t:ident { $($field:ident),* }) => {
        fn visit(&self, walk: &mut $crate::nn::Walk<$t>) {
            let _ = &walk;
            $(walk.child(stringify!($field), &self.$field);)*
        }
        fn visit_mut(&mut self, walk: &mut $crate::nn::WalkMut<$t>) {
            let _ = &walk;
            $(walk.child(stringify!($field), &mut self.$field);)*
        }
    };
}
