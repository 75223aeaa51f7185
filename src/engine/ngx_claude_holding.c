
/*
 * What a process holds.  See the header.
 */


#include "ngx_claude_holding.h"


static ngx_claude_held_t *holding_push(ngx_claude_holding_t *holding,
    ngx_array_t *held);


ngx_int_t
ngx_claude_holding_add(ngx_claude_holding_t *holding, ngx_array_t *held,
    ngx_claude_link_t *link, ngx_uint_t line)
{
    ngx_claude_held_t  *message;

    message = holding_push(holding, held);
    if (message == NULL) {
        return NGX_ERROR;
    }

    message->link = *link;
    message->line = line;

    return NGX_OK;
}


ngx_int_t
ngx_claude_holding_answer(ngx_claude_holding_t *holding, ngx_array_t *held,
    ngx_claude_link_t *link)
{
    ngx_claude_held_t  *message;

    message = holding_push(holding, held);
    if (message == NULL) {
        return NGX_ERROR;
    }

    message->link = *link;
    message->own = 1;

    return NGX_OK;
}


/* zeroed, with its padding: it may go through a socket */

static ngx_claude_held_t *
holding_push(ngx_claude_holding_t *holding, ngx_array_t *held)
{
    ngx_claude_held_t  *message;

    message = ngx_claude_turn_push(held);
    if (message == NULL) {
        return NULL;
    }

    ngx_memzero(message, sizeof(ngx_claude_held_t));

    holding->nheld = held->nelts;

    return message;
}


ngx_uint_t
ngx_claude_holding_cut(const ngx_claude_holding_t *holding,
    const ngx_claude_held_t *held, ngx_uint_t n)
{
    if (n == holding->nheld && !holding->waiting) {
        return n;
    }

    /* the first message is always a line of the user */

    while (n && (n == holding->nheld || held[n].line == 0)) {
        n--;
    }

    return n;
}


ngx_uint_t
ngx_claude_holding_rewind(ngx_claude_holding_t *holding, ngx_array_t *held,
    ngx_uint_t keep)
{
    ngx_uint_t          n, line;
    ngx_claude_held_t  *message;

    message = held->elts;
    line = message[keep].line;

    held->nelts = keep;
    holding->nheld = keep;

    /* the newest line of the user among those that stay, for the next time */

    holding->newest = 0;

    for (n = keep; n && holding->newest == 0; n--) {
        holding->newest = message[n - 1].line;
    }

    return line;
}


/*
 * A process that takes up a transcript takes model and system text from the
 * last answer in it that is the CLI's own.
 */

ngx_uint_t
ngx_claude_holding_bare(const ngx_claude_holding_t *holding,
    const ngx_claude_held_t *held, ngx_uint_t n)
{
    ngx_uint_t  i;

    for (i = 0; i < n; i++) {
        if (held[i].own) {
            return 0;
        }
    }

    return n && holding->base == 0;
}


void
ngx_claude_holding_sum(const ngx_str_t *s, ngx_claude_hash_t *sum)
{
    ngx_sha1_t  sha1;

    ngx_sha1_init(&sha1);
    ngx_sha1_update(&sha1, s->data, s->len);
    ngx_claude_hash_final(sum, &sha1);
}


uint64_t
ngx_claude_holding_knobs(const ngx_claude_turn_t *turn)
{
    return ((uint64_t) turn->max_tokens << 8) | (turn->effort << 1)
           | turn->thoughtless;
}


/* a process with a conversation keeps to the binary that it began with */

ngx_uint_t
ngx_claude_holding_outdated(const ngx_claude_holding_t *holding,
    const ngx_claude_profile_t *profile)
{
    return !holding->used && holding->mtime && profile->mtime
           && (holding->inode != profile->inode
               || holding->mtime != profile->mtime);
}
