//! The training of the locator.

use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tch::{Device, Tensor};

use super::config::Config;
use super::corpus::Corpus;
use super::loss::{Grid, Loss, Wishes, loss};
use super::scene::Painter;
use super::target::{self, Cells};
use crate::augment::{Augmenter, Plan};
use crate::checkpoint::{self, RunFolder};
use crate::config::{self, Augment, Input};
use crate::device;
use crate::error::{Error, Result};
use crate::log::{self, Log};
use crate::net::locator::LocatorNet;
use crate::net::{Mode, Params, floats, read_tensors, write_tensors};
use crate::optim::{self, Adam};
use crate::seeded;

/// Batches that are made ahead.
const AHEAD: usize = 3;

/// How often the log gets a line.
const EVERY: usize = 50;

/// How far it is.
#[derive(Debug, Serialize, Deserialize)]
struct Progress {
    config: String,
    /// [`Corpus::digest`].
    data: String,
    steps: usize,
}

/// Pixels `[N, H, W, 3]`, R'G'B' in [0, 1], and what should be said of them.
struct Batch {
    pixels: Vec<f32>,
    cells: Vec<Cells>,
}

/// Trains in `folder`, going on where it was stopped; `stop_after` ends it early, with a checkpoint. Returns the averaged weights, `None`
/// where it is not done.
///
/// # Errors
///
/// A folder of another configuration or other pictures; files or libtorch failing; a loss that is not a number.
pub fn learn(
    config: &Config,
    corpus: &Corpus,
    folder: &Path,
    stop_after: Option<usize>,
) -> Result<Option<(LocatorNet, Params)>> {
    let folder = RunFolder::new(folder)?;
    let log = Log::new(&folder)?;
    if config.run.threads > 0 {
        tch::set_num_threads(config.run.threads as i32);
    }
    let (device, words) = device::choose(config.run.device)?;
    device::set_switches(&config.run, device)?;
    log.say(&format!("device: {words}"), json!({"event": "device", "device": words}));
    let (net, initial) = LocatorNet::new(Some(&mut seeded::generator(config.seed, "weights", &[])))?;
    let mut params = initial.copied(device, true)?;
    let mut average = initial.copied(device, false)?;
    let mut adam = Adam::new(&params, config.optim.weight_decay, true)?;
    let digest = config.digest();
    let mut steps = 0;
    let path = folder.checkpoint();
    if let Some(progress) = checkpoint::progress_of::<Progress>(&path)? {
        if progress.config != digest {
            return Err(Error::checkpoint(&path, "is of a run with another configuration: choose another folder"));
        }
        if progress.data != corpus.digest {
            return Err(Error::checkpoint(&path, "is of a run with other pictures: choose another folder"));
        }
        steps = progress.steps;
        checkpoint::load_state(&path, &mut params, &mut average, &mut adam, steps as u64)?;
        log.say(&format!("goes on after step {steps}"), json!({"event": "resume", "step": steps}));
    }
    let count = params.count();
    log.say(&format!("{count} learned numbers"), json!({"event": "model", "parameters": count, "config": digest}));
    let optim = schedule(config);
    let grid = Grid::new(config.scene.size, device)?;
    let end = stop_after.map_or(config.optim.steps, |n| (steps + n).min(config.optim.steps));
    let bar = log::bar(config.optim.steps, "training");
    bar.set_position(steps as u64);
    bar.reset_eta();
    let every = Duration::from_secs_f64(config.run.checkpoint_minutes * 60.0);
    let mut saved = Instant::now();
    let save = |steps: usize, params: &Params, average: &Params, adam: &Adam| {
        checkpoint::save_state(
            &path,
            &Progress { config: digest.clone(), data: corpus.digest.clone(), steps },
            params,
            average,
            adam,
        )
    };
    std::thread::scope(|scope| -> Result<()> {
        let (sender, receiver) = sync_channel(AHEAD);
        let first = steps;
        scope.spawn(move || {
            for step in first..end {
                let batch = batch(config, corpus, step);
                let failed = batch.is_err();
                if sender.send(batch).is_err() || failed {
                    break;
                }
            }
        });
        let mut sums = [0.0; 4];
        for batch in receiver {
            let Batch { pixels, cells } = batch?;
            let (input, wishes) = (input(&pixels, config.scene.size, device)?, Wishes::new(&cells, device)?);
            let said = net.forward(&params, &input, Mode::Training { seed: 0 })?;
            let Loss { total, parts } = loss(&said, &wishes, &grid)?;
            total.f_backward()?;
            optim::clip(&params, config.optim.clip)?;
            let rate = optim::rate(&optim, steps, 1);
            adam.step(&params, rate, None)?;
            optim::forget_gradients(&params)?;
            steps += 1;
            optim::follow(&average, &params, config.optim.ema, steps as u64)?;
            let parts = parts.iter().map(|t| t.f_detach()?.f_view([1])).collect::<Result<Vec<_>, _>>()?;
            let parts = floats(&Tensor::f_cat(&parts, 0)?)?;
            if parts.iter().any(|p| !p.is_finite()) {
                return Err(Error::Training(format!(
                    "the loss is {parts:?} at step {steps}: lower `optim.learning_rate`"
                )));
            }
            sums.iter_mut().zip(&parts).for_each(|(sum, p)| *sum += f64::from(*p) / EVERY as f64);
            bar.inc(1);
            if steps.is_multiple_of(EVERY) {
                let [score, fit, boxes, landmarks] = sums;
                bar.set_message(format!("score {score:.3} fit {fit:.3} box {boxes:.3} landmarks {landmarks:.3}"));
                log.note(json!({
                    "event": "step", "step": steps, "of": config.optim.steps, "score": score, "fit": fit, "box": boxes,
                    "landmarks": landmarks, "learning_rate": rate, "seconds_left": bar.eta().as_secs(),
                }));
                sums = [0.0; 4];
            }
            if saved.elapsed() > every {
                save(steps, &params, &average, &adam)?;
                saved = Instant::now();
            }
        }
        Ok(())
    })?;
    bar.finish_and_clear();
    save(steps, &params, &average, &adam)?;
    if steps < config.optim.steps {
        return Ok(None);
    }
    let weights = average.iter().map(|p| (p.name.clone(), &p.tensor));
    checkpoint::write_atomically(&folder.best(), &write_tensors(weights, None)?)?;
    log.say("done", json!({"event": "done", "steps": steps}));
    open(&folder.best()).map(Some)
}

/// A network with the weights of a file.
///
/// # Errors
///
/// A file that cannot be read, or of another network.
pub fn open(path: &Path) -> Result<(LocatorNet, Params)> {
    let (net, mut params) = LocatorNet::new(None)?;
    params.assign(&read_tensors(path)?, path)?;
    Ok((net, params))
}

/// In the words of [`optim::rate`]: as many epochs as there are steps, of one step each.
fn schedule(config: &Config) -> config::Optim {
    config::Optim {
        epochs: config.optim.steps,
        warmup_epochs: config.optim.warmup as f64,
        learning_rate: config.optim.learning_rate,
        ..config::Optim::default()
    }
}

/// The scenes of a step. They depend on the step alone.
fn batch(config: &Config, corpus: &Corpus, step: usize) -> Result<Batch> {
    let size = config.scene.size;
    let length = size * size * 3;
    let mut pixels = vec![0.0; config.optim.batch * length];
    // The scene's geometry is done when it is painted.
    let augment = Augment { flip: 0.0, scale: [1.0, 1.0], shift: 0.0, aspect: 1.0, ..config.augment.clone() };
    let plain = Input { size, mean: [0.0; 3], std: [1.0; 3], ..Input::default() };
    let cells = pixels
        .par_chunks_exact_mut(length)
        .enumerate()
        .map_init(
            || (Painter::default(), Augmenter::new(&plain, size)),
            |(painter, augmenter), (at, out)| {
                let mut rng = seeded::generator(config.seed, "scene", &[step as u64, at as u64]);
                let scene = painter.scene(corpus, &config.scene, &mut rng)?;
                augmenter.apply(&scene.picture, &Plan::draw(&augment, &mut rng), None, out)?;
                Ok(target::cells(&scene.faces, size))
            },
        )
        .collect::<Result<_>>()?;
    Ok(Batch { pixels, cells })
}

/// To the network's input: planes of B'G'R'.
fn input(pixels: &[f32], size: usize, device: Device) -> Result<Tensor> {
    let size = size as i64;
    let rows = Tensor::f_from_slice(pixels)?.f_view([-1, size, size, 3])?.f_to_device(device)?;
    Ok(rows.f_flip([3])?.f_permute([0, 3, 1, 2])?.f_contiguous()?)
}
