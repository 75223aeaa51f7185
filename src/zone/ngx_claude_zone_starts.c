
/*
 * The shared zone: launch profiles whose processes die before their first
 * turn.
 *
 * Each death doubles the time that has to pass before another is started ahead
 * of need, over all workers, up to a minute.  There are more rows than
 * profiles of any configuration that is in use; where there are not, the
 * oldest gives way, and the next death of one of its processes is its first.
 * So is all of it after a reload.
 */


#include "ngx_claude_zone_private.h"


/* after the first death, msec, and at most */
#define ZONE_START_FIRST  1000
#define ZONE_START_MOST   60000


static zone_start_t *zone_start(ngx_claude_zone_shared_t *sh,
    const ngx_claude_hash_t *profile);
static ngx_msec_t zone_start_delay(zone_start_t *start);


ngx_uint_t
ngx_claude_zone_start_died(ngx_claude_zone_t *zone,
    const ngx_claude_hash_t *profile, ngx_msec_t *wait)
{
    ngx_uint_t     n;
    zone_start_t  *start;

    zone_lock(zone);

    start = zone_start(zone->sh, profile);

    if (start == NULL) {
        start = &zone->sh->starts[zone->sh->nstarts++
                                  % NGX_CLAUDE_ZONE_GATES];
        start->profile = *profile;
        start->died = 0;
    }

    n = ++start->died;
    *wait = zone_start_delay(start);
    start->until = ngx_current_msec + *wait;

    zone_unlock(zone);

    return n;
}


ngx_msec_t
ngx_claude_zone_start_wait(ngx_claude_zone_t *zone,
    const ngx_claude_hash_t *profile)
{
    ngx_msec_t     wait;
    zone_start_t  *start;

    wait = 0;

    zone_lock(zone);

    start = zone_start(zone->sh, profile);

    if (start && start->died) {

        if ((ngx_msec_int_t) (start->until - ngx_current_msec) > 0) {
            wait = start->until - ngx_current_msec;

        } else {

            /* the caller tries: the other workers see what becomes of it */

            start->until = ngx_current_msec + zone_start_delay(start);
        }
    }

    zone_unlock(zone);

    return wait;
}


ngx_uint_t
ngx_claude_zone_start_dies(ngx_claude_zone_t *zone,
    const ngx_claude_hash_t *profile)
{
    ngx_uint_t     n;
    zone_start_t  *start;

    zone_lock(zone);

    start = zone_start(zone->sh, profile);
    n = start ? start->died : 0;

    zone_unlock(zone);

    return n;
}


ngx_uint_t
ngx_claude_zone_start_lived(ngx_claude_zone_t *zone,
    const ngx_claude_hash_t *profile)
{
    ngx_uint_t     n;
    zone_start_t  *start;

    n = 0;

    zone_lock(zone);

    start = zone_start(zone->sh, profile);

    if (start) {
        n = start->died;
        start->died = 0;
    }

    zone_unlock(zone);

    return n;
}


static zone_start_t *
zone_start(ngx_claude_zone_shared_t *sh, const ngx_claude_hash_t *profile)
{
    ngx_uint_t  i;

    for (i = 0; i < ngx_min(sh->nstarts, NGX_CLAUDE_ZONE_GATES); i++) {
        if (ngx_claude_hash_same(&sh->starts[i].profile, profile)) {
            return &sh->starts[i];
        }
    }

    return NULL;
}


static ngx_msec_t
zone_start_delay(zone_start_t *start)
{
    return (start->died > 6) ? ZONE_START_MOST
                             : ZONE_START_FIRST << (start->died - 1);
}
