
/*
 * The part that the dialects of this folder share.  See the header.
 */


#include "ngx_http_claude_chat_common.h"


const char *
ngx_http_claude_chat_reason(ngx_http_claude_answer_t *answer)
{
    const char              *calls;
    ngx_http_claude_chat_t  *chat;

    chat = answer->exchange->own;
    calls = chat->functions ? "function_call" : "tool_calls";

    /* a forced call is one that the model knows nothing of */

    if (answer->ncalls
        && answer->turn.answer.stop <= NGX_CLAUDE_STOP_SEQUENCE)
    {
        return calls;
    }

    switch (answer->turn.answer.stop) {

    case NGX_CLAUDE_STOP_LENGTH:
        return "length";

    case NGX_CLAUDE_STOP_REFUSAL:
        return "content_filter";

    case NGX_CLAUDE_STOP_TOOL:
        return calls;

    default:
        return "stop";
    }
}


void
ngx_http_claude_chat_usage(ngx_http_claude_exchange_t *ex,
    ngx_claude_out_t *out)
{
    uint64_t             prompt;
    ngx_claude_usage_t  *usage;

    ngx_http_claude_exchange_sum(ex);
    usage = &ex->turn.answer.usage;

    /* input as it is billed: read from and written to caches, too */

    prompt = usage->input + usage->cache_read + usage->cache_creation;

    ngx_claude_out(out, "{\"prompt_tokens\":%uL,\"completion_tokens\":%uL,"
                   "\"total_tokens\":%uL,\"prompt_tokens_details\":"
                   "{\"cached_tokens\":%uL,\"audio_tokens\":0},"
                   "\"completion_tokens_details\":{"
                   "\"reasoning_tokens\":%uL,\"audio_tokens\":0,"
                   "\"accepted_prediction_tokens\":0,"
                   "\"rejected_prediction_tokens\":0}}",
                   prompt, usage->output, prompt + usage->output,
                   usage->cache_read, usage->thinking);
}
