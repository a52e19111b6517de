//! What training runs on.

use tch::Device;

use crate::config::DeviceChoice;
use crate::error::{Error, Result};

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

/// Loads libtorch's CUDA half where it is on the library path. A command that was linked on a machine without it has no need of
/// it noted, so the loader leaves it out.
fn load_cuda() {
    #[cfg(unix)]
    // SAFETY: the name is a C string; loading runs the library's initializers, which are made for being loaded at start-up.
    unsafe {
        libc::dlopen(c"libtorch_cuda.so".as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL);
    }
}
