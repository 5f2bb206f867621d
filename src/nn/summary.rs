//! The table of a model's layers, and the scope that every layer runs in.

use super::param::{Name, Param};
use crate::element::Float;
use crate::shape::{Label, Scope, Shape, current_layer};
use crate::tensor::Tensor;
use std::cell::RefCell;
use std::fmt;

thread_local! {
    /// The rows seen so far, while a summary is made.
    static ROWS: RefCell<Option<Vec<Row>>> = const { RefCell::new(None) };
}

/// One run of one layer.
#[derive(Clone, Debug)]
pub struct Row {
    /// The dotted name in the model; empty for a layer without one.
    pub name: String,
    /// The kind of layer.
    pub kind: &'static str,
    /// The output's shape.
    pub output: Shape,
    /// How many numbers the layer trains.
    pub parameters: usize,
    /// Floating-point operations of one forward pass; a multiplication with an addition counts as two.
    pub flops: u64,
}

/// The table that [`Layer::summary`](super::Layer::summary) makes; print it with `{}`.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The layers in the order in which they ran.
    pub rows: Vec<Row>,
    /// All parameters of the model.
    pub parameters: usize,
    /// Those of them that are not frozen.
    pub trainable: usize,
}

impl Summary {
    /// Floating-point operations of one forward pass.
    pub fn flops(&self) -> u64 {
        self.rows.iter().map(|row| row.flops).sum()
    }
}

/// A layer at work: errors name it, and a summary that is being made gets its row.
pub(super) struct Call {
    kind: &'static str,
    _scope: Scope,
}

impl Call {
    /// Enters a layer of a kind, with its name where it has one.
    #[inline]
    pub fn enter(kind: &'static str, name: Option<&Name>) -> Call {
        let label = match name.and_then(Name::get) {
            Some(name) => Label::Name(name.clone()),
            None => Label::Kind(kind),
        };
        Call { kind, _scope: Scope::enter(label) }
    }

    /// Leaves the layer with its output; `cost` gives the parameters and the floating-point operations.
    #[inline]
    pub fn leave<T: Float>(self, y: Tensor<T>, cost: impl FnOnce(&Tensor<T>) -> (usize, u64)) -> Tensor<T> {
        ROWS.with_borrow_mut(|rows| {
            if let Some(rows) = rows {
                let (parameters, flops) = cost(&y);
                let name = match current_layer() {
                    Some(Label::Name(name)) => name.to_string(),
                    _ => String::new(),
                };
                rows.push(Row { name, kind: self.kind, output: y.dims(), parameters, flops });
            }
        });
        y
    }
}

/// The parameters of a layer with a weight and perhaps a bias, and its operations: `numbers`, of its input or output, each meet
/// all weights of their channel, which is the weight's first dimension.
pub(super) fn cost_of_weight<T: Float>(weight: &Tensor<T>, bias: Option<&Param<T>>, numbers: usize) -> (usize, u64) {
    let all = weight.numel();
    (all + bias.map_or(0, |bias| bias.numel()), (2 * numbers * (all / weight.size(0).max(1))) as u64)
}

/// Whether a summary is being made.
pub(super) fn is_tracing() -> bool {
    ROWS.with_borrow(Option::is_some)
}

/// Runs a model and collects the rows of its layers.
pub(super) fn trace(parameters: Vec<(usize, bool)>, run: impl FnOnce()) -> Summary {
    let outer = ROWS.replace(Some(Vec::new()));
    run();
    let rows = ROWS.replace(outer).unwrap_or_default();
    Summary {
        rows,
        parameters: parameters.iter().map(|(count, _)| count).sum(),
        trainable: parameters.iter().filter(|(_, trainable)| *trainable).map(|(count, _)| count).sum(),
    }
}

/// A number with a comma before every third digit.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let head = ["layer", "output shape", "parameters", "FLOPs"].map(String::from);
        let rows = self.rows.iter().map(|row| {
            let layer = if row.name.is_empty() { row.kind.into() } else { format!("{} ({})", row.name, row.kind) };
            [layer, row.output.to_string(), grouped(row.parameters as u64), grouped(row.flops)]
        });
        let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: [usize; 4] = std::array::from_fn(width);
        let line = "-".repeat(widths.iter().sum::<usize>() + 6);
        for (i, [layer, output, parameters, flops]) in rows.iter().enumerate() {
            let [a, b, c, d] = widths;
            writeln!(f, "{layer:<a$}  {output:<b$}  {parameters:>c$}  {flops:>d$}")?;
            if i == 0 {
                writeln!(f, "{line}")?;
            }
        }
        writeln!(f, "{line}")?;
        write!(
            f,
            "parameters: {} ({} trainable)  FLOPs: {}",
            grouped(self.parameters as u64),
            grouped(self.trainable as u64),
            grouped(self.flops())
        )
    }
}
