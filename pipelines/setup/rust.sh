# shellcheck shell=bash
# A Rust toolchain: the user's own where it is new enough, else Debian's rustc-web and cargo-web.

lowest_rust=1.95.0
cargo_deny_version=0.20.2

# toolchain_in FOLDER: does it hold a cargo and a rustc that are new enough?
toolchain_in() {
    local tool version
    for tool in rustc cargo; do
        # A rustup shim without a toolchain exists, yet fails.
        version=$("$1/$tool" --version 2>/dev/null | cut -d ' ' -f 2) || return 1
        [[ -n $version ]] && at_least "$version" "$lowest_rust" || return 1
    done
}

# find_toolchain: puts the first folder with a toolchain in front of PATH.
find_toolchain() {
    local cargos folder
    mapfile -t cargos < <(type -ap cargo)
    for folder in "${cargos[@]%/cargo}" "${CARGO_HOME:-$HOME/.cargo}/bin"; do
        if toolchain_in "$folder"; then
            # Prepending what already comes first would change PATH, and with it the fingerprints of build scripts.
            [[ $(command -v cargo) == "$folder/cargo" && $(command -v rustc) == "$folder/rustc" ]] ||
                export PATH="$folder:$PATH"
            return 0
        fi
    done
    return 1
}

setup_rust() {
    if ! find_toolchain; then
        say "No Rust toolchain of at least $lowest_rust here: taking Debian's (it takes the place of an older Debian rustc)"
        install_packages rustc-web cargo-web
        hash -r
        find_toolchain || die "Debian's rustc-web and cargo-web are older than $lowest_rust or not found.
They are new enough in Debian 12's security archive (bookworm-security): see that it is among the sources of apt,
or install a toolchain from https://rustup.rs, then run this command again."
    fi
    if [[ $1 == tests ]]; then
        setup_rust_checks
    fi
}

has_rust_checks() {
    cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1
}

# rustfmt and clippy, from where the toolchain came.
setup_rust_checks() {
    if has_rust_checks; then
        return
    fi
    if [[ -x $(dirname "$(command -v cargo)")/rustup ]]; then
        say "Adding rustfmt and clippy to the Rust toolchain"
        retry rustup component add rustfmt clippy || die "rustup could not add rustfmt and clippy"
    else
        install_packages rustfmt-web rust-web-clippy
    fi
    hash -r
    has_rust_checks || die "rustfmt and clippy of the toolchain $(command -v cargo) are not found"
}

setup_cargo_deny() {
    cargo_deny=$deps/tools/bin/cargo-deny
    if [[ $("$cargo_deny" --version 2>/dev/null) == "cargo-deny $cargo_deny_version" ]]; then
        return
    fi
    say "Building cargo-deny $cargo_deny_version, which checks the licences of the dependencies (once)"
    # Unoptimized it takes three seconds instead of one to run, and a third of the time to build.
    retry env CARGO_TARGET_DIR="$deps/tools/target" CARGO_PROFILE_DEV_DEBUG=0 \
        cargo install --debug --locked --quiet --force --root "$deps/tools" --version "$cargo_deny_version" cargo-deny ||
        die "cargo-deny $cargo_deny_version could not be built"
    rm -rf "$deps/tools/target"
}
