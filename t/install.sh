#!/usr/bin/env bash
# README.md's Install section, word by word: its commands and its files, in
# the order in which they stand, in a fresh Debian of each suite, until curl
# has an answer. TAP; `t/install.sh [bookworm|trixie]…`.
#
# The newcomer's machine is a chroot that debootstrap makes, with namespaces of
# its own, as a user who may use sudo. What is not the text's:
#
#   - the machine's own settings for apt, npm and certificates go along, and
#     dpkg does not wait for the disk;
#   - from the first file of the configuration on the chroot has a network of
#     its own with nothing but the loopback, where t/stub/messages-api.mjs is
#     in place of the model;
#   - the last question is asked once more, with an X-Session-Id;
#   - at "type it after the command" a made-up key is typed, and a second line
#     that names the stub: ANTHROPIC_BASE_URL.
#
# Everything that it starts is in one PID namespace and ends with it; all that
# it writes is under build/install/. The bare Debian, apt's packages and npm's
# stay there for the next run: a first run takes some five minutes a suite.

set -uo pipefail

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/common.sh"
# shellcheck source=scripts/install.sh
. "$ROOT/scripts/install.sh"

DIR=$BUILD/install
SECONDS_A_SUITE=${INSTALL_SECONDS:-1200}
SESSION=5b3e0c1a-90a4-4c7e-9c53-6d2f8e1a7b40
SUITES=("$@")

if [ ${#SUITES[@]} = 0 ]; then
    SUITES=(bookworm trixie)
fi


skip_all() {
    echo "1..0 # SKIP the install text is not tried: $1"
    exit 0
}


# bounded COMMAND…: in namespaces of its own, for so long at most, and not
# longer than this script; what it has started ends with it.
bounded() {
    setpriv --pdeathsig TERM timeout -k 5 "$SECONDS_A_SUITE" \
        unshare --mount --pid --uts --ipc --fork --kill-child "$@"
}


# The mirror of the machine's own apt, from the lists that scripts/install.sh
# makes of it.
find_mirror() {
    apt_lists "$DIR/apt" deb "$1"
    MIRROR=$(sed -n 's/^URIs: *\([^ ]*\).*/\1/p' "$DIR/apt/sources/machine.sources"
             grep -o 'http[^ ]*' "$DIR/apt/sources/machine.list")
    MIRROR=${MIRROR%%$'\n'*}
    rm -rf "$DIR/apt"
}


# bare_debian SUITE: $DIR/SUITE.tar, made once.
bare_debian() {
    local suite=$1 root=$DIR/bare-$1

    [ -s "$DIR/$suite.tar" ] && return

    find_mirror "$suite"

    if [ -z "$MIRROR" ]; then
        echo "# apt has no mirror of Debian"
        return 1
    fi

    rm -rf "$root"
    bounded debootstrap --variant=minbase --include=sudo,ca-certificates \
        "$suite" "$root" "$MIRROR" \
        >"$DIR/debootstrap-$suite.log" 2>&1 </dev/null \
        && rm -f "$root"/var/cache/apt/archives/*.deb \
        && tar -C "$root" -cf "$DIR/$suite.tar.new" . \
        && mv "$DIR/$suite.tar.new" "$DIR/$suite.tar"
    local status=$?

    if [ $status != 0 ]; then
        sed 's/^/# /' "$DIR/debootstrap-$suite.log" | tail -n 5
    fi

    rm -rf "$root"
    return $status
}


# machine_settings ROOT: what this machine needs to reach Debian's packages and
# npm's, and what no text can know.
machine_settings() {
    local root=$1 home registry

    cp /etc/resolv.conf /etc/hosts "$root/etc/"
    echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/throw-away"
    cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"

    apt-config dump \
        | grep -E '^Acquire::(http|https|Check|Retries|Proxy)' \
        >"$root/etc/apt/apt.conf.d/80machine" || true

    registry=$(npm config get registry 2>/dev/null || true)

    for home in "$root/root" "$root/home/newcomer"; do
        {
            echo "cafile=/etc/ssl/certs/ca-certificates.crt"
            case "$registry" in
            http*) echo "registry=$registry" ;;
            esac
        } >"$home/.npmrc"
    done
}


# newcomer ROOT: a user who may use sudo, with a checkout in the home.
newcomer() {
    local home=$1/home/newcomer

    chroot "$1" useradd -m -s /bin/bash newcomer \
        && echo 'newcomer ALL=(ALL) NOPASSWD: ALL' \
            >"$1/etc/sudoers.d/newcomer" \
        && mkdir -p "$home/checkout" \
        && tar -C "$ROOT" --exclude=./.git --exclude=./build \
               --exclude=./node_modules -cf - . \
            | tar -C "$home/checkout" -xf - \
        && machine_settings "$1" \
        && chroot "$1" chown -R newcomer:newcomer /home/newcomer
}


# take_text FILE DIR: the blocks of the Install section, DIR/01.sh and so on;
# of a file, 03.nginx, the path that stands before it is in 03.nginx.path.
take_text() {
    mkdir -p "$2"
    awk -v dir="$2" '
        /^## /                       { on = ($0 == "## Install") }
        !on                          { next }
        !kind && /^```(sh|nginx)$/   {
            kind = substr($0, 4)
            file = sprintf("%s/%02d.%s", dir, ++n, kind)
            printf "" >file
            if (kind == "nginx") print path >(file ".path")
            next
        }
        kind && /^```$/              { close(file); kind = ""; next }
        kind                         { print >file; next }
        match($0, /`\/etc\/[^`]*`/)  {
            path = substr($0, RSTART + 1, RLENGTH - 2)
        }
        END                          { exit !n }
    ' "$1"
}


# The chroot's own /proc, terminals, /run and /tmp, and what is kept for the
# next run. All of it is gone with the namespace.
mount_chroot() {
    mkdir -p "$1/root/.npm"

    mount --make-rprivate / \
        && mount -t proc proc "$1/proc" \
        && mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 \
                 devpts "$1/dev/pts" \
        && mount --bind "$1/dev/pts/ptmx" "$1/dev/ptmx" \
        && mount -t tmpfs tmpfs "$1/run" \
        && mount -t tmpfs -o mode=1777 tmpfs "$1/tmp" \
        && mount --bind "$DIR/packages" "$1/var/cache/apt/archives" \
        && mount --bind "$DIR/npm" "$1/root/.npm" \
        && mkdir "$1/run/lock"
}


# What happens inside, as the first process of its namespaces. It says its
# results on descriptor 3.
inside() {
    local root=$1 text=$2 log=$3 block network=1

    if ! mount_chroot "$root"; then
        echo "not ok - $SUITE: the chroot has its mounts" >&3
        return
    fi

    for block in "$text"/*.sh "$text"/*.nginx; do
        echo "$block"
    done | sort >"$text/order"

    while read -r block <&4; do
        case "$block" in
        *.nginx)
            if [ -n "$network" ]; then
                network=
                start_stub_inside "$root" || return
            fi

            put_file "$root" "$block"
            ;;
        *.sh)
            run_block "$root" "$block" "$network" "$log" || return
            ;;
        esac
    done 4<"$text/order"

    # the same question once more in a session, which is on disk

    sed "s/-H 'Content-Type/-H 'X-Session-Id: $SESSION' &/" \
        "$(last_block "$text")" >"$text.session.sh"
    run_block "$root" "$text.session.sh" "" "$log"
}


# From here on there is the loopback alone, with the stub on it.
start_stub_inside() {
    local root=$1 i

    # shellcheck disable=SC2016
    unshare --net sh -c '
        ip link set lo up && exec chroot "$1" setpriv --reuid=newcomer \
            --regid=newcomer --clear-groups \
            node /home/newcomer/checkout/t/stub/messages-api.mjs --demo \
            --port 8001' sh "$root" >"$root/run/stub" 2>&1 3>&- </dev/null &
    STUB=$!

    for ((i = 0; i < 100; i++)); do
        grep -q '^listening' "$root/run/stub" && break
        sleep 0.1
    done

    if ! grep -q '^listening' "$root/run/stub"; then
        echo "not ok - $SUITE: the stub is there" >&3
        sed 's/^/# /' "$root/run/stub" >&3
        return 1
    fi
}


put_file() {
    local path
    path=$(cat "$2.path")

    # nothing in the text makes a folder

    if [ -d "$1$(dirname "$path")" ]; then
        cat "$2" >"$1$path"
        echo "ok - $SUITE: $path" >&3
    else
        echo "not ok - $SUITE: $path: there is no such folder" >&3
    fi
}


# run_block ROOT BLOCK NETWORK LOG: as the newcomer, in the checkout.
run_block() {
    local root=$1 name status=0 enter=() typed=/dev/null

    name=$(basename "$2")
    cp "$2" "$root/run/$name"
    : >"$root/run/typed"

    if [ -z "$3" ]; then
        enter=(nsenter --net="$root/proc/$STUB/ns/net")
        typed=$root/run/typed
        printf '%s\n' ANTHROPIC_API_KEY=dummy \
               ANTHROPIC_BASE_URL=http://127.0.0.1:8001 >"$typed"
    fi

    ${enter[@]+"${enter[@]}"} chroot "$root" env -i \
        PATH=/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games \
        HOME=/home/newcomer USER=newcomer LOGNAME=newcomer LANG=C.UTF-8 \
        DEBIAN_FRONTEND=noninteractive \
        setpriv --reuid=newcomer --regid=newcomer --init-groups \
        bash -c "cd ~/checkout && exec bash -euo pipefail /run/$name" \
        <"$typed" >"$4.$name" 2>&1 3>&- || status=$?

    if [ $status = 0 ]; then
        echo "ok - $SUITE: $(head -n 1 "$2")" >&3
    else
        echo "not ok - $SUITE: $(head -n 1 "$2"): exit status $status" >&3
        tail -n 30 "$4.$name" "$root"/var/log/nginx/error.log 2>/dev/null \
            | sed 's/^/# /' >&3
    fi

    return $status
}


# The last block of commands, which asks.
last_block() {
    find "$1" -name '*.sh' | sort | tail -n 1
}


# has_answer FILE: what curl got is a stream to its end, of the stub's words.
has_answer() {
    grep -q '^data: \[DONE\]' "$1" 2>/dev/null \
        && sed -n 's/.*"content":"\([^"]*\)".*/\1/p' "$1" | tr -d '\n' \
            | grep -q 'no model was asked'
}


try_suite() {
    local suite=$1 root=$DIR/root-$1 log=$DIR/log-$1 text=$DIR/text-$1
    local status=0 answer

    rm -rf --one-file-system "$root" "$text"
    rm -f "$log".*
    mkdir -p "$root" "$DIR/packages/partial" "$DIR/npm"

    if ! bare_debian "$suite"; then
        echo "ok - $suite # SKIP debootstrap of $suite has failed"
        return
    fi

    if ! { tar -C "$root" -xf "$DIR/$suite.tar" && newcomer "$root" \
           && take_text "$ROOT/README.md" "$text"; }
    then
        echo "not ok - $suite: the chroot and the text"
        return
    fi

    INSTALL_INSIDE=$suite bounded \
        "$BASH" "${BASH_SOURCE[0]}" "$root" "$text" "$log" \
        3>&1 >"$log.inside" 2>&1 </dev/null || status=$?

    if [ $status != 0 ]; then
        echo "not ok - $suite: ended with status $status"
        sed 's/^/# /' "$log.inside" | tail -n 20
    fi

    for answer in "$(basename "$(last_block "$text")")" \
                  "$(basename "$text").session.sh"
    do
        if has_answer "$log.$answer"; then
            echo "ok - $suite: curl has an answer ($answer)"
        else
            echo "not ok - $suite: curl has an answer ($answer)"
            tail -n 20 "$log.$answer" 2>&1 | sed 's/^/# /'
        fi
    done

    rm -f "$text.session.sh"
    rm -rf --one-file-system "$root" "$text"
}


if [ -n "${INSTALL_INSIDE:-}" ]; then
    SUITE=$INSTALL_INSIDE
    inside "$@"
    exit 0
fi

if [ "$(id -u)" != 0 ]; then
    skip_all "only root can chroot"
elif ! have debootstrap; then
    skip_all "there is no debootstrap"
elif ! unshare --mount --pid --net --fork true 2>/dev/null; then
    skip_all "no namespaces here"
fi

mkdir -p "$DIR"

for SUITE in "${SUITES[@]}"; do
    try_suite "$SUITE"
done

echo "# $SECONDS s"
