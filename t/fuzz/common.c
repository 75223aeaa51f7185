
/*
 * What the fuzz targets share.  See the header.
 */


#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>


static void fuzz_log_writer(ngx_log_t *log, ngx_uint_t level, u_char *buf,
    size_t len);


/* of the modules that nginx was configured with none takes part */

ngx_module_t  *ngx_modules[] = { NULL };
char          *ngx_module_names[] = { NULL };

static ngx_log_t    fuzz_log;
static ngx_cycle_t  fuzz_cycle;


int LLVMFuzzerInitialize(int *argc, char ***argv);

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    ngx_pid = ngx_getpid();
    ngx_pagesize = getpagesize();
    ngx_cacheline_size = 64;
    ngx_pagesize_shift = 12;

    ngx_time_init();

    /* all levels, so that all messages are made; what is made is checked */

    fuzz_log.log_level = NGX_LOG_DEBUG_ALL | NGX_LOG_DEBUG;
    fuzz_log.writer = fuzz_log_writer;

    fuzz_cycle.log = &fuzz_log;
    ngx_cycle = &fuzz_cycle;

    ngx_event_flags = NGX_USE_CLEAR_EVENT;
    ngx_event_timer_init(&fuzz_log);
    ngx_queue_init(&ngx_posted_events);
    ngx_queue_init(&ngx_posted_next_events);

    ngx_http_claude_module.ctx_index = 0;
    ngx_http_core_module.ctx_index = 1;

    return 0;
}


void
fuzz_failed(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
    abort();
}


/* what a client or the CLI says must not look like a line of its own */

static void
fuzz_log_writer(ngx_log_t *log, ngx_uint_t level, u_char *buf, size_t len)
{
    size_t  i;

    for (i = 0; i + 1 < len; i++) {

        if (level < NGX_LOG_DEBUG && (buf[i] < ' ' || buf[i] == 0x7f)) {
            fprintf(stderr, "log: %.*s\n", (int) len, buf);
            fuzz_failed(__FILE__, __LINE__, "no control character in a log");
        }
    }
}


void
fuzz_input(fuzz_input_t *in, const u_char *p, size_t len)
{
    size_t  i;

    if (len == 0) {
        p = (u_char *) "";
    }

    in->p = p;
    in->last = p + len;
    in->state = 0xcbf29ce484222325ull;

    for (i = 0; i < len; i++) {
        in->state = (in->state ^ p[i]) * 0x100000001b3ull;
    }
}


size_t
fuzz_number(fuzz_input_t *in, size_t n)
{
    in->state = in->state * 6364136223846793005ull + 1442695040888963407ull;

    return n ? (size_t) (in->state >> 33) % n : 0;
}


size_t
fuzz_size(fuzz_input_t *in, size_t max, size_t left)
{
    size_t  n;

    switch (fuzz_number(in, 4)) {

    case 0:
        n = 4;
        break;

    case 1:
        n = 64;
        break;

    default:
        n = max;
    }

    n = 1 + fuzz_number(in, ngx_min(n, max));

    return ngx_min(n, left);
}


ngx_str_t
fuzz_until(fuzz_input_t *in, u_char ch)
{
    u_char     *end;
    ngx_str_t   s;

    if (in->p == in->last) {
        ngx_str_set(&s, "");
        return s;
    }

    end = memchr(in->p, ch, in->last - in->p);

    s.data = (u_char *) in->p;
    s.len = (end ? end : in->last) - s.data;

    in->p = end ? end + 1 : in->last;

    return s;
}


ngx_str_t
fuzz_rest(fuzz_input_t *in)
{
    ngx_str_t  s;

    s.data = (u_char *) in->p;
    s.len = in->last - in->p;

    in->p = in->last;

    return s;
}


ngx_pool_t *
fuzz_pool(void)
{
    ngx_pool_t  *pool;

    pool = ngx_create_pool(4096, &fuzz_log);
    fuzz_check(pool != NULL);

    return pool;
}


/* the length of the character at p, or 0 */

static size_t
fuzz_char(const u_char *p, const u_char *last)
{
    size_t    len, i;
    uint32_t  ch;

    if (*p < 0x80) {
        return 1;
    }

    len = (*p >= 0xf0) ? 4 : (*p >= 0xe0) ? 3 : 2;

    if (*p < 0xc2 || *p > 0xf4 || (size_t) (last - p) < len) {
        return 0;
    }

    ch = *p & (0xff >> (len + 1));

    for (i = 1; i < len; i++) {

        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }

        ch = (ch << 6) | (p[i] & 0x3f);
    }

    if ((len == 3 && ch < 0x800) || (len == 4 && ch < 0x10000)
        || ch > 0x10ffff || (ch >= 0xd800 && ch <= 0xdfff))
    {
        return 0;
    }

    return len;
}


ngx_uint_t
fuzz_utf8(const u_char *p, size_t len)
{
    size_t         n;
    const u_char  *last;

    if (len == 0) {
        return 1;
    }

    for (last = p + len; p < last; p += n) {
        n = fuzz_char(p, last);

        if (n == 0) {
            return 0;
        }
    }

    return 1;
}


ngx_str_t
fuzz_copy(ngx_pool_t *pool, ngx_str_t s, ngx_uint_t valid)
{
    size_t     n;
    u_char    *p, *last;
    ngx_str_t  copy;

    copy.len = s.len;
    copy.data = ngx_pnalloc(pool, ngx_max(s.len, 1));
    fuzz_check(copy.data != NULL);

    if (s.len) {
        ngx_memcpy(copy.data, s.data, s.len);
    }

    if (!valid) {
        return copy;
    }

    for (p = copy.data, last = p + copy.len; p < last; p += n) {
        n = fuzz_char(p, last);

        if (n == 0) {
            *p = '?';
            n = 1;
        }
    }

    return copy;
}


void
fuzz_touch(ngx_str_t *s)
{
    size_t  i;

    for (i = 0; i < s->len; i++) {
        (void) *(volatile u_char *) &s->data[i];
    }
}


ngx_claude_json_t *
fuzz_read(ngx_pool_t *pool, u_char *p, size_t len)
{
    ngx_claude_json_t         *root;
    ngx_claude_json_reader_t  *reader;

    reader = ngx_claude_json_reader(pool, pool, ngx_claude_json_all);
    fuzz_check(reader != NULL);

    if (ngx_claude_json_read(reader, p, len) != NGX_OK
        || (root = ngx_claude_json_end(reader)) == NULL)
    {
        fprintf(stderr, "%.*s\n", (int) len, p);
        fuzz_failed(__FILE__, __LINE__, "what was written is JSON");
        return NULL;
    }

    return root;
}


fuzz_tree_t *
fuzz_json(ngx_pool_t *pool, u_char *p, size_t len)
{
    return fuzz_tree(pool, fuzz_read(pool, p, len));
}


fuzz_tree_t *
fuzz_member(fuzz_tree_t *node, const char *name,
    ngx_claude_json_type_e type)
{
    fuzz_check(node->type == NGX_CLAUDE_JSON_OBJECT);

    node = fuzz_tree_member(node, name);

    fuzz_check(node != NULL);
    fuzz_check(node->type == type);

    return node;
}


fuzz_tree_t *
fuzz_tree(ngx_pool_t *pool, ngx_claude_json_t *json)
{
    fuzz_tree_t        *node, *one;
    ngx_claude_json_t  *child;

    node = ngx_pcalloc(pool, sizeof(fuzz_tree_t));
    fuzz_check(node != NULL);

    node->type = json->type;
    node->name = ngx_claude_json_name(json);
    node->value = ngx_claude_json_value(json);

    for (child = ngx_claude_json_first(json);
         child;
         child = ngx_claude_json_next(child))
    {
        one = fuzz_tree(pool, child);

        if (node->last) {
            node->last->next = one;

        } else {
            node->first = one;
        }

        node->last = one;
    }

    return node;
}


fuzz_tree_t *
fuzz_tree_member(fuzz_tree_t *node, const char *name)
{
    fuzz_tree_t  *child, *found;

    if (node->type != NGX_CLAUDE_JSON_OBJECT) {
        return NULL;
    }

    found = NULL;

    for (child = node->first; child; child = child->next) {
        if (child->name.len == strlen(name)
            && memcmp(child->name.data, name, child->name.len) == 0)
        {
            found = child;
        }
    }

    return found;
}


static size_t
fuzz_tree_max(fuzz_tree_t *node)
{
    size_t        len;
    fuzz_tree_t  *child;

    len = sizeof("false,:")
          + ngx_claude_json_escaped_max(node->name.len)
          + ngx_claude_json_escaped_max(node->value.len);

    for (child = node->first; child; child = child->next) {
        len += fuzz_tree_max(child);
    }

    return len;
}


static u_char *
fuzz_tree_write(u_char *p, fuzz_tree_t *node)
{
    ngx_uint_t    object;
    fuzz_tree_t  *child;

    switch (node->type) {

    case NGX_CLAUDE_JSON_NULL:
        return ngx_cpymem(p, "null", 4);

    case NGX_CLAUDE_JSON_FALSE:
        return ngx_cpymem(p, "false", 5);

    case NGX_CLAUDE_JSON_TRUE:
        return ngx_cpymem(p, "true", 4);

    case NGX_CLAUDE_JSON_NUMBER:
        return ngx_cpymem(p, node->value.data, node->value.len);

    case NGX_CLAUDE_JSON_STRING:
        return ngx_claude_json_escape(p, node->value.data,
                                      node->value.len);

    default:
        break;
    }

    object = (node->type == NGX_CLAUDE_JSON_OBJECT);
    *p++ = object ? '{' : '[';

    for (child = node->first; child; child = child->next) {

        if (object) {
            p = ngx_claude_json_escape(p, child->name.data,
                                       child->name.len);
            *p++ = ':';
        }

        p = fuzz_tree_write(p, child);

        if (child->next) {
            *p++ = ',';
        }
    }

    *p++ = object ? '}' : ']';

    return p;
}


ngx_str_t
fuzz_tree_text(ngx_pool_t *pool, fuzz_tree_t *node)
{
    ngx_str_t  text;

    text.data = ngx_pnalloc(pool, fuzz_tree_max(node));
    fuzz_check(text.data != NULL);

    text.len = fuzz_tree_write(text.data, node) - text.data;

    return text;
}


ngx_uint_t
fuzz_same(ngx_str_t *a, ngx_str_t *b)
{
    return a->len == b->len
           && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}


/* one for all inputs, as a worker that nothing has been asked of has it */

static ngx_claude_zone_t *
fuzz_zone(ngx_log_t *log)
{
    ngx_slab_pool_t  *shpool;

    static ngx_shm_zone_t     shm;
    static ngx_claude_zone_t  zone;

    if (shm.shm.addr) {
        return &zone;
    }

    shm.shm.size = 256 * 1024;
    shm.shm.log = log;
    fuzz_check(ngx_shm_alloc(&shm.shm) == NGX_OK);

    shpool = (ngx_slab_pool_t *) shm.shm.addr;
    shpool->end = shm.shm.addr + shm.shm.size;
    shpool->min_shift = 3;
    shpool->addr = shm.shm.addr;

    fuzz_check(ngx_shmtx_create(&shpool->mutex, &shpool->lock, NULL)
               == NGX_OK);
    ngx_slab_sizes_init();
    ngx_slab_init(shpool);

    fuzz_check(ngx_claude_zone_init(&zone, &shm, NULL) == NGX_OK);

    return &zone;
}


fuzz_request_t *
fuzz_request(ngx_pool_t *pool)
{
    ngx_http_request_t  *r;
    fuzz_request_t      *fake;

    static const ngx_http_claude_dialect_t  *fuzz_dialects[] = {
        &ngx_http_claude_chat, &ngx_http_claude_completions
    };

    static const struct { const char *from, *to; } map[] = {
        { "gpt-4o", "sonnet" }, { "gpt-4", "opus" }, { "tiny", "haiku" }
    };

    ngx_uint_t  i;

    fake = ngx_pcalloc(pool, sizeof(fuzz_request_t));
    fuzz_check(fake != NULL);

    fake->pool = pool;
    fake->log = fuzz_log;
    fake->log.data = &fake->log_ctx;

    fake->connection.read = &fake->read;
    fake->connection.write = &fake->write;
    fake->connection.log = &fake->log;
    fake->connection.pool = pool;
    fake->connection.fd = (ngx_socket_t) -1;
    fake->read.data = &fake->connection;
    fake->write.data = &fake->connection;
    fake->read.log = &fake->log;
    fake->write.log = &fake->log;
    fake->read.active = 1;
    fake->write.active = 1;

    fake->ctx.scratch = pool;
    fake->ctx.memory = pool;

    ngx_str_set(&fake->model.value, "sonnet");
    ngx_str_set(&fake->system.value, "You are an assistant.");

    for (i = 0; i < sizeof(map) / sizeof(map[0]); i++) {
        fake->map[i].from.data = (u_char *) map[i].from;
        fake->map[i].from.len = ngx_strlen(map[i].from);
        fake->map[i].to.data = (u_char *) map[i].to;
        fake->map[i].to.len = ngx_strlen(map[i].to);
    }

    fake->models.elts = fake->map;
    fake->models.nelts = i;

    fake->lcf.models = &fake->models;
    fake->lcf.default_model = &fake->model;
    fake->lcf.system_prompt = &fake->system;

    fake->clcf.send_timeout = 60000;

    fake->main_confs[0] = &fake->mcf;
    fake->mcf.max_line = 16 * 1024 * 1024;
    fake->mcf.zone = fuzz_zone(&fake->log);
    fake->mcf.dialects.elts = fuzz_dialects;
    fake->mcf.dialects.nelts = 2;
    fake->lcf.profile = &fake->profile;
    fake->loc_confs[0] = &fake->lcf;
    fake->loc_confs[1] = &fake->clcf;
    fake->ctxs[0] = &fake->ctx;

    r = &fake->request;
    r->pool = pool;
    r->main = r;
    r->count = 1;
    r->connection = &fake->connection;
    fake->connection.data = r;
    r->loc_conf = fake->loc_confs;
    r->main_conf = fake->main_confs;
    r->ctx = fake->ctxs;

    (void) ngx_list_init(&r->headers_in.headers, pool, 4,
                         sizeof(ngx_table_elt_t));
    (void) ngx_list_init(&r->headers_out.headers, pool, 4,
                         sizeof(ngx_table_elt_t));

    fake->ctx.request = r;
    ngx_str_set(&fake->ctx.id, "req_0123456789abcdef0123456789abcdef");

    fake->ctx.dialect = &ngx_http_claude_chat;
    fake->ctx.exchange = &fake->ex;

    fake->ex.ctx = &fake->ctx;
    fake->ex.dialect = fake->ctx.dialect;
    fake->ex.own = ngx_pcalloc(pool, fake->ex.dialect->size);
    fake->ex.n = 1;
    fake->ex.questions = 1;

    fuzz_check(fake->ex.own != NULL);
    fuzz_check(ngx_claude_turn_init(&fake->ex.turn, pool, &fake->log)
               == NGX_OK);

    fake->profile.transcripts = "/";
    fake->ex.turn.profile = &fake->profile;
    fake->ex.turn.launch = &fake->profile.hash;

    return fake;
}
