//! What a model says about itself: input, crop, outputs, calibration, provenance.
//!
//! A file made by the trainer carries these keys, flat and dotted (`input.mean`), in the `metadata_props` of its ONNX
//! model; a TOML file beside somebody else's model says the same. This is the only place where keys and defaults stand.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::geometry::Rect;

/// The version of the table of keys that is read and written here.
pub const CONTRACT_VERSION: u32 = 1;

/// The key without which metadata is not taken for a contract.
const VERSION_KEY: &str = "contract_version";

/// Why a contract cannot be used.
#[derive(Debug, Error)]
pub enum ContractError {
    /// Not TOML, an unknown key, or a value of the wrong kind.
    #[error("the model contract cannot be read: {0}")]
    Syntax(#[from] toml::de::Error),
    /// Made by a newer trainer.
    #[error("the model contract has version {0}, this program reads version {CONTRACT_VERSION}: update it")]
    Version(u32),
    /// A value that makes no sense.
    #[error("the model contract's `{key}` {problem}")]
    Value {
        /// Dotted key.
        key: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

/// The order of a tensor's axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Layout {
    /// Batch, channels, height, width.
    Nchw,
    /// Batch, height, width, channels.
    Nhwc,
}

/// What the channels are, in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channels {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// Blue, green, red.
    Bgr,
    /// Luma of the picture (BT.601 weights), one channel.
    Gray,
}

impl Channels {
    /// How many there are.
    pub const fn count(self) -> usize {
        match self {
            Self::Gray => 1,
            Self::Rgb | Self::Bgr => 3,
        }
    }
}

/// What a probability or logit speaks of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Larger means: more likely a deepfake.
    #[default]
    Fake,
    /// Larger means: more likely genuine.
    Real,
}

/// The boxes that the crop's margin is meant for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BoxReference {
    /// Forehead to chin and ear to ear, as WIDER FACE is labelled and YuNet draws it.
    #[default]
    WiderFace,
}

/// One number for all channels, or one for each.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PerChannel {
    /// The same for all.
    All(f32),
    /// In the order of [`Channels`].
    Each([f32; 3]),
}

impl PerChannel {
    /// As three numbers.
    pub const fn to_array(self) -> [f32; 3] {
        match self {
            Self::All(v) => [v, v, v],
            Self::Each(v) => v,
        }
    }
}

/// The input of a model. What is `None` is read from the graph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InputKeys {
    /// The order of the axes.
    pub layout: Option<Layout>,
    /// Pixels.
    pub width: Option<usize>,
    /// Pixels.
    pub height: Option<usize>,
    /// What the channels are.
    pub channels: Option<Channels>,
    /// Subtracted after scaling.
    pub mean: PerChannel,
    /// Divided by, last.
    pub std: PerChannel,
    /// Multiplied with the 8-bit value, first.
    pub scale: f32,
}

impl Default for InputKeys {
    fn default() -> Self {
        Self {
            layout: None,
            width: None,
            height: None,
            channels: None,
            mean: PerChannel::All(0.0),
            std: PerChannel::All(1.0),
            scale: 1.0 / 255.0,
        }
    }
}

/// How much of the frame around a face box belongs to the model's input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Crop {
    /// Added on each side, in parts of the box's longer side; negative cuts into the box.
    pub margin: f32,
    /// How far the crop's centre lies below the box's, in parts of the box's longer side.
    pub shift_y: f32,
    /// Make it a square with the longer side.
    pub square: bool,
    /// The convention of boxes that these numbers are meant for.
    pub box_reference: BoxReference,
}

impl Default for Crop {
    fn default() -> Self {
        Self { margin: 0.3, shift_y: 0.0, square: true, box_reference: BoxReference::default() }
    }
}

impl Crop {
    /// The region of the frame that the model wants to see of a face in `face` (a box of [`Crop::box_reference`]). It may
    /// reach outside of the frame.
    pub fn region(&self, face: &Rect) -> Rect {
        let longer = face.w.max(face.h);
        let base = if self.square { face.squared() } else { *face };
        let mut region = base.grown(self.margin * longer);
        region.y += self.shift_y * longer;
        region
    }

    /// The face box whose [`Crop::region`] is `region`, for a square crop: the inverse, as needed by pictures that are
    /// crops already.
    pub fn face_of(&self, region: &Rect) -> Rect {
        let longer = region.w.max(region.h) / (1.0 + 2.0 * self.margin);
        let mut face = region.grown(-self.margin * longer);
        face.y -= self.shift_y * longer;
        face
    }
}

/// Where the score and the map are among the graph's outputs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Output {
    /// Name of the output that holds the logit; the default is `logit` where `probability` is not given.
    pub logit: Option<String>,
    /// Name of the output that holds a probability instead.
    pub probability: Option<String>,
    /// What the number speaks of.
    pub of: Class,
    /// Its column, where the output has several.
    pub index: usize,
    /// The columns are logits of exclusive classes: apply softmax before taking [`Output::index`].
    pub softmax: bool,
    /// Name of the output that holds the signed evidence map `[N, h, w]`, whose mean over h and w is the logit of fake.
    pub map: Option<String>,
}

/// Calibration and thresholds of the verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScoreKeys {
    /// The logit is divided by it before the sigmoid.
    pub temperature: f32,
    /// Scores from here on speak for a fake.
    pub fake_above: f32,
    /// Scores up to here speak for a genuine face.
    pub real_below: f32,
}

impl Default for ScoreKeys {
    fn default() -> Self {
        Self { temperature: 1.0, fake_above: 0.7, real_below: 0.3 }
    }
}

/// All that a model says about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Contract {
    /// See [`CONTRACT_VERSION`].
    pub contract_version: u32,
    /// The input tensor.
    pub input: InputKeys,
    /// The region of the frame that fills it.
    pub crop: Crop,
    /// The outputs.
    pub output: Output,
    /// What the logit means.
    pub score: ScoreKeys,
    /// Where the model comes from: trainer version, data and its licence, recipe, date, metrics. Free keys.
    pub provenance: BTreeMap<String, String>,
}

impl Default for Contract {
    fn default() -> Self {
        Self {
            contract_version: CONTRACT_VERSION,
            input: InputKeys::default(),
            crop: Crop::default(),
            output: Output::default(),
            score: ScoreKeys::default(),
            provenance: BTreeMap::new(),
        }
    }
}

impl Contract {
    /// Reads the TOML file beside a model.
    ///
    /// # Errors
    ///
    /// What is not TOML, unknown keys, values out of range, a newer version.
    pub fn from_toml(text: &str) -> Result<Self, ContractError> {
        Self::checked(toml::from_str(text)?)
    }

    /// Reads the `metadata_props` of a model; `None` where they are not a contract. Keys of other makers are ignored.
    ///
    /// # Errors
    ///
    /// As [`Contract::from_toml`].
    pub fn from_metadata<'a>(
        metadata: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Option<Self>, ContractError> {
        let mut root = toml::Table::new();
        for (key, text) in metadata {
            let (section, name) = match key.split_once('.') {
                None if key == VERSION_KEY => (None, key),
                Some((s @ ("input" | "crop" | "output" | "score" | "provenance"), name)) => (Some(s), name),
                _ => continue,
            };
            // Provenance is text even where it looks like a number, and so are names of outputs: exporters number them.
            let value = match (section, name) {
                (Some("provenance"), _) | (Some("output"), "logit" | "probability" | "map") => {
                    toml::Value::String(text.to_owned())
                }
                _ => scalar(text),
            };
            match section {
                None => root.insert(name.to_owned(), value),
                Some(section) => root
                    .entry(section)
                    .or_insert_with(|| toml::Value::Table(toml::Table::new()))
                    .as_table_mut()
                    .and_then(|t| t.insert(name.to_owned(), value)),
            };
        }
        if !root.contains_key(VERSION_KEY) {
            return Ok(None);
        }
        Self::checked(root.try_into()?).map(Some)
    }

    /// As flat, dotted keys for `metadata_props`, sorted.
    pub fn to_metadata(&self) -> BTreeMap<String, String> {
        let mut flat = BTreeMap::new();
        // Every type of this module is made of what TOML has.
        let Ok(root) = toml::Table::try_from(self) else {
            return flat;
        };
        for (key, value) in root {
            match value {
                toml::Value::Table(section) => {
                    flat.extend(section.into_iter().map(|(name, v)| (format!("{key}.{name}"), text(&v))));
                }
                other => {
                    flat.insert(key, text(&other));
                }
            }
        }
        flat
    }

    fn checked(self) -> Result<Self, ContractError> {
        let wrong = |key, problem: &str| Err(ContractError::Value { key, problem: problem.to_owned() });
        if self.contract_version == 0 || self.contract_version > CONTRACT_VERSION {
            return Err(ContractError::Version(self.contract_version));
        }
        for (key, side) in [("input.width", self.input.width), ("input.height", self.input.height)] {
            if side.is_some_and(|s| !(8..=4096).contains(&s)) {
                return wrong(key, "must be from 8 to 4096 pixels");
            }
        }
        if !self.input.mean.to_array().iter().all(|v| v.is_finite()) {
            return wrong("input.mean", "must be finite");
        }
        if !self.input.std.to_array().iter().all(|v| v.is_normal()) {
            return wrong("input.std", "must be finite and not zero");
        }
        if !self.input.scale.is_normal() {
            return wrong("input.scale", "must be finite and not zero");
        }
        if !(-0.4..=4.0).contains(&self.crop.margin) {
            return wrong("crop.margin", "must be from -0.4 to 4");
        }
        if !(-2.0..=2.0).contains(&self.crop.shift_y) {
            return wrong("crop.shift_y", "must be from -2 to 2");
        }
        if self.output.logit.is_some() && self.output.probability.is_some() {
            return wrong("output.probability", "cannot be given together with `output.logit`");
        }
        if self.output.index > 65_535 {
            return wrong("output.index", "must be at most 65535");
        }
        if !(self.score.temperature.is_normal() && self.score.temperature > 0.0) {
            return wrong("score.temperature", "must be positive");
        }
        if !(0.0..=1.0).contains(&self.score.fake_above) {
            return wrong("score.fake_above", "must be from 0 to 1");
        }
        if !(0.0..=self.score.fake_above).contains(&self.score.real_below) {
            return wrong("score.real_below", "must be from 0 to `score.fake_above`");
        }
        Ok(self)
    }
}

/// A metadata value, which is always text: what reads as a TOML value is one, anything else stays text.
fn scalar(text: &str) -> toml::Value {
    match toml::from_str::<toml::Table>(&format!("v = {text}")) {
        Ok(mut t) if t.len() == 1 => t.remove("v").unwrap_or_else(|| toml::Value::String(text.to_owned())),
        _ => toml::Value::String(text.to_owned()),
    }
}

/// The inverse of [`scalar`]: strings stand without quotes.
fn text(value: &toml::Value) -> String {
    match value {
        toml::Value::String(s) => s.clone(),
        // Every number of a contract is an `f32`: its shortest form, not that of the `f64` that TOML makes of it.
        toml::Value::Float(f) => format!("{:?}", *f as f32),
        toml::Value::Array(a) => format!("[{}]", a.iter().map(text).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_and_toml_say_the_same() {
        let toml = "
            [input]
            layout = \"NHWC\"
            width = 256
            height = 256
            channels = \"rgb\"
            mean = [0.485, 0.456, 0.406]
            [output]
            probability = \"Identity\"
            of = \"real\"
            [score]
            temperature = 2
            [provenance]
            data = \"1\"
        ";
        let contract = Contract::from_toml(toml).unwrap();
        assert_eq!(contract.output.of, Class::Real);
        let flat = contract.to_metadata();
        assert_eq!(flat["input.mean"], "[0.485, 0.456, 0.406]");
        assert_eq!(flat["input.scale"], "0.003921569");
        assert_eq!(flat["output.probability"], "Identity");
        let back = Contract::from_metadata(flat.iter().map(|(k, v)| (k.as_str(), v.as_str()))).unwrap().unwrap();
        assert_eq!(back, contract);
    }

    #[test]
    fn outputs_may_have_numbers_for_names() {
        let mut contract = Contract::default();
        contract.output.probability = Some("473".into());
        contract.output.map = Some("true".into());
        let flat = contract.to_metadata();
        let back = Contract::from_metadata(flat.iter().map(|(k, v)| (k.as_str(), v.as_str()))).unwrap().unwrap();
        assert_eq!(back, contract);
    }

    #[test]
    fn foreign_metadata_is_no_contract() {
        assert!(Contract::from_metadata([("author", "x"), ("names", "{0: 'a'}")]).unwrap().is_none());
        assert!(Contract::from_metadata([]).unwrap().is_none());
    }

    #[test]
    fn nonsense_is_refused_by_key() {
        for (text, key) in [
            ("[score]\ntemperature = 0", "score.temperature"),
            ("[score]\nreal_below = 0.8", "score.real_below"),
            ("[input]\nwidth = 100000", "input.width"),
            ("[input]\nstd = [1, 0, 1]", "input.std"),
            ("[input]\nscale = nan", "input.scale"),
            ("[crop]\nmargin = -0.5", "crop.margin"),
            ("[output]\nlogit = \"a\"\nprobability = \"b\"", "output.probability"),
            ("[output]\nindx = 1", "indx"),
            ("contract_version = 2", "version 2"),
        ] {
            let error = Contract::from_toml(text).unwrap_err().to_string();
            assert!(error.contains(key), "{text}: {error}");
        }
    }

    #[test]
    fn the_region_of_a_face_and_back() {
        let crop = Crop { margin: -0.1, shift_y: 0.08, square: true, ..Crop::default() };
        let region = crop.region(&Rect::new(100.0, 100.0, 80.0, 100.0));
        assert_eq!(region, Rect::new(100.0, 118.0, 80.0, 80.0));
        let face = crop.face_of(&region);
        let again = crop.region(&face);
        assert!(
            (again.x - region.x).abs() < 1e-3 && (again.y - region.y).abs() < 1e-3 && (again.w - region.w).abs() < 1e-3
        );
    }
}
