
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


static void driver_bill_usage(ngx_claude_seat_t *seat,
    ngx_claude_usage_t *more);
static void driver_bill_unseen(ngx_claude_seat_t *seat,
    ngx_claude_cli_line_t *line);
static void driver_bill_forgotten(ngx_claude_seat_t *seat, double total,
    double since);
static void driver_bill_cost(ngx_claude_seat_t *seat, double total);
static void driver_bill_charge(ngx_claude_seat_t *seat);
static void driver_bill_pay(ngx_claude_seat_t *seat);
static void driver_bill_timeout(ngx_event_t *ev);
static ngx_uint_t driver_bill_any(ngx_claude_usage_t *usage);
static void driver_bill_told(ngx_claude_usage_t *had, double *number,
    ngx_claude_usage_t *more);
static uint64_t driver_bill_more(uint64_t *had, double has);


void
driver_payer(ngx_claude_seat_t *seat, ngx_claude_turn_t *turn)
{
    /* a payer that still waits for its costs: the rest is the next one's */

    driver_paid(seat);

    seat->payer = turn;
    seat->billed = 0;

    turn->engine.payee = seat;
}


void
driver_paid(ngx_claude_seat_t *seat)
{
    ngx_claude_turn_t  *turn;

    turn = seat->payer;

    if (turn == NULL) {
        return;
    }

    ngx_claude_driver_forgo(turn);

    if (turn->engine.over) {
        turn->handlers->paid(turn);
    }
}


void
ngx_claude_driver_forgo(ngx_claude_turn_t *turn)
{
    turn->engine.payee->payer = NULL;
    turn->engine.payee->asking = 0;
    turn->engine.payee = NULL;

    if (turn->engine.timer.timer_set) {
        ngx_del_timer(&turn->engine.timer);
    }
}


void
driver_unasked(ngx_claude_seat_t *seat)
{
    if (seat->state != NGX_CLAUDE_SEAT_RETURNING
        && seat->state != NGX_CLAUDE_SEAT_ASKED
        && seat->state != NGX_CLAUDE_SEAT_SETTLING && !seat->asking)
    {
        driver_paid(seat);
    }
}


/*
 * The tokens that a line tells are those of its call up to now.  Calls of
 * agents' agents are not told, they are in the result alone.
 */

void
driver_bill(ngx_claude_seat_t *seat,
    ngx_claude_cli_line_t *line)
{
    double             *number;
    ngx_claude_usage_t  more, *call;

    if ((line->kind != NGX_CLAUDE_CLI_MESSAGE_START
         && line->kind != NGX_CLAUDE_CLI_MESSAGE_DELTA)
        || line->string[NGX_CLAUDE_CLI_S_PARENT].len)
    {
        return;
    }

    number = line->number;
    call = &seat->bill.call;

    if (line->kind == NGX_CLAUDE_CLI_MESSAGE_START) {
        ngx_memzero(call, sizeof(ngx_claude_usage_t));

        seat->bill.broken_call |= seat->bill.open_call;
        seat->bill.open_call = 1;

    } else if (line->string[NGX_CLAUDE_CLI_S_STOP_REASON].len) {

        /* and no end that the CLI has made up */

        seat->bill.open_call = 0;
    }

    driver_bill_told(call, &number[NGX_CLAUDE_CLI_N_INPUT], &more);

    if (line->kind == NGX_CLAUDE_CLI_MESSAGE_START
        || driver_bill_any(&more))
    {
        driver_bill_usage(seat, &more);
    }
}


static ngx_uint_t
driver_bill_any(ngx_claude_usage_t *usage)
{
    return usage->input || usage->cache_read || usage->cache_creation
           || usage->output || usage->thinking;
}


/*
 * The usage that a line tells beyond what was had, which grows by it.  number:
 * five of the line, in the order that INPUT and SINCE_INPUT begin.
 */

static void
driver_bill_told(ngx_claude_usage_t *had, double *number,
    ngx_claude_usage_t *more)
{
    more->input = driver_bill_more(&had->input, number[0]);
    more->cache_read = driver_bill_more(&had->cache_read, number[1]);
    more->cache_creation = driver_bill_more(&had->cache_creation, number[2]);
    more->output = driver_bill_more(&had->output, number[3]);
    more->thinking = driver_bill_more(&had->thinking, number[4]);
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
driver_bill_usage(ngx_claude_seat_t *seat,
    ngx_claude_usage_t *more)
{
    ngx_claude_spent_t  spent;
    ngx_claude_turn_t  *turn;

    turn = seat->payer;

    spent.usage = *more;
    spent.cost = 0;

    if (turn) {

        if (!seat->billed) {
            seat->billed = 1;
            seat->bill.account = ngx_claude_zone_account(driver_zone,
                                                         &turn->tenant_name,
                                                         &turn->model);
        }

        spent.cost = -1;
        ngx_claude_spent_add(&turn->answer.spent, &spent);
    }

    if (seat->bill.account) {
        ngx_claude_metrics_usage(seat->bill.account, more);
    }

    ngx_claude_usage_add(&seat->bill.counted, more);
}


void
driver_bill_result(ngx_claude_seat_t *seat,
    ngx_claude_cli_line_t *line)
{
    double  total;

    total = line->number[NGX_CLAUDE_CLI_N_COST];

    driver_bill_unseen(seat, line);

    ngx_memzero(&seat->bill.counted, sizeof(ngx_claude_usage_t));
    seat->bill.open_call = 0;
    seat->bill.broken_call = 0;

    if (total >= 0) {
        driver_bill_forgotten(seat, total,
                              line->number[NGX_CLAUDE_CLI_N_SINCE_COST]);
        driver_bill_cost(seat, total);
        driver_bill_charge(seat);

        seat->bill.stated = total;
    }

    switch (seat->state) {

    case NGX_CLAUDE_SEAT_RETURNING:
    case NGX_CLAUDE_SEAT_ASKED:
    case NGX_CLAUDE_SEAT_SETTLING:
        driver_paid(seat);
        break;

    default:

        /* the result of a message of the history, or of calls that are off */

        break;
    }
}


/*
 * Tokens of calls that the CLI has counted, and not told one by one.  Of a
 * call that was cut off it counts an estimate of what came out, where
 * upstream has said no such thing.
 */

static void
driver_bill_unseen(ngx_claude_seat_t *seat,
    ngx_claude_cli_line_t *line)
{
    double             *number;
    ngx_claude_usage_t  more, seen;

    number = line->number;
    seen = seat->bill.counted;

    driver_bill_told(&seen, &number[NGX_CLAUDE_CLI_N_SINCE_INPUT], &more);

    if (seat->bill.open_call || seat->bill.broken_call) {
        more.output = 0;
        more.thinking = 0;
    }

    if (driver_bill_any(&more)) {
        driver_bill_usage(seat, &more);
    }
}


/*
 * A resumed CLI goes on from the total that is in its transcript, which may
 * be less than the one before it was killed had said.
 */

static void
driver_bill_forgotten(ngx_claude_seat_t *seat, double total,
    double since)
{
    double  less;

    /* an older one says totals alone, and a lower one counts as no cost */

    if (since < 0) {
        return;
    }

    less = seat->bill.stated - (total - since);

    if (less > 1e-9) {
        seat->bill.cost -= less;
        seat->bill.charged -= less;
    }
}


static void
driver_bill_cost(ngx_claude_seat_t *seat, double total)
{
    if (seat->bill.account) {
        ngx_claude_metrics_cost(seat->bill.account, seat->bill.cost, total);
    }

    seat->bill.cost = total;
}


static void
driver_bill_charge(ngx_claude_seat_t *seat)
{
    if (seat->payer == NULL
        || (seat->state < NGX_CLAUDE_SEAT_RETURNING
            && seat->bill.cost <= seat->bill.charged))
    {
        return;
    }

    driver_bill_pay(seat);
}


/* the payer pays, with what no turn has paid before */

static void
driver_bill_pay(ngx_claude_seat_t *seat)
{
    ngx_claude_spent_t  *spent;

    spent = &seat->payer->answer.spent;

    spent->cost = ngx_max(spent->cost, 0)
                  + ngx_max(seat->bill.cost - seat->bill.charged, 0);

    seat->bill.charged = seat->bill.cost;
}


/*
 * The model has called tools: a result comes when it was given what they
 * returned, which may be never.
 */

void
driver_bill_ask(ngx_claude_seat_t *seat)
{
    if (ngx_claude_cli_get_usage(seat->outbox,
                                 driver_id(seat, DRIVER_COST))
        != NGX_OK)
    {
        seat->doubtful = 1;
        return;
    }

    seat->asking = 1;

    ngx_claude_process_flush(seat->process);
}


void
driver_bill_asked(ngx_claude_seat_t *seat,
    ngx_claude_cli_line_t *line)
{
    double  total;

    total = line->number[NGX_CLAUDE_CLI_N_COST_ASKED];

    if (total >= seat->bill.cost) {
        driver_bill_cost(seat, total);
    }

    if (!seat->asking) {

        /* the payer did not wait: the next one's line has it as well */

        return;
    }

    seat->asking = 0;

    if (total >= 0 && seat->payer) {
        driver_bill_pay(seat);
    }

    driver_unasked(seat);
}


/* waits for the costs of a turn whose answer is out: not for long */

void
driver_bill_wait(ngx_claude_turn_t *turn)
{
    if (turn->engine.payee == NULL) {
        return;
    }

    turn->engine.timer.handler = driver_bill_timeout;
    turn->engine.timer.data = turn;
    turn->engine.timer.log = turn->log;

    ngx_add_timer(&turn->engine.timer, DRIVER_COST_WAIT);
}


static void
driver_bill_timeout(ngx_event_t *ev)
{
    ngx_claude_turn_t  *turn = ev->data;

    driver_paid(turn->engine.payee);
}
