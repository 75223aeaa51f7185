
/*
 * CLI protocol, private: what its lines are made of.  In functions that return
 * NGX_ERROR when a buffer cannot be had, with an `outbox` that they go to.
 */


#ifndef _NGX_CLAUDE_CLI_PRIVATE_H_INCLUDED_
#define _NGX_CLAUDE_CLI_PRIVATE_H_INCLUDED_


#include "ngx_claude_cli.h"


/* a constant text, as it is */
#define put(text)                                                             \
    if (ngx_claude_outbox_text(outbox, text) != NGX_OK) {                   \
        return NGX_ERROR;                                                     \
    }

/* a string, as it is */
#define raw(s)                                                                \
    if (ngx_claude_outbox_put(outbox, (s)->data, (s)->len)                  \
        != NGX_OK)                                                            \
    {                                                                         \
        return NGX_ERROR;                                                     \
    }

/* a string as what stands between the quotes of one of JSON */
#define escape(s)                                                             \
    if (ngx_claude_outbox_escape(outbox, (s)->data, (s)->len)               \
        != NGX_OK)                                                            \
    {                                                                         \
        return NGX_ERROR;                                                     \
    }


#endif /* _NGX_CLAUDE_CLI_PRIVATE_H_INCLUDED_ */
