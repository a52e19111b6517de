#!/usr/bin/env bash
# Installs what is missing, then runs every check and every test. Stops at the first that fails.
set -euo pipefail

# shellcheck source=pipelines/setup.sh
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/../pipelines/setup.sh"
setup tests
cd "$root"

step() {
    say "== $*"
    "$@"
}

step shellcheck --external-sources --check-sourced pipelines/*.sh pipelines/sample/make.sh packaging/*.sh \
    tests/*.sh trainer/proof/*.sh .ci/run
step cargo fetch --locked --quiet
step cargo fmt --all --check
step cargo clippy --workspace --all-targets --locked --quiet -- --deny warnings
# Advisories are left to whoever has their database: it is not in the package registries.
step "$cargo_deny" --offline --log-level warn check bans licenses sources
step cargo test --workspace --locked --quiet
say "All checks and tests passed"
