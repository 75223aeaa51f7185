
/*
 * Members of a body that mean the same in all dialects, whatever they are
 * called there, and what a question needs beside them.
 */


#ifndef _NGX_HTTP_CLAUDE_PARAMS_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_PARAMS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_claude_exchange.h"


/*
 * Reads the members of a body that the dialect's table of fields has a reader
 * for, in its order.  NGX_OK, or the first of their HTTP statuses.
 */
ngx_int_t ngx_http_claude_params(ngx_http_claude_exchange_t *ex);

/*
 * A dialect's request(), where the readers of its members leave nothing to do:
 * a question without a system text gets the location's, and one without a
 * session its own.
 */
ngx_int_t ngx_http_claude_params_request(ngx_http_claude_exchange_t *ex,
    ngx_claude_json_t *body);

/*
 * Readers for such a table; data: the exchange; name: of the member, for
 * errors; node: NULL if there is none.  NGX_OK; NGX_AGAIN: the slice has
 * nothing left, see exchange.h, the same again at the next one; or an HTTP
 * status with the error set.
 */
ngx_int_t ngx_http_claude_params_model(void *data, const char *name,
    ngx_claude_json_t *node);
ngx_int_t ngx_http_claude_params_stream(void *data, const char *name,
    ngx_claude_json_t *node);
ngx_int_t ngx_http_claude_params_max_tokens(void *data, const char *name,
    ngx_claude_json_t *node);
ngx_int_t ngx_http_claude_params_n(void *data, const char *name,
    ngx_claude_json_t *node);
ngx_int_t ngx_http_claude_params_stop(void *data, const char *name,
    ngx_claude_json_t *node);
ngx_int_t ngx_http_claude_params_temperature(void *data, const char *name,
    ngx_claude_json_t *node);
ngx_int_t ngx_http_claude_params_top_p(void *data, const char *name,
    ngx_claude_json_t *node);
ngx_int_t ngx_http_claude_params_effort(void *data, const char *name,
    ngx_claude_json_t *node);

/* a text, or an array of them: a message of the user's */
ngx_int_t ngx_http_claude_params_user(void *data, const char *name,
    ngx_claude_json_t *node);

/* a member that cannot be done; neutral when it is empty, false or 0 */
ngx_int_t ngx_http_claude_params_none(void *data, const char *name,
    ngx_claude_json_t *node);

/* the reader of another member reads this one, too */
ngx_int_t ngx_http_claude_params_other(void *data, const char *name,
    ngx_claude_json_t *node);

/* *value is set to a boolean, 0 without one */
ngx_int_t ngx_http_claude_params_flag(ngx_http_claude_exchange_t *ex,
    const char *name, ngx_claude_json_t *node, ngx_uint_t *value);

/*
 * Such texts, none of them blank, become an array of ngx_str_t.  Where there
 * are more than max, it gets one more, and the rest is not read.
 */
ngx_int_t ngx_http_claude_params_texts(ngx_http_claude_exchange_t *ex,
    const char *name, ngx_claude_json_t *node, ngx_uint_t max,
    ngx_array_t *texts);

/*
 * The schema that the answer is to satisfy; description: of the format, or
 * NULL, for which there is no place but the schema's.
 */
ngx_int_t ngx_http_claude_params_schema(ngx_http_claude_exchange_t *ex,
    const char *name, ngx_claude_json_t *node, ngx_str_t *description);

/*
 * The system text: of the texts of a request, an array of ngx_str_t, with a
 * blank line between two, or the location's, if there are none; and the words
 * of ours behind it, or behind the location's, if nothing was set.  NGX_AGAIN:
 * to be called again, with the same texts.
 */
ngx_int_t ngx_http_claude_params_system(ngx_http_claude_exchange_t *ex,
    ngx_array_t *texts);
ngx_int_t ngx_http_claude_params_words(ngx_http_claude_exchange_t *ex,
    ngx_str_t *words);

/*
 * After all messages: whether they are a conversation that the models go on
 * with, and whose session that is.
 */
ngx_int_t ngx_http_claude_params_conversation(ngx_http_claude_exchange_t *ex,
    const char *name);


#endif /* _NGX_HTTP_CLAUDE_PARAMS_H_INCLUDED_ */
