
/*
 * Stop sequences of only white space, which the provider does not take: they
 * are looked for here, in what the model writes, across its pieces.
 *
 * Text that may be the beginning of one is held back.  It is a beginning of a
 * sequence, so it need not be kept.
 */


#include "ngx_http_claude_filter.h"


static ngx_int_t stops_delta(ngx_http_claude_filter_t *filter, u_char *p,
    size_t len);
static ngx_int_t stops_end(ngx_http_claude_filter_t *filter);
static size_t stops_search(ngx_http_claude_filter_stops_t *stops, u_char *p,
    size_t len, size_t *end);
static ngx_uint_t stops_next(ngx_http_claude_stop_t *stop, u_char ch);
static ngx_int_t stops_borders(ngx_pool_t *pool,
    ngx_http_claude_stop_t *stop);
static ngx_http_claude_stop_t *stops_longest(
    ngx_http_claude_filter_stops_t *stops);


ngx_int_t
ngx_http_claude_stops_add(ngx_array_t *stops, ngx_pool_t *pool,
    ngx_str_t *text)
{
    ngx_http_claude_stop_t  *stop;

    if (stops->elts == NULL
        && ngx_array_init(stops, pool, 2, sizeof(ngx_http_claude_stop_t))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    stop = ngx_array_push(stops);
    if (stop == NULL) {
        return NGX_ERROR;
    }

    stop->text = *text;
    stop->matched = 0;

    return stops_borders(pool, stop);
}


ngx_int_t
ngx_http_claude_filter_stops(ngx_http_claude_filter_stops_t *stops,
    ngx_http_claude_filter_t *next, ngx_pool_t *pool, ngx_array_t *all)
{
    ngx_http_claude_stop_t  *stop;

    stops->filter.next = next;
    stops->filter.pool = pool;
    stops->filter.delta = stops_delta;
    stops->filter.end = stops_end;

    if (ngx_array_init(&stops->stops, pool, all->nelts,
                       sizeof(ngx_http_claude_stop_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* room for all was made above */

    stop = ngx_array_push_n(&stops->stops, all->nelts);

    ngx_memcpy(stop, all->elts, all->nelts * sizeof(ngx_http_claude_stop_t));

    return NGX_OK;
}


static ngx_int_t
stops_delta(ngx_http_claude_filter_t *filter, u_char *p, size_t len)
{
    size_t                           end, before, surplus;
    ngx_str_t                        held;
    ngx_http_claude_stop_t          *longest;
    ngx_http_claude_filter_t        *next;
    ngx_http_claude_filter_stops_t  *stops;

    stops = (ngx_http_claude_filter_stops_t *) filter;
    next = filter->next;

    if (stops->done) {
        return NGX_OK;
    }

    longest = stops_longest(stops);

    held.data = longest->text.data;
    before = longest->matched;

    surplus = stops_search(stops, p, len, &end);

    /* held text goes out first, then the piece, up to the end of both */

    held.len = ngx_min(end, before);
    end -= held.len;

    if ((held.len && next->delta(next, held.data, held.len) != NGX_OK)
        || (end && next->delta(next, p, end) != NGX_OK))
    {
        return NGX_ERROR;
    }

    if (surplus) {
        stops->done = 1;
        stops->surplus = surplus;

        return NGX_DONE;
    }

    return NGX_OK;
}


/*
 * Where the text that goes out ends, counted from what was held; returns the
 * length of what is no part of it any more, 0 if no sequence was found.
 */

static size_t
stops_search(ngx_http_claude_filter_stops_t *stops, u_char *p, size_t len,
    size_t *end)
{
    size_t                   i, before, behind;
    ngx_uint_t               n, found;
    ngx_http_claude_stop_t  *stop;

    before = stops_longest(stops)->matched;
    stop = stops->stops.elts;
    found = 0;
    behind = 0;

    for (i = 0; i < len && !found; i++) {
        for (n = 0; n < stops->stops.nelts; n++) {
            if (stops_next(&stop[n], p[i])) {

                /* two that end here: the longer one began first */

                found = 1;
                behind = ngx_max(behind, stop[n].text.len);
            }
        }
    }

    /* behind the text that goes out is a stop, or the beginning of one */

    if (!found) {
        behind = stops_longest(stops)->matched;
    }

    *end = before + i - behind;

    return found ? before + len - *end : 0;
}


static ngx_int_t
stops_end(ngx_http_claude_filter_t *filter)
{
    ngx_http_claude_stop_t          *longest;
    ngx_http_claude_filter_t        *next;
    ngx_http_claude_filter_stops_t  *stops;

    stops = (ngx_http_claude_filter_stops_t *) filter;
    next = filter->next;

    if (!stops->done) {
        longest = stops_longest(stops);

        if (longest->matched
            && next->delta(next, longest->text.data, longest->matched)
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return next->end(next);
}


/* whether the sequence is complete with this byte */

static ngx_uint_t
stops_next(ngx_http_claude_stop_t *stop, u_char ch)
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
stops_borders(ngx_pool_t *pool, ngx_http_claude_stop_t *stop)
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


static ngx_http_claude_stop_t *
stops_longest(ngx_http_claude_filter_stops_t *stops)
{
    ngx_uint_t               n;
    ngx_http_claude_stop_t  *stop, *longest;

    stop = stops->stops.elts;
    longest = stop;

    for (n = 1; n < stops->stops.nelts; n++) {
        if (stop[n].matched > longest->matched) {
            longest = &stop[n];
        }
    }

    return longest;
}
