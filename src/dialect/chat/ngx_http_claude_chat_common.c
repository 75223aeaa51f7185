
/*
 * The part that the dialects of this folder share.  See the header.
 */


#include "ngx_http_claude_chat_common.h"


const char *
ngx_http_claude_chat_reason(ngx_http_claude_answer_t *answer)
{
    ngx_http_claude_chat_t  *chat;

    chat = answer->exchange->own;

    switch (ngx_http_claude_answer_stop(answer)) {

    case NGX_CLAUDE_STOP_LENGTH:
        return "length";

    case NGX_CLAUDE_STOP_REFUSAL:
        return "content_filter";

    case NGX_CLAUDE_STOP_TOOL:
        return chat->functions ? "function_call" : "tool_calls";

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

    usage = ngx_http_claude_exchange_sum(ex);

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
