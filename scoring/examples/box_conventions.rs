//! How the boxes of face detectors lie relative to those of a reference detector, which faces of its they find, and how long
//! they take: the source of the constants in `locate::convention`.
//!
//! ```text
//! cargo run --release -p deepfake-scoring --example box_conventions -- PICTURES YUNET.onnx [DETECTOR.onnx ...]
//! ```
//!
//! PICTURES is a folder of JPEG or PNG files (frames of videos, for instance); the bundled detector is always among them.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use deepfake_scoring::frame::FrameView;
use deepfake_scoring::geometry::Rect;
use deepfake_scoring::locate::{self, Convention, Face, LocateOptions, Locator};
use deepfake_scoring::model::Model;
use deepfake_scoring::session::{Provider, SessionOptions};

/// Boxes with less overlap than this are of different faces.
const SAME_FACE: f32 = 0.3;
/// A face of the reference counts as found where the overlap, after mapping, is at least this.
const FOUND: f32 = 0.5;
/// Smaller faces of the reference are not asked for, in pixels of the shorter side.
const MIN_FACE: f32 = 48.0;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(folder), Some(reference)) = (args.next(), args.next()) else {
        return Err("usage: box_conventions PICTURES YUNET.onnx [DETECTOR.onnx ...]".into());
    };
    let mut pictures = Vec::new();
    collect(Path::new(&folder), &mut pictures)?;
    pictures.sort();

    let session = SessionOptions { provider: Provider::Cpu, ..SessionOptions::default() };
    let open = |path: &str| -> Result<Locator, Box<dyn Error>> {
        Ok(Locator::new(&Model::read(Path::new(path))?, &session, LocateOptions::default())?)
    };
    let mut reference = Detector::new(open(&reference)?);
    let bundled = Locator::new(&locate::bundled()?, &session, LocateOptions::default())?;
    let mut others = vec![Detector::new(bundled)];
    for path in args {
        others.push(Detector::new(open(&path)?));
    }

    let mut looked_at = 0;
    for path in &pictures {
        let Ok(picture) = image::open(path) else { continue };
        let picture = picture.to_rgb8();
        let frame = FrameView::rgb(picture.width() as usize, picture.height() as usize, picture.as_raw())?;
        looked_at += 1;
        reference.look(&frame)?;
        for other in &mut others {
            other.look(&frame)?;
            other.compare(&reference.faces);
        }
    }
    let asked: usize = reference.asked;
    println!("{looked_at} pictures, {asked} faces of at least {MIN_FACE} pixels by {}", reference.locator.name());
    reference.report_time();
    for other in &mut others {
        other.report(asked);
    }
    Ok(())
}

/// All JPEG and PNG files below a folder.
fn collect(folder: &Path, into: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let picture = |e: &std::ffi::OsStr| ["jpg", "jpeg", "png"].iter().any(|p| e.eq_ignore_ascii_case(p));
        if path.is_dir() {
            collect(&path, into)?;
        } else if path.extension().is_some_and(picture) {
            into.push(path);
        }
    }
    Ok(())
}

/// A detector and what it was seen to do.
struct Detector {
    locator: Locator,
    /// As the detector draws them are the boxes here, not mapped.
    faces: Vec<Face>,
    convention: Convention,
    milliseconds: Vec<f32>,
    /// From its boxes to those of the reference.
    pairs: Vec<Convention>,
    /// Overlap with the reference as drawn, and after mapping with the constants in the library.
    overlap: (Vec<f32>, Vec<f32>),
    told: usize,
    confirmed: usize,
    asked: usize,
    found: usize,
}

impl Detector {
    fn new(mut locator: Locator) -> Self {
        let convention = locator.convention();
        locator.set_convention(Convention::WIDER_FACE);
        Self {
            locator,
            faces: Vec::new(),
            convention,
            milliseconds: Vec::new(),
            pairs: Vec::new(),
            overlap: (Vec::new(), Vec::new()),
            told: 0,
            confirmed: 0,
            asked: 0,
            found: 0,
        }
    }

    fn look(&mut self, frame: &FrameView<'_>) -> Result<(), Box<dyn Error>> {
        let start = Instant::now();
        self.locator.locate(frame, &mut self.faces)?;
        self.milliseconds.push(start.elapsed().as_secs_f32() * 1e3);
        self.asked += self.faces.iter().filter(|f| large(&f.bbox)).count();
        Ok(())
    }

    fn compare(&mut self, reference: &[Face]) {
        let mapped: Vec<_> = self.faces.iter().map(|f| self.convention.to_reference(&f.bbox)).collect();
        self.told += mapped.iter().filter(|b| large(b)).count();
        self.confirmed +=
            mapped.iter().filter(|b| large(b) && reference.iter().any(|r| r.bbox.iou(b) >= FOUND)).count();
        for r in reference.iter().filter(|f| large(&f.bbox)) {
            self.found += usize::from(mapped.iter().any(|b| b.iou(&r.bbox) >= FOUND));
            let best = self.faces.iter().zip(&mapped).max_by(|(a, _), (b, _)| overlap(a, r).total_cmp(&overlap(b, r)));
            if let Some((own, mapped)) = best.filter(|(f, _)| overlap(f, r) >= SAME_FACE) {
                self.pairs.push(Convention::between(&own.bbox, &r.bbox));
                self.overlap.0.push(overlap(own, r));
                self.overlap.1.push(mapped.iou(&r.bbox));
            }
        }
    }

    fn report_time(&mut self) {
        println!("{}: median {:.1} ms a picture", self.locator.name(), quantile(&mut self.milliseconds, 0.5));
    }

    fn report(&mut self, asked: usize) {
        self.report_time();
        println!("  finds {} of {asked} ({:.1} %)", self.found, 100.0 * self.found as f32 / asked.max(1) as f32);
        println!("  tells {} others of {}", self.told - self.confirmed, self.told);
        for (name, of) in
            [("dx", (|c| c.dx) as fn(&Convention) -> f32), ("dy", |c| c.dy), ("sw", |c| c.sw), ("sh", |c| c.sh)]
        {
            let mut values: Vec<_> = self.pairs.iter().map(of).collect();
            let [low, middle, high] = [0.25, 0.5, 0.75].map(|q| quantile(&mut values, q));
            println!("  {name} = {middle:.3} (quartiles {low:.3}, {high:.3}; n = {})", values.len());
        }
        let (drawn, mapped) = (quantile(&mut self.overlap.0, 0.5), quantile(&mut self.overlap.1, 0.5));
        println!("  median overlap {drawn:.3} as drawn, {mapped:.3} as mapped by {:?}", self.convention);
    }
}

fn large(b: &Rect) -> bool {
    b.w.min(b.h) >= MIN_FACE
}

fn overlap(a: &Face, b: &Face) -> f32 {
    a.bbox.iou(&b.bbox)
}

/// Zero where there is nothing.
fn quantile(values: &mut [f32], q: f32) -> f32 {
    values.sort_by(f32::total_cmp);
    values.get((q * values.len().saturating_sub(1) as f32).round() as usize).copied().unwrap_or(0.0)
}
