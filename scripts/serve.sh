# shellcheck shell=bash disable=SC2034,SC2153
# run and demo: nginx in the foreground with conf/nginx.conf, everything that
# it writes under build/run/ or build/demo/, and everything that was started
# ended with the script.

PORT=${PORT:-8000}

# What the CLI may need of the caller's environment: its login, another
# address of the API, a way through a proxy. Names alone go into nginx.conf.
RUN_ENVIRONMENT=(ANTHROPIC_API_KEY ANTHROPIC_AUTH_TOKEN ANTHROPIC_BASE_URL
                 CLAUDE_CODE_OAUTH_TOKEN CLAUDE_CONFIG_DIR HTTPS_PROXY
                 HTTP_PROXY NO_PROXY NODE_EXTRA_CA_CERTS)


# The user that called, also through sudo: the workers run as that user, which
# alone can surely read the checkout, and whose login the CLI uses.
calling_user() {
    if [ "$(id -u)" = 0 ] && [ -n "${SUDO_USER:-}" ]; then
        echo "$SUDO_USER"
    else
        id -un
    fi
}


# sudo sets HOME to root's; then the user's own is what passwd says.
calling_home() {
    if [ "$(calling_user)" = "$(id -un)" ] && [ -n "${HOME:-}" ]; then
        echo "$HOME"
    else
        getent passwd "$(calling_user)" | cut -d: -f6
    fi
}


# The key of this checkout: $API_KEY, else made once and kept.
private_key() {
    local file=$1/key

    if [ -n "${API_KEY:-}" ]; then
        case "$API_KEY" in
        *[!A-Za-z0-9._~+/=-]*) die "API_KEY: only letters, digits and . _ ~ \
+ / = - can stand in a bearer token" ;;
        esac

        echo "$API_KEY"
        return
    fi

    if [ ! -s "$file" ]; then
        (umask 077
         echo "sk-$(od -An -N 24 -tx1 /dev/urandom | tr -d ' \n')" >"$file")
    fi

    cat "$file"
}


# write_conf DIR CLAUDE KEY ENVIRONMENT: the template with its words put in.
write_conf() {
    local conf user=

    if [ "$(id -u)" = 0 ]; then
        user="user $(calling_user) $(id -gn "$(calling_user)");"
    fi

    conf=$(<"$ROOT/conf/nginx.conf")
    conf=${conf//@module@/"$MODULE"}
    conf=${conf//@user@/"$user"}
    conf=${conf//@claude@/"$2"}
    conf=${conf//@key@/"$3"}
    conf=${conf//@port@/"$PORT"}
    conf=${conf//@html@/"$ROOT/conf/html"}
    conf=${conf//@environment@/"$4"}

    mkdir -p "$1/logs"
    (umask 077; printf '%s\n' "$conf" >"$1/nginx.conf")
}


# Runs a command that ends with this script, also when this script is killed.
# For the background only: it takes the shell's place.
exec_tied() {
    if setpriv --pdeathsig TERM true 2>/dev/null; then
        exec setpriv --pdeathsig TERM "$@"
    fi

    exec "$@"
}


# serve DIR KEY NOTE: starts nginx, says how to use it, waits for its end.
serve() {
    local dir=$1 key=$2 note=$3 nginx status=0

    port_is_taken "$PORT" && die "port $PORT is in use; PORT=… takes another"

    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    trap end_children EXIT

    exec_tied "$NGINX" -e stderr -p "$dir/" -c "$dir/nginx.conf" \
        </dev/null 9>&- &
    nginx=$!
    CHILDREN=("$nginx" ${CHILDREN[@]+"${CHILDREN[@]}"})

    wait_for_port "$PORT" "$nginx" 20 \
        || die "nginx did not start; its reason stands above"

    cat <<END

$note

  address   http://127.0.0.1:$PORT/v1
  API key   $key
  status    http://127.0.0.1:$PORT/claude-status/
  log       ${dir#"$ROOT"/}/logs/access.log, errors below
  stop      Ctrl-C

  curl -N http://127.0.0.1:$PORT/v1/chat/completions -H 'Authorization: Bearer $key' -H 'Content-Type: application/json' -d '{"model":"sonnet","stream":true,"messages":[{"role":"user","content":"Say hello in five words."}]}'

END

    wait "$nginx" || status=$?
    return "$status"
}


run_environment() {
    local name lines

    lines="claude_env      \"HOME=$(calling_home)\";"

    for name in "${RUN_ENVIRONMENT[@]}"; do
        if [ -n "${!name:-}" ]; then
            lines+=$'\n'"    claude_env      $name;"
        fi
    done

    echo "$lines"
}


command_run() {
    local dir=$BUILD/run claude key

    build_module
    claude=$(command -v claude || true)

    if [ -z "$claude" ]; then
        install_npm prod
        claude=$(pinned_claude)
    fi

    mkdir -p "$dir"
    key=$(private_key "$dir")
    write_conf "$dir" "$claude" "$key" "$(run_environment)"

    serve "$dir" "$key" \
"The Claude CLI as an OpenAI API, with the login that user $(calling_user) has.
CLI: $claude"
}


# Starts the stub of the Messages API and sets STUB_PORT. Its standard input
# is a pipe whose other end, descriptor 9, only this script holds: it ends at
# end of file, also when this script is killed.
start_stub() {
    local out=$1/stub.out i

    : >"$out"
    exec 9> >(exec node "$ROOT/t/stub/messages-api.mjs" --demo --port 0 \
                  --die-with-parent >"$out")
    CHILDREN+=($!)

    for ((i = 0; i < 200; i++)); do
        STUB_PORT=$(sed -n 's/^listening \([0-9]*\).*/\1/p' "$out")

        [ -z "$STUB_PORT" ] || return 0
        kill -0 "${CHILDREN[-1]}" 2>/dev/null || break
        sleep 0.05
    done

    die "t/stub/messages-api.mjs did not start"
}


# The variables that keep the real CLI away from any account and network; the
# same for demo and for the tests.
demo_environment() {
    cat <<END
claude_env      ANTHROPIC_BASE_URL=http://127.0.0.1:$STUB_PORT;
    claude_env      ANTHROPIC_API_KEY=dummy;
    claude_env      "HOME=$1";
    claude_env      DISABLE_TELEMETRY=1;
    claude_env      DISABLE_AUTOUPDATER=1;
    claude_env      CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1;
END
}


command_demo() {
    local dir=$BUILD/demo key

    build_module
    install_node
    install_npm prod

    mkdir -p "$dir/home"
    chmod 700 "$dir/home"

    if [ "$(id -u)" = 0 ]; then
        chown "$(calling_user)" "$dir/home"
    fi

    key=$(private_key "$dir")

    trap end_children EXIT
    start_stub "$dir"
    write_conf "$dir" "$(pinned_claude)" "$key" "$(demo_environment "$dir/home")"

    serve "$dir" "$key" \
"This is the demo: the real Claude CLI, but a stub on this machine in place of
the model. No account is used and nothing leaves the machine."
}
