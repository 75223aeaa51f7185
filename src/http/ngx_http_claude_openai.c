
/*
 * Errors in OpenAI's shape.  See the header.
 */


#include "ngx_http_claude_openai.h"


const ngx_http_claude_dialect_t  ngx_http_claude_openai = {
    .request_id = NGX_HTTP_CLAUDE_OPENAI_ID,
    .failure = ngx_http_claude_openai_failure,
    .error = ngx_http_claude_openai_error
};


/* types go by status */

void
ngx_http_claude_openai_failure(ngx_http_claude_error_t *error)
{
    switch (error->status) {

    case 402:
        ngx_str_set(&error->type, "insufficient_quota");
        break;

    case 429:
        ngx_str_set(&error->type, "rate_limit_error");
        break;

    default:
        if (error->status >= 500) {
            ngx_str_set(&error->type, "server_error");

        } else {
            ngx_str_set(&error->type, "invalid_request_error");
        }
    }
}


void
ngx_http_claude_openai_error(ngx_claude_out_t *out,
    ngx_http_claude_error_t *error)
{
    ngx_claude_out(out, "{\"error\":{\"message\":%J,\"type\":%J,\"param\":%Q,"
                   "\"code\":%Q}}", &error->message, &error->type,
                   &error->param, &error->code);
}
