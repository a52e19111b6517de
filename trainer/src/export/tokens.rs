//! Steps on tokens as ONNX nodes.

use deepfake_scoring::onnx::{AttributeProto, NodeProto, TensorProto};

use super::graph::Writer;
use crate::error::Result;
use crate::net::{ParamId, floats, tokens::TokenOp, tokens::position};

impl Writer<'_> {
    /// Writes the nodes of step `index`, which reads `x`; returns the name of their result.
    pub(super) fn token(&mut self, op: &TokenOp, index: usize, x: &str) -> Result<String> {
        Ok(match op {
            TokenOp::Position { table, patch } => {
                let grid = position(self.params.get(*table), self.grid(*patch))?;
                let name = self.params.name(*table).to_owned();
                self.initializers.push(TensorProto::floats(&name, &grid.size(), &floats(&grid)?));
                self.push("Add", &[x, &name], format!("position_{index}"), vec![])
            }
            TokenOp::Flatten => {
                let rows = self.reshape(x, format!("rows_{index}"), &[0, 0, -1]);
                self.permute(&rows, format!("tokens_{index}"), &[0, 2, 1])
            }
            TokenOp::Grid { patch } => {
                let rows = self.permute(x, format!("rows_{index}"), &[0, 2, 1]);
                let [height, width] = self.grid(*patch);
                self.reshape(&rows, format!("grid_{index}"), &[0, 0, height, width])
            }
            TokenOp::LayerNorm { weight, bias, eps } => {
                let (weight, bias) = (self.vector(*weight)?, self.vector(*bias)?);
                let attributes = vec![AttributeProto::int("axis", -1), AttributeProto::float("epsilon", *eps as f32)];
                self.push("LayerNormalization", &[x, &weight, &bias], format!("layernorm_{index}"), attributes)
            }
            TokenOp::Linear { weight, bias } => {
                let (weight, bias) = (self.transposed(*weight)?, self.vector(*bias)?);
                let product = self.push("MatMul", &[x, &weight], format!("matmul_{index}"), vec![]);
                self.push("Add", &[&product, &bias], format!("linear_{index}"), vec![])
            }
            TokenOp::Attention { heads, scale } => self.attention(index, x, *heads, *scale),
        })
    }

    fn attention(&mut self, index: usize, x: &str, heads: i64, scale: f64) -> String {
        let [q, k, v] = ["q", "k", "v"].map(|part| format!("{part}_{index}"));
        let attributes = vec![AttributeProto::int("axis", -1)];
        self.nodes.push(NodeProto::new("Split", &[x], &[&q, &k, &v], attributes));
        let mut divided = |part: &str, order: &[i64]| {
            // The last axis takes what is left.
            let name = self.reshape(part, format!("{part}_heads"), &[0, 0, heads, -1]);
            self.permute(&name, format!("{part}_by_head"), order)
        };
        let (q, k, v) = (divided(&q, &[0, 2, 1, 3]), divided(&k, &[0, 2, 3, 1]), divided(&v, &[0, 2, 1, 3]));
        let products = self.push("MatMul", &[&q, &k], format!("products_{index}"), vec![]);
        let scale = self.scalar(scale);
        let scaled = self.push("Mul", &[&products, &scale], format!("scaled_{index}"), vec![]);
        let attributes = vec![AttributeProto::int("axis", -1)];
        let attention = self.push("Softmax", &[&scaled], format!("attention_{index}"), attributes);
        let values = self.push("MatMul", &[&attention, &v], format!("values_{index}"), vec![]);
        let values = self.permute(&values, format!("values_{index}_by_token"), &[0, 2, 1, 3]);
        self.reshape(&values, format!("attended_{index}"), &[0, 0, -1])
    }

    fn grid(&self, patch: i64) -> [i64; 2] {
        self.size.map(|pixels| pixels / patch)
    }

    /// Stores a matrix `[out, in]` as `[in, out]`; returns its name.
    fn transposed(&mut self, id: ParamId) -> Result<String> {
        let name = self.params.name(id).to_owned();
        let matrix = self.params.get(id).f_transpose(0, 1)?;
        self.initializers.push(TensorProto::floats(&name, &matrix.size(), &floats(&matrix)?));
        Ok(name)
    }

    fn permute(&mut self, x: &str, output: String, order: &[i64]) -> String {
        self.push("Transpose", &[x], output, vec![AttributeProto::int_list("perm", order)])
    }

    /// 0 keeps an axis, -1 takes what is left.
    fn reshape(&mut self, x: &str, output: String, shape: &[i64]) -> String {
        let name = format!("{output}.shape");
        self.initializers.push(TensorProto::ints(&name, &[shape.len() as i64], shape));
        self.push("Reshape", &[x, &name], output, vec![])
    }
}
