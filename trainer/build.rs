//! Compiles the shim (`src/shim.cpp`) against libtorch's headers, and tells the linker where libtorch lies, so that the built command
//! finds it at run time.

use std::path::PathBuf;

fn main() {
    println!("cargo::rerun-if-changed=src/shim.cpp");
    println!("cargo::rerun-if-env-changed=DEP_TCH_LIBTORCH_LIB");
    println!("cargo::rerun-if-env-changed=LIBTORCH_INCLUDE");
    let libraries = std::env::var_os("DEP_TCH_LIBTORCH_LIB").map(PathBuf::from);
    // As torch-sys does it: headers beside the libraries unless the environment says where.
    let root = std::env::var_os("LIBTORCH_INCLUDE").map(PathBuf::from);
    let root = root.or_else(|| libraries.as_ref().and_then(|l| l.parent()).map(PathBuf::from));
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").file("src/shim.cpp").warnings(false);
    if let Some(root) = root {
        build.include(root.join("include"));
    }
    build.compile("shim");
    println!("cargo::rustc-link-lib=torch_cpu");
    println!("cargo::rustc-link-lib=c10");
    if let Some(folder) = libraries {
        println!("cargo::rustc-link-search=native={}", folder.display());
        println!("cargo::rustc-link-arg=-Wl,-rpath,{}", folder.display());
    }
}
