
/*
 * The CLI's protocol, meaning: its words for errors and stops in the terms of
 * a turn.  Source: docs/cli-protocol.md, "Failures" and "What it does by
 * itself".
 */


#include "ngx_claude_cli.h"
#include "ngx_claude_cstr.h"
#include "ngx_claude_table.h"


#define CLI_LOGGED_OUT  "Not logged in"


typedef struct {
    ngx_str_t                word;
    ngx_uint_t               value;
} ngx_claude_word_t;


static ngx_uint_t cli_word(const ngx_claude_word_t *words, ngx_str_t *word);
static ngx_uint_t cli_has(ngx_str_t *s, const char *what);
static ngx_uint_t cli_logged_out(ngx_claude_cli_line_t *line);
static ngx_claude_fail_e cli_status(ngx_claude_cli_line_t *line,
    ngx_uint_t status);


/* the last entry of each list is what other words mean */

static const ngx_claude_word_t  cli_errors[] = {
    { ngx_string("authentication_failed"),
      NGX_CLAUDE_FAIL_NOT_LOGGED_IN },
    { ngx_string("oauth_org_not_allowed"),
      NGX_CLAUDE_FAIL_NOT_LOGGED_IN },
    { ngx_string("model_not_found"), NGX_CLAUDE_FAIL_MODEL },
    { ngx_string("rate_limit"), NGX_CLAUDE_FAIL_RATE_LIMIT },
    { ngx_string("invalid_request"), NGX_CLAUDE_FAIL_REQUEST },
    { ngx_string("server_error"), NGX_CLAUDE_FAIL_OVERLOADED },
    { ngx_string("overloaded"), NGX_CLAUDE_FAIL_OVERLOADED },
    { ngx_string("billing_error"), NGX_CLAUDE_FAIL_BUDGET },
    { ngx_null_string, NGX_CLAUDE_FAIL_CLI }
};


static const ngx_claude_word_t  cli_model_codes[] = {
    { ngx_string("not_found"), NGX_CLAUDE_FAIL_MODEL },
    { ngx_string("invalid_request"), NGX_CLAUDE_FAIL_MODEL },
    { ngx_string("rate_limit"), NGX_CLAUDE_FAIL_RATE_LIMIT },
    { ngx_string("auth_failed"), NGX_CLAUDE_FAIL_NOT_LOGGED_IN },
    { ngx_string("check_server_error"), NGX_CLAUDE_FAIL_OVERLOADED },
    { ngx_string("check_failed"), NGX_CLAUDE_FAIL_OVERLOADED },
    { ngx_string("check_unreachable"), NGX_CLAUDE_FAIL_OVERLOADED },
    { ngx_null_string, NGX_CLAUDE_FAIL_OVERLOADED }
};


static const ngx_claude_word_t  cli_stops[] = {
    { ngx_string("end_turn"), NGX_CLAUDE_STOP_END },
    { ngx_string("stop_sequence"), NGX_CLAUDE_STOP_SEQUENCE },
    { ngx_string("max_tokens"), NGX_CLAUDE_STOP_LENGTH },
    { ngx_string("model_context_window_exceeded"),
      NGX_CLAUDE_STOP_LENGTH },
    { ngx_string("refusal"), NGX_CLAUDE_STOP_REFUSAL },
    { ngx_string("tool_use"), NGX_CLAUDE_STOP_TOOL },
    { ngx_null_string, NGX_CLAUDE_STOP_LENGTH }
};


ngx_claude_fail_e
ngx_claude_cli_error(ngx_str_t *word)
{
    return cli_word(cli_errors, word);
}


ngx_claude_fail_e
ngx_claude_cli_model_error(ngx_str_t *error, ngx_str_t *code)
{
    if (cli_has(error, "Not logged in")
        || cli_has(error, "resolve authentication method"))
    {
        return NGX_CLAUDE_FAIL_NOT_LOGGED_IN;
    }

    /* code "check_rejected"; a 401 has one of its own */

    if (cli_has(error, "API error: 403")) {
        return NGX_CLAUDE_FAIL_NOT_LOGGED_IN;
    }

    return cli_word(cli_model_codes, code);
}


/*
 * A stop reason that is not known yet is taken for a limit: the one thing
 * that it does not mean is that the model had nothing more to say.
 */

ngx_claude_stop_e
ngx_claude_cli_stop(ngx_str_t *reason)
{
    return cli_word(cli_stops, reason);
}


ngx_claude_fail_e
ngx_claude_cli_result_error(ngx_claude_cli_line_t *line)
{
    double      status;
    ngx_str_t  *terminal, *subtype;

    subtype = &line->string[NGX_CLAUDE_CLI_S_SUBTYPE];
    terminal = &line->string[NGX_CLAUDE_CLI_S_TERMINAL];
    status = line->number[NGX_CLAUDE_CLI_N_STATUS];

    if (cli_has(subtype, "error_max_budget_usd")) {
        return NGX_CLAUDE_FAIL_BUDGET;
    }

    if (cli_has(terminal, "prompt_too_long")
        || cli_has(terminal, "blocking_limit"))
    {
        return NGX_CLAUDE_FAIL_CONTEXT;
    }

    if (status >= 400 && status < 600) {
        return cli_status(line, (ngx_uint_t) status);
    }

    if (cli_logged_out(line)) {
        return NGX_CLAUDE_FAIL_NOT_LOGGED_IN;
    }

    return NGX_CLAUDE_FAIL_CLI;
}


/* a plugin's refusal has a status 403, which is no word of upstream's */

ngx_uint_t
ngx_claude_cli_denied(ngx_claude_cli_line_t *line)
{
    return ngx_claude_is(&line->string[NGX_CLAUDE_CLI_S_API_ERROR],
                         "hook_denied");
}


/*
 * A 403 is about what was asked for as often as about who asks: the model, the
 * organization, an address, a proxy on the way.
 */

ngx_uint_t
ngx_claude_cli_no_login(ngx_claude_cli_line_t *line)
{
    ngx_str_t  *error, *code;

    error = &line->string[NGX_CLAUDE_CLI_S_RESPONSE_ERROR];
    code = &line->string[NGX_CLAUDE_CLI_S_RESPONSE_CODE];

    return line->number[NGX_CLAUDE_CLI_N_STATUS] == 401
           || cli_logged_out(line)
           || (cli_has(error, "Not logged in")
               && !cli_has(error, "API error: "))
           || cli_has(error, "resolve authentication method")
           || cli_has(code, "auth_failed");
}


/*
 * The CLI's own words, without a status of upstream's and before anything
 * else: upstream, or a proxy on the way, may quote what a client has written.
 */

static ngx_uint_t
cli_logged_out(ngx_claude_cli_line_t *line)
{
    ngx_str_t  *result;

    result = &line->string[NGX_CLAUDE_CLI_S_RESULT];

    return line->number[NGX_CLAUDE_CLI_N_STATUS] < 400
           && result->len >= sizeof(CLI_LOGGED_OUT) - 1
           && ngx_memcmp(result->data, CLI_LOGGED_OUT,
                         sizeof(CLI_LOGGED_OUT) - 1)
              == 0;
}


static ngx_claude_fail_e
cli_status(ngx_claude_cli_line_t *line, ngx_uint_t status)
{
    switch (status) {

    case 401:
    case 403:
        return NGX_CLAUDE_FAIL_NOT_LOGGED_IN;

    case 402:
        return NGX_CLAUDE_FAIL_BUDGET;

    case 404:
        return NGX_CLAUDE_FAIL_MODEL;

    case 413:
        return NGX_CLAUDE_FAIL_TOO_LARGE;

    case 429:
        return NGX_CLAUDE_FAIL_RATE_LIMIT;
    }

    if (status >= 500) {
        return NGX_CLAUDE_FAIL_OVERLOADED;
    }

    if (cli_has(&line->string[NGX_CLAUDE_CLI_S_RESULT],
                "prompt is too long")
        || cli_has(&line->string[NGX_CLAUDE_CLI_S_RESULT],
                   "Prompt is too long"))
    {
        return NGX_CLAUDE_FAIL_CONTEXT;
    }

    return NGX_CLAUDE_FAIL_REQUEST;
}


static ngx_uint_t
cli_word(const ngx_claude_word_t *words, ngx_str_t *word)
{
    while (words->word.len) {

        if (words->word.len == word->len
            && ngx_memcmp(words->word.data, word->data, word->len) == 0)
        {
            break;
        }

        words++;
    }

    return words->value;
}


static ngx_uint_t
cli_has(ngx_str_t *s, const char *what)
{
    size_t  len;

    len = ngx_strlen(what);

    return s->len >= len
           && memmem(s->data, s->len, what, len) != NULL;
}


/* the kinds of lines, for the debug log */

static const char *const  words_kinds[] = {
    [NGX_CLAUDE_CLI_OTHER]            = "other",
    [NGX_CLAUDE_CLI_INIT]             = "init",
    [NGX_CLAUDE_CLI_API_RETRY]        = "api retry",
    [NGX_CLAUDE_CLI_SAYS_GATE]        = "the gate",
    [NGX_CLAUDE_CLI_MESSAGE_START]    = "message start",
    [NGX_CLAUDE_CLI_BLOCK_START]      = "block start",
    [NGX_CLAUDE_CLI_BLOCK_DELTA]      = "block delta",
    [NGX_CLAUDE_CLI_BLOCK_STOP]       = "block stop",
    [NGX_CLAUDE_CLI_MESSAGE_DELTA]    = "message delta",
    [NGX_CLAUDE_CLI_MESSAGE_STOP]     = "message stop",
    [NGX_CLAUDE_CLI_ASSISTANT]        = "assistant",
    [NGX_CLAUDE_CLI_USER]             = "user",
    [NGX_CLAUDE_CLI_RESULT]           = "result",
    [NGX_CLAUDE_CLI_CONTROL_REQUEST]  = "control request",
    [NGX_CLAUDE_CLI_CONTROL_RESPONSE] = "control response"
};

ngx_claude_table_check(words_kinds, NGX_CLAUDE_CLI_KINDS);


const char *
ngx_claude_cli_kind(ngx_claude_cli_kind_e kind)
{
    return words_kinds[kind];
}
