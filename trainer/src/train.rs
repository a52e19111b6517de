//! The training loop.

use std::path::Path;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use serde_json::json;
use tch::{Device, Tensor, no_grad};

use crate::checkpoint::{self, Best, Progress, RunFolder};
use crate::config::{Config, Data, NearDuplicates, Optim};
use crate::data::{self, Face, Order, Pictures, duplicates};
use crate::device;
use crate::error::{Error, Result};
use crate::faces;
use crate::hash;
use crate::init::{self, Origin};
use crate::learner::{Learner, Step};
use crate::loader::{Loader, Showing};
use crate::log::{self, Log};
use crate::maps::RegionMaps;
use crate::metrics;
use crate::net::{FAKE, Mode, Net, Params, REAL, write_tensors};
use crate::optim;
use crate::seeded;

/// Faces a step when no gradients are wanted.
const VALIDATION_BATCH: usize = 64;

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The epoch whose weights are the run's result, with its AUC.
    pub best: Best,
    /// Epochs done in all.
    pub epochs: usize,
    /// Whether the run is at its end; otherwise it was stopped by [`Limits`].
    pub finished: bool,
}

/// Where to stop before the end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// After so many steps of this call, with a checkpoint.
    pub steps: Option<u64>,
}

/// What a network says about faces that it has not learned from.
#[derive(Clone, Debug, PartialEq)]
pub struct Validation {
    /// Logit of fake minus logit of real, in the order of the faces.
    pub logits: Vec<f64>,
    /// Which of them are fake.
    pub fake: Vec<bool>,
    /// Which video each is of, see [`data::videos`].
    pub videos: Vec<usize>,
}

/// Trains as `config` says, in the run folder `run`; goes on where a run of the same configuration was stopped.
///
/// # Errors
///
/// Data, files or libtorch failing; a run folder of another configuration or other data; a loss that is not a number.
pub fn train(config: &Config, run: &Path, limits: Limits) -> Result<Outcome> {
    let folder = RunFolder::new(run)?;
    let log = Log::new(&folder)?;
    if config.run.threads > 0 {
        tch::set_num_threads(config.run.threads as i32);
    }
    let (device, words) = device::choose(config.run.device)?;
    device::set_switches(&config.run, device)?;
    let precision = device::precision(config.optim.precision, device)?;
    log.say(
        &format!("device: {words}, {precision:?}"),
        json!({"event": "device", "device": words, "precision": precision}),
    );

    let split = split(config, Some(&log))?;
    let budget = AtomicUsize::new(config.data.cache_mib << 20);
    let bar = log::bar(split.train.len() + split.validation.len(), "reading faces");
    // The validation faces first: they are read again in every epoch, whole.
    let (validation, validation_pictures) =
        Pictures::load(split.validation, &budget, config.data.max_unreadable, &bar)?;
    let (faces, pictures) = Pictures::load(split.train, &budget, config.data.max_unreadable, &bar)?;
    bar.finish_and_clear();
    log.say(&format!("training: {}", data::summary(&faces)), json!({"event": "data", "faces": faces.len()}));
    log.say(
        &format!("validation: {}", data::summary(&validation)),
        json!({"event": "validation_data", "faces": validation.len()}),
    );

    let maps = config
        .regularize
        .needed_maps()?
        .map(|folder| RegionMaps::open(folder, &config.localize, &faces))
        .transpose()?;
    if let Some(maps) = &maps {
        let text = format!("maps of {:.1} % of each picture on average", 100.0 * maps.support());
        log.say(&text, json!({"event": "maps", "support": maps.support(), "digest": maps.digest()}));
    }

    let order = Order::new(&faces, &config.data, config.seed);
    let train_loader = Loader::new(config, &faces, &pictures)?.with_maps(maps.as_ref());
    let weights = &mut seeded::generator(config.seed, "weights", &[]);
    let (net, mut initial) = Net::new(&config.model, &config.input, weights)?;
    if let Some(path) = &config.model.init
        && !folder.checkpoint().exists()
    {
        let from = path.display();
        match init::read(&net, &mut initial, path)? {
            Origin::Named(loaded) => {
                let record = json!({
                    "event": "init", "path": path, "naming": loaded.naming.to_string(), "left_out": loaded.left_out,
                    "drawn": loaded.drawn,
                });
                log.say(&format!("starts from {from}: {loaded}"), record);
            }
            Origin::Folded => {
                init::restore_by(config, &net, &mut initial, &order, &train_loader, device)?;
                let text =
                    format!("starts from {from}: an exported model, whose norms were given back their statistics");
                log.say(&text, json!({"event": "init", "path": path, "naming": "exported"}));
            }
        }
    }
    let optim = Optim { precision, ..config.optim.clone() };
    let mut learner = Learner::new(net, &initial, &optim, device, config.seed)?;
    if let Some((real, fake)) = order.class_weights() {
        learner.weigh(real, fake)?;
        let text = format!("the loss counts a real face {real:.3} times, a fake {fake:.3} times");
        log.say(&text, json!({"event": "class_weights", "real": real, "fake": fake}));
    }
    if order.unseen() > 0 {
        let text = format!("{} fakes have no real face of their source and are never shown", order.unseen());
        log.say(&text, json!({"event": "unseen", "fakes": order.unseen()}));
    }
    let progress = Progress {
        config: config.digest(),
        data: data::names_digest(&faces, &validation),
        maps: maps.as_ref().map(|m| m.digest().to_owned()),
        init: config.model.init.as_deref().map(hash::file).transpose()?,
        epoch: 0,
        step: 0,
        steps: 0,
        updates: 0,
        scaler: None,
        loss_sum: 0.0,
        best: None,
    };
    let mut session = Session { config, folder, log, device, learner, progress };
    session.resume()?;
    session.log.say(
        &format!("{} with {} learned numbers", config.model.backbone, session.learner.params.count()),
        json!({"event": "model", "parameters": session.learner.params.count(), "config": session.progress.config}),
    );
    let validation_loader = Loader::new(config, &validation, &validation_pictures)?;
    session.run(&order, &train_loader, &validation_loader, &validation, limits)
}

/// How fast an epoch was.
#[derive(Clone, Copy)]
struct Pace {
    seconds_a_step: f64,
    /// Share of the time in which the network waited because the loader had no batch ready.
    waiting: f64,
}

/// A run in progress.
struct Session<'a> {
    config: &'a Config,
    folder: RunFolder,
    log: Log,
    device: Device,
    learner: Learner,
    progress: Progress,
}

impl Session<'_> {
    fn resume(&mut self) -> Result<()> {
        let found = checkpoint::load(&self.folder, &mut self.learner)?;
        let Some(found) = found else {
            let text = serde_json::to_string_pretty(self.config).map_err(|e| Error::Training(e.to_string()))?;
            return checkpoint::write_atomically(&self.folder.config(), text.as_bytes());
        };
        let path = self.folder.checkpoint();
        if found.config != self.progress.config {
            return Err(Error::checkpoint(&path, "is of a run with another configuration: choose another run folder"));
        }
        if found.data != self.progress.data {
            return Err(Error::checkpoint(&path, "is of a run with other faces: choose another run folder"));
        }
        if found.maps != self.progress.maps {
            return Err(Error::checkpoint(&path, "is of a run with other maps: choose another run folder"));
        }
        if found.init != self.progress.init {
            return Err(Error::checkpoint(&path, "is of a run from other weights: choose another run folder"));
        }
        self.progress = found;
        let (epoch, step) = (self.progress.epoch, self.progress.step);
        let text = format!("goes on after epoch {epoch}, step {step}");
        self.log.say(&text, json!({"event": "resume", "epoch": epoch, "step": step}));
        Ok(())
    }

    fn save(&self) -> Result<()> {
        checkpoint::save(&self.folder, &self.progress, &self.learner)
    }

    fn run(
        &mut self,
        order: &Order,
        loader: &Loader<'_>,
        validation_loader: &Loader<'_>,
        validation: &[Face],
        limits: Limits,
    ) -> Result<Outcome> {
        let config = self.config;
        let steps_per_epoch = order.steps(config.optim.batch);
        let stop_at = limits.steps.map(|n| self.learner.steps + n);
        let bar = log::bar(config.optim.epochs * steps_per_epoch, "training");
        bar.set_position(self.learner.steps);
        bar.reset_eta();
        while self.progress.epoch < config.optim.epochs && !self.out_of_patience() {
            let started = Instant::now();
            let begun_at = self.progress.step;
            let mut waited = Duration::ZERO;
            let finished = self.epoch(order, loader, stop_at, &mut waited, &bar)?;
            if !finished {
                self.save()?;
                bar.finish_and_clear();
                break;
            }
            let elapsed = started.elapsed().as_secs_f64();
            let pace = Pace {
                seconds_a_step: elapsed / (steps_per_epoch - begun_at).max(1) as f64,
                waiting: waited.as_secs_f64() / elapsed,
            };
            self.close_epoch(validation_loader, validation, steps_per_epoch, pace, &bar)?;
        }
        bar.finish_and_clear();
        let finished = self.progress.epoch >= config.optim.epochs || self.out_of_patience();
        let best = self.progress.best.unwrap_or(Best { epoch: 0, auc: f64::NAN });
        if finished {
            let text = format!("done: validation AUC {:.4} in epoch {}", best.auc, best.epoch);
            self.log.say(&text, json!({"event": "done", "auc": best.auc, "epoch": best.epoch}));
        }
        Ok(Outcome { best, epochs: self.progress.epoch, finished })
    }

    fn out_of_patience(&self) -> bool {
        let patience = self.config.optim.patience;
        patience > 0 && self.progress.best.is_some_and(|b| self.progress.epoch - b.epoch >= patience)
    }

    /// The rest of an epoch; false where `stop_at` came first. Adds to `waited` the time in which no batch was ready.
    fn epoch(
        &mut self,
        order: &Order,
        loader: &Loader<'_>,
        stop_at: Option<u64>,
        waited: &mut Duration,
        bar: &indicatif::ProgressBar,
    ) -> Result<bool> {
        let config = self.config;
        let epoch = self.progress.epoch;
        let size = config.input.size_at(epoch, config.optim.epochs);
        let batches = order.epoch(epoch, config.optim.batch);
        let steps = batches.len();
        let rest: Vec<_> = batches.into_iter().skip(self.progress.step).collect();
        let showing = Showing::training(config, epoch);
        let every = Duration::from_secs_f64(config.run.checkpoint_minutes * 60.0);
        let mut saved = Instant::now();
        let mut said = Instant::now();
        std::thread::scope(|scope| {
            let (batches, _worker) = loader.stream(scope, rest, size, showing);
            loop {
                let asked = Instant::now();
                let Ok(batch) = batches.recv() else {
                    return Ok(true);
                };
                *waited += asked.elapsed();
                let (input, labels) = batch?.tensors(self.device)?;
                let rate = optim::rate(&config.optim, epoch * steps + self.progress.step, steps);
                let Step { loss, norm, skipped } = self.learner.step(&input, &labels, rate)?;
                if skipped {
                    let scale = self.learner.scaler.map(|s| s.scale());
                    self.log.note(json!({"event": "overflow", "step": self.learner.steps, "loss_scale": scale}));
                }
                self.progress.step += 1;
                self.progress.loss_sum += loss;
                bar.inc(1);
                let mean = self.progress.loss_sum / self.progress.step as f64;
                bar.set_message(format!("epoch {} loss {mean:.4}", epoch + 1));
                if said.elapsed() > Duration::from_secs(20) {
                    said = Instant::now();
                    self.log.note(json!({
                        "event": "step", "epoch": epoch + 1, "step": self.progress.step, "of": steps, "loss": loss,
                        "mean_loss": mean, "gradient_norm": norm, "learning_rate": rate,
                        "seconds_left": bar.eta().as_secs(),
                    }));
                }
                if stop_at == Some(self.learner.steps) {
                    return Ok(false);
                }
                if saved.elapsed() > every && self.progress.step < steps {
                    self.save()?;
                    saved = Instant::now();
                }
            }
        })
    }

    /// Validates, keeps the weights where they are the best, and the whole state.
    fn close_epoch(
        &mut self,
        loader: &Loader<'_>,
        faces: &[Face],
        steps: usize,
        pace: Pace,
        bar: &indicatif::ProgressBar,
    ) -> Result<()> {
        let size = self.config.input.size_at(self.progress.epoch, self.config.optim.epochs);
        let validation = validate(&self.learner.net, &self.learner.average, loader, faces, size, self.device)?;
        let auc = metrics::auc(&validation.logits, &validation.fake)
            .ok_or_else(|| Error::Training("validation scores are not numbers".to_owned()))?;
        let loss = metrics::log_loss(&validation.logits, &validation.fake, 1.0);
        let accuracy = metrics::accuracy(&validation.logits, &validation.fake, 0.0);
        self.progress.epoch += 1;
        self.progress.step = 0;
        let train_loss = self.progress.loss_sum / steps as f64;
        self.progress.loss_sum = 0.0;
        let epoch = self.progress.epoch;
        let Pace { seconds_a_step, waiting } = pace;
        // While the input still grows, the network is not yet the one that will be used.
        let better = size == self.config.input.size && self.progress.best.is_none_or(|b| auc > b.auc);
        if better {
            self.progress.best = Some(Best { epoch, auc });
            let weights = self.learner.average.iter().map(|p| (p.name.clone(), &p.tensor));
            checkpoint::write_atomically(&self.folder.best(), &write_tensors(weights, None)?)?;
        }
        self.save()?;
        let text = format!(
            "epoch {epoch} at {size} px: loss {train_loss:.4}, validation AUC {auc:.4}{}, accuracy {:.4}, log loss {:.4}, \
             {seconds_a_step:.3} s a step, {:.0} % of it waiting for faces",
            if better { " (best)" } else { "" },
            accuracy.unwrap_or(f64::NAN),
            loss.unwrap_or(f64::NAN),
            100.0 * waiting,
        );
        // Of its last step.
        let rate = optim::rate(&self.config.optim, (epoch * steps).saturating_sub(1), steps);
        let record = json!({
            "event": "epoch", "epoch": epoch, "learning_rate": rate, "loss": train_loss, "auc": auc, "accuracy": accuracy, "log_loss": loss,
            "best": better, "size": size, "seconds_a_step": seconds_a_step,
            "waiting": waiting,
        });
        bar.suspend(|| self.log.say(&text, record));
        Ok(())
    }
}

/// Scores the validation split of a run with the weights of its best epoch.
///
/// # Errors
///
/// As [`train`]; data that no longer gives the AUC that the run had.
pub fn validation_of(folder: &RunFolder) -> Result<Validation> {
    let (config, net, params) = checkpoint::open_best(folder)?;
    let best = checkpoint::progress(folder)?.and_then(|p| p.best);
    let best = best.ok_or_else(|| Error::checkpoint(&folder.checkpoint(), "tells of no best epoch"))?;
    let (device, _) = device::choose(config.run.device)?;
    let params = params.copied(device, false)?;
    let split = split(&config, None)?;
    let budget = AtomicUsize::new(config.data.cache_mib << 20);
    let bar = log::bar(split.validation.len(), "reading faces");
    let (faces, pictures) = Pictures::load(split.validation, &budget, config.data.max_unreadable, &bar)?;
    bar.finish_and_clear();
    let loader = Loader::new(&config, &faces, &pictures)?;
    let validation = validate(&net, &params, &loader, &faces, config.input.size, device)?;
    let auc = metrics::auc(&validation.logits, &validation.fake).unwrap_or(f64::NAN);
    // Another number of threads adds up in another order; other data differs by more.
    if (auc - best.auc).abs() <= 1e-3 {
        Ok(validation)
    } else {
        Err(Error::Data(format!(
            "the validation AUC is {auc:.4}, but {:.4} when the run had it: these are other faces",
            best.auc
        )))
    }
}

/// The faces of a configuration, split. Near duplicates across the split are told where there is a log.
///
/// # Errors
///
/// Those of [`data::faces`] and [`data::split()`]; faces cut in another way than the contract says; near duplicates where they are an
/// error.
pub fn split(config: &Config, log: Option<&Log>) -> Result<data::Split> {
    faces::check_crop(config)?;
    let Data { validation_share, limit_sources, near_duplicates, pseudo, split_seed, .. } = config.data;
    let faces = data::with_pseudo_fakes(data::faces(&config.data)?, pseudo, config.synthesize.sources);
    let split = data::split(faces, validation_share, split_seed.unwrap_or(config.seed), limit_sources)?;
    if log.is_none() && near_duplicates != NearDuplicates::Move {
        return Ok(split);
    }
    let (split, pairs) = duplicates::resolve(split, near_duplicates)?;
    if let Some(log) = log
        && !pairs.is_empty()
    {
        log.say(&duplicates::told(&pairs), json!({"event": "near_duplicates", "pairs": pairs.len()}));
    }
    Ok(split)
}

/// Scores faces as they are, at an input of `size` pixels.
///
/// # Errors
///
/// A picture that cannot be read, libtorch failing.
pub fn validate(
    net: &Net,
    params: &Params,
    loader: &Loader<'_>,
    faces: &[Face],
    size: usize,
    device: Device,
) -> Result<Validation> {
    let indices: Vec<usize> = (0..faces.len()).collect();
    let batches = indices.chunks(VALIDATION_BATCH).map(<[usize]>::to_vec).collect();
    let mut logits = Vec::with_capacity(faces.len());
    std::thread::scope(|scope| -> Result<()> {
        let (batches, _worker) = loader.stream(scope, batches, size, Showing::Plain);
        for batch in batches {
            let (input, _) = batch?.tensors(device)?;
            let difference = no_grad(|| -> Result<Tensor> {
                let out = net.forward(params, &input, Mode::Inference)?.logits;
                Ok(out.f_select(1, FAKE)?.f_sub(&out.f_select(1, REAL)?)?)
            })?;
            logits.extend(crate::net::floats(&difference)?.into_iter().map(f64::from));
        }
        Ok(())
    })?;
    let fake = faces.iter().map(|f| f.label == data::Label::Fake).collect();
    Ok(Validation { logits, fake, videos: data::videos(faces) })
}
