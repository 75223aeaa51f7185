
/*
 * Sessions.  See the header.
 */


#include "ngx_http_claude_session.h"
#include "ngx_claude_profile.h"
#include "ngx_claude_turn.h"

#include <uuid/uuid.h>


#define SESSION_UUID_LEN  36

/* kinds of name, hashed with it, so that names of two kinds never meet */
#define SESSION_ISSUED    "issued"
#define SESSION_HINT      "hint"

/* bytes of a UUID, 16 in all: random ones, then those of the check sum */
#define SESSION_RANDOM    9
#define SESSION_SUM       7


static ngx_table_elt_t *session_header(ngx_http_request_t *r);
static void session_sum(uuid_t uuid, const ngx_claude_hash_t *tenant,
    u_char *sum);
static ngx_uint_t session_issued(uuid_t uuid, const ngx_claude_hash_t *tenant);
static ngx_int_t session_issue(ngx_http_claude_ctx_t *ctx,
    ngx_claude_turn_t *turn);
static void session_own(ngx_claude_turn_t *turn, uuid_t name);
static void session_hash(ngx_claude_turn_t *turn, const char *what,
    u_char *name, size_t len, ngx_claude_hash_t *hash);


/* namespace of this module, made once with uuidgen */
static uuid_t  session_namespace = {
    0x5b, 0x0e, 0x6a, 0x0c, 0x41, 0x2f, 0x4f, 0x7e,
    0x9d, 0x55, 0x6e, 0x1c, 0x8a, 0x2f, 0x77, 0x10
};


ngx_int_t
ngx_http_claude_session(ngx_http_claude_ctx_t *ctx,
    ngx_claude_turn_t *turn, ngx_uint_t whole)
{
    char                        text[SESSION_UUID_LEN + 1];
    uuid_t                      uuid;
    ngx_table_elt_t            *h;
    ngx_claude_turn_session_t  *session;

    session = &turn->session;
    h = session_header(ctx->request);

    if (h == NULL || h->value.len == 0) {
        return session_issue(ctx, turn);
    }

    ngx_cpystrn((u_char *) text, h->value.data,
                ngx_min(h->value.len + 1, sizeof(text)));

    if (h->value.len != SESSION_UUID_LEN || uuid_parse(text, uuid) != 0) {

        /* a name of the client's own making: a hint, and no more */

        session_hash(turn, SESSION_HINT, h->value.data, h->value.len,
                     &session->hint);

        return session_issue(ctx, turn);
    }

    session->named = 1;
    session->continues = !whole;
    ctx->session = h->value;

    if (session_issued(uuid, &turn->tenant)) {
        session_hash(turn, SESSION_ISSUED, uuid, sizeof(uuid_t),
                     &session->hash);
        return NGX_OK;
    }

    session->kind = NGX_CLAUDE_SESSION_CHOSEN;
    session_own(turn, uuid);

    return NGX_OK;
}


void
ngx_http_claude_session_other(ngx_claude_turn_t *turn, ngx_uint_t n)
{
    u_char                      name[sizeof(ngx_claude_hash_t)
                                     + sizeof(ngx_uint_t)];
    ngx_claude_turn_session_t  *session;

    session = &turn->session;

    ngx_memcpy(name, &session->hash, sizeof(ngx_claude_hash_t));
    ngx_memcpy(name + sizeof(ngx_claude_hash_t), &n, sizeof(ngx_uint_t));

    session_hash(turn, SESSION_ISSUED, name, sizeof(name), &session->hash);

    session->kind = NGX_CLAUDE_SESSION_ISSUED;
    session->named = 0;
    session->id[0] = '\0';
}


/*
 * The CLI's id for it is of version 5: the client's name in a namespace that
 * is the API key's.
 */

static void
session_own(ngx_claude_turn_t *turn, uuid_t name)
{
    uuid_t  key, id;

    uuid_generate_sha1(key, session_namespace, (char *) turn->tenant.hash,
                       sizeof(turn->tenant.hash));
    uuid_generate_sha1(id, key, (char *) name, sizeof(uuid_t));

    uuid_unparse_lower(id, turn->session.id);

    /* two profiles with the same directory share its transcripts */

    session_hash(turn, turn->profile->transcripts,
                 (u_char *) turn->session.id, SESSION_UUID_LEN,
                 &turn->session.hash);
}


static void
session_hash(ngx_claude_turn_t *turn, const char *what, u_char *name,
    size_t len, ngx_claude_hash_t *hash)
{
    ngx_sha1_t  sha1;

    ngx_sha1_init(&sha1);
    ngx_sha1_update(&sha1, what, ngx_strlen(what) + 1);
    ngx_claude_hash_add(&sha1, &turn->tenant);
    ngx_sha1_update(&sha1, name, len);
    ngx_claude_hash_final(hash, &sha1);
}


static ngx_table_elt_t *
session_header(ngx_http_request_t *r)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    part = &r->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                return NULL;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].key.len == sizeof("x-session-id") - 1
            && ngx_strncasecmp(h[i].lowcase_key, (u_char *) "x-session-id",
                               sizeof("x-session-id") - 1)
               == 0)
        {
            return &h[i];
        }
    }
}


/* the bits that RFC 9562 takes for version and variant stay out of the sum */

static void
session_sum(uuid_t uuid, const ngx_claude_hash_t *tenant, u_char *sum)
{
    ngx_sha1_t         sha1;
    ngx_claude_hash_t  hash;

    ngx_sha1_init(&sha1);
    ngx_sha1_update(&sha1, "session", sizeof("session"));
    ngx_claude_hash_add(&sha1, tenant);
    ngx_sha1_update(&sha1, uuid, SESSION_RANDOM);
    ngx_claude_hash_final(&hash, &sha1);

    ngx_memcpy(sum, hash.hash, SESSION_SUM);
}


static ngx_uint_t
session_issued(uuid_t uuid, const ngx_claude_hash_t *tenant)
{
    u_char  sum[SESSION_SUM];

    session_sum(uuid, tenant, sum);

    return (uuid[6] & 0xf0) == 0x80
           && ngx_memcmp(uuid + SESSION_RANDOM, sum, SESSION_SUM) == 0;
}


static ngx_int_t
session_issue(ngx_http_claude_ctx_t *ctx, ngx_claude_turn_t *turn)
{
    char    text[SESSION_UUID_LEN + 1];
    uuid_t  uuid;

    uuid_generate_random(uuid);

    uuid[6] = (uuid[6] & 0x0f) | 0x80;
    uuid[8] = (uuid[8] & 0x3f) | 0x80;

    session_sum(uuid, &turn->tenant, uuid + SESSION_RANDOM);
    uuid_unparse_lower(uuid, text);

    session_hash(turn, SESSION_ISSUED, uuid, sizeof(uuid_t),
                 &turn->session.hash);

    ctx->session.data = ngx_pnalloc(ctx->request->pool, SESSION_UUID_LEN);
    if (ctx->session.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->session.len = SESSION_UUID_LEN;
    ngx_memcpy(ctx->session.data, text, SESSION_UUID_LEN);

    return NGX_OK;
}
