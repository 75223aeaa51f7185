
/*
 * The shared zone: places of turns.
 *
 * A turn has a row from its arrival to its end: it waits, is granted a place
 * and runs, as far as sessions let it: of the turns of one only one at a time
 * goes on with it.
 *
 * A free place is for the key that has the fewest: one that has none goes
 * before all that wait of keys that have some.  Of keys that have as many the
 * least share is the next, so that they take turns (start-time fair queueing).
 * A turn that arrives has a share two behind the last one of its key that is
 * still there; if there is none, one behind the latest that was granted.  So a
 * key that waits for one place goes before all that wait of a key that has
 * others, though not again and again where there are fewer places than keys,
 * and a key that is alone may have all.  Within a key shares are in order of
 * arrival.
 */


#include "ngx_claude_zone_private.h"


static ngx_int_t zone_turn_row(ngx_claude_zone_shared_t *sh);
static uint64_t zone_turn_share(ngx_claude_zone_shared_t *sh,
    ngx_claude_zone_turn_t *turn);
static void zone_turn_run(ngx_claude_zone_shared_t *sh,
    ngx_claude_zone_turn_t *turn, ngx_claude_turn_state_e state);
static ngx_uint_t zone_turn_sooner(ngx_claude_zone_turn_t *a,
    ngx_claude_zone_turn_t *b);
static ngx_int_t zone_turn_displace(ngx_claude_zone_shared_t *sh,
    ngx_claude_zone_turn_t *turn, ngx_claude_zone_wake_t *wake);
static void zone_turn_unneed(ngx_claude_zone_t *zone,
    ngx_claude_zone_turn_t *turn, ngx_claude_zone_wake_t *wake);
static ngx_claude_zone_turn_t *zone_turn_next(ngx_claude_zone_shared_t *sh);
static ngx_uint_t zone_turn_before(ngx_claude_zone_turn_t *a,
    ngx_claude_zone_turn_t *b);
static ngx_uint_t zone_turn_may(ngx_claude_zone_turn_t *turn);
static ngx_uint_t zone_turn_held(ngx_claude_zone_shared_t *sh,
    ngx_claude_zone_turn_t *turn);


ngx_int_t
ngx_claude_zone_turn_enter(ngx_claude_zone_t *zone,
    const ngx_claude_hash_t *tenant, ngx_claude_turn_session_t *session,
    ngx_int_t *row, ngx_claude_zone_wake_t *wake)
{
    ngx_int_t                  rc, i;
    ngx_claude_zone_turn_t    *turn;
    ngx_claude_zone_shared_t  *sh;

    sh = zone->sh;
    rc = NGX_ERROR;
    *row = -1;

    zone_lock(zone);

    i = zone_turn_row(sh);

    if (i != -1) {
        turn = &sh->turns[i];
        turn->owner = ngx_pid;
        turn->process = -1;
        turn->needs = 0;
        turn->order = sh->order++;
        turn->tenant = *tenant;
        turn->share = zone_turn_share(sh, turn);
        turn->named = session->named;
        turn->continues = session->continues;
        turn->owns_session = 0;
        turn->answered = 0;

        if (turn->named) {
            turn->session = session->hash;
        }

        turn->held = zone_turn_held(sh, turn);

        if (sh->running < zone->max_running
            && (zone_turn_may(turn)
                || (!turn->continues && sh->waiting >= zone->max_waiting))
            && (sh->waiting == 0 || zone_turn_next(sh) == NULL))
        {
            zone_turn_run(sh, turn, NGX_CLAUDE_TURN_RUNNING);
            session->owner = turn->owns_session;
            *row = i;
            rc = NGX_OK;

        } else if (sh->waiting < zone->max_waiting
                   || zone_turn_displace(sh, turn, wake) == NGX_OK)
        {
            turn->state = NGX_CLAUDE_TURN_WAITING;
            zone_turn_count(sh, turn);
            sh->waiting++;
            *row = i;
            rc = NGX_AGAIN;

        } else {
            rc = NGX_BUSY;
        }
    }

    zone_unlock(zone);

    return rc;
}


void
ngx_claude_zone_turn_answered(ngx_claude_zone_t *zone, ngx_int_t row)
{
    ngx_claude_zone_turn_t  *turn;

    turn = &zone->sh->turns[row];

    zone_lock(zone);

    turn->answered = 1;
    zone_turn_hold(zone->sh, turn);

    zone_unlock(zone);
}


ngx_int_t
ngx_claude_zone_turn_granted(ngx_claude_zone_t *zone, ngx_int_t row,
    ngx_claude_turn_session_t *session)
{
    ngx_int_t                rc;
    ngx_claude_zone_turn_t  *turn;

    turn = &zone->sh->turns[row];
    rc = NGX_AGAIN;

    zone_lock(zone);

    if (turn->state == NGX_CLAUDE_TURN_GRANTED) {
        turn->state = NGX_CLAUDE_TURN_RUNNING;
        session->owner = turn->owns_session;
        rc = NGX_OK;

    } else if (turn->state == NGX_CLAUDE_TURN_REFUSED) {
        rc = NGX_BUSY;
    }

    zone_unlock(zone);

    return rc;
}


void
ngx_claude_zone_turn_leave(ngx_claude_zone_t *zone, ngx_int_t row,
    ngx_claude_zone_wake_t *wake)
{
    zone_lock(zone);

    zone_turn_free(zone, row, wake);
    zone_grant(zone, wake);

    zone_unlock(zone);
}


void
ngx_claude_zone_grant(ngx_claude_zone_t *zone,
    ngx_claude_zone_wake_t *wake)
{
    zone_lock(zone);

    zone_grant(zone, wake);
    zone_give(zone, wake);

    zone_unlock(zone);
}


ngx_int_t
ngx_claude_zone_process_taken(ngx_claude_zone_t *zone,
    ngx_int_t turn, ngx_int_t *process)
{
    zone_lock(zone);

    *process = zone->sh->turns[turn].process;
    zone->sh->turns[turn].process = -1;

    zone_unlock(zone);

    return (*process == -1) ? NGX_AGAIN : NGX_OK;
}


void
ngx_claude_zone_process_untake(ngx_claude_zone_t *zone,
    ngx_int_t turn, ngx_claude_zone_wake_t *wake)
{
    zone_lock(zone);

    zone_turn_unneed(zone, &zone->sh->turns[turn], wake);

    zone_unlock(zone);
}


ngx_uint_t
ngx_claude_zone_waiting(ngx_claude_zone_t *zone)
{
    return zone->sh->waiting;
}


static ngx_int_t
zone_turn_row(ngx_claude_zone_shared_t *sh)
{
    ngx_uint_t  i;

    for (i = 0; i < sh->turns_high; i++) {
        if (sh->turns[i].state == NGX_CLAUDE_TURN_FREE) {
            return i;
        }
    }

    if (i == sh->nturns) {
        return -1;
    }

    sh->turns_high = i + 1;

    return i;
}


void
zone_turn_free(ngx_claude_zone_t *zone, ngx_uint_t i,
    ngx_claude_zone_wake_t *wake)
{
    ngx_uint_t                 ran;
    ngx_claude_zone_turn_t    *turn;
    ngx_claude_zone_shared_t  *sh;

    sh = zone->sh;
    turn = &sh->turns[i];
    ran = 0;

    if (turn->state == NGX_CLAUDE_TURN_FREE) {
        return;
    }

    if (turn->state == NGX_CLAUDE_TURN_WAITING) {
        sh->waiting--;

    } else if (turn->state != NGX_CLAUDE_TURN_REFUSED) {
        sh->running--;
        ran = 1;
    }

    turn->state = NGX_CLAUDE_TURN_FREE;

    if (ran) {
        zone_turn_count(sh, turn);
        zone_turn_hold(sh, turn);
    }

    zone_turn_unneed(zone, turn, wake);

    while (sh->turns_high
           && sh->turns[sh->turns_high - 1].state
              == NGX_CLAUDE_TURN_FREE)
    {
        sh->turns_high--;
    }
}


/* a turn lets go of the row that it waited for, or was given */

static void
zone_turn_unneed(ngx_claude_zone_t *zone,
    ngx_claude_zone_turn_t *turn, ngx_claude_zone_wake_t *wake)
{
    ngx_int_t  row;

    if (turn->needs) {
        turn->needs = 0;
        zone->sh->needing--;
    }

    row = turn->process;
    turn->process = -1;

    if (row != -1) {
        zone_process_clear(zone, row, wake);
    }
}


/* the share of a turn that arrives */

static uint64_t
zone_turn_share(ngx_claude_zone_shared_t *sh, ngx_claude_zone_turn_t *turn)
{
    uint64_t                 share;
    ngx_uint_t               i, present;
    ngx_claude_zone_turn_t  *other;

    share = sh->share;
    present = 0;

    for (i = 0; i < sh->turns_high; i++) {
        other = &sh->turns[i];

        if (other != turn && other->state != NGX_CLAUDE_TURN_FREE
            && ngx_claude_hash_same(&other->tenant, &turn->tenant))
        {
            share = ngx_max(share, other->share);
            present = 1;
        }
    }

    return share + 1 + present;
}


static void
zone_turn_run(ngx_claude_zone_shared_t *sh, ngx_claude_zone_turn_t *turn,
    ngx_claude_turn_state_e state)
{
    turn->owns_session = (turn->held == ZONE_HELD_NOT);
    turn->state = state;
    zone_turn_count(sh, turn);
    zone_turn_hold(sh, turn);

    sh->running++;
    sh->share = ngx_max(sh->share, turn->share);
}


/*
 * Makes room in the queue for a turn whose share is less than the last one's,
 * which is of the key that waits for most.  NGX_DECLINED: it is not less.
 */

static ngx_int_t
zone_turn_displace(ngx_claude_zone_shared_t *sh, ngx_claude_zone_turn_t *turn,
    ngx_claude_zone_wake_t *wake)
{
    ngx_uint_t               i;
    ngx_claude_zone_turn_t  *other, *last;

    last = NULL;

    for (i = 0; i < sh->turns_high; i++) {
        other = &sh->turns[i];

        if (other->state == NGX_CLAUDE_TURN_WAITING
            && (last == NULL || zone_turn_before(last, other)))
        {
            last = other;
        }
    }

    if (last == NULL || last->share <= turn->share) {
        return NGX_DECLINED;
    }

    last->state = NGX_CLAUDE_TURN_REFUSED;
    sh->waiting--;
    zone_wake_add(sh, last->owner, wake);

    return NGX_OK;
}


/* the next of those that wait and may run; NULL: none */

static ngx_claude_zone_turn_t *
zone_turn_next(ngx_claude_zone_shared_t *sh)
{
    ngx_uint_t               i;
    ngx_claude_zone_turn_t  *turn, *first;

    first = NULL;

    for (i = 0; i < sh->turns_high; i++) {
        turn = &sh->turns[i];

        if (turn->state == NGX_CLAUDE_TURN_WAITING
            && (first == NULL || zone_turn_sooner(turn, first))
            && zone_turn_may(turn))
        {
            first = turn;
        }
    }

    return first;
}


/* of two that wait */

static ngx_uint_t
zone_turn_sooner(ngx_claude_zone_turn_t *a, ngx_claude_zone_turn_t *b)
{
    return (a->places != b->places) ? a->places < b->places
                                    : zone_turn_before(a, b);
}


static ngx_uint_t
zone_turn_before(ngx_claude_zone_turn_t *a, ngx_claude_zone_turn_t *b)
{
    return (a->share != b->share) ? a->share < b->share
                                  : a->order < b->order;
}


/* whether the session of a turn lets it run */

static ngx_uint_t
zone_turn_may(ngx_claude_zone_turn_t *turn)
{
    return turn->held == ZONE_HELD_NOT
           || (turn->held == ZONE_HELD && !turn->continues);
}


/* who has the session of a turn that arrives */

static ngx_uint_t
zone_turn_held(ngx_claude_zone_shared_t *sh, ngx_claude_zone_turn_t *turn)
{
    ngx_uint_t               i;
    ngx_claude_zone_turn_t  *other;

    for (i = 0; turn->named && i < sh->turns_high; i++) {
        other = &sh->turns[i];

        if (zone_turn_has(other) && zone_turn_shares(other, turn)) {
            return other->answered ? ZONE_HELD_ANSWERED : ZONE_HELD;
        }
    }

    return ZONE_HELD_NOT;
}


/* lets waiting turns run, as far as the limit allows */

void
zone_grant(ngx_claude_zone_t *zone, ngx_claude_zone_wake_t *wake)
{
    ngx_claude_zone_turn_t    *first;
    ngx_claude_zone_shared_t  *sh;

    sh = zone->sh;

    while (sh->waiting && sh->running < zone->max_running
           && wake->n < NGX_CLAUDE_ZONE_WAKE)
    {
        first = zone_turn_next(sh);

        if (first == NULL) {
            return;
        }

        zone_turn_run(sh, first, NGX_CLAUDE_TURN_GRANTED);
        sh->waiting--;
        zone_wake_add(sh, first->owner, wake);
    }
}
