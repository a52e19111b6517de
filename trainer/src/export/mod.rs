//! Writes a trained network as an ONNX file that the engine runs, and makes sure that it says there what it said here.

mod graph;
mod half;
mod int8;
mod locator;
mod parts;
mod tokens;
mod variant;

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use deepfake_scoring::contract::{Channels, Contract, Crop, InputKeys, Layout, Output, PerChannel, ScoreKeys};
use deepfake_scoring::model::Model;
use deepfake_scoring::onnx::{GraphProto, ModelProto, OperatorSetIdProto, StringStringEntryProto};
use deepfake_scoring::score::Scorer;
use deepfake_scoring::session::{Provider, SessionOptions};
use prost::Message;
use rand::RngExt;
use tch::{Device, Tensor, no_grad};

pub use variant::{Loss, Made, Variant, variants};

use crate::calibrate::Calibration;
use crate::checkpoint::{self, RunFolder, write_atomically};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::net::{FAKE, Mode, Net, Params, REAL, floats};
use crate::seeded;

pub use locator::export_locator;

pub(crate) use graph::folded;

/// Names of the graph's ends.
pub const INPUT: &str = "input";
/// `[N]`, logit of fake.
pub const LOGIT: &str = "logit";
/// `[N, h, w]`, signed evidence whose mean is the logit.
pub const MAP: &str = "map";

/// What the file is written for: opset 17 came with ONNX 1.12, IR version 8.
const OPSET: i64 = 17;
const IR_VERSION: i64 = 8;

/// Batches at which trainer and exported file are compared.
const PARITY_BATCHES: [usize; 2] = [1, 7];

/// Largest difference that is let pass, relative to numbers above 1.
pub const TOLERANCE: f64 = 1e-4;

/// Largest differences between trainer and exported file, over all compared faces: in parts of the logit (of the largest number of
/// the face's map for the map) where that is above 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Parity {
    /// Of logits.
    pub logit: f64,
    /// Of the maps' values.
    pub map: f64,
    /// Between the mean of the exported map and the trainer's logit.
    pub mean: f64,
}

impl std::fmt::Display for Parity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1e} in the logit, {:.1e} in the map, {:.1e} in the map's mean", self.logit, self.map, self.mean)
    }
}

/// What the exported file will say about itself.
pub fn contract(config: &Config, calibration: Option<&Calibration>, provenance: &[(&str, String)]) -> Contract {
    let score = calibration.map_or_else(ScoreKeys::default, |c| ScoreKeys {
        temperature: c.temperature as f32,
        fake_above: c.fake_above as f32,
        real_below: c.real_below as f32,
    });
    let mut said = config.provenance.clone();
    said.extend(provenance.iter().map(|(k, v)| ((*k).to_owned(), v.clone())));
    Contract {
        input: InputKeys {
            layout: Some(Layout::Nchw),
            width: Some(config.input.size),
            height: Some(config.input.size),
            channels: Some(Channels::Rgb),
            mean: PerChannel::Each(config.input.mean),
            std: PerChannel::Each(config.input.std),
            ..InputKeys::default()
        },
        crop: Crop { margin: config.crop.margin, shift_y: config.crop.shift_y, ..Crop::default() },
        output: Output { logit: Some(LOGIT.to_owned()), map: Some(MAP.to_owned()), ..Output::default() },
        score,
        provenance: said,
        ..Contract::default()
    }
}

/// Exports the best weights of a run, with its calibration where it has one. `said` is the configuration whose crop and provenance
/// the file gets; it must otherwise be that of the run, which serves where there is none.
///
/// # Errors
///
/// As [`export`]; a folder without a finished epoch; another configuration.
pub fn export_run(folder: &RunFolder, said: Option<&Config>, path: &Path) -> Result<Parity> {
    let (trained, net, params) = checkpoint::open_best(folder)?;
    let config = said.unwrap_or(&trained);
    if config.digest() != trained.digest() {
        return Err(Error::checkpoint(
            &folder.config(),
            "is not the configuration given: only crop and provenance may differ",
        ));
    }
    let progress = checkpoint::progress(folder)?;
    let best = progress.as_ref().and_then(|p| p.best);
    let best = best.ok_or_else(|| Error::checkpoint(&folder.checkpoint(), "tells of no best epoch"))?;
    let maps = progress.as_ref().and_then(|p| p.maps.as_ref()).map_or_else(String::new, |m| format!(", maps {m}"));
    let calibration = folder.read_calibration()?;
    if calibration.is_none() {
        tracing::warn!("the run is not calibrated: the model gets temperature 1 and the default thresholds");
    }
    let said = [
        ("name", config.name.clone()),
        ("trainer", format!("{} {}", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))),
        ("config", config.digest()),
        ("backbone", config.model.backbone.to_string()),
        ("regularization", format!("{}{maps}", config.regularize.kind.name())),
        ("epoch", best.epoch.to_string()),
        ("validation_auc", format!("{:.4}", best.auc)),
        ("date", today()),
    ];
    export(&net, &params, &contract(config, calibration.as_ref(), &said), path)
}

/// Today's date (UTC) as year-month-day, in the Gregorian calendar.
fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    date(seconds / 86_400)
}

/// The date of a day counted from 1970-01-01.
fn date(mut day: u64) -> String {
    let leap = |y: u64| y.is_multiple_of(4) && (!y.is_multiple_of(100) || y.is_multiple_of(400));
    let mut year = 1970;
    while day >= 365 + u64::from(leap(year)) {
        day -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for days in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if day < days {
            break;
        }
        day -= days;
        month += 1;
    }
    format!("{year:04}-{month:02}-{:02}", day + 1)
}

/// Writes `net` to `path` after comparing it with the trainer; nothing is written where they differ.
///
/// # Errors
///
/// A network that cannot be written as ONNX, a difference above [`TOLERANCE`], a file that cannot be written.
pub fn export(net: &Net, params: &Params, contract: &Contract, path: &Path) -> Result<Parity> {
    let bytes = to_onnx(net, params, contract)?;
    let name = path.file_stem().map_or_else(|| "model".to_owned(), |s| s.to_string_lossy().into_owned());
    let parity = parity(net, params, &name, &bytes)?;
    write_atomically(path, &bytes)?;
    Ok(parity)
}

/// The bytes of the ONNX file.
///
/// # Errors
///
/// When libtorch fails to hand out the weights.
pub fn to_onnx(net: &Net, params: &Params, contract: &Contract) -> Result<Vec<u8>> {
    let width = contract.input.width.unwrap_or_default();
    let height = contract.input.height.unwrap_or_default();
    let graph = graph::build(net, params, width, height)?;
    Ok(model_bytes(graph, contract.to_metadata()))
}

/// The file of a graph that says this of itself.
fn model_bytes(graph: GraphProto, metadata: impl IntoIterator<Item = (String, String)>) -> Vec<u8> {
    let metadata_props = metadata
        .into_iter()
        .map(|(key, value)| StringStringEntryProto { key: Some(key), value: Some(value) })
        .collect();
    let model = ModelProto {
        ir_version: Some(IR_VERSION),
        producer_name: Some(env!("CARGO_PKG_NAME").to_owned()),
        producer_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        graph: Some(graph),
        opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: Some(OPSET) }],
        metadata_props,
        ..ModelProto::default()
    };
    model.encode_to_vec()
}

/// Runs random pictures through libtorch and, by the engine, through ONNX Runtime.
///
/// # Errors
///
/// A difference above [`TOLERANCE`]; either of them failing.
pub fn parity(net: &Net, params: &Params, name: &str, bytes: &[u8]) -> Result<Parity> {
    let parity = compare(net, params, name, bytes)?;
    let Parity { logit, map, mean } = parity;
    // Written so that not-a-number fails.
    if logit <= TOLERANCE && map <= TOLERANCE && mean <= TOLERANCE {
        Ok(parity)
    } else {
        Err(Error::Export(format!(
            "{name} differs from the trainer by {logit:.2e} in the logit, {map:.2e} in the map, {mean:.2e} in the map's mean; \
             {TOLERANCE:.0e} is allowed"
        )))
    }
}

/// As [`parity`], whatever the difference.
///
/// # Errors
///
/// Either of them failing.
pub fn compare(net: &Net, params: &Params, name: &str, bytes: &[u8]) -> Result<Parity> {
    let model = Model::from_bytes(name, bytes.to_vec())?;
    let options = SessionOptions { provider: Provider::Cpu, ..SessionOptions::default() };
    let mut scorer = Scorer::new(&model, None, &options)?;
    let (side, length) = (scorer.spec().width as i64, scorer.spec().len());
    let mut worst = Parity::default();
    for batch in PARITY_BATCHES {
        let mut rng = seeded::generator(0, "parity", &[batch as u64]);
        let pixels: Vec<f32> = (0..batch * length).map(|_| rng.random_range(-2.0..2.0)).collect();
        for (i, crop) in pixels.chunks_exact(length).enumerate() {
            scorer.crop_mut(i).copy_from_slice(crop);
        }
        scorer.run(batch, None)?;
        let input = Tensor::f_from_slice(&pixels)?.f_view([batch as i64, 3, side, side])?;
        let device = params.iter().next().map_or(Device::Cpu, |p| p.tensor.device());
        let (logits, maps) = no_grad(|| -> Result<_> {
            let out = net.forward(params, &input.f_to_device(device)?, Mode::Inference)?;
            let logits = out.logits.f_select(1, FAKE)?.f_sub(&out.logits.f_select(1, REAL)?)?;
            Ok((floats(&logits)?, floats(&net.map(params, &out.features)?)?))
        })?;
        let cells = maps.len() / batch;
        for i in 0..batch {
            let evidence = scorer.evidence(i).map_err(|e| Error::Export(format!("{name} does not score: {e}")))?;
            let map = evidence.map.ok_or_else(|| Error::Export(format!("{name} has no map")))?;
            if map.values.len() != cells {
                return Err(Error::Export(format!("{name}'s map has {} values, not {cells}", map.values.len())));
            }
            let logit = f64::from(logits[i]);
            let theirs = &maps[i * cells..(i + 1) * cells];
            let mean = map.values.iter().map(|v| f64::from(*v)).sum::<f64>() / cells as f64;
            let cell = |(a, b): (&f32, &f32)| f64::from((a - b).abs());
            let differs = largest(map.values.iter().zip(theirs).map(cell));
            let scale = largest(theirs.iter().map(|v| f64::from(v.abs()))).max(1.0);
            worst.logit = largest([worst.logit, (f64::from(evidence.logit) - logit).abs() / logit.abs().max(1.0)]);
            worst.mean = largest([worst.mean, (mean - logit).abs() / logit.abs().max(1.0)]);
            worst.map = largest([worst.map, differs / scale]);
        }
    }
    Ok(worst)
}

/// The largest number; not-a-number wins.
fn largest(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().fold(0.0, |a, b| if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) })
}

#[cfg(test)]
mod tests {
    #[test]
    fn days_become_dates() {
        for (day, expected) in [(0, "1970-01-01"), (59, "1970-03-01"), (11_016, "2000-02-29"), (20_089, "2025-01-01")] {
            assert_eq!(super::date(day), expected);
        }
    }
}
