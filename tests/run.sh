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
    tests/*.sh trainer/imagenet/*.sh trainer/proof/*.sh .ci/run
step cargo fetch --locked --quiet
step cargo fmt --all --check
step cargo clippy --workspace --all-targets --locked --quiet -- --deny warnings
step "$cargo_deny" --offline --log-level warn check bans licenses sources
# The list of known vulnerabilities is not in the package registries.
list=https://github.com/RustSec/advisory-db
if GIT_TERMINAL_PROMPT=0 timeout 20 git ls-remote --quiet --exit-code "$list" HEAD >/dev/null 2>&1; then
    step tests/advisories.sh
else
    say "== RustSec's list cannot be reached: whether a crate has a known vulnerability was NOT looked for. tests/advisories.sh FOLDER takes a clone of $list"
fi
step cargo test --workspace --locked --quiet
say "All checks and tests passed"
