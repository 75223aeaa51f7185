
/*
 * The bill of an exchange.
 *
 * nginx writes the log when a request is freed.  What was spent may be known
 * a little later than the answer is complete, or the client gone: when the
 * CLI has stopped, and has said what it cost.  So the request is kept so long,
 * in the two ways that nginx has for that: counted, as for a subrequest, and
 * blocked, as while a file is read for it, where it is terminated.
 */


#include "ngx_http_claude_exchange.h"
#include "ngx_claude_engine.h"


static ngx_uint_t bill_owing(ngx_http_claude_exchange_t *ex);
static void bill_add(ngx_claude_spent_t *spent,
    ngx_http_claude_exchange_t *ex);


ngx_claude_turn_t *
ngx_http_claude_exchange_total(void *data)
{
    ngx_http_claude_exchange_t *ex = data;

    ngx_uint_t          i;
    ngx_claude_turn_t  *sum, *turn;

    sum = &ex->turn;

    ngx_memzero(&sum->spent, sizeof(ngx_claude_spent_t));
    sum->spent.cost = -1;

    bill_add(&sum->spent, ex);

    for (i = 0; i < ex->nanswers; i++) {
        turn = &ex->answers[i].turn;

        /* the first token of any, and where it came from */

        if (i == 0 || turn->ttft < sum->ttft) {
            sum->ttft = turn->ttft;
            sum->rung = turn->rung;
        }
    }

    return sum;
}


/* NGX_ERROR: no memory */

ngx_int_t
ngx_http_claude_exchange_ends(void *data, ngx_str_t *ends)
{
    ngx_http_claude_exchange_t *ex = data;

    const char                *end;
    ngx_uint_t                 i;
    ngx_claude_text_t          text;
    ngx_http_claude_answer_t  *answer;

    ngx_memzero(&text, sizeof(ngx_claude_text_t));
    text.pool = ex->turn.pool;

    for (i = 0; i < ex->nanswers; i++) {
        answer = &ex->answers[i];

        if (!answer->turn.is_finished) {
            continue;
        }

        end = ex->dialect->reason(answer);

        if ((text.len && ngx_claude_text_literal(&text, ", ") != NGX_OK)
            || ngx_claude_text_add(&text, end, ngx_strlen(end)) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    ends->data = text.data;
    ends->len = text.len;

    return NGX_OK;
}


/* those of a location that has failed before this one, too */

static void
bill_add(ngx_claude_spent_t *spent, ngx_http_claude_exchange_t *ex)
{
    ngx_uint_t  i;

    for ( /* void */ ; ex; ex = ex->earlier) {
        for (i = 0; i < ex->nanswers; i++) {
            ngx_claude_spent_add(spent, &ex->answers[i].turn.spent);
        }
    }
}


static ngx_uint_t
bill_owing(ngx_http_claude_exchange_t *ex)
{
    ngx_uint_t  i;

    for (i = 0; i < ex->nanswers; i++) {
        if (ngx_claude_turn_owing(&ex->answers[i].turn)) {
            return 1;
        }
    }

    return 0;
}


void
ngx_http_claude_exchange_hold(ngx_http_claude_exchange_t *ex)
{
    ex->held = 1;
    ex->ctx->request->main->count++;
}


void
ngx_http_claude_exchange_release(ngx_http_claude_exchange_t *ex)
{
    if (!ex->held) {
        return;
    }

    if (bill_owing(ex)) {
        ex->waiting = 1;
        return;
    }

    ex->held = 0;
    ex->ctx->request->main->count--;
}


ngx_uint_t
ngx_http_claude_exchange_defer(ngx_http_claude_exchange_t *ex, ngx_int_t rc)
{
    ngx_http_request_t        *r;
    ngx_http_core_loc_conf_t  *clcf;

    r = ex->ctx->request;

    if (!ex->waiting || !r->background) {
        return 0;
    }

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (!clcf->log_subrequest) {
        return 0;
    }

    ex->deferred = 1;
    ex->rc = rc;

    return 1;
}


/*
 * Nobody waits for the connection any more.  Termination does not heed the
 * count, and sets it itself.
 */

void
ngx_http_claude_exchange_block(ngx_http_claude_exchange_t *ex)
{
    ngx_http_request_t  *r;

    ex->waiting = 0;

    if (!ex->held) {
        return;
    }

    ex->held = 0;

    if (!bill_owing(ex)) {
        return;
    }

    r = ex->ctx->request->main;

    r->blocked++;
    r->read_event_handler = ngx_http_block_reading;

    ex->blocked = 1;
    ex->waiting = 1;
}


void
ngx_http_claude_exchange_paid(ngx_http_claude_exchange_t *ex)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    if (!ex->waiting || bill_owing(ex)) {
        return;
    }

    r = ex->ctx->request->main;
    c = r->connection;

    ex->waiting = 0;

    ngx_http_set_log_request(c->log, r);

    if (ex->blocked) {
        ex->blocked = 0;
        r->blocked--;

        ngx_http_finalize_request(r, NGX_ERROR);

    } else if (ex->deferred) {
        ex->deferred = 0;
        ex->held = 0;
        r->count--;

        ngx_http_finalize_request(ex->ctx->request, ex->rc);

    } else {
        ex->held = 0;

        ngx_http_finalize_request(r, NGX_DONE);
    }

    ngx_http_run_posted_requests(c);
}
