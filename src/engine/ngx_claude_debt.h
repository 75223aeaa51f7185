
/*
 * Debts: what keys have had started for nothing.
 *
 * A CLI takes a third of a second of a processor to start.  One that was
 * started for a turn whose client did not wait is kept for the next, but not
 * every process will do for every turn: one that a session has a name for is
 * that session's.  So a key whose clients leave, again and again, processes
 * that have never answered anything gets new ones only so often.  What it has
 * already it may use as always, and no other key waits for that.
 *
 * The room knows keys by their hashes, is one worker's, and has memory for
 * those keys alone that owe something.
 */


#ifndef _NGX_CLAUDE_DEBT_H_INCLUDED_
#define _NGX_CLAUDE_DEBT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_claude_hash.h"


/*
 * Once a worker; workers: how many there are, each of which sees its part of
 * the key's turns.
 */
void ngx_claude_debt_init(ngx_uint_t workers);

/* forgets all of it, at the end of a worker */
void ngx_claude_debt_exit(void);

/* msec until the key may have a process started; 0: it may now */
ngx_msec_t ngx_claude_debt_wait(const ngx_claude_hash_t *tenant);

/* a start of the key's was for nothing */
void ngx_claude_debt_add(const ngx_claude_hash_t *tenant);

/* one that was said to be for nothing was not, after all */
void ngx_claude_debt_return(const ngx_claude_hash_t *tenant);

/*
 * Whether the key owes more than it may for long, so that a start is counted
 * as for nothing until its process has answered.
 */
ngx_uint_t ngx_claude_debt_due(const ngx_claude_hash_t *tenant);


#endif /* _NGX_CLAUDE_DEBT_H_INCLUDED_ */
