
/*
 * The shared zone: what is known of the gate, by launch profile.
 *
 * What the processes of one worker have shown holds for all, so that a log
 * says it once.  There are more rows than profiles of any configuration that
 * is in use; where there are not, the oldest gives way and is found out anew.
 * So is all of it after a reload.
 */


#include "ngx_claude_zone_private.h"


static zone_gate_t *zone_gate(ngx_claude_zone_shared_t *sh,
    const ngx_claude_hash_t *profile);


ngx_uint_t
ngx_claude_zone_gate(ngx_claude_zone_t *zone, const ngx_claude_hash_t *profile)
{
    ngx_uint_t    state;
    zone_gate_t  *gate;

    zone_lock(zone);

    gate = zone_gate(zone->sh, profile);
    state = gate ? gate->state : 0;

    zone_unlock(zone);

    return state;
}


ngx_uint_t
ngx_claude_zone_gate_set(ngx_claude_zone_t *zone,
    const ngx_claude_hash_t *profile, ngx_uint_t state)
{
    ngx_uint_t    before;
    zone_gate_t  *gate;

    zone_lock(zone);

    gate = zone_gate(zone->sh, profile);

    if (gate == NULL) {
        gate = &zone->sh->gates[zone->sh->ngates++ % NGX_CLAUDE_ZONE_GATES];
        gate->profile = *profile;
        gate->state = 0;
    }

    before = gate->state;
    gate->state = state;

    zone_unlock(zone);

    return before;
}


static zone_gate_t *
zone_gate(ngx_claude_zone_shared_t *sh, const ngx_claude_hash_t *profile)
{
    ngx_uint_t  i;

    for (i = 0; i < ngx_min(sh->ngates, NGX_CLAUDE_ZONE_GATES); i++) {
        if (ngx_claude_hash_same(&sh->gates[i].profile, profile)) {
            return &sh->gates[i];
        }
    }

    return NULL;
}
