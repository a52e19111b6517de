//! The face locator as ONNX, in the form that YuNet's files have: any size, outputs of class, objectness, box and landmarks at each stride.

use std::collections::BTreeMap;
use std::path::Path;

use deepfake_scoring::locate::{LocateOptions, Locator};
use deepfake_scoring::model::Model;
use deepfake_scoring::onnx::{AttributeProto, GraphProto, ValueInfoProto};
use deepfake_scoring::session::{Provider, Session, SessionOptions};
use rand::RngExt;
use tch::{Tensor, no_grad};

use super::graph::Writer;
use super::{INPUT, TOLERANCE, largest, model_bytes};
use crate::checkpoint::write_atomically;
use crate::error::{Error, Result};
use crate::net::locator::{BOX, FIT, LANDMARKS, LocatorNet, SCORE, STRIDES};
use crate::net::{Mode, ParamId, Params, floats};
use crate::seeded;

/// What YuNet's outputs are called, with the channels that they hold and whether those are logits.
const OUTPUTS: [(&str, std::ops::Range<usize>, bool); 4] =
    [("cls", SCORE..SCORE + 1, true), ("obj", FIT..FIT + 1, true), ("bbox", BOX, false), ("kps", LANDMARKS, false)];

/// Sizes at which trainer and exported file are compared, height and width.
const SIZES: [[usize; 2]; 3] = [[96, 160], [352, 640], [64, 32]];

/// Writes the network to `path` after comparing it with the trainer; nothing is written where they differ. The file says `metadata` of
/// itself. Returns the largest difference of a number, in parts of the largest
/// number of its output where that is above 1.
///
/// # Errors
///
/// A difference above [`TOLERANCE`]; a graph that the engine does not take for a face detector; a file that cannot be written.
pub fn export_locator(
    net: &LocatorNet,
    params: &Params,
    metadata: BTreeMap<String, String>,
    path: &Path,
) -> Result<f64> {
    let bytes = model_bytes(graph(net, params)?, metadata);
    let name = path.file_stem().map_or_else(|| "locator".to_owned(), |s| s.to_string_lossy().into_owned());
    let model = Model::from_bytes(&name, bytes.clone())?;
    let options = SessionOptions { provider: Provider::Cpu, ..SessionOptions::default() };
    // Whether the engine knows it for what it is.
    let _ = Locator::new(&model, &options, LocateOptions::default())?;
    let worst = compare(net, params, &model, &options)?;
    if worst.is_nan() || worst > TOLERANCE {
        return Err(Error::Export(format!(
            "{name} differs from the trainer by {worst:.2e}; {TOLERANCE:.0e} is allowed"
        )));
    }
    write_atomically(path, &bytes)?;
    Ok(worst)
}

fn graph(net: &LocatorNet, params: &Params) -> Result<GraphProto> {
    let mut writer = Writer::new(net.nodes(), params, [0, 0]);
    writer.scale_input(ParamId::FIRST, 1.0 / 255.0);
    writer.steps(&net.levels())?;
    let mut outputs = Vec::new();
    for (level, stride) in net.levels().into_iter().zip(STRIDES) {
        let from = writer.name(level)?;
        let rows = writer.push(
            "Transpose",
            &[&from],
            format!("rows_{stride}"),
            vec![AttributeProto::int_list("perm", &[0, 2, 3, 1])],
        );
        for (kind, channels, logits) in OUTPUTS {
            let width = channels.len() as i64;
            let output = format!("{kind}_{stride}");
            let shape = writer.ints(&format!("shape.{width}"), &[0, -1, width]);
            let [starts, ends, axes] = [("starts", channels.start as i64), ("ends", channels.end as i64), ("axes", 3)]
                .map(|(what, value)| writer.ints(&format!("{what}.{value}"), &[value]));
            let part = writer.push("Slice", &[&rows, &starts, &ends, &axes], format!("part_{output}"), vec![]);
            if logits {
                let flat = writer.push("Reshape", &[&part, &shape], format!("logit_{output}"), vec![]);
                writer.push("Sigmoid", &[&flat], output.clone(), vec![]);
            } else {
                writer.push("Reshape", &[&part, &shape], output.clone(), vec![]);
            }
            outputs.push((kind, ValueInfoProto::floats(&output, &[Ok(1), Err("cells"), Ok(width)])));
        }
    }
    // By kind, then by stride, as YuNet has them.
    outputs.sort_by_key(|(kind, _)| OUTPUTS.iter().position(|o| o.0 == *kind));
    Ok(GraphProto {
        node: writer.nodes,
        name: Some("face locator".to_owned()),
        initializer: writer.initializers,
        input: vec![ValueInfoProto::floats(INPUT, &[Ok(1), Ok(3), Err("height"), Err("width")])],
        output: outputs.into_iter().map(|(_, output)| output).collect(),
        ..GraphProto::default()
    })
}

fn compare(net: &LocatorNet, params: &Params, model: &Model, options: &SessionOptions) -> Result<f64> {
    let mut session = Session::new(model, options)?;
    let mut worst: f64 = 0.0;
    for [height, width] in SIZES {
        let mut rng = seeded::generator(0, "locator parity", &[height as u64]);
        let pixels: Vec<f32> = (0..3 * height * width).map(|_| rng.random_range(0.0..255.0)).collect();
        let input = Tensor::f_from_slice(&pixels)?.f_view([1, 3, height as i64, width as i64])?;
        let input = input.f_div_scalar(255.0)?;
        let ours = no_grad(|| floats(&net.forward(params, &input, Mode::Inference)?))?;
        let theirs = session.run(&[1, 3, height, width], &pixels)?;
        let total: usize = STRIDES.iter().map(|s| (height / s) * (width / s)).sum();
        for (kind, (_, channels, logits)) in OUTPUTS.into_iter().enumerate() {
            let mut before = 0;
            for (level, stride) in STRIDES.into_iter().enumerate() {
                let cells = (height / stride) * (width / stride);
                let (_, values) = theirs.get(kind * STRIDES.len() + level)?;
                let expected = |i: usize| {
                    let (cell, channel) = (i / channels.len(), channels.start + i % channels.len());
                    let value = f64::from(ours[channel * total + before + cell]);
                    if logits { 1.0 / (1.0 + (-value).exp()) } else { value }
                };
                let scale = largest((0..values.len()).map(|i| expected(i).abs())).max(1.0);
                let off = largest(values.iter().enumerate().map(|(i, v)| (f64::from(*v) - expected(i)).abs()));
                worst = largest([worst, off / scale]);
                before += cells;
            }
        }
    }
    Ok(worst)
}
