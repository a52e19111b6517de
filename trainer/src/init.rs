//! Where training starts from: weights of an earlier model, also those of an exported file, whose batch norms are folded into the
//! convolutions before them.
//!
//! A folded convolution yields `x + b` where training had a convolution and a norm. [`read`] puts a norm back that does nothing
//! but add `b`. [`restore`] turns it into one that training can go on with: it runs training faces through the network, takes mean `m`
//! and variance `v` of every such norm's input, divides the kernel by `s = sqrt(v)`, and sets the running statistics to what they then
//! are (`m / s` and 1), the scale to `s * sqrt(1 + eps)` and the offset to `b + m`. At inference that is the same function. In training
//! mode, where the statistics are those of the batch, it is what it was before folding but for the share that `eps` had in the
//! variance. The kernel is divided so that its results have variance 1: a step of the optimizer is then neither lost on it nor too long.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::atomic::AtomicUsize;

use deepfake_scoring::onnx::{ModelProto, TensorProto, data_type};
use prost::Message;
use tch::{Device, Kind, Tensor, no_grad};

use crate::checkpoint::write_atomically;
use crate::config::Config;
use crate::data::{Order, Pictures};
use crate::error::{Error, Result};
use crate::export;
use crate::loader::{Loader, Showing};
use crate::net::{Backbone, Loaded, Net, Op, ParamId, Params, floats, read_tensors, write_tensors};
use crate::{device, hash, log, train};

/// Faces that statistics are gathered over, at most.
const FACES: usize = 2048;

/// Largest difference that is let pass between an exported file and the network that took its weights over: rounding is far below it,
/// another network far above.
const TOLERANCE: f64 = 1e-2;

/// Below it a channel is taken for constant, and its kernel left as it is.
const LEAST_VARIANCE: f64 = 1e-20;

/// What [`read`] found.
#[derive(Debug)]
pub enum Origin {
    /// Safetensors, under names that are known.
    Named(Loaded),
    /// An exported file: before training goes on, [`restore`] has to put its norms back.
    Folded,
}

/// Takes over the weights of `path`: safetensors as [`Net::load`] knows them, or an ONNX file that [`crate::export`] wrote of the same
/// network.
///
/// # Errors
///
/// A file of another kind or of another network; an ONNX file that the network then does not reproduce.
pub fn read(net: &Net, params: &mut Params, path: &Path) -> Result<Origin> {
    if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("onnx")) {
        let bytes = std::fs::read(path).map_err(Error::io(path))?;
        unfold(net, params, &bytes, path)?;
        return Ok(Origin::Folded);
    }
    Ok(Origin::Named(net.load(params, &read_tensors(path)?, path)?))
}

/// Takes over the weights of an exported file; norms that were folded become such that add the folded offset and do nothing else.
fn unfold(net: &Net, params: &mut Params, bytes: &[u8], path: &Path) -> Result<()> {
    let refused = |problem: String| Error::checkpoint(path, problem);
    if matches!(net.backbone(), Backbone::F3net | Backbone::VitSmall | Backbone::VitBase) {
        let problem = "an exported file of `model.backbone` holds what was computed from its weights, not the weights: take the \
                       `best.safetensors` of its run";
        return Err(refused(problem.to_owned()));
    }
    let model = ModelProto::decode(bytes).map_err(|e| refused(format!("not an ONNX file: {e}")))?;
    let graph = model.graph.ok_or_else(|| refused("an ONNX file without a graph".to_owned()))?;
    let stored: HashMap<&str, &TensorProto> =
        graph.initializer.iter().map(|t| (t.name.as_deref().unwrap_or_default(), t)).collect();
    let find = |name: &str| -> Result<Tensor> {
        let quantized = || {
            let problem = "does not hold 32-bit floats: take the file that was exported without quantization";
            refused(format!("`{name}` {problem}"))
        };
        match stored.get(name) {
            Some(tensor) => decoded(tensor).ok_or_else(quantized)?,
            None if stored.contains_key(format!("{name}.q").as_str()) => Err(quantized()),
            None => Err(refused(format!(
                "`{name}` is missing: it was not exported by this trainer, or of another `model.backbone`"
            ))),
        }
    };

    let mut tensors: BTreeMap<String, Tensor> = BTreeMap::new();
    let mut put = |id: ParamId, tensor: Tensor| tensors.insert(params.name(id).to_owned(), tensor);
    for (index, node) in net.nodes().iter().enumerate() {
        if let Op::Norm { weight, bias, mean, variance, eps, .. } = &node.op
            && let Some((kernel, own)) = folded_into(net, index)
        {
            let size = params.get(*weight).size();
            let all = |value: f64| Tensor::f_full(&size, value, (Kind::Float, Device::Cpu));
            put(*weight, all((1.0 + eps).sqrt())?);
            put(*bias, find(&format!("{}.bias", params.name(kernel).trim_end_matches(".weight")))?);
            put(*mean, all(0.0)?);
            put(*variance, all(1.0)?);
            if let Some(own) = own {
                put(own, all(0.0)?);
            }
        }
    }
    // One row of the map's kernel is the difference of the head's two.
    let (weight, bias) = net.head();
    for (id, name) in [(weight, "map.weight"), (bias, "map.bias")] {
        let half = find(name)?.f_flatten(0, -1)?.f_mul_scalar(0.5)?;
        put(id, Tensor::f_stack(&[half.f_neg()?, half], 0)?.f_squeeze_dim(-1)?);
    }
    for param in params.iter() {
        if !tensors.contains_key(&param.name) {
            tensors.insert(param.name.clone(), find(&param.name)?);
        }
    }
    params.assign(&tensors, path)?;

    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let difference = match export::compare(net, params, &name, bytes) {
        // Written so that not-a-number fails.
        Ok(p) if p.logit <= TOLERANCE && p.map <= TOLERANCE && p.mean <= TOLERANCE => return Ok(()),
        Ok(parity) => parity.to_string(),
        Err(error) => error.to_string(),
    };
    Err(refused(format!(
        "gives other scores than the network of the configuration with its weights ({difference}): they differ in something that no \
         weight tells, such as `model.stem_stride`"
    )))
}

/// The kernel that the norm at `index` is folded into when exported, and the bias of that convolution where it has one.
fn folded_into(net: &Net, index: usize) -> Option<(ParamId, Option<ParamId>)> {
    let folded = export::folded(net.nodes(), &[net.features()]);
    let from = net.nodes()[index].inputs.first()?;
    match &net.nodes()[from.index()].op {
        Op::Conv { weight, bias, .. } if folded.contains(&index) => Some((*weight, *bias)),
        _ => None,
    }
}

/// The tensor of 32-bit floats that a file holds; `None` where it holds other numbers.
fn decoded(tensor: &TensorProto) -> Option<Result<Tensor>> {
    if tensor.data_type != Some(data_type::FLOAT) {
        return None;
    }
    let values: Vec<f32> = match &tensor.raw_data {
        Some(raw) => raw.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        None => tensor.float_data.clone(),
    };
    Some(Tensor::f_from_slice(&values).and_then(|t| t.f_view(tensor.dims.as_slice())).map_err(Error::from))
}

/// Mean and variance of every channel that came by.
#[derive(Clone, Debug, Default)]
struct Statistics {
    count: f64,
    mean: Vec<f64>,
    /// Sum of squared distances from the mean.
    squares: Vec<f64>,
}

impl Statistics {
    /// Adds a batch `[N, C, H, W]`: Chan et al., "Updating formulae and a pairwise algorithm", 1979.
    fn add(&mut self, x: &Tensor) -> Result<()> {
        let (variance, mean) = x.f_var_mean_dim(&[0i64, 2, 3][..], false, false)?;
        let (variance, mean) = (floats(&variance)?, floats(&mean)?);
        let count = (x.numel() / mean.len().max(1)) as f64;
        if self.mean.is_empty() {
            (self.mean, self.squares) = (vec![0.0; mean.len()], vec![0.0; mean.len()]);
        }
        let total = self.count + count;
        for (c, (v, m)) in variance.iter().zip(&mean).enumerate() {
            let step = f64::from(*m) - self.mean[c];
            self.mean[c] += step * count / total;
            self.squares[c] += f64::from(*v) * count + step * step * self.count * count / total;
        }
        self.count = total;
        Ok(())
    }
}

/// Gives the norms that exporting folds their statistics back, see the [module](self); `inputs` are batches as training shows them. What
/// the network says at inference stays.
///
/// # Errors
///
/// No batch; what `inputs` yields; libtorch failing.
pub fn restore(net: &Net, params: &Params, inputs: impl IntoIterator<Item = Result<Tensor>>) -> Result<()> {
    let mut statistics = vec![Statistics::default(); net.nodes().len()];
    for input in inputs {
        let input = input?;
        no_grad(|| net.observe(params, &input, &mut |index, x| statistics[index].add(x)))?;
    }
    for (index, found) in statistics.iter().enumerate() {
        let Op::Norm { weight, bias, mean, variance, eps, .. } = net.nodes()[index].op else {
            continue;
        };
        let Some((kernel, own)) = folded_into(net, index) else {
            continue;
        };
        if found.count < 2.0 {
            return Err(Error::Data("there is no face to gather the statistics of norms over".to_owned()));
        }
        let values =
            |id: ParamId| -> Result<Vec<f64>> { Ok(floats(params.get(id))?.into_iter().map(f64::from).collect()) };
        let (mut gain, mut offset) = (values(weight)?, values(bias)?);
        let (mut means, mut variances) = (values(mean)?, values(variance)?);
        let mut kernels = values(kernel)?;
        let mut own_values = own.map(values).transpose()?;
        let each = kernels.len() / gain.len();
        for c in 0..gain.len() {
            let (m, v) = (found.mean[c], found.squares[c] / found.count);
            let s = if v > LEAST_VARIANCE { v.sqrt() } else { 1.0 };
            let slope = gain[c] / (variances[c] + eps).sqrt();
            offset[c] += slope * (m - means[c]);
            means[c] = m / s;
            variances[c] = v / (s * s);
            gain[c] = slope * s * (variances[c] + eps).sqrt();
            kernels[c * each..(c + 1) * each].iter_mut().for_each(|k| *k /= s);
            if let Some(own) = &mut own_values {
                own[c] /= s;
            }
        }
        let all = [(weight, gain), (bias, offset), (mean, means), (variance, variances), (kernel, kernels)];
        for (id, values) in all.into_iter().chain(own.zip(own_values)) {
            let values: Vec<f32> = values.into_iter().map(|v| v as f32).collect();
            let mut tensor = params.get(id).shallow_clone();
            let new = Tensor::f_from_slice(&values)?.f_view(tensor.size().as_slice())?;
            no_grad(|| tensor.f_copy_(&new))?;
        }
    }
    Ok(())
}

/// [`restore`] over the first faces of a training, as its first epoch shows them at the full size.
///
/// # Errors
///
/// As [`restore`].
pub fn restore_by(
    config: &Config,
    net: &Net,
    params: &mut Params,
    order: &Order,
    loader: &Loader<'_>,
    device: Device,
) -> Result<()> {
    let there = params.copied(device, false)?;
    let batch = config.optim.batch;
    let batches: Vec<_> = order.epoch(0, batch).into_iter().take(FACES.div_ceil(batch)).collect();
    let bar = log::bar(batches.len(), "statistics of norms");
    std::thread::scope(|scope| {
        let showing = Showing::training(config, 0);
        let (receiver, _worker) = loader.stream(scope, batches, config.input.size, showing);
        let inputs = receiver.into_iter().map(|batch| {
            bar.inc(1);
            Ok(batch?.tensors(device)?.0)
        });
        restore(net, &there, inputs)
    })?;
    bar.finish_and_clear();
    for (to, from) in params.iter().zip(there.iter()) {
        let mut tensor = to.tensor.shallow_clone();
        no_grad(|| tensor.f_copy_(&from.tensor))?;
    }
    Ok(())
}

/// Reads an exported file, restores its norms over the training faces of `config`, whose network must be that of the file, and writes
/// its weights as safetensors, from which training starts without more ado. Returns the largest difference in what it says.
///
/// # Errors
///
/// As [`read`] and [`restore`]; a file that cannot be written.
pub fn import(config: &Config, onnx: &Path, out: &Path) -> Result<export::Parity> {
    let bytes = std::fs::read(onnx).map_err(Error::io(onnx))?;
    let (device, words) = device::choose(config.run.device)?;
    tracing::info!("device: {words}");
    let (net, mut params) = Net::blank(&config.model, &config.input)?;
    unfold(&net, &mut params, &bytes, onnx)?;
    let faces = train::split(config, None)?.train;
    let bar = log::bar(faces.len(), "reading faces");
    let budget = AtomicUsize::new(config.data.cache_mib << 20);
    let (faces, pictures) = Pictures::load(faces, &budget, config.data.max_unreadable, &bar)?;
    bar.finish_and_clear();
    let order = Order::new(&faces, &config.data, config.seed);
    let loader = Loader::new(config, &faces, &pictures)?;
    restore_by(config, &net, &mut params, &order, &loader, device)?;
    let name = onnx.file_stem().unwrap_or_default().to_string_lossy();
    let parity = export::parity(&net, &params, &name, &bytes)?;
    let metadata = HashMap::from([
        ("format".to_owned(), "pt".to_owned()),
        ("backbone".to_owned(), config.model.backbone.to_string()),
        ("onnx_sha256".to_owned(), hash::file(onnx)?),
    ]);
    let weights = params.iter().map(|p| (p.name.clone(), &p.tensor));
    write_atomically(out, &write_tensors(weights, Some(metadata))?)?;
    Ok(parity)
}
