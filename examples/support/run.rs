//! Runs that can be stopped by Ctrl-C, and go on with the same bits.

use crate::Options;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use wengert::io::Checkpoint;
use wengert::nn::Module;
use wengert::optim::Optimizer;
use wengert::{Error, set_thread_rng, thread_rng};

static STOPPED: AtomicBool = AtomicBool::new(false);

/// Has Ctrl-C remembered instead of ending the program. The second time there is no waiting.
pub fn watch_for_stop() {
    let stop = || {
        if STOPPED.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    };
    ctrlc::set_handler(stop).expect("no other handler of Ctrl-C");
}

/// Whether Ctrl-C was pressed.
pub fn is_stopped() -> bool {
    STOPPED.load(Ordering::Relaxed)
}

/// Says how to go on with a run that is kept in a file.
pub fn say_how_to_go_on(file: &Path) {
    println!("To go on, with the same options: --resume {}", file.display());
}

/// Finds that a run was begun with the same options; both in words.
pub fn same_recipe(file: &Path, saved: &Checkpoint, recipe: &str) -> Result<(), Error> {
    let found: String = saved.value("recipe")?;
    if found == recipe { Ok(()) } else { Err(Error::malformed(file, None, format!("a run with {recipe}"), found)) }
}

/// How far the training of one network by one optimizer has come.
pub struct Run {
    recipe: String,
    pub epoch: u64,
    /// Batches of this epoch that are done.
    pub batch: usize,
    /// Of all steps.
    pub losses: Vec<f32>,
}

impl Run {
    /// A run with these options and others of its own, in words.
    pub fn new(options: &Options, more: &str) -> Run {
        let &Options { lr, seed, batch_size, epochs, smoke, .. } = options;
        let mnist = options.data.is_some();
        let recipe = format!(
            "{more}, epochs {epochs}, batch-size {batch_size}, lr {lr}, seed {seed}, data {mnist}, smoke {smoke}"
        );
        Run { recipe, epoch: 0, batch: 0, losses: Vec::new() }
    }

    /// After a step.
    pub fn step(&mut self, loss: f32) {
        self.losses.push(loss);
        self.batch += 1;
    }

    /// After the last step of an epoch.
    pub fn end_epoch(&mut self) {
        (self.epoch, self.batch) = (self.epoch + 1, 0);
    }

    pub fn save(&self, file: &Path, net: &impl Module, optimizer: &impl Optimizer) -> Result<(), Error> {
        let losses = wengert::Tensor::from_slice(&self.losses, [self.losses.len()]);
        Checkpoint::new()
            .with_model("net", net)
            .with_optimizer("optimizer", optimizer)
            .with_rng("rng", &thread_rng())
            .with_tensor("losses", &losses)
            .with_value("epoch", self.epoch)
            .with_value("batch", self.batch)
            .with_value("recipe", &self.recipe)
            .save(file)
    }

    /// Goes on from what [`Run::save`] wrote.
    pub fn resume(&mut self, file: &Path, net: &mut impl Module, optimizer: &mut impl Optimizer) -> Result<(), Error> {
        let saved = Checkpoint::load(file)?;
        same_recipe(file, &saved, &self.recipe)?;
        saved.restore_model("net", net)?;
        saved.restore_optimizer("optimizer", optimizer)?;
        set_thread_rng(saved.rng("rng")?);
        self.losses = saved.tensor("losses")?.to_vec();
        (self.epoch, self.batch) = (saved.value("epoch")?, saved.value("batch")?);
        println!("resumed after {} epochs and {} batches", self.epoch, self.batch);
        Ok(())
    }

    /// Keeps a run that was stopped, and says how to go on.
    pub fn stop(&self, file: &Path, net: &impl Module, optimizer: &impl Optimizer) -> Result<(), Error> {
        self.save(file, net, optimizer)?;
        println!("stopped in epoch {} after batch {}", self.epoch + 1, self.batch);
        say_how_to_go_on(file);
        Ok(())
    }
}
