
/*
 * Stop sequences of only white space, which the provider does not take: they
 * are looked for here, in what the model writes, across its pieces.
 *
 * Text that may be the beginning of one is held back.  It is a beginning of a
 * sequence, so it need not be kept.
 */


#include "ngx_http_claude_chat.h"


static ngx_uint_t stops_next(ngx_http_claude_chat_stop_t *stop, u_char ch);
static ngx_int_t stops_borders(ngx_pool_t *pool,
    ngx_http_claude_chat_stop_t *stop);
static ngx_http_claude_chat_stop_t *stops_longest(
    ngx_http_claude_chat_choice_t *choice);


ngx_int_t
ngx_http_claude_chat_stops_add(ngx_http_claude_chat_t *chat, ngx_str_t *text)
{
    ngx_http_claude_chat_stop_t  *stop;

    if (chat->stops.elts == NULL
        && ngx_array_init(&chat->stops, chat->turn.pool, 2,
                          sizeof(ngx_http_claude_chat_stop_t))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    stop = ngx_array_push(&chat->stops);
    if (stop == NULL) {
        return NGX_ERROR;
    }

    stop->text = *text;
    stop->matched = 0;

    return stops_borders(chat->turn.pool, stop);
}


ngx_int_t
ngx_http_claude_chat_stops_init(ngx_http_claude_chat_choice_t *choice)
{
    ngx_array_t                  *all;
    ngx_http_claude_chat_stop_t  *stop;

    all = &choice->chat->stops;

    if (all->nelts == 0) {
        return NGX_OK;
    }

    if (ngx_array_init(&choice->stops, choice->turn.pool, all->nelts,
                       sizeof(ngx_http_claude_chat_stop_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* there is room for them */

    stop = ngx_array_push_n(&choice->stops, all->nelts);

    ngx_memcpy(stop, all->elts,
               all->nelts * sizeof(ngx_http_claude_chat_stop_t));

    return NGX_OK;
}


size_t
ngx_http_claude_chat_stops(ngx_http_claude_chat_choice_t *choice, u_char *p,
    size_t len, ngx_str_t *held, size_t *keep)
{
    size_t                        i, before, end;
    ngx_uint_t                    n, found;
    ngx_http_claude_chat_stop_t  *stop, *longest;

    longest = stops_longest(choice);
    before = longest->matched;

    held->data = longest->text.data;

    stop = choice->stops.elts;
    found = 0;
    end = 0;

    for (i = 0; i < len && !found; i++) {
        for (n = 0; n < choice->stops.nelts; n++) {
            if (stops_next(&stop[n], p[i])) {

                /* of two that end here the longer one began first */

                found = 1;
                end = ngx_max(end, stop[n].text.len);
            }
        }
    }

    /* what is behind the text that goes out: a stop, or a beginning of one */

    if (!found) {
        end = stops_longest(choice)->matched;
    }

    end = before + i - end;

    held->len = ngx_min(end, before);
    *keep = end - held->len;

    return found ? before + len - end : 0;
}


void
ngx_http_claude_chat_stops_end(ngx_http_claude_chat_choice_t *choice,
    ngx_str_t *held)
{
    ngx_http_claude_chat_stop_t  *longest;

    longest = stops_longest(choice);

    held->data = longest->text.data;
    held->len = longest->matched;
}


/* whether the sequence is complete with this byte */

static ngx_uint_t
stops_next(ngx_http_claude_chat_stop_t *stop, u_char ch)
{
    while (stop->matched && stop->text.data[stop->matched] != ch) {
        stop->matched = stop->border[stop->matched];
    }

    if (stop->text.data[stop->matched] == ch) {
        stop->matched++;
    }

    return stop->matched == stop->text.len;
}


/*
 * Made once (Knuth, Morris and Pratt): sequences have no limit, and neither
 * has the white space that a model can be asked for.
 */

static ngx_int_t
stops_borders(ngx_pool_t *pool, ngx_http_claude_chat_stop_t *stop)
{
    u_char      *text;
    uint32_t    *border;
    ngx_uint_t   i, n;

    text = stop->text.data;

    border = ngx_palloc(pool, (stop->text.len + 1) * sizeof(uint32_t));
    if (border == NULL) {
        return NGX_ERROR;
    }

    stop->border = border;

    border[0] = 0;
    border[1] = 0;
    n = 0;

    for (i = 1; i < stop->text.len; i++) {

        while (n && text[n] != text[i]) {
            n = border[n];
        }

        n += (text[n] == text[i]);
        border[i + 1] = n;
    }

    return NGX_OK;
}


static ngx_http_claude_chat_stop_t *
stops_longest(ngx_http_claude_chat_choice_t *choice)
{
    ngx_uint_t                    n;
    ngx_http_claude_chat_stop_t  *stop, *longest;

    stop = choice->stops.elts;
    longest = stop;

    for (n = 1; n < choice->stops.nelts; n++) {
        if (stop[n].matched > longest->matched) {
            longest = &stop[n];
        }
    }

    return longest;
}
