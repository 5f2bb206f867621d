//! Operations of everyday that no network or kernel beside them stands for, most on two million numbers; `everyday.py` has the same under these names.

use super::{List, Work};
use wengert::nn::{BatchNorm2d, Conv2d, GroupNorm, Layer, MaxPool2d};
use wengert::ops::{self, Conv1dOptions, Conv2dOptions, ConvTranspose2dOptions, MaxPool2dOptions, cat, stack};
use wengert::{Tensor, record};

fn matrix() -> Tensor {
    Tensor::randn([1024, 2048])
}

fn images() -> Tensor {
    Tensor::randn([32, 64, 28, 28])
}

fn mask() -> Tensor<bool> {
    matrix().gt(&matrix())
}

/// Whole numbers below `end`, in no order.
fn indices(shape: &[usize], end: usize) -> Tensor<i64> {
    let n: usize = shape.iter().product();
    Tensor::from_vec((0..n).map(|i| ((i * 7919 + i / 2048 * 31) % end) as i64).collect(), shape)
}

/// A convolution with a kernel of 3 x 3.
fn conv3(groups: usize) -> Conv2dOptions {
    Conv2dOptions { padding: [1, 1], groups, ..Default::default() }
}

/// Pooling with a stride of 2, one pixel around the images.
fn halved() -> MaxPool2dOptions {
    MaxPool2dOptions { stride: Some([2, 2]), padding: [1, 1], ..Default::default() }
}

/// A layer's output and the gradients of its parameters and of its input.
fn step(layer: &impl Layer, x: &Tensor, grad: &Tensor) -> Tensor {
    let x = x.tracked();
    let mut gradients = record(|| layer.forward(&x)).backward_with(grad);
    gradients.take(&x).expect("the input has a gradient")
}

/// A workload for each line: its name, what is prepared, and what is measured.
macro_rules! operations {
    ($list:ident; $($name:literal: [$($prepared:ident = $value:expr),*] $run:expr;)*) => {$(
        $list.add(concat!("everyday ", $name), Work::default(), || {
            $(let $prepared = $value;)*
            Box::new(move || $run)
        });
    )*};
}

pub fn operations(list: &mut List) {
    operations! { list;
        "sum": [a = matrix()] a.sum();
        "sum axis 0": [a = matrix()] a.sum_dim(0, false);
        "sum axis 1": [a = matrix()] a.sum_dim(1, false);
        "sum of transposed": [a = matrix()] a.t().sum();
        "sum over images": [x = images()] x.sum_dim([0, 2, 3], false);
        "sum over channels": [x = images()] x.sum_dim(1, false);
        "mean over pixels": [x = images()] x.mean_dim([2, 3], false);
        "amax axis 0": [a = matrix()] a.amax(0, false);
        "amax axis 1": [a = matrix()] a.amax(1, false);
        "argmax axis 0": [a = matrix()] a.argmax(0, false);
        "argmax axis 1": [a = matrix()] a.argmax(1, false);
        "var axis 0": [a = matrix()] a.var_dim(0, 1, false);
        "var axis 1": [a = matrix()] a.var_dim(1, 1, false);
        "norm": [a = matrix()] a.norm();
        "logsumexp axis 1": [a = matrix()] a.logsumexp(1, false);
        "softmax axis 0": [a = matrix()] a.softmax(0);
        "softmax axis 1": [a = matrix()] a.softmax(1);
        "log_softmax axis 1": [a = matrix()] a.log_softmax(1);
        "softmax over channels": [x = images()] x.softmax(1);
        "cat axis 0": [a = matrix(), b = matrix()] cat(&[&a, &b], 0);
        "cat axis 1": [a = matrix(), b = matrix()] cat(&[&a, &b], 1);
        "stack axis 2": [a = matrix(), b = matrix()] stack(&[&a, &b], 2);
        "index_select axis 0": [a = matrix(), i = indices(&[1024], 1024)] a.index_select(0, &i);
        "index_select axis 1": [a = matrix(), i = indices(&[1024], 1024)] a.index_select(1, &i);
        "gather axis 0": [a = matrix(), i = indices(&[1024, 2048], 1024)] a.gather(0, &i);
        "gather axis 1": [a = matrix(), i = indices(&[1024, 2048], 2048)] a.gather(1, &i);
        "scatter_add axis 0": [a = matrix(), b = matrix(), i = indices(&[1024, 2048], 1024)] a.scatter_add(0, &i, &b);
        "scatter_add axis 1": [a = matrix(), b = matrix(), i = indices(&[1024, 2048], 2048)] a.scatter_add(1, &i, &b);
        "masked_fill": [a = matrix(), m = mask()] a.masked_fill(&m, 0.0);
        "where": [a = matrix(), b = matrix(), m = mask()] m.choose(&a, &b);
        "gt": [a = matrix(), b = matrix()] a.gt(&b);
        "logical_and": [m = mask(), n = mask()] m.logical_and(&n);
        "cast to i64": [a = matrix()] a.cast::<i64>();
        "cast of a mask": [m = mask()] m.cast::<f32>();
        "tril": [a = matrix()] a.tril(0);
        "abs": [a = matrix()] a.abs();
        "relu": [a = matrix()] a.relu();
        "leaky_relu": [a = matrix()] a.leaky_relu(0.1);
        "sqrt": [a = matrix().abs()] a.sqrt();
        "sigmoid": [a = matrix()] a.sigmoid();
        "silu": [a = matrix()] a.silu();
        "elu": [a = matrix()] a.elu(1.0);
        "softplus": [a = matrix()] a.softplus();
        "log": [a = matrix().abs()] a.log();
        "sin": [a = matrix()] a.sin();
        "erf": [a = matrix()] a.erf();
        "pow 3": [a = matrix()] a.powf(3.0);
        "div": [a = matrix(), b = matrix()] &a / &b;
        "mul by a scalar": [a = matrix()] a.mul_scalar(2.0);
        "add a row": [a = matrix(), b = Tensor::randn([2048])] &a + &b;
        "add a column": [a = matrix(), b = Tensor::randn([1024, 1])] &a + &b;
        "mul by channel": [x = images(), b = Tensor::randn([1, 64, 1, 1])] &x * &b;
        "copy every second column": [a = matrix()] a.slice(1, 0, 2048, 2).contiguous();
        "copy of 1000 columns": [a = matrix()] a.narrow(1, 3, 1000).contiguous();
        "permute 0, 2, 3, 1": [x = images()] x.permute(&[0, 2, 3, 1]).contiguous();
        "permute 1, 0, 2, 3": [x = images()] x.permute(&[1, 0, 2, 3]).contiguous();
        "zeros": [] Tensor::<f32>::zeros([1024, 2048]);
        "rand": [] Tensor::rand([1024, 2048]);
        "randn": [] Tensor::randn([1024, 2048]);
        "dropout": [a = matrix()] record(|| ops::dropout(&a, 0.5));
        "embedding": [w = Tensor::randn([50_000, 128]), i = indices(&[8192], 50_000)] ops::embedding(&w, &i);
        "matmul by a vector": [a = matrix(), b = Tensor::randn([2048])] a.matmul(&b);
        "matmul of 64, 128 x 64 x 128": [a = Tensor::randn([64, 128, 64]), b = Tensor::randn([64, 64, 128])] a.matmul(&b);
        "matmul of 8192, 8 x 8 x 8": [a = Tensor::randn([8192, 8, 8]), b = Tensor::randn([8192, 8, 8])] a.matmul(&b);
        "max_pool2d 2": [x = images()] ops::max_pool2d(&x, 2, Default::default());
        "max_pool2d 3, stride 2": [x = images()] ops::max_pool2d(&x, 3, halved());
        "max_pool2d 3, stride 2, backward": [
            x = images(),
            g = Tensor::randn([32, 64, 14, 14]),
            net = MaxPool2d::with(3, halved())
        ] step(&net, &x, &g);
        "avg_pool2d 2": [x = images()] ops::avg_pool2d(&x, 2, Default::default());
        "conv2d 1x1": [x = images(), w = Tensor::randn([128, 64, 1, 1])] ops::conv2d(&x, &w, None, Default::default());
        "conv2d 3x3, stride 2": [x = images(), w = Tensor::randn([128, 64, 3, 3])] {
            ops::conv2d(&x, &w, None, Conv2dOptions { stride: [2, 2], ..conv3(1) })
        };
        "conv2d 3x3, dilation 2": [x = images(), w = Tensor::randn([128, 64, 3, 3])] {
            ops::conv2d(&x, &w, None, Conv2dOptions { padding: [2, 2], dilation: [2, 2], ..Default::default() })
        };
        "conv2d 5x5": [x = images(), w = Tensor::randn([64, 64, 5, 5])] {
            ops::conv2d(&x, &w, None, Conv2dOptions { padding: [2, 2], ..Default::default() })
        };
        "conv2d 7x7, stride 2, 3 channels": [x = Tensor::randn([8, 3, 224, 224]), w = Tensor::randn([64, 3, 7, 7])] {
            ops::conv2d(&x, &w, None, Conv2dOptions { stride: [2, 2], padding: [3, 3], ..Default::default() })
        };
        "conv2d 3x3, 4 groups": [x = images(), w = Tensor::randn([64, 16, 3, 3])] ops::conv2d(&x, &w, None, conv3(4));
        "conv2d 3x3, depthwise": [x = images(), w = Tensor::randn([64, 1, 3, 3])] ops::conv2d(&x, &w, None, conv3(64));
        "conv1d 5": [x = Tensor::randn([32, 64, 512]), w = Tensor::randn([64, 64, 5])] {
            ops::conv1d(&x, &w, None, Conv1dOptions { padding: 2, ..Default::default() })
        };
        "conv_transpose2d 4x4, stride 2": [x = images(), w = Tensor::randn([64, 32, 4, 4])] {
            let options = ConvTranspose2dOptions { stride: [2, 2], padding: [1, 1], ..Default::default() };
            ops::conv_transpose2d(&x, &w, None, options)
        };
        "group_norm 8": [x = images(), net = GroupNorm::new(8, 64)] net.forward(&x);
        "group_norm 8, backward": [x = images(), g = images(), net = GroupNorm::new(8, 64)] step(&net, &x, &g);
        "batch_norm, backward": [x = images(), g = images(), net = BatchNorm2d::new(64)] step(&net, &x, &g);
        "conv2d 3x3, depthwise, backward": [x = images(), g = images(), net = Conv2d::with(64, 64, 3, conv3(64))] {
            step(&net, &x, &g)
        };
    }
}
