# shellcheck shell=bash disable=SC2034,SC2153
# Every client that is tried with the module, unmodified, out of its registry:
# those of the test command, and those that would only make it longer. What
# came of it goes into the table of docs/clients.md.

CLIENTS_PAGE=$ROOT/docs/clients.md

# suite: client, registry, package
CLIENTS=(
    "t/real/sdk.test.mjs: openai, npm, openai"
    "t/real/helpers.test.mjs: openai's helpers, npm, openai"
    "t/real/python.test.mjs: openai, PyPI, openai"
    "t/real/opencode.test.mjs: OpenCode, npm, opencode-ai"
    "t/clients/ai-sdk.test.mjs: AI SDK, npm, ai"
    "t/clients/langchain.test.mjs: LangChain, npm, @langchain/openai"
    "t/clients/openclaw.test.mjs: OpenClaw, npm, openclaw"
)


# OpenClaw on its own, with the Node that it asks for.
install_openclaw() {
    install_npm_apart OpenClaw "$ROOT/t/clients/openclaw" "$BUILD/openclaw"
}


# client_version REGISTRY PACKAGE: of what is installed.
client_version() {
    local file

    case "$1 $2" in
    "PyPI "*)
        "$PYTHON_DIR/bin/python" -c \
            "import importlib.metadata as m; print(m.version('$2'))"
        return ;;
    "npm opencode-ai")
        file=("$BUILD"/opencode/node_modules/opencode-*/package.json) ;;
    "npm openclaw")
        file=("$BUILD/openclaw/node_modules/openclaw/package.json") ;;
    *)
        file=("$ROOT/node_modules/$2/package.json") ;;
    esac

    node -p 'JSON.parse(require("fs").readFileSync(process.argv[1])).version' \
         "${file[0]}"
}


# The rows of the table, from what the suites have had.
client_rows() {
    local row suite client registry package

    for row in "${CLIENTS[@]}"; do
        suite=${row%%:*}
        IFS=, read -r client registry package <<<"${row#*: }"
        registry=${registry# }
        package=${package# }

        printf '| %s | %s `%s` | %s | %s | %s |\n' "$client" "$registry" \
               "$package" "$(client_version "$registry" "$package")" \
               "$(date -u +%F)" "${RESULTS[$suite]}"
    done
}


# Puts the table between the two marks of the page.
write_clients_page() {
    local table

    table=$(printf '%s\n' '| client | from | version | on | tests |' \
                   '| --- | --- | --- | --- | --- |'
            client_rows)

    TABLE=$table awk '
        /^<!-- end -->/     { inside = 0 }
        !inside
        /^<!-- figures -->/ { print ENVIRON["TABLE"]; inside = 1 }
    ' "$CLIENTS_PAGE" >"$CLIENTS_PAGE.new"

    mv "$CLIENTS_PAGE.new" "$CLIENTS_PAGE"
    say "wrote ${CLIENTS_PAGE#"$ROOT"/}"
}


command_clients() {
    local row files=()

    install_for_tests
    install_openclaw
    build_module

    for row in "${CLIENTS[@]}"; do
        files+=("${row%%:*}")
    done

    test_files "" "${files[@]}"
    write_clients_page
    sum_up
}
