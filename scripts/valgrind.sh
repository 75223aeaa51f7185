# shellcheck shell=bash disable=SC2034,SC2153
# Runs suites with nginx, the module inside, under valgrind's memcheck. Each
# allocation from a pool is one of malloc's there (NGX_DEBUG_PALLOC), so that
# its end is seen. Every process looks for leaks at its exit; the CLI, which is
# another program, is not watched.

VALGRIND_DIR=$BUILD/valgrind
VALGRIND_NGINX=$VALGRIND_DIR/nginx

APT_VALGRIND=(valgrind libc6-dbg)

# What is left out when no files are named: no nginx in it; a CLI's next line
# would have to come later than nginx is slow; valgrind's own descriptors and
# limits are counted; valgrind does not survive an exec that fails.
VALGRIND_NOT=(t/000-stand-in.t t/070-agent.t t/100-security.t t/145-log.t)


# nginx -t leaves without freeing anything.
write_valgrind_wrapper() {
    cat >"$VALGRIND_NGINX.new" <<END
#!/bin/sh
leaks=full

for argument; do
    case "\$argument" in
    -t|-T|-V|-v) leaks=no ;;
    esac
done

exec valgrind -q --log-file="\$TEST_NGINX_SERVROOT/../valgrind/%p" --leak-check=\$leaks \\
    --show-leak-kinds=definite --errors-for-leak-kinds=definite \\
    --num-callers=24 --trace-children=no --vgdb=no \\
    --suppressions="$ROOT/scripts/valgrind.supp" \\
    "$VALGRIND_DIR/obj/nginx" "\$@"
END

    chmod 755 "$VALGRIND_NGINX.new"
    mv "$VALGRIND_NGINX.new" "$VALGRIND_NGINX"
}


build_valgrind() {
    find_nginx_source

    configure_tree "$TREE" "$VALGRIND_DIR" -Werror "${BASIC_FLAGS[@]}" \
        --with-debug --with-cc-opt='-g -O1 -DNGX_DEBUG_PALLOC=1' \
        --add-module="../$MODULE_NAME"
    make_target "$VALGRIND_DIR" binary
    write_valgrind_wrapper
}


# gather_valgrind DIR: the reports of one file's processes, for judge(), out of
# its slot. Lines with -- are valgrind's own, about system calls that it does
# not know: the module does without them.
gather_valgrind() {
    local reports

    reports=$(cat "$1"/valgrind/* 2>/dev/null | grep '^==' || true)

    if [ -n "$reports" ]; then
        echo "$reports" >"$1/sanitizer/report.valgrind"
    fi
}


command_valgrind() {
    local file files=()

    install_for_tests
    apt_install "${APT_VALGRIND[@]}"
    build_valgrind

    for file in "$@"; do
        files+=("$(realpath --relative-to "$ROOT" "$file")")
    done

    if [ $# = 0 ]; then
        for file in "$ROOT"/t/*.t; do
            file=${file#"$ROOT"/}
            [[ " ${VALGRIND_NOT[*]} " = *" $file "* ]] || files+=("$file")
        done
    fi

    test_files valgrind "${files[@]}"
    sum_up
}
