
/*
 * Limits: what the configuration sets for the engine of a worker.  They are
 * here, below both, so that the one need not know the other.
 */


#ifndef _NGX_CLAUDE_LIMITS_H_INCLUDED_
#define _NGX_CLAUDE_LIMITS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


typedef struct {
    ngx_msec_t    queue_timeout;   /* msec that a turn waits for its place */
    ngx_msec_t    idle_timeout;    /* msec after which an idle process ends */
    ngx_msec_t    session_ttl;     /* msec after which it is forgotten */
    size_t        max_line;        /* bytes of the longest line of a CLI */
    ngx_uint_t    warm;            /* warm processes that this worker keeps for
                                      each profile */
    ngx_array_t  *profiles;        /* profile_t *, each one once */
    const char   *state;           /* the state path; NULL: no profiles */
    ngx_array_t  *homes;           /* char *, names of all keys' homes */
    ngx_str_t     nginx;           /* what tells this nginx from others: the
                                      path of its pid file */
} ngx_claude_limits_t;


#endif /* _NGX_CLAUDE_LIMITS_H_INCLUDED_ */
