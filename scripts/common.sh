# shellcheck shell=bash disable=SC2034,SC2153
# What every other script here builds on: where things are, how to talk, how
# to get a free port. No side effect when sourced but variables.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
BUILD=$ROOT/build
MODULE_NAME=ngx_http_claude_module
MODULE=$BUILD/$MODULE_NAME.so
JOBS=${JOBS:-$(nproc 2>/dev/null || echo 2)}

# An ordinary user's PATH has no sbin, and nginx lives there.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
export PATH


say() {
    printf '==> %s\n' "$*" >&2
}


die() {
    printf 'build.sh: %s\n' "$*" >&2
    exit 1
}


have() {
    command -v "$1" >/dev/null 2>&1
}


# Runs a command whose output matters only when it fails.
quietly() {
    local log=$BUILD/log/$1
    shift

    mkdir -p "$BUILD/log"

    if ! "$@" >"$log" 2>&1 </dev/null; then
        tail -n 40 "$log" >&2
        die "failed: $* (all of its output: $log)"
    fi
}


port_is_taken() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}


# free_ports SLOT: prints the first of ten ports in a row of which none is in
# use. They lie below 32768, where the kernel takes the ports of outgoing
# connections from: a thousand rows, of which a slot has one in TEST_JOBS, so
# that no two ask for the same. Where to begin is another run's another place.
free_ports() {
    local rows=$((1000 / TEST_JOBS)) row base try port

    row=$(($$ * 37 % rows))

    for ((try = 0; try < rows; try++, row = (row + 1) % rows)); do
        base=$((20000 + (row * TEST_JOBS + $1 - 1) * 10))

        for ((port = base; port < base + 10; port++)); do
            if port_is_taken "$port"; then
                continue 2
            fi
        done

        echo "$base"
        return
    done

    die "found no ten free ports from 20000 on"
}


# wait_for_port PORT PID SECONDS: until something listens there; fails when
# the process has ended or the time is over.
wait_for_port() {
    local until=$((SECONDS + $3))

    while ! port_is_taken "$1"; do
        if ! kill -0 "$2" 2>/dev/null || ((SECONDS >= until)); then
            return 1
        fi

        sleep 0.05
    done
}
