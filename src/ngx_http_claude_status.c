
/*
 * Health and status.  See the header.
 */


#include "ngx_http_claude_status.h"
#include "ngx_http_claude_conf.h"
#include "ngx_http_claude_ctx.h"
#include "ngx_http_claude_response.h"
#include "ngx_http_claude_version.h"


/* rows copied out of the zone at once, to keep the lock short */
#define STATUS_ROWS      32

/* one process as JSON, at most */
#define STATUS_ROW_LEN   320

#define STATUS_TYPE_PROMETHEUS  "text/plain; version=0.0.4; charset=utf-8"


static ngx_int_t status_prepare(ngx_http_request_t *r, ngx_uint_t key);
static ngx_int_t status_json(ngx_http_request_t *r, ngx_str_t *body);
static u_char *status_process(u_char *p,
    ngx_http_claude_zone_process_t *process);
static uint64_t status_memory(ngx_pid_t pid);
static ngx_int_t status_prometheus(ngx_http_request_t *r, ngx_str_t *body);
static u_char *status_version(u_char *p, ngx_uint_t version);
static ngx_uint_t status_alive(ngx_http_claude_zone_sums_t *sums);


static const char  *status_states[] = {
    "free", "reserved", "starting", "idle", "busy", "wanted", "evicted",
    "ending"
};


static const char  *status_outcomes[] = {
    "finished", "failed", "aborted", "refused"
};


ngx_int_t
ngx_http_claude_health_handler(ngx_http_request_t *r)
{
    u_char                       *p;
    ngx_int_t                     rc;
    ngx_str_t                     body;
    ngx_uint_t                    version;
    ngx_http_claude_zone_sums_t   sums;
    ngx_http_claude_main_conf_t  *mcf;

    rc = status_prepare(r, 0);
    if (rc != NGX_OK) {
        return rc;
    }

    mcf = ngx_http_get_module_main_conf(r, ngx_http_claude_module);

    ngx_http_claude_zone_sums(mcf->zone, &sums);
    version = mcf->zone->counters->version;

    p = ngx_pnalloc(r->pool, 256);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    body.data = p;

    p = ngx_sprintf(p, "{\"status\":\"ok\",\"module\":\""
                    NGX_HTTP_CLAUDE_VERSION "\",\"cli\":");
    p = status_version(p, version);
    p = ngx_sprintf(p, ",\"processes\":%ui,\"turns\":%ui,\"waiting\":%ui}\n",
                    status_alive(&sums), sums.running, sums.waiting);

    body.len = p - body.data;

    return ngx_http_claude_response(r, "application/json", &body);
}


ngx_int_t
ngx_http_claude_status_handler(ngx_http_request_t *r)
{
    ngx_int_t   rc;
    ngx_str_t   body, format;
    ngx_uint_t  prometheus;

    rc = status_prepare(r, 1);
    if (rc != NGX_OK) {
        return rc;
    }

    prometheus = ngx_http_arg(r, (u_char *) "format", 6, &format) == NGX_OK
                 && format.len == 10
                 && ngx_memcmp(format.data, "prometheus", 10) == 0;

    rc = prometheus ? status_prometheus(r, &body) : status_json(r, &body);

    if (rc != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_claude_response(r, prometheus ? STATUS_TYPE_PROMETHEUS
                                                  : "application/json",
                                    &body);
}


/* key: one is needed */

static ngx_int_t
status_prepare(ngx_http_request_t *r, ngx_uint_t key)
{
    ngx_int_t               rc;
    ngx_http_claude_ctx_t  *ctx;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    ctx = ngx_http_claude_ctx_make(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (key) {
        rc = ngx_http_claude_auth(r);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    return ngx_http_discard_request_body(r);
}


static ngx_int_t
status_json(ngx_http_request_t *r, ngx_str_t *body)
{
    u_char                          *p;
    size_t                           size;
    ngx_uint_t                       i, n, at, rows;
    ngx_http_claude_counters_t      *counters;
    ngx_http_claude_zone_sums_t      sums;
    ngx_http_claude_main_conf_t     *mcf;
    ngx_http_claude_zone_process_t   process[STATUS_ROWS];

    mcf = ngx_http_get_module_main_conf(r, ngx_http_claude_module);
    counters = mcf->zone->counters;

    ngx_http_claude_zone_sums(mcf->zone, &sums);

    /* a few processes may come while the rows are read, and are left out */

    rows = sums.processes[NGX_HTTP_CLAUDE_PROCESS_RESERVED]
           + status_alive(&sums) + STATUS_ROWS;
    size = 2048 + rows * STATUS_ROW_LEN;

    p = ngx_pnalloc(r->pool, size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    body->data = p;

    p = ngx_sprintf(p, "{\"module\":\"" NGX_HTTP_CLAUDE_VERSION "\","
                    "\"cli\":");
    p = status_version(p, counters->version);

    p = ngx_sprintf(p, ",\"limits\":{\"concurrent\":%ui,\"queue\":%ui,"
                    "\"processes\":%ui},\"turns\":{\"running\":%ui,"
                    "\"waiting\":%ui", mcf->max_concurrent, mcf->queue,
                    mcf->max_processes, sums.running, sums.waiting);

    for (i = 0; i < NGX_HTTP_CLAUDE_OUTCOMES; i++) {
        p = ngx_sprintf(p, ",\"%s\":%uA", status_outcomes[i],
                        counters->outcomes[i]);
    }

    p = ngx_sprintf(p, "},\"rungs\":{");

    for (i = NGX_HTTP_CLAUDE_RUNG_LIVE; i < NGX_HTTP_CLAUDE_RUNGS; i++) {
        p = ngx_sprintf(p, "\"%V\":%uA,", ngx_http_claude_rung_name(i),
                        counters->rungs[i]);
    }

    p--;

    p = ngx_sprintf(p, "},\"tokens\":{\"prompt\":%uA,\"completion\":%uA},"
                    "\"cost_usd\":%.6f,\"spawned\":%uA,\"died\":%uA,"
                    "\"evicted\":%uA,\"handed\":%uA,\"processes\":[",
                    counters->prompt_tokens, counters->completion_tokens,
                    (double) counters->microdollars / 1e6, counters->spawned,
                    counters->died, counters->evicted, counters->handed);

    at = 0;

    while (rows) {
        n = ngx_http_claude_zone_processes(mcf->zone, &at, process,
                                           ngx_min(rows, STATUS_ROWS));
        if (n == 0) {
            break;
        }

        for (i = 0; i < n; i++) {
            p = status_process(p, &process[i]);
            *p++ = ',';
        }

        rows -= n;
    }

    if (p[-1] == ',') {
        p--;
    }

    p = ngx_sprintf(p, "]}\n");

    body->len = p - body->data;

    return NGX_OK;
}


static u_char *
status_process(u_char *p, ngx_http_claude_zone_process_t *process)
{
    time_t  now;

    now = ngx_time();

    return ngx_sprintf(p, "{\"pid\":%P,\"worker\":%P,\"state\":\"%s\","
                       "\"rung\":\"%V\",\"turns\":%ui,\"age\":%T,"
                       "\"since\":%T,\"memory\":%uL}",
                       process->pid, process->owner,
                       status_states[process->state],
                       ngx_http_claude_rung_name(process->rung),
                       process->turns, now - process->created,
                       now - process->since, status_memory(process->pid));
}


/* what is resident of a process, in bytes; proc(5), statm */

static uint64_t
status_memory(ngx_pid_t pid)
{
    u_char    path[sizeof("/proc//statm") + NGX_INT64_LEN], buf[128], *p;
    u_char   *last;
    ssize_t   n;
    ngx_fd_t  fd;
    uint64_t  pages;

    if (pid == 0) {
        return 0;
    }

    *ngx_sprintf(path, "/proc/%P/statm", pid) = '\0';

    fd = ngx_open_file(path, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);
    if (fd == NGX_INVALID_FILE) {
        return 0;
    }

    n = ngx_read_fd(fd, buf, sizeof(buf));
    (void) ngx_close_file(fd);

    if (n <= 0) {
        return 0;
    }

    last = buf + n;
    p = ngx_strlchr(buf, last, ' ');

    if (p == NULL) {
        return 0;
    }

    for (pages = 0, p++; p < last && *p >= '0' && *p <= '9'; p++) {
        pages = pages * 10 + (*p - '0');
    }

    return pages * ngx_pagesize;
}


static ngx_int_t
status_prometheus(ngx_http_request_t *r, ngx_str_t *body)
{
    u_char                       *p;
    ngx_uint_t                    i;
    ngx_http_claude_counters_t   *counters;
    ngx_http_claude_zone_sums_t   sums;
    ngx_http_claude_main_conf_t  *mcf;

    mcf = ngx_http_get_module_main_conf(r, ngx_http_claude_module);
    counters = mcf->zone->counters;

    ngx_http_claude_zone_sums(mcf->zone, &sums);

    p = ngx_pnalloc(r->pool, 8192);
    if (p == NULL) {
        return NGX_ERROR;
    }

    body->data = p;

    p = ngx_sprintf(p, "# HELP claude_turns Turns now, by state.\n"
                    "# TYPE claude_turns gauge\n"
                    "claude_turns{state=\"running\"} %ui\n"
                    "claude_turns{state=\"waiting\"} %ui\n",
                    sums.running, sums.waiting);

    p = ngx_sprintf(p, "# HELP claude_processes CLI processes, by state.\n"
                    "# TYPE claude_processes gauge\n");

    for (i = NGX_HTTP_CLAUDE_PROCESS_RESERVED;
         i < NGX_HTTP_CLAUDE_PROCESS_STATES;
         i++)
    {
        p = ngx_sprintf(p, "claude_processes{state=\"%s\"} %ui\n",
                        status_states[i], sums.processes[i]);
    }

    p = ngx_sprintf(p, "# HELP claude_turns_total Turns, by outcome.\n"
                    "# TYPE claude_turns_total counter\n");

    for (i = 0; i < NGX_HTTP_CLAUDE_OUTCOMES; i++) {
        p = ngx_sprintf(p, "claude_turns_total{outcome=\"%s\"} %uA\n",
                        status_outcomes[i], counters->outcomes[i]);
    }

    p = ngx_sprintf(p, "# HELP claude_turns_rung_total Turns, by where their "
                    "process came from.\n"
                    "# TYPE claude_turns_rung_total counter\n");

    for (i = NGX_HTTP_CLAUDE_RUNG_LIVE; i < NGX_HTTP_CLAUDE_RUNGS; i++) {
        p = ngx_sprintf(p, "claude_turns_rung_total{rung=\"%V\"} %uA\n",
                        ngx_http_claude_rung_name(i), counters->rungs[i]);
    }

    p = ngx_sprintf(p, "# HELP claude_tokens_total Tokens of finished turns.\n"
                    "# TYPE claude_tokens_total counter\n"
                    "claude_tokens_total{kind=\"prompt\"} %uA\n"
                    "claude_tokens_total{kind=\"completion\"} %uA\n"
                    "# HELP claude_cost_usd_total Cost of finished turns by "
                    "the CLI's account.\n"
                    "# TYPE claude_cost_usd_total counter\n"
                    "claude_cost_usd_total %.6f\n"
                    "# HELP claude_spawned_total CLI processes started.\n"
                    "# TYPE claude_spawned_total counter\n"
                    "claude_spawned_total %uA\n"
                    "# HELP claude_died_total CLI processes that ended "
                    "unasked.\n"
                    "# TYPE claude_died_total counter\n"
                    "claude_died_total %uA\n"
                    "# HELP claude_evicted_total Idle CLI processes that gave "
                    "way to others.\n"
                    "# TYPE claude_evicted_total counter\n"
                    "claude_evicted_total %uA\n"
                    "# HELP claude_handed_total CLI processes that went to "
                    "another worker.\n"
                    "# TYPE claude_handed_total counter\n"
                    "claude_handed_total %uA\n",
                    counters->prompt_tokens, counters->completion_tokens,
                    (double) counters->microdollars / 1e6,
                    counters->spawned, counters->died,
                    counters->evicted, counters->handed);

    body->len = p - body->data;

    return NGX_OK;
}


/* null until a CLI has told its version */

static u_char *
status_version(u_char *p, ngx_uint_t version)
{
    if (version == 0) {
        return ngx_sprintf(p, "null");
    }

    return ngx_sprintf(p, "\"%ui.%ui.%ui\"", version / 100000,
                       version / 1000 % 100, version % 1000);
}


static ngx_uint_t
status_alive(ngx_http_claude_zone_sums_t *sums)
{
    return sums->processes[NGX_HTTP_CLAUDE_PROCESS_STARTING]
           + sums->processes[NGX_HTTP_CLAUDE_PROCESS_IDLE]
           + sums->processes[NGX_HTTP_CLAUDE_PROCESS_BUSY]
           + sums->processes[NGX_HTTP_CLAUDE_PROCESS_ASKED_FOR]
           + sums->processes[NGX_HTTP_CLAUDE_PROCESS_EVICTED]
           + sums->processes[NGX_HTTP_CLAUDE_PROCESS_ENDING];
}
