# shellcheck shell=bash
# What the benchmarks share: building the stand-in and the client, an nginx
# with the module on a free port of the loopback, and their end.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
DIR=$ROOT/build/bench
NGINX=${NGINX:-$(PATH=$PATH:/usr/sbin:/sbin command -v nginx || true)}
export -n NGINX                 # nginx itself reads a variable of that name
MODULE_NAME=ngx_http_claude_module
MODULE=$ROOT/build/$MODULE_NAME.so

# shellcheck source=scripts/children.sh
. "$ROOT/scripts/children.sh"


die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}


build_tools() {
    local cc=${CC:-cc}

    [ -x "$NGINX" ] || die "no nginx; NGINX=path takes another than PATH's"
    [ -f "$MODULE" ] || "$ROOT/build.sh" build

    mkdir -p "$DIR/bin" "$DIR/work" "$DIR/nginx"
    "$cc" -O2 -Wall -Wextra -o "$DIR/bin/claude" "$ROOT/bench/cli.c"
    "$cc" -O2 -Wall -Wextra -o "$DIR/bin/client" "$ROOT/bench/client.c"
    "$cc" -O2 -Wall -Wextra -o "$DIR/bin/turns" "$ROOT/bench/turns.c"
    "$cc" -O2 -Wall -Wextra -o "$DIR/bin/floor" "$ROOT/bench/floor.c" -lyajl

    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    trap end_children EXIT
}


free_port() {
    local port=$((21000 + $$ % 1000 * 10))

    while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
        port=$((port + 1))
    done

    echo "$port"
}


wait_for_port() {
    local i

    for ((i = 0; i < 200; i++)); do
        (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return
        kill -0 "$2" 2>/dev/null || break
        sleep 0.05
    done

    return 1
}


# Writes nginx.conf, for one worker on PORT.
write_conf() {
    local user=

    if [ "$(id -u)" = 0 ]; then
        user="user $(id -un) $(id -gn);"
    fi

    cat >"$DIR/nginx/nginx.conf" <<END
load_module "$MODULE";
daemon off;
$user
worker_processes 1;
worker_rlimit_nofile $(ulimit -Hn);
pid nginx.pid;
error_log error.log warn;

events {
    worker_connections 16384;
}

http {
    claude_zone claude:10m;
    claude_binary "$DIR/bin/claude";
    claude_working_directory "$DIR/work";
    claude_max_concurrent 2200;
    claude_max_processes 2200;
    claude_auth off;
    access_log off;
    keepalive_requests 10000000;

    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;

    server {
        listen 127.0.0.1:$PORT backlog=4096;

        location /v1/ {
            claude_openai;
        }

        location = /status {
            claude_status;
        }
    }
}
END

    : >"$DIR/nginx/error.log"
}


# Starts nginx with one worker; sets PORT, MASTER and WORKER.
start_nginx() {
    PORT=$(free_port)
    write_conf

    "$NGINX" -e stderr -p "$DIR/nginx/" -c "$DIR/nginx/nginx.conf" \
        </dev/null &
    MASTER=$!
    CHILDREN+=("$MASTER")

    wait_for_port "$PORT" "$MASTER" || die "nginx did not start"

    # What the master started is the worker: it has one, and no cache.
    read -r WORKER _ <"/proc/$MASTER/task/$MASTER/children" || true
    [ -n "${WORKER:-}" ] || die "nginx has no worker"
}


# The least that a relay can do; sets FLOOR_PORT and FLOOR_PID.
start_floor() {
    FLOOR_PORT=$(free_port)
    "$DIR/bin/floor" "$FLOOR_PORT" "$DIR/bin/claude" </dev/null &
    FLOOR_PID=$!
    CHILDREN+=("$FLOOR_PID")

    wait_for_port "$FLOOR_PORT" "$FLOOR_PID" || die "the floor did not start"
}


# rss PID: what is resident of it, in KB
rss() {
    awk '$1 == "VmRSS:" { print $2 }' "/proc/$1/status"
}


# alerts: what nginx logged that it should not have
alerts() {
    grep -cE '\[(alert|crit|emerg)\]' "$DIR/nginx/error.log" || true
}


# measure ARGUMENT…: runs the client and sets M_name for each of its lines.
measure() {
    run_client client "$@"
}


# run_client PROGRAM ARGUMENT…
run_client() {
    local line out

    out=$("$DIR/bin/$1" "${@:2}") || die "$* has failed; see \
${DIR#"$ROOT"/}/nginx/error.log"

    while IFS= read -r line; do
        printf -v "M_${line%%=*}" '%s' "${line#*=}"
    done <<<"$out"
}


# quantiles FILE KIND: prints median and 99th percentile of those lines.
quantiles() {
    awk -v kind="$2" '$1 == kind { print $2 }' "$1" | sort -n | awk '
        { v[NR] = $1 }
        END {
            m = int(NR * 0.5) + 1
            p = int(NR * 0.99) + 1
            print v[m < NR ? m : NR], v[p < NR ? p : NR], NR
        }'
}
