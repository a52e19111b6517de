//! A model file: its bytes, what they are checked for before ONNX Runtime sees them, and its digest.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use prost::Message;
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::onnx::{FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto};

/// The newest IR version that ONNX Runtime 1.28 reads (measured).
pub const MAX_IR_VERSION: i64 = 13;
/// The newest version of the standard operators that ONNX Runtime 1.28 knows (measured).
pub const MAX_OPSET: i64 = 26;
/// Larger files are refused; protobuf itself ends at 2 GiB.
pub const MAX_BYTES: u64 = 1 << 30;

/// Operators that ONNX Runtime brings itself; any other domain would need a library of custom code.
const KNOWN_DOMAINS: [&str; 6] =
    ["", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc", "com.ms.internal.nhwc"];

/// Operators that are not computed but loaded: their attributes hold, or name a file with, what somebody has compiled for a device.
const COMPILED: [&str; 1] = ["EPContext"];

/// Why a file is not a model that will be loaded.
#[derive(Debug, Error)]
pub enum ModelError {
    /// Missing, unreadable.
    #[error("the model {path} cannot be read: {source}")]
    Read {
        /// As given.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A folder, a pipe, a device.
    #[error("{0} is not a regular file")]
    NotAFile(PathBuf),
    /// More than [`MAX_BYTES`], or whatever is the most for that kind of file.
    #[error("the file {name} has {bytes} bytes, more than {most} are not loaded")]
    TooLarge {
        /// Of the file.
        name: String,
        /// Of the file.
        bytes: u64,
        /// That would be loaded.
        most: u64,
    },
    /// Cut off, or something else than ONNX.
    #[error("{name} is not an ONNX model: {problem}")]
    NotOnnx {
        /// Of the file.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// Written for a newer ONNX Runtime.
    #[error(
        "the model {name} has {what} {found}, at most {supported} is supported: export it again with an older version"
    )]
    TooNew {
        /// Of the file.
        name: String,
        /// IR version or opset.
        what: &'static str,
        /// In the file.
        found: i64,
        /// Here.
        supported: i64,
    },
    /// Weights in another file.
    #[error(
        "the model {name} keeps the weights of `{tensor}` in another file, which is not loaded: save it as one file"
    )]
    ExternalData {
        /// Of the file.
        name: String,
        /// Of the first such tensor.
        tensor: String,
    },
    /// Code for a device.
    #[error(
        "the model {name} holds compiled code (the operator {operator}), which is not loaded: export it as ONNX operators"
    )]
    Compiled {
        /// Of the file.
        name: String,
        /// Its type.
        operator: String,
    },
    /// Operators of somebody's own library.
    #[error("the model {name} uses the operator {operator} of the domain `{domain}`, which ONNX Runtime does not have")]
    CustomOperator {
        /// Of the file.
        name: String,
        /// Its type.
        operator: String,
        /// Its domain.
        domain: String,
    },
}

/// A checked model file. Clones share the bytes.
#[derive(Clone)]
pub struct Model {
    name: String,
    bytes: Arc<[u8]>,
    sha256: String,
    metadata: BTreeMap<String, String>,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model")
            .field("name", &self.name)
            .field("bytes", &self.bytes.len())
            .field("sha256", &self.sha256)
            .finish_non_exhaustive()
    }
}

impl Model {
    /// Reads and checks a file. What is checked and hashed is what will be run: the file is read once.
    ///
    /// # Errors
    ///
    /// All of [`ModelError`].
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        let name = path.file_stem().map_or_else(|| "model".to_owned(), |s| s.to_string_lossy().into_owned());
        Self::from_bytes(&name, read_file(path, MAX_BYTES)?)
    }

    /// Checks a model that is in memory already.
    ///
    /// # Errors
    ///
    /// All of [`ModelError`] but those of the file system.
    pub fn from_bytes(name: &str, bytes: impl Into<Arc<[u8]>>) -> Result<Self, ModelError> {
        let bytes = bytes.into();
        if bytes.len() as u64 > MAX_BYTES {
            return Err(ModelError::TooLarge { name: name.to_owned(), bytes: bytes.len() as u64, most: MAX_BYTES });
        }
        let proto = ModelProto::decode(&*bytes)
            .map_err(|e| ModelError::NotOnnx { name: name.to_owned(), problem: e.to_string() })?;
        Check { name }.model(&proto)?;
        let metadata = proto
            .metadata_props
            .into_iter()
            .map(|p| (p.key.unwrap_or_default(), p.value.unwrap_or_default()))
            .collect();
        let sha256 = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
        Ok(Self { name: name.to_owned(), bytes, sha256, metadata })
    }

    /// The file's name without its ending.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Digest of the whole file, in lower case hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The file's `metadata_props`.
    pub fn metadata(&self) -> impl Iterator<Item = (&str, &str)> {
        self.metadata.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }
}

/// All of a regular file that is not larger than told; nothing is opened that could be waited for.
///
/// # Errors
///
/// [`ModelError::Read`], [`ModelError::NotAFile`] and [`ModelError::TooLarge`].
pub fn read_file(path: &Path, most: u64) -> Result<Vec<u8>, ModelError> {
    let read = |source| ModelError::Read { path: path.to_owned(), source };
    // Asked before opening: to open a pipe that nobody writes to would wait forever.
    let metadata = std::fs::metadata(path).map_err(read)?;
    if !metadata.is_file() {
        return Err(ModelError::NotAFile(path.to_owned()));
    }
    let too_large = |bytes| {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        ModelError::TooLarge { name, bytes, most }
    };
    if metadata.len() > most {
        return Err(too_large(metadata.len()));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    // It may have grown since, and files of the kernel's own say that they are empty.
    File::open(path).map_err(read)?.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(read)?;
    if bytes.len() as u64 > most {
        return Err(too_large(bytes.len() as u64));
    }
    Ok(bytes)
}

struct Check<'a> {
    name: &'a str,
}

impl Check<'_> {
    fn model(&self, model: &ModelProto) -> Result<(), ModelError> {
        let not_onnx = |problem: &str| ModelError::NotOnnx { name: self.name.to_owned(), problem: problem.to_owned() };
        let too_new =
            |what, found, supported| ModelError::TooNew { name: self.name.to_owned(), what, found, supported };

        let graph = model.graph.as_ref().ok_or_else(|| not_onnx("there is no graph in it"))?;
        match model.ir_version {
            None | Some(..=0) => return Err(not_onnx("it has no IR version")),
            Some(v) if v > MAX_IR_VERSION => return Err(too_new("IR version", v, MAX_IR_VERSION)),
            Some(_) => {}
        }
        for set in &model.opset_import {
            let standard = matches!(set.domain.as_deref(), None | Some("" | "ai.onnx"));
            match set.version {
                Some(v) if standard && v > MAX_OPSET => return Err(too_new("opset", v, MAX_OPSET)),
                _ => {}
            }
        }
        if graph.output.is_empty() {
            return Err(not_onnx("its graph has no output"));
        }
        self.graph(graph, &model.functions)?;
        for function in &model.functions {
            self.nodes(&function.node, &model.functions)?;
        }
        Ok(())
    }

    fn graph(&self, graph: &GraphProto, functions: &[FunctionProto]) -> Result<(), ModelError> {
        let sparse = graph.sparse_initializer.iter().flat_map(|s| s.values.iter().chain(&s.indices));
        for tensor in graph.initializer.iter().chain(sparse) {
            self.tensor(tensor)?;
        }
        self.nodes(&graph.node, functions)
    }

    fn nodes(&self, nodes: &[NodeProto], functions: &[FunctionProto]) -> Result<(), ModelError> {
        for node in nodes {
            let domain = node.domain.as_deref().unwrap_or_default();
            let local = || functions.iter().any(|f| f.domain.as_deref() == Some(domain) && f.name == node.op_type);
            if !KNOWN_DOMAINS.contains(&domain) && !local() {
                return Err(ModelError::CustomOperator {
                    name: self.name.to_owned(),
                    operator: node.op_type.clone().unwrap_or_default(),
                    domain: domain.to_owned(),
                });
            }
            if let Some(operator) = node.op_type.as_deref().filter(|o| COMPILED.contains(o)) {
                return Err(ModelError::Compiled { name: self.name.to_owned(), operator: operator.to_owned() });
            }
            for a in &node.attribute {
                let sparse = a.sparse_tensor.iter().chain(&a.sparse_tensors);
                let sparse = sparse.flat_map(|s| s.values.iter().chain(&s.indices));
                a.t.iter().chain(&a.tensors).chain(sparse).try_for_each(|t| self.tensor(t))?;
                a.g.iter().chain(&a.graphs).try_for_each(|g| self.graph(g, functions))?;
            }
        }
        Ok(())
    }

    fn tensor(&self, tensor: &TensorProto) -> Result<(), ModelError> {
        if tensor.data_location.unwrap_or(0) != 0 || !tensor.external_data.is_empty() {
            return Err(ModelError::ExternalData {
                name: self.name.to_owned(),
                tensor: tensor.name.clone().unwrap_or_default(),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::{OperatorSetIdProto, StringStringEntryProto, ValueInfoProto};

    fn relu() -> ModelProto {
        ModelProto {
            ir_version: Some(8),
            opset_import: vec![OperatorSetIdProto { domain: None, version: Some(17) }],
            graph: Some(GraphProto {
                node: vec![NodeProto::new("Relu", &["x"], &["y"], vec![])],
                input: vec![ValueInfoProto::floats("x", &[Ok(1)])],
                output: vec![ValueInfoProto::floats("y", &[Ok(1)])],
                ..GraphProto::default()
            }),
            ..ModelProto::default()
        }
    }

    fn refusal(change: impl FnOnce(&mut ModelProto)) -> String {
        let mut model = relu();
        change(&mut model);
        Model::from_bytes("m", model.encode_to_vec()).unwrap_err().to_string()
    }

    #[test]
    fn a_good_file_is_hashed_and_its_metadata_read() {
        let mut model = relu();
        model.metadata_props.push(StringStringEntryProto { key: Some("a".into()), value: Some("b".into()) });
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("relu.onnx");
        std::fs::write(&path, model.encode_to_vec()).unwrap();
        let model = Model::read(&path).unwrap();
        assert_eq!(model.name(), "relu");
        assert_eq!(model.metadata().collect::<Vec<_>>(), [("a", "b")]);
        assert_eq!(model.sha256().len(), 64);
    }

    #[test]
    fn what_will_not_be_loaded_says_why() {
        assert!(refusal(|m| m.graph = None).contains("no graph"));
        assert!(refusal(|m| m.ir_version = Some(99)).contains("IR version 99"));
        assert!(refusal(|m| m.opset_import[0].version = Some(99)).contains("opset 99"));
        let node = |m: &mut ModelProto, f: &dyn Fn(&mut NodeProto)| f(&mut m.graph.as_mut().unwrap().node[0]);
        assert!(refusal(|m| node(m, &|n| n.domain = Some("evil".into()))).contains("domain `evil`"));
        let compiled = |n: &mut NodeProto| {
            n.domain = Some("com.microsoft".into());
            n.op_type = Some("EPContext".into());
        };
        assert!(refusal(|m| node(m, &compiled)).contains("EPContext"));
        let external = TensorProto { data_location: Some(1), name: Some("w".into()), ..TensorProto::default() };
        assert!(refusal(|m| m.graph.as_mut().unwrap().initializer.push(external.clone())).contains("`w`"));
        // Hidden in the branch of an `If`.
        let inner = GraphProto { initializer: vec![external], ..GraphProto::default() };
        let branch = crate::onnx::AttributeProto { g: Some(inner), ..Default::default() };
        assert!(refusal(|m| node(m, &|n| n.attribute.push(branch.clone()))).contains("`w`"));
    }

    #[test]
    fn what_is_no_file_or_no_onnx_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Model::read(dir.path()), Err(ModelError::NotAFile(_))));
        assert!(matches!(Model::read(&dir.path().join("none")), Err(ModelError::Read { .. })));
        assert!(matches!(Model::from_bytes("m", *b"\xff\xfe random"), Err(ModelError::NotOnnx { .. })));
        assert!(matches!(Model::from_bytes("m", []), Err(ModelError::NotOnnx { .. })));
        let whole = relu().encode_to_vec();
        assert!(matches!(Model::from_bytes("m", &whole[..whole.len() / 2]), Err(ModelError::NotOnnx { .. })));
    }
}
