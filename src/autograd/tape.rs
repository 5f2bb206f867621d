//! Tape entries.

use super::any::Any;
use super::gradients::IdMap;
use super::is_recording;
use super::rows::Rows;
use crate::element::Float;
use crate::shape::{Label, ensure};
use crate::tensor::Tensor;
use std::cell::RefCell;
use std::collections::hash_map;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// A handle on one entry of the tape: on a leaf, or on the operation that made a tensor.
pub(crate) struct Entry(ManuallyDrop<AnyNode>);

type AnyNode = Arc<Node<dyn Rule>>;

struct Node<R: ?Sized> {
    head: Head,
    rule: R,
}

/// What every entry knows. Apart from the rule, so that it is not compiled once for each.
struct Head {
    id: u64,
    op: &'static str,
    place: &'static Location<'static>,
    layer: Option<Label>,
}

impl Head {
    #[track_caller]
    fn new(op: &'static str) -> Head {
        LIVE.fetch_add(1, Ordering::Relaxed);
        let (id, place) = (NEXT_ID.fetch_add(1, Ordering::Relaxed), Location::caller());
        Head { id, op, place, layer: crate::shape::current_layer() }
    }
}

/// How an entry turns the gradient of its output into those of its inputs.
pub(crate) trait Rule: Send + Sync {
    /// The entries of the inputs; `None` for one that is not tracked.
    fn inputs(&self) -> &[Option<Entry>];
    /// Calls `give(i, gradient)` for every tracked input that has one, at least for those that are wanted.
    fn pull(&self, grad: Any, this: &Entry, wanted: &Wanted, give: &mut dyn FnMut(usize, Any));
    fn is_leaf(&self) -> bool {
        false
    }
}

/// The entries whose gradients a walk is after: all, or those that lead to some ends.
pub(crate) struct Wanted(Option<IdMap<()>>);

impl Wanted {
    pub const ALL: Wanted = Wanted(None);

    /// What lies between the root and the entries with these numbers, both included.
    pub fn between(root: &Entry, ends: &[u64]) -> Wanted {
        let (mut seen, mut waiting) = (IdMap::default(), vec![root.clone()]);
        while let Some(entry) = waiting.pop() {
            if let hash_map::Entry::Vacant(place) = seen.entry(entry.id()) {
                if !ends.contains(&entry.id()) {
                    waiting.extend(entry.rule().inputs().iter().flatten().cloned());
                }
                place.insert(entry);
            }
        }
        // In rising order of their numbers, inputs come before what was computed from them.
        let mut numbers: Vec<u64> = seen.keys().copied().collect();
        numbers.sort_unstable();
        let mut wanted = IdMap::default();
        for id in numbers {
            let leads = |input: &Entry| wanted.contains_key(&input.id());
            if ends.contains(&id) || seen[&id].rule().inputs().iter().flatten().any(leads) {
                wanted.insert(id, ());
            }
        }
        Wanted(Some(wanted))
    }

    pub fn contains(&self, entry: &Entry) -> bool {
        self.0.as_ref().is_none_or(|wanted| wanted.contains_key(&entry.id()))
    }
}

static NEXT_ID: AtomicU64 = AtomicU64::new(0);
static LIVE: AtomicUsize = AtomicUsize::new(0);

/// How many tape entries exist in the process, leaves (parameters and tracked tensors) included. For leak tests.
pub fn live_entries() -> usize {
    LIVE.load(Ordering::Relaxed)
}

/// The names of the operations that a tensor was computed by, each once. For the test that every operation is checked.
#[doc(hidden)]
pub fn recorded_ops<T: Float>(x: &Tensor<T>) -> Vec<&'static str> {
    let mut waiting: Vec<Entry> = x.entry.iter().cloned().collect();
    let mut seen = std::collections::BTreeSet::new();
    let mut names = std::collections::BTreeSet::new();
    while let Some(entry) = waiting.pop() {
        if seen.insert(entry.id()) {
            names.insert(entry.op());
            waiting.extend(entry.rule().inputs().iter().flatten().cloned());
        }
    }
    names.into_iter().collect()
}

impl Drop for Head {
    fn drop(&mut self) {
        LIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Entry {
    #[track_caller]
    #[inline]
    fn new(op: &'static str, rule: impl Rule + 'static) -> Entry {
        Entry(ManuallyDrop::new(Arc::new(Node { head: Head::new(op), rule })))
    }

    /// An entry without inputs, at which gradients are collected.
    #[track_caller]
    pub fn leaf() -> Entry {
        Entry::new("leaf", Leaf)
    }

    #[inline]
    pub fn id(&self) -> u64 {
        self.0.head.id
    }

    pub fn op(&self) -> &'static str {
        self.0.head.op
    }

    pub fn rule(&self) -> &dyn Rule {
        &self.0.rule
    }

    /// `matmul at src/main.rs:12:5 in fc1`.
    pub fn describe(&self) -> String {
        let layer = self.0.head.layer.as_ref().map_or(String::new(), |layer| format!(" in {layer}"));
        format!("{} at {}{layer}", self.0.head.op, self.0.head.place)
    }
}

impl Clone for Entry {
    #[inline]
    fn clone(&self) -> Entry {
        Entry(self.0.clone())
    }
}

thread_local! {
    /// Entries that lost their last handle while another one is being freed.
    static FREEING: RefCell<Option<Vec<AnyNode>>> = const { RefCell::new(None) };
}

impl Drop for Entry {
    /// Frees long chains by a loop: an entry whose last handle goes while another entry is being freed is put on a list,
    /// so the depth of the stack does not grow with the length of the tape.
    #[allow(unsafe_code, reason = "moves the handle out of a value that is being dropped")]
    fn drop(&mut self) {
        // SAFETY: `drop` runs once, and the field is not used after it.
        let arc = unsafe { ManuallyDrop::take(&mut self.0) };
        if Arc::strong_count(&arc) > 1 {
            return;
        }
        let mut arc = Some(arc);
        let outermost = FREEING.try_with(|freeing| {
            let mut freeing = freeing.borrow_mut();
            match &mut *freeing {
                Some(list) => {
                    list.extend(arc.take());
                    false
                }
                None => {
                    *freeing = Some(Vec::new());
                    true
                }
            }
        });
        drop(arc);
        if outermost == Ok(true) {
            while let Some(next) = FREEING.with_borrow_mut(|list| list.as_mut().and_then(Vec::pop)) {
                drop(next);
            }
            FREEING.set(None);
        }
    }
}

struct Leaf;

impl Rule for Leaf {
    fn inputs(&self) -> &[Option<Entry>] {
        &[]
    }
    fn pull(&self, _grad: Any, _this: &Entry, _wanted: &Wanted, _give: &mut dyn FnMut(usize, Any)) {
        unreachable!("the walk ends at leaves")
    }
    fn is_leaf(&self) -> bool {
        true
    }
}

/// What a rule is given: the gradient of the output, and which inputs want theirs.
pub(crate) struct Pull<'a, T: Float> {
    /// The gradient of the output.
    pub grad: Tensor<T>,
    inputs: &'a [Option<Entry>],
    this: &'a Entry,
    wanted: &'a Wanted,
}

impl<'a, T: Float> Pull<'a, T> {
    fn new(grad: Any, inputs: &'a [Option<Entry>], this: &'a Entry, wanted: &'a Wanted) -> Self {
        Pull { grad: grad.get().expect("the gradient has the output's element type"), inputs, this, wanted }
    }

    /// Whether the gradient of input `i` is of use.
    pub fn needs(&self, i: usize) -> bool {
        self.inputs[i].as_ref().is_some_and(|input| self.wanted.contains(input))
    }

    /// [`Pull::needs`] of the first `N` inputs.
    pub fn all_needs<const N: usize>(&self) -> [bool; N] {
        std::array::from_fn(|i| self.needs(i))
    }

    /// `gradient(grad, kept)` from what was kept for it, when it is of use to input `i`.
    pub fn when_kept<K>(
        &self,
        i: usize,
        kept: &Option<K>,
        gradient: impl FnOnce(&Tensor<T>, &K) -> Tensor<T>,
    ) -> Option<Tensor<T>> {
        kept.as_ref().filter(|_| self.needs(i)).map(|kept| gradient(&self.grad, kept))
    }

    /// `gradient(grad)` when it is of use to input `i`.
    pub fn when<S: Float>(&self, i: usize, gradient: impl FnOnce(&Tensor<T>) -> Tensor<S>) -> Option<Tensor<S>> {
        self.needs(i).then(|| gradient(&self.grad))
    }

    /// Refuses to go on under `backward_graph`: for a rule whose gradients cannot be differentiated again.
    pub fn first_order_only(&self) {
        ensure(!is_recording(), || format!("backward_graph: {} has no second-order rule", self.this.describe()));
    }

    /// A saved output with its entry put back. (Kept with it, output and entry would hold each other for ever.)
    pub fn attach(&self, output: &Tensor<T>) -> Tensor<T> {
        Tensor { entry: Some(self.this.clone()), ..output.detached() }
    }
}

struct Op<T, S, I, F> {
    inputs: I,
    rule: F,
    types: PhantomData<fn(T) -> S>,
}

impl<T, S, I, G, F> Rule for Op<T, S, I, F>
where
    T: Float,
    S: Float,
    I: AsRef<[Option<Entry>]> + Send + Sync,
    G: AsMut<[Option<Tensor<S>>]>,
    F: Fn(Pull<T>) -> G + Send + Sync,
{
    fn inputs(&self) -> &[Option<Entry>] {
        self.inputs.as_ref()
    }

    fn pull(&self, grad: Any, this: &Entry, wanted: &Wanted, give: &mut dyn FnMut(usize, Any)) {
        let pull = Pull::new(grad, self.inputs.as_ref(), this, wanted);
        give_all(self.inputs.as_ref(), (self.rule)(pull).as_mut(), give);
    }
}

fn give_all<S: Float>(inputs: &[Option<Entry>], grads: &mut [Option<Tensor<S>>], give: &mut dyn FnMut(usize, Any)) {
    for (i, grad) in grads.iter_mut().enumerate() {
        if let Some(grad) = grad.take()
            && inputs[i].is_some()
        {
            give(i, Any::of(grad));
        }
    }
}

/// A gradient as a rule gives it.
pub(crate) enum Gradient<T: Float> {
    Whole(Tensor<T>),
    Rows(Rows<T>),
}

struct LookUp<T, F> {
    inputs: [Option<Entry>; 1],
    rule: F,
    types: PhantomData<fn(T)>,
}

impl<T: Float, F: Fn(Pull<T>, bool) -> Gradient<T> + Send + Sync> Rule for LookUp<T, F> {
    fn inputs(&self) -> &[Option<Entry>] {
        &self.inputs
    }

    fn pull(&self, grad: Any, this: &Entry, wanted: &Wanted, give: &mut dyn FnMut(usize, Any)) {
        let is_leaf = self.inputs[0].as_ref().is_some_and(|input| input.rule().is_leaf());
        match (self.rule)(Pull::new(grad, &self.inputs, this, wanted), is_leaf && !is_recording()) {
            Gradient::Whole(x) => give(0, Any::of(x)),
            Gradient::Rows(rows) => give(0, Any::of_rows(rows)),
        }
    }
}

/// [`record_op`] for one input, a table, whose rule also gets whether its gradient may be rows.
#[track_caller]
pub(crate) fn record_rows<T: Float, F>(
    op: &'static str,
    output: Tensor<T>,
    table: &Tensor<T>,
    rule: impl FnOnce() -> F,
) -> Tensor<T>
where
    F: Fn(Pull<T>, bool) -> Gradient<T> + Send + Sync + 'static,
{
    if !is_tracked(&[table]) {
        return output;
    }
    let inputs = entries([table]);
    output.with_entry(Entry::new(op, LookUp { inputs, rule: rule(), types: PhantomData }))
}

/// Whether a result computed from these now would be recorded.
#[inline]
pub(crate) fn is_tracked<T: Float>(inputs: &[&Tensor<T>]) -> bool {
    is_recording() && inputs.iter().any(|x| x.entry.is_some())
}

/// Puts an operation on the tape, if recording is on and an input is tracked. `rule` is only called then; it returns the
/// closure that is kept, which holds what the gradients need and gives one for each input.
#[inline]
#[track_caller]
pub(crate) fn record_op<T: Float, const N: usize, F>(
    op: &'static str,
    output: Tensor<T>,
    inputs: [&Tensor<T>; N],
    rule: impl FnOnce() -> F,
) -> Tensor<T>
where
    F: Fn(Pull<T>) -> [Option<Tensor<T>>; N] + Send + Sync + 'static,
{
    if !is_tracked(&inputs) {
        return output;
    }
    let entry = Entry::new(op, Op { inputs: entries(inputs), rule: rule(), types: PhantomData });
    output.with_entry(entry)
}

fn entries<T: Float, const N: usize>(inputs: [&Tensor<T>; N]) -> [Option<Entry>; N] {
    inputs.map(|x| x.entry.clone())
}

/// [`record_op`] for a number of inputs that is known only at run time.
#[track_caller]
pub(crate) fn record_many<T: Float, F>(
    op: &'static str,
    output: Tensor<T>,
    inputs: &[&Tensor<T>],
    rule: impl FnOnce() -> F,
) -> Tensor<T>
where
    F: Fn(Pull<T>) -> Vec<Option<Tensor<T>>> + Send + Sync + 'static,
{
    if !is_tracked(inputs) {
        return output;
    }
    let inputs: Vec<_> = inputs.iter().map(|x| x.entry.clone()).collect();
    output.with_entry(Entry::new(op, Op { inputs, rule: rule(), types: PhantomData }))
}

/// [`record_op`] for one input of another float type.
#[track_caller]
pub(crate) fn record_as<S: Float, T: Float, F>(
    op: &'static str,
    output: Tensor<T>,
    input: &Tensor<S>,
    rule: impl FnOnce() -> F,
) -> Tensor<T>
where
    F: Fn(Pull<T>) -> [Option<Tensor<S>>; 1] + Send + Sync + 'static,
{
    if !is_tracked(&[input]) {
        return output;
    }
    let inputs = [input.entry.clone()];
    output.with_entry(Entry::new(op, Op { inputs, rule: rule(), types: PhantomData }))
}

impl<T: Float> Tensor<T> {
    fn with_entry(self, entry: Entry) -> Tensor<T> {
        Tensor { entry: Some(entry), ..self }
    }

    /// The same values as a leaf of the tape: what is computed from it under [`record`](crate::record) is recorded, and
    /// [`Gradients`](crate::Gradients) holds its gradient.
    #[track_caller]
    pub fn tracked(&self) -> Tensor<T> {
        Tensor { entry: Some(Entry::leaf()), ..self.detached() }
    }

    /// The same values, cut off from the tape: a constant to whatever is computed from it.
    pub fn detach(&self) -> Tensor<T> {
        self.detached()
    }

    /// Whether operations on this tensor are recorded.
    pub fn is_tracked(&self) -> bool {
        self.entry.is_some()
    }
}
