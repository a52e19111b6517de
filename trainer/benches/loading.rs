//! Whether augmentation keeps the device busy: steps of training with augmented batches made by the loader's threads beside steps over
//! one batch that is there already, in turns in one run. `cargo bench -p deepfake-trainer --bench loading`.
//!
//! The step is MobileNetV3-small's at 128 px, batch 32, the cheapest network: no other leaves the loader less time.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use clap::Parser;
use deepfake_trainer::data::{self, Order, Pictures};
use deepfake_trainer::learner::Learner;
use deepfake_trainer::loader::{Loader, Showing};
use deepfake_trainer::net::Net;
use deepfake_trainer::{Config, device, memory, seeded};
use indicatif::ProgressBar;
use rand::RngExt;

#[derive(Parser)]
struct Arguments {
    #[arg(long, default_value_t = 12)]
    rounds: usize,
    /// Threads of libtorch.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Threads of the loader.
    #[arg(long, default_value_t = 1)]
    loader_threads: usize,
    #[arg(long, hide = true)]
    bench: bool,
}

/// Real faces: 8 steps a round.
const SOURCES: usize = 128;

fn main() {
    let arguments = Arguments::parse();
    memory::keep_freed();
    tch::set_num_threads(i32::try_from(arguments.threads).unwrap());
    let folder = tempfile::tempdir().unwrap();
    for class in ["real", "fake"] {
        std::fs::create_dir_all(folder.path().join("faces").join(class)).unwrap();
        for source in 0..SOURCES {
            let mut rng = seeded::generator(source as u64, class, &[]);
            // Blocks of colour: neither flat nor noise, 224 px as face crops often are.
            let blocks: Vec<[u8; 3]> = (0..196).map(|_| rng.random()).collect();
            let picture =
                image::RgbImage::from_fn(224, 224, |x, y| image::Rgb(blocks[(y / 16 * 14 + x / 16) as usize]));
            picture.save(folder.path().join(format!("faces/{class}/s{source}_{class}.png"))).unwrap();
        }
    }
    let file = folder.path().join("config.toml");
    std::fs::write(&file, "name = \"bench\"\ndata.folders = [\"faces\"]").unwrap();
    let mut config = Config::read(&file).unwrap();
    config.run.loader_threads = arguments.loader_threads;
    let (device, words) = device::choose(config.run.device).unwrap();
    config.optim.precision = device::precision(config.optim.precision, device).unwrap();

    let faces = data::scan(&config.data.folders).unwrap();
    let (faces, pictures) = Pictures::load(faces, &AtomicUsize::new(1 << 30), 0.0, &ProgressBar::hidden()).unwrap();
    let order = Order::new(&faces, &config.data, config.seed);
    let loader = Loader::new(&config, &faces, &pictures).unwrap();
    let (net, initial) = Net::new(&config.model, &config.input, &mut seeded::generator(1, "weights", &[])).unwrap();
    let mut learner = Learner::new(net, &initial, &config.optim, device, 1).unwrap();

    let size = config.input.size;
    let batches = |epoch: usize| order.epoch(epoch, config.optim.batch);
    let fixed = loader.batch(&batches(0)[0], size, Showing::Plain).unwrap().tensors(device).unwrap();
    let without = |learner: &mut Learner, steps: usize| {
        let started = Instant::now();
        for _ in 0..steps {
            learner.step(&fixed.0, &fixed.1, 1e-4).unwrap();
        }
        started.elapsed().as_secs_f64() / steps as f64
    };
    let (mut alone, mut loaded, mut ratios, mut waits) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..=arguments.rounds {
        let before = (round % 2 == 0).then(|| without(&mut learner, batches(round).len()));
        let (with, waited) = std::thread::scope(|scope| {
            let batches = batches(round);
            let steps = batches.len() as f64;
            let (receiver, _worker) = loader.stream(scope, batches, size, Showing::training(&config, round));
            let started = Instant::now();
            let mut waited = 0.0;
            loop {
                let asked = Instant::now();
                let Ok(batch) = receiver.recv() else {
                    let seconds = started.elapsed().as_secs_f64();
                    return (seconds / steps, waited / seconds);
                };
                waited += asked.elapsed().as_secs_f64();
                let (input, labels) = batch.unwrap().tensors(device).unwrap();
                learner.step(&input, &labels, 1e-4).unwrap();
            }
        });
        let without = before.unwrap_or_else(|| without(&mut learner, batches(round).len()));
        // The first round warms.
        if round > 0 {
            alone.push(without);
            loaded.push(with);
            ratios.push(with / without);
            waits.push(waited);
        }
    }
    let (ratio, [low, high]) = support::interval(&ratios);
    println!(
        "on {words}, {} loader thread(s): {:.4} s a step without augmentation, {:.4} s with: {ratio:.3} times as long \
         [{low:.3}, {high:.3}], {:.1} % of it waiting, over {} rounds of {} steps",
        arguments.loader_threads,
        support::median(&alone),
        support::median(&loaded),
        100.0 * support::median(&waits),
        arguments.rounds,
        batches(0).len(),
    );
}
