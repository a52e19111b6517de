//! How the C library hands out the memory of tensors.

/// Keeps freed memory in the process. By default every large tensor is mapped anew and unmapped when it is let go of: on a CPU half
/// of a training step was spent in the kernel, clearing pages.
pub fn keep_freed() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt takes two integers and changes only how malloc works from here on.
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
        libc::mallopt(libc::M_TOP_PAD, 64 << 20);
    }
}
