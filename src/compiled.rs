//! The list of what is compiled in this crate, so that those who use it need not.
//!
//! A generic function is compiled again in every crate that calls it, but not one that is `#[inline(never)]` and that the
//! library has compiled for the same types: that one is linked. So what has loops or rules below it is marked so, and stands
//! here, because a library compiles a generic function only where something asks for it. Neither changes what a function
//! does; without them a user's crate takes longer to compile.

use crate::element::Float;
use crate::kernels;
use crate::loss;
#[cfg(debug_assertions)]
use crate::nn::distribution;
use crate::ops;
use crate::tensor::Tensor;
use std::ops::{Add, Div, Mul, Neg, Sub};

macro_rules! methods {
    ($T:ident: $($name:ident)+) => { [$(Tensor::<$T>::$name as *const ()),+] };
}

macro_rules! operators {
    ($T:ident: $($Trait:ident $method:ident)+) => {
        [$(
            <Tensor<$T> as $Trait<&Tensor<$T>>>::$method as *const (),
            <&Tensor<$T> as $Trait<$T>>::$method as *const (),
            <Tensor<$T> as $Trait<$T>>::$method as *const (),
        )+]
    };
}

fn floats<T: Float>() -> Vec<*const ()> {
    let mut all = vec![
        ops::avg_pool2d_of::<T> as *const (),
        ops::batch_norm::<T> as *const (),
        ops::batch_norm_with::<T> as *const (),
        ops::cat::<T> as *const (),
        ops::conv1d::<T> as *const (),
        ops::conv2d::<T> as *const (),
        ops::conv2d_grad_input::<T> as *const (),
        ops::conv2d_grad_weight::<T> as *const (),
        ops::conv2d_max_pool2d::<T> as *const (),
        ops::conv2d_relu::<T> as *const (),
        ops::conv_transpose1d::<T> as *const (),
        ops::conv_transpose2d::<T> as *const (),
        ops::dropout::<T> as *const (),
        ops::embedding_padded::<T> as *const (),
        ops::group_norm::<T> as *const (),
        ops::instance_norm::<T> as *const (),
        ops::layer_norm_over::<T> as *const (),
        ops::linear::<T> as *const (),
        ops::linear_relu::<T> as *const (),
        ops::max_pool2d_of::<T> as *const (),
        ops::recurrent::<T> as *const (),
        ops::scaled_dot_product_attention::<T> as *const (),
        ops::self_attention::<T> as *const (),
        ops::softmax_cross_entropy::<T> as *const (),
        ops::stack::<T> as *const (),
        loss::binary_cross_entropy_with_logits_with::<T> as *const (),
        loss::cross_entropy_with::<T> as *const (),
        loss::mse_loss_with::<T> as *const (),
        kernels::optim::adam::<T> as *const (),
        kernels::optim::sgd::<T> as *const (),
        <Tensor<T> as Neg>::neg as *const (),
        Tensor::<bool>::choose::<T> as *const (),
        Tensor::<bool>::cast::<T> as *const (),
        Tensor::<i64>::cast::<T> as *const (),
        Tensor::<u8>::cast::<T> as *const (),
        Tensor::<T>::cast::<f32> as *const (),
        Tensor::<T>::cast::<i64> as *const (),
    ];
    all.extend(methods!(T:
        packed make_mut to_vec item get backward backward_with backward_graph_with backward_graph_only
        add sub mul div neg add_scalar mul_scalar
        sum_over sum_to_shape argmax argmin amax_over amin_over mean_over prod_over var_over
        eq eq_scalar ne ne_scalar lt lt_scalar le le_scalar gt gt_scalar ge ge_scalar masked_fill
        index_select gather scatter_add
        reshape_to flatten contiguous permute transpose squeeze unsqueeze expand_to
        slice_counted narrow slice select split
        matmul softmax log_softmax logsumexp_over));
    all.extend(operators!(T: Add add Sub sub Mul mul Div div));
    all.extend(ops::unary::compiled::<T>());
    all.extend(ops::binary::compiled::<T>());
    all
}

/// What few programs use.
#[cfg(debug_assertions)]
fn rare<T: Float>() -> Vec<*const ()> {
    let mut all = vec![
        ops::conv3d::<T> as *const (),
        ops::conv_transpose3d::<T> as *const (),
        ops::crf_decode::<T> as *const (),
        ops::crf_log_likelihood::<T> as *const (),
        ops::fold_depth::<T> as *const (),
        ops::log_standard_gamma::<T> as *const (),
        ops::log_standard_gamma_from::<T> as *const (),
        ops::minibatch_stddev::<T> as *const (),
        ops::power_iteration::<T> as *const (),
        ops::spectral_norm::<T> as *const (),
        ops::unfold_depth::<T> as *const (),
        ops::weight_norm::<T> as *const (),
        loss::ctc_loss_with::<T> as *const (),
        distribution::expect::<T> as *const (),
        distribution::noise::<T> as *const (),
        Tensor::<T>::cast::<f64> as *const (),
    ];
    all.extend(methods!(T: triangle cholesky_of solve_triangular));
    all
}

/// Labels: `i64`.
fn labels() -> Vec<*const ()> {
    let mut all = vec![Tensor::<i64>::cast::<u8> as *const (), Tensor::<u8>::cast::<i64> as *const ()];
    all.extend(methods!(i64:
        packed to_vec item get eq eq_scalar ne_scalar reshape_to permute squeeze unsqueeze slice_counted narrow select));
    all.extend(methods!(u8: packed to_vec item));
    all.extend(methods!(bool: packed to_vec item));
    all
}

/// `f64`, the type of gradient checks, and what few programs use only where debug assertions are on, for tests: most users'
/// release builds would wait for them in vain, and the others compile them in their own crate.
#[inline(never)]
pub fn compiled() -> Vec<*const ()> {
    let all = [floats::<f32>(), labels()].concat();
    #[cfg(debug_assertions)]
    let all = [all, floats::<f64>(), rare::<f32>(), rare::<f64>()].concat();
    all
}
