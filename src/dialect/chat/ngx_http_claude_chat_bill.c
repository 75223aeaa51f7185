
/*
 * The dialect of chat completions: the bill of a request.
 *
 * nginx writes the log when a request is freed.  What was spent may be known
 * a little later than the answer is complete, or the client gone: when the
 * CLI has stopped, and has said what it cost.  So the request is kept so long,
 * in the two ways that nginx has for that: counted, as for a subrequest, and
 * blocked, as while a file is read for it, where it is terminated.
 */


#include "ngx_http_claude_chat.h"
#include "ngx_claude_engine.h"


static ngx_uint_t bill_owing(ngx_http_claude_chat_t *chat);
static void bill_add(ngx_claude_spent_t *spent, ngx_http_claude_chat_t *chat);


ngx_claude_turn_t *
ngx_http_claude_chat_total(void *data)
{
    ngx_http_claude_chat_t  *chat = data;

    ngx_uint_t               i;
    ngx_claude_turn_t       *sum, *turn;

    sum = &chat->turn;

    ngx_memzero(&sum->spent, sizeof(ngx_claude_spent_t));
    sum->spent.cost = -1;

    bill_add(&sum->spent, chat);

    for (i = 0; i < chat->nchoices; i++) {
        turn = &chat->choices[i].turn;

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
ngx_http_claude_chat_ends(void *data, ngx_str_t *ends)
{
    ngx_http_claude_chat_t  *chat = data;

    u_char                         *p;
    const char                     *end;
    ngx_uint_t                      i;
    ngx_http_claude_chat_choice_t  *choice;

    ngx_str_null(ends);

    p = ngx_pnalloc(chat->turn.pool,
                    chat->nchoices * sizeof("content_filter, "));
    if (p == NULL) {
        return NGX_ERROR;
    }

    ends->data = p;

    for (i = 0; i < chat->nchoices; i++) {
        choice = &chat->choices[i];

        if (!choice->turn.is_finished) {
            continue;
        }

        if (p != ends->data) {
            *p++ = ',';
            *p++ = ' ';
        }

        end = ngx_http_claude_chat_choice_finish(choice);
        p = ngx_cpymem(p, end, ngx_strlen(end));
    }

    ends->len = p - ends->data;

    return NGX_OK;
}


/* those of a location that has failed before this one, too */

static void
bill_add(ngx_claude_spent_t *spent, ngx_http_claude_chat_t *chat)
{
    ngx_uint_t  i;

    for ( /* void */ ; chat; chat = chat->earlier) {
        for (i = 0; i < chat->nchoices; i++) {
            ngx_claude_spent_add(spent, &chat->choices[i].turn.spent);
        }
    }
}


static ngx_uint_t
bill_owing(ngx_http_claude_chat_t *chat)
{
    ngx_uint_t  i;

    for (i = 0; i < chat->nchoices; i++) {
        if (ngx_claude_turn_owing(&chat->choices[i].turn)) {
            return 1;
        }
    }

    return 0;
}


void
ngx_http_claude_chat_hold(ngx_http_claude_chat_t *chat)
{
    chat->held = 1;
    chat->ctx->request->main->count++;
}


void
ngx_http_claude_chat_release(ngx_http_claude_chat_t *chat)
{
    if (!chat->held) {
        return;
    }

    if (bill_owing(chat)) {
        chat->waiting = 1;
        return;
    }

    chat->held = 0;
    chat->ctx->request->main->count--;
}


ngx_uint_t
ngx_http_claude_chat_defer(ngx_http_claude_chat_t *chat, ngx_int_t rc)
{
    ngx_http_request_t        *r;
    ngx_http_core_loc_conf_t  *clcf;

    r = chat->ctx->request;

    if (!chat->waiting || !r->background) {
        return 0;
    }

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (!clcf->log_subrequest) {
        return 0;
    }

    chat->deferred = 1;
    chat->rc = rc;

    return 1;
}


/*
 * Nobody waits for the connection any more.  Termination does not heed the
 * count, and sets it itself.
 */

void
ngx_http_claude_chat_block(ngx_http_claude_chat_t *chat)
{
    ngx_http_request_t  *r;

    chat->waiting = 0;

    if (!chat->held) {
        return;
    }

    chat->held = 0;

    if (!bill_owing(chat)) {
        return;
    }

    r = chat->ctx->request->main;

    r->blocked++;
    r->read_event_handler = ngx_http_block_reading;

    chat->blocked = 1;
    chat->waiting = 1;
}


void
ngx_http_claude_chat_paid(ngx_http_claude_chat_t *chat)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    if (!chat->waiting || bill_owing(chat)) {
        return;
    }

    r = chat->ctx->request->main;
    c = r->connection;

    chat->waiting = 0;

    ngx_http_set_log_request(c->log, r);

    if (chat->blocked) {
        chat->blocked = 0;
        r->blocked--;

        ngx_http_finalize_request(r, NGX_ERROR);

    } else if (chat->deferred) {
        chat->deferred = 0;
        chat->held = 0;
        r->count--;

        ngx_http_finalize_request(chat->ctx->request, chat->rc);

    } else {
        chat->held = 0;

        ngx_http_finalize_request(r, NGX_DONE);
    }

    ngx_http_run_posted_requests(c);
}
