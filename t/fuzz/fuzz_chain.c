
/*
 * The chain of a conversation, and $claude_conversation.  The input is a chat
 * request.  One copy of it is rewritten so that it means the same, another so
 * that it may not; what the links must be follows from a text of each message
 * in which nothing can be confused.
 */


#include "fuzz.h"

#include <stdio.h>

#include "ngx_claude_chain.h"

#include "ngx_http_claude_conversation.c"


#define CHAIN_SPACE  " \t\n\v\f\r"


typedef struct {
    fuzz_request_t     *fake;
    fuzz_tree_t  *body;
    ngx_claude_turn_t  *turn;          /* NULL: it is an error */
    ngx_claude_link_t  *links;
    ngx_str_t          *normal;        /* the root's, and of each message */
} chain_case_t;


int LLVMFuzzerTestOneInput(const uint8_t *p, size_t len);


/* of the text of a message: strings with their lengths */

typedef struct {
    u_char                  *p;
    size_t                   len;
    size_t                   size;
    ngx_pool_t              *pool;
} chain_text_t;


static void
chain_add(chain_text_t *text, const void *p, size_t len)
{
    u_char  *new;

    if (text->len + len > text->size) {
        text->size = 2 * (text->len + len);

        new = ngx_pnalloc(text->pool, text->size);
        fuzz_check(new != NULL);

        if (text->len) {
            ngx_memcpy(new, text->p, text->len);
        }

        text->p = new;
    }

    if (len) {
        ngx_memcpy(text->p + text->len, p, len);
        text->len += len;
    }
}


static void
chain_add_string(chain_text_t *text, ngx_str_t s)
{
    char  number[32];

    chain_add(text, number, snprintf(number, sizeof(number), "%zu:", s.len));
    chain_add(text, s.data, s.len);
}


static ngx_str_t
chain_trim(ngx_str_t s)
{
    while (s.len && s.data[0] && strchr(CHAIN_SPACE, s.data[0])) {
        s.data++;
        s.len--;
    }

    while (s.len && s.data[s.len - 1]
           && strchr(CHAIN_SPACE, s.data[s.len - 1]))
    {
        s.len--;
    }

    return s;
}


static void
chain_add_blocks(chain_text_t *text, ngx_array_t *blocks)
{
    ngx_uint_t           i;
    ngx_claude_block_t  *block;

    block = blocks->elts;

    chain_add(text, "[", 1);

    for (i = 0; i < blocks->nelts; i++) {
        chain_add(text, &"tidur"[block[i].type], 1);
        chain_add_string(text, block[i].text);
        chain_add_string(text, block[i].media);
        chain_add_string(text, block[i].name);
        chain_add_string(text, block[i].id);

        if (block[i].content) {
            chain_add_blocks(text, block[i].content);
        }
    }

    chain_add(text, "]", 1);
}


static void
chain_add_answer(chain_text_t *text, ngx_array_t *blocks)
{
    ngx_str_t            input;
    ngx_uint_t           i;
    ngx_claude_block_t  *block;

    block = blocks->elts;

    for (i = 0; i < blocks->nelts; i++) {
        if (block[i].type == NGX_CLAUDE_TEXT) {
            chain_add_string(text, chain_trim(block[i].text));
        }
    }

    for (i = 0; i < blocks->nelts; i++) {
        if (block[i].type == NGX_CLAUDE_TOOL_USE) {
            fuzz_check(ngx_claude_json_canonical(text->pool,
                                                 &block[i].text, &input)
                       != NGX_ERROR);

            chain_add(text, "c", 1);
            chain_add_string(text, block[i].id);
            chain_add_string(text, block[i].name);
            chain_add_string(text, input);
        }
    }
}


static ngx_str_t *
chain_normal(ngx_pool_t *pool, ngx_claude_turn_t *turn)
{
    ngx_str_t             *normal;
    ngx_uint_t             i;
    chain_text_t           text;
    ngx_claude_message_t  *message;

    normal = ngx_palloc(pool, (turn->messages.nelts + 1) * sizeof(ngx_str_t));
    fuzz_check(normal != NULL);

    message = turn->messages.elts;

    for (i = 0; i <= turn->messages.nelts; i++) {
        ngx_memzero(&text, sizeof(chain_text_t));
        text.pool = pool;

        if (i == 0) {
            chain_add_string(&text, turn->model);
            chain_add_string(&text, turn->system);

        } else if (message[i - 1].role == NGX_CLAUDE_USER) {
            chain_add(&text, "u", 1);
            chain_add_blocks(&text, &message[i - 1].blocks);

        } else {
            chain_add(&text, "a", 1);
            chain_add_answer(&text, &message[i - 1].blocks);
        }

        normal[i].data = text.p;
        normal[i].len = text.len;
    }

    return normal;
}


/* a body of its own, read from its text: what is rewritten is JSON */

static void
chain_case(chain_case_t *c, ngx_pool_t *pool, ngx_str_t text)
{
    ngx_int_t                    rc;
    ngx_http_claude_exchange_t  *ex;

    ngx_memzero(c, sizeof(chain_case_t));

    c->fake = fuzz_request(pool);
    c->body = fuzz_json(pool, text.data, text.len);

    ex = &c->fake->ex;
    ex->body = fuzz_read(pool, text.data, text.len);

    /* in slices, of whatever size */

    do {
        ex->left = 1 + text.len % 301;
        rc = ngx_http_claude_params_request(ex, ex->body);
    } while (rc == NGX_AGAIN);

    if (rc != NGX_OK) {
        return;
    }

    c->turn = &ex->turn;
    c->links = ngx_claude_chain(c->turn);
    fuzz_check(c->links != NULL);

    c->normal = chain_normal(pool, c->turn);
}


static fuzz_tree_t *
chain_node(ngx_pool_t *pool, ngx_claude_json_type_e type,
    const char *name, ngx_str_t value)
{
    fuzz_tree_t  *node;

    node = ngx_pcalloc(pool, sizeof(fuzz_tree_t));
    fuzz_check(node != NULL);

    node->type = type;
    node->value = value;

    if (name) {
        node->name.data = (u_char *) name;
        node->name.len = strlen(name);
    }

    return node;
}


static void
chain_push(fuzz_tree_t *parent, fuzz_tree_t *child)
{
    child->next = NULL;

    if (parent->last) {
        parent->last->next = child;

    } else {
        parent->first = child;
    }

    parent->last = child;
}


static void
chain_remove(fuzz_tree_t *parent, fuzz_tree_t *child)
{
    fuzz_tree_t  *node, *next;

    node = parent->first;
    parent->first = NULL;
    parent->last = NULL;

    for ( /* void */ ; node; node = next) {
        next = node->next;

        if (node != child) {
            chain_push(parent, node);
        }
    }
}


/* all members the other way round; of a name that is there twice one counts */

static void
chain_reverse(fuzz_tree_t *object)
{
    fuzz_tree_t  *node, *next, *other;

    for (node = object->first; node; node = node->next) {
        for (other = node->next; other; other = other->next) {
            if (fuzz_same(&node->name, &other->name)) {
                return;
            }
        }
    }

    node = object->first;
    object->last = node;
    object->first = NULL;

    for ( /* void */ ; node; node = next) {
        next = node->next;
        node->next = object->first;
        object->first = node;
    }
}


static void
chain_reverse_all(fuzz_tree_t *node)
{
    fuzz_tree_t  *child;

    if (node->type == NGX_CLAUDE_JSON_OBJECT) {
        chain_reverse(node);
    }

    for (child = node->first; child; child = child->next) {
        chain_reverse_all(child);
    }
}


/* with white space around it */

static ngx_str_t
chain_pad(ngx_pool_t *pool, fuzz_input_t *in, ngx_str_t s)
{
    size_t     before, after, i;
    ngx_str_t  padded;

    before = fuzz_number(in, 4);
    after = fuzz_number(in, 4);

    padded.len = before + s.len + after;
    padded.data = ngx_pnalloc(pool, padded.len + 1);
    fuzz_check(padded.data != NULL);

    for (i = 0; i < padded.len; i++) {
        padded.data[i] = (i < before || i >= before + s.len)
                         ? (u_char) CHAIN_SPACE[fuzz_number(in, 6)]
                         : s.data[i - before];
    }

    return padded;
}


static ngx_uint_t
chain_is(fuzz_tree_t *node, const char *name, const char *value)
{
    node = fuzz_tree_member(node, name);

    return node && node->type == NGX_CLAUDE_JSON_STRING
           && node->value.len == strlen(value)
           && ngx_memcmp(node->value.data, value, node->value.len) == 0;
}


/* other text, same value */

static ngx_str_t
chain_arguments(ngx_pool_t *pool, fuzz_input_t *in, ngx_str_t text)
{
    ngx_str_t           other;
    ngx_claude_json_t  *json;
    fuzz_tree_t        *node;

    json = ngx_claude_json_parse(pool, &text);

    if (json == NULL) {
        return text;
    }

    node = fuzz_tree(pool, json);

    if (fuzz_number(in, 2)) {
        chain_reverse_all(node);
    }

    other = fuzz_tree_text(pool, node);

    /* these are white space to JSON, too */

    if (fuzz_number(in, 2)) {
        text.len = other.len + 2;
        text.data = ngx_pnalloc(pool, text.len);
        fuzz_check(text.data != NULL);

        text.data[0] = '\n';
        ngx_memcpy(text.data + 1, other.data, other.len);
        text.data[text.len - 1] = '\t';

        return text;
    }

    return other;
}


static void
chain_same_calls(ngx_pool_t *pool, fuzz_input_t *in,
    fuzz_tree_t *message)
{
    fuzz_tree_t  *calls, *call, *function, *arguments;

    calls = fuzz_tree_member(message, "tool_calls");

    if (calls == NULL || calls->type != NGX_CLAUDE_JSON_ARRAY) {
        return;
    }

    for (call = calls->first; call; call = call->next) {
        function = fuzz_tree_member(call, "function");

        if (function == NULL) {
            continue;
        }

        arguments = fuzz_tree_member(function, "arguments");

        if (arguments && arguments->type == NGX_CLAUDE_JSON_STRING) {
            arguments->value = chain_arguments(pool, in, arguments->value);
        }
    }
}


/* what a client may send back in place of what it got, or wrote before */

static void
chain_same(ngx_pool_t *pool, fuzz_input_t *in, fuzz_tree_t *body)
{
    ngx_str_t     nothing, trimmed;
    ngx_uint_t    answer, blank, called;
    fuzz_tree_t  *list, *message, *content, *calls, *part;

    ngx_str_set(&nothing, "");

    list = fuzz_tree_member(body, "messages");

    for (message = list->first; message; message = message->next) {

        answer = chain_is(message, "role", "assistant");
        content = fuzz_tree_member(message, "content");
        calls = fuzz_tree_member(message, "tool_calls");
        called = calls && calls->type == NGX_CLAUDE_JSON_ARRAY
                 && calls->first;

        trimmed = nothing;
        blank = 0;

        if (content == NULL || content->type == NGX_CLAUDE_JSON_NULL) {
            blank = 1;

        } else if (content->type == NGX_CLAUDE_JSON_STRING) {
            trimmed = chain_trim(content->value);
            blank = (trimmed.len == 0);
        }

        if (answer && called && blank) {

            /* of a name that is there twice only the last one counts */

            while (content) {
                chain_remove(message, content);
                content = fuzz_tree_member(message, "content");
            }

            switch (fuzz_number(in, 4)) {

            case 0:
                break;

            case 1:
                chain_push(message, chain_node(pool,
                           NGX_CLAUDE_JSON_NULL, "content", nothing));
                break;

            default:
                chain_push(message, chain_node(pool,
                           NGX_CLAUDE_JSON_STRING, "content",
                           chain_pad(pool, in, nothing)));
            }

        } else if (trimmed.len) {

            if (answer) {
                content->value = chain_pad(pool, in,
                                           fuzz_number(in, 2)
                                           ? trimmed : content->value);
            }

            if ((answer || chain_is(message, "role", "user"))
                && fuzz_number(in, 2))
            {
                part = chain_node(pool, NGX_CLAUDE_JSON_OBJECT, NULL,
                                  nothing);
                chain_push(part, chain_node(pool, NGX_CLAUDE_JSON_STRING,
                                            "text", content->value));
                chain_push(part, chain_node(pool, NGX_CLAUDE_JSON_STRING,
                                            "type", (ngx_str_t)
                                            ngx_string("text")));

                content->type = NGX_CLAUDE_JSON_ARRAY;
                content->first = NULL;
                content->last = NULL;
                chain_push(content, part);
            }
        }

        if (answer) {
            chain_same_calls(pool, in, message);
        }

        if (fuzz_number(in, 2)) {
            chain_reverse(message);
        }
    }
}


/* an inner string of the tree, a random one; *n are left to pass by */

static fuzz_tree_t *
chain_pick(fuzz_tree_t *node, size_t *n)
{
    fuzz_tree_t  *child, *found;

    if (node->type == NGX_CLAUDE_JSON_STRING && (*n)-- == 0) {
        return node;
    }

    for (child = node->first; child; child = child->next) {
        found = chain_pick(child, n);

        if (found) {
            return found;
        }
    }

    return NULL;
}


static size_t
chain_strings(fuzz_tree_t *node)
{
    size_t        n;
    fuzz_tree_t  *child;

    n = (node->type == NGX_CLAUDE_JSON_STRING);

    for (child = node->first; child; child = child->next) {
        n += chain_strings(child);
    }

    return n;
}


/* a change that most often means something else */

static void
chain_other(ngx_pool_t *pool, fuzz_input_t *in, fuzz_tree_t *body)
{
    u_char       *p;
    size_t        n, at;
    ngx_str_t     s;
    fuzz_tree_t  *list, *node, *next;

    list = fuzz_tree_member(body, "messages");

    switch (fuzz_number(in, 8)) {

    case 0:
        if (list->first && list->first->next) {
            n = fuzz_number(in, 16);

            for (node = list->first; n-- && node->next; node = node->next) {
                /* void */
            }

            chain_remove(list, node);
        }

        return;

    case 1:
        /* one that is there once more, at the end */

        node = ngx_pcalloc(pool, sizeof(fuzz_tree_t));
        fuzz_check(node != NULL);

        if (list->first) {
            *node = *list->first;
            chain_push(list, node);
        }

        return;

    case 2:
        /* the end of one text, and the beginning of the next */

        n = chain_strings(list);
        at = fuzz_number(in, n);
        node = chain_pick(list, &(size_t) { at });
        next = chain_pick(list, &(size_t) { at + 1 });

        if (node == NULL || next == NULL || node->value.len < 2
            || node->value.data[node->value.len - 1] >= 0x80)
        {
            return;
        }

        s.len = next->value.len + 1;
        s.data = ngx_pnalloc(pool, s.len);
        fuzz_check(s.data != NULL);

        s.data[0] = node->value.data[--node->value.len];
        ngx_memcpy(s.data + 1, next->value.data, next->value.len);
        next->value = s;

        return;

    case 3:
        /* what divides messages and blocks is nothing that a text may have */

        ngx_str_set(&s, "uatc\":1");
        break;

    case 4:
        s = (ngx_str_t) ngx_string(" ");
        break;

    default:
        s = (ngx_str_t) ngx_string("x");
    }

    at = fuzz_number(in, chain_strings(body));
    node = chain_pick(body, &at);

    if (node == NULL) {
        return;
    }

    n = node->value.len;
    p = ngx_pnalloc(pool, n + s.len);
    fuzz_check(p != NULL);

    at = fuzz_number(in, 2) ? 0 : n;       /* before it, or behind */

    ngx_memcpy(p + at, s.data, s.len);

    if (n) {
        ngx_memcpy(p + (at ? 0 : s.len), node->value.data, n);
    }

    node->value.data = p;
    node->value.len = n + s.len;
}


/* links are the same just as far as all that was said is */

static void
chain_compare(chain_case_t *a, chain_case_t *b, ngx_uint_t all)
{
    ngx_uint_t  i, same;

    same = 1;

    for (i = 0;
         i <= ngx_min(a->turn->messages.nelts, b->turn->messages.nelts);
         i++)
    {
        same = same && fuzz_same(&a->normal[i], &b->normal[i]);

        fuzz_check(same || !all);
        fuzz_check(!ngx_claude_link_same(&a->links[i], &b->links[i])
                   == !same);
    }

    if (all) {
        fuzz_check(a->turn->messages.nelts == b->turn->messages.nelts);
    }
}


/* no link depends on what follows, and a turn of news goes on from one */

static void
chain_parts(fuzz_input_t *in, chain_case_t *c)
{
    size_t              size;
    ngx_int_t           rc;
    ngx_uint_t          n, from;
    ngx_claude_turn_t   turn;
    ngx_claude_link_t  *links;

    n = c->turn->messages.nelts;

    turn = *c->turn;
    turn.messages.nelts = fuzz_number(in, n + 1);
    turn.engine.chain = NULL;

    size = 1 + fuzz_number(in, 4096);

    do {
        rc = ngx_claude_chain_slice(&turn, size);
    } while (rc == NGX_AGAIN);

    fuzz_check(rc == NGX_OK);
    links = turn.engine.links;
    fuzz_check(ngx_memcmp(links, c->links, (turn.messages.nelts + 1)
                                           * sizeof(ngx_claude_link_t))
               == 0);

    from = fuzz_number(in, n + 1);

    turn = *c->turn;
    turn.messages.nelts = n - from;
    turn.messages.elts = (ngx_claude_message_t *) turn.messages.elts
                         + from;
    turn.engine.chain = NULL;

    fuzz_check(ngx_claude_chain_follow(&turn,
                                       from ? &c->links[from] : NULL)
               == NGX_OK);
    fuzz_check(ngx_memcmp(turn.engine.links, &c->links[from],
                          (n - from + 1) * sizeof(ngx_claude_link_t))
               == 0);
}


/* the link of an answer in pieces is that of the message it comes back as */

static void
chain_answers(ngx_pool_t *pool, fuzz_input_t *in, chain_case_t *c)
{
    u_char                  *p;
    size_t                   n, left;
    ngx_str_t                text, input;
    ngx_uint_t               i, j, texts, verbatim;
    ngx_claude_link_t        link;
    ngx_claude_block_t      *block;
    ngx_claude_message_t    *message;
    ngx_claude_link_text_t   answer;

    message = c->turn->messages.elts;

    for (i = 1; i < c->turn->messages.nelts; i += 2) {

        block = message[i].blocks.elts;
        ngx_str_set(&text, "");
        texts = 0;

        for (j = 0; j < message[i].blocks.nelts; j++) {
            if (block[j].type == NGX_CLAUDE_TEXT) {
                text = block[j].text;
                texts++;
            }
        }

        if (texts > 1) {
            continue;
        }

        text = chain_pad(pool, in, text);
        /* of one text and calls there is one link */

        verbatim = fuzz_number(in, 2);

        ngx_claude_link_begin(&answer, &c->links[i], verbatim);

        if (texts) {
            ngx_claude_link_open(&answer, NGX_CLAUDE_TEXT);
        }

        for (p = text.data, left = text.len; left; p += n, left -= n) {
            n = fuzz_size(in, 256, left);
            ngx_claude_link_add(&answer, p, n);
        }

        for (j = 0; j < message[i].blocks.nelts; j++) {
            if (block[j].type == NGX_CLAUDE_TOOL_USE) {
                input = chain_arguments(pool, in, block[j].text);

                ngx_claude_link_open(&answer, NGX_CLAUDE_TOOL_USE);

                fuzz_check(ngx_claude_link_call(&answer, pool,
                                                &block[j].id,
                                                &block[j].name, &input)
                           != NGX_ERROR);
            }
        }

        ngx_claude_link_end(&answer, &link);
        fuzz_check(ngx_claude_link_same(&link, &c->links[i + 1]));
    }
}


/* of the tree as it is now, read with the names that the variable reads */

static ngx_int_t
chain_conversation_cut(ngx_pool_t *pool, chain_case_t *c,
    ngx_claude_hash_t *hash, ngx_uint_t thirds)
{
    size_t                    cut;
    ngx_uint_t                i;
    ngx_buf_t                 buf[2];
    ngx_int_t                 rc;
    ngx_str_t                 text;
    ngx_chain_t               cl[2];
    ngx_http_request_t       *r;
    ngx_http_request_body_t   rb;

    text = fuzz_tree_text(pool, c->body);
    cut = text.len * thirds / 3;

    ngx_memzero(buf, sizeof(buf));

    for (i = 0; i < 2; i++) {
        buf[i].start = text.data + (i ? cut : 0);
        buf[i].pos = buf[i].start;
        buf[i].last = text.data + (i ? text.len : cut);
        buf[i].temporary = 1;

        cl[i].buf = &buf[i];
        cl[i].next = i ? NULL : &cl[1];
    }

    ngx_memzero(&rb, sizeof(ngx_http_request_body_t));
    rb.bufs = cl;

    r = &c->fake->request;
    r->request_body = &rb;

    rc = conversation_hash(r, pool, hash);

    r->request_body = NULL;

    return rc;
}


/* the same however the body has come */

static ngx_int_t
chain_conversation_hash(ngx_pool_t *pool, chain_case_t *c,
    ngx_claude_hash_t *hash)
{
    ngx_int_t          rc;
    ngx_uint_t         i;
    ngx_claude_hash_t  other;

    rc = chain_conversation_cut(pool, c, hash, 0);

    for (i = 1; i < 3; i++) {
        fuzz_check(chain_conversation_cut(pool, c, &other, i) == rc);
        fuzz_check(rc != NGX_OK || ngx_claude_hash_same(hash, &other));
    }

    return rc;
}


/* a conversation keeps its name whatever follows the user's first words */

static void
chain_conversation(ngx_pool_t *pool, chain_case_t *c)
{
    ngx_str_t           more;
    ngx_int_t           rc;
    ngx_uint_t          n;
    fuzz_tree_t        *list, *message, *content;
    ngx_claude_hash_t   one, other;

    rc = chain_conversation_hash(pool, c, &one);

    /* of two lists the first one counts, and the last one is the request's */

    for (n = 0, list = c->body->first; list; list = list->next) {
        n += (list->name.len == 8
              && ngx_memcmp(list->name.data, "messages", 8) == 0);
    }

    if (n > 1) {
        return;
    }

    list = fuzz_tree_member(c->body, "messages");

    for (message = list->first; message; message = message->next) {
        if (chain_is(message, "role", "user")) {
            break;
        }
    }

    if (rc != NGX_OK || message == NULL) {
        fuzz_check(rc == NGX_DECLINED);
        return;
    }

    message->next = NULL;
    list->last = message;

    fuzz_check(chain_conversation_hash(pool, c, &other) == NGX_OK);
    fuzz_check(ngx_claude_hash_same(&one, &other));

    content = fuzz_tree_member(message, "content");

    if (content->type == NGX_CLAUDE_JSON_STRING) {
        more.len = content->value.len + 1;
        more.data = ngx_pnalloc(pool, more.len);
        fuzz_check(more.data != NULL);

        ngx_memcpy(more.data, content->value.data, content->value.len);
        more.data[more.len - 1] = 'x';
        content->value = more;

        fuzz_check(chain_conversation_hash(pool, c, &other) == NGX_OK);
        fuzz_check(!ngx_claude_hash_same(&one, &other));
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t len)
{
    ngx_str_t                  text;
    ngx_uint_t                 n;
    ngx_pool_t                *pool;
    fuzz_input_t               in;
    chain_case_t               one, same, other;
    fuzz_tree_t               *body;
    ngx_claude_json_reader_t  *reader;

    pool = fuzz_pool();
    fuzz_input(&in, p, len);

    text = fuzz_rest(&in);
    reader = ngx_claude_json_reader(pool, pool,
                                    ngx_claude_json_all);

    if (ngx_claude_json_read(reader, text.data, text.len) != NGX_OK
        || ngx_claude_json_end(reader) == NULL)
    {
        goto done;
    }

    chain_case(&one, pool, text);

    if (one.turn == NULL) {
        goto done;
    }

    chain_parts(&in, &one);
    chain_answers(pool, &in, &one);

    body = fuzz_json(pool, text.data, text.len);
    chain_same(pool, &in, body);
    text = fuzz_tree_text(pool, body);

    chain_case(&same, pool, text);
    fuzz_check(same.turn != NULL);
    chain_compare(&one, &same, 1);

    for (n = 1 + fuzz_number(&in, 3); n; n--) {
        chain_other(pool, &in, body);
    }

    text = fuzz_tree_text(pool, body);
    chain_case(&other, pool, text);

    if (other.turn) {
        chain_compare(&one, &other, 0);
    }

    chain_conversation(pool, &one);

done:

    ngx_destroy_pool(pool);

    return 0;
}
