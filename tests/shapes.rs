//! A shape mistake panics at the caller's line with a message that says what, where, expected and found; `try_` twins give
//! the same text as an error.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use wengert::nn::{Layer, Linear, ReLU};
use wengert::{Error, Tensor, module, ops, record, sequential};

/// The message of a panic, and the file that it is blamed on.
fn panic_of<R>(f: impl FnOnce() -> R) -> (String, String) {
    static HOOK: Mutex<()> = Mutex::new(());
    static PLACE: Mutex<String> = Mutex::new(String::new());
    let _one_at_a_time = HOOK.lock().unwrap_or_else(|e| e.into_inner());
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(|info| {
        *PLACE.lock().unwrap() = info.location().map_or(String::new(), |place| place.file().to_string());
    }));
    let result = catch_unwind(AssertUnwindSafe(f));
    std::panic::set_hook(before);
    let payload = result.err().expect("a panic");
    let text = payload.downcast_ref::<String>().cloned();
    let text = text.or(payload.downcast_ref::<&str>().map(|text| text.to_string())).expect("a text");
    (text, PLACE.lock().unwrap().clone())
}

macro_rules! panics {
    ($($call:expr => $message:literal;)+) => {$(
        let (message, file) = panic_of(|| $call);
        assert_eq!(message, $message, "{}", stringify!($call));
        assert!(file.ends_with("shapes.rs"), "{} blames {file}", stringify!($call));
    )+};
}

fn zeros(shape: &[usize]) -> Tensor {
    Tensor::zeros(shape)
}

#[test]
fn operators_and_products_name_both_shapes() {
    let (a, b) = (zeros(&[64, 576]), zeros(&[512, 64]));
    panics! {
        a.matmul(&b) => "matmul: [64, 576] x [512, 64]: inner dimensions 576 and 512 differ";
        zeros(&[2, 3, 4]).matmul(&zeros(&[3, 4, 5])) => "matmul: [2, 3, 4] x [3, 4, 5]: batches [2] and [3] do not broadcast";
        a.matmul(&zeros(&[])) => "matmul: [64, 576] x []: expected at least one dimension each";
        &a + &b => "add: [64, 576] and [512, 64]: the shapes do not broadcast together";
        a.clone() - &b => "sub: [64, 576] and [512, 64]: the shapes do not broadcast together";
        a.maximum(&b) => "maximum: [64, 576] and [512, 64]: the shapes do not broadcast together";
        a.eq(&b) => "eq: [64, 576] and [512, 64]: the shapes do not broadcast together";
        ops::linear(&a, &b, None) => "linear: [64, 576] x [512, 64]^T: expected inputs of size 64";
        ops::linear(&b, &b, Some(&a)) => "linear: bias [64, 576]: expected [512]";
    }
}

#[test]
fn images_and_attention_say_what_does_not_fit() {
    let (x, weight) = (zeros(&[1, 3, 2, 2]), zeros(&[40, 3, 3, 3]));
    let (wide, one) = (ops::ConvTranspose2dOptions { padding: [1, 1], ..Default::default() }, zeros(&[3, 2, 1, 1]));
    panics! {
        ops::conv2d(&x, &weight, None, Default::default()) =>
            "conv2d: [1, 3, 2, 2] * [40, 3, 3, 3]: expected a kernel of 1 to 2, the padded input, found 3 along dimension 2";
        ops::conv2d(&x, &one, None, Default::default()) =>
            "conv2d: [1, 3, 2, 2] * [3, 2, 1, 1]: expected 2 input channels in 1 groups, found 3";
        ops::conv_transpose2d(&x, &weight, None, Default::default()) =>
            "conv_transpose2d: [1, 3, 2, 2] * [40, 3, 3, 3]: expected 40 input channels, found 3";
        ops::conv_transpose2d(&zeros(&[1, 3, 1, 1]), &one, None, wide) =>
            "conv_transpose2d: [1, 3, 1, 1] * [3, 2, 1, 1]: expected a padding that leaves some of the 1 pixels along dimension 2, found 1";
        ops::max_pool2d(&x, 3, Default::default()) =>
            "max_pool2d: [1, 3, 2, 2]: a window of [3, 3] is larger than the image with a padding of [0, 0]";
        ops::scaled_dot_product_attention(&x, &zeros(&[1, 3, 2, 4]), &x, Default::default()) =>
            "scaled_dot_product_attention: [1, 3, 2, 2], [1, 3, 2, 4], [1, 3, 2, 2]: expected queries and keys of one size";
    }
}

#[test]
fn views_say_what_does_not_fit() {
    let x = zeros(&[2, 3, 4]);
    panics! {
        x.reshape([5, 5]) => "reshape: [2, 3, 4] to [5, 5]: 24 elements do not fit 25";
        x.reshape([5, -1]) => "reshape: [2, 3, 4] to [5, -1]: 24 elements do not fit 5 times a whole number";
        x.reshape([-1, -1]) => "reshape: [2, 3, 4] to [-1, -1]: at most one size may be -1, and none less";
        x.reshape([-2]) => "reshape: [2, 3, 4] to [-2]: at most one size may be -1, and none less";
        zeros(&[0, 3]).reshape([0, -1]) => "reshape: [0, 3] to [0, -1]: beside a size of 0, -1 could be anything";
        zeros(&[]).size(-1) => "size: []: a scalar has no dimension -1";
        x.permute(&[0, 1]) => "permute: [2, 3, 4]: [0, 1] does not name every dimension";
        x.permute(&[0, 1, 1]) => "permute: [2, 3, 4]: [0, 1, 1] names a dimension twice";
        x.transpose(0, 3) => "transpose: [2, 3, 4]: expected a dimension from -3 to 2, found 3";
        x.unsqueeze(5) => "unsqueeze: [2, 3, 4]: expected a dimension from -4 to 3, found 5";
        x.expand([2, 3, 5]) => "expand: [2, 3, 4] to [2, 3, 5]: only dimensions of size 1 can be repeated";
        x.narrow(1, 2, 2) => "narrow: [2, 3, 4]: 2 indices from 2 leave dimension 1 of size 3";
        x.slice(2, 0, 5, 1) => "slice: [2, 3, 4]: 0..5 in steps of 1 does not fit dimension 2 of size 4";
        x.select(0, 2) => "select: [2, 3, 4]: no index 2 in dimension 0 of size 2";
        x.i((0, 0, 0, 0)) => "i: [2, 3, 4]: 4 indices";
        x.i((.., 3)) => "i: [2, 3, 4]: no index 3 in dimension 1 of size 3";
        x.split(0, 0) => "split: [2, 3, 4]: parts of size 0";
        x.get(&[0, 3, 0]) => "get: [2, 3, 4]: no element at [0, 3, 0]";
        x.item() => "item: [2, 3, 4]: expected one element, found 24";
        ops::cat(&[&x, &zeros(&[2, 2, 3])], 1) => "cat: [2, 3, 4] and [2, 2, 3]: sizes differ outside dimension 1";
        ops::stack(&[&x, &zeros(&[2])], 0) => "stack: [2, 3, 4] and [2]: the shapes differ";
        Tensor::from_vec(vec![1.0_f32; 5], [2, 3]) => "from_vec: [2, 3]: expected 6 elements, found 5";
        ops::stack(&[&x, &x], 4) => "stack: [2, 3, 4]: expected a dimension from -4 to 3 of the result, found 4";
        zeros(&[0, usize::MAX, 2]) => "shape: [0, 18446744073709551615, 2]: more elements than can be counted";
        zeros(&[1; 9]) => "shape: [1, 1, 1, 1, 1, 1, 1, 1, 1]: at most 8 dimensions, found 9";
    }
}

#[test]
fn reductions_and_indices_say_what_does_not_fit() {
    let x = zeros(&[2, 0]);
    let index = Tensor::from([0_i64, 4]);
    panics! {
        x.sum_dim(2, false) => "sum: [2, 0]: expected a dimension from -2 to 1, found 2";
        x.sum_dim([0, -2], false) => "sum: [2, 0]: dimension -2 is named twice";
        x.amax(1, false) => "amax: [2, 0]: there is nothing to choose from";
        x.argmax(1, false) => "argmax: [2, 0]: dimension 1 is empty: there is nothing to choose from";
        zeros(&[3, 2]).index_select(0, &index) => "index_select: index 4 is out of range for a dimension of size 3";
        zeros(&[2]).gather(0, &index) => "gather: index 4 is out of range for a dimension of size 2";
        index.one_hot(3) => "one_hot: 4 is not one of 3 classes";
    }
}

#[test]
fn the_tape_says_what_it_misses() {
    let x = Tensor::ones([3]).tracked();
    panics! {
        (&x * &x).sum().backward() => "backward: this tensor was not recorded; compute it inside `record(|| ...)` from a parameter or a `.tracked()` tensor";
        record(|| &x * &x).backward() => "backward: [3]: expected a loss with one element; reduce it with .sum() or .mean()";
        record(|| &x * 2.0).backward_with(&zeros(&[2])) => "backward_with: [3]: the cotangent has shape [2]";
    }
}

struct Net {
    fc1: Linear,
    fc2: Linear,
}
module!(Net { fc1, fc2 });

impl Layer for Net {
    fn forward(&self, x: &Tensor) -> Tensor {
        self.fc2.forward(&self.fc1.forward(x).relu())
    }
}

#[test]
fn a_shape_error_names_the_layer() {
    use wengert::nn::Module;
    let net = Net { fc1: Linear::new(4, 8), fc2: Linear::new(7, 2) };
    assert_eq!(
        panic_of(|| net.forward(&zeros(&[3, 4]))).0,
        "linear: [3, 8] x [2, 7]^T: expected inputs of size 7 (in Linear)"
    );
    // A walk over the model tells its layers their names.
    net.parameters();
    assert_eq!(
        panic_of(|| net.forward(&zeros(&[3, 4]))).0,
        "linear: [3, 8] x [2, 7]^T: expected inputs of size 7 (in fc2)"
    );
    assert_eq!(
        panic_of(|| net.forward(&zeros(&[3, 5]))).0,
        "linear: [3, 5] x [8, 4]^T: expected inputs of size 4 (in fc1)"
    );
}

#[test]
fn try_forward_and_try_from_vec_give_errors_instead() {
    let net = sequential![Linear::new(4, 8), ReLU, Linear::new(8, 2)];
    assert_eq!(net.try_forward(&zeros(&[3, 4])).unwrap().shape(), [3, 2]);
    match net.try_forward(&zeros(&[3, 5])) {
        Err(Error::Shape(message)) => {
            assert_eq!(message, "linear_relu: [3, 5] x [8, 4]^T: expected inputs of size 4 (in Linear)");
        }
        other => panic!("{other:?}"),
    }
    // The next call works: nothing is left behind.
    assert!(net.try_forward(&zeros(&[1, 4])).is_ok());
    let error = Tensor::try_from_vec(vec![1.0_f32; 5], [2, 3]).unwrap_err();
    assert_eq!(error.to_string(), "from_vec: [2, 3]: expected 6 elements, found 5");
}
