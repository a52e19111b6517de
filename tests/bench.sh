#!/usr/bin/env bash
# Measures what the elements cost, each row beside something else in the same run, and writes the table of docs/benchmarks.md.
#
#     tests/bench.sh [--seconds N]            how long the live stream runs, 60 by default
#
# Nothing else should run meanwhile.
set -euo pipefail

# shellcheck source=pipelines/setup.sh
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/../pipelines/setup.sh"
setup tests
cd "$root"
PYTHONPATH=$deps/peers cargo bench --locked --package gst-plugin-deepfake --bench elements -- \
    --python python3 --write "$root/docs/benchmarks.md" "$@"
