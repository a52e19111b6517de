#!/usr/bin/env bash
# Holds the crates of Cargo.lock against RustSec's list of known vulnerabilities, and says which were withdrawn from their registry.
#
# tests/run.sh does it only where the list can be reached, because the list is in a git repository (https://github.com/RustSec/advisory-db) and in no package registry:
# where it cannot be reached, what is known so far cannot be known either. A copy of it can be named:
#
#     tests/advisories.sh [FOLDER]    a clone of advisory-db
set -euo pipefail

# shellcheck source=pipelines/setup.sh
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/../pipelines/setup.sh"
setup tests
cd "$root"
if [[ -n ${1:-} ]]; then
    [[ -d $1/crates ]] || die "$1 is no clone of advisory-db: there is no folder crates in it"
    config=$(mktemp)
    databases=$(mktemp -d)
    trap 'rm -rf "$config" "$databases"' EXIT
    { cat deny.toml && printf '\n[advisories]\ndb-path = "%s"\ngit-fetch-with-cli = true\n' "$databases"; } >"$config"
    # cargo-deny takes nothing but addresses with a domain, and looks for clones by a name of its own making: git fetches from the folder instead.
    clone=$(realpath "$1")
    export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=url.file://$clone.insteadOf GIT_CONFIG_VALUE_0=https://github.com/RustSec/advisory-db
    say "RustSec's list of $(git -C "$clone" log -1 --format=%cs)"
    "$cargo_deny" --config "$config" --log-level warn check advisories || die "an advisory is told above, or the list could not be read"
    exit
fi
"$cargo_deny" --log-level warn check advisories ||
    die "either an advisory is told above, or the list could not be had: then name a clone of it as tests/advisories.sh FOLDER"
