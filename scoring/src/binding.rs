//! A graph's input and outputs bound to memory of our choice (ONNX Runtime's I/O binding): on a GPU to page-locked memory, which the
//! driver copies from and to without a detour.

use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, Session, SessionOutputs};
use ort::value::Tensor;

use crate::interrupt::RunOptions;

/// Shapes that are kept. A scorer has six sizes of batch; a detector's picture changes with the video's size.
const MOST: usize = 8;

/// Where bound tensors lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Ordinary memory.
    Cpu,
    /// Page-locked memory of the CUDA provider, for that GPU.
    CudaPinned(i32),
}

impl Place {
    fn memory(self, kind: MemoryType) -> ort::Result<MemoryInfo<'static>> {
        match self {
            Self::Cpu => MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, kind),
            Self::CudaPinned(id) => MemoryInfo::new(AllocationDevice::CUDA_PINNED, id, AllocatorType::Device, kind),
        }
    }
}

/// What is bound for one shape of the input.
struct Bound {
    shape: Vec<usize>,
    input: Tensor<f32>,
    binding: IoBinding,
}

/// The bound tensors of a session, one for each shape that it was run with of late.
pub(crate) struct Bindings {
    allocator: Allocator,
    outputs: MemoryInfo<'static>,
    /// The one that was used last stands last.
    bound: Vec<Bound>,
}

impl Bindings {
    /// None yet.
    ///
    /// # Errors
    ///
    /// Where the session has no such memory.
    pub(crate) fn new(session: &Session, place: Place) -> ort::Result<Self> {
        let allocator = Allocator::new(session, place.memory(MemoryType::CPUInput)?)?;
        // What cannot be had is to be found now, not at the first frame.
        drop(Tensor::<f32>::new(&allocator, [1_usize])?);
        Ok(Self { allocator, outputs: place.memory(MemoryType::CPUOutput)?, bound: Vec::with_capacity(MOST) })
    }

    /// Runs the graph on numbers of that shape, whose count must be right.
    pub(crate) fn run<'b>(
        &'b mut self,
        session: &'b mut Session,
        shape: &[usize],
        numbers: &[f32],
        options: Option<&RunOptions>,
    ) -> ort::Result<SessionOutputs<'b>> {
        let known = self.bound.iter().position(|b| b.shape == shape).map(|at| self.bound.remove(at));
        let mut bound = match known {
            Some(bound) => bound,
            None => self.bind(session, shape)?,
        };
        bound.input.try_extract_tensor_mut::<f32>()?.1.copy_from_slice(numbers);
        // This is what copies to a GPU.
        bound.binding.bind_input(session.inputs()[0].name(), &bound.input)?;
        bound.binding.synchronize_inputs()?;
        for output in session.outputs() {
            // Anew for each run: else it would have to be as large as last time, and some depend on what is in the picture.
            bound.binding.bind_output_to_device(output.name(), &self.outputs)?;
        }
        if self.bound.len() == MOST {
            self.bound.remove(0);
        }
        self.bound.push(bound);
        let bound = &self.bound[self.bound.len() - 1];
        match options {
            Some(options) => session.run_binding_with_options(&bound.binding, options.inner()),
            None => session.run_binding(&bound.binding),
        }
    }

    fn bind(&self, session: &Session, shape: &[usize]) -> ort::Result<Bound> {
        Ok(Bound {
            shape: shape.to_vec(),
            input: Tensor::new(&self.allocator, shape)?,
            binding: session.create_binding()?,
        })
    }
}
