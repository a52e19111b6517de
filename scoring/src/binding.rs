//! Inputs and outputs that are bound to a graph, in memory that copies to and from a GPU need not stage first (ONNX Runtime's I/O
//! binding, in page-locked memory).

use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, Session, SessionOutputs};
use ort::value::Tensor;

use crate::interrupt::RunOptions;

/// Shapes that are kept. A scorer has six sizes of batch; a detector's picture changes with the video's size, and what was bound for the
/// one before is let go.
const MOST: usize = 8;

/// Where bound tensors lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Ordinary memory, which the CPU's operators use as it is.
    Cpu,
    /// Page-locked memory of the CUDA provider for that GPU: it is copied from while the CPU goes on.
    #[cfg_attr(not(feature = "cuda"), allow(dead_code))]
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
    place: Place,
    allocator: Allocator,
    /// The one that was made last stands last.
    bound: Vec<Bound>,
}

impl Bindings {
    /// None yet; fails where the session has no such memory.
    pub(crate) fn new(session: &Session, place: Place) -> ort::Result<Self> {
        let allocator = Allocator::new(session, place.memory(MemoryType::CPUInput)?)?;
        // What cannot be had is to be found now, not at the first frame.
        drop(Tensor::<f32>::new(&allocator, [1_usize])?);
        Ok(Self { place, allocator, bound: Vec::with_capacity(MOST) })
    }

    /// Runs the graph on numbers of that shape, whose count must be right. The outputs are overwritten by the next run.
    pub(crate) fn run<'b>(
        &'b mut self,
        session: &'b mut Session,
        shape: &[usize],
        numbers: &[f32],
        options: Option<&RunOptions>,
    ) -> ort::Result<SessionOutputs<'b>> {
        let at = match self.bound.iter().position(|b| b.shape == shape) {
            Some(at) => at,
            None => {
                let new = self.bind(session, shape)?;
                if self.bound.len() == MOST {
                    self.bound.remove(0);
                }
                self.bound.push(new);
                self.bound.len() - 1
            }
        };
        let Bound { input, binding, .. } = &mut self.bound[at];
        input.try_extract_tensor_mut::<f32>()?.1.copy_from_slice(numbers);
        // Binding is what copies to the GPU.
        let name = session.inputs()[0].name().to_owned();
        binding.bind_input(name, input)?;
        match options {
            Some(options) => session.run_binding_with_options(binding, options.inner()),
            None => session.run_binding(binding),
        }
    }

    fn bind(&self, session: &Session, shape: &[usize]) -> ort::Result<Bound> {
        let mut binding = session.create_binding()?;
        let memory = self.place.memory(MemoryType::CPUOutput)?;
        for output in session.outputs() {
            // Their sizes are the graph's own business.
            binding.bind_output_to_device(output.name(), &memory)?;
        }
        Ok(Bound { shape: shape.to_vec(), input: Tensor::new(&self.allocator, shape)?, binding })
    }
}
