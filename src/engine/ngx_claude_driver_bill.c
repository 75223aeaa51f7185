
/*
 * The driver: what was spent, and who pays for it.
 *
 * Tokens are told with each call of the model, when it begins and again at
 * its end; they go to the turn and to the account of its key at once, so that
 * whatever happens then, what upstream has billed is counted, and once.  The
 * CLI tells costs as a total of its life, in each result and when it is asked.
 *
 * The turn that pays is the one that the process has begun last.  It may have
 * left it long before: a result that follows an interrupt still is the turn's,
 * as are calls that the CLI has made by itself meanwhile.
 */


#include "ngx_claude_driver_private.h"


/* how long a request whose answer is out waits to be told the costs, msec */
#define DRIVER_COST_WAIT  250


static void driver_bill_usage(ngx_claude_process_t *process,
    ngx_claude_usage_t *more);
static void driver_bill_unseen(ngx_claude_process_t *process,
    ngx_claude_cli_line_t *line);
static void driver_bill_forgotten(ngx_claude_process_t *process, double total,
    double since);
static void driver_bill_cost(ngx_claude_process_t *process, double total);
static void driver_bill_charge(ngx_claude_process_t *process);
static void driver_bill_timeout(ngx_event_t *ev);
static ngx_uint_t driver_bill_any(ngx_claude_usage_t *usage);
static uint64_t driver_bill_more(uint64_t *had, double has);


void
driver_payer(ngx_claude_process_t *process, ngx_claude_turn_t *turn)
{
    /* one that still waits for what its calls cost: that is the next one's */

    driver_paid(process);

    process->payer = turn;
    process->billed = 0;

    turn->payee = process;
}


void
driver_paid(ngx_claude_process_t *process)
{
    ngx_claude_turn_t  *turn;

    turn = process->payer;

    if (turn == NULL) {
        return;
    }

    ngx_claude_driver_forgo(turn);

    if (turn->over) {
        turn->handlers->paid(turn);
    }
}


void
ngx_claude_driver_forgo(ngx_claude_turn_t *turn)
{
    turn->payee->payer = NULL;
    turn->payee->asking = 0;
    turn->payee = NULL;

    if (turn->timer.timer_set) {
        ngx_del_timer(&turn->timer);
    }
}


void
driver_unasked(ngx_claude_process_t *process)
{
    if (process->phase != DRIVER_ANSWERING && process->phase != DRIVER_ASKED
        && process->phase != DRIVER_SETTLING && !process->asking)
    {
        driver_paid(process);
    }
}


/*
 * The tokens that a line tells are those of its call up to now.  Calls of
 * agents' agents are not told, they are in the result alone.
 */

void
driver_bill(ngx_claude_process_t *process,
    ngx_claude_cli_line_t *line)
{
    double                   *number;
    ngx_claude_usage_t        more, *call;

    if ((line->kind != NGX_CLAUDE_CLI_MESSAGE_START
         && line->kind != NGX_CLAUDE_CLI_MESSAGE_DELTA)
        || line->string[NGX_CLAUDE_CLI_S_PARENT].len)
    {
        return;
    }

    number = line->number;
    call = &process->call;

    if (line->kind == NGX_CLAUDE_CLI_MESSAGE_START) {
        ngx_memzero(call, sizeof(ngx_claude_usage_t));

        process->broken_call |= process->open_call;
        process->open_call = 1;

    } else if (line->string[NGX_CLAUDE_CLI_S_STOP_REASON].len) {

        /* and no end that the CLI has made up */

        process->open_call = 0;
    }

#define driver_more(field, slot)                                              \
    more.field = driver_bill_more(&call->field,                               \
                                  number[NGX_CLAUDE_CLI_N_ ## slot])

    driver_more(input, INPUT);
    driver_more(cache_read, CACHE_READ);
    driver_more(cache_creation, CACHE_CREATION);
    driver_more(output, OUTPUT);
    driver_more(thinking, THINKING);

#undef driver_more

    if (line->kind == NGX_CLAUDE_CLI_MESSAGE_START
        || driver_bill_any(&more))
    {
        driver_bill_usage(process, &more);
    }
}


static ngx_uint_t
driver_bill_any(ngx_claude_usage_t *usage)
{
    return usage->input || usage->cache_read || usage->cache_creation
           || usage->output || usage->thinking;
}


/* never less than it was */

static uint64_t
driver_bill_more(uint64_t *had, double has)
{
    uint64_t  more;

    if (!(has > *had && has < 1e15)) {
        return 0;
    }

    more = (uint64_t) has - *had;
    *had += more;

    return more;
}


static void
driver_bill_usage(ngx_claude_process_t *process,
    ngx_claude_usage_t *more)
{
    ngx_claude_spent_t        spent;
    ngx_claude_turn_t        *turn;

    turn = process->payer;

    spent.usage = *more;
    spent.cost = 0;

    if (turn) {

        if (!process->billed) {
            process->billed = 1;
            process->account = ngx_claude_zone_account(driver_zone,
                                                       &turn->tenant_name,
                                                       &turn->model);
        }

        spent.cost = -1;
        ngx_claude_spent_add(&turn->spent, &spent);
    }

    if (process->account) {
        ngx_claude_metrics_usage(process->account, more);
    }

    ngx_claude_usage_add(&process->counted, more);
}


void
driver_bill_result(ngx_claude_process_t *process,
    ngx_claude_cli_line_t *line)
{
    double  total;

    total = line->number[NGX_CLAUDE_CLI_N_COST];

    driver_bill_unseen(process, line);

    ngx_memzero(&process->counted, sizeof(ngx_claude_usage_t));
    process->open_call = 0;
    process->broken_call = 0;

    if (total >= 0) {
        driver_bill_forgotten(process, total,
                              line->number[NGX_CLAUDE_CLI_N_SINCE_COST]);
        driver_bill_cost(process, total);
        driver_bill_charge(process);

        process->stated = total;
    }

    switch (process->phase) {

    case DRIVER_ANSWERING:
    case DRIVER_ASKED:
    case DRIVER_SETTLING:
        driver_paid(process);
        break;

    default:

        /* of a message of the history, or of calls that were called off */

        break;
    }
}


/*
 * Tokens of calls that the CLI has counted, and not told one by one.  Of a
 * call that was cut off it counts an estimate of what came out, where
 * upstream has said no such thing.
 */

static void
driver_bill_unseen(ngx_claude_process_t *process,
    ngx_claude_cli_line_t *line)
{
    double                   *number;
    ngx_claude_usage_t        more, seen;

    number = line->number;
    seen = process->counted;

#define driver_more(field, slot)                                              \
    more.field = driver_bill_more(&seen.field,                                \
                            number[NGX_CLAUDE_CLI_N_SINCE_ ## slot])

    driver_more(input, INPUT);
    driver_more(cache_read, CACHE_READ);
    driver_more(cache_creation, CACHE_CREATION);
    driver_more(output, OUTPUT);
    driver_more(thinking, THINKING);

#undef driver_more

    if (process->open_call || process->broken_call) {
        more.output = 0;
        more.thinking = 0;
    }

    if (driver_bill_any(&more)) {
        driver_bill_usage(process, &more);
    }
}


/*
 * A resumed CLI goes on from the total that is in its transcript, which may
 * be less than the one before it was killed had said.
 */

static void
driver_bill_forgotten(ngx_claude_process_t *process, double total,
    double since)
{
    double  less;

    /* an older one says totals alone, and a lower one counts as no cost */

    if (since < 0) {
        return;
    }

    less = process->stated - (total - since);

    if (less > 1e-9) {
        process->cost -= less;
        process->charged -= less;
    }
}


static void
driver_bill_cost(ngx_claude_process_t *process, double total)
{
    if (process->account) {
        ngx_claude_metrics_cost(process->account, process->cost, total);
    }

    process->cost = total;
}


/* to the payer, with what no turn has paid before */

static void
driver_bill_charge(ngx_claude_process_t *process)
{
    ngx_claude_turn_t  *turn;

    turn = process->payer;

    if (turn == NULL
        || (process->phase < DRIVER_ANSWERING
            && process->cost <= process->charged))
    {
        return;
    }

    turn->spent.cost = ngx_max(turn->spent.cost, 0)
                       + ngx_max(process->cost - process->charged, 0);

    process->charged = process->cost;
}


/*
 * The model has called tools: a result comes when it was given what they
 * returned, which may be never.
 */

void
driver_bill_ask(ngx_claude_process_t *process)
{
    if (ngx_claude_cli_get_usage(process,
                                 driver_id(process, DRIVER_COST))
        != NGX_OK)
    {
        process->doubtful = 1;
        return;
    }

    process->asking = 1;

    ngx_claude_process_flush(process);
}


void
driver_bill_asked(ngx_claude_process_t *process,
    ngx_claude_cli_line_t *line)
{
    double  total;

    total = line->number[NGX_CLAUDE_CLI_N_COST_ASKED];

    if (total >= process->cost) {
        driver_bill_cost(process, total);
    }

    if (!process->asking) {

        /* the payer did not wait: the next one's line has it as well */

        return;
    }

    process->asking = 0;

    if (total >= 0 && process->payer) {
        process->payer->spent.cost = ngx_max(process->payer->spent.cost, 0)
                                + ngx_max(process->cost - process->charged, 0);
        process->charged = process->cost;
    }

    driver_unasked(process);
}


/* its answer is out, so it does not wait for long */

void
driver_bill_wait(ngx_claude_turn_t *turn)
{
    if (turn->payee == NULL) {
        return;
    }

    turn->timer.handler = driver_bill_timeout;
    turn->timer.data = turn;
    turn->timer.log = turn->log;

    ngx_add_timer(&turn->timer, DRIVER_COST_WAIT);
}


static void
driver_bill_timeout(ngx_event_t *ev)
{
    ngx_claude_turn_t  *turn = ev->data;

    driver_paid(turn->payee);
}
