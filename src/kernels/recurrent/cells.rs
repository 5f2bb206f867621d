//! The cells' non-linearities and their derivatives: one step of one sequence, a row of hidden units.

use crate::element::Float;
use crate::kernels::simd::simd;

simd! {
    /// `x = tanh x` or `max(x, 0)`.
    pub(super) fn plain<FUSED>[T: Float](gates: &mut [T], h: &mut [T], relu: bool) {
        if relu {
            gates.iter_mut().for_each(|x| *x = x.relu());
        } else {
            gates.iter_mut().for_each(|x| *x = x.tanh_as::<FUSED>());
        }
        h.copy_from_slice(gates);
    }

    /// `dx` from `dh` and the output.
    pub(super) fn plain_back[T: Float](gates: &[T], dh: &[T], d: &mut [T], relu: bool) {
        if relu {
            for ((d, &y), &dh) in d.iter_mut().zip(gates).zip(dh) {
                *d = dh * y.heaviside();
            }
        } else {
            for ((d, &y), &dh) in d.iter_mut().zip(gates).zip(dh) {
                *d = dh * (T::ONE - y * y);
            }
        }
    }

    /// `gates` holds the sums for i, f, g, o and then their values; `c = f c' + i g`, `h = o tanh c`.
    pub(super) fn lstm<FUSED>[T: Float](gates: &mut [T], c_before: &[T], c: &mut [T], h: &mut [T]) {
        let n = h.len();
        gates[..2 * n].iter_mut().for_each(|x| *x = x.sigmoid_as::<FUSED>());
        gates[2 * n..3 * n].iter_mut().for_each(|x| *x = x.tanh_as::<FUSED>());
        gates[3 * n..].iter_mut().for_each(|x| *x = x.sigmoid_as::<FUSED>());
        let (i, f, g, o) = (&gates[..n], &gates[n..2 * n], &gates[2 * n..3 * n], &gates[3 * n..4 * n]);
        let (c, c_before) = (&mut c[..n], &c_before[..n]);
        for j in 0..n {
            let value = f[j] * c_before[j] + i[j] * g[j];
            c[j] = value;
            h[j] = o[j] * value.tanh_as::<FUSED>();
        }
    }

    /// The gradients of the four sums from `dh` and `dc`, which becomes that of the cell state before.
    pub(super) fn lstm_back<FUSED>[T: Float](
        gates: &[T], c_before: &[T], c: &[T], dh: &[T], dc: &mut [T], di: &mut [T], df: &mut [T], dg: &mut [T], do_: &mut [T],
    ) {
        let n = c.len();
        let (i, f, g, o) = (&gates[..n], &gates[n..2 * n], &gates[2 * n..3 * n], &gates[3 * n..4 * n]);
        let (c_before, dh, dc) = (&c_before[..n], &dh[..n], &mut dc[..n]);
        let (di, df, dg, do_) = (&mut di[..n], &mut df[..n], &mut dg[..n], &mut do_[..n]);
        for j in 0..n {
            let t = c[j].tanh_as::<FUSED>();
            let d = dc[j] + dh[j] * o[j] * (T::ONE - t * t);
            do_[j] = dh[j] * t * (o[j] * (T::ONE - o[j]));
            di[j] = d * g[j] * (i[j] * (T::ONE - i[j]));
            df[j] = d * c_before[j] * (f[j] * (T::ONE - f[j]));
            dg[j] = d * i[j] * (T::ONE - g[j] * g[j]);
            dc[j] = d * f[j];
        }
    }

    /// `h = o tanh c`, again.
    pub(super) fn lstm_output<FUSED>[T: Float](o: &[T], c: &[T], h: &mut [T]) {
        for ((h, &o), &c) in h.iter_mut().zip(o).zip(c) {
            *h = o * c.tanh_as::<FUSED>();
        }
    }

    /// `gates` holds q and the sums for r, z, n; q gets its bias, the others their values:
    /// `n = tanh(n + r q)`, `h = (1 - z) n + z h'`.
    pub(super) fn gru<FUSED>[T: Float](gates: &mut [T], q_bias: &[T], h_before: &[T], h: &mut [T]) {
        let k = h.len();
        gates[..k].iter_mut().zip(q_bias).for_each(|(q, &b)| *q += b);
        gates[k..3 * k].iter_mut().for_each(|x| *x = x.sigmoid_as::<FUSED>());
        let (others, n) = gates.split_at_mut(3 * k);
        let (q, r, z) = (&others[..k], &others[k..2 * k], &others[2 * k..3 * k]);
        for ((n, &r), &q) in n.iter_mut().zip(r).zip(q) {
            *n = (*n + r * q).tanh_as::<FUSED>();
        }
        for (((h, &n), &z), &before) in h.iter_mut().zip(&*n).zip(z).zip(h_before) {
            *h = n + z * (before - n);
        }
    }

    /// The gradients of q and of the sums for r, z, n from `dh`, which becomes the part of the state before that passed z.
    pub(super) fn gru_back[T: Float](
        gates: &[T], h_before: &[T], dh: &mut [T], dq: &mut [T], dr: &mut [T], dz: &mut [T], dn: &mut [T],
    ) {
        let k = dh.len();
        let (q, r, z, n) = (&gates[..k], &gates[k..2 * k], &gates[2 * k..3 * k], &gates[3 * k..4 * k]);
        let h_before = &h_before[..k];
        let (dq, dr, dz, dn) = (&mut dq[..k], &mut dr[..k], &mut dz[..k], &mut dn[..k]);
        for j in 0..k {
            let d = dh[j] * (T::ONE - z[j]) * (T::ONE - n[j] * n[j]);
            dz[j] = dh[j] * (h_before[j] - n[j]) * (z[j] * (T::ONE - z[j]));
            dq[j] = d * r[j];
            dr[j] = d * q[j] * (r[j] * (T::ONE - r[j]));
            dn[j] = d;
            dh[j] = dh[j] * z[j];
        }
    }
}
