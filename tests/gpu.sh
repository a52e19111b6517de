#!/usr/bin/env bash
# Everything that needs an NVIDIA GPU, by one command on a machine that has one: installs ONNX Runtime for CUDA, builds the plugin with CUDA and
# TensorRT, runs the tests that a GPU changes, compares the GPU's scores with the CPU's and measures faces a second, streams of 1080p60 and memory.
# Writes the tables of docs/gpu.md.
#
#     tests/gpu.sh [--provider cuda|tensorrt|cpu]     cuda by default; cpu tries the measurement itself without a GPU and writes nothing
set -euo pipefail

# shellcheck source=pipelines/setup.sh
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/../pipelines/setup.sh"

provider=cuda
[[ ${1:-} != --provider ]] || provider=${2:?"--provider needs a name"}
case $provider in
cuda) features=cuda ;;
tensorrt) features=tensorrt ;;
cpu) features='' ;;
*) die "this script knows the providers cuda, tensorrt and cpu, not $provider" ;;
esac

setup score
cd "$root"
write=()
if [[ $provider != cpu ]]; then
    has nvidia-smi || die "there is no NVIDIA driver here (nvidia-smi): this needs a machine with an NVIDIA GPU"
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
    # TensorRT itself (libnvinfer.so.10) is the user's to install: NVIDIA's terms want to be accepted.
    gpu=$deps/onnxruntime-gpu
    if ! cmp --silent tests/gpu-requirements.txt "$gpu/.requirements"; then
        say "Installing ONNX Runtime for CUDA and what it needs into $gpu (2 GB)"
        rm -rf "$gpu"
        retry python3 -m pip --disable-pip-version-check install --quiet --no-deps --require-hashes --target "$gpu" \
            --python-version 3.12 --implementation cp --only-binary=:all: --platform manylinux_2_28_x86_64 \
            --platform manylinux_2_27_x86_64 --platform manylinux2014_x86_64 --platform manylinux2010_x86_64 \
            --platform manylinux1_x86_64 --requirement tests/gpu-requirements.txt ||
            die "pip could not install what tests/gpu-requirements.txt names; see its messages above"
        cp tests/gpu-requirements.txt "$gpu/.requirements"
    fi
    folders=$(find "$gpu" -name '*.so*' -printf '%h\n' | sort -u | paste -sd:)
    export LD_LIBRARY_PATH=$folders${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    ORT_DYLIB_PATH=$(find "$gpu/onnxruntime/capi" -name 'libonnxruntime.so.*' | head -n 1)
    export ORT_DYLIB_PATH
    write=(--write "$root/docs/gpu.md")
    say "== The plugin's tests on this ONNX Runtime"
    cargo test --release --locked --quiet --package gst-plugin-deepfake --features "$features" --test score --test live_mode
fi
say "== $provider"
cargo bench --locked --quiet --package gst-plugin-deepfake ${features:+--features "$features"} --bench gpu -- \
    --provider "$provider" "${write[@]}"
