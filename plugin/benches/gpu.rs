//! What a GPU does beside the CPU: `cargo bench -p gst-plugin-deepfake --features cuda --bench gpu -- [--provider cuda|tensorrt|cpu] [--write FILE]`;
//! `tests/gpu.sh` calls it. With `--provider cpu` it measures the CPU beside itself, which shows that the measurement works.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use deepfake_scoring::model::Model;
use deepfake_scoring::score::Scorer;
use deepfake_scoring::session::{Provider, SessionOptions};
use gst::prelude::*;
use gstdeepfake::meta::Scores;

/// Faces that are scored by both.
const FACES: usize = 64;
/// Faces of a run.
const BATCHES: [usize; 4] = [1, 4, 16, 32];
/// Streams at once.
const STREAMS: [usize; 5] = [1, 2, 4, 8, 16];
/// Frames of each.
const FRAMES: u32 = 300;
/// The largest difference of a logit, of 32-bit floats summed up in another order or with fewer bits (TF32).
const TOLERANCE: f32 = 0.05;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let after = |name: &str| arguments.iter().position(|a| a == name).and_then(|i| arguments.get(i + 1)).cloned();
    let provider: Provider = after("--provider").map_or(Ok(Provider::Cuda), |p| p.parse())?;
    gst::init()?;
    gstdeepfake::plugin_register_static()?;
    let model = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/scorer.onnx");
    let mut text = format!("{}, provider {provider}, {}.\n\n", gpu(), gst::version_string());
    for line in faces(&Model::read(&model)?, provider)?.into_iter().chain(streams(&model, provider)?) {
        println!("{line}");
        writeln!(text, "{line}")?;
    }
    if let Some(file) = after("--write") {
        write_between_marks(Path::new(&file), provider, &text)?;
    }
    Ok(())
}

/// What the driver says of the GPU, or that there is none.
fn gpu() -> String {
    asked("name,driver_version").unwrap_or_else(|| "no GPU".to_owned())
}

/// What `nvidia-smi` says.
fn asked(what: &str) -> Option<String> {
    let arguments = [format!("--query-gpu={what}"), "--format=csv,noheader,nounits".to_owned()];
    let output = Command::new("nvidia-smi").args(arguments).output().ok().filter(|o| o.status.success())?;
    String::from_utf8(output.stdout).ok()?.lines().next().map(|l| l.trim().to_owned())
}

/// Megabytes of the GPU that are in use, by whomever.
fn in_use() -> Option<f64> {
    asked("memory.used")?.parse().ok()
}

/// The same faces by both, and how many of them a second.
fn faces(model: &Model, provider: Provider) -> Result<Vec<String>> {
    let open =
        |provider, bind| Scorer::new(model, None, &SessionOptions { provider, bind, ..SessionOptions::default() });
    let (mut cpu, mut gpu) = (open(Provider::Cpu, false)?, open(provider, false)?);
    let mut bound = open(provider, true)?;
    if gpu.provider() != provider {
        return Err(format!("{provider} was asked for, {} runs", gpu.provider()).into());
    }
    let mut worst = 0.0_f32;
    for scorer in [&mut cpu, &mut gpu, &mut bound] {
        for face in 0..FACES {
            fill(scorer.crop_mut(face), face);
        }
        scorer.run(FACES, None)?;
    }
    for face in 0..FACES {
        let logit = |s: &Scorer| s.evidence(face).map(|e| e.logit).map_err(|why| why.name());
        let theirs = logit(&cpu)?;
        worst = worst.max((theirs - logit(&gpu)?).abs()).max((theirs - logit(&bound)?).abs());
    }
    if worst > TOLERANCE {
        return Err(format!("a logit differs by {worst} from the CPU's: more than {TOLERANCE}").into());
    }
    let mut lines = vec![
        format!("{FACES} faces on both: logits differ by at most {worst:.1e}."),
        String::new(),
        format!("| faces a run | {provider}, faces a second | CPU, one thread | | {provider}, bound |"),
        "| --- | --- | --- | --- | --- |".to_owned(),
    ];
    for batch in BATCHES {
        let (ours, theirs, other) = (pace(&mut gpu, batch)?, pace(&mut cpu, batch)?, pace(&mut bound, batch)?);
        lines.push(format!("| {batch} | {ours:.0} | {theirs:.0} | {:.1} times | {other:.0} |", ours / theirs));
    }
    lines.push(String::new());
    Ok(lines)
}

/// A picture of numbers that differ from face to face.
fn fill(crop: &mut [f32], face: usize) {
    for (i, v) in crop.iter_mut().enumerate() {
        *v = ((i * (face + 3)) % 251) as f32 / 125.0 - 1.0;
    }
}

/// Faces a second, in runs of so many for a second, after two that do not count.
fn pace(scorer: &mut Scorer, batch: usize) -> Result<f64> {
    let mut runs = 0;
    let mut start = Instant::now();
    for warm in 0_u32.. {
        if warm == 2 {
            start = Instant::now();
            runs = 0;
        }
        scorer.run(batch, None)?;
        runs += 1;
        if warm > 2 && start.elapsed() > Duration::from_secs(1) {
            break;
        }
    }
    Ok((runs * batch) as f64 / start.elapsed().as_secs_f64())
}

/// Streams of one process on one session, whole 1080p frames as faces, as fast as they go.
fn streams(model: &Path, provider: Provider) -> Result<Vec<String>> {
    let mut lines = vec![
        "| streams of 1080p on one session, a face a frame | frames a second of all | streams of 1080p60 | MB of the GPU |".to_owned(),
        "| --- | --- | --- | --- |".to_owned(),
    ];
    let before = in_use();
    for streams in STREAMS {
        let line = format!(
            "videotestsrc num-buffers=1 ! video/x-raw,format=NV12,width=1920,height=1080,framerate=60/1 ! imagefreeze num-buffers={FRAMES} ! \
             deepfakescore mode=every-frame face-source=frame session-group=gpu provider={provider} model=\"{}\" ! \
             fakesink name=sink signal-handoffs=true",
            model.display()
        );
        let pipelines: Vec<gst::Pipeline> = (0..streams).map(|_| pipeline(&line)).collect::<Result<_>>()?;
        for pipeline in &pipelines {
            pipeline.set_state(gst::State::Paused)?;
        }
        // The model is loaded when the first frame has come through.
        for pipeline in &pipelines {
            pipeline.state(gst::ClockTime::from_seconds(600)).0?;
        }
        let start = Instant::now();
        for pipeline in &pipelines {
            pipeline.set_state(gst::State::Playing)?;
        }
        for pipeline in &pipelines {
            end(pipeline)?;
        }
        let seconds = start.elapsed().as_secs_f64();
        let memory = before.zip(in_use()).map_or_else(|| "?".to_owned(), |(b, a)| format!("{:.0}", a - b));
        for pipeline in &pipelines {
            pipeline.set_state(gst::State::Null)?;
        }
        // The frame that was waiting in PAUSED does not count.
        let pace = streams as f64 * f64::from(FRAMES - 1) / seconds;
        lines.push(format!("| {streams} | {pace:.0} | {:.1} | {memory} |", pace / 60.0));
    }
    Ok(lines)
}

/// A pipeline in which every frame must be scored.
fn pipeline(line: &str) -> Result<gst::Pipeline> {
    let pipeline = gst::parse::launch(line)?.downcast::<gst::Pipeline>().map_err(|_| "not a pipeline")?;
    let sink = pipeline.by_name("sink").ok_or("no sink")?;
    let weak = pipeline.downgrade();
    sink.connect("handoff", false, move |values| {
        let buffer = values.get(1).and_then(|v| v.get::<gst::Buffer>().ok());
        let scored = buffer
            .and_then(|b| Scores::from_buffer(&b))
            .is_some_and(|s| s.faces.iter().all(|f| f.outcome.is_ok()) && !s.faces.is_empty());
        if !scored && let Some(pipeline) = weak.upgrade() {
            gst::element_error!(pipeline, gst::StreamError::Failed, ("a frame was not scored"));
        }
        None
    });
    Ok(pipeline)
}

/// Waits for the end.
fn end(pipeline: &gst::Pipeline) -> Result<()> {
    let bus = pipeline.bus().ok_or("no bus")?;
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    match bus.timed_pop_filtered(gst::ClockTime::from_seconds(600), &kinds).as_ref().map(|m| m.view()) {
        Some(gst::MessageView::Eos(_)) => Ok(()),
        Some(gst::MessageView::Error(error)) => Err(error.error().to_string().into()),
        _ => Err("a stream does not end".into()),
    }
}

fn write_between_marks(path: &Path, provider: Provider, text: &str) -> Result<()> {
    let marks = [format!("<!-- {provider} -->\n"), format!("<!-- end of {provider} -->")];
    let page = std::fs::read_to_string(path)?;
    let (before, rest) = page.split_once(&marks[0]).ok_or("the page has no place for the tables")?;
    let (_, after) = rest.split_once(&marks[1]).ok_or("the page has no end of the tables")?;
    std::fs::write(path, format!("{before}{}{text}{}{after}", marks[0], marks[1]))?;
    Ok(())
}
