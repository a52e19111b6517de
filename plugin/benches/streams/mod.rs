//! Many streams on one session: what they score beside one large batch, and what each costs in memory.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use deepfake_scoring::model::Model;
use deepfake_scoring::onnx::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto,
    ValueInfoProto,
};
use deepfake_scoring::session::{Session, SessionOptions};
use gst::prelude::*;
use gstdeepfake::meta::Scores;
use prost::Message;

use crate::{Line, Result, SIDE, quantile};

/// Streams at once.
const STREAMS: [usize; 5] = [1, 2, 4, 8, 16];
/// Faces of the one large batch.
const BATCH: usize = 16;
/// Rows and columns of what a crop is cut into for the products.
const SHAPE: [i64; 2] = [3 * SIDE * SIDE / 512, 512];

/// A model that scores by brightness and does so many products for each crop: twice the crops take twice the time.
fn even(folder: &Path, times: usize) -> Result<PathBuf> {
    let mean = |input: &str, output: &str, axes: &[i64]| {
        let attributes = vec![AttributeProto::int_list("axes", axes), AttributeProto::int("keepdims", 0)];
        NodeProto::new("ReduceMean", &[input], &[output], attributes)
    };
    let names: Vec<_> = (0..=times).map(|i| format!("m{i}")).collect();
    let mut nodes =
        vec![mean("x", "brightness", &[1, 2, 3]), NodeProto::new("Reshape", &["x", "shape"], &["m0"], vec![])];
    nodes.extend(names.windows(2).map(|pair| NodeProto::new("MatMul", &[&pair[0], "small"], &[&pair[1]], vec![])));
    nodes.extend([
        mean(&names[times], "rest", &[1, 2]),
        NodeProto::new("Mul", &["rest", "tiny"], &["nothing"], vec![]),
        NodeProto::new("Add", &["brightness", "nothing"], &["logit"], vec![]),
    ]);
    let entry = |(k, v): (&str, &str)| StringStringEntryProto { key: Some(k.into()), value: Some(v.into()) };
    let proto = ModelProto {
        ir_version: Some(8),
        opset_import: vec![OperatorSetIdProto { domain: None, version: Some(17) }],
        graph: Some(GraphProto {
            name: Some("even".into()),
            node: nodes,
            initializer: vec![
                TensorProto::floats("tiny", &[], &[1e-9]),
                TensorProto::floats("small", &[512, 512], &vec![1.0 / 512.0; 512 * 512]),
                TensorProto::ints("shape", &[3], &[-1, SHAPE[0], SHAPE[1]]),
            ],
            input: vec![ValueInfoProto::floats("x", &[Err("n"), Ok(3), Ok(SIDE), Ok(SIDE)])],
            output: vec![ValueInfoProto::floats("logit", &[Err("n")])],
            ..GraphProto::default()
        }),
        metadata_props: [("contract_version", "1"), ("crop.margin", "0.3")].into_iter().map(entry).collect(),
        ..ModelProto::default()
    };
    let path = folder.join(format!("even{times}.onnx"));
    std::fs::write(&path, proto.encode_to_vec())?;
    Ok(path)
}

/// Seconds that the model takes for a face in one large batch.
fn batch(session: &mut Session, input: &[f32]) -> Result<f64> {
    let start = Instant::now();
    session.run(&[BATCH, 3, SIDE as usize, SIDE as usize], input)?;
    Ok(start.elapsed().as_secs_f64() / BATCH as f64)
}

fn line(model: Option<&Path>, group: &str, source: &str) -> Result<Line> {
    let element = gst::ElementFactory::make("deepfakescore").build()?;
    if let Some(model) = model {
        element.set_property("model", model.to_str());
    }
    element.set_property_from_str("face-source", source);
    element.set_property_from_str("mode", "every-frame");
    element.set_property_from_str("session-group", group);
    Line::new(&element)
}

/// Each stream passes so many frames with one face as fast as it can. Returns them, and the seconds of a face of all together.
fn together(lines: Vec<Line>, frames: usize) -> Result<(Vec<Line>, f64)> {
    let (count, start) = (lines.len(), Arc::new(Barrier::new(lines.len() + 1)));
    let threads: Vec<_> = lines
        .into_iter()
        .map(|mut line| {
            let start = Arc::clone(&start);
            std::thread::spawn(move || -> std::result::Result<Line, String> {
                start.wait();
                for _ in 0..frames {
                    let frame = line.frame(1).map_err(|e| e.to_string())?;
                    let (_, out) = line.pass(frame).map_err(|e| e.to_string())?;
                    if Scores::from_buffer(&out).is_none_or(|s| s.faces[0].outcome.is_err()) {
                        return Err("a face was not scored".into());
                    }
                }
                Ok(line)
            })
        })
        .collect();
    start.wait();
    let clock = Instant::now();
    let lines = threads.into_iter().map(|t| t.join().map_err(|_| "a stream has panicked".to_owned())?);
    let lines = lines.collect::<std::result::Result<Vec<_>, _>>()?;
    Ok((lines, clock.elapsed().as_secs_f64() / (count * frames) as f64))
}

/// Streams with one face a frame on one session, beside one large batch of the same model.
pub(crate) fn throughput(folder: &Path) -> Result<[String; 2]> {
    const ROUNDS: usize = 7;
    const FACES: usize = 64;
    let input = vec![0.5; BATCH * 3 * (SIDE * SIDE) as usize];
    let mut times = 1;
    let (path, mut session) = loop {
        let path = even(folder, times)?;
        let mut session = Session::new(&Model::read(&path)?, &SessionOptions::default())?;
        let mut taken: Vec<_> =
            (0..5).map(|_| Ok(Duration::from_secs_f64(batch(&mut session, &input)?))).collect::<Result<_>>()?;
        if quantile(&mut taken, 0.5) >= 4.0 {
            break (path, session);
        }
        times += 1;
    };
    let mut parts = vec![];
    let mut theirs = 0.0;
    for streams in STREAMS {
        let lines: Result<Vec<_>> = (0..streams).map(|_| line(Some(&path), "bench", "upstream")).collect();
        let mut lines = together(lines?, 2)?.0;
        let mut ratios = vec![];
        for _ in 0..ROUNDS {
            // One before and one after, for a machine that is not the same all the time.
            let before = (0..2).map(|_| batch(&mut session, &input)).sum::<Result<f64>>()?;
            let ours;
            (lines, ours) = together(lines, FACES / streams)?;
            let after = (0..2).map(|_| batch(&mut session, &input)).sum::<Result<f64>>()?;
            theirs = (before + after) / 4.0;
            ratios.push(theirs / ours);
        }
        ratios.sort_by(f64::total_cmp);
        parts.push(format!("{streams}: {:.0} %", 100.0 * ratios[ROUNDS / 2]));
    }
    Ok([
        format!(
            "1 to 16 streams on one session (`session-group`), mode every-frame, 1080p NV12, one face each from upstream, a model of {:.1} ms a face: \
             faces a second of all together beside those of ONNX Runtime alone in batches of {BATCH} (medians of {ROUNDS})",
            theirs * 1e3
        ),
        format!("streams: {}", parts.join(", ")),
    ])
}

/// Bytes of this process that are in memory.
fn resident() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/self/statm")?;
    Ok(text.split(' ').nth(1).ok_or("no size")?.parse::<f64>()? * 4096.0)
}

/// Prints the megabytes that each stream adds to the first, and ends: alone in its process.
pub(crate) fn memory() -> Result<()> {
    let most = *STREAMS.last().ok_or("no streams")?;
    let mut lines = vec![];
    let mut sizes = vec![];
    for streams in [1, most] {
        while lines.len() < streams {
            lines.push(line(None, "memory", "auto")?);
        }
        for _ in 0..5 {
            // The detector is used too.
            for line in &mut lines {
                let frame = line.frame(0)?;
                line.pass(frame)?;
            }
            lines = together(lines, 5)?.0;
        }
        sizes.push(resident()?);
    }
    println!("{}", (sizes[1] - sizes[0]) / (most - 1) as f64 / 1e6);
    Ok(())
}

/// What [`memory`] says.
pub(crate) fn memories() -> Result<[String; 2]> {
    let output = Command::new(std::env::current_exe()?).arg("--memory").output()?;
    let each = String::from_utf8(output.stdout)?.trim().parse::<f64>()?;
    Ok([
        "16 streams on one session, 1080p NV12, the bundled models, each stream with its own face detector: memory that a stream adds to the first, \
         its frame of 3 MB included"
            .to_owned(),
        format!("{each:.1} MB"),
    ])
}
