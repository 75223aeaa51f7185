
/*
 * The engine.  See the header for what it is for.
 *
 * Here turns get their places and processes: a place among the running turns
 * of all workers, in order of arrival; then the nearest process of this
 * worker's pool, or the row of a new one, for which the longest idle process
 * of any worker may have to give way.  What happens between a turn and its
 * process is the driver's.
 */


#include "ngx_claude_engine.h"
#include "ngx_claude_pool.h"
#include "ngx_claude_chain.h"
#include "ngx_claude_debt.h"
#include "ngx_claude_driver.h"
#include "ngx_claude_handover.h"
#include "ngx_claude_home.h"
#include "ngx_claude_mailbox.h"
#include "ngx_claude_peers.h"


/* things that other workers are asked for, in this order */
#define ENGINE_ASK_TIP      0          /* the conversation itself */
#define ENGINE_ASK_FIRST    1          /* conversation that began like it */
#define ENGINE_ASK_KEY      2          /* any process of the key */
#define ENGINE_ASK_WARM     3          /* process that is nobody's yet */
#define ENGINE_ASK_NOTHING  4

/* a history of fewer messages is replayed sooner than a process is fetched */
#define ENGINE_ASK_HISTORY  3


/* between two sweeps, msec */
#define ENGINE_SWEEP_MIN    500
#define ENGINE_SWEEP_MAX    60000


static ngx_int_t engine_enter(void);
static void engine_woken(void);
static void engine_handed(ngx_claude_turn_t *turn,
    ngx_claude_seat_t *seat);
static ngx_int_t engine_reuse(ngx_claude_turn_t *turn);
static ngx_int_t engine_local(ngx_claude_turn_t *turn,
    ngx_claude_rung_e least);
static void engine_begin(ngx_claude_turn_t *turn, ngx_claude_seat_t *seat,
    const ngx_claude_plan_t *plan);
static void engine_plan(ngx_claude_plan_t *plan, ngx_claude_seat_t *seat,
    ngx_claude_turn_t *turn);
static ngx_uint_t engine_is_own(ngx_claude_turn_t *turn);
static ngx_int_t engine_ask_first(ngx_claude_turn_t *turn);
static ngx_int_t engine_ask(ngx_claude_turn_t *turn);
static void engine_wait(ngx_claude_turn_t *turn);
static void engine_unwait(ngx_claude_turn_t *turn);
static void engine_served(ngx_claude_turn_t *turn);
static void engine_parted(ngx_claude_turn_t *turn);
static void engine_wait_timeout(ngx_event_t *ev);
static void engine_limit(ngx_claude_turn_t *turn);
static void engine_overdue(ngx_event_t *ev);
static void engine_place(ngx_claude_turn_t *turn);
static void engine_take(ngx_claude_turn_t *turn);
static void engine_indebted(ngx_event_t *ev);
static void engine_spawn(ngx_claude_turn_t *turn, ngx_int_t row);
static ngx_int_t engine_refuse_full(ngx_claude_turn_t *turn);
static ngx_int_t engine_refuse(ngx_claude_turn_t *turn, ngx_claude_fail_e fail,
    const char *reason);
static void engine_free_row(ngx_int_t row);

static void engine_started(ngx_claude_seat_t *seat);
static void engine_idle(ngx_claude_seat_t *seat);
static void engine_proved(ngx_claude_seat_t *seat);
static void engine_lost(ngx_claude_seat_t *seat, ngx_str_t *reason);
static void engine_ended(ngx_claude_seat_t *seat);
static void engine_again(ngx_claude_turn_t *turn);
static void engine_leave(ngx_int_t row);
static void engine_sweep_init(void);
static void engine_event(ngx_event_t *ev, ngx_event_handler_pt handler);
static void engine_sweep_handler(ngx_event_t *ev);


static const ngx_claude_driver_hooks_t  engine_hooks = {
    engine_started,
    engine_idle,
    engine_proved,
    engine_lost,
    engine_ended,
    engine_parted,
    engine_free_row,
    engine_again,
    engine_leave
};


static const ngx_claude_mailbox_handlers_t  engine_mail = {
    engine_woken,
    ngx_claude_handover_give,
    ngx_claude_peers_watched
};


static ngx_claude_handover_conf_t  engine_handover;
static ngx_claude_zone_t          *engine_zone;
static const ngx_claude_limits_t  *engine;
static ngx_uint_t                  engine_entered;
static ngx_queue_t                 engine_waiting;    /* turns */
static ngx_event_t                 engine_debts;
static ngx_event_t                 engine_sweep;
static ngx_connection_t            engine_dummy;
static ngx_uint_t                  engine_swept;      /* profiles */


/* a failure is tried again by the next turn: the worker is not only ours */

void
ngx_claude_engine_init(ngx_claude_zone_t *zone,
    const ngx_claude_limits_t *limits)
{
    engine_zone = zone;
    engine = limits;

    (void) engine_enter();
}


static ngx_int_t
engine_enter(void)
{
    ngx_cycle_t      *cycle;
    ngx_core_conf_t  *ccf;

    cycle = (ngx_cycle_t *) ngx_cycle;

    if (ngx_claude_mailbox_open(cycle, engine_zone, &engine_mail)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    engine_entered = 1;

    ngx_queue_init(&engine_waiting);

    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);

    ngx_claude_debt_init(ccf->worker_processes);
    engine_event(&engine_debts, engine_indebted);

    ngx_claude_driver_init(engine_zone, &engine_hooks);
    ngx_claude_pool_init(engine_zone, engine);

    engine_handover.zone = engine_zone;
    engine_handover.profiles = engine->profiles;
    engine_handover.max_line = engine->max_line;
    engine_handover.handed = engine_handed;
    engine_handover.stray = ngx_claude_pool_put;

    ngx_claude_handover_init(&engine_handover);
    engine_sweep_init();

    /* a worker that was killed may be the reason why this one starts */

    ngx_claude_peers_init(engine_zone);

    return NGX_OK;
}


void
ngx_claude_engine_exit(ngx_cycle_t *cycle)
{
    if (!engine_entered) {
        return;
    }

    if (engine_sweep.timer_set) {
        ngx_del_timer(&engine_sweep);
    }

    if (engine_debts.timer_set) {
        ngx_del_timer(&engine_debts);
    }

    ngx_claude_pool_exit();

    ngx_claude_driver_exit();
    ngx_claude_spawner_exit(cycle);

    ngx_claude_mailbox_close();
    ngx_claude_peers_exit();
    ngx_claude_debt_exit();

    engine_entered = 0;
}


ngx_int_t
ngx_claude_turn_start(ngx_claude_turn_t *turn)
{
    ngx_int_t               rc;
    ngx_claude_profile_t   *profile;
    ngx_claude_zone_wake_t  wake;

    turn->answer.begun = ngx_current_msec;
    profile = turn->profile;

    if (!engine_entered && engine_enter() != NGX_OK) {
        return engine_refuse(turn, NGX_CLAUDE_FAIL_UNAVAILABLE,
                             "This worker of nginx cannot start a turn.");
    }

    if (profile->failed
        && (ngx_msec_int_t) (profile->failed_until - ngx_current_msec) > 0)
    {
        return engine_refuse(turn, profile->failed, NULL);
    }

    if (ngx_claude_chain(turn) == NULL
        || ngx_claude_plan_turn(turn) != NGX_OK)
    {
        return engine_refuse(turn, NGX_CLAUDE_FAIL_INTERNAL, NULL);
    }

    wake.n = 0;

    rc = ngx_claude_zone_turn_enter(engine_zone, &turn->tenant,
                                    &turn->session, &turn->engine.row, &wake);

    ngx_claude_mailbox_wake(engine_zone, &wake);

    switch (rc) {

    case NGX_OK:
        engine_place(turn);
        return turn->engine.over ? NGX_DECLINED : NGX_OK;

    case NGX_AGAIN:
        turn->engine.queued = 1;
        engine_wait(turn);
        return NGX_OK;

    default:
        return engine_refuse_full(turn);
    }
}


void
ngx_claude_turn_abort(ngx_claude_turn_t *turn)
{
    if (turn->engine.limit.timer_set) {
        ngx_del_timer(&turn->engine.limit);
    }

    if (turn->engine.over || turn->engine.row == -1) {
        return;
    }

    turn->engine.over = 1;

    (void) ngx_atomic_fetch_add(
        &engine_zone->counters->outcomes[turn->answer.is_finished
                                          ? NGX_CLAUDE_OUTCOME_FINISHED
                                          : NGX_CLAUDE_OUTCOME_ABORTED],
        1);

    if (turn->engine.seat) {
        ngx_claude_driver_abandon(turn->engine.seat);
        return;
    }

    ngx_claude_handover_cancel(turn);
    engine_unwait(turn);
    engine_leave(turn->engine.row);
    turn->engine.row = -1;
}


void
ngx_claude_turn_forgo(ngx_claude_turn_t *turn)
{
    if (turn->engine.payee) {
        ngx_claude_driver_forgo(turn);
    }
}


void
ngx_claude_turn_stop(ngx_claude_turn_t *turn, size_t surplus)
{
    if (turn->engine.seat && !turn->answer.is_finished) {
        ngx_claude_driver_turn_cut(turn->engine.seat, surplus);
    }
}


void
ngx_claude_turn_pause(ngx_claude_turn_t *turn)
{
    turn->engine.paused = 1;

    if (turn->engine.seat) {
        ngx_claude_driver_pause(turn->engine.seat);
    }
}


void
ngx_claude_turn_resume(ngx_claude_turn_t *turn)
{
    turn->engine.paused = 0;

    if (turn->engine.seat) {
        ngx_claude_driver_resume(turn->engine.seat);
    }
}


/*
 * Something has changed for this worker: waiting turns of it were granted
 * places or rows, or idle processes of it have to give way.
 */

static void
engine_woken(void)
{
    ngx_int_t           rc, row;
    ngx_queue_t        *q, *next;
    ngx_claude_turn_t  *turn;

    ngx_claude_pool_evict();
    ngx_claude_pool_warm();

    for (q = ngx_queue_head(&engine_waiting);
         q != ngx_queue_sentinel(&engine_waiting);
         q = next)
    {
        next = ngx_queue_next(q);
        turn = ngx_queue_data(q, ngx_claude_turn_t, engine.waiting);

        if (turn->engine.queued) {

            rc = ngx_claude_zone_turn_granted(engine_zone, turn->engine.row,
                                              &turn->session);
            if (rc == NGX_AGAIN) {
                continue;
            }

            engine_unwait(turn);

            if (rc == NGX_OK) {
                engine_place(turn);

            } else {
                engine_leave(turn->engine.row);
                (void) engine_refuse_full(turn);
            }

        } else {

            if (ngx_claude_zone_process_taken(engine_zone, turn->engine.row,
                                              &row)
                != NGX_OK)
            {
                continue;
            }

            engine_unwait(turn);
            engine_spawn(turn, row);
        }

        if (turn->engine.over) {
            turn->handlers->failed(turn);

            /* the handler may have done anything to the queue */

            next = ngx_queue_head(&engine_waiting);
        }
    }
}


static void
engine_wait(ngx_claude_turn_t *turn)
{
    turn->engine.timer.handler = engine_wait_timeout;
    turn->engine.timer.data = turn;
    turn->engine.timer.log = turn->log;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, turn->log, 0,
                   "claude: the turn waits for a %s",
                   turn->engine.queued ? "place" : "process");

    ngx_queue_insert_tail(&engine_waiting, &turn->engine.waiting);

    turn->engine.patience = engine->queue_timeout;

    if (turn->asker == NULL || turn->asker->served == 0) {
        ngx_add_timer(&turn->engine.timer, turn->engine.patience);
    }
}


static void
engine_unwait(ngx_claude_turn_t *turn)
{
    if (!turn->engine.queued && !turn->engine.rowless) {
        return;
    }

    turn->engine.queued = 0;
    turn->engine.rowless = 0;
    turn->engine.indebted = 0;

    if (turn->engine.timer.timer_set) {
        ngx_del_timer(&turn->engine.timer);
    }

    ngx_queue_remove(&turn->engine.waiting);
}


/*
 * The clock of those that wait stands while another answer of their request
 * comes: from when its process has it to when they part.
 */

static void
engine_served(ngx_claude_turn_t *turn)
{
    ngx_queue_t         *q;
    ngx_claude_turn_t   *other;
    ngx_msec_int_t       left;

    if (turn->asker == NULL || turn->asker->served++) {
        return;
    }

    for (q = ngx_queue_head(&engine_waiting);
         q != ngx_queue_sentinel(&engine_waiting);
         q = ngx_queue_next(q))
    {
        other = ngx_queue_data(q, ngx_claude_turn_t, engine.waiting);

        if (other->asker == turn->asker && other->engine.timer.timer_set) {
            left = other->engine.timer.timer.key - ngx_current_msec;
            other->engine.patience = ngx_max(left, 0);

            ngx_del_timer(&other->engine.timer);
        }
    }
}


static void
engine_parted(ngx_claude_turn_t *turn)
{
    ngx_queue_t        *q;
    ngx_claude_turn_t  *other;

    if (turn->asker == NULL || --turn->asker->served) {
        return;
    }

    for (q = ngx_queue_head(&engine_waiting);
         q != ngx_queue_sentinel(&engine_waiting);
         q = ngx_queue_next(q))
    {
        other = ngx_queue_data(q, ngx_claude_turn_t, engine.waiting);

        if (other->asker == turn->asker) {
            ngx_add_timer(&other->engine.timer, other->engine.patience);
        }
    }
}


static void
engine_wait_timeout(ngx_event_t *ev)
{
    ngx_claude_turn_t  *turn = ev->data;

    engine_unwait(turn);
    engine_leave(turn->engine.row);
    turn->engine.row = -1;

    turn->answer.retry_after = 1 + ngx_claude_zone_waiting(engine_zone)
                            / engine_zone->max_running;

    (void) engine_refuse(turn, NGX_CLAUDE_FAIL_QUEUE_TIMEOUT,
                         "The request has waited too long for its turn.");
    turn->handlers->failed(turn);
}


/* from its first place on, through all the processes that it may have */

static void
engine_limit(ngx_claude_turn_t *turn)
{
    if (turn->engine.limit.timer_set) {
        return;
    }

    turn->engine.limit.handler = engine_overdue;
    turn->engine.limit.data = turn;
    turn->engine.limit.log = turn->log;

    ngx_add_timer(&turn->engine.limit, turn->limit);
}


static void
engine_overdue(ngx_event_t *ev)
{
    ngx_claude_turn_t  *turn = ev->data;

    if (turn->engine.over || turn->answer.is_finished) {
        return;
    }

    if (turn->engine.seat) {
        ngx_claude_driver_overdue(turn->engine.seat);
        return;
    }

    ngx_claude_handover_cancel(turn);
    engine_unwait(turn);
    engine_leave(turn->engine.row);

    (void) engine_refuse(turn, NGX_CLAUDE_FAIL_TURN_TIMEOUT, NULL);
    turn->handlers->failed(turn);
}


/*
 * The turn has its place: now a process for it, by the ladder.  One that has
 * the conversation, here or in another worker; one of this worker that can be
 * brought to it; one of another worker; a new one.  Sets over if there is
 * none to be had.
 */

static void
engine_place(ngx_claude_turn_t *turn)
{
    ngx_claude_zone_wake_t  wake;

    engine_limit(turn);

    if (turn->engine.retried < NGX_CLAUDE_DRIVER_RETRIES
        && engine_reuse(turn) == NGX_OK)
    {
        return;
    }

    wake.n = 0;

    if (engine_is_own(turn) && !turn->session.results) {

        /* a process that holds it and could not be had has to let go */

        ngx_claude_zone_session_evict(engine_zone, &turn->session.hash,
                                      &wake);
        ngx_claude_mailbox_wake(engine_zone, &wake);
        ngx_claude_pool_evict();

    } else if (turn->session.continues) {
        engine_leave(turn->engine.row);
        (void) engine_refuse(turn, NGX_CLAUDE_FAIL_SESSION_GONE, NULL);
        return;
    }

    engine_take(turn);
}


/* a new process for the turn, as soon as its key may have one */

static void
engine_take(ngx_claude_turn_t *turn)
{
    ngx_int_t               row;
    ngx_msec_t              wait;
    ngx_claude_zone_wake_t  wake;

    wait = ngx_claude_debt_wait(&turn->tenant);

    if (wait) {
        ngx_log_error(NGX_LOG_INFO, turn->log, 0,
                      "claude: the key has to wait %M ms for another process, "
                      "its clients did not wait for those before, request %V",
                      wait, &turn->id);

        turn->engine.rowless = 1;
        turn->engine.indebted = 1;
        engine_wait(turn);

        if (!engine_debts.timer_set || wait < engine_debts.timer.key
                                              - ngx_current_msec)
        {
            ngx_add_timer(&engine_debts, wait);
        }

        return;
    }

    wake.n = 0;

    switch (ngx_claude_zone_process_take(engine_zone, turn->engine.row,
                                         &row, &wake))
    {
    case NGX_OK:
        engine_spawn(turn, row);
        break;

    default:
        turn->engine.rowless = 1;
        engine_wait(turn);
        ngx_claude_mailbox_wake(engine_zone, &wake);
    }
}


/* turns of keys whose debts are paid by now go on */

static void
engine_indebted(ngx_event_t *ev)
{
    ngx_msec_t          wait, least;
    ngx_queue_t        *q, *next;
    ngx_claude_turn_t  *turn;

    least = 0;

    for (q = ngx_queue_head(&engine_waiting);
         q != ngx_queue_sentinel(&engine_waiting);
         q = next)
    {
        next = ngx_queue_next(q);
        turn = ngx_queue_data(q, ngx_claude_turn_t, engine.waiting);

        if (!turn->engine.indebted) {
            continue;
        }

        wait = ngx_claude_debt_wait(&turn->tenant);

        if (wait) {
            least = (least == 0) ? wait : ngx_min(least, wait);
            continue;
        }

        engine_unwait(turn);
        engine_take(turn);

        if (turn->engine.over) {
            turn->handlers->failed(turn);

            /* the handler may have done anything to the queue */

            next = ngx_queue_head(&engine_waiting);
        }
    }

    if (least) {
        ngx_add_timer(ev, least);
    }
}


/* NGX_OK: some process has the turn, or may come, or the turn is over */

static ngx_int_t
engine_reuse(ngx_claude_turn_t *turn)
{
    if (turn->engine.asked == ENGINE_ASK_TIP
        && (engine_local(turn, NGX_CLAUDE_RUNG_LIVE) == NGX_OK
            || engine_ask(turn) == NGX_OK))
    {
        return NGX_OK;
    }

    if (turn->engine.asked == ENGINE_ASK_FIRST
        && (engine_local(turn, NGX_CLAUDE_RUNG_REWOUND) == NGX_OK
            || engine_ask_first(turn) == NGX_OK))
    {
        return NGX_OK;
    }

    if (engine_local(turn, NGX_CLAUDE_RUNG_WARM) == NGX_OK) {
        return NGX_OK;
    }

    return engine_ask(turn);
}


/* NGX_OK: another worker seems to have a longer or branched history */

static ngx_int_t
engine_ask_first(ngx_claude_turn_t *turn)
{
    ngx_claude_hash_t       realm;
    ngx_claude_link_t      *links;
    ngx_claude_zone_idle_t  what;

    turn->engine.asked++;

    if (turn->messages.nelts < ENGINE_ASK_HISTORY) {
        return NGX_DECLINED;
    }

    links = turn->engine.links;

    ngx_memzero(&what, sizeof(ngx_claude_zone_idle_t));

    ngx_claude_pool_realm(turn->profile, &turn->tenant, NULL, &realm);
    what.realm = &realm;
    what.first = &links[1];

    return ngx_claude_handover_ask(turn, &what);
}


/* NGX_OK: a process of this worker has the turn, or it is over */

static ngx_int_t
engine_local(ngx_claude_turn_t *turn, ngx_claude_rung_e least)
{
    ngx_claude_plan_t   plan;
    ngx_claude_seat_t  *seat;

    seat = ngx_claude_pool_pick(turn, least, &plan);

    if (seat == NULL) {
        return NGX_DECLINED;
    }

    engine_begin(turn, seat, &plan);

    return NGX_OK;
}


/* the turn may be over then */

static void
engine_begin(ngx_claude_turn_t *turn, ngx_claude_seat_t *seat,
    const ngx_claude_plan_t *plan)
{
    if (plan->fail != NGX_CLAUDE_FAIL_INTERNAL) {
        ngx_claude_pool_put(seat);
        engine_leave(turn->engine.row);
        (void) engine_refuse(turn, plan->fail, NULL);
        return;
    }

    engine_served(turn);

    if (ngx_claude_driver_begin(seat, turn, plan) != NGX_OK) {
        engine_leave(turn->engine.row);
        (void) engine_refuse(turn, NGX_CLAUDE_FAIL_INTERNAL, NULL);
    }
}


static void
engine_plan(ngx_claude_plan_t *plan, ngx_claude_seat_t *seat,
    ngx_claude_turn_t *turn)
{
    if (!seat->holding.used && seat->process->profile == turn->profile) {
        ngx_claude_profile_look(turn->profile);
    }

    ngx_claude_plan(plan, &seat->holding, seat->held.elts, seat->calls.elts,
                    turn);
}


/* the session is the client's own, and goes on from this turn */

static ngx_uint_t
engine_is_own(ngx_claude_turn_t *turn)
{
    return turn->session.kind == NGX_CLAUDE_SESSION_CHOSEN
           && turn->session.owner;
}


/*
 * Asks other workers, each time for the next best thing.  NGX_OK: one of them
 * seems to have it, engine_handed() goes on.
 */

static ngx_int_t
engine_ask(ngx_claude_turn_t *turn)
{
    ngx_int_t               rc;
    ngx_claude_hash_t       realm;
    ngx_claude_link_t      *links;
    ngx_claude_zone_idle_t  what;

    links = turn->engine.links;

    ngx_memzero(&what, sizeof(ngx_claude_zone_idle_t));
    what.realm = &realm;

    if (turn->engine.asked == ENGINE_ASK_TIP) {
        turn->engine.asked++;

        ngx_claude_pool_realm(turn->profile, &turn->tenant,
                              engine_is_own(turn) ? &turn->session.hash : NULL,
                              &realm);

        if (engine_is_own(turn) || turn->session.continues) {
            turn->engine.asked = ENGINE_ASK_NOTHING;
            what.session = &turn->session.hash;

        } else if (turn->messages.nelts > 1) {
            what.tip = &links[turn->messages.nelts - 1];

        } else {
            return NGX_DECLINED;
        }

        return ngx_claude_handover_ask(turn, &what);
    }

    for (rc = NGX_DECLINED;
         rc != NGX_OK && turn->engine.asked < ENGINE_ASK_NOTHING;
         turn->engine.asked++)
    {
        if (turn->engine.asked == ENGINE_ASK_WARM
            && ngx_claude_debt_wait(&turn->tenant))
        {
            continue;
        }

        if (turn->profile->agent
            && (turn->engine.asked == ENGINE_ASK_KEY
                || turn->messages.nelts > 1))
        {
            /* never emptied, and what it did before may be on disk */

            continue;
        }

        ngx_claude_pool_realm(turn->profile,
                              (turn->engine.asked == ENGINE_ASK_KEY)
                              ? &turn->tenant : NULL,
                              turn->profile->agent ? &turn->tenant : NULL,
                              &realm);

        rc = ngx_claude_handover_ask(turn, &what);
    }

    return rc;
}


/* a process of another worker's has come; NULL: none after all */

static void
engine_handed(ngx_claude_turn_t *turn, ngx_claude_seat_t *seat)
{
    ngx_claude_plan_t  plan;

    plan.rung = NGX_CLAUDE_RUNG_NONE;

    if (seat) {
        engine_plan(&plan, seat, turn);

        if (plan.rung == NGX_CLAUDE_RUNG_NONE) {
            ngx_claude_pool_put(seat);
        }
    }

    if (plan.rung == NGX_CLAUDE_RUNG_NONE) {
        engine_place(turn);

    } else {
        engine_begin(turn, seat, &plan);
    }

    if (turn->engine.over) {
        turn->handlers->failed(turn);
    }
}


static void
engine_spawn(ngx_claude_turn_t *turn, ngx_int_t row)
{
    ngx_claude_seat_t        *seat;
    ngx_claude_owner_t        owner;
    ngx_claude_record_ask_t  *session, ask;

    /* what goes to disk goes into the key's own directories */

    session = ngx_claude_record_ask(turn, engine->session_ttl / 1000, &ask);

    owner.home = turn->home;
    owner.tenant = turn->tenant;

    seat = ngx_claude_driver_spawn(turn->profile, session ? &owner : NULL,
                                   session, turn->engine.ungated,
                                   engine->max_line, row, turn->log);
    if (seat == NULL) {
        engine_leave(turn->engine.row);
        ngx_str_set(&turn->answer.words, "see the line before");
        (void) engine_refuse(turn, NGX_CLAUDE_FAIL_UNAVAILABLE, NULL);
        return;
    }

    engine_served(turn);
    ngx_claude_pool_starts(seat);

    if (ngx_claude_debt_due(&turn->tenant)) {
        seat->wasted = 1;
        ngx_claude_debt_add(&turn->tenant);
    }

    if (ngx_claude_driver_begin(seat, turn, NULL) != NGX_OK) {
        engine_leave(turn->engine.row);
        (void) engine_refuse(turn, NGX_CLAUDE_FAIL_INTERNAL, NULL);
    }
}


static ngx_int_t
engine_refuse_full(ngx_claude_turn_t *turn)
{
    turn->answer.retry_after = 1 + ngx_claude_zone_waiting(engine_zone)
                                   / engine_zone->max_running;

    return engine_refuse(turn, NGX_CLAUDE_FAIL_QUEUE_FULL,
                         "Too many requests are waiting already.");
}


/* a failure without a process */

static ngx_int_t
engine_refuse(ngx_claude_turn_t *turn, ngx_claude_fail_e fail,
    const char *reason)
{
    turn->engine.over = 1;
    turn->answer.fail = fail;
    turn->engine.row = -1;

    if (reason) {
        turn->answer.reason.data = (u_char *) reason;
        turn->answer.reason.len = ngx_strlen(reason);
    }

    ngx_claude_metrics_failed(engine_zone->counters, fail);
    ngx_claude_driver_log(turn, 0);

    return NGX_DECLINED;
}


static void
engine_free_row(ngx_int_t row)
{
    ngx_claude_zone_wake_t  wake;

    wake.n = 0;
    ngx_claude_zone_process_free(engine_zone, row, &wake);
    ngx_claude_mailbox_wake(engine_zone, &wake);
}


static void
engine_started(ngx_claude_seat_t *seat)
{
    ngx_claude_pool_ready(seat);
}


static void
engine_proved(ngx_claude_seat_t *seat)
{
    ngx_claude_pool_proved(seat->process->profile);
}


static void
engine_lost(ngx_claude_seat_t *seat, ngx_str_t *reason)
{
    ngx_claude_pool_lost(seat, reason);
}


/*
 * A process has nothing to do.  A turn of this worker that waits for a row
 * may do with it; else it goes to the pool.
 */

static void
engine_idle(ngx_claude_seat_t *seat)
{
    ngx_queue_t            *q;
    ngx_claude_plan_t       plan;
    ngx_claude_turn_t      *turn;
    ngx_claude_zone_wake_t  wake;

    ngx_claude_pool_ready(seat);

    for (q = ngx_queue_head(&engine_waiting);
         q != ngx_queue_sentinel(&engine_waiting);
         q = ngx_queue_next(q))
    {
        turn = ngx_queue_data(q, ngx_claude_turn_t, engine.waiting);

        if (!turn->engine.rowless
            || (seat->holding.used && seat->process->profile->single))
        {
            continue;
        }

        engine_plan(&plan, seat, turn);

        if (plan.rung == NGX_CLAUDE_RUNG_NONE
            || !ngx_claude_pool_allows(seat, turn, &plan))
        {
            continue;
        }

        wake.n = 0;
        ngx_claude_zone_process_untake(engine_zone, turn->engine.row,
                                       &wake);
        ngx_claude_mailbox_wake(engine_zone, &wake);

        engine_unwait(turn);
        engine_begin(turn, seat, &plan);

        if (turn->engine.over) {
            turn->handlers->failed(turn);
        }

        return;
    }

    ngx_claude_pool_put(seat);
}


static void
engine_ended(ngx_claude_seat_t *seat)
{
    ngx_claude_pool_left(seat);
}


/*
 * From an event: the turn lost its process before anything was said.  What it
 * was to follow is the next one's to say.
 */

static void
engine_again(ngx_claude_turn_t *turn)
{
    if (turn->engine.before
        && ngx_claude_chain_follow(turn, NULL) != NGX_OK)
    {
        engine_leave(turn->engine.row);
        (void) engine_refuse(turn, NGX_CLAUDE_FAIL_INTERNAL, NULL);
        turn->handlers->failed(turn);
        return;
    }

    turn->engine.before = 0;

    engine_place(turn);

    if (turn->engine.over) {
        turn->handlers->failed(turn);
    }
}


static void
engine_leave(ngx_int_t row)
{
    ngx_claude_zone_wake_t  wake;

    wake.n = 0;
    ngx_claude_zone_turn_leave(engine_zone, row, &wake);
    ngx_claude_mailbox_wake(engine_zone, &wake);
}


/*
 * Transcripts of sessions are deleted in time though nobody asks for them any
 * more, and so is what keys leave that are no more: one worker has the homes
 * swept, and each time the directory in which one of the profiles has left
 * transcripts before there were homes.
 */

static void
engine_sweep_init(void)
{
    engine_event(&engine_sweep, engine_sweep_handler);

    if (ngx_worker == 0 && engine->profiles->nelts) {
        ngx_claude_home_names(engine->state, engine->homes, &engine->nginx,
                              ngx_cycle->log);

        ngx_add_timer(&engine_sweep, ENGINE_SWEEP_MIN);
    }
}


/* a timer that keeps no worker alive */

static void
engine_event(ngx_event_t *ev, ngx_event_handler_pt handler)
{
    ngx_memzero(ev, sizeof(ngx_event_t));

    /* ngx_event_ident() of debug logs looks for a connection */

    engine_dummy.fd = (ngx_socket_t) -1;

    ev->handler = handler;
    ev->data = &engine_dummy;
    ev->log = ngx_cycle->log;
    ev->cancelable = 1;
}


static void
engine_sweep_handler(ngx_event_t *ev)
{
    ngx_msec_t              interval;
    ngx_claude_profile_t  **profile;

    if (ngx_exiting) {
        return;
    }

    profile = engine->profiles->elts;

    ngx_claude_spawner_sweep(engine->state,
        profile[engine_swept++ % engine->profiles->nelts]->transcripts,
        engine->session_ttl / 1000, ev->log);

    interval = ngx_min(engine->session_ttl / 2, ENGINE_SWEEP_MAX);

    ngx_add_timer(ev, ngx_max(interval, ENGINE_SWEEP_MIN));
}
