
/*
 * The shared zone: the models that the CLI lists, by launch profile.
 *
 * What a process of one worker has told holds for all workers, for a while.
 * There are a few rows, the oldest of which gives way.
 */


#include "ngx_claude_zone_private.h"


#define ZONE_MODELS_AGE  3600                  /* seconds */


static zone_models_t *zone_models(ngx_claude_zone_shared_t *sh,
    const ngx_claude_hash_t *profile);


ngx_uint_t
ngx_claude_zone_models_known(ngx_claude_zone_t *zone,
    const ngx_claude_hash_t *profile)
{
    ngx_uint_t      known;
    zone_models_t  *models;

    zone_lock(zone);

    models = zone_models(zone->sh, profile);
    known = models && ngx_time() - models->since < ZONE_MODELS_AGE;

    zone_unlock(zone);

    return known;
}


void
ngx_claude_zone_models_set(ngx_claude_zone_t *zone,
    const ngx_claude_hash_t *profile, ngx_str_t *names)
{
    ngx_uint_t      i;
    zone_models_t  *models, *all;

    zone_lock(zone);

    models = zone_models(zone->sh, profile);

    if (models == NULL) {
        all = zone->sh->models;
        models = all;

        for (i = 1; i < NGX_CLAUDE_ZONE_PROFILES; i++) {
            if (all[i].since < models->since) {
                models = &all[i];
            }
        }

        models->profile = *profile;
    }

    models->since = ngx_time();
    models->len = ngx_min(names->len, sizeof(models->names));

    if (models->len) {
        ngx_memcpy(models->names, names->data, models->len);
    }

    zone_unlock(zone);
}


size_t
ngx_claude_zone_models(ngx_claude_zone_t *zone,
    const ngx_claude_hash_t *profile, u_char buf[NGX_CLAUDE_ZONE_MODELS])
{
    size_t          len;
    zone_models_t  *models;

    len = 0;

    zone_lock(zone);

    models = zone_models(zone->sh, profile);

    if (models) {
        len = ngx_min(models->len, sizeof(models->names));
        ngx_memcpy(buf, models->names, len);
    }

    zone_unlock(zone);

    return len;
}


static zone_models_t *
zone_models(ngx_claude_zone_shared_t *sh, const ngx_claude_hash_t *profile)
{
    ngx_uint_t      i;
    zone_models_t  *models;

    models = sh->models;

    for (i = 0; i < NGX_CLAUDE_ZONE_PROFILES; i++) {
        if (models[i].since
            && ngx_claude_hash_same(&models[i].profile, profile))
        {
            return &models[i];
        }
    }

    return NULL;
}
