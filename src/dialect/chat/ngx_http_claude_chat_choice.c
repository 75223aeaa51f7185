
/*
 * The answers to a request: one for each prompt, or as many as it asks for.
 * Each has a turn of its own.  What the model says passes here, on its way to
 * both kinds of output.
 */


#include "ngx_http_claude_chat.h"
#include "ngx_claude_engine.h"
#include "ngx_http_claude_session.h"


/* bytes of the first buffer of what a whole answer says */
#define CHOICE_TEXT_SIZE  4096


static ngx_int_t choice_init(ngx_http_claude_chat_choice_t *choice);
static ngx_int_t choice_prompt(ngx_http_claude_chat_choice_t *choice);
static void choice_said(ngx_http_claude_chat_choice_t *choice, u_char *p,
    size_t len);


ngx_int_t
ngx_http_claude_chat_choices(ngx_http_claude_chat_t *chat)
{
    size_t      size;
    ngx_uint_t  i, n;

    n = chat->n;

    if (chat->completions) {
        n *= chat->prompts.nelts;
    }

    size = n * sizeof(ngx_http_claude_chat_choice_t);

    chat->choices = ngx_pcalloc(chat->turn.pool, size);
    if (chat->choices == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        chat->choices[i].chat = chat;
        chat->choices[i].index = i;

        if (choice_init(&chat->choices[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    chat->nchoices = n;
    chat->unfinished = n;
    chat->unsettled = n;

    return NGX_OK;
}


static ngx_int_t
choice_init(ngx_http_claude_chat_choice_t *choice)
{
    ngx_http_claude_chat_t  *chat;

    chat = choice->chat;

    choice->turn = chat->turn;
    choice->turn.stoppable = (chat->stops.nelts != 0);
    choice->turn.data = choice;

    ngx_http_claude_document_init(&choice->text, chat->turn.pool,
                                  CHOICE_TEXT_SIZE);
    ngx_http_claude_document_init(&choice->thoughts, chat->turn.pool,
                                  CHOICE_TEXT_SIZE);
    choice->forced_json.pool = chat->turn.pool;

    if (choice->index) {

        /* the session goes on from the first one, as the client's list does */

        ngx_http_claude_session_other(&choice->turn, choice->index);
    }

    if (ngx_array_init(&choice->calls, chat->turn.pool, 2,
                       sizeof(ngx_http_claude_chat_call_t))
        != NGX_OK
        || ngx_http_claude_chat_stops_init(choice) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return chat->completions ? choice_prompt(choice) : NGX_OK;
}


/* of a prompt the turn is one message of the user's */

static ngx_int_t
choice_prompt(ngx_http_claude_chat_choice_t *choice)
{
    ngx_str_t               *prompt;
    ngx_http_claude_chat_t  *chat;
    ngx_claude_block_t      *block;

    chat = choice->chat;
    prompt = (ngx_str_t *) chat->prompts.elts + choice->index / chat->n;

    if (ngx_array_init(&choice->turn.messages, chat->turn.pool, 1,
                       sizeof(ngx_claude_message_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    block = ngx_claude_turn_add(&choice->turn, NGX_CLAUDE_USER,
                                NGX_CLAUDE_TEXT);
    if (block == NULL) {
        return NGX_ERROR;
    }

    block->text = *prompt;

    if (chat->echo) {
        choice->prompt = *prompt;
    }

    return NGX_OK;
}


void
ngx_http_claude_chat_choice_text(ngx_http_claude_chat_choice_t *choice,
    u_char *p, size_t len)
{
    size_t     keep, surplus;
    ngx_str_t  held;

    if (choice->chat->forced) {
        ngx_http_claude_chat_forced_text(choice, p, len);
        return;
    }

    if (choice->stops.nelts == 0) {
        choice_said(choice, p, len);
        return;
    }

    surplus = ngx_http_claude_chat_stops(choice, p, len, &held, &keep);

    choice_said(choice, held.data, held.len);
    choice_said(choice, p, keep);

    if (surplus) {
        choice->stops.nelts = 0;
        ngx_claude_turn_stop(&choice->turn, surplus);
    }
}


static void
choice_said(ngx_http_claude_chat_choice_t *choice, u_char *p, size_t len)
{
    if (len && choice->chat->object
        && ngx_http_claude_chat_object(choice, &p, &len) != NGX_OK)
    {
        choice->chat->stream.out.failed = 1;
        return;
    }

    if (len) {
        ngx_http_claude_chat_text(choice, p, len);
    }
}


void
ngx_http_claude_chat_choice_end(ngx_http_claude_chat_choice_t *choice)
{
    u_char             *p;
    size_t              len;
    ngx_str_t           held;
    ngx_claude_turn_t  *turn;

    turn = &choice->turn;

    if (choice->chat->forced) {
        ngx_http_claude_chat_forced_end(choice);
    }

    if (choice->stops.nelts) {
        ngx_http_claude_chat_stops_end(choice, &held);
        choice_said(choice, held.data, held.len);
    }

    if (choice->chat->object) {

        /* all that there is, if it has no object in it */

        len = 0;

        if (ngx_http_claude_chat_object(choice, &p, &len) == NGX_OK && len) {
            ngx_http_claude_chat_text(choice, p, len);
        }
    }

    if (turn->stop == NGX_CLAUDE_STOP_REFUSAL && turn->refusal.len == 0) {
        ngx_str_set(&turn->refusal, "The model refused to answer.");
    }
}


const char *
ngx_http_claude_chat_choice_finish(ngx_http_claude_chat_choice_t *choice)
{
    ngx_claude_turn_t  *turn;

    turn = &choice->turn;

    if (choice->ncalls && turn->stop <= NGX_CLAUDE_STOP_SEQUENCE) {

        /* a forced call, which the model knows nothing of */

        return choice->chat->functions ? "function_call" : "tool_calls";
    }

    switch (turn->stop) {

    case NGX_CLAUDE_STOP_LENGTH:
        return "length";

    case NGX_CLAUDE_STOP_REFUSAL:
        return "content_filter";

    case NGX_CLAUDE_STOP_TOOL:
        return choice->chat->functions ? "function_call" : "tool_calls";

    default:
        return "stop";
    }
}


void
ngx_http_claude_chat_choices_sum(ngx_http_claude_chat_t *chat)
{
    ngx_uint_t           i;
    ngx_claude_usage_t  *usage;

    usage = &chat->turn.usage;

    ngx_memzero(usage, sizeof(ngx_claude_usage_t));

    for (i = 0; i < chat->nchoices; i++) {
        ngx_claude_usage_add(usage, &chat->choices[i].turn.usage);
    }
}


void
ngx_http_claude_chat_text(ngx_http_claude_chat_choice_t *choice, u_char *p,
    size_t len)
{
    if (choice->chat->streamed) {
        ngx_http_claude_chat_chunk_text(choice, p, len);

    } else if (ngx_http_claude_chat_keep(choice, &choice->text, p, len)
               != NGX_OK)
    {
        choice->chat->stream.out.failed = 1;
    }
}


void
ngx_http_claude_chat_thought(ngx_http_claude_chat_choice_t *choice, u_char *p,
    size_t len)
{
    if (choice->chat->streamed) {
        ngx_http_claude_chat_chunk_thought(choice, p, len);

    } else if (ngx_http_claude_chat_keep(choice, &choice->thoughts, p, len)
               != NGX_OK)
    {
        choice->chat->stream.out.failed = 1;
    }
}


void
ngx_http_claude_chat_call(ngx_http_claude_chat_choice_t *choice,
    ngx_str_t *id, ngx_str_t *name)
{
    if (choice->chat->streamed) {
        ngx_http_claude_chat_chunk_call(choice, id, name);

    } else if (ngx_http_claude_chat_keep_call(choice, id, name) != NGX_OK) {
        choice->chat->stream.out.failed = 1;
        return;
    }

    choice->ncalls++;
}


void
ngx_http_claude_chat_arguments(ngx_http_claude_chat_choice_t *choice,
    u_char *p, size_t len)
{
    if (choice->chat->stream.out.failed) {
        return;
    }

    if (choice->chat->streamed) {
        ngx_http_claude_chat_chunk_arguments(choice, p, len);

    } else if (ngx_http_claude_chat_keep_arguments(choice, p, len) != NGX_OK) {
        choice->chat->stream.out.failed = 1;
    }
}
