
/*
 * The driver: what a failure is called, in the log and to the client.
 */


#include "ngx_claude_driver_private.h"
#include "ngx_claude_table.h"


/* bytes of others' words in a line of the log */
#define DRIVER_LOG_WORDS   512

/* how long a missing login or an old CLI is answered from memory, msec */
#define DRIVER_REMEMBER    5000


static void driver_remember(ngx_claude_profile_t *profile,
    ngx_claude_fail_e fail);


/* words for an operator, and their level */

static const struct {
    ngx_uint_t   level;
    const char  *text;
} driver_fails[] = {
    [NGX_CLAUDE_FAIL_INTERNAL] = {
        NGX_LOG_ERR, "internal error"
    },
    [NGX_CLAUDE_FAIL_QUEUE_FULL] = {
        NGX_LOG_WARN, "the queue is full, see claude_queue"
    },
    [NGX_CLAUDE_FAIL_QUEUE_TIMEOUT] = {
        NGX_LOG_WARN, "waited too long, see claude_queue and "
                      "claude_max_concurrent"
    },
    [NGX_CLAUDE_FAIL_UNAVAILABLE] = {
        NGX_LOG_ERR, "the CLI could not be started"
    },
    [NGX_CLAUDE_FAIL_NOT_LOGGED_IN] = {
        NGX_LOG_ERR, "the CLI is not logged in, see claude_env"
    },
    [NGX_CLAUDE_FAIL_TOO_OLD] = {
        NGX_LOG_ERR, "the CLI is too old, 2.1.260 or later is needed"
    },
    [NGX_CLAUDE_FAIL_CLI] = {
        NGX_LOG_ERR, "the CLI failed"
    },
    [NGX_CLAUDE_FAIL_TIMEOUT] = {
        NGX_LOG_ERR, "the CLI wrote nothing for too long, see claude_timeout"
    },
    [NGX_CLAUDE_FAIL_TURN_TIMEOUT] = {
        NGX_LOG_ERR, "it took too long as a whole, see claude_turn_timeout"
    },
    [NGX_CLAUDE_FAIL_RATE_LIMIT] = {
        NGX_LOG_WARN, "upstream limits the rate"
    },
    [NGX_CLAUDE_FAIL_OVERLOADED] = {
        NGX_LOG_WARN, "upstream is overloaded or out of reach"
    },
    [NGX_CLAUDE_FAIL_MODEL] = {
        NGX_LOG_INFO, "upstream does not know the model"
    },
    [NGX_CLAUDE_FAIL_REQUEST] = {
        NGX_LOG_INFO, "upstream refused the request"
    },
    [NGX_CLAUDE_FAIL_TOO_LARGE] = {
        NGX_LOG_INFO, "upstream found the request too large"
    },
    [NGX_CLAUDE_FAIL_CONTEXT] = {
        NGX_LOG_INFO, "the conversation is too long for the model"
    },
    [NGX_CLAUDE_FAIL_BUDGET] = {
        NGX_LOG_WARN, "the budget is used up, see claude_max_budget_usd"
    },
    [NGX_CLAUDE_FAIL_SESSION_GONE] = {
        NGX_LOG_INFO, "the session is gone"
    },
    [NGX_CLAUDE_FAIL_SESSION_BUSY] = {
        NGX_LOG_WARN, "another nginx holds the session's transcript"
    },
    [NGX_CLAUDE_FAIL_SESSION_MODEL] = {
        NGX_LOG_INFO, "the session has another model"
    },
    [NGX_CLAUDE_FAIL_SESSION_SYSTEM] = {
        NGX_LOG_INFO, "the session has another system text"
    }
};

ngx_claude_table_check(driver_fails, NGX_CLAUDE_FAILS);


void
ngx_claude_driver_log(ngx_claude_turn_t *turn, ngx_pid_t pid)
{
    ngx_str_t  words;

    words = turn->answer.words.len ? turn->answer.words : turn->answer.reason;

    if (words.len > DRIVER_LOG_WORDS) {

        /* a provider's may quote the client's; no part of a character stays */

        words.len = DRIVER_LOG_WORDS;

        while (words.len && (words.data[words.len] & 0xc0) == 0x80) {
            words.len--;
        }
    }

    ngx_log_error(driver_fails[turn->answer.fail].level, turn->log, 0,
                  "claude: %s%s%V, process %P, request %V",
                  driver_fails[turn->answer.fail].text, words.len ? ": " : "",
                  &words, pid, &turn->id);
}


const char *
driver_fail_text(ngx_claude_failure_t *failure)
{
    return failure->detail ? failure->detail
                           : driver_fails[failure->fail].text;
}


/* the login is the profile's; that of another may be well */

static void
driver_remember(ngx_claude_profile_t *profile,
    ngx_claude_fail_e fail)
{
    profile->failed = fail;
    profile->failed_until = ngx_current_msec + DRIVER_REMEMBER;
}


void
driver_fail_reason(ngx_claude_seat_t *seat,
    ngx_claude_turn_t *turn, ngx_str_t *reason, const char *detail)
{
    ngx_claude_profile_t  *profile;

    profile = seat->process->profile;

    if (detail) {
        turn->answer.reason.data = (u_char *) detail;
        turn->answer.reason.len = ngx_strlen(detail);
    }

    switch (turn->answer.fail) {

    case NGX_CLAUDE_FAIL_RATE_LIMIT:
    case NGX_CLAUDE_FAIL_REQUEST:
    case NGX_CLAUDE_FAIL_TOO_LARGE:
    case NGX_CLAUDE_FAIL_CONTEXT:
        break;

    case NGX_CLAUDE_FAIL_OVERLOADED:

        /* the CLI's words name the operator's gateway: they are for the log */

        turn->answer.words = driver_words(turn, reason);
        return;

    case NGX_CLAUDE_FAIL_NOT_LOGGED_IN:
        if (seat->loginless) {
            driver_remember(profile, turn->answer.fail);
            return;
        }

        turn->answer.words = driver_words(turn, reason);
        return;

    case NGX_CLAUDE_FAIL_TOO_OLD:
        driver_remember(profile, turn->answer.fail);
        return;

    case NGX_CLAUDE_FAIL_UNAVAILABLE:
        turn->answer.words = driver_words(turn, &seat->process->detail);
        reason = &seat->process->reason;
        break;

    case NGX_CLAUDE_FAIL_CLI:
        reason = &seat->process->reason;
        break;

    default:
        return;
    }

    if (reason && reason->len) {
        turn->answer.reason = driver_words(turn, reason);
    }
}


/* a copy in one line: none of it may look like a line of nginx's log */

ngx_str_t
driver_words(ngx_claude_turn_t *turn, ngx_str_t *text)
{
    size_t     i;
    ngx_str_t  words;

    ngx_str_null(&words);

    if (text == NULL || text->len == 0) {
        return words;
    }

    words.data = ngx_pstrdup(turn->pool, text);
    if (words.data == NULL) {
        return words;
    }

    words.len = text->len;

    for (i = 0; i < words.len; i++) {
        if (words.data[i] < 0x20 || words.data[i] == 0x7f) {
            words.data[i] = ' ';
        }
    }

    return words;
}
