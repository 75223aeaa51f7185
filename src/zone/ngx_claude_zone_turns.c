
/*
 * The shared zone: places of turns.
 *
 * A turn has a row from its arrival to its end: it waits, is granted a place
 * and runs.  The first in order of arrival is the next, as far as sessions let
 * it: of the turns of one only one at a time goes on with it.
 */


#include "ngx_claude_zone_private.h"


static ngx_int_t zone_turn_row(ngx_claude_zone_shared_t *sh);
static void zone_turn_unneed(ngx_claude_zone_t *zone,
    ngx_claude_zone_turn_t *turn, ngx_claude_zone_wake_t *wake);
static ngx_claude_zone_turn_t *zone_turn_next(ngx_claude_zone_shared_t *sh);
static ngx_uint_t zone_turn_may(ngx_claude_zone_shared_t *sh,
    ngx_claude_zone_turn_t *turn);
static ngx_claude_zone_turn_t *zone_turn_holder(ngx_claude_zone_shared_t *sh,
    ngx_claude_zone_turn_t *turn);


ngx_int_t
ngx_claude_zone_turn_enter(ngx_claude_zone_t *zone,
    ngx_claude_turn_session_t *session, ngx_int_t *row)
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
        turn->named = session->named;
        turn->continues = session->continues;
        turn->owns_session = 0;
        turn->answered = 0;

        if (turn->named) {
            turn->session = session->hash;
        }

        if (sh->running < zone->max_running
            && (zone_turn_may(sh, turn)
                || (!turn->continues && sh->waiting >= zone->max_waiting))
            && (sh->waiting == 0 || zone_turn_next(sh) == NULL))
        {
            turn->state = NGX_CLAUDE_TURN_RUNNING;
            turn->owns_session = (zone_turn_holder(sh, turn) == NULL);
            session->owner = turn->owns_session;
            sh->running++;
            *row = i;
            rc = NGX_OK;

        } else if (sh->waiting < zone->max_waiting) {
            turn->state = NGX_CLAUDE_TURN_WAITING;
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
    zone_lock(zone);

    zone->sh->turns[row].answered = 1;

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
    ngx_claude_zone_turn_t    *turn;
    ngx_claude_zone_shared_t  *sh;

    sh = zone->sh;
    turn = &sh->turns[i];

    if (turn->state == NGX_CLAUDE_TURN_FREE) {
        return;
    }

    if (turn->state == NGX_CLAUDE_TURN_WAITING) {
        sh->waiting--;

    } else {
        sh->running--;
    }

    turn->state = NGX_CLAUDE_TURN_FREE;
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


/* the first in order of those that wait and may run; NULL: none */

static ngx_claude_zone_turn_t *
zone_turn_next(ngx_claude_zone_shared_t *sh)
{
    ngx_uint_t               i;
    ngx_claude_zone_turn_t  *turn, *first;

    first = NULL;

    for (i = 0; i < sh->turns_high; i++) {
        turn = &sh->turns[i];

        if (turn->state == NGX_CLAUDE_TURN_WAITING
            && (first == NULL || turn->order < first->order)
            && zone_turn_may(sh, turn))
        {
            first = turn;
        }
    }

    return first;
}


/* whether the session of a turn lets it run */

static ngx_uint_t
zone_turn_may(ngx_claude_zone_shared_t *sh,
    ngx_claude_zone_turn_t *turn)
{
    ngx_claude_zone_turn_t  *holder;

    holder = zone_turn_holder(sh, turn);

    return holder == NULL || (!turn->continues && !holder->answered);
}


/* the other turn that goes on with the session, or NULL */

static ngx_claude_zone_turn_t *
zone_turn_holder(ngx_claude_zone_shared_t *sh,
    ngx_claude_zone_turn_t *turn)
{
    ngx_uint_t               i;
    ngx_claude_zone_turn_t  *other;

    for (i = 0; turn->named && i < sh->turns_high; i++) {
        other = &sh->turns[i];

        if (other != turn
            && other->state >= NGX_CLAUDE_TURN_GRANTED && other->owns_session
            && other->named
            && ngx_claude_hash_same(&other->session, &turn->session))
        {
            return other;
        }
    }

    return NULL;
}


/* lets waiting turns run, in order of arrival, as far as the limit allows */

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

        first->state = NGX_CLAUDE_TURN_GRANTED;
        first->owns_session = (zone_turn_holder(sh, first) == NULL);
        sh->waiting--;
        sh->running++;
        zone_wake_add(sh, first->owner, wake);
    }
}
