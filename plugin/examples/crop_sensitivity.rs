//! How much a model's scores hinge on the crop: the same faces of the same frames, scored at the contract's `crop.margin` and
//! `crop.shift_y` and at others. The source of such a table in a model's card.
//!
//! ```text
//! cargo run --release -p gst-plugin-deepfake --example crop_sensitivity -- MODEL.onnx DETECTOR.onnx|bundled EVERY VIDEO...
//! ```
//!
//! Looks at every EVERY-th frame and at the largest face in it. Videos whose file name holds `fake` are fakes, the others real.
//! Prints a Markdown table: mean logit of each video, how far the mean of the fakes lies above that of the reals, and how often
//! a frame of a fake has a larger logit than a frame of a real one (the AUC; of those few videos, and of no others).

use std::error::Error;
use std::path::Path;

use deepfake_scoring::contract::Crop;
use deepfake_scoring::crop::Cropper;
use deepfake_scoring::frame::{Colorimetry, FrameView, PixelFormat, Plane, Scan};
use deepfake_scoring::locate::{self, LocateOptions, Locator};
use deepfake_scoring::model::Model;
use deepfake_scoring::score::Scorer;
use deepfake_scoring::session::SessionOptions;
use gst::prelude::*;
use gst_video::prelude::*;

/// What is added to the contract's margin and shift.
const CHANGES: [(f32, f32); 9] = [
    (-0.15, 0.0),
    (-0.10, 0.0),
    (-0.05, 0.0),
    (0.0, 0.0),
    (0.05, 0.0),
    (0.10, 0.0),
    (0.15, 0.0),
    (0.0, -0.05),
    (0.0, 0.05),
];

/// The logits of a video, a list for each of [`CHANGES`].
type Logits = [Vec<f64>; CHANGES.len()];

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, detector, every, videos @ ..] = args.as_slice() else {
        return Err("usage: crop_sensitivity MODEL.onnx DETECTOR.onnx|bundled EVERY VIDEO...".into());
    };
    let every: usize = every.parse()?;
    gst::init()?;
    let session = SessionOptions::default();
    let mut scorer = Scorer::new(&Model::read(Path::new(model))?, None, &session)?;
    let crop = scorer.contract().crop.clone();
    let crops = CHANGES.map(|(margin, shift)| Crop {
        margin: crop.margin + margin,
        shift_y: crop.shift_y + shift,
        ..crop.clone()
    });
    let options = LocateOptions::default();
    let mut locator = match detector.as_str() {
        "bundled" => Locator::new(&locate::bundled()?, &session, options)?,
        path => Locator::new(&Model::read(Path::new(path))?, &session, options)?,
    };

    let mut all = Vec::new();
    for video in videos {
        let mut logits = Logits::default();
        let mut looked_at = 0;
        each_frame(video, every, |frame| {
            looked_at += 1;
            score(frame, &mut locator, &mut scorer, &crops, &mut logits)
        })?;
        let name = Path::new(video).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        eprintln!("{name}: a face in {} of {looked_at} frames", logits[0].len());
        all.push((name, logits));
    }
    print(&all, &crops);
    Ok(())
}

/// Decodes a video and shows every `every`-th frame, in RGB.
fn each_frame(
    video: &str,
    every: usize,
    mut look: impl FnMut(&FrameView<'_>) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let pipeline = gst::parse::launch(
        "filesrc name=source ! decodebin ! videoconvert ! video/x-raw,format=RGB ! appsink name=frames sync=false max-buffers=2",
    )?;
    let pipeline = pipeline.downcast::<gst::Pipeline>().map_err(|_| "not a pipeline")?;
    pipeline.by_name("source").ok_or("no source")?.set_property("location", video);
    let frames = pipeline.by_name("frames").and_downcast::<gst_app::AppSink>().ok_or("no sink")?;
    pipeline.set_state(gst::State::Playing)?;
    let mut number = 0;
    while let Ok(sample) = frames.pull_sample() {
        if number % every == 0 {
            let info = gst_video::VideoInfo::from_caps(sample.caps().ok_or("no caps")?)?;
            let buffer = sample.buffer().ok_or("no buffer")?;
            let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &info)?;
            let plane = Plane { data: frame.plane_data(0)?, stride: usize::try_from(frame.plane_stride()[0])? };
            let (width, height) = (frame.width() as usize, frame.height() as usize);
            look(&FrameView::new(PixelFormat::Rgb, width, height, Colorimetry::RGB, Scan::Progressive, &[plane])?)?;
        }
        number += 1;
    }
    let failed = pipeline.bus().and_then(|bus| bus.pop_filtered(&[gst::MessageType::Error]));
    pipeline.set_state(gst::State::Null)?;
    if let Some(gst::MessageView::Error(error)) = failed.as_ref().map(|m| m.view()) {
        return Err(format!("{video}: {}", error.error()).into());
    }
    Ok(())
}

/// Scores the largest face of a frame, cut in each way.
fn score(
    frame: &FrameView<'_>,
    locator: &mut Locator,
    scorer: &mut Scorer,
    crops: &[Crop; CHANGES.len()],
    logits: &mut Logits,
) -> Result<(), Box<dyn Error>> {
    let mut faces = Vec::new();
    locator.locate(frame, &mut faces)?;
    let Some(face) = faces.iter().max_by(|a, b| a.bbox.area().total_cmp(&b.bbox.area())) else {
        return Ok(());
    };
    let mut cropper = Cropper::default();
    let spec = *scorer.spec();
    for (index, crop) in crops.iter().enumerate() {
        cropper.crop(frame, &crop.region(&face.bbox), &spec, scorer.crop_mut(index))?;
    }
    scorer.run(crops.len(), None)?;
    for (index, logits) in logits.iter_mut().enumerate() {
        let evidence = scorer.evidence(index).map_err(|reason| format!("a face has no score: {reason}"))?;
        logits.push(f64::from(evidence.logit));
    }
    Ok(())
}

fn print(all: &[(String, Logits)], crops: &[Crop; CHANGES.len()]) {
    let is_fake = |name: &str| name.contains("fake");
    print!("| margin | shift_y |");
    all.iter().for_each(|(name, _)| print!(" {name} |"));
    println!(" fake above real by | AUC of frames |");
    println!("|{}", "---|".repeat(all.len() + 4));
    for (index, (crop, (margin, shift))) in crops.iter().zip(CHANGES).enumerate() {
        let of = |fake: bool| -> Vec<f64> {
            all.iter().filter(|(name, _)| is_fake(name) == fake).flat_map(|(_, l)| l[index].clone()).collect()
        };
        let (fake, real) = (of(true), of(false));
        print!("| {:+.3} ({margin:+.2}) | {:+.3} ({shift:+.2}) |", crop.margin, crop.shift_y);
        all.iter().for_each(|(_, logits)| print!(" {} |", signed(mean(&logits[index]))));
        println!(" {} | {} |", signed(mean(&fake) - mean(&real)), shown(auc(&fake, &real)));
    }
}

/// A dash where there were no faces.
fn signed(value: f64) -> String {
    if value.is_nan() { "-".to_owned() } else { format!("{value:+.2}") }
}

fn shown(value: f64) -> String {
    if value.is_nan() { "-".to_owned() } else { format!("{value:.3}") }
}

/// NaN of nothing.
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// How often a value of `high` is above one of `low`; equal ones count half.
fn auc(high: &[f64], low: &[f64]) -> f64 {
    let above = |h: f64| low.iter().map(|l| if h > *l { 1.0 } else { f64::from(u8::from(h == *l)) / 2.0 }).sum::<f64>();
    high.iter().map(|h| above(*h)).sum::<f64>() / (high.len() * low.len()) as f64
}
