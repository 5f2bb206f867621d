//! Runs that can be stopped by Ctrl-C, and go on with the same bits.

use crate::{Options, Progress};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use wengert::data::{DataLoader, LabelledImages};
use wengert::io::Checkpoint;
use wengert::nn::Module;
use wengert::optim::{Optimizer, schedule};
use wengert::{Error, Tensor, set_thread_rng, thread_rng};

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

/// The training of one network by one optimizer, and how far it has come.
pub struct Run<'a> {
    options: &'a Options,
    /// Where it is kept when it is stopped, if the command line does not say.
    file: &'static str,
    recipe: String,
    epoch: u64,
    /// Batches of this epoch that are done.
    batch: usize,
    /// Of all steps.
    losses: Vec<f32>,
}

/// What there is to say of an epoch.
pub struct Epoch {
    /// From 1.
    pub number: u64,
    pub mean_loss: f64,
    start: Instant,
}

impl Epoch {
    /// How long it has taken so far.
    pub fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }
}

impl<'a> Run<'a> {
    /// A run with these options and others of its own, in words.
    pub fn new(options: &'a Options, file: &'static str, more: &str) -> Run<'a> {
        let &Options { lr, seed, batch_size, epochs, smoke, .. } = options;
        let mnist = options.data.is_some();
        let recipe = format!(
            "{more}, epochs {epochs}, batch-size {batch_size}, lr {lr}, seed {seed}, data {mnist}, smoke {smoke}"
        );
        Run { options, file, recipe, epoch: 0, batch: 0, losses: Vec::new() }
    }

    /// The loss of each step so far.
    pub fn losses(&self) -> &[f32] {
        &self.losses
    }

    /// Trains the network for what is left of the epochs, at a rate that falls to a hundredth, and keeps it after each of them
    /// where that is asked for. Returns whether it came to the end; where Ctrl-C has stopped it, it is kept, and the user told
    /// how to go on.
    ///
    /// `step` learns from a batch of images and returns its loss; `report` tells of an epoch.
    pub fn train<N: Module, O: Optimizer>(
        &mut self,
        images: LabelledImages,
        net: &mut N,
        optimizer: &mut O,
        mut step: impl FnMut(&mut N, &mut O, &Tensor) -> f32,
        report: impl Fn(&N, &Epoch),
    ) -> Result<bool, Error> {
        let Options { lr, batch_size, epochs, .. } = *self.options;
        watch_for_stop();
        let loader = DataLoader::new(images, batch_size).shuffle(true).seed(self.options.seed).prefetch(2);
        let rate = schedule::cosine(lr, lr / 100.0, loader.len() * epochs as usize);
        while self.epoch < epochs {
            let start = Instant::now();
            let left = loader.dataset().len().saturating_sub(self.batch * batch_size);
            let mut progress = Progress::new(format!("epoch {}/{epochs}", self.epoch + 1), left);
            for (x, _) in loader.rest_of_epoch(self.epoch, self.batch) {
                optimizer.set_lr(rate(self.losses.len()));
                let loss = step(net, optimizer, &x);
                self.losses.push(loss);
                self.batch += 1;
                progress.update_loss(x.size(0), f64::from(loss));
                if is_stopped() {
                    progress.finish();
                    let file = self.options.save.as_deref().unwrap_or(Path::new(self.file));
                    self.save(file, net, optimizer)?;
                    println!("stopped in epoch {} after batch {}", self.epoch + 1, self.batch);
                    say_how_to_go_on(file);
                    return Ok(false);
                }
            }
            (self.epoch, self.batch) = (self.epoch + 1, 0);
            report(net, &Epoch { number: self.epoch, mean_loss: progress.finish(), start });
            if let Some(file) = &self.options.save {
                self.save(file, net, optimizer)?;
            }
        }
        Ok(true)
    }

    fn save(&self, file: &Path, net: &impl Module, optimizer: &impl Optimizer) -> Result<(), Error> {
        let losses = Tensor::from_slice(&self.losses, [self.losses.len()]);
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

    /// Goes on from a run that was kept, where the command line names one.
    pub fn resume(&mut self, net: &mut impl Module, optimizer: &mut impl Optimizer) -> Result<(), Error> {
        let Some(file) = &self.options.load else { return Ok(()) };
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
}
