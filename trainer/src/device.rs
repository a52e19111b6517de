//! What training runs on.

use tch::Device;

use crate::config::{DeviceChoice, Precision, Run};
use crate::error::{Error, Result};
use crate::shim;

/// What cuBLAS has to be told before a process first uses it, so that it gives the same numbers each time.
const CUBLAS: &str = "CUBLAS_WORKSPACE_CONFIG";

/// The device that the configuration asks for, with the words for the log.
///
/// # Errors
///
/// CUDA was asked for and is not there.
pub fn choose(choice: DeviceChoice) -> Result<(Device, String)> {
    let cuda = choice != DeviceChoice::Cpu && {
        load_cuda();
        tch::Cuda::is_available()
    };
    if choice == DeviceChoice::Cuda && !cuda {
        let problem = "is `cuda`, but libtorch finds no CUDA device".to_owned();
        return Err(Error::Config { key: "run.device", problem });
    }
    Ok(if cuda {
        (Device::Cuda(0), "the first CUDA device".to_owned())
    } else {
        (Device::Cpu, format!("the CPU, {} thread(s)", tch::get_num_threads()))
    })
}

/// Sets the switches of a run, once its device is known.
///
/// # Errors
///
/// `run.deterministic` on a CUDA device without cuBLAS having been told.
pub fn set_switches(run: &Run, device: Device) -> Result<()> {
    if device == Device::Cpu {
        return Ok(());
    }
    if run.deterministic && std::env::var_os(CUBLAS).is_none() {
        let problem = format!("needs the environment variable `{CUBLAS}=:4096:8`: start the command with it");
        return Err(Error::Config { key: "run.deterministic", problem });
    }
    shim::set_switches(run.deterministic, run.tf32)
}

/// The precision that the configuration asks for on that device: no longer [`Precision::Auto`].
///
/// # Errors
///
/// Half precision on the CPU, or bfloat16 on a CUDA device that has none.
pub fn precision(choice: Precision, device: Device) -> Result<Precision> {
    let problem = |problem: &str| Err(Error::Config { key: "optim.precision", problem: problem.to_owned() });
    match (choice, device) {
        (Precision::Auto | Precision::Fp32, Device::Cpu) => Ok(Precision::Fp32),
        (Precision::Bf16 | Precision::Fp16, Device::Cpu) => {
            problem("is for CUDA only: on the CPU leave it `auto` or choose `fp32`")
        }
        (Precision::Auto, _) => Ok(if shim::bfloat16()? { Precision::Bf16 } else { Precision::Fp16 }),
        (Precision::Bf16, _) if !shim::bfloat16()? => problem("is `bf16`, which this device lacks: choose `fp16`"),
        (choice, _) => Ok(choice),
    }
}

/// Loads libtorch's CUDA half where it is on the library path. A command that was linked on a machine without it has no need of
/// it noted, so the loader leaves it out.
fn load_cuda() {
    #[cfg(unix)]
    // SAFETY: the name is a C string; loading runs the library's initializers, which are made for being loaded at start-up.
    unsafe {
        libc::dlopen(c"libtorch_cuda.so".as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL);
    }
}
