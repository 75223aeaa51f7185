
/*
 * CLI protocol, private: what its lines are made of.  In functions that return
 * NGX_ERROR when a buffer cannot be had, with a `process` that they go to.
 */


#ifndef _NGX_CLAUDE_CLI_PRIVATE_H_INCLUDED_
#define _NGX_CLAUDE_CLI_PRIVATE_H_INCLUDED_


#include "ngx_claude_cli.h"
#include "ngx_claude_process.h"


/* a constant text, as it is */
#define put(text)                                                             \
    if (ngx_claude_process_text(process, text) != NGX_OK) {                   \
        return NGX_ERROR;                                                     \
    }

/* a string, as it is */
#define raw(s)                                                                \
    if (ngx_claude_process_put(process, (s)->data, (s)->len)                  \
        != NGX_OK)                                                            \
    {                                                                         \
        return NGX_ERROR;                                                     \
    }

/* a string as what stands between the quotes of one of JSON */
#define escape(s)                                                             \
    if (ngx_claude_process_escape(process, (s)->data, (s)->len)               \
        != NGX_OK)                                                            \
    {                                                                         \
        return NGX_ERROR;                                                     \
    }


#endif /* _NGX_CLAUDE_CLI_PRIVATE_H_INCLUDED_ */
