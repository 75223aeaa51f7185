
/*
 * Pools that are given back in slices.  See the header.
 */


#include "ngx_http_claude_scrap.h"
#include "ngx_claude_memory.h"
#include "ngx_http_claude_later.h"


/* bytes that are given back at once: some milliseconds */
#define SCRAP_SLICE  8388608


typedef struct {
    ngx_pool_t               *pool;
    ngx_http_claude_later_t   later;
} scrap_t;


static void scrap_slice(void *data);


void
ngx_http_claude_scrap(ngx_pool_t *pool)
{
    scrap_t  *scrap;

    ngx_claude_memory_close(pool);

    if (ngx_claude_memory_free(pool, SCRAP_SLICE) == NGX_OK) {
        return;
    }

    scrap = ngx_calloc(sizeof(scrap_t), ngx_cycle->log);

    if (scrap == NULL) {
        while (ngx_claude_memory_free(pool, SCRAP_SLICE) != NGX_OK) {
            /* void */
        }

        return;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_ALLOC, ngx_cycle->log, 0,
                   "claude: the rest of pool %p is freed later", pool);

    scrap->pool = pool;

    ngx_http_claude_later_init(&scrap->later, scrap_slice, scrap,
                               ngx_cycle->log);
    ngx_http_claude_later(&scrap->later);
}


static void
scrap_slice(void *data)
{
    scrap_t *scrap = data;

    if (ngx_claude_memory_free(scrap->pool, SCRAP_SLICE) != NGX_OK) {
        ngx_http_claude_later(&scrap->later);
        return;
    }

    ngx_http_claude_later_never(&scrap->later);
    ngx_free(scrap);
}
