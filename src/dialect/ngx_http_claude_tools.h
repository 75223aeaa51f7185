
/*
 * The client's tools: what is offered, and what is wanted called.  The model
 * gets the tools as the client wrote them.
 *
 * Source: the Messages API, "Tool use".
 */


#ifndef _NGX_HTTP_CLAUDE_TOOLS_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_TOOLS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_claude_text.h"
#include "ngx_http_claude_exchange.h"
#include "ngx_http_claude_place.h"


/* tools of one body, while they are read */
typedef struct {
    ngx_http_claude_exchange_t  *ex;
    ngx_http_claude_place_t     *place;
    const char                  *schema;     /* name of a tool's member that is
                                                its schema */
    ngx_pool_t                  *scratch;    /* memory of the reading */
    ngx_claude_text_t            json;       /* all tools as the Messages API
                                                has them */
    ngx_claude_text_t            about;      /* a description with our words */
    ngx_array_t                  objects;    /* ngx_claude_json_t *, one of
                                                each tool, if chosen */
    ngx_claude_schema_t         *any;        /* schemas of all, of which any
                                                is to be called, while they
                                                are written */
    ngx_claude_text_t            text;       /* what there is of them */
    ngx_uint_t                   n;          /* number of them in it */
    ngx_rbtree_t                 names;
    ngx_rbtree_node_t            sentinel;
    unsigned                     single:1;   /* calls come one at a time */
    unsigned                     chosen:1;   /* CHOICE_ANY or NAMED may come */
} ngx_http_claude_tools_t;


typedef enum {
    NGX_HTTP_CLAUDE_CHOICE_AUTO = 0,
    NGX_HTTP_CLAUDE_CHOICE_NONE,
    NGX_HTTP_CLAUDE_CHOICE_ANY,
    NGX_HTTP_CLAUDE_CHOICE_NAMED
} ngx_http_claude_choice_e;


/*
 * All of them return NGX_OK, or an HTTP status with the error set; choose
 * also NGX_AGAIN, when the slice has nothing left: the same again.
 */

/*
 * Before the first one.  name, list: the member of the body that offers
 * them, which may be NULL; it is an array then.  chosen: whether a choice may
 * follow that forces a call, for which more is kept of the tools.
 */
ngx_int_t ngx_http_claude_tools_init(ngx_http_claude_tools_t *tools,
    ngx_http_claude_exchange_t *ex, ngx_http_claude_place_t *place,
    const char *name, ngx_claude_json_t *list, const char *schema,
    ngx_uint_t chosen);

/* a tool: an object with name, description, strict and the schema */
ngx_int_t ngx_http_claude_tools_add(ngx_http_claude_tools_t *tools,
    ngx_claude_json_t *object);

/*
 * After the last one: which is to be called.  param: the member that says
 * so; name: a string, NULL but for CHOICE_NAMED.
 */
ngx_int_t ngx_http_claude_tools_choose(ngx_http_claude_tools_t *tools,
    const char *param, ngx_http_claude_choice_e choice,
    ngx_claude_json_t *name);

/* for a choice that makes no sense without tools */
ngx_int_t ngx_http_claude_tools_needed(ngx_http_claude_tools_t *tools,
    const char *param);

/* after the choice: the turn gets the tools */
ngx_int_t ngx_http_claude_tools_done(ngx_http_claude_tools_t *tools);


#endif /* _NGX_HTTP_CLAUDE_TOOLS_H_INCLUDED_ */
