# shellcheck shell=bash
# All that a fresh Debian 12 machine lacks, for the pipelines and tests/run.sh to source. `setup score` gets what scoring a
# video needs, `setup tests` what every test needs as well. What is there already is left alone, without a network call.

setup_folder=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
root=$(dirname "$setup_folder")
deps=$root/.deps
# shellcheck source=pipelines/setup/common.sh
source "$setup_folder/setup/common.sh"
# shellcheck source=pipelines/setup/packages.sh
source "$setup_folder/setup/packages.sh"
# shellcheck source=pipelines/setup/rust.sh
source "$setup_folder/setup/rust.sh"
# shellcheck source=pipelines/setup/wheels.sh
source "$setup_folder/setup/wheels.sh"
# shellcheck source=pipelines/setup/peers.sh
source "$setup_folder/setup/peers.sh"
# shellcheck source=pipelines/setup/plugin.sh
source "$setup_folder/setup/plugin.sh"

# setup score|tests: afterwards cargo is on PATH, and $onnxruntime is the library that belongs beside the plugin.
setup() {
    mkdir -p "$deps"
    local lock
    exec {lock}>"$deps/.lock"
    if ! flock --nonblock "$lock"; then
        say "Waiting for another set-up in $deps to end"
        flock "$lock"
    fi
    setup_packages "$1"
    setup_rust "$1"
    setup_onnxruntime
    if [[ $1 == tests ]]; then
        setup_libtorch
        setup_notices
        setup_tansu
        setup_peers
        setup_cargo_deny
    fi
    # Closing alone would leave the lock with any daemon that a package started.
    flock --unlock "$lock"
    exec {lock}>&-
}
