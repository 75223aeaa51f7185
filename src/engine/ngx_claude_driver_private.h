
/*
 * The driver, private: what its files share.  A process goes through them as
 * its turn does: it is prepared for it, hears the answer, and settles.
 */


#ifndef _NGX_CLAUDE_DRIVER_PRIVATE_H_INCLUDED_
#define _NGX_CLAUDE_DRIVER_PRIVATE_H_INCLUDED_


#include "ngx_claude_debt.h"
#include "ngx_claude_driver.h"


/* names short for the files and long for the linker */
#define driver_zone             ngx_claude_driver_zone
#define driver_hooks            ngx_claude_driver_hooks
#define driver_move             ngx_claude_driver_move
#define driver_state            ngx_claude_seat_state
#define driver_begin_plan       ngx_claude_driver_begin_plan
#define driver_unfold           ngx_claude_driver_unfold
#define driver_start_alone      ngx_claude_driver_start_alone
#define driver_run              ngx_claude_driver_run
#define driver_go_on            ngx_claude_driver_go_on
#define driver_answer_came      ngx_claude_driver_answer_came
#define driver_result_next      ngx_claude_driver_result_next
#define driver_interrupt        ngx_claude_driver_interrupt
#define driver_begun            ngx_claude_driver_begun
#define driver_finish           ngx_claude_driver_finish
#define driver_cut_short        ngx_claude_driver_cut_short
#define driver_complete         ngx_claude_driver_complete
#define driver_settled          ngx_claude_driver_settled
#define driver_wait             ngx_claude_driver_wait
#define driver_idle             ngx_claude_driver_idle
#define driver_detach           ngx_claude_driver_detach
#define driver_leave            ngx_claude_driver_leave
#define driver_turn_finished    ngx_claude_driver_turn_finished
#define driver_turn_settled     ngx_claude_driver_turn_settled
#define driver_fail             ngx_claude_driver_fail
#define driver_fail_text        ngx_claude_driver_fail_text
#define driver_fail_reason      ngx_claude_driver_fail_reason
#define driver_words            ngx_claude_driver_words
#define driver_call_off         ngx_claude_driver_call_off
#define driver_unrecord         ngx_claude_driver_unrecord
#define driver_rewind           ngx_claude_driver_rewind
#define driver_model            ngx_claude_driver_model
#define driver_servers          ngx_claude_driver_servers
#define driver_settings         ngx_claude_driver_settings
#define driver_replay           ngx_claude_driver_replay
#define driver_results          ngx_claude_driver_results
#define driver_ask              ngx_claude_driver_ask
#define driver_record           ngx_claude_driver_record
#define driver_restate          ngx_claude_driver_restate
#define driver_mark             ngx_claude_driver_mark
#define driver_sync             ngx_claude_driver_sync
#define driver_id               ngx_claude_driver_id
#define driver_answered         ngx_claude_driver_answered
#define driver_check_version    ngx_claude_driver_check_version
#define driver_said             ngx_claude_driver_said
#define driver_said_drop        ngx_claude_driver_said_drop
#define driver_restate_due      ngx_claude_driver_restate_due
#define driver_restate_announce ngx_claude_driver_restate_announce
#define driver_session_begin    ngx_claude_driver_session_begin
#define driver_session_follow   ngx_claude_driver_session_follow
#define driver_session_resumed  ngx_claude_driver_session_resumed
#define driver_session_record   ngx_claude_driver_session_record
#define driver_session_unrecord ngx_claude_driver_session_unrecord
#define driver_session_leave    ngx_claude_driver_session_leave
#define driver_payer            ngx_claude_driver_payer
#define driver_paid             ngx_claude_driver_paid
#define driver_unasked          ngx_claude_driver_unasked
#define driver_bill             ngx_claude_driver_bill
#define driver_bill_result      ngx_claude_driver_bill_result
#define driver_bill_ask         ngx_claude_driver_bill_ask
#define driver_bill_asked       ngx_claude_driver_bill_asked
#define driver_bill_wait        ngx_claude_driver_bill_wait
#define driver_block_start      ngx_claude_driver_block_start
#define driver_block_delta      ngx_claude_driver_block_delta
#define driver_block_stop       ngx_claude_driver_block_stop
#define driver_block_end        ngx_claude_driver_block_end
#define driver_agent_next       ngx_claude_driver_agent_next
#define driver_agent_result     ngx_claude_driver_agent_result
#define driver_gate_barred      ngx_claude_driver_gate_barred
#define driver_gate_line        ngx_claude_driver_gate_line
#define driver_gate_started     ngx_claude_driver_gate_started
#define driver_gate_initialized ngx_claude_driver_gate_initialized
#define driver_gate_begun       ngx_claude_driver_gate_begun
#define driver_gate_refused     ngx_claude_driver_gate_refused
#define driver_gate_shut        ngx_claude_driver_gate_shut
#define driver_gate_trusted     ngx_claude_driver_gate_trusted
#define driver_gate_forget      ngx_claude_driver_gate_forget
#define driver_rpc              ngx_claude_driver_rpc
#define driver_call             ngx_claude_driver_call
#define driver_arguments        ngx_claude_driver_arguments
#define driver_call_end         ngx_claude_driver_call_end
#define driver_calls_link       ngx_claude_driver_calls_link
#define driver_calls_routed     ngx_claude_driver_calls_routed
#define driver_calls_drop       ngx_claude_driver_calls_drop
#define driver_results_order    ngx_claude_driver_results_order
#define driver_return           ngx_claude_driver_return
#define driver_retry            ngx_claude_driver_retry
#define driver_event            ngx_claude_driver_event
#define driver_result           ngx_claude_driver_result
#define driver_foreign_tool     ngx_claude_driver_foreign_tool
#define driver_stop_as          ngx_claude_driver_stop_as
#define driver_token            ngx_claude_driver_token
#define driver_no_memory        ngx_claude_driver_no_memory
#define driver_hold_answer      ngx_claude_driver_hold_answer

/* control requests by what they are for: the low digit of their ids */
#define DRIVER_INITIALIZE  0
#define DRIVER_VERSION     1
#define DRIVER_MODEL       2
#define DRIVER_SETTINGS    3
#define DRIVER_REWIND      4
#define DRIVER_INTERRUPT   5
#define DRIVER_SERVERS     6
#define DRIVER_PENDING     7
#define DRIVER_MODELS      8
#define DRIVER_COST        9
#define DRIVER_KINDS       10


/* how long a process may take to start, msec */
#define DRIVER_START  30000


/* in driver_base.c: what all stand on */

extern ngx_claude_zone_t                *driver_zone;
extern const ngx_claude_driver_hooks_t  *driver_hooks;

/* the id of the next control request, of that kind */
ngx_uint_t driver_id(ngx_claude_seat_t *seat, ngx_uint_t kind);

/* the model has said something, of whatever kind */
void driver_token(ngx_claude_turn_t *turn);

/* FAILED: for its answer */
ngx_claude_heard_e driver_no_memory(ngx_claude_seat_t *seat);

/* the model calls a tool that was not offered: CUT or FAILED */
ngx_claude_heard_e driver_foreign_tool(ngx_claude_seat_t *seat);

/* a stop that is not the provider's word */
void driver_stop_as(ngx_claude_turn_t *turn, ngx_claude_stop_e stop);

/* in driver.c */

/* the dispatcher: moves the seat by what came of a line */
void driver_move(ngx_claude_seat_t *seat, ngx_claude_heard_e heard);

/*
 * In driver_step.c: how the seat moves.  These are for the dispatcher, and
 * for who has no line: a timeout, an end, an asker that leaves.
 */

/*
 * Begins with the plan that the seat has.  NGX_ERROR: no memory, or the
 * process is of no use.
 */
ngx_int_t driver_begin_plan(ngx_claude_seat_t *seat);

/* begins with the turn that has waited for the start of its process */
void driver_unfold(ngx_claude_seat_t *seat);

/* a process starts on, without the turn that has waited for it */
void driver_start_alone(ngx_claude_seat_t *seat);

/*
 * Writes the steps of the plan, from the one under way up to one that has to
 * be waited for.  NGX_ERROR: no memory.
 */
ngx_int_t driver_run(ngx_claude_seat_t *seat);

/* the step under way is done, its answers or its result have come */
void driver_go_on(ngx_claude_seat_t *seat);

/* an answer that was due has come; after the last one the seat goes on */
void driver_answer_came(ngx_claude_seat_t *seat);

/* the CLI waits for the next result of its calls */
void driver_result_next(ngx_claude_seat_t *seat);

void driver_interrupt(ngx_claude_seat_t *seat);

/* the CLI has begun with a message */
void driver_begun(ngx_claude_seat_t *seat);

/* the model has stopped; it is to stop; it has, and the CLI is done as well */
void driver_finish(ngx_claude_seat_t *seat);
void driver_cut_short(ngx_claude_seat_t *seat);
void driver_complete(ngx_claude_seat_t *seat);

void driver_settled(ngx_claude_seat_t *seat);

/* the turn is over, but for its calls: the process waits for their results */
void driver_wait(ngx_claude_seat_t *seat);

void driver_idle(ngx_claude_seat_t *seat);
ngx_claude_turn_t *driver_detach(ngx_claude_seat_t *seat);
void driver_leave(ngx_claude_seat_t *seat, ngx_claude_turn_t *turn);

/* the turn's answer is complete; the turn is over */
void driver_turn_finished(ngx_claude_seat_t *seat, ngx_claude_turn_t *turn);
void driver_turn_settled(ngx_claude_turn_t *turn);

void driver_fail(ngx_claude_seat_t *seat, ngx_claude_fail_e fail,
    ngx_str_t *reason, const char *detail);

/* in driver_fail.c: what a failure is called */

const char *driver_fail_text(ngx_claude_failure_t *failure);

void driver_fail_reason(ngx_claude_seat_t *seat, ngx_claude_turn_t *turn,
    ngx_str_t *reason, const char *detail);
ngx_str_t driver_words(ngx_claude_turn_t *turn, ngx_str_t *text);

/*
 * The writers of a plan's steps, see driver_step.c for what they return; in
 * driver_prepare.c, driver_session.c, driver_tools.c and driver_restate.c.
 */

ngx_int_t driver_call_off(ngx_claude_seat_t *seat, ngx_uint_t arg);
ngx_int_t driver_unrecord(ngx_claude_seat_t *seat, ngx_uint_t arg);
ngx_int_t driver_rewind(ngx_claude_seat_t *seat, ngx_uint_t keep);
ngx_int_t driver_model(ngx_claude_seat_t *seat, ngx_uint_t arg);
ngx_int_t driver_servers(ngx_claude_seat_t *seat, ngx_uint_t arg);
ngx_int_t driver_settings(ngx_claude_seat_t *seat, ngx_uint_t arg);
ngx_int_t driver_replay(ngx_claude_seat_t *seat, ngx_uint_t arg);
ngx_int_t driver_results(ngx_claude_seat_t *seat, ngx_uint_t arg);
ngx_int_t driver_ask(ngx_claude_seat_t *seat, ngx_uint_t arg);
ngx_int_t driver_record(ngx_claude_seat_t *seat, ngx_uint_t arg);
ngx_int_t driver_restate(ngx_claude_seat_t *seat, ngx_uint_t arg);
ngx_int_t driver_mark(ngx_claude_seat_t *seat, ngx_uint_t arg);
ngx_int_t driver_sync(ngx_claude_seat_t *seat, ngx_uint_t arg);

/* in driver_prepare.c: answers to control requests */

ngx_claude_heard_e driver_answered(ngx_claude_seat_t *seat,
    ngx_claude_cli_line_t *line);

/* ANSWERED, or FAILED: the CLI is too old */
ngx_claude_heard_e driver_check_version(ngx_claude_seat_t *seat,
    ngx_str_t *version);

/* in driver_restate.c: answers that the CLI does not keep */

/* a piece of the answer, kept if the turn may end so */
void driver_said(ngx_claude_seat_t *seat, u_char *p, size_t len);

/* nothing refers to it: it was written, or never needed */
void driver_said_drop(ngx_claude_seat_t *seat);

/* whether the answer of the turn is to be put in again */
ngx_uint_t driver_restate_due(ngx_claude_seat_t *seat);

/* the turn is about to be finished, and its answer taken back */
void driver_restate_announce(ngx_claude_seat_t *seat);

/* in driver_session.c: what the process knows of its session */

void driver_session_begin(ngx_claude_seat_t *seat);
ngx_int_t driver_session_follow(ngx_claude_seat_t *seat, ngx_uint_t keep);
ngx_int_t driver_session_resumed(ngx_claude_seat_t *seat,
    ngx_claude_record_t *record);
void driver_session_record(ngx_claude_seat_t *seat, ngx_uint_t line);
void driver_session_unrecord(ngx_claude_seat_t *seat);
void driver_session_leave(ngx_claude_seat_t *seat);

/* in driver_bill.c: what was spent, and who pays */

/* the turn pays for what the process says from now on */
void driver_payer(ngx_claude_seat_t *seat, ngx_claude_turn_t *turn);

/* the payer has all that there is */
void driver_paid(ngx_claude_seat_t *seat);

/* pays likewise, unless the model was asked and the end of that is due */
void driver_unasked(ngx_claude_seat_t *seat);

/* the line has tokens of a call of the model */
void driver_bill(ngx_claude_seat_t *seat, ngx_claude_cli_line_t *line);

/* the line is a result: it has the costs */
void driver_bill_result(ngx_claude_seat_t *seat,
    ngx_claude_cli_line_t *line);

/* asks for them, where no result comes; the answer; and waits for it */
void driver_bill_ask(ngx_claude_seat_t *seat);
void driver_bill_asked(ngx_claude_seat_t *seat,
    ngx_claude_cli_line_t *line);
void driver_bill_wait(ngx_claude_turn_t *turn);

/* in driver_block.c: the blocks of an answer; lines of a turn that started */

ngx_claude_heard_e driver_block_start(ngx_claude_seat_t *seat,
    ngx_claude_cli_line_t *line);
ngx_claude_heard_e driver_block_delta(ngx_claude_seat_t *seat,
    ngx_claude_cli_line_t *line);
ngx_claude_heard_e driver_block_stop(ngx_claude_seat_t *seat);

/* closes what is open, if anything is, though the stream has not */
void driver_block_end(ngx_claude_seat_t *seat);

/* in driver_agent.c: an answer of several messages, with tools between */

void driver_agent_next(ngx_claude_seat_t *seat);
ngx_uint_t driver_agent_result(ngx_claude_seat_t *seat,
    ngx_claude_cli_line_t *line);

/* in driver_gate.c: whether a question has one call, and what came with it */

/* whether processes start without it: it does not know this CLI */
ngx_uint_t driver_gate_barred(ngx_claude_profile_t *profile);

/* a line of the gate's own */
void driver_gate_line(ngx_claude_seat_t *seat, ngx_claude_cli_line_t *line);

/* the process runs; it is initialized, ANSWERED or FAILED */
void driver_gate_started(ngx_claude_seat_t *seat);
ngx_claude_heard_e driver_gate_initialized(ngx_claude_seat_t *seat,
    ngx_uint_t version);

/* the model begins to answer; a result that is none, perhaps the provider's */
void driver_gate_begun(ngx_claude_seat_t *seat);
void driver_gate_refused(ngx_claude_seat_t *seat,
    ngx_claude_cli_line_t *line);

/* the turn begins anew, or has another call: what came with one before */
void driver_gate_forget(ngx_claude_turn_t *turn);

/* it did not let the question through: another process is to try */
ngx_claude_heard_e driver_gate_shut(ngx_claude_seat_t *seat);

/* whether the effort of a turn may go by it, as a member of the body */
ngx_uint_t driver_gate_trusted(ngx_claude_seat_t *seat);

/* in driver_tools.c: the client's tools */

/* the CLI asks the server of the tools: HEARD, ANSWERED or WAITS */
ngx_claude_heard_e driver_rpc(ngx_claude_seat_t *seat,
    ngx_claude_cli_line_t *line);

/*
 * The model calls a tool: sets id and name of the block, which are the call's.
 * NGX_DECLINED: it is no tool of the turn; NGX_ERROR: no memory.
 */
ngx_int_t driver_call(ngx_claude_seat_t *seat, ngx_claude_cli_line_t *line,
    ngx_claude_block_t *block);

/* a piece of the arguments; the end of them.  NGX_ERROR: no memory */
ngx_int_t driver_arguments(ngx_claude_seat_t *seat, u_char *p,
    size_t len);
ngx_int_t driver_call_end(ngx_claude_seat_t *seat);

/*
 * Adds the calls to the link of the answer.  NGX_DECLINED: arguments that the
 * CLI will not take; NGX_ERROR: no memory.
 */
ngx_int_t driver_calls_link(ngx_claude_seat_t *seat);

/* whether the CLI has asked for the results of all calls */
ngx_uint_t driver_calls_routed(ngx_claude_seat_t *seat);

void driver_calls_drop(ngx_claude_seat_t *seat);

/* puts results that came alone into the order of the calls, or NGX_ERROR */
ngx_int_t driver_results_order(ngx_claude_seat_t *seat);

/* writes the next result.  NGX_ERROR: no memory */
ngx_int_t driver_return(ngx_claude_seat_t *seat);

/* in driver_answer.c: lines about the turn */

ngx_claude_heard_e driver_retry(ngx_claude_seat_t *seat,
    ngx_claude_cli_line_t *line);
ngx_claude_heard_e driver_event(ngx_claude_seat_t *seat,
    ngx_claude_cli_line_t *line);
ngx_claude_heard_e driver_result(ngx_claude_seat_t *seat,
    ngx_claude_cli_line_t *line);

/* the answer is the last message that the process holds */
void driver_hold_answer(ngx_claude_seat_t *seat);


#endif /* _NGX_CLAUDE_DRIVER_PRIVATE_H_INCLUDED_ */
