
/*
 * What the fuzz targets share: an nginx as far as the parsers need one, a
 * source of sizes to cut the input at, and the checks.  See README.md.
 */


#ifndef _FUZZ_H_INCLUDED_
#define _FUZZ_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>

#include "ngx_http_claude_chat.h"
#include "ngx_http_claude_chat_chunks.h"
#include "ngx_http_claude_chat_common.h"
#include "ngx_http_claude_chat_content.h"
#include "ngx_http_claude_params.h"
#include "ngx_http_claude_completions.h"
#include "ngx_claude_cli.h"
#include "ngx_http_claude_conf.h"
#include "ngx_http_claude_error.h"
#include "ngx_http_claude_exchange.h"
#include "ngx_claude_json_text.h"


/* ends the run, and libFuzzer keeps the input */
#define fuzz_check(condition)                                                 \
    if (!(condition)) {                                                       \
        fuzz_failed(__FILE__, __LINE__, #condition);                          \
    }

void fuzz_failed(const char *file, int line, const char *what);


/*
 * The input of one run.  Sizes to cut it at follow from the whole input, so
 * that a corpus is of plain texts, and a run is the same each time.
 */
typedef struct {
    const u_char             *p;
    const u_char             *last;
    uint64_t                  state;
} fuzz_input_t;

void fuzz_input(fuzz_input_t *in, const u_char *p, size_t len);

/* from 0 to n - 1 */
size_t fuzz_number(fuzz_input_t *in, size_t n);

/* a size from 1 to max, small ones more often, and no more than left */
size_t fuzz_size(fuzz_input_t *in, size_t max, size_t left);

/* up to the next byte of that value, which is taken as well */
ngx_str_t fuzz_until(fuzz_input_t *in, u_char ch);

/* the rest */
ngx_str_t fuzz_rest(fuzz_input_t *in);


/* a pool in which each allocation has its own redzone */
ngx_pool_t *fuzz_pool(void);

/*
 * A copy with the end of the memory right behind it.  valid: bytes that are
 * no UTF-8 become question marks.
 */
ngx_str_t fuzz_copy(ngx_pool_t *pool, ngx_str_t s, ngx_uint_t valid);

/* UTF-8 as RFC 3629 has it: nothing overlong, no surrogates */
ngx_uint_t fuzz_utf8(const u_char *p, size_t len);

/* reads every byte, for ASan to see */
void fuzz_touch(ngx_str_t *s);


/* the tree of a text that must be JSON, read by the module's own reader */
ngx_claude_json_t *fuzz_read(ngx_pool_t *pool, u_char *p, size_t len);


/* the same as a tree that can be changed, which the module's own cannot */
typedef struct fuzz_tree_s  fuzz_tree_t;

struct fuzz_tree_s {
    fuzz_tree_t                  *next;
    fuzz_tree_t                  *first;
    fuzz_tree_t                  *last;
    ngx_str_t                     name;
    ngx_str_t                     value;
    ngx_claude_json_type_e        type;
};

fuzz_tree_t *fuzz_json(ngx_pool_t *pool, u_char *p, size_t len);
fuzz_tree_t *fuzz_tree(ngx_pool_t *pool, ngx_claude_json_t *json);

/* the last member of that name, or NULL */
fuzz_tree_t *fuzz_tree_member(fuzz_tree_t *node, const char *name);

/* the same, which must be there, of that type */
fuzz_tree_t *fuzz_member(fuzz_tree_t *node, const char *name,
    ngx_claude_json_type_e type);

/* as JSON */
ngx_str_t fuzz_tree_text(ngx_pool_t *pool, fuzz_tree_t *node);


ngx_uint_t fuzz_same(ngx_str_t *a, ngx_str_t *b);


/* a request with all that the dialects look at, to free with the pool */
typedef struct {
    ngx_pool_t                   *pool;
    ngx_http_request_t            request;
    ngx_connection_t              connection;
    ngx_event_t                   read;
    ngx_event_t                   write;
    ngx_http_log_ctx_t            log_ctx;
    ngx_log_t                     log;
    ngx_http_core_loc_conf_t      clcf;
    ngx_http_claude_loc_conf_t    lcf;
    ngx_claude_profile_t          profile;
    ngx_http_claude_ctx_t         ctx;
    ngx_http_claude_exchange_t    ex;
    ngx_http_complex_value_t      model;
    ngx_http_complex_value_t      system;
    ngx_http_claude_model_t       map[8];
    ngx_array_t                   models;
    ngx_http_claude_main_conf_t   mcf;
    void                         *loc_confs[2];
    void                         *main_confs[1];
    void                         *ctxs[2];
} fuzz_request_t;

fuzz_request_t *fuzz_request(ngx_pool_t *pool);


#endif /* _FUZZ_H_INCLUDED_ */
