//! A model that ONNX Runtime is ready to run, on the provider that was asked for.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use ort::ep;
use ort::session::SessionOutputs;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::value::{Outlet, TensorElementType, TensorRef};
use thiserror::Error;

use crate::binding::{Bindings, Place};
pub use crate::interrupt::RunOptions;
use crate::model::Model;
use crate::runtime::{RuntimeError, environment};
use crate::threads::{Budget, Lease};

/// What runs a model. Any but [`Provider::Auto`] is that or an error, never something else in its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Provider {
    /// CUDA where it was built in and starts, else the CPU. [`Session::provider`] says which.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// An NVIDIA GPU, with the CPU for operators that it lacks.
    Cuda,
    /// TensorRT, then CUDA for what it cannot take.
    TensorRt,
}

impl Provider {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Auto, Self::Cpu, Self::Cuda, Self::TensorRt];

    /// As written in properties and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::TensorRt => "tensorrt",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Provider {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|p| p.name() == s).ok_or_else(|| format!("`{s}` is not a provider"))
    }
}

/// How to run a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionOptions {
    /// What runs it.
    pub provider: Provider,
    /// Which GPU.
    pub device_id: i32,
    /// Threads that work on one operator, as far as the [`Budget`] of the process has them.
    pub threads: usize,
    /// Threads that were lent before, in place of [`SessionOptions::threads`]; see [`SessionOptions::leased`].
    pub lease: Option<Lease>,
    /// A folder in which TensorRT keeps its engines.
    pub engine_cache: Option<PathBuf>,
    /// Binds inputs and outputs (ONNX Runtime's I/O binding): with a GPU to page-locked memory, on the CPU to ordinary memory, which
    /// is for comparison only. Off, as nobody has measured yet whether it helps.
    pub bind: bool,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self { provider: Provider::Auto, device_id: 0, threads: 1, lease: None, engine_cache: None, bind: false }
    }
}

impl SessionOptions {
    /// With threads out of the budget of the process. Sessions that are made with the same of these share them: they must not run at
    /// the same time.
    #[must_use]
    pub fn leased(&self) -> Self {
        let lease = self.lease.clone().unwrap_or_else(|| Budget::of_process().lease(self.threads));
        Self { lease: Some(lease), ..self.clone() }
    }

    /// Those that it may have.
    fn granted(&self) -> usize {
        self.lease.as_ref().map_or(1, Lease::threads)
    }
}

/// Why a model does not load or run.
#[derive(Debug, Error)]
pub enum SessionError {
    /// There is no ONNX Runtime.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The provider that was asked for is not there.
    #[error("the provider `{provider}` does not start: {problem}")]
    Provider {
        /// As asked for.
        provider: Provider,
        /// What ONNX Runtime says, or what to build.
        problem: String,
    },
    /// ONNX Runtime refuses the graph.
    #[error("ONNX Runtime does not load the model {model}: {problem}")]
    Load {
        /// Its name.
        model: String,
        /// What ONNX Runtime says.
        problem: String,
    },
    /// An input or output that is not what is needed here.
    #[error("the model {model}: {problem}")]
    Signature {
        /// Its name.
        model: String,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// A run failed.
    #[error("the model {model} does not run: {problem}")]
    Run {
        /// Its name.
        model: String,
        /// What ONNX Runtime says.
        problem: String,
    },
}

/// An input or output of a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name.
    pub name: String,
    /// Its axes; `None` where the length is not fixed. Empty for what is no tensor.
    pub dims: Vec<Option<usize>>,
    /// Whether its numbers are 32-bit floats.
    pub is_f32: bool,
}

impl TensorInfo {
    fn new(outlet: &Outlet) -> Self {
        let dims = outlet.dtype().tensor_shape().map(|s| s.iter().map(|&d| usize::try_from(d).ok()).collect());
        Self {
            name: outlet.name().to_owned(),
            dims: dims.unwrap_or_default(),
            is_f32: outlet.dtype().tensor_type() == Some(TensorElementType::Float32),
        }
    }
}

impl fmt::Display for TensorInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dims: Vec<_> = self.dims.iter().map(|d| d.map_or_else(|| "?".to_owned(), |n| n.to_string())).collect();
        write!(f, "{}[{}]", self.name, dims.join(", "))
    }
}

/// A loaded model with one input of 32-bit floats. It belongs to one worker.
pub struct Session {
    // What is bound is the session's: it goes first.
    bindings: Option<Bindings>,
    inner: ort::session::Session,
    model: Model,
    input: TensorInfo,
    outputs: Vec<TensorInfo>,
    provider: Provider,
    fallback: Option<String>,
    lease: Option<Lease>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("model", &self.model)
            .field("provider", &self.provider)
            .field("input", &self.input)
            .field("outputs", &self.outputs)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Loads a model.
    ///
    /// # Errors
    ///
    /// No ONNX Runtime, a provider that does not start (unless [`Provider::Auto`]), a graph that ONNX Runtime refuses or
    /// that has not exactly one input of 32-bit floats.
    pub fn new(model: &Model, options: &SessionOptions) -> Result<Self, SessionError> {
        let options = &options.leased();
        let (inner, provider, fallback) = match options.provider {
            Provider::Auto if cfg!(feature = "cuda") => match load(model, options, Provider::Cuda) {
                Ok(inner) => (inner, Provider::Cuda, None),
                Err(SessionError::Provider { problem, .. }) => {
                    (load(model, options, Provider::Cpu)?, Provider::Cpu, Some(problem))
                }
                Err(other) => return Err(other),
            },
            Provider::Auto => (load(model, options, Provider::Cpu)?, Provider::Cpu, None),
            wanted => (load(model, options, wanted)?, wanted, None),
        };
        let outputs = inner.outputs().iter().map(TensorInfo::new).collect();
        let [input] = inner.inputs() else {
            return Err(SessionError::Signature {
                model: model.name().to_owned(),
                problem: format!("it has {} inputs, one picture is what it will be given", inner.inputs().len()),
            });
        };
        let input = TensorInfo::new(input);
        if !input.is_f32 {
            return Err(SessionError::Signature {
                model: model.name().to_owned(),
                problem: format!("its input {input} is not a tensor of 32-bit floats"),
            });
        }
        let place = match provider {
            Provider::Auto | Provider::Cpu => Place::Cpu,
            Provider::Cuda | Provider::TensorRt => Place::CudaPinned(options.device_id),
        };
        let bindings = options.bind.then(|| Bindings::new(&inner, place)).transpose();
        let bindings =
            bindings.map_err(|e| SessionError::Provider { provider, problem: format!("no memory to bind: {e}") })?;
        let (model, lease) = (model.clone(), options.lease.clone());
        Ok(Self { bindings, inner, model, input, outputs, provider, fallback, lease })
    }

    /// The model that is run.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// What runs it: never [`Provider::Auto`].
    pub fn provider(&self) -> Provider {
        self.provider
    }

    /// Why [`Provider::Auto`] did not take the GPU that this build could use.
    pub fn fallback(&self) -> Option<&str> {
        self.fallback.as_deref()
    }

    /// Threads that work on one operator, the caller's among them.
    pub fn threads(&self) -> usize {
        self.lease.as_ref().map_or(1, Lease::threads)
    }

    /// The graph's one input.
    pub fn input(&self) -> &TensorInfo {
        &self.input
    }

    /// The graph's outputs, in its order.
    pub fn outputs(&self) -> &[TensorInfo] {
        &self.outputs
    }

    /// Runs the graph on a tensor of that shape, in row-major order.
    ///
    /// # Errors
    ///
    /// Where shape and length disagree, the graph does not take the shape, or the run fails.
    pub fn run(&mut self, shape: &[usize], input: &[f32]) -> Result<Outputs<'_>, SessionError> {
        self.run_with(shape, input, None)
    }

    /// As [`Session::run`], ended early, with an error, by [`RunOptions::terminate`] from another thread.
    ///
    /// # Errors
    ///
    /// As [`Session::run`].
    pub fn run_until<'s>(
        &'s mut self,
        shape: &[usize],
        input: &[f32],
        options: &'s RunOptions,
    ) -> Result<Outputs<'s>, SessionError> {
        self.run_with(shape, input, Some(options))
    }

    fn run_with<'s>(
        &'s mut self,
        shape: &[usize],
        input: &[f32],
        options: Option<&'s RunOptions>,
    ) -> Result<Outputs<'s>, SessionError> {
        let name = self.model.name();
        let failed = |e: ort::Error| SessionError::Run { model: name.to_owned(), problem: e.to_string() };
        // Sees to it that shape and length agree.
        let tensor = TensorRef::from_array_view((shape, input)).map_err(failed)?;
        let values = match (&mut self.bindings, options) {
            (Some(bindings), options) => bindings.run(&mut self.inner, shape, input, options),
            (None, Some(options)) => self.inner.run_with_options(ort::inputs![tensor], options.inner()),
            (None, None) => self.inner.run(ort::inputs![tensor]),
        };
        Ok(Outputs { values: values.map_err(failed)?, infos: &self.outputs, model: name })
    }
}

/// What a run gave.
pub struct Outputs<'s> {
    values: SessionOutputs<'s>,
    infos: &'s [TensorInfo],
    model: &'s str,
}

impl Outputs<'_> {
    /// Shape and numbers (row-major) of the output with that index in [`Session::outputs`].
    ///
    /// # Errors
    ///
    /// An index without an output; an output that is not a tensor of 32-bit floats.
    pub fn get(&self, index: usize) -> Result<(&[i64], &[f32]), SessionError> {
        let wrong = |problem: String| SessionError::Signature { model: self.model.to_owned(), problem };
        let info = self.infos.get(index).ok_or_else(|| wrong(format!("it has no output {index}")))?;
        let value = self.values.get(&info.name).ok_or_else(|| wrong(format!("its output {info} is missing")))?;
        let (shape, data) = value
            .try_extract_tensor::<f32>()
            .map_err(|e| wrong(format!("its output {info} is not a tensor of 32-bit floats: {e}")))?;
        Ok((shape, data))
    }
}

/// Loads with exactly that provider, which is not `Auto`.
fn load(model: &Model, options: &SessionOptions, provider: Provider) -> Result<ort::session::Session, SessionError> {
    let refused = |e: ort::Error| SessionError::Load { model: model.name().to_owned(), problem: e.to_string() };
    let builder =
        configure(ort::session::Session::builder(environment()?).map_err(refused)?, options).map_err(refused)?;
    let absent = |problem: String| SessionError::Provider { provider, problem };
    let providers = execution_providers(options, provider)
        .ok_or_else(|| absent(format!("this build has no support for it: build with `--features {provider}`")))?;
    let mut builder = builder.with_execution_providers(providers).map_err(|e| absent(e.to_string()))?;
    builder.commit_from_memory(model.bytes()).map_err(refused)
}

fn configure(builder: SessionBuilder, options: &SessionOptions) -> ort::Result<SessionBuilder> {
    Ok(builder
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(options.granted())?
        .with_inter_threads(1)?
        // A spinning pool would burn the cores that decode the video.
        .with_intra_op_spinning(false)?
        .with_inter_op_spinning(false)?
        .with_env_allocators()?
        // What was checked is what is loaded: else ONNX Runtime takes a file with four certain bytes for its own other format.
        .with_config_entry("session.load_model_format", "ONNX")?)
}

/// `None` where the provider was not built in. Each would be skipped in silence, were it not told to be an error.
#[cfg_attr(not(feature = "cuda"), allow(unused_variables))]
fn execution_providers(options: &SessionOptions, provider: Provider) -> Option<Vec<ep::ExecutionProviderDispatch>> {
    #[cfg(feature = "cuda")]
    let cuda = || ep::CUDA::default().with_device_id(options.device_id).build().error_on_failure();
    match provider {
        Provider::Auto | Provider::Cpu => Some(vec![]),
        #[cfg(feature = "cuda")]
        Provider::Cuda => Some(vec![cuda()]),
        #[cfg(feature = "tensorrt")]
        Provider::TensorRt => {
            let mut tensorrt = ep::TensorRT::default().with_device_id(options.device_id).with_fp16(false);
            if let Some(folder) = &options.engine_cache {
                tensorrt = tensorrt.with_engine_cache(true).with_engine_cache_path(folder.display().to_string());
            }
            Some(vec![tensorrt.build().error_on_failure(), cuda()])
        }
        #[allow(unreachable_patterns)] // with all features there is nothing left
        _ => None,
    }
}
