# shellcheck shell=bash
# What the benchmarks share: building the stand-in and the client, an nginx
# with the module on a free port of the loopback, and their end.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
DIR=$ROOT/build/bench
NGINX=${NGINX:-$(PATH=$PATH:/usr/sbin:/sbin command -v nginx || true)}
export -n NGINX                 # nginx itself reads a variable of that name
MODULE=$ROOT/build/ngx_http_claude_module.so
CHILDREN=()


die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}


end_children() {
    local pid

    trap '' INT TERM HUP

    for pid in ${CHILDREN[@]+"${CHILDREN[@]}"}; do
        kill -TERM "$pid" 2>/dev/null || true
    done

    wait
}


build_tools() {
    local cc=${CC:-cc}

    [ -x "$NGINX" ] || die "no nginx; NGINX=path takes another than PATH's"
    [ -f "$MODULE" ] || "$ROOT/build.sh" build

    mkdir -p "$DIR/bin" "$DIR/work" "$DIR/nginx"
    "$cc" -O2 -Wall -Wextra -o "$DIR/bin/claude" "$ROOT/bench/cli.c"
    "$cc" -O2 -Wall -Wextra -o "$DIR/bin/client" "$ROOT/bench/client.c" -lyajl

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


# Starts nginx with one worker; sets PORT, MASTER and WORKER.
start_nginx() {
    local user=

    PORT=$(free_port)

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
    }
}
END

    : >"$DIR/nginx/error.log"
    "$NGINX" -e stderr -p "$DIR/nginx/" -c "$DIR/nginx/nginx.conf" \
        </dev/null &
    MASTER=$!
    CHILDREN+=("$MASTER")

    wait_for_port "$PORT" "$MASTER" || die "nginx did not start"

    # What the master started is the worker: it has one, and no cache.
    read -r WORKER _ <"/proc/$MASTER/task/$MASTER/children" || true
    [ -n "${WORKER:-}" ] || die "nginx has no worker"
}


# measure ARGUMENT…: runs the client and sets M_name for each of its lines.
measure() {
    local line out

    out=$("$DIR/bin/client" "$@") || die "client $* has failed; see \
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
