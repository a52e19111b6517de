//! What augmentation and erasing cost beside the network: `cargo bench -p deepfake-trainer --bench regularize [SIZE [ROUNDS]]`
//!
//! Everything takes turns in one run. Processor time is of the whole process, so that other work on the machine does not count; time
//! by the wall is that of steps fed by a loader's thread, as in training. A step is forward and backward without the optimizer, which
//! makes the shares told here a little larger than they are.

#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use deepfake_trainer::config::{Augment, Config, Fill, Regularization, Regularize};
use deepfake_trainer::data::{Pictures, scan};
use deepfake_trainer::loader::{Batch, Loader, Showing};
use deepfake_trainer::maps::{FaceMap, RegionMaps, keys};
use deepfake_trainer::net::{Mode, Net, Params};
use deepfake_trainer::seeded::{generator, mixed};
use deepfake_trainer::{device, memory};
use indicatif::ProgressBar;
use rand::RngExt;
use tch::{Device, Reduction, Tensor};

const BATCH: usize = 32;

/// Seconds of processor that this process has had.
fn processor() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec that lives on.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

struct Bench<'a> {
    loader: Loader<'a>,
    net: Net,
    params: Params,
    device: Device,
    size: usize,
}

impl Bench<'_> {
    fn step(&self, batch: &Batch) {
        let (input, labels) = batch.tensors(self.device).unwrap();
        let logits = self.net.forward(&self.params, &input, Mode::Training { seed: 1 }).unwrap().logits;
        let loss = logits.cross_entropy_loss::<Tensor>(&labels, None, Reduction::Mean, -100, 0.1);
        loss.backward();
        // Waits for a GPU.
        assert!(loss.double_value(&[]).is_finite());
    }

    /// Milliseconds of processor to make a batch.
    fn make(&self, indices: &[usize], showing: Showing<'_>) -> (f64, Batch) {
        let start = processor();
        let batch = self.loader.batch(indices, self.size, showing).unwrap();
        ((processor() - start) * 1e3, batch)
    }

    /// Milliseconds a step, by the wall, where a thread makes the batches meanwhile.
    fn stream(&self, indices: &[usize], steps: usize, showing: Showing<'_>) -> f64 {
        std::thread::scope(|scope| {
            let (batches, _worker) = self.loader.stream(scope, vec![indices.to_vec(); steps + 1], self.size, showing);
            self.step(&batches.recv().unwrap().unwrap());
            let start = Instant::now();
            batches.iter().for_each(|batch| self.step(&batch.unwrap()));
            start.elapsed().as_secs_f64() * 1e3 / steps as f64
        })
    }
}

/// A picture of a face-like smoothness, as the data's crops are large.
fn write_faces(folder: &std::path::Path) {
    for class in ["real", "fake"] {
        std::fs::create_dir_all(folder.join(class)).unwrap();
        for i in 0..BATCH / 2 {
            let shift = mixed(1, class, &[i as u64]) as u32 % 97;
            let wave = |v: u32| ((f64::from(v + shift) * 0.07).sin() * 90.0 + 128.0) as u8;
            let picture = image::RgbImage::from_fn(224, 224, |x, y| image::Rgb([wave(x), wave(y), wave(x + y)]));
            picture.save(folder.join(class).join(format!("s{i}_{class}.png"))).unwrap();
        }
    }
}

/// Discs of falling rank, as class activation maps are: about a quarter of the face.
fn map(seed: u64) -> FaceMap {
    let mut rng = generator(seed, "map", &[]);
    let (cx, cy) = (rng.random_range(20.0..44.0), rng.random_range(20.0..44.0));
    let value = |x: usize, y: usize| {
        let far = (x as f64 - cx).hypot(y as f64 - cy) / 18.0;
        if far < 1.0 { 255.0 - 170.0 * far } else { 0.0 }
    };
    FaceMap(Box::new(std::array::from_fn(|i| value(i % 64, i / 64) as u8)))
}

fn main() {
    memory::keep_freed();
    let mut numbers = std::env::args().skip(1).filter_map(|a| a.parse::<usize>().ok());
    let (size, rounds) = (numbers.next().unwrap_or(128), numbers.next().unwrap_or(20));
    let temporary = tempfile::tempdir().unwrap();
    write_faces(&temporary.path().join("faces"));
    let path = temporary.path().join("bench.toml");
    let text = "name = \"bench\"\ndata.folders = [\"faces\"]\nrun.threads = 1\nrun.loader_threads = 1\n";
    std::fs::write(&path, format!("{text}input.size = {size}\n")).unwrap();
    let config = Config::read(&path).unwrap();
    tch::set_num_threads(1);
    let (device, words) = device::choose(config.run.device).unwrap();

    let budget = AtomicUsize::new(1 << 30);
    let faces = scan(&config.data.folders).unwrap();
    let (faces, pictures) = Pictures::load(faces, &budget, 0.0, &ProgressBar::hidden()).unwrap();
    let maps = RegionMaps::new(&keys(&faces).unwrap(), (0..faces.len() as u64).map(map).collect());
    let loader = Loader::new(&config, &faces, &pictures).unwrap().with_maps(Some(&maps));
    let (net, initial) = Net::new(&config.model, &config.input, &mut generator(1, "weights", &[])).unwrap();
    let params = initial.copied(device, true).unwrap();
    let bench = Bench { loader, net, params, device, size };

    let augment = Augment::default();
    let how = |kind, fill| Regularize { kind, fill, ..Regularize::default() };
    let none = how(Regularization::None, Fill::Noise);
    let kinds = [
        ("primary_regions, noise", how(Regularization::PrimaryRegions, Fill::Noise)),
        ("primary_regions, black", how(Regularization::PrimaryRegions, Fill::Black)),
        ("random_erasing, noise", how(Regularization::RandomErasing, Fill::Noise)),
        ("hide_and_seek, noise", how(Regularization::HideAndSeek, Fill::Noise)),
    ];
    let indices: Vec<usize> = (0..faces.len()).collect();
    let mut made: [Vec<f64>; 2] = Default::default();
    let mut erased: [Vec<f64>; 4] = Default::default();
    let (mut steps, mut walls): (Vec<f64>, [Vec<f64>; 3]) = Default::default();
    for round in 0..=rounds {
        let showing =
            |regularize| Showing::Augmented { augment: &augment, regularize, seed: 1, epoch: round, pairs: false };
        let (plain, batch) = bench.make(&indices, Showing::Plain);
        let (augmented, _) = bench.make(&indices, showing(&none));
        let with: Vec<f64> = kinds.iter().map(|(_, how)| bench.make(&indices, showing(how)).0).collect();
        let start = processor();
        bench.step(&batch);
        let step = (processor() - start) * 1e3;
        let feeds = [Showing::Plain, showing(&none), showing(&kinds[0].1)];
        let wall: Vec<f64> = feeds.map(|feed| bench.stream(&indices, 3, feed)).to_vec();
        if round == 0 {
            continue; // warms up
        }
        made[0].push(plain);
        made[1].push(augmented);
        erased.iter_mut().zip(with).for_each(|(all, ms)| all.push(ms - augmented));
        steps.push(step);
        walls.iter_mut().zip(wall).for_each(|(all, ms)| all.push(ms));
    }
    let step = median(&mut steps);
    let of_step = |ms: f64| format!("{ms:8.2} ms, {:5.2} % of a step", 100.0 * ms / step);
    println!("{} at {size} px, batch {BATCH}, on {words}, median of {rounds} rounds", config.model.backbone);
    println!("processor time a batch:");
    println!("  {:32} {step:8.2} ms", "step (forward, backward)");
    println!("  {:32} {}", "batch as it is", of_step(median(&mut made[0])));
    println!("  {:32} {}", "batch augmented", of_step(median(&mut made[1])));
    for ((name, _), ms) in kinds.iter().zip(&mut erased) {
        println!("  {:32} {}", format!("+ {name}"), of_step(median(ms)));
    }
    println!("time by the wall a step, batches made by a thread meanwhile:");
    let [plain, augmented, masked] = walls.each_mut().map(|w| median(w));
    println!("  {:32} {plain:8.2} ms", "as they are");
    println!("  {:32} {augmented:8.2} ms, {:.3} times as long", "augmented", augmented / plain);
    println!("  {:32} {masked:8.2} ms, {:.3} times as long", "augmented and erased", masked / plain);
}
