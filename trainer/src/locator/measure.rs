//! How well locators find faces, how fast and how steadily, beside each other and through the engine's own code.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use deepfake_scoring::crop::Cropper;
use deepfake_scoring::frame::FrameView;
use deepfake_scoring::geometry::Rect;
use deepfake_scoring::locate::{self, Face, LocateOptions, Locator};
use deepfake_scoring::model::Model;
use deepfake_scoring::session::{Provider, SessionOptions};
use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;
use serde::Serialize;

use super::config::Config;
use super::corpus::{self, SURE};
use super::scene::{self, Painter};
use crate::data::Picture;
use crate::error::{Error, Result};
use crate::log;
use crate::seeded;
use crate::video;

/// Boxes are of the same face from this overlap on.
pub(super) const FOUND: f32 = 0.5;
/// A box that overlaps with what the teacher may have seen by this much is not false.
pub(super) const NEAR: f32 = 0.3;
/// Boxes are looked at from this confidence on.
const LEAST: f32 = 0.3;

/// Lower bounds of the classes of faces' sizes (geometric mean of the sides), pixels of the frame.
const SIZES: [u32; 5] = [0, 24, 40, 80, 160];

/// Sizes of the frames that time is measured with.
const TIMED: [[usize; 2]; 2] = [[640, 480], [1920, 1080]];
const RUNS: usize = 40;

/// Stills that jitter is measured with, noisy copies of each, and the noise's standard deviation in values of 255.
const STILLS: usize = 12;
const COPIES: usize = 12;
const NOISE: f64 = 3.0;
/// A face must be this large, pixels, for its jitter to be told.
const STEADY: f32 = 40.0;

/// What was found of one locator.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// What it is called.
    pub name: String,
    /// SHA-256 of its model.
    pub digest: String,
    /// On frames of held-out videos.
    pub videos: Recall,
    /// On composed scenes of held-out portraits.
    pub scenes: Recall,
    /// Median milliseconds a frame on one thread, by the frame's width and height.
    pub milliseconds: BTreeMap<String, f64>,
    /// Standard deviation of the box from one noisy copy of a still to the next, in parts of the face's side: the root of the mean square over
    /// centre, width and height.
    pub jitter: Option<f64>,
}

/// Share of the reference's faces that were found, at the confidence that keeps the wished number of false boxes a frame.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Recall {
    /// Frames looked at.
    pub frames: usize,
    /// The confidence.
    pub confidence: f32,
    /// False boxes a frame at that confidence.
    pub false_boxes: f64,
    /// False boxes a frame at the engine's own confidence.
    pub false_boxes_by_default: f64,
    /// Of all faces; found, asked.
    pub all: [usize; 2],
    /// As `all`, at the engine's own confidence.
    pub by_default: [usize; 2],
    /// By size: lower bound in pixels; found, asked.
    pub by_size: BTreeMap<u32, [usize; 2]>,
    /// By video, faces of over 40 pixels; found, asked.
    pub by_video: BTreeMap<String, [usize; 2]>,
}

/// What a locator said, before a confidence is chosen.
#[derive(Debug, Default)]
struct Said {
    frames: usize,
    /// Side, video, and the confidence of the surest box that fits.
    faces: Vec<(f32, String, f32)>,
    /// Confidences of boxes where no face is.
    wrong: Vec<f32>,
}

impl Said {
    fn add(&mut self, video: &str, boxes: &[Face], sure: &[Rect], perhaps: &[Rect]) {
        self.frames += 1;
        for face in sure {
            let fits = boxes.iter().filter(|b| b.bbox.iou(face) >= FOUND).map(|b| b.confidence);
            self.faces.push((face.area().sqrt(), video.to_owned(), fits.fold(0.0, f32::max)));
        }
        let known = |b: &&Face| sure.iter().chain(perhaps).any(|face| b.bbox.iou(face) >= NEAR);
        self.wrong.extend(boxes.iter().filter(|b| !known(b)).map(|b| b.confidence));
    }

    fn recall(mut self, allowed: f64) -> Recall {
        self.wrong.sort_by(|a, b| b.total_cmp(a));
        let may = (allowed * self.frames as f64) as usize;
        // Just above the first false box that would be too many.
        let confidence = self.wrong.get(may).map_or(LEAST, |c| c.next_up().max(LEAST));
        let default = LocateOptions::default().confidence;
        let wrong = |at: f32| self.wrong.iter().filter(|c| **c >= at).count() as f64 / self.frames.max(1) as f64;
        let mut recall = Recall {
            frames: self.frames,
            confidence,
            false_boxes: wrong(confidence),
            false_boxes_by_default: wrong(default),
            ..Recall::default()
        };
        let count = |into: &mut [usize; 2], found: bool| {
            into[0] += usize::from(found);
            into[1] += 1;
        };
        for (side, video, sure) in &self.faces {
            let found = *sure >= confidence;
            count(&mut recall.all, found);
            count(&mut recall.by_default, *sure >= default);
            let class = SIZES.into_iter().rev().find(|s| *side >= *s as f32).unwrap_or(0);
            count(recall.by_size.entry(class).or_default(), found);
            if *side >= 40.0 {
                count(recall.by_video.entry(video.clone()).or_default(), found);
            }
        }
        recall
    }
}

struct Contestant {
    name: String,
    locator: Locator,
    on_videos: Said,
    on_scenes: Said,
    boxes: Vec<Face>,
    times: Vec<Vec<f64>>,
    jitter: Vec<f64>,
}

/// Measures the locator in `model` beside the teacher, the rivals and the one that the engine is built with.
///
/// # Errors
///
/// Files that cannot be read, models that do not run.
pub fn measure(config: &Config, model: &Path, labels: &Path) -> Result<Vec<Measured>> {
    let session = SessionOptions { provider: Provider::Cpu, ..SessionOptions::default() };
    let options = LocateOptions { confidence: LEAST, ..LocateOptions::default() };
    let mut files: Vec<PathBuf> = vec![model.to_owned(), config.data.teacher.clone()];
    files.extend(config.measure.rivals.iter().cloned());
    let mut all = Vec::new();
    for file in &files {
        let locator = Locator::new(&Model::read(file)?, &session, options)?;
        all.push(Contestant::new(file.file_stem().unwrap_or_default().to_string_lossy().into_owned(), locator));
    }
    let bundled = locate::bundled()?;
    // Not beside itself.
    if all.iter().all(|c| c.locator.digest() != bundled.sha256()) {
        all.push(Contestant::new("bundled".to_owned(), Locator::new(&bundled, &session, options)?));
    }
    let mut stills = Vec::new();
    on_videos(config, &mut all, &mut stills)?;
    on_scenes(config, labels, &mut all, &mut stills)?;
    for still in stills.iter().take(STILLS) {
        jitter(still, &mut all)?;
    }
    if let Some((picture, _)) = stills.first() {
        time(picture, &mut all)?;
    }
    let allowed = config.measure.false_boxes;
    Ok(all.into_iter().map(|c| c.measured(allowed)).collect())
}

impl Contestant {
    fn new(name: String, locator: Locator) -> Self {
        Self {
            name,
            locator,
            on_videos: Said::default(),
            on_scenes: Said::default(),
            boxes: Vec::new(),
            times: vec![Vec::new(); TIMED.len()],
            jitter: Vec::new(),
        }
    }

    fn measured(self, allowed: f64) -> Measured {
        let median = |mut times: Vec<f64>| {
            times.sort_by(f64::total_cmp);
            times.get(times.len() / 2).copied()
        };
        let size = |[w, h]: [usize; 2]| format!("{w}x{h}");
        let times = TIMED.into_iter().zip(self.times).filter_map(|(s, t)| Some((size(s), median(t)?))).collect();
        let mean = self.jitter.iter().sum::<f64>() / self.jitter.len() as f64;
        Measured {
            digest: self.locator.digest().to_owned(),
            name: self.name,
            videos: self.on_videos.recall(allowed),
            scenes: self.on_scenes.recall(allowed),
            milliseconds: times,
            jitter: (!self.jitter.is_empty()).then(|| mean.sqrt()),
        }
    }
}

type Still = (Picture, Rect);

fn on_videos(config: &Config, all: &mut [Contestant], stills: &mut Vec<Still>) -> Result<()> {
    let (_, held_out) = corpus::videos(&config.data)?;
    let mut teacher = corpus::teacher(&config.data)?;
    let bar = log::bar(held_out.len(), "measuring on videos");
    for path in &held_out {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut seen = Vec::new();
        for frame in video::spread(path, config.measure.frames_per_video, video::Options::default())? {
            let frame = frame?;
            frame.with_view(|view| -> Result<()> {
                teacher.locate(view, &mut seen)?;
                let (sure, perhaps): (Vec<&Face>, Vec<&Face>) = seen.iter().partition(|f| f.confidence >= SURE);
                let rects = |faces: &[&Face]| faces.iter().map(|f| f.bbox).collect::<Vec<_>>();
                let (sure, perhaps) = (rects(&sure), rects(&perhaps));
                for one in &mut *all {
                    one.locator.locate(view, &mut one.boxes)?;
                    one.on_videos.add(&name, &one.boxes, &sure, &perhaps);
                }
                Ok(())
            })??;
            let large = seen.iter().find(|f| f.confidence >= SURE && f.bbox.area().sqrt() >= STEADY);
            if let Some(face) = large
                && !stills.iter().any(|(p, _)| (p.width, p.height) == frame.size())
            {
                stills.push((frame.picture()?, face.bbox));
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

fn on_scenes(config: &Config, labels: &Path, all: &mut [Contestant], stills: &mut Vec<Still>) -> Result<()> {
    let (_, portraits) = corpus::portraits(&config.data)?;
    let (_, videos) = corpus::videos(&config.data)?;
    let corpus = corpus::read(&config.data, &portraits, &videos, labels)?;
    if corpus.portraits.is_empty() {
        return Ok(());
    }
    let mut painter = Painter::default();
    let bar = log::bar(config.measure.scenes, "measuring on scenes");
    for index in 0..config.measure.scenes {
        let scene = scene::for_measuring(&mut painter, &corpus, &config.scene, index)?;
        let view = FrameView::rgb(scene.picture.width, scene.picture.height, &scene.picture.data)?;
        let part =
            |wanted: bool| -> Vec<Rect> { scene.faces.iter().filter(|f| f.wanted == wanted).map(|f| f.bbox).collect() };
        for one in &mut *all {
            one.locator.locate(&view, &mut one.boxes)?;
            one.on_scenes.add("scenes", &one.boxes, &part(true), &part(false));
        }
        if stills.len() < STILLS
            && let Some(face) = scene.faces.iter().find(|f| f.wanted && f.bbox.area().sqrt() >= STEADY)
        {
            let bbox = face.bbox;
            stills.push((scene.picture, bbox));
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

/// The variance of the box of a still's face under noise, for those who find it in all copies.
fn jitter((picture, face): &Still, all: &mut [Contestant]) -> Result<()> {
    let mut boxes: Vec<Vec<Rect>> = vec![Vec::new(); all.len()];
    for copy in 0..COPIES {
        let mut rng = Pcg64Mcg::seed_from_u64(copy as u64);
        let noisy = |v: &u8| (f64::from(*v) + NOISE * seeded::normal(&mut rng)).round() as u8;
        let data: Vec<u8> = picture.data.iter().map(noisy).collect();
        let view = FrameView::rgb(picture.width, picture.height, &data)?;
        for (one, boxes) in all.iter_mut().zip(&mut boxes) {
            one.locator.locate(&view, &mut one.boxes)?;
            boxes.extend(one.boxes.iter().map(|b| b.bbox).filter(|b| b.iou(face) >= FOUND).take(1));
        }
    }
    if boxes.iter().any(|b| b.len() < COPIES) {
        return Ok(());
    }
    let side = f64::from(face.area().sqrt());
    for (one, boxes) in all.iter_mut().zip(&boxes) {
        let numbers: [fn(&Rect) -> f32; 4] = [|b| b.center().x, |b| b.center().y, |b| b.w, |b| b.h];
        let variance = |number: fn(&Rect) -> f32| {
            let values: Vec<f64> = boxes.iter().map(|b| f64::from(number(b)) / side).collect();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (values.len() - 1) as f64
        };
        one.jitter.push(numbers.map(variance).iter().sum::<f64>() / 4.0);
    }
    Ok(())
}

/// All of them on the same frame, in turn.
fn time(picture: &Picture, all: &mut [Contestant]) -> Result<()> {
    let source = FrameView::rgb(picture.width, picture.height, &picture.data)?;
    let whole = Rect::new(0.0, 0.0, picture.width as f32, picture.height as f32);
    for (index, [width, height]) in TIMED.into_iter().enumerate() {
        let frame = Picture::cut(&mut Cropper::default(), &source, &whole, width, height)?;
        let view = FrameView::rgb(width, height, &frame.data)?;
        for run in 0..RUNS + 3 {
            for one in &mut *all {
                let start = Instant::now();
                one.locator.locate(&view, &mut one.boxes)?;
                // The first ones warm up.
                if run >= 3 {
                    one.times[index].push(start.elapsed().as_secs_f64() * 1e3);
                }
            }
        }
    }
    Ok(())
}

/// The table of a card, Markdown.
pub fn table(all: &[Measured]) -> String {
    let mut text = String::new();
    let mut line = |cells: Vec<String>| text.push_str(&format!("| {} |\n", cells.join(" | ")));
    let names: Vec<String> = all.iter().map(|m| m.name.clone()).collect();
    let row = |what: &str, cell: &dyn Fn(&Measured) -> String| {
        std::iter::once(what.to_owned()).chain(all.iter().map(cell)).collect::<Vec<_>>()
    };
    line(std::iter::once(String::new()).chain(names).collect());
    line(vec!["---".to_owned(); all.len() + 1]);
    let share = |[found, asked]: [usize; 2]| match asked {
        0 => "-".to_owned(),
        n => format!("{:.1} % of {n}", 100.0 * found as f64 / n as f64),
    };
    type Part = fn(&Measured) -> &Recall;
    for (set, of) in [("held-out videos", (|m| &m.videos) as Part), ("composed scenes", |m| &m.scenes)] {
        line(row(&format!("**{set}**: confidence"), &|m| format!("{:.2}", of(m).confidence)));
        line(row("false boxes a frame", &|m| format!("{:.3}", of(m).false_boxes)));
        line(row("recall, all faces", &|m| share(of(m).all)));
        for (i, least) in SIZES.into_iter().enumerate() {
            let name = match SIZES.get(i + 1) {
                Some(most) => format!("recall, {least} to {most} px"),
                None => format!("recall, from {least} px"),
            };
            if all.iter().any(|m| of(m).by_size.contains_key(&least)) {
                line(row(&name, &|m| share(of(m).by_size.get(&least).copied().unwrap_or_default())));
            }
        }
        line(row("recall at the engine's confidence", &|m| share(of(m).by_default)));
        line(row("false boxes a frame there", &|m| format!("{:.3}", of(m).false_boxes_by_default)));
    }
    let videos: std::collections::BTreeSet<&String> = all.iter().flat_map(|m| m.videos.by_video.keys()).collect();
    for video in videos {
        line(row(&format!("{video}, from 40 px"), &|m| {
            share(m.videos.by_video.get(video).copied().unwrap_or_default())
        }));
    }
    for size in all.iter().flat_map(|m| m.milliseconds.keys()).collect::<std::collections::BTreeSet<_>>() {
        let told = |m: &Measured| m.milliseconds.get(size).map_or_else(|| "-".to_owned(), |t| format!("{t:.1}"));
        line(row(&format!("ms a frame of {size}"), &told));
    }
    line(row("jitter, % of the face's side", &|m| {
        m.jitter.map_or_else(|| "-".to_owned(), |j| format!("{:.2}", 100.0 * j))
    }));
    text
}

/// Writes the table into a card, between its two marks.
///
/// # Errors
///
/// A card that cannot be read or written, or has no marks.
pub fn write_card(path: &Path, table: &str) -> Result<()> {
    const MARKS: [&str; 2] = ["<!-- measured -->\n", "<!-- end of measured -->"];
    let card = std::fs::read_to_string(path).map_err(Error::io(path))?;
    let parts = card.split_once(MARKS[0]).and_then(|(before, rest)| Some((before, rest.split_once(MARKS[1])?.1)));
    let Some((before, after)) = parts else {
        let problem = format!(
            "{}: no place for the table; put the lines `{}` and `{}` there",
            path.display(),
            MARKS[0].trim(),
            MARKS[1]
        );
        return Err(Error::Data(problem));
    };
    let [begin, end] = MARKS;
    crate::checkpoint::write_atomically(path, format!("{before}{begin}{table}{end}{after}").as_bytes())
}
