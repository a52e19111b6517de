//! The named tensors of a network.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use rand_pcg::Pcg64Mcg;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use tch::{Device, Kind, Tensor, no_grad};

use crate::error::{Error, Result};

/// What a tensor is to the optimizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Learned, with weight decay: kernels and matrices.
    Weight,
    /// Learned, without weight decay: biases and the scales of norms.
    Gain,
    /// Not learned: running statistics.
    Statistic,
}

/// Where a tensor stands in [`Params`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParamId(usize);

impl ParamId {
    /// The tensor that was made first: the kernel of a network's first convolution.
    pub const FIRST: Self = Self(0);
}

/// Where a tensor that is not learned stands in [`Params`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedId(usize);

/// One tensor.
#[derive(Debug)]
pub struct Param {
    /// As PyTorch's model library names it.
    pub name: String,
    /// 32-bit floats.
    pub tensor: Tensor,
    /// What it is to the optimizer.
    pub role: Role,
}

/// All tensors of a network, in the order of their making.
#[derive(Debug, Default)]
pub struct Params {
    list: Vec<Param>,
    /// Tables that follow from the network alone: they stand in no file of weights.
    fixed: Vec<Tensor>,
}

impl Params {
    /// In the order of their making.
    pub fn iter(&self) -> impl Iterator<Item = &Param> {
        self.list.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Param> {
        self.list.iter_mut()
    }

    /// The learned ones.
    pub fn learned(&self) -> impl Iterator<Item = &Param> {
        self.list.iter().filter(|p| p.role != Role::Statistic)
    }

    /// How many numbers are learned.
    pub fn count(&self) -> usize {
        self.learned().map(|p| p.tensor.numel()).sum()
    }

    /// The tensor of that place.
    pub fn get(&self, id: ParamId) -> &Tensor {
        &self.list[id.0].tensor
    }

    /// The name of the tensor of that place.
    pub fn name(&self, id: ParamId) -> &str {
        &self.list[id.0].name
    }

    /// The tensor of that place.
    pub fn fixed(&self, id: FixedId) -> &Tensor {
        &self.fixed[id.0]
    }

    pub(super) fn push_fixed(&mut self, tensor: Tensor) -> FixedId {
        self.fixed.push(tensor);
        FixedId(self.fixed.len() - 1)
    }

    pub(super) fn push(&mut self, name: String, role: Role, tensor: Tensor) -> ParamId {
        self.list.push(Param { name, tensor, role });
        ParamId(self.list.len() - 1)
    }

    /// Its own memory, on `device`; learned tensors want gradients where `learn` says so.
    ///
    /// # Errors
    ///
    /// When libtorch fails.
    pub fn copied(&self, device: Device, learn: bool) -> Result<Self> {
        let list = self
            .list
            .iter()
            .map(|p| {
                let mut tensor = Tensor::f_zeros(p.tensor.size(), (Kind::Float, device))?;
                no_grad(|| tensor.f_copy_(&p.tensor))?;
                let tensor = tensor.f_set_requires_grad(learn && p.role != Role::Statistic)?;
                Ok(Param { name: p.name.clone(), tensor, role: p.role })
            })
            .collect::<Result<_>>()?;
        let fixed = self.fixed.iter().map(|t| t.f_to_device(device)).collect::<Result<_, _>>()?;
        Ok(Self { list, fixed })
    }

    /// Takes over the values of `tensors`, all of them: names and shapes must be equal.
    ///
    /// # Errors
    ///
    /// Names `path` and the first tensor that is missing, surplus or of another shape.
    pub fn assign(&mut self, tensors: &BTreeMap<String, Tensor>, path: &Path) -> Result<()> {
        if let Some(name) = tensors.keys().find(|n| !self.list.iter().any(|p| p.name == **n)) {
            return Err(Error::checkpoint(path, format!("`{name}` is not part of this network")));
        }
        for param in &mut self.list {
            let Some(from) = tensors.get(&param.name) else {
                return Err(Error::checkpoint(path, format!("`{}` is missing", param.name)));
            };
            param.take(from, path)?;
        }
        Ok(())
    }
}

impl Param {
    fn take(&mut self, from: &Tensor, path: &Path) -> Result<()> {
        if from.size() != self.tensor.size() {
            let problem =
                format!("`{}` has shape {:?}, the network wants {:?}", self.name, from.size(), self.tensor.size());
            return Err(Error::checkpoint(path, problem));
        }
        no_grad(|| self.tensor.f_copy_(from))?;
        Ok(())
    }
}

/// Reads a safetensors file; half floats become floats, integers are left out (counters of batch norms).
///
/// # Errors
///
/// A file that cannot be read, or that is not safetensors: pickled PyTorch files are told how to be converted.
pub fn read_tensors(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| {
        let hint = "; a pickled PyTorch file is converted with `safetensors.torch.save_file(torch.load(FILE), OUT)`";
        Error::checkpoint(path, format!("not a safetensors file: {e}{hint}"))
    })?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.iter() {
        let kind = match view.dtype() {
            Dtype::F32 => Kind::Float,
            Dtype::F16 => Kind::Half,
            Dtype::BF16 => Kind::BFloat16,
            Dtype::F64 => Kind::Double,
            _ => continue,
        };
        let size: Vec<i64> = view.shape().iter().map(|&n| n as i64).collect();
        let tensor = Tensor::f_from_data_size(view.data(), &size, kind)?.f_to_kind(Kind::Float)?;
        tensors.insert(name.to_owned(), tensor);
    }
    Ok(tensors)
}

/// The bytes of a safetensors file, with free words in its header.
///
/// # Errors
///
/// When libtorch fails.
pub fn write_tensors<'a>(
    tensors: impl IntoIterator<Item = (String, &'a Tensor)>,
    metadata: Option<HashMap<String, String>>,
) -> Result<Vec<u8>> {
    let mut blobs = Vec::new();
    for (name, tensor) in tensors {
        let shape: Vec<usize> = tensor.size().iter().map(|&n| n as usize).collect();
        blobs.push((name, shape, floats(tensor)?));
    }
    let views = blobs.iter().map(|(name, shape, data)| {
        let bytes: &[u8] = bytemuck::cast_slice(data);
        // The length of the bytes is four times the product of the shape: this cannot fail.
        TensorView::new(Dtype::F32, shape.clone(), bytes).map(|v| (name.as_str(), v))
    });
    let views = views.collect::<Result<Vec<_>, _>>().map_err(|e| Error::Training(e.to_string()))?;
    safetensors::serialize(views, metadata).map_err(|e| Error::Training(e.to_string()))
}

/// The numbers of a tensor, in row-major order.
///
/// # Errors
///
/// When libtorch fails.
pub fn floats(tensor: &Tensor) -> Result<Vec<f32>> {
    let tensor = tensor.f_detach()?.f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?.f_contiguous()?;
    let mut data = vec![0.0; tensor.numel()];
    let n = data.len();
    tensor.f_copy_data(&mut data, n)?;
    Ok(data)
}

/// Draws initial values; without a generator, zeros in their place.
pub(super) struct Init<'r> {
    pub(super) rng: Option<&'r mut Pcg64Mcg>,
}

impl Init<'_> {
    /// Normal numbers of standard deviation `std`, by Box and Muller's transform: the same on every machine.
    pub(super) fn normal(&mut self, size: &[i64], std: f64) -> Result<Tensor> {
        let Some(rng) = &mut self.rng else {
            return Ok(Tensor::f_zeros(size, (Kind::Float, Device::Cpu))?);
        };
        let n = size.iter().product::<i64>() as usize;
        let values: Vec<f32> = (0..n).map(|_| (crate::seeded::normal(rng) * std) as f32).collect();
        Ok(Tensor::f_from_slice(&values)?.f_view(size)?)
    }

    /// All the same.
    pub(super) fn constant(&mut self, size: i64, value: f64) -> Result<Tensor> {
        Ok(Tensor::f_full([size], value, (Kind::Float, Device::Cpu))?)
    }
}
