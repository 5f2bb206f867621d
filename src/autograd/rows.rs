//! A gradient of a table of which only some rows are not zero.

use crate::element::Float;
use crate::kernels::embedding::scatter_rows;
use crate::tensor::Tensor;
use std::sync::Arc;

/// The gradient of a table `[num, dim]`: its rows that may differ from 0.
#[derive(Clone)]
pub(crate) struct Rows<T: Float> {
    table: [usize; 2],
    /// Distinct, in rising order.
    places: Arc<[usize]>,
    /// `[places, dim]`.
    values: Tensor<T>,
}

impl<T: Float> Rows<T> {
    /// Row `places[i]` of the table has the gradient `values[i]`; those of one row are added in their order. The row `zero` has
    /// none.
    pub fn sum(table: [usize; 2], places: &[usize], values: &[T], zero: Option<usize>) -> Rows<T> {
        let mut distinct = places.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        let find = |place| distinct.binary_search(place).expect("one of them");
        let rows: Vec<usize> = places.iter().map(find).collect();
        let zero = zero.and_then(|zero| distinct.binary_search(&zero).ok());
        let values =
            Tensor::build([distinct.len(), table[1]], |sums| scatter_rows(values, table[1], &rows, zero, sums));
        Rows { table, places: distinct.into(), values }
    }

    pub fn shape(&self) -> &[usize] {
        &self.table
    }

    pub fn places(&self) -> &[usize] {
        &self.places
    }

    pub fn values(&self) -> &Tensor<T> {
        &self.values
    }

    /// The same places with other values.
    pub fn with_values(self, values: Tensor<T>) -> Rows<T> {
        Rows { values, ..self }
    }

    /// The whole table.
    pub fn whole(&self) -> Tensor<T> {
        Tensor::build(self.table, |table| {
            scatter_rows(self.values.elements(), self.table[1], &self.places, None, table);
        })
    }

    pub fn plus(&self, other: &Rows<T>) -> Rows<T> {
        let places = [&*self.places, &*other.places].concat();
        let values = [self.values.elements(), other.values.elements()].concat();
        Rows::sum(self.table, &places, &values, None)
    }
}
