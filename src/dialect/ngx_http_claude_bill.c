
/*
 * The bill of an exchange.  See the header.
 */


#include "ngx_http_claude_bill.h"
#include "ngx_claude_engine.h"


static ngx_claude_turn_t *bill_total(void *data);
static ngx_int_t bill_ends(void *data, ngx_str_t *ends);
static ngx_int_t bill_calls(void *data, ngx_str_t *ids);
static ngx_int_t bill_list(ngx_http_claude_bill_t *bill, ngx_str_t *list,
    ngx_str_t (*word)(ngx_http_claude_answer_t *answer));
static ngx_str_t bill_end(ngx_http_claude_answer_t *answer);
static ngx_str_t bill_call(ngx_http_claude_answer_t *answer);
static ngx_uint_t bill_owing(ngx_http_claude_bill_t *bill);
static void bill_add(ngx_claude_spent_t *spent,
    ngx_http_claude_bill_t *bill);


void
ngx_http_claude_bill_open(ngx_http_claude_bill_t *bill,
    ngx_http_claude_ctx_t *ctx, ngx_claude_turn_t *sum,
    ngx_http_claude_answer_t *answers, ngx_uint_t nanswers)
{
    bill->ctx = ctx;
    bill->sum = sum;
    bill->answers = answers;
    bill->nanswers = nanswers;
    bill->earlier = ctx->spender;

    ctx->spender = bill;
    ctx->total = bill_total;
    ctx->ends = bill_ends;
    ctx->calls = bill_calls;

    bill->held = 1;
    ctx->request->main->count++;
}


/* a turn that has what the log is to say of all */

static ngx_claude_turn_t *
bill_total(void *data)
{
    ngx_http_claude_bill_t *bill = data;

    ngx_uint_t          i;
    ngx_claude_turn_t  *sum, *turn;

    sum = bill->sum;

    ngx_memzero(&sum->answer.spent, sizeof(ngx_claude_spent_t));
    sum->answer.spent.cost = -1;

    bill_add(&sum->answer.spent, bill);

    for (i = 0; i < bill->nanswers; i++) {
        turn = &bill->answers[i].turn;

        /* the first token of any, and where it came from */

        if (i == 0 || turn->answer.ttft < sum->answer.ttft) {
            sum->answer.ttft = turn->answer.ttft;
            sum->answer.rung = turn->answer.rung;
        }
    }

    return sum;
}


/* why the turns ended, one after the other.  NGX_ERROR: no memory */

static ngx_int_t
bill_ends(void *data, ngx_str_t *ends)
{
    return bill_list(data, ends, bill_end);
}


static ngx_str_t
bill_end(ngx_http_claude_answer_t *answer)
{
    ngx_str_t    end;
    const char  *reason;

    ngx_str_null(&end);

    if (answer->turn.answer.is_finished) {
        reason = ngx_http_claude_answer_reason(answer);

        end.data = (u_char *) reason;
        end.len = ngx_strlen(reason);
    }

    return end;
}


/* the provider's ids of the turns' last calls, likewise */

static ngx_int_t
bill_calls(void *data, ngx_str_t *ids)
{
    return bill_list(data, ids, bill_call);
}


static ngx_str_t
bill_call(ngx_http_claude_answer_t *answer)
{
    return answer->turn.answer.upstream_id;
}


/* what the turns have of something, in the order of the answers */

static ngx_int_t
bill_list(ngx_http_claude_bill_t *bill, ngx_str_t *list,
    ngx_str_t (*word)(ngx_http_claude_answer_t *answer))
{
    ngx_str_t           s;
    ngx_uint_t          i;
    const char         *comma;
    ngx_claude_out_t   *out;
    ngx_claude_text_t   text;

    ngx_memzero(&text, sizeof(ngx_claude_text_t));
    text.pool = bill->sum->pool;

    comma = "";
    out = ngx_claude_text_begin(&text);

    for (i = 0; i < bill->nanswers; i++) {
        s = word(&bill->answers[i]);

        if (s.len) {
            ngx_claude_out(out, "%s%V", comma, &s);
            comma = ", ";
        }
    }

    if (ngx_claude_text_end(&text) != NGX_OK) {
        return NGX_ERROR;
    }

    list->data = text.data;
    list->len = text.len;

    return NGX_OK;
}


/* adds the turns of locations that have failed before this one, too */

static void
bill_add(ngx_claude_spent_t *spent, ngx_http_claude_bill_t *bill)
{
    ngx_uint_t  i;

    for ( /* void */ ; bill; bill = bill->earlier) {
        for (i = 0; i < bill->nanswers; i++) {
            ngx_claude_spent_add(spent, &bill->answers[i].turn.answer.spent);
        }
    }
}


static ngx_uint_t
bill_owing(ngx_http_claude_bill_t *bill)
{
    ngx_uint_t  i;

    for (i = 0; i < bill->nanswers; i++) {
        if (ngx_claude_turn_owing(&bill->answers[i].turn)) {
            return 1;
        }
    }

    return 0;
}


void
ngx_http_claude_bill_release(ngx_http_claude_bill_t *bill)
{
    if (!bill->held) {
        return;
    }

    if (bill_owing(bill)) {
        bill->waiting = 1;
        return;
    }

    bill->held = 0;
    bill->ctx->request->main->count--;
}


ngx_uint_t
ngx_http_claude_bill_defer(ngx_http_claude_bill_t *bill, ngx_int_t rc)
{
    ngx_http_request_t        *r;
    ngx_http_core_loc_conf_t  *clcf;

    r = bill->ctx->request;

    if (!bill->waiting || !r->background) {
        return 0;
    }

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (!clcf->log_subrequest) {
        return 0;
    }

    bill->deferred = 1;
    bill->rc = rc;

    return 1;
}


/*
 * Nobody waits for the connection any more.  Termination does not heed the
 * count, and sets it itself.
 */

void
ngx_http_claude_bill_block(ngx_http_claude_bill_t *bill)
{
    ngx_http_request_t  *r;

    bill->waiting = 0;

    if (!bill->held) {
        return;
    }

    bill->held = 0;

    if (!bill_owing(bill)) {
        return;
    }

    r = bill->ctx->request->main;

    r->blocked++;
    r->read_event_handler = ngx_http_block_reading;

    bill->blocked = 1;
    bill->waiting = 1;
}


void
ngx_http_claude_bill_paid(ngx_http_claude_bill_t *bill)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    if (!bill->waiting || bill_owing(bill)) {
        return;
    }

    r = bill->ctx->request->main;
    c = r->connection;

    bill->waiting = 0;

    ngx_http_set_log_request(c->log, r);

    if (bill->blocked) {
        bill->blocked = 0;
        r->blocked--;

        ngx_http_finalize_request(r, NGX_ERROR);

    } else if (bill->deferred) {
        bill->deferred = 0;
        bill->held = 0;
        r->count--;

        ngx_http_finalize_request(bill->ctx->request, bill->rc);

    } else {
        bill->held = 0;

        ngx_http_finalize_request(r, NGX_DONE);
    }

    ngx_http_run_posted_requests(c);
}
