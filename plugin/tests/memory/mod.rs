//! Memory of this process.

// Each test program uses its own part.
#![allow(dead_code)]

/// Resident bytes: what it has of the machine.
pub(crate) fn resident() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<f64>().unwrap() * 4096.0
}

/// What glibc tells of all its arenas.
fn malloc_info() -> String {
    let (mut text, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: the stream writes to `text`, whose bytes are there up to `size` once it is closed, and are ours to free.
    unsafe {
        let stream = libc::open_memstream(&raw mut text, &raw mut size);
        assert!(!stream.is_null() && libc::malloc_info(0, stream) == 0 && libc::fclose(stream) == 0);
        let info = String::from_utf8_lossy(std::slice::from_raw_parts(text.cast(), size)).into_owned();
        libc::free(text.cast());
        info
    }
}

/// Bytes in use: what the arenas have, less what is free in them, and what has pages of its own.
pub(crate) fn allocated() -> f64 {
    let info = malloc_info();
    // The totals of all arenas come last.
    let totals = info.rsplit("</heap>").next().unwrap();
    let size = |line: &str| -> f64 {
        let (_, rest) = totals.split_once(line).unwrap_or_else(|| panic!("{line} in {totals}"));
        let (_, rest) = rest.split_once("size=\"").unwrap();
        rest.split('"').next().unwrap().parse().unwrap()
    };
    size("<system type=\"current\"") + size("<total type=\"mmap\"")
        - size("<total type=\"fast\"")
        - size("<total type=\"rest\"")
}
