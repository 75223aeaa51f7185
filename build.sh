#!/usr/bin/env bash
# Builds, runs and tests ngx_http_claude_module. Everything that it writes is
# in build/ and node_modules/; what the machine lacks it installs with apt.

set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# shellcheck source=scripts/common.sh
. "$here/scripts/common.sh"
# shellcheck source=scripts/children.sh
. "$here/scripts/children.sh"
# shellcheck source=scripts/install.sh
. "$here/scripts/install.sh"
# shellcheck source=scripts/nginx.sh
. "$here/scripts/nginx.sh"
# shellcheck source=scripts/serve.sh
. "$here/scripts/serve.sh"
# shellcheck source=scripts/test.sh
. "$here/scripts/test.sh"
# shellcheck source=scripts/clients.sh
. "$here/scripts/clients.sh"
# shellcheck source=scripts/versions.sh
. "$here/scripts/versions.sh"
# shellcheck source=scripts/valgrind.sh
. "$here/scripts/valgrind.sh"


usage() {
    cat <<'END'
usage: ./build.sh [command]

  build          build/ngx_http_claude_module.so for the nginx that is
                 installed (the default)
  run            build, and start nginx on 127.0.0.1:8000 with the claude on
                 PATH, or npm's, and its login
  demo           the same with a stub in place of the model: no account needed
  test [file…]   every suite, or the files alone
  clients        every client that is tried with the module: those of the tests
                 and more; docs/clients.md gets what came of it
  versions [suite… | file…]
                 t/*.t, or the files, on the nginx of Debian's bookworm, trixie
                 and sid, or of the suites named; each is built twice
  valgrind [file…]
                 t/*.t, or the files, with nginx under valgrind's memcheck
  asan           build/asan/nginx: nginx and the module with ASan and UBSan
  clean          remove build/

environment
  NGINX=path       another nginx than the one on PATH
  NGINX_SRC=path   its source tree, when it is not Debian's nginx with nginx-dev
  PORT=n           for run and demo, instead of 8000
  API_KEY=key      for run and demo, instead of a random one
  SANITIZE=1       for test with files: on build/asan/nginx
  TEST_JOBS=n      how many suites run at the same time (as there are cores)
  FUZZ_SECONDS=n   for test: how long each fuzz target runs (60)
END
}


command_clean() {
    rm -rf "$BUILD"
    say "removed build/"
}


main() {
    local verb=${1:-build}

    shift $(($# > 0))

    case "$verb" in
    build)          build_module ;;
    run)            command_run ;;
    demo)           command_demo ;;
    test)           command_test "$@" ;;
    clients)        command_clients ;;
    versions)       command_versions "$@" ;;
    valgrind)       command_valgrind "$@" ;;
    asan)           build_asan ;;
    clean)          command_clean ;;
    help|-h|--help) usage ;;
    *)              usage >&2; exit 2 ;;
    esac
}


main "$@"
