
/*
 * The client's tools in a chat request: what it offers, what it wants called,
 * and the calls and results of the conversation so far.
 *
 * The model gets the tools as the client wrote them.  Each call of the
 * history gets its results in the order of the calls, whatever order they
 * came in; ids that the Messages API would not take are rewritten, the same
 * way in call and result, and the client never sees that.
 *
 * Sources: OpenAI's API reference, "Chat", "tools"; the Messages API, "Tool
 * use".
 */


#ifndef _NGX_HTTP_CLAUDE_CHAT_TOOLS_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_CHAT_TOOLS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_claude_chat.h"
#include "ngx_http_claude_chat_content.h"


/* the calls of a conversation while it is read */
typedef struct {
    ngx_http_claude_chat_place_t  *place;

    ngx_pool_t                    *scratch;   /* of all tables here */
    ngx_rbtree_t                   ids;       /* all that the model knows */
    ngx_rbtree_t                   again;     /* those that were rewritten */
    ngx_rbtree_node_t              sentinel;
    ngx_uint_t                     functions; /* calls without an id */

    /* those of the last message of the assistant */
    ngx_array_t                    open;
    ngx_rbtree_t                   keys[2];   /* by their ids, by names */
    ngx_uint_t                     keyed[2];  /* whether it is made */
    ngx_uint_t                     left;      /* without a result */
    ngx_uint_t                     message;   /* where in the body */

    /* results with no call before them: the session's, perhaps */
    ngx_uint_t                     orphans;
    ngx_uint_t                     orphan;    /* where the first one is */
} ngx_http_claude_chat_calls_t;


/*
 * Reads tools, tool_choice, parallel_tool_calls, and the older functions and
 * function_call.  NGX_OK, or an HTTP status with the error set.
 */
ngx_int_t ngx_http_claude_chat_tools(ngx_http_claude_chat_t *chat,
    ngx_claude_json_t *body);

/* before the first message.  NGX_ERROR: no memory */
ngx_int_t ngx_http_claude_chat_calls_init(ngx_http_claude_chat_calls_t *calls,
    ngx_http_claude_chat_place_t *place);

/*
 * Adds the calls of an assistant's message, if there are any, behind its text.
 * NGX_OK, or an HTTP status with the error set.
 */
ngx_int_t ngx_http_claude_chat_calls(ngx_http_claude_chat_calls_t *calls,
    ngx_claude_json_t *message);

/* a message of role tool or function: the result of a call */
ngx_int_t ngx_http_claude_chat_call_result(ngx_http_claude_chat_calls_t *calls,
    ngx_claude_json_t *message, ngx_uint_t function);

/*
 * After the session is known: results that begin the conversation are those
 * of its calls, or of none.
 */
ngx_int_t ngx_http_claude_chat_calls_session(
    ngx_http_claude_chat_calls_t *calls);

/*
 * Before any other message, and after the last: no call may be without its
 * result.
 */
ngx_int_t ngx_http_claude_chat_calls_done(ngx_http_claude_chat_calls_t *calls);

/*
 * By what the next function_call, which has no id for the client, will be
 * known.  NGX_ERROR: no memory.
 */
ngx_int_t ngx_http_claude_chat_calls_next(ngx_http_claude_chat_calls_t *calls,
    ngx_str_t *id);


#endif /* _NGX_HTTP_CLAUDE_CHAT_TOOLS_H_INCLUDED_ */
