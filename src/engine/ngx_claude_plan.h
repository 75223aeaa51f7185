
/*
 * A plan: on what rung a process would serve a turn, how many messages it
 * keeps, and the steps from what it holds to the question.  The pool rates
 * processes by their plans, and the driver runs the very same plan.
 *
 * The room is pure: what comes out depends on its arguments alone, and it
 * writes to nothing but the plan.
 */


#ifndef _NGX_CLAUDE_PLAN_H_INCLUDED_
#define _NGX_CLAUDE_PLAN_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_claude_holding.h"
#include "ngx_claude_turn.h"


typedef enum {
    NGX_CLAUDE_STEP_CALL_OFF = 0,     /* the calls that it waits in */
    NGX_CLAUDE_STEP_UNRECORD,         /* nobody is to resume the transcript */
    NGX_CLAUDE_STEP_REWIND,           /* arg: messages that stay */
    NGX_CLAUDE_STEP_MODEL,            /* and the system text */
    NGX_CLAUDE_STEP_SERVERS,          /* the tools */
    NGX_CLAUDE_STEP_SETTINGS,
    NGX_CLAUDE_STEP_REPLAY,           /* arg: messages of the turn that are
                                         there then */
    NGX_CLAUDE_STEP_RESULTS,          /* results of the calls it waits in */
    NGX_CLAUDE_STEP_ASK,
    NGX_CLAUDE_STEP_RECORD,           /* for who resumes the transcript */
    NGX_CLAUDE_STEP_RESTATE,          /* the answer that the CLI has not */
    NGX_CLAUDE_STEP_MARK,             /* a message behind it */
    NGX_CLAUDE_STEP_SYNC,             /* an answer that shows it was read */
    NGX_CLAUDE_STEPS
} ngx_claude_step_e;


/* conditions of the next step: something has to come first */
typedef enum {
    NGX_CLAUDE_WAIT_NONE = 0,
    NGX_CLAUDE_WAIT_ANSWERS,          /* all that are due */
    NGX_CLAUDE_WAIT_RESULT
} ngx_claude_wait_e;


/* how a process is done with its turn */
typedef enum {
    NGX_CLAUDE_END_KEEP = 0,          /* question and answer stay */
    NGX_CLAUDE_END_UNDO,              /* the question is taken back */
    NGX_CLAUDE_END_RESTATE            /* and is put in again, as history, with
                                         the answer */
} ngx_claude_end_e;


#define NGX_CLAUDE_PLAN_STEPS  12

typedef struct {
    uint8_t                step;
    uint8_t                wait;
    uint32_t               arg;
} ngx_claude_plan_step_t;

typedef struct {
    ngx_claude_rung_e      rung;      /* NONE: the process cannot */
    ngx_claude_fail_e      fail;      /* why the session cannot go on with the
                                         turn; INTERNAL: it can */
    uint32_t               keep;      /* messages of the process */
    uint32_t               nsteps;
    ngx_claude_plan_step_t steps[NGX_CLAUDE_PLAN_STEPS];
} ngx_claude_plan_t;


/*
 * Makes, once a turn has its links, what plans look at besides.  NGX_ERROR:
 * no memory.
 */
ngx_int_t ngx_claude_plan_turn(ngx_claude_turn_t *turn);

/*
 * The plan for an idle process; held, calls: holding->nheld and ->ncalls.
 * It has two halves, for who rates many and takes one.
 */
void ngx_claude_plan_rate(ngx_claude_plan_t *plan,
    const ngx_claude_holding_t *holding, const ngx_claude_held_t *held,
    const ngx_claude_call_t *calls, const ngx_claude_turn_t *turn);
void ngx_claude_plan_steps(ngx_claude_plan_t *plan,
    const ngx_claude_holding_t *holding, const ngx_claude_turn_t *turn);
void ngx_claude_plan(ngx_claude_plan_t *plan,
    const ngx_claude_holding_t *holding, const ngx_claude_held_t *held,
    const ngx_claude_call_t *calls, const ngx_claude_turn_t *turn);

/*
 * The plan for a process that was started for the turn, which keeps all that
 * it has resumed.  rung NONE: that is more than the turn has.
 */
void ngx_claude_plan_new(ngx_claude_plan_t *plan,
    const ngx_claude_holding_t *holding, const ngx_claude_turn_t *turn);

/*
 * The plan for the time after the turn.  rung NONE: it is of no use, as what
 * would have to be put in again is not known.  turn: of RESTATE alone.
 */
void ngx_claude_plan_end(ngx_claude_plan_t *plan,
    const ngx_claude_holding_t *holding, const ngx_claude_held_t *held,
    const ngx_claude_turn_t *turn, ngx_claude_end_e end);

/* the name of a step, for the log */
const char *ngx_claude_plan_step(ngx_uint_t step);


#endif /* _NGX_CLAUDE_PLAN_H_INCLUDED_ */
