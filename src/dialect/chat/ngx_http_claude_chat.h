
/*
 * The dialect of chat completions, and of the older completions: a body to a
 * question, and answers to OpenAI's objects, streamed or whole.  It knows
 * shapes of JSON, and nothing else.  Source: OpenAI's API reference, "Chat"
 * and "Completions".
 */


#ifndef _NGX_HTTP_CLAUDE_CHAT_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_CHAT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_claude_json.h"
#include "ngx_http_claude_calls.h"
#include "ngx_http_claude_dialect.h"
#include "ngx_http_claude_exchange.h"
#include "ngx_http_claude_media.h"
#include "ngx_http_claude_place.h"


/* exchange->own */
typedef struct {
    ngx_str_t                  prefix;       /* beginning of every chunk */
    ngx_array_t                prompts;      /* ngx_str_t, of completions */
    unsigned                   include_usage:1;
    unsigned                   functions:1;  /* tools are of the older kind */
    unsigned                   echo:1;
} ngx_http_claude_chat_t;


/* the messages of a body while they are read */
typedef struct {
    ngx_http_claude_exchange_t  *ex;
    ngx_http_claude_place_t      place;      /* place of the message, or of
                                                its part */
    ngx_http_claude_media_t      media;
    ngx_http_claude_calls_t      calls;
    ngx_uint_t                   message;    /* number of the message, from
                                                0 */
    ngx_uint_t                   caller;     /* number of the one that called
                                                last */
    ngx_array_t                  system;     /* texts of system messages,
                                                ngx_str_t */
} ngx_http_claude_chat_reader_t;


extern const ngx_http_claude_dialect_t  ngx_http_claude_chat;
extern const ngx_http_claude_dialect_t  ngx_http_claude_completions;

/*
 * The members of a body, in the order in which they are read: of several that
 * are wrong the first is told.
 */
extern const ngx_claude_json_field_t  ngx_http_claude_chat_fields[];
extern const ngx_claude_json_field_t  ngx_http_claude_completions_fields[];

/* inside of stream_options; of what is a list: the items, and no more */
extern const ngx_claude_json_field_t  ngx_http_claude_chat_options[];
extern const ngx_claude_json_field_t  ngx_http_claude_chat_items[];

/* both dialects begin with these */

#define NGX_HTTP_CLAUDE_CHAT_COMMON                                           \
    { ngx_string("model"), NULL, ngx_http_claude_params_model },              \
    { ngx_string("stream"), NULL, ngx_http_claude_params_stream },            \
    { ngx_string("stream_options"), ngx_http_claude_chat_options,             \
      ngx_http_claude_chat_stream_options },                                  \
    { ngx_string("max_tokens"), NULL, ngx_http_claude_params_max_tokens },    \
    { ngx_string("max_completion_tokens"), NULL,                              \
      ngx_http_claude_params_max_tokens },                                    \
    { ngx_string("n"), NULL, ngx_http_claude_params_n },                      \
    { ngx_string("stop"), ngx_http_claude_chat_items,                         \
      ngx_http_claude_params_stop },                                          \
    { ngx_string("temperature"), NULL, ngx_http_claude_params_temperature },  \
    { ngx_string("top_p"), NULL, ngx_http_claude_params_top_p }


/* why an answer ended, a literal */
const char *ngx_http_claude_chat_reason(ngx_http_claude_answer_t *answer);

/* in chat_request.c */
ngx_int_t ngx_http_claude_chat_request(ngx_http_claude_exchange_t *ex,
    ngx_claude_json_t *body);
ngx_int_t ngx_http_claude_chat_stream_options(void *data, const char *name,
    ngx_claude_json_t *node);

/* readers of members in rooms of their own */
ngx_int_t ngx_http_claude_chat_format(void *data, const char *name,
    ngx_claude_json_t *node);
ngx_int_t ngx_http_claude_chat_tools(void *data, const char *name,
    ngx_claude_json_t *node);

/*
 * In chat_content.c: reads an image_url or file part, whose type is known to
 * be a string, into a zeroed block.  NGX_OK, NGX_DECLINED: it is another kind
 * of part, or an HTTP status with the error set.
 */
ngx_int_t ngx_http_claude_chat_part(ngx_http_claude_chat_reader_t *reader,
    ngx_claude_json_t *part, ngx_claude_block_t *block);

/*
 * Reads the content of a tool's result, a string or an array of text,
 * image_url and file parts, into an array of block_t.  Blank texts are left
 * out: the Messages API takes none.  NGX_OK, or an HTTP status with the error
 * set.
 */
ngx_int_t ngx_http_claude_chat_content(ngx_http_claude_chat_reader_t *reader,
    ngx_claude_json_t *content, ngx_array_t *blocks);

/*
 * In chat_calls.c: the calls of an assistant's message, if there are any,
 * behind its text; a message of role tool or function, the result of one; and
 * whether none is without its result.  NGX_OK, or an HTTP status with the
 * error set.
 */
ngx_int_t ngx_http_claude_chat_calls_init(
    ngx_http_claude_chat_reader_t *reader);
ngx_int_t ngx_http_claude_chat_calls(ngx_http_claude_chat_reader_t *reader,
    ngx_claude_json_t *message);
ngx_int_t ngx_http_claude_chat_result(ngx_http_claude_chat_reader_t *reader,
    ngx_claude_json_t *message, ngx_uint_t function);
ngx_int_t ngx_http_claude_chat_calls_done(
    ngx_http_claude_chat_reader_t *reader);

/* in chat_chunks.c: events of a stream */
ngx_int_t ngx_http_claude_chat_answer(ngx_http_claude_answer_t *answer);
void ngx_http_claude_chat_begin(ngx_http_claude_answer_t *answer,
    ngx_claude_out_t *out);
void ngx_http_claude_chat_open(ngx_http_claude_answer_t *answer,
    ngx_claude_out_t *out, ngx_claude_block_t *block);
void ngx_http_claude_chat_delta(ngx_http_claude_answer_t *answer,
    ngx_claude_out_t *out, ngx_claude_block_t *block, u_char *p, size_t len);
void ngx_http_claude_chat_end(ngx_http_claude_answer_t *answer,
    ngx_claude_out_t *out);
void ngx_http_claude_chat_finish(ngx_http_claude_exchange_t *ex,
    ngx_claude_out_t *out);
void ngx_http_claude_chat_failed(ngx_http_claude_exchange_t *ex,
    ngx_claude_out_t *out);

/*
 * What both dialects share of chunks: what those of an answer begin with,
 * which is its own; their end; and the usage object.  NGX_ERROR: no memory.
 */
ngx_int_t ngx_http_claude_chat_prefix(ngx_http_claude_answer_t *answer,
    const char *object, const char *member);
void ngx_http_claude_chat_chunk_open(ngx_http_claude_answer_t *answer,
    ngx_claude_out_t *out);
void ngx_http_claude_chat_chunk_close(ngx_http_claude_answer_t *answer,
    ngx_claude_out_t *out, const char *reason);
void ngx_http_claude_chat_usage(ngx_http_claude_exchange_t *ex,
    ngx_claude_out_t *out);

/* in chat_whole.c: the response of one piece */
void ngx_http_claude_chat_whole(ngx_http_claude_exchange_t *ex,
    ngx_http_claude_document_t *document);

/* what both dialects share of it: all but the choices */
typedef void (*ngx_http_claude_chat_choice_pt)(
    ngx_http_claude_answer_t *answer, ngx_http_claude_document_t *document);

void ngx_http_claude_chat_choices(ngx_http_claude_exchange_t *ex,
    ngx_http_claude_document_t *document, const char *object,
    ngx_http_claude_chat_choice_pt choice);

/* what is kept of an answer, as a string behind its name */
void ngx_http_claude_chat_text(ngx_http_claude_answer_t *answer,
    ngx_http_claude_document_t *document, const char *name,
    ngx_claude_block_e type);


#endif /* _NGX_HTTP_CLAUDE_CHAT_H_INCLUDED_ */
