//! What `deepfakescore` costs, each row against something else in the same run.
//!
//! `cargo bench -p gst-plugin-deepfake --bench elements -- [--python PYTHON] [--seconds N] [--write FILE]`; `tests/bench.sh` calls it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use deepfake_scoring::contract::{Contract, Layout};
use deepfake_scoring::crop::{Cropper, TensorSpec};
use deepfake_scoring::frame::{Colorimetry, FrameView, PixelFormat, Plane, Scan};
use deepfake_scoring::geometry::Rect;
use deepfake_scoring::locate::LocateOptions;
use deepfake_scoring::model::Model;
use deepfake_scoring::onnx::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto,
    ValueInfoProto,
};
use deepfake_scoring::session::{Session, SessionOptions};
use gst::prelude::*;
use gst_check::Harness;
use gst_video::{VideoFormat, VideoInfo, VideoRegionOfInterestMeta};
use gstdeepfake::meta::Scores;
use prost::Message;

mod streams;

const WIDTH: u32 = 1920;
const HEIGHT: u32 = 1080;
/// Side of the heavy models' crops.
const SIDE: i64 = 224;
/// A frame at 60 a second.
const TICK: Duration = Duration::from_nanos(16_666_667);

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let after = |name: &str| arguments.iter().position(|a| a == name).and_then(|i| arguments.get(i + 1)).cloned();
    if let Some(loops) = after("--video") {
        return video(loops.parse()?, &after("--file").map_or_else(sample, PathBuf::from));
    }
    if arguments.iter().any(|a| a == "--cold") {
        return cold();
    }
    init()?;
    if arguments.iter().any(|a| a == "--memory") {
        return streams::memory();
    }
    let seconds = after("--seconds").map_or(Ok(60), |s| s.parse())?;
    let mut table = String::from("| what | measured | wished |\n| --- | --- | --- |\n");
    let mut row = |cells: [&str; 3]| -> Result<()> {
        println!("{}: {} (wished: {})", cells[0], cells[1], cells[2]);
        writeln!(table, "| {} |", cells.join(" | "))?;
        Ok(())
    };
    let folder = tempfile::tempdir()?;
    let [what, measured] = overhead(folder.path())?;
    row([&what, &measured, "at most 5 % more"])?;
    let [what, measured] = live(folder.path(), seconds)?;
    row([&what, &measured, "p99 at most 1 ms more, no frame lost or out of order"])?;
    let [what, measured] = streams::throughput(folder.path())?;
    row([&what, &measured, "at least 90 %"])?;
    let [what, measured] = streams::memories()?;
    row([&what, &measured, "at most 20 MB"])?;
    row([
        "cold start: from the start of the process to the first scored frame of a video, bundled models",
        &colds()?,
        "at most 1 s",
    ])?;
    if let Some(python) = after("--python") {
        for (cells, wished) in script(&python)? {
            row([&cells[0], &cells[1], wished])?;
        }
    }
    if let Some(file) = after("--write") {
        write_between_marks(Path::new(&file), &format!("{}\n\n{table}", machine()))?;
    }
    Ok(())
}

fn init() -> Result<()> {
    gst::init()?;
    gstdeepfake::plugin_register_static()?;
    Ok(())
}

/// What it runs on.
fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpu.lines().find_map(|l| l.strip_prefix("model name")).map_or("", |l| l.trim_start_matches(['\t', ' ', ':']));
    let count = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{model}, {count} logical processors, {}.", gst::version_string())
}

fn write_between_marks(path: &Path, text: &str) -> Result<()> {
    const MARKS: [&str; 2] = ["<!-- measured -->\n", "<!-- end of measured -->"];
    let page = std::fs::read_to_string(path)?;
    let (before, rest) = page.split_once(MARKS[0]).ok_or("the page has no place for the table")?;
    let (_, after) = rest.split_once(MARKS[1]).ok_or("the page has no end of the table")?;
    std::fs::write(path, format!("{before}{}{text}{}{after}", MARKS[0], MARKS[1]))?;
    Ok(())
}

/// A model that scores by brightness and multiplies matrices of 512x512 so many times.
fn heavy(folder: &Path, times: usize) -> Result<PathBuf> {
    let mean = |input, output, axes: &[i64]| {
        let attributes = vec![AttributeProto::int_list("axes", axes), AttributeProto::int("keepdims", 0)];
        NodeProto::new("ReduceMean", &[input], &[output], attributes)
    };
    let mut nodes = vec![
        mean("x", "brightness", &[1, 2, 3]),
        // What depends on the input is not worked out when the model is loaded.
        mean("brightness", "level", &[0]),
        NodeProto::new("Mul", &["level", "tiny"], &["little"], vec![]),
        NodeProto::new("Add", &["ones", "little"], &["m0"], vec![]),
    ];
    let names: Vec<_> = (0..=times).map(|i| format!("m{i}")).collect();
    nodes.extend(names.windows(2).map(|pair| NodeProto::new("MatMul", &["small", &pair[0]], &[&pair[1]], vec![])));
    nodes.extend([
        mean(&names[times], "rest", &[0, 1]),
        NodeProto::new("Mul", &["rest", "tiny"], &["nothing"], vec![]),
        NodeProto::new("Add", &["brightness", "nothing"], &["logit"], vec![]),
    ]);
    let square = |name: &str, value: f32| TensorProto::floats(name, &[512, 512], &vec![value; 512 * 512]);
    let entry = |(k, v): (&str, &str)| StringStringEntryProto { key: Some(k.into()), value: Some(v.into()) };
    let proto = ModelProto {
        ir_version: Some(8),
        opset_import: vec![OperatorSetIdProto { domain: None, version: Some(17) }],
        graph: Some(GraphProto {
            name: Some("heavy".into()),
            node: nodes,
            initializer: vec![
                TensorProto::floats("tiny", &[], &[1e-9]),
                square("ones", 1.0),
                square("small", 1.0 / 512.0),
            ],
            input: vec![ValueInfoProto::floats("x", &[Err("n"), Ok(3), Ok(SIDE), Ok(SIDE)])],
            output: vec![ValueInfoProto::floats("logit", &[Err("n")])],
            ..GraphProto::default()
        }),
        metadata_props: [("contract_version", "1"), ("crop.margin", "0.3")].into_iter().map(entry).collect(),
        ..ModelProto::default()
    };
    let path = folder.join(format!("heavy{times}.onnx"));
    std::fs::write(&path, proto.encode_to_vec())?;
    Ok(path)
}

/// An element between a source and a sink that cost nothing, and a pool of large frames for it.
struct Line {
    harness: Harness,
    pool: gst::BufferPool,
    count: u64,
}

impl Line {
    fn new(element: &gst::Element) -> Result<Self> {
        let mut harness = Harness::with_element(element, Some("sink"), Some("src"));
        let info = VideoInfo::builder(VideoFormat::Nv12, WIDTH, HEIGHT).fps((60, 1)).build()?;
        harness.set_src_caps(info.to_caps()?);
        let pool = gst::BufferPool::new();
        let mut config = pool.config();
        config.set_params(Some(&info.to_caps()?), info.size() as u32, 0, 0);
        pool.set_config(config)?;
        pool.set_active(true)?;
        Ok(Self { harness, pool, count: 0 })
    }

    fn score(model: &Path, mode: &str) -> Result<Self> {
        let element = gst::ElementFactory::make("deepfakescore").build()?;
        element.set_property("model", model.to_str());
        element.set_property_from_str("face-source", "upstream");
        element.set_property_from_str("mode", mode);
        element.set_property_from_str("on-error", "passthrough");
        Self::new(&element)
    }

    /// The next frame, with so many faces of 300 pixels.
    fn frame(&mut self, faces: u32) -> Result<gst::Buffer> {
        let mut buffer = self.pool.acquire_buffer(None)?;
        let header = buffer.make_mut();
        header.set_pts(gst::ClockTime::from_nseconds(TICK.as_nanos() as u64 * self.count));
        for i in 0..faces {
            VideoRegionOfInterestMeta::add(header, "face", (60 + i * 450, 300, 300, 300));
        }
        self.count += 1;
        Ok(buffer)
    }

    /// How long the element has a frame.
    fn pass(&mut self, frame: gst::Buffer) -> Result<(Duration, gst::Buffer)> {
        let start = Instant::now();
        self.harness.push(frame).map_err(|e| format!("{e:?}"))?;
        let took = start.elapsed();
        Ok((took, self.harness.pull()?))
    }
}

fn quantile(times: &mut [Duration], q: f64) -> f64 {
    times.sort();
    times[((times.len() - 1) as f64 * q).round() as usize].as_secs_f64() * 1e3
}

/// Every frame, one face from upstream, beside ONNX Runtime alone on a crop.
fn overhead(folder: &Path) -> Result<[String; 2]> {
    const FRAMES: usize = 300;
    // A second multiplication where one does not take four milliseconds.
    let mut times = 1;
    let (path, mut session) = loop {
        let path = heavy(folder, times)?;
        let mut session = Session::new(&Model::read(&path)?, &SessionOptions::default())?;
        let mut taken: Vec<Duration> = (0..30).map(|_| raw(&mut session)).collect::<Result<_>>()?;
        if quantile(&mut taken, 0.5) >= 4.0 {
            break (path, session);
        }
        times += 1;
    };
    let mut line = Line::score(&path, "every-frame")?;
    let (mut ours, mut theirs) = (vec![], vec![]);
    for number in 0..FRAMES + 20 {
        let raw = raw(&mut session)?;
        let frame = line.frame(1)?;
        let (took, out) = line.pass(frame)?;
        assert!(Scores::from_buffer(&out).is_some_and(|s| s.faces[0].outcome.is_ok()));
        // The first ones warm up.
        if number >= 20 {
            ours.push(took);
            theirs.push(raw);
        }
    }
    let (ours, theirs) = (quantile(&mut ours, 0.5), quantile(&mut theirs, 0.5));
    Ok([
        format!(
            "mode every-frame, 1080p NV12, one face from upstream, crop of {SIDE}x{SIDE}: time of a frame in the element beside ONNX Runtime's run alone (medians of {FRAMES})"
        ),
        format!("{ours:.2} ms beside {theirs:.2} ms: {:+.1} %", 100.0 * (ours / theirs - 1.0)),
    ])
}

fn raw(session: &mut Session) -> Result<Duration> {
    let input = vec![0.5; 3 * (SIDE * SIDE) as usize];
    let start = Instant::now();
    session.run(&[1, 3, SIDE as usize, SIDE as usize], &input)?;
    Ok(start.elapsed())
}

/// Live mode with a model that takes ten frames, beside `identity`.
fn live(folder: &Path, seconds: u64) -> Result<[String; 2]> {
    let mut times = 16;
    let path = loop {
        let path = heavy(folder, times)?;
        let mut session = Session::new(&Model::read(&path)?, &SessionOptions::default())?;
        if raw(&mut session)? >= 10 * TICK {
            break path;
        }
        times += 8;
    };
    let mut identity = Line::new(&gst::ElementFactory::make("identity").build()?)?;
    let mut score = Line::score(&path, "live")?;
    let frames = 60 * seconds;
    let (mut ours, mut theirs) = (vec![], vec![]);
    let (mut scored, mut oldest) = (0, gst::ClockTime::ZERO);
    let start = Instant::now();
    for number in 0..frames {
        std::thread::sleep((start + TICK * number as u32).saturating_duration_since(Instant::now()));
        let frame = identity.frame(4)?;
        theirs.push(identity.pass(frame)?.0);
        let frame = score.frame(4)?;
        let pts = frame.pts();
        let (took, out) = score.pass(frame)?;
        assert_eq!(out.pts(), pts, "a frame was lost or came out of order");
        ours.push(took);
        if let Some(scores) = Scores::from_buffer(&out)
            && let Some(age) = scores.faces.iter().filter_map(|f| f.outcome.as_ref().ok()).map(|s| s.age).max()
        {
            scored += 1;
            oldest = oldest.max(age);
        }
    }
    let p99 = [quantile(&mut ours, 0.99), quantile(&mut theirs, 0.99)];
    let p50 = [quantile(&mut ours, 0.5), quantile(&mut theirs, 0.5)];
    Ok([
        format!(
            "mode live, 1080p60 NV12 for {seconds} s, four faces, a model of {times} large products (over 167 ms a run): time of a frame in the element beside `identity`"
        ),
        format!(
            "p99 {:.3} ms beside {:.3} ms, median {:.3} beside {:.3}; {frames} of {frames} frames in order, {scored} with scores, at most {} ms old",
            p99[0],
            p99[1],
            p50[0],
            p50[1],
            oldest.mseconds()
        ),
    ])
}

fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../pipelines/sample/collins.mp4")
}

/// Runs a video through the element with its bundled models, once to warm up and `loops` times more, and prints as `script.py` does.
fn video(loops: usize, file: &Path) -> Result<()> {
    init()?;
    // A queue, as `deepfake-score` has one: the next frame is decoded while one is scored.
    let rest = "queue ! deepfakescore name=score mode=every-frame ! fakesink sync=false";
    let (pipeline, end) = decoded(file, rest)?;
    pipeline.set_state(gst::State::Playing)?;
    end()?;
    let stats = || pipeline.by_name("score").map(|s| s.property::<gst::Structure>("stats")).ok_or("no element");
    let (cpu, start, before) = (cpu_seconds(), Instant::now(), stats()?);
    for _ in 0..loops {
        pipeline.seek_simple(gst::SeekFlags::FLUSH, gst::ClockTime::ZERO)?;
        end()?;
    }
    let (cpu, seconds, after) = (cpu_seconds() - cpu, start.elapsed().as_secs_f64(), stats()?);
    pipeline.set_state(gst::State::Null)?;
    let more = |name: &str| Result::Ok(after.get::<u64>(name)? - before.get::<u64>(name)?);
    let (frames, faces) = (more("frames")?, more("scored")?);
    println!(r#"{{"frames": {frames}, "faces": {faces}, "cpu": {cpu}, "seconds": {seconds}}}"#);
    Ok(())
}

/// A video decoded and what comes after it, and what waits for its end.
fn decoded(file: &Path, rest: &str) -> Result<(gst::Pipeline, impl Fn() -> Result<()> + use<>)> {
    let text = format!("filesrc location={} ! decodebin ! {rest}", file.display());
    let pipeline = gst::parse::launch(&text)?.downcast::<gst::Pipeline>().map_err(|_| "not a pipeline")?;
    let bus = pipeline.bus().ok_or("no bus")?;
    let end = move || {
        let end = [gst::MessageType::Eos, gst::MessageType::Error];
        match bus.timed_pop_filtered(gst::ClockTime::from_seconds(120), &end) {
            Some(message) if message.type_() == gst::MessageType::Eos => Ok(()),
            other => Err(format!("{other:?}").into()),
        }
    };
    Ok((pipeline, end))
}

fn cpu_seconds() -> f64 {
    // The second and the third number after the name are of no use here; fields 14 and 15 are user and system time in ticks.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok()).unwrap_or_default();
    // Linux tells them in hundredths of a second, whatever the kernel's own clock.
    (ticks(11) + ticks(12)) / 100.0
}

/// Prints the milliseconds from here to the first scored frame, and ends.
fn cold() -> Result<()> {
    let start = Instant::now();
    init()?;
    let (pipeline, end) = decoded(&sample(), "deepfakescore mode=every-frame ! fakesink name=out sync=false")?;
    let pad = pipeline.by_name("out").and_then(|e| e.static_pad("sink")).ok_or("no pad")?;
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let scores = info.buffer().and_then(|buffer| Scores::from_buffer(buffer));
        if scores.is_some_and(|s| s.faces.iter().any(|f| f.outcome.is_ok())) {
            println!("{}", start.elapsed().as_secs_f64() * 1e3);
            std::process::exit(0);
        }
        gst::PadProbeReturn::Ok
    });
    pipeline.set_state(gst::State::Playing)?;
    end()?;
    Err("no face in the sample".into())
}

fn colds() -> Result<String> {
    let mut all = vec![];
    for _ in 0..7 {
        let output = Command::new(std::env::current_exe()?).arg("--cold").output()?;
        all.push(Duration::from_secs_f64(String::from_utf8(output.stdout)?.trim().parse::<f64>()? / 1e3));
    }
    Ok(format!(
        "{:.0} ms (median of 7, from {:.0} to {:.0})",
        quantile(&mut all, 0.5),
        quantile(&mut all, 0.0),
        quantile(&mut all, 1.0)
    ))
}

/// The element beside the script that one would write.
fn script(python: &str) -> Result<Vec<([String; 2], &'static str)>> {
    const LOOPS: &str = "4";
    const RUNS: usize = 5;
    let bench = Path::new(env!("CARGO_MANIFEST_DIR"));
    let scorer = bench.join("models/scorer.onnx");
    let contract = Contract::from_metadata(Model::read(&scorer)?.metadata())?.unwrap_or_default();
    let session = Session::new(&Model::read(&scorer)?, &SessionOptions::default())?;
    let side = session.input().dims.last().copied().flatten().or(contract.input.width).ok_or("no fixed input")?;
    let arguments = [
        contract.crop.margin,
        contract.crop.shift_y,
        contract.input.mean.to_array()[0],
        contract.input.std.to_array()[0],
        LocateOptions::default().confidence,
    ];
    let (mut ours, mut theirs, mut threaded) = (vec![], vec![], vec![]);
    let run = |threads: &str| {
        let mut command = Command::new(python);
        command.arg(bench.join("benches/peers/script.py")).arg(sample());
        command.arg(bench.join("../scoring/models/locator.onnx")).arg(&scorer).arg(side.to_string());
        command.args(arguments.map(|a| a.to_string())).args([LOOPS, threads]);
        let output = command.output()?;
        match output.status.success() {
            true => Result::Ok(serde_json::from_slice::<serde_json::Value>(&output.stdout)?),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned().into()),
        }
    };
    for _ in 0..RUNS {
        let output = Command::new(std::env::current_exe()?).args(["--video", LOOPS]).output()?;
        ours.push(serde_json::from_slice::<serde_json::Value>(&output.stdout)?);
        theirs.push(run("1")?);
        threaded.push(run("0")?);
    }
    type Figure<'a> = &'a dyn Fn(&dyn Fn(&str) -> f64) -> f64;
    let of = |all: &[serde_json::Value], f: Figure<'_>| {
        let mut values: Vec<f64> = all.iter().map(|v| f(&|name: &str| v[name].as_f64().unwrap_or(f64::NAN))).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let cpu = |get: &dyn Fn(&str) -> f64| 1e3 * get("cpu") / get("frames");
    let rate = |get: &dyn Fn(&str) -> f64| get("frames") / get("seconds");
    let faces = |get: &dyn Fn(&str) -> f64| get("faces");
    let (our_cpu, their_cpu) = (of(&ours, &cpu), of(&theirs, &cpu));
    let (our_rate, one_rate, default_rate) = (of(&ours, &rate), of(&theirs, &rate), of(&threaded, &rate));
    let their_rate = one_rate.max(default_rate);
    let same = format!("{} and {} faces scored", of(&ours, &faces), of(&theirs, &faces));
    let what = "the sample (640x480), every frame, the same two models, beside the script that one would write (OpenCV, ONNX Runtime)";
    let (crop, nv12, rgb) = (crop(), of(&theirs, &|get| get("nv12_ms")), of(&theirs, &|get| get("crop_ms")));
    Ok(vec![
        (
            [format!("{what} on one thread each: CPU time a frame"), format!("{our_cpu:.2} ms beside {their_cpu:.2} ms: 1/{:.2} ({same})", their_cpu / our_cpu)],
            "at most 1/1.3",
        ),
        (
            [
                format!("{what} at its best of one thread each ({one_rate:.0}) and its libraries' own choice ({default_rate:.0}): frames a second"),
                format!("{our_rate:.0} beside {their_rate:.0}: {:.2} times", our_rate / their_rate),
            ],
            "3 times",
        ),
        (
            [
                "a face of 350 pixels of a 1080p NV12 frame to a tensor of 224x224, beside the script's (conversion of the frame, cut, resize, normalize; in brackets without the conversion)".to_owned(),
                format!("{crop:.3} ms beside {nv12:.2} ms ({rgb:.2} ms): 1/{:.1} (1/{:.1})", nv12 / crop, rgb / crop),
            ],
            "at most 0.2 ms, at most 1/5",
        ),
    ])
}

/// Milliseconds from the planes to the tensor.
fn crop() -> f64 {
    let (width, height) = (WIDTH as usize, HEIGHT as usize);
    let data: Vec<u8> = (0..width * height * 3 / 2).map(|i| (i % 251) as u8).collect();
    let planes = [
        Plane { data: &data[..width * height], stride: width },
        Plane { data: &data[width * height..], stride: width },
    ];
    let frame = FrameView::new(PixelFormat::Nv12, width, height, Colorimetry::BT709, Scan::Progressive, &planes);
    let (Ok(frame), spec) = (frame, spec()) else { return f64::NAN };
    let (mut cropper, mut tensor) = (Cropper::default(), vec![0.0; spec.len()]);
    let region = Rect::new(700.0, 300.0, 350.0, 350.0);
    let mut times: Vec<Duration> = (0..200)
        .filter_map(|_| {
            let start = Instant::now();
            cropper.crop(&frame, &region, &spec, &mut tensor).ok()?;
            Some(start.elapsed())
        })
        .collect();
    quantile(&mut times, 0.5)
}

fn spec() -> TensorSpec {
    let side = SIDE as usize;
    TensorSpec {
        layout: Layout::Nchw,
        width: side,
        height: side,
        channels: deepfake_scoring::contract::Channels::Rgb,
        scale: 1.0 / 255.0,
        mean: [0.5; 3],
        std: [0.25; 3],
    }
}
