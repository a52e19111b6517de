//! Training steps a second beside PyTorch's: the same network, weights, batch, loss, clipping, optimizer and moving average, in turns in one
//! run. `cargo bench -p deepfake-trainer --bench steps -- --python PYTHON`, where PYTHON (or the environment's `TORCH_PYTHON`) has torch,
//! torchvision and safetensors of the libtorch that the trainer is linked with.
//!
//! A round is some steps of either side, in an order that changes with every round; a ratio above 1 means that the trainer is faster.
//! Both keep freed memory (as the trainer's command does) unless `--plain-allocator` leaves the peer as Python starts it.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use clap::Parser;
use deepfake_trainer::config::{Input, Model, Optim, Precision};
use deepfake_trainer::learner::Learner;
use deepfake_trainer::memory;
use deepfake_trainer::net::{Backbone, Net, write_tensors};
use deepfake_trainer::seeded;
use rand::RngExt;
use tch::{Device, Tensor};

#[derive(Parser)]
struct Arguments {
    /// A Python with torch, torchvision and safetensors; else the environment's `TORCH_PYTHON`.
    #[arg(long)]
    python: Option<PathBuf>,
    #[arg(long, default_value_t = 24)]
    rounds: usize,
    /// Seconds that each side has in a round, about.
    #[arg(long, default_value_t = 1.5)]
    seconds: f64,
    /// Threads of either side.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// The peer's memory comes and goes as the C library has it by itself.
    #[arg(long)]
    plain_allocator: bool,
    /// What `cargo bench` says to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Its rate keeps the weights near where they are: how fast a step is depends on the numbers only where they become denormal.
const RATE: f64 = 1e-4;

fn main() {
    let arguments = Arguments::parse();
    let python = arguments.python.clone().or_else(|| std::env::var_os("TORCH_PYTHON").map(PathBuf::from));
    let Some(python) = &python else {
        eprintln!("steps: SKIPPED: no Python with PyTorch: give one with `-- --python PYTHON` or `TORCH_PYTHON`");
        return;
    };
    memory::keep_freed();
    tch::set_num_threads(i32::try_from(arguments.threads).unwrap());
    for (backbone, size, batch) in [(Backbone::MobilenetV3Small, 128, 32), (Backbone::Resnet18, 112, 16)] {
        compare(&arguments, python, backbone, size, batch);
    }
}

fn compare(arguments: &Arguments, python: &Path, backbone: Backbone, size: i64, batch: i64) {
    let model = Model { backbone, dropout: 0.0, ..Model::default() };
    let mut rng = seeded::generator(1, "bench", &[]);
    let (net, initial) = Net::new(&model, &Input::default(), &mut rng).unwrap();
    let pixels: Vec<f32> = (0..batch * size * size * 3).map(|_| rng.random_range(-2.0..2.0)).collect();
    // As the loader makes it: channels last in memory.
    let input = Tensor::from_slice(&pixels).view([batch, size, size, 3]).permute([0, 3, 1, 2]);
    let labels: Vec<i64> = (0..batch).map(|i| i64::from(i >= batch / 2)).collect();
    let labels = Tensor::from_slice(&labels);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("start.safetensors");
    let as_floats = labels.to_kind(tch::Kind::Float);
    let more = [("input".to_owned(), &input), ("labels".to_owned(), &as_floats)];
    let tensors = initial.iter().map(|p| (p.name.clone(), &p.tensor)).chain(more);
    std::fs::write(&file, write_tensors(tensors, None).unwrap()).unwrap();

    let mut peer = Peer::start(arguments, python, &file, backbone);
    let optim = Optim { precision: Precision::Fp32, ..Optim::default() };
    let mut learner = Learner::new(net, &initial, &optim, Device::Cpu, 1).unwrap();
    let loss = learner.step(&input, &labels, RATE).unwrap().loss;
    assert!((loss - peer.loss).abs() < 1e-3, "not the same step: a loss of {loss} here, of {} there", peer.loss);

    let mut ours = |steps: usize| {
        let started = Instant::now();
        for _ in 0..steps {
            learner.step(&input, &labels, RATE).unwrap();
        }
        started.elapsed().as_secs_f64() / steps as f64
    };
    // Warm both, and find how many steps make a round.
    let steps = (arguments.seconds / ours(5)).ceil().max(1.0) as usize;
    peer.run(steps);
    let (mut mine, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..arguments.rounds {
        let (a, b) = if round % 2 == 0 {
            let a = ours(steps);
            (a, peer.run(steps))
        } else {
            let b = peer.run(steps);
            (ours(steps), b)
        };
        mine.push(a);
        theirs.push(b);
        ratios.push(b / a);
    }
    let (ratio, [low, high]) = support::interval(&ratios);
    println!(
        "{backbone} at {size} px, batch {batch}, {} thread(s){}: {:.4} s a step here, {:.4} s in PyTorch: {ratio:.3} times as fast \
         [{low:.3}, {high:.3}] over {} rounds of {steps} steps",
        arguments.threads,
        if arguments.plain_allocator { ", PyTorch with the plain allocator" } else { "" },
        support::median(&mine),
        support::median(&theirs),
        arguments.rounds,
    );
}

/// The other side, waiting for what to do.
struct Peer {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// Of its first step.
    loss: f64,
}

impl Peer {
    fn start(arguments: &Arguments, python: &Path, file: &Path, backbone: Backbone) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peer.py");
        let mut command = Command::new(python);
        command.arg(script).arg(file).arg(backbone.to_string()).arg(arguments.threads.to_string());
        if !arguments.plain_allocator {
            // What `memory::keep_freed` sets.
            command.env("MALLOC_MMAP_MAX_", "0");
            command.env("MALLOC_TRIM_THRESHOLD_", i32::MAX.to_string());
            command.env("MALLOC_TOP_PAD_", (64 << 20).to_string());
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let orders = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut peer = Self { child, orders, answers, loss: 0.0 };
        let ready = peer.answer();
        let loss = ready.strip_prefix("ready ").unwrap_or_else(|| panic!("the peer says {ready:?}"));
        peer.loss = loss.parse().unwrap();
        peer
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        assert!(self.answers.read_line(&mut line).unwrap() > 0, "the peer ended: see its words above");
        line.trim_end().to_owned()
    }

    /// Seconds a step.
    fn run(&mut self, steps: usize) -> f64 {
        writeln!(self.orders, "{steps}").unwrap();
        self.answer().parse::<f64>().unwrap() / steps as f64
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
