//! The one TOML file that drives everything.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::net::Backbone;

/// A training run. Every key that is left out has the default told here; unknown keys are errors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Name of the model, as its card and its file say it.
    pub name: String,
    /// Seed of everything that is drawn: split, initial weights, order, augmentation. Default 1.
    #[serde(default = "one")]
    pub seed: u64,
    /// Which faces.
    pub data: Data,
    /// Which network.
    #[serde(default)]
    pub model: Model,
    /// What the network sees.
    #[serde(default)]
    pub input: Input,
    /// How the data's crops lie around a face box; goes into the model's contract.
    #[serde(default)]
    pub crop: Crop,
    /// What happens to a face before it is shown.
    #[serde(default)]
    pub augment: Augment,
    /// How the weights are found.
    #[serde(default)]
    pub optim: Optim,
    /// Where and with what it runs; none of it changes the result.
    #[serde(default)]
    pub run: Run,
    /// Said in the model's contract and card as `provenance.*`: `licence`, `data`, ...
    #[serde(default)]
    pub provenance: std::collections::BTreeMap<String, String>,
}

/// The faces to learn from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Folders, each with `real/` and `fake/` in it; relative to the configuration file. A file belongs to the source video
    /// that its name says before the first `_`.
    pub folders: Vec<PathBuf>,
    /// Share of the source videos that is kept for validation, (0, 0.5]. Default 0.1.
    #[serde(default = "tenth")]
    pub validation_share: f64,
    /// Share of files that may be unreadable before it is an error, [0, 1]. Default 0.01.
    #[serde(default = "hundredth")]
    pub max_unreadable: f64,
    /// Batches of pairs: each real face together with a fake of the same source video (of another one where the source has
    /// none). Otherwise batches are half real and half fake, drawn independently. Default true.
    #[serde(default = "yes")]
    pub pairs: bool,
    /// Both faces of a pair get the same augmentation, so that only the forgery tells them apart. Default true.
    #[serde(default = "yes")]
    pub same_augmentation: bool,
    /// Memory for decoded pictures, in MiB; what does not fit is decoded again each time. Default 4096.
    #[serde(default = "cache_mib")]
    pub cache_mib: usize,
    /// Use only so many source videos (after shuffling by `seed`); 0 means all. For trials. Default 0.
    #[serde(default)]
    pub limit_sources: usize,
}

/// The network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Model {
    /// Which one. Default `mobilenet_v3_small`.
    pub backbone: Backbone,
    /// Stride of the first convolution, 1 or 2. With 1 nothing is thrown away before the first layer has seen it, at four
    /// times the cost a pixel. Default 2.
    pub stem_stride: i64,
    /// Channels relative to the published network, [0.25, 2]. Default 1.
    pub width: f64,
    /// Probability with which a pooled feature is dropped while training, [0, 0.9]. Default 0.2.
    pub dropout: f64,
    /// How fast the running statistics of batch norms follow, (0, 1]; the published network's where left out.
    pub norm_momentum: Option<f64>,
    /// Safetensors to start from, relative to the configuration file; weights of the head may be missing there.
    pub init: Option<PathBuf>,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            backbone: Backbone::MobilenetV3Small,
            stem_stride: 2,
            width: 1.0,
            dropout: 0.2,
            norm_momentum: None,
            init: None,
        }
    }
}

/// The network's input tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Input {
    /// Side of the square input, pixels, [32, 1024]. Default 128.
    pub size: usize,
    /// Subtracted per channel (of [0, 1]). Default: ImageNet's.
    pub mean: [f32; 3],
    /// Divided by per channel. Default: ImageNet's.
    pub std: [f32; 3],
    /// Smaller inputs for the first part of the training, which cost less; in their order. Default: none.
    pub grow: Vec<Grow>,
}

/// A part of the training with another input size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grow {
    /// Share of the epochs at which this part ends, (0, 1).
    pub until: f64,
    /// Side of the square input until then, pixels, [32, 1024].
    pub size: usize,
}

impl Input {
    /// The size that epoch `epoch` (from 0) of `epochs` is trained at.
    pub fn size_at(&self, epoch: usize, epochs: usize) -> usize {
        let done = epoch as f64 / epochs as f64;
        self.grow.iter().find(|g| done < g.until).map_or(self.size, |g| g.size)
    }
}

impl Default for Input {
    fn default() -> Self {
        Self { size: 128, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], grow: Vec::new() }
    }
}

/// How the crops of the data lie around the face boxes of a locator (measured by the `margin` command).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Crop {
    /// See [`deepfake_scoring::contract::Crop::margin`].
    pub margin: f32,
    /// See [`deepfake_scoring::contract::Crop::shift_y`].
    pub shift_y: f32,
}

impl Default for Crop {
    fn default() -> Self {
        let contract = deepfake_scoring::contract::Crop::default();
        Self { margin: contract.margin, shift_y: contract.shift_y }
    }
}

/// What is done to a training face, each time anew. Probabilities are in [0, 1]; the values after them are ranges to draw
/// from. All is done to the face's own pixels in this order: blur, rescale, JPEG, crop (scale, shift, flip), colour, noise,
/// erasing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augment {
    /// Probability of mirroring. Default 0.5.
    pub flip: f64,
    /// Side of the region cut, relative to the picture's. Default [0.85, 1.1].
    pub scale: [f64; 2],
    /// Largest shift of the region in each direction, relative to the picture's side. Default 0.06.
    pub shift: f64,
    /// Largest ratio by which one side of the region is longer than the other. Default 1.06.
    pub aspect: f64,
    /// Probability of going through a smaller size. Default 0.2.
    pub rescale: f64,
    /// That size, relative to the picture's. Default [0.3, 0.9].
    pub rescale_to: [f64; 2],
    /// Probability of a Gaussian blur. Default 0.1.
    pub blur: f64,
    /// Its standard deviation in pixels of a picture 224 wide. Default [0.3, 2.0].
    pub blur_sigma: [f64; 2],
    /// Probability of a round trip through JPEG. Default 0.3.
    pub jpeg: f64,
    /// Its quality, 1 to 100. Default [40, 95].
    pub jpeg_quality: [u8; 2],
    /// Probability of a change of brightness, contrast and saturation. Default 0.6.
    pub colour: f64,
    /// Largest change of each, relative. Default 0.25.
    pub colour_by: f64,
    /// Probability of losing all colour. Default 0.05.
    pub gray: f64,
    /// Probability of Gaussian noise. Default 0.15.
    pub noise: f64,
    /// Its standard deviation, relative to white. Default [0.005, 0.04].
    pub noise_sigma: [f64; 2],
    /// Probability of erasing a rectangle. Default 0.
    pub erase: f64,
    /// Its share of the area. Default [0.02, 0.2].
    pub erase_area: [f64; 2],
}

impl Default for Augment {
    fn default() -> Self {
        Self {
            flip: 0.5,
            scale: [0.85, 1.1],
            shift: 0.06,
            aspect: 1.06,
            rescale: 0.2,
            rescale_to: [0.3, 0.9],
            blur: 0.1,
            blur_sigma: [0.3, 2.0],
            jpeg: 0.3,
            jpeg_quality: [40, 95],
            colour: 0.6,
            colour_by: 0.25,
            gray: 0.05,
            noise: 0.15,
            noise_sigma: [0.005, 0.04],
            erase: 0.0,
            erase_area: [0.02, 0.2],
        }
    }
}

/// AdamW with warm-up and cosine decay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Optim {
    /// How often each real face is seen. Default 12.
    pub epochs: usize,
    /// Faces a step (half of them real); even. Default 32.
    pub batch: usize,
    /// Largest learning rate. Default 0.002.
    pub learning_rate: f64,
    /// Decoupled weight decay, of weight matrices and kernels only. Default 0.02.
    pub weight_decay: f64,
    /// Epochs (may be broken) over which the learning rate rises from zero. Default 1.
    pub warmup_epochs: f64,
    /// The last learning rate relative to the largest. Default 0.01.
    pub final_rate: f64,
    /// Largest norm of the gradient; 0 switches clipping off. Default 5.
    pub clip: f64,
    /// Share of the label that is spread over both classes, [0, 0.5]. Default 0.1.
    pub label_smoothing: f64,
    /// Weight of the ranking loss between the two faces of a pair, beside the cross entropy. Default 0.
    pub pair_weight: f64,
    /// Decay a step of the moving average of the weights, which validation and export use; 0 switches it off. Default 0.998.
    pub ema: f64,
    /// Stop after so many epochs without a better validation AUC; 0 means never. Default 0.
    pub patience: usize,
}

impl Default for Optim {
    fn default() -> Self {
        Self {
            epochs: 12,
            batch: 32,
            learning_rate: 2e-3,
            weight_decay: 0.02,
            warmup_epochs: 1.0,
            final_rate: 0.01,
            clip: 5.0,
            label_smoothing: 0.1,
            pair_weight: 0.0,
            ema: 0.998,
            patience: 0,
        }
    }
}

/// Where training runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceChoice {
    /// The first CUDA device, the CPU where there is none.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The first CUDA device or an error.
    Cuda,
}

/// What does not change the result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Run {
    /// `auto`, `cpu` or `cuda`. Default `auto`.
    pub device: DeviceChoice,
    /// Threads of libtorch; 0 means one a core. Default 0.
    pub threads: usize,
    /// Threads that decode and augment; 0 means one a core. Default 0.
    pub loader_threads: usize,
    /// Minutes between checkpoints within an epoch (there is always one at its end). Default 2.
    pub checkpoint_minutes: f64,
}

impl Default for Run {
    fn default() -> Self {
        Self { device: DeviceChoice::Auto, threads: 0, loader_threads: 0, checkpoint_minutes: 2.0 }
    }
}

const fn one() -> u64 {
    1
}
const fn tenth() -> f64 {
    0.1
}
const fn hundredth() -> f64 {
    0.01
}
const fn yes() -> bool {
    true
}
const fn cache_mib() -> usize {
    4096
}

impl Config {
    /// Reads and checks a file; paths in it, which are relative to its folder, become absolute.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, is not TOML, has unknown keys or values out of range.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
        let mut config: Self = toml::from_str(&text)
            .map_err(|source| Error::ConfigSyntax { path: path.to_owned(), source: Box::new(source) })?;
        let base = path.parent().unwrap_or(Path::new(""));
        for file in config.data.folders.iter_mut().chain(&mut config.model.init) {
            let joined = base.join(&*file);
            *file = std::path::absolute(&joined).map_err(Error::io(&joined))?;
        }
        config.check()?;
        Ok(config)
    }

    /// SHA-256 of all that changes the weights, as hexadecimal text: not of paths, of what is only said about the model, nor of
    /// [`Run`].
    pub fn digest(&self) -> String {
        let mut counted = self.clone();
        counted.run = Run::default();
        counted.crop = Crop::default();
        counted.provenance.clear();
        counted.data.cache_mib = cache_mib();
        for file in counted.data.folders.iter_mut().chain(&mut counted.model.init) {
            *file = file.file_name().map_or_else(PathBuf::new, PathBuf::from);
        }
        // Every type of the configuration is made of what JSON has.
        let text = serde_json::to_string(&counted).unwrap_or_default();
        Sha256::digest(text).iter().map(|b| format!("{b:02x}")).collect()
    }

    fn check(&self) -> Result<()> {
        let wrong = |key, problem: &str| Err(Error::Config { key, problem: problem.to_owned() });
        let (d, m, i, a, o) = (&self.data, &self.model, &self.input, &self.augment, &self.optim);
        if self.name.is_empty() || !self.name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) {
            return wrong("name", "must be made of letters, digits, `.`, `_` and `-`");
        }
        if d.folders.is_empty() {
            return wrong("data.folders", "must name at least one folder");
        }
        if !(d.validation_share > 0.0 && d.validation_share <= 0.5) {
            return wrong("data.validation_share", "must be above 0 and at most 0.5");
        }
        if !(0.0..=1.0).contains(&d.max_unreadable) {
            return wrong("data.max_unreadable", "must be from 0 to 1");
        }
        if !(1..=2).contains(&m.stem_stride) {
            return wrong("model.stem_stride", "must be 1 or 2");
        }
        if !(0.25..=2.0).contains(&m.width) {
            return wrong("model.width", "must be from 0.25 to 2");
        }
        if !(0.0..=0.9).contains(&m.dropout) {
            return wrong("model.dropout", "must be from 0 to 0.9");
        }
        if m.norm_momentum.is_some_and(|v| !(v > 0.0 && v <= 1.0)) {
            return wrong("model.norm_momentum", "must be above 0 and at most 1");
        }
        if !(32..=1024).contains(&i.size) {
            return wrong("input.size", "must be from 32 to 1024 pixels");
        }
        let ascending = i.grow.windows(2).all(|g| g[0].until < g[1].until);
        if !ascending || i.grow.iter().any(|g| !(g.until > 0.0 && g.until < 1.0 && (32..=1024).contains(&g.size))) {
            return wrong("input.grow", "must have ascending `until` between 0 and 1 and sizes from 32 to 1024 pixels");
        }
        if !i.mean.iter().all(|v| v.is_finite()) {
            return wrong("input.mean", "must be finite");
        }
        if !i.std.iter().all(|v| v.is_normal() && *v > 0.0) {
            return wrong("input.std", "must be positive");
        }
        if !(-0.4..=4.0).contains(&self.crop.margin) {
            return wrong("crop.margin", "must be from -0.4 to 4");
        }
        if !(-2.0..=2.0).contains(&self.crop.shift_y) {
            return wrong("crop.shift_y", "must be from -2 to 2");
        }
        for (key, p) in [
            ("augment.flip", a.flip),
            ("augment.rescale", a.rescale),
            ("augment.blur", a.blur),
            ("augment.jpeg", a.jpeg),
            ("augment.colour", a.colour),
            ("augment.gray", a.gray),
            ("augment.noise", a.noise),
            ("augment.erase", a.erase),
        ] {
            if !(0.0..=1.0).contains(&p) {
                return wrong(key, "is a probability: it must be from 0 to 1");
            }
        }
        for (key, [low, high], least, most) in [
            ("augment.scale", a.scale, 0.2, 3.0),
            ("augment.rescale_to", a.rescale_to, 0.02, 1.0),
            ("augment.blur_sigma", a.blur_sigma, 0.0, 20.0),
            ("augment.noise_sigma", a.noise_sigma, 0.0, 1.0),
            ("augment.erase_area", a.erase_area, 0.0, 0.9),
            ("augment.jpeg_quality", a.jpeg_quality.map(f64::from), 1.0, 100.0),
        ] {
            if !(least <= low && low <= high && high <= most) {
                return wrong(key, &format!("must be a range [low, high] within [{least}, {most}]"));
            }
        }
        if !(0.0..=0.5).contains(&a.shift) {
            return wrong("augment.shift", "must be from 0 to 0.5");
        }
        if !(1.0..=2.0).contains(&a.aspect) {
            return wrong("augment.aspect", "must be from 1 to 2");
        }
        if !(0.0..1.0).contains(&a.colour_by) {
            return wrong("augment.colour_by", "must be from 0 to below 1");
        }
        if o.epochs == 0 {
            return wrong("optim.epochs", "must be at least 1");
        }
        if o.batch < 2 || !o.batch.is_multiple_of(2) {
            return wrong("optim.batch", "must be even and at least 2");
        }
        if !(o.learning_rate.is_finite() && o.learning_rate > 0.0) {
            return wrong("optim.learning_rate", "must be positive");
        }
        for (key, v) in [
            ("optim.weight_decay", o.weight_decay),
            ("optim.warmup_epochs", o.warmup_epochs),
            ("optim.clip", o.clip),
            ("optim.pair_weight", o.pair_weight),
            ("run.checkpoint_minutes", self.run.checkpoint_minutes),
        ] {
            if !(v.is_finite() && v >= 0.0) {
                return wrong(key, "must not be negative");
            }
        }
        if o.pair_weight > 0.0 && !d.pairs {
            return wrong("optim.pair_weight", "needs `data.pairs`");
        }
        if !(0.0..=1.0).contains(&o.final_rate) {
            return wrong("optim.final_rate", "must be from 0 to 1");
        }
        if !(0.0..=0.5).contains(&o.label_smoothing) {
            return wrong("optim.label_smoothing", "must be from 0 to 0.5");
        }
        if !(0.0..1.0).contains(&o.ema) {
            return wrong("optim.ema", "must be from 0 to below 1");
        }
        Ok(())
    }
}
