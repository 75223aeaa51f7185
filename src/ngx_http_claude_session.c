
/*
 * Sessions.  See the header.
 */


#include "ngx_http_claude_session.h"
#include "ngx_http_claude_error.h"
#include "ngx_http_claude_turn.h"

#include <uuid/uuid.h>
#include <ngx_sha1.h>


/* nginx has no name for it; ours, since a session was there once */
#define SESSION_GONE      410

#define SESSION_UUID_LEN  36

/* of the 16 bytes of a UUID: random ones, then those of the check sum */
#define SESSION_RANDOM    9
#define SESSION_SUM       7


static ngx_table_elt_t *session_header(ngx_http_request_t *r);
static void session_sum(uuid_t uuid, u_char *tenant, u_char *sum);
static ngx_uint_t session_issued(uuid_t uuid, u_char *tenant);
static ngx_int_t session_issue(ngx_http_claude_ctx_t *ctx, u_char *tenant);


ngx_int_t
ngx_http_claude_session(ngx_http_claude_ctx_t *ctx, u_char *tenant,
    ngx_uint_t whole)
{
    char              text[SESSION_UUID_LEN + 1];
    uuid_t            uuid;
    ngx_table_elt_t  *h;

    h = session_header(ctx->request);

    if (h == NULL || h->value.len != SESSION_UUID_LEN) {
        return session_issue(ctx, tenant);
    }

    ngx_cpystrn((u_char *) text, h->value.data, sizeof(text));

    if (uuid_parse(text, uuid) != 0) {

        /* a name of the client's own making: a hint, and no more */

        return session_issue(ctx, tenant);
    }

    if (!whole && session_issued(uuid, tenant)) {
        ctx->error.final = 1;
        return ngx_http_claude_error(ctx, SESSION_GONE, "session_expired",
                   NULL, "The session has expired: no process holds its "
                   "conversation any more. Send the whole history.");
    }

    ctx->session = h->value;

    return NGX_OK;
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
session_sum(uuid_t uuid, u_char *tenant, u_char *sum)
{
    u_char      hash[20];
    ngx_sha1_t  sha1;

    ngx_sha1_init(&sha1);
    ngx_sha1_update(&sha1, "session", sizeof("session"));
    ngx_sha1_update(&sha1, tenant, NGX_HTTP_CLAUDE_TENANT_LEN);
    ngx_sha1_update(&sha1, uuid, SESSION_RANDOM);
    ngx_sha1_final(hash, &sha1);

    ngx_memcpy(sum, hash, SESSION_SUM);
}


static ngx_uint_t
session_issued(uuid_t uuid, u_char *tenant)
{
    u_char  sum[SESSION_SUM];

    session_sum(uuid, tenant, sum);

    return (uuid[6] & 0xf0) == 0x80
           && ngx_memcmp(uuid + SESSION_RANDOM, sum, SESSION_SUM) == 0;
}


static ngx_int_t
session_issue(ngx_http_claude_ctx_t *ctx, u_char *tenant)
{
    char    text[SESSION_UUID_LEN + 1];
    uuid_t  uuid;

    uuid_generate_random(uuid);

    uuid[6] = (uuid[6] & 0x0f) | 0x80;
    uuid[8] = (uuid[8] & 0x3f) | 0x80;

    session_sum(uuid, tenant, uuid + SESSION_RANDOM);
    uuid_unparse_lower(uuid, text);

    ctx->session.data = ngx_pnalloc(ctx->request->pool, SESSION_UUID_LEN);
    if (ctx->session.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->session.len = SESSION_UUID_LEN;
    ngx_memcpy(ctx->session.data, text, SESSION_UUID_LEN);

    return NGX_OK;
}
