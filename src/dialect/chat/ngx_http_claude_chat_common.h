
/*
 * The part of an exchange that chat completions and the older completions
 * share: its own fields, why an answer ended, and its usage.
 */


#ifndef _NGX_HTTP_CLAUDE_CHAT_COMMON_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_CHAT_COMMON_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_claude_out.h"
#include "ngx_http_claude_exchange.h"


/* exchange->own */
typedef struct {
    ngx_str_t                  prefix;       /* beginning of every chunk */
    ngx_array_t                prompts;      /* ngx_str_t, of completions */
    void                      *reader;       /* chat_reader_t, while messages
                                                are read */
    void                      *tools;        /* the same of tools */
    unsigned                   include_usage:1;
    unsigned                   functions:1;  /* tools are of the older kind */
    unsigned                   echo:1;
} ngx_http_claude_chat_t;


/* why an answer ended, a literal */
const char *ngx_http_claude_chat_reason(ngx_http_claude_answer_t *answer);

/* the usage object, of all answers */
void ngx_http_claude_chat_usage(ngx_http_claude_exchange_t *ex,
    ngx_claude_out_t *out);


#endif /* _NGX_HTTP_CLAUDE_CHAT_COMMON_H_INCLUDED_ */
