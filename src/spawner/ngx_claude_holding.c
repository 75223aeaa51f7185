
/*
 * The holding of a process.  See the header.
 */


#include "ngx_claude_holding.h"


/* factor of a sum: odd, its bits spread (2^64 by the golden ratio) */
#define HOLDING_SUM      0x9e3779b97f4a7c15ULL

/* messages of the longest conversation that is resumed */
#define HOLDING_RESUMED  1000000


static ngx_claude_held_t *holding_push(ngx_claude_holding_t *holding,
    ngx_array_t *held);
static uint64_t holding_sum(uint64_t sum, const ngx_str_t *s);
static ngx_inline uint64_t holding_sum_word(uint64_t sum, uint64_t word);


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
ngx_claude_holding_results(ngx_claude_holding_t *holding, ngx_array_t *held,
    ngx_claude_link_t *link, ngx_uint_t line)
{
    ngx_claude_held_t  *message;

    if (ngx_claude_holding_add(holding, held, link, line) != NGX_OK) {
        return NGX_ERROR;
    }

    message = held->elts;
    message[held->nelts - 1].results = 1;

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
    message->by_cli = 1;

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

    while (n && (n == holding->nheld || held[n].line == 0
                 || held[n].results))
    {
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
        if (held[i].by_cli) {
            return 0;
        }
    }

    return n && holding->base == 0;
}


void
ngx_claude_holding_record(ngx_claude_holding_t *recorded,
    const ngx_claude_holding_t *holding, ngx_uint_t n)
{
    ngx_memcpy(recorded, holding, sizeof(ngx_claude_holding_t));

    recorded->nheld = n;
    recorded->used = 0;
    recorded->owned = 0;
    recorded->settings = 0;

    ngx_memzero(&recorded->profile, sizeof(ngx_claude_hash_t));
    ngx_memzero(&recorded->tenant, sizeof(ngx_claude_hash_t));
    ngx_memzero(&recorded->session, sizeof(ngx_claude_hash_t));
    ngx_memzero(&recorded->hint, sizeof(ngx_claude_hash_t));
    ngx_memzero(&recorded->root, sizeof(ngx_claude_link_t));
    ngx_memzero(recorded->nonce, NGX_CLAUDE_NONCE_LEN);
}


/* questions and their answers: each is recorded when both are there */

ngx_uint_t
ngx_claude_holding_resumable(const ngx_claude_holding_t *recorded)
{
    return recorded->nheld <= HOLDING_RESUMED && recorded->nheld % 2 == 0;
}


ngx_int_t
ngx_claude_holding_resume(ngx_claude_holding_t *holding, ngx_array_t *held,
    const ngx_claude_holding_t *recorded, const ngx_claude_link_t *tip)
{
    uint32_t            n;
    ngx_claude_held_t  *message;

    if (!ngx_claude_holding_resumable(recorded)) {
        return NGX_ERROR;
    }

    n = recorded->nheld;

    if (n == 0) {
        return NGX_OK;
    }

    message = ngx_array_push_n(held, n);
    if (message == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(message, n * sizeof(ngx_claude_held_t));
    message[n - 1].link = *tip;

    holding->model = recorded->model;
    holding->system = recorded->system;
    holding->base = n;
    holding->nheld = n;

    return NGX_OK;
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


uint64_t
ngx_claude_holding_settings(const ngx_claude_holding_t *holding,
    const ngx_claude_turn_t *turn)
{
    uint64_t            sum;
    ngx_str_t          *stop, s;
    ngx_uint_t          i, words;
    ngx_claude_hash_t   tools;

    words = turn->summarized && !turn->thoughtless;

    if (turn->stops.nelts == 0 && turn->temperature.len == 0
        && turn->top_p.len == 0 && turn->tools_json.len == 0
        && turn->tool_choice.len == 0 && turn->schema.len == 0 && !words)
    {
        return 0;
    }

    ngx_memcpy(&sum, holding->nonce, sizeof(uint64_t));
    sum ^= (turn->stops.nelts << 1) | words;

    stop = turn->stops.elts;

    for (i = 0; i < turn->stops.nelts; i++) {
        sum = holding_sum(sum, &stop[i]);
    }

    sum = holding_sum(sum, &turn->temperature);
    sum = holding_sum(sum, &turn->top_p);
    sum = holding_sum(sum, &turn->tool_choice);
    sum = holding_sum(sum, &turn->schema);

    if (turn->tools_json.len) {
        ngx_claude_chain_tools(turn, &tools);

        s.data = tools.hash;
        s.len = sizeof(tools.hash);

        sum = holding_sum(sum, &s);
    }

    return sum ? sum : 1;
}


/* adds a string and its length, 8 bytes at a time */

static uint64_t
holding_sum(uint64_t sum, const ngx_str_t *s)
{
    u_char    *p, *last;
    uint64_t   word;

    sum = holding_sum_word(sum, s->len);

    p = s->data;
    last = p + s->len;

    for ( /* void */ ; last - p >= 8; p += 8) {
        ngx_memcpy(&word, p, 8);
        sum = holding_sum_word(sum, word);
    }

    if (p < last) {
        word = 0;
        ngx_memcpy(&word, p, last - p);
        sum = holding_sum_word(sum, word);
    }

    return sum;
}


/* each step can be undone: another sum or word gives another result */

static ngx_inline uint64_t
holding_sum_word(uint64_t sum, uint64_t word)
{
    sum = (sum ^ word) * HOLDING_SUM;

    return sum ^ (sum >> 32);
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
