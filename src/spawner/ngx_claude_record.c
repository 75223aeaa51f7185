
/*
 * Records: what a process that is about to start asks of them.  See the
 * header; the files are the spawner's.
 */


#include "ngx_claude_record.h"
#include "ngx_claude_chain.h"
#include "ngx_claude_profile.h"

#include <uuid/uuid.h>


static void record_begin(ngx_claude_record_ask_t *ask, time_t ttl);


ngx_claude_record_ask_t *
ngx_claude_record_ask(ngx_claude_turn_t *turn, time_t ttl,
    ngx_claude_record_ask_t *ask)
{
    u_char                     *p;
    ngx_uint_t                  n;
    ngx_claude_link_t          *links;
    ngx_claude_turn_session_t  *session;

    session = &turn->session;
    links = turn->engine.links;
    n = turn->messages.nelts;

    if (session->kind == NGX_CLAUDE_SESSION_CHOSEN && session->owner) {

        record_begin(ask, ttl);
        ngx_memcpy(ask->session, session->id, sizeof(ask->session));

        ask->mode = session->continues ? NGX_CLAUDE_RECORD_CONTINUE
                                       : NGX_CLAUDE_RECORD_MATCH;

    } else if (turn->profile->agent) {

        record_begin(ask, ttl);

        if (n == 1) {
            return ask;
        }

        /*
         * Nobody can name an agent's conversation: its record is called by
         * what it holds.
         */

        p = ngx_hex_dump((u_char *) ask->name, links[n - 1].hash,
                         sizeof(links[n - 1].hash));
        *p = '\0';

        ask->mode = NGX_CLAUDE_RECORD_MATCH;

    } else {
        return NULL;
    }

    ask->tip = links[n - 1];

    /* a transcript that has failed once will do so again */

    if (turn->engine.retried && !session->continues) {
        ask->mode = NGX_CLAUDE_RECORD_FRESH;
    }

    return ask;
}


ngx_claude_record_ask_t *
ngx_claude_record_ask_warm(ngx_claude_profile_t *profile,
    time_t ttl, ngx_claude_record_ask_t *ask)
{
    if (!profile->agent) {
        return NULL;
    }

    record_begin(ask, ttl);

    return ask;
}


static void
record_begin(ngx_claude_record_ask_t *ask, time_t ttl)
{
    uuid_t  uuid;

    ngx_memzero(ask, sizeof(ngx_claude_record_ask_t));

    uuid_generate_random(uuid);
    uuid_unparse_lower(uuid, ask->session);

    ask->mode = NGX_CLAUDE_RECORD_FRESH;
    ask->ttl = (uint32_t) ttl;
}
