//! A network's steps as ONNX nodes, with batch norms folded into the convolutions before them.

use std::collections::{BTreeSet, HashSet};

use deepfake_scoring::onnx::{AttributeProto, GraphProto, NodeProto, TensorProto, ValueInfoProto};

use super::{INPUT, LOGIT, MAP};
use crate::error::{Error, Result};
use crate::net::{Activation, FAKE, Net, Node, NodeId, Op, ParamId, Params, REAL, constant, evaluate, floats};

/// `[N, 1, h, w]`, where the head begins.
pub(super) const EVIDENCE: &str = "map.conv";

/// What the outputs of steps are called that look for small differences between large numbers, as transforms to frequencies do: they
/// are not for 8 bits.
pub(super) const EXACT: &str = "exact_";

/// The graph with an input of `[N, 3, height, width]`.
pub(super) fn build(net: &Net, params: &Params, width: usize, height: usize) -> Result<GraphProto> {
    let mut writer = Writer::new(net.nodes(), params, [height as i64, width as i64]);
    writer.steps(&[net.features()])?;
    let features = writer.name(net.features())?;
    writer.head(net, &features)?;
    let map_axes = [Err("N"), Err("map_height"), Err("map_width")];
    Ok(GraphProto {
        node: writer.nodes,
        name: Some("deepfake".to_owned()),
        initializer: writer.initializers,
        input: vec![ValueInfoProto::floats(INPUT, &[Err("N"), Ok(3), Ok(height as i64), Ok(width as i64)])],
        output: vec![ValueInfoProto::floats(LOGIT, &[Err("N")]), ValueInfoProto::floats(MAP, &map_axes)],
        ..GraphProto::default()
    })
}

/// The norms that follow a convolution whose result nothing else reads: neither another step nor who wants the `ends`.
pub(crate) fn folded(nodes: &[Node], ends: &[NodeId]) -> HashSet<usize> {
    let readers = |id: NodeId| nodes.iter().flat_map(|n| &n.inputs).filter(|i| **i == id).count();
    let foldable = |node: &Node| match (&node.op, node.inputs.first()) {
        (Op::Norm { .. }, Some(from)) => {
            matches!(nodes[from.index()].op, Op::Conv { .. }) && readers(*from) == 1 && !ends.contains(from)
        }
        _ => false,
    };
    (0..nodes.len()).filter(|&i| foldable(&nodes[i])).collect()
}

/// A graph that is being written.
pub(super) struct Writer<'a> {
    steps: &'a [Node],
    /// The kernel that reads the input, and what the input is multiplied with on the way.
    input_scale: Option<(ParamId, f64)>,
    pub(super) params: &'a Params,
    /// Height and width of the input.
    pub(super) size: [i64; 2],
    /// Which steps yield the same for every input: what others read of them is computed here and stored.
    constant: Vec<bool>,
    /// What every step's result is called.
    names: Vec<String>,
    /// Names of the constants that are stored already.
    constants: BTreeSet<String>,
    pub(super) nodes: Vec<NodeProto>,
    pub(super) initializers: Vec<TensorProto>,
}

impl<'a> Writer<'a> {
    /// For an input of `size`, height and width; networks without tokens do not ask for it.
    pub(super) fn new(steps: &'a [Node], params: &'a Params, size: [i64; 2]) -> Self {
        Self {
            steps,
            input_scale: None,
            params,
            size,
            constant: constant(steps),
            names: Vec::new(),
            constants: BTreeSet::new(),
            nodes: Vec::new(),
            initializers: Vec::new(),
        }
    }

    /// The file's input is to be multiplied with `scale` before the kernel `first` reads it: that is done to the kernel.
    pub(super) fn scale_input(&mut self, first: ParamId, scale: f64) {
        self.input_scale = Some((first, scale));
    }

    /// Writes all steps; what the `ends` yield can then be asked for by [`Writer::name`].
    pub(super) fn steps(&mut self, ends: &[NodeId]) -> Result<()> {
        let folded = folded(self.steps, ends);
        self.steps.iter().enumerate().try_for_each(|(index, node)| self.node(index, node, &folded))
    }

    pub(super) fn name(&self, id: NodeId) -> Result<String> {
        self.names.get(id.index()).cloned().ok_or_else(|| Error::Export("a step reads what comes after it".to_owned()))
    }

    fn node(&mut self, index: usize, node: &Node, folded: &HashSet<usize>) -> Result<()> {
        if self.constant[index] {
            self.names.push(String::new());
            return Ok(());
        }
        let inputs = node.inputs.iter().map(|id| self.input(*id)).collect::<Result<Vec<_>>>()?;
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let first = inputs.first().copied().unwrap_or_default().to_owned();
        let name = match &node.op {
            Op::Input => INPUT.to_owned(),
            Op::Conv { weight, bias, stride, padding, groups } => {
                let norm = self
                    .steps
                    .iter()
                    .enumerate()
                    .find(|(i, n)| folded.contains(i) && n.inputs.first().is_some_and(|id| id.index() == index));
                let (kernel, bias) = self.kernel(*weight, *bias, norm.map(|(_, n)| &n.op))?;
                let size = self.params.get(*weight).size();
                let attributes = vec![
                    AttributeProto::int_list("kernel_shape", &size[2..]),
                    AttributeProto::int_list("strides", &[*stride; 2]),
                    AttributeProto::int_list("pads", &[*padding; 4]),
                    AttributeProto::int("group", *groups),
                ];
                let stem = kernel.trim_end_matches(".weight").to_owned();
                let inputs: Vec<&str> = [first.as_str(), kernel.as_str()].into_iter().chain(bias.as_deref()).collect();
                self.push("Conv", &inputs, stem, attributes)
            }
            // It is in the convolution already.
            Op::Norm { .. } if folded.contains(&index) => first,
            Op::Norm { weight, bias, mean, variance, eps, .. } => {
                let parts = [*weight, *bias, *mean, *variance].map(|id| self.vector(id));
                let [w, b, m, v] = parts;
                let (w, b, m, v) = (w?, b?, m?, v?);
                let attributes = vec![AttributeProto::float("epsilon", *eps as f32)];
                self.push("BatchNormalization", &[&first, &w, &b, &m, &v], format!("norm_{index}"), attributes)
            }
            Op::Act(Activation::Relu) => self.push("Relu", &inputs, format!("relu_{index}"), vec![]),
            Op::Act(Activation::Relu6) => {
                let (low, high) = (self.scalar(0.0), self.scalar(6.0));
                self.push("Clip", &[&first, &low, &high], format!("relu6_{index}"), vec![])
            }
            Op::Act(Activation::Hardswish) => self.push("HardSwish", &inputs, format!("hardswish_{index}"), vec![]),
            Op::Act(Activation::Hardsigmoid) => {
                let attributes = vec![AttributeProto::float("alpha", 1.0 / 6.0), AttributeProto::float("beta", 0.5)];
                self.push("HardSigmoid", &inputs, format!("hardsigmoid_{index}"), attributes)
            }
            Op::Add => self.push("Add", &inputs, format!("add_{index}"), vec![]),
            Op::Mul => self.push("Mul", &inputs, format!("mul_{index}"), vec![]),
            Op::Act(Activation::Sigmoid) => self.push("Sigmoid", &inputs, format!("sigmoid_{index}"), vec![]),
            Op::Act(Activation::Silu) => {
                let gate = self.push("Sigmoid", &inputs, format!("sigmoid_{index}"), vec![]);
                self.push("Mul", &[&first, &gate], format!("silu_{index}"), vec![])
            }
            Op::Pool => self.push("GlobalAveragePool", &inputs, format!("pool_{index}"), vec![]),
            Op::MaxPool { kernel, stride, padding, ceil } => {
                let attributes = vec![
                    AttributeProto::int_list("kernel_shape", &[*kernel; 2]),
                    AttributeProto::int_list("strides", &[*stride; 2]),
                    AttributeProto::int_list("pads", &[*padding; 4]),
                    AttributeProto::int("ceil_mode", i64::from(*ceil)),
                ];
                self.push("MaxPool", &inputs, format!("maxpool_{index}"), attributes)
            }
            // Nothing is dropped any more.
            Op::DropFace(_) => first,
            Op::ConvBy { stride, padding, .. } => {
                let attributes = vec![
                    AttributeProto::int_list("strides", &[*stride; 2]),
                    AttributeProto::int_list("pads", &[*padding; 4]),
                ];
                self.push("Conv", &inputs, format!("{EXACT}{index}"), attributes)
            }
            Op::Act(Activation::Gelu) => self.gelu(index, &first),
            Op::Act(Activation::Tanh) => self.push("Tanh", &inputs, format!("tanh_{index}"), vec![]),
            Op::Act(Activation::Abs) => self.push("Abs", &inputs, format!("abs_{index}"), vec![]),
            Op::Act(Activation::Log) => self.push("Log", &inputs, format!("log_{index}"), vec![]),
            Op::Affine { scale, offset } => {
                let (scale, offset) = (self.scalar(*scale), self.scalar(*offset));
                let scaled = self.push("Mul", &[&first, &scale], format!("scaled_{index}"), vec![]);
                self.push("Add", &[&scaled, &offset], format!("affine_{index}"), vec![])
            }
            Op::MatMul { exact } => {
                let kind = if *exact { EXACT } else { "matmul_" };
                self.push("MatMul", &inputs, format!("{kind}{index}"), vec![])
            }
            Op::Transpose => {
                let attributes = vec![AttributeProto::int_list("perm", &[0, 1, 3, 2])];
                self.push("Transpose", &inputs, format!("transpose_{index}"), attributes)
            }
            Op::Softmax => {
                self.push("Softmax", &inputs, format!("softmax_{index}"), vec![AttributeProto::int("axis", -1)])
            }
            Op::Concat => self.push("Concat", &inputs, format!("concat_{index}"), vec![AttributeProto::int("axis", 1)]),
            Op::Upsample => {
                let scales = "upsample.scales".to_owned();
                if self.constants.insert(scales.clone()) {
                    self.initializers.push(TensorProto::floats(&scales, &[4], &[1.0, 1.0, 2.0, 2.0]));
                }
                let attributes = vec![
                    AttributeProto::string("mode", "nearest"),
                    AttributeProto::string("coordinate_transformation_mode", "asymmetric"),
                    AttributeProto::string("nearest_mode", "floor"),
                ];
                self.push("Resize", &[&first, "", &scales], format!("upsample_{index}"), attributes)
            }
            Op::Token(op) => self.token(op, index, &first)?,
            Op::Weight(_) | Op::Fixed(_) => return Err(Error::Export("a constant that changes".to_owned())),
        };
        self.names.push(name);
        Ok(())
    }

    /// What a step reads: another step's result, or a constant, which is then stored.
    fn input(&mut self, id: NodeId) -> Result<String> {
        if !self.constant[id.index()] {
            return self.name(id);
        }
        let key = format!("constant_{}", id.index());
        if self.constants.insert(key.clone()) {
            let tensor = evaluate(self.steps, id, self.params)?;
            self.initializers.push(TensorProto::floats(&key, &tensor.size(), &floats(&tensor)?));
        }
        Ok(key)
    }

    /// Stores a number; returns its name.
    pub(super) fn scalar(&mut self, value: f64) -> String {
        let name = format!("scalar_{value}");
        if self.constants.insert(name.clone()) {
            self.initializers.push(TensorProto::floats(&name, &[], &[value as f32]));
        }
        name
    }

    /// Stores a list of integers once; returns its name.
    pub(super) fn ints(&mut self, name: &str, values: &[i64]) -> String {
        if self.constants.insert(name.to_owned()) {
            self.initializers.push(TensorProto::ints(name, &[values.len() as i64], values));
        }
        name.to_owned()
    }

    /// x / 2 * (1 + erf(x / sqrt 2)), in the order that engines know how to fuse.
    fn gelu(&mut self, index: usize, x: &str) -> String {
        let (root, one, half) = (self.scalar(std::f64::consts::SQRT_2), self.scalar(1.0), self.scalar(0.5));
        let divided = self.push("Div", &[x, &root], format!("divided_{index}"), vec![]);
        let erf = self.push("Erf", &[&divided], format!("erf_{index}"), vec![]);
        let sum = self.push("Add", &[&erf, &one], format!("normal_{index}"), vec![]);
        let product = self.push("Mul", &[x, &sum], format!("weighted_{index}"), vec![]);
        self.push("Mul", &[&product, &half], format!("gelu_{index}"), vec![])
    }

    pub(super) fn push(
        &mut self,
        op: &str,
        inputs: &[&str],
        output: String,
        attributes: Vec<AttributeProto>,
    ) -> String {
        self.nodes.push(NodeProto::new(op, inputs, &[&output], attributes));
        output
    }

    fn values(&self, id: ParamId) -> Result<Vec<f64>> {
        Ok(floats(self.params.get(id))?.into_iter().map(f64::from).collect())
    }

    pub(super) fn vector(&mut self, id: ParamId) -> Result<String> {
        let name = self.params.name(id).to_owned();
        let tensor = TensorProto::floats(&name, &self.params.get(id).size(), &floats(self.params.get(id))?);
        self.initializers.push(tensor);
        Ok(name)
    }

    /// Stores kernel and bias of a convolution, with the norm after it where there is one; returns their names.
    fn kernel(
        &mut self,
        weight: ParamId,
        bias: Option<ParamId>,
        norm: Option<&Op>,
    ) -> Result<(String, Option<String>)> {
        let size = self.params.get(weight).size();
        let name = self.params.name(weight).to_owned();
        let mut kernel = self.values(weight)?;
        if let Some((_, scale)) = self.input_scale.filter(|(first, _)| *first == weight) {
            kernel.iter_mut().for_each(|v| *v *= scale);
        }
        let mut offset = bias.map(|b| self.values(b)).transpose()?;
        if let Some(Op::Norm { weight, bias, mean, variance, eps, .. }) = norm {
            let (gain, shift) = (self.values(*weight)?, self.values(*bias)?);
            let (mean, variance) = (self.values(*mean)?, self.values(*variance)?);
            let scale: Vec<f64> = gain.iter().zip(&variance).map(|(g, v)| g / (v + eps).sqrt()).collect();
            let each = kernel.len() / scale.len();
            for (values, scale) in kernel.chunks_exact_mut(each).zip(&scale) {
                values.iter_mut().for_each(|v| *v *= scale);
            }
            let before = offset.unwrap_or_else(|| vec![0.0; scale.len()]);
            offset = Some((0..scale.len()).map(|c| shift[c] + (before[c] - mean[c]) * scale[c]).collect());
        }
        let single = |values: &[f64]| values.iter().map(|v| *v as f32).collect::<Vec<_>>();
        self.initializers.push(TensorProto::floats(&name, &size, &single(&kernel)));
        let bias_name = offset.map(|values| {
            let bias_name = format!("{}.bias", name.trim_end_matches(".weight"));
            self.initializers.push(TensorProto::floats(&bias_name, &[values.len() as i64], &single(&values)));
            bias_name
        });
        Ok((name, bias_name))
    }

    /// One convolution from the features to the map; the logit is its mean. That is pooling and linear layer, in another order.
    fn head(&mut self, net: &Net, features: &str) -> Result<()> {
        let (weight, bias) = net.head();
        let (w, b) = (self.values(weight)?, self.values(bias)?);
        let channels = w.len() / 2;
        let row = |class: i64| &w[class as usize * channels..(class as usize + 1) * channels];
        let kernel: Vec<f32> = row(FAKE).iter().zip(row(REAL)).map(|(f, r)| (f - r) as f32).collect();
        let offset = (b[FAKE as usize] - b[REAL as usize]) as f32;
        self.initializers.push(TensorProto::floats("map.weight", &[1, channels as i64, 1, 1], &kernel));
        self.initializers.push(TensorProto::floats("map.bias", &[1], &[offset]));
        self.initializers.push(TensorProto::ints("map.axes", &[1], &[1]));
        let attributes = vec![AttributeProto::int_list("kernel_shape", &[1, 1])];
        self.push("Conv", &[features, "map.weight", "map.bias"], EVIDENCE.to_owned(), attributes);
        self.push("Squeeze", &[EVIDENCE, "map.axes"], MAP.to_owned(), vec![]);
        let attributes = vec![AttributeProto::int_list("axes", &[1, 2]), AttributeProto::int("keepdims", 0)];
        self.push("ReduceMean", &[MAP], LOGIT.to_owned(), attributes);
        Ok(())
    }
}
