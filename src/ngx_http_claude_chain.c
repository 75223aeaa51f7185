
/*
 * The chain of a conversation.  See the header.
 */


#include "ngx_http_claude_chain.h"
#include "ngx_http_claude_profile.h"


/* before each text, so that texts cannot run into each other */
#define CHAIN_USER       "\0u"
#define CHAIN_ASSISTANT  "\0a"
#define CHAIN_TEXT       "\0t"


static void chain_root(ngx_http_claude_turn_t *turn,
    ngx_http_claude_link_t *root);
static void chain_string(ngx_sha1_t *sha1, ngx_str_t *s);
static size_t chain_trimmed(u_char *p, size_t len);


#define chain_space(ch)                                                       \
    ((ch) == ' ' || ((ch) >= '\t' && (ch) <= '\r'))


ngx_http_claude_link_t *
ngx_http_claude_chain(ngx_http_claude_turn_t *turn)
{
    u_char                       *p;
    size_t                        len;
    ngx_str_t                    *text;
    ngx_uint_t                    i, j;
    ngx_sha1_t                    sha1;
    ngx_http_claude_link_t       *links;
    ngx_http_claude_message_t    *message;

    links = ngx_palloc(turn->pool, (turn->messages.nelts + 1)
                                   * sizeof(ngx_http_claude_link_t));
    if (links == NULL) {
        return NULL;
    }

    chain_root(turn, &links[0]);

    message = turn->messages.elts;

    for (i = 0; i < turn->messages.nelts; i++) {

        ngx_sha1_init(&sha1);
        ngx_sha1_update(&sha1, links[i].hash, NGX_HTTP_CLAUDE_LINK_LEN);
        ngx_sha1_update(&sha1, (message[i].role == NGX_HTTP_CLAUDE_USER)
                               ? CHAIN_USER : CHAIN_ASSISTANT, 2);

        text = message[i].texts.elts;

        for (j = 0; j < message[i].texts.nelts; j++) {

            if (j) {
                ngx_sha1_update(&sha1, CHAIN_TEXT, 2);
            }

            p = text[j].data;
            len = text[j].len;

            /* what the model said comes back trimmed from many a client */

            if (message[i].role == NGX_HTTP_CLAUDE_ASSISTANT) {

                while (len && chain_space(*p)) {
                    p++;
                    len--;
                }

                len = chain_trimmed(p, len);
            }

            ngx_sha1_update(&sha1, p, len);
        }

        ngx_sha1_final(links[i + 1].hash, &sha1);
    }

    return links;
}


void
ngx_http_claude_link_begin(ngx_http_claude_link_text_t *text,
    ngx_http_claude_link_t *before)
{
    ngx_sha1_init(&text->all);
    ngx_sha1_update(&text->all, before->hash, NGX_HTTP_CLAUDE_LINK_LEN);
    ngx_sha1_update(&text->all, CHAIN_ASSISTANT, 2);

    text->trimmed = text->all;
    text->begun = 0;
}


void
ngx_http_claude_link_add(ngx_http_claude_link_text_t *text, u_char *p,
    size_t len)
{
    size_t  n;

    if (!text->begun) {

        while (len && chain_space(*p)) {
            p++;
            len--;
        }

        if (len == 0) {
            return;
        }

        text->begun = 1;
    }

    n = chain_trimmed(p, len);

    if (n) {
        ngx_sha1_update(&text->all, p, n);
        text->trimmed = text->all;
    }

    ngx_sha1_update(&text->all, p + n, len - n);
}


void
ngx_http_claude_link_end(ngx_http_claude_link_text_t *text,
    ngx_http_claude_link_t *link)
{
    ngx_sha1_final(link->hash, &text->trimmed);
}


static void
chain_root(ngx_http_claude_turn_t *turn, ngx_http_claude_link_t *root)
{
    ngx_sha1_t  sha1;

    ngx_sha1_init(&sha1);
    ngx_sha1_update(&sha1, turn->tenant, NGX_HTTP_CLAUDE_TENANT_LEN);
    ngx_sha1_update(&sha1, turn->profile->hash, sizeof(turn->profile->hash));

    chain_string(&sha1, &turn->model);
    chain_string(&sha1, &turn->system);

    ngx_sha1_final(root->hash, &sha1);
}


static void
chain_string(ngx_sha1_t *sha1, ngx_str_t *s)
{
    ngx_sha1_update(sha1, &s->len, sizeof(size_t));
    ngx_sha1_update(sha1, s->data, s->len);
}


/* the length without the white space at the end */

static size_t
chain_trimmed(u_char *p, size_t len)
{
    while (len && chain_space(p[len - 1])) {
        len--;
    }

    return len;
}
