# shellcheck shell=bash
# What the other parts of the set-up share. Everything they say goes to stderr: stdout belongs to the results.

say() {
    printf '%s\n' "$*" >&2
}

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

has() {
    command -v "$1" >/dev/null 2>&1
}

# retry COMMAND...: three attempts, because mirrors and proxies fail now and then.
retry() {
    local attempt
    for attempt in 1 2 3; do
        if "$@" >&2; then
            return 0
        fi
        if ((attempt < 3)); then
            say "That failed; trying again in ${SETUP_RETRY_SECONDS:-5} s: $*"
            sleep "${SETUP_RETRY_SECONDS:-5}"
        fi
    done
    return 1
}

# as_root COMMAND...: asks for a password only where there is a person to type it.
as_root() {
    if [[ $(id -u) == 0 ]]; then
        "$@"
    elif [[ -t 0 ]]; then
        sudo "$@"
    else
        sudo --non-interactive "$@"
    fi
}

# at_least VERSION LOWEST
at_least() {
    [[ $(printf '%s\n' "$1" "$2" | sort --version-sort | head -n 1) == "$2" ]]
}
