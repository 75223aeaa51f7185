
/*
 * The driver, private: what its files share.  A process goes through them as
 * its turn does: it is prepared for it, hears the answer, and settles.
 */


#ifndef _NGX_CLAUDE_DRIVER_PRIVATE_H_INCLUDED_
#define _NGX_CLAUDE_DRIVER_PRIVATE_H_INCLUDED_


#include "ngx_claude_driver.h"


/* names short for the files and long for the linker */
#define driver_retry         ngx_claude_driver_retry
#define driver_event         ngx_claude_driver_event
#define driver_result        ngx_claude_driver_result
#define driver_fail          ngx_claude_driver_fail
#define driver_finish        ngx_claude_driver_finish
#define driver_send          ngx_claude_driver_send
#define driver_idle          ngx_claude_driver_idle
#define driver_settled       ngx_claude_driver_settled
#define driver_interrupt     ngx_claude_driver_interrupt
#define driver_hold          ngx_claude_driver_hold
#define driver_hold_answer   ngx_claude_driver_hold_answer
#define driver_detach        ngx_claude_driver_detach
#define driver_leave         ngx_claude_driver_leave
#define driver_finished      ngx_claude_driver_finished
#define driver_tools         ngx_claude_driver_tools
#define driver_expected      ngx_claude_driver_expected
#define driver_rpc           ngx_claude_driver_rpc
#define driver_token         ngx_claude_driver_token
#define driver_no_memory     ngx_claude_driver_no_memory
#define driver_stop_as       ngx_claude_driver_stop_as
#define driver_tool_use      ngx_claude_driver_tool_use
#define driver_block_start   ngx_claude_driver_block_start
#define driver_block_begin   ngx_claude_driver_block_begin
#define driver_block_delta   ngx_claude_driver_block_delta
#define driver_block_text    ngx_claude_driver_block_text
#define driver_block_stop    ngx_claude_driver_block_stop
#define driver_block_end     ngx_claude_driver_block_end
#define driver_call          ngx_claude_driver_call
#define driver_arguments     ngx_claude_driver_arguments
#define driver_call_end      ngx_claude_driver_call_end
#define driver_calls_link    ngx_claude_driver_calls_link
#define driver_calls_routed  ngx_claude_driver_calls_routed
#define driver_calls_drop    ngx_claude_driver_calls_drop
#define driver_results       ngx_claude_driver_results
#define driver_results_order ngx_claude_driver_results_order
#define driver_result_next   ngx_claude_driver_result_next
#define driver_wait          ngx_claude_driver_wait
#define driver_knobs         ngx_claude_driver_knobs
#define driver_id            ngx_claude_driver_id
#define driver_rewind        ngx_claude_driver_rewind
#define driver_said          ngx_claude_driver_said
#define driver_said_drop     ngx_claude_driver_said_drop
#define driver_restate       ngx_claude_driver_restate
#define driver_restate_next  ngx_claude_driver_restate_next
#define driver_restate_announce ngx_claude_driver_restate_announce
#define driver_prepare       ngx_claude_driver_prepare
#define driver_answered      ngx_claude_driver_answered
#define driver_check_version ngx_claude_driver_check_version
#define driver_begun         ngx_claude_driver_begun
#define driver_session_begin    ngx_claude_driver_session_begin
#define driver_session_check    ngx_claude_driver_session_check
#define driver_session_model    ngx_claude_driver_session_model
#define driver_session_follow   ngx_claude_driver_session_follow
#define driver_session_resumed  ngx_claude_driver_session_resumed
#define driver_session_record   ngx_claude_driver_session_record
#define driver_session_unrecord ngx_claude_driver_session_unrecord
#define driver_session_leave    ngx_claude_driver_session_leave
#define driver_payer         ngx_claude_driver_payer
#define driver_paid          ngx_claude_driver_paid
#define driver_unasked       ngx_claude_driver_unasked
#define driver_bill          ngx_claude_driver_bill
#define driver_bill_result   ngx_claude_driver_bill_result
#define driver_bill_ask      ngx_claude_driver_bill_ask
#define driver_bill_asked    ngx_claude_driver_bill_asked
#define driver_bill_wait     ngx_claude_driver_bill_wait
#define driver_agent_next       ngx_claude_driver_agent_next
#define driver_agent_part       ngx_claude_driver_agent_part
#define driver_agent_result     ngx_claude_driver_agent_result
#define driver_zone          ngx_claude_driver_zone
#define driver_hooks         ngx_claude_driver_hooks

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


typedef enum {
    DRIVER_GREETING = 0,        /* started, the first answers are due */
    DRIVER_IDLE,
    DRIVER_WAITING,             /* idle, in the midst of calls of tools */
    DRIVER_CLEARING,            /* the calls are off: their end is due */
    DRIVER_PREPARING,           /* answers to control requests are due */
    DRIVER_REPLAYING,           /* the result of a message of the history */
    DRIVER_ANSWERING,           /* the results of calls go in, one by one */
    DRIVER_ASKED,
    DRIVER_SETTLING,            /* the turn is decided, its result is due */
    DRIVER_REWINDING            /* the question is being taken back; with a
                                   turn: and put in again, as history */
} ngx_claude_driver_phase_e;


/* in driver.c */

extern ngx_claude_zone_t                *driver_zone;
extern const ngx_claude_driver_hooks_t  *driver_hooks;

/* in driver_prepare.c: the process is brought to where its turn begins */

/*
 * Queues what the turn needs beforehand, with so many messages kept.  NGX_OK:
 * it may be sent at once; NGX_AGAIN: when the answers have come; NGX_ERROR.
 */
ngx_int_t driver_prepare(ngx_claude_process_t *process, ngx_uint_t keep);

ngx_int_t driver_rewind(ngx_claude_process_t *process, ngx_uint_t keep);
ngx_uint_t driver_id(ngx_claude_process_t *process, ngx_uint_t kind);
uint64_t driver_knobs(ngx_claude_turn_t *turn);

/* the line is the answer to a control request */
void driver_answered(ngx_claude_process_t *process,
    ngx_claude_cli_line_t *line);

/* an answer that was due has come; after the last one it goes on */
void driver_expected(ngx_claude_process_t *process);

/* NGX_DECLINED: the CLI is too old, the process is lost */
ngx_int_t driver_check_version(ngx_claude_process_t *process,
    ngx_str_t *version);

void driver_send(ngx_claude_process_t *process);
ngx_int_t driver_hold(ngx_claude_process_t *process, ngx_claude_link_t *link,
    ngx_uint_t line);
ngx_int_t driver_hold_answer(ngx_claude_process_t *process,
    ngx_claude_link_t *link);

/* in driver_settle.c: the process stops, and lets its turn go */

void driver_interrupt(ngx_claude_process_t *process);

/* the CLI has begun with a message */
void driver_begun(ngx_claude_process_t *process);

void driver_settled(ngx_claude_process_t *process);

/* the turn is over, but for its calls: the process waits for their results */
void driver_wait(ngx_claude_process_t *process);

void driver_idle(ngx_claude_process_t *process);
ngx_claude_turn_t *driver_detach(ngx_claude_process_t *process);
void driver_leave(ngx_claude_process_t *process, ngx_claude_turn_t *turn);
void driver_finished(ngx_claude_turn_t *turn);

/* in driver_restate.c: answers that the CLI does not keep */

/* a piece of the answer, kept if the turn may end so */
void driver_said(ngx_claude_process_t *process, u_char *p, size_t len);

/* nothing refers to it: it was written, or never needed */
void driver_said_drop(ngx_claude_process_t *process);

/* whether it is put in again: the process then goes on with its turn */
ngx_uint_t driver_restate(ngx_claude_process_t *process);

/* the turn is about to be finished: it may be put in again */
void driver_restate_announce(ngx_claude_process_t *process);

/* all messages of the turn are there again: the next step */
void driver_restate_next(ngx_claude_process_t *process);

/* in driver_session.c: what the process knows of its session */

void driver_session_begin(ngx_claude_process_t *process);
void driver_session_model(ngx_claude_process_t *process);
ngx_int_t driver_session_follow(ngx_claude_process_t *process,
    ngx_uint_t keep);
ngx_int_t driver_session_resumed(ngx_claude_process_t *process,
    ngx_claude_record_t *record);
void driver_session_record(ngx_claude_process_t *process, ngx_uint_t line);
void driver_session_unrecord(ngx_claude_process_t *process);
void driver_session_leave(ngx_claude_process_t *process);

/* in driver_bill.c: what was spent, and who pays */

/* what the process says from now on is the turn's */
void driver_payer(ngx_claude_process_t *process, ngx_claude_turn_t *turn);

/* the payer has all that there is */
void driver_paid(ngx_claude_process_t *process);

/* the same, unless the model was asked and the end of that is due */
void driver_unasked(ngx_claude_process_t *process);

/* the line has tokens of a call of the model */
void driver_bill(ngx_claude_process_t *process, ngx_claude_cli_line_t *line);

/* the line is a result: it has the costs */
void driver_bill_result(ngx_claude_process_t *process,
    ngx_claude_cli_line_t *line);

/* asks for them, where no result comes; the answer; and waits for it */
void driver_bill_ask(ngx_claude_process_t *process);
void driver_bill_asked(ngx_claude_process_t *process,
    ngx_claude_cli_line_t *line);
void driver_bill_wait(ngx_claude_turn_t *turn);

/* in driver_block.c: the blocks of an answer; lines of a turn that started */

void driver_block_start(ngx_claude_process_t *process,
    ngx_claude_cli_line_t *line);
void driver_block_delta(ngx_claude_process_t *process,
    ngx_claude_cli_line_t *line);
void driver_block_stop(ngx_claude_process_t *process);

/* opens a block that the line is the beginning of; copies it */
void driver_block_begin(ngx_claude_process_t *process,
    ngx_claude_cli_line_t *line, ngx_claude_block_t *block);

/* a piece of the text that is open */
void driver_block_text(ngx_claude_process_t *process, u_char *p, size_t len);

/* closes what is open, if anything is, though the stream has not */
void driver_block_end(ngx_claude_process_t *process);

/* in driver_agent.c: an answer of several messages, with tools between */

void driver_agent_next(ngx_claude_process_t *process);
void driver_agent_part(ngx_claude_process_t *process);
ngx_uint_t driver_agent_result(ngx_claude_process_t *process,
    ngx_claude_cli_line_t *line);

/* in driver_tools.c: the client's tools */

/*
 * Tells the CLI the tools of the turn.  NGX_OK: it has them; NGX_AGAIN: the
 * question has to wait for its answers; NGX_ERROR: no memory.
 */
ngx_int_t driver_tools(ngx_claude_process_t *process);

/* the CLI asks the server of the tools */
void driver_rpc(ngx_claude_process_t *process, ngx_claude_cli_line_t *line);

/*
 * The model calls: the beginning (NGX_DECLINED: it is no tool of the turn),
 * a piece of the arguments, the end.  NGX_ERROR: no memory.
 */
ngx_int_t driver_call(ngx_claude_process_t *process,
    ngx_claude_cli_line_t *line);
ngx_int_t driver_arguments(ngx_claude_process_t *process, u_char *p,
    size_t len);
ngx_int_t driver_call_end(ngx_claude_process_t *process);

/*
 * Adds the calls to the link of the answer.  NGX_DECLINED: arguments that the
 * CLI will not take; NGX_ERROR: no memory.
 */
ngx_int_t driver_calls_link(ngx_claude_process_t *process);

/* whether the CLI has asked for the results of all calls */
ngx_uint_t driver_calls_routed(ngx_claude_process_t *process);

void driver_calls_drop(ngx_claude_process_t *process);

/* begins to answer the calls with the results of the turn: NGX_AGAIN */
ngx_int_t driver_results(ngx_claude_process_t *process);

/* puts results that came alone into the order of the calls, or NGX_ERROR */
ngx_int_t driver_results_order(ngx_claude_process_t *process);

/* the CLI has taken one: the next */
void driver_result_next(ngx_claude_process_t *process);

/* in driver_answer.c: lines about the turn, and its end */

void driver_retry(ngx_claude_process_t *process, ngx_claude_cli_line_t *line);
void driver_event(ngx_claude_process_t *process, ngx_claude_cli_line_t *line);
void driver_result(ngx_claude_process_t *process, ngx_claude_cli_line_t *line);
void driver_fail(ngx_claude_process_t *process, ngx_claude_fail_e fail,
    ngx_str_t *reason, const char *detail);
void driver_finish(ngx_claude_turn_t *turn);
void driver_token(ngx_claude_turn_t *turn);
void driver_no_memory(ngx_claude_process_t *process);

/* the model calls a tool of its client's, by the line */
void driver_tool_use(ngx_claude_process_t *process,
    ngx_claude_cli_line_t *line);

/* a stop that is not the provider's word */
void driver_stop_as(ngx_claude_turn_t *turn, ngx_claude_stop_e stop);


#endif /* _NGX_CLAUDE_DRIVER_PRIVATE_H_INCLUDED_ */
