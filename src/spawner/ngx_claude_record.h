
/*
 * Records: what is known of a session's transcript when its process is gone.
 *
 * The CLI keeps a session's conversation in a file of its own, the transcript.
 * Beside it lies a record, a small file of this module's: it says what the
 * transcript holds and, locked, that a process holds the session.  Its format
 * is that of one binary; another one's record is as good as none.
 */


#ifndef _NGX_CLAUDE_RECORD_H_INCLUDED_
#define _NGX_CLAUDE_RECORD_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_claude_chain.h"
#include "ngx_claude_hash.h"
#include "ngx_claude_holding.h"
#include "ngx_claude_turn.h"


#define NGX_CLAUDE_RECORD_MAGIC   "nginx-4"
#define NGX_CLAUDE_RECORD_SUFFIX  ".nginx"

/* a UUID as text, with its zero */
#define NGX_CLAUDE_RECORD_UUID    37

/* 40 hexadecimal digits or a UUID, with a zero */
#define NGX_CLAUDE_RECORD_NAME    41


/* the bytes of its file, which a worker sends to the keeper as they are */
typedef struct {
    char                  magic[8];

    /* the CLI's id, which stands here in all layouts from nginx-3 on */
    char                  session[NGX_CLAUDE_RECORD_UUID];

    double                cost;       /* US dollars, which the CLI goes on
                                         counting */
    ngx_claude_holding_t  holding;    /* as ngx_claude_holding_record() has
                                         it */
    uint32_t              bare;       /* boolean, not resumable: no answer in
                                         it is the CLI's own (it takes model
                                         and system text from those), or it
                                         lacks the client's last answer */
    ngx_claude_link_t     tip;        /* link of the last message */

    /* line of a question that is not to stay, or "" */
    char                  pending[NGX_CLAUDE_RECORD_UUID];

    /* new name of the file, or "": unchanged */
    char                  name[NGX_CLAUDE_RECORD_NAME];
} ngx_claude_record_t;


/* the magic says which layout a record on disk has, and its holding in it */

_Static_assert(offsetof(ngx_claude_holding_t, model) == 100
               && offsetof(ngx_claude_holding_t, system) == 252
               && offsetof(ngx_claude_holding_t, nheld) == 340
               && sizeof(ngx_claude_holding_t) == 376
               && offsetof(ngx_claude_record_t, session) == 8
               && offsetof(ngx_claude_record_t, holding) == 56
               && offsetof(ngx_claude_record_t, bare) == 432
               && offsetof(ngx_claude_record_t, pending) == 456
               && sizeof(ngx_claude_record_t) == 536,
               "a record's layout has changed: so must its magic");


typedef enum {
    NGX_CLAUDE_RECORD_NONE = 0,    /* nothing on disk */
    NGX_CLAUDE_RECORD_FRESH,       /* begin, whatever there is */
    NGX_CLAUDE_RECORD_CONTINUE,    /* go on if there is something */
    NGX_CLAUDE_RECORD_MATCH        /* go on if its tip is this one */
} ngx_claude_record_mode_e;


/* a process's start with a session: what is asked of its record */
typedef struct {
    uint32_t           mode;
    uint32_t           ttl;        /* seconds */
    ngx_claude_hash_t  tip;        /* link of the last message, for MATCH */
    char               name[NGX_CLAUDE_RECORD_NAME];  /* record to look for
                                                         first, or "" */
    char               session[NGX_CLAUDE_RECORD_UUID];  /* the CLI's id, and
                                                            the name else */
} ngx_claude_record_ask_t;


/* a part of the spawner's request, which travels as it is */

_Static_assert(offsetof(ngx_claude_record_ask_t, tip) == 8
               && offsetof(ngx_claude_record_ask_t, name) == 28
               && sizeof(ngx_claude_record_ask_t) == 108,
               "the layout of a record's ask has changed");


/*
 * The ask of a new process for the turn, or NULL if nothing of the turn goes
 * to disk.
 */
ngx_claude_record_ask_t *ngx_claude_record_ask(ngx_claude_turn_t *turn,
    time_t ttl, ngx_claude_record_ask_t *ask);

/* the ask for a process ahead of need, or NULL */
ngx_claude_record_ask_t *ngx_claude_record_ask_warm(
    ngx_claude_profile_t *profile,
    time_t ttl, ngx_claude_record_ask_t *ask);


#endif /* _NGX_CLAUDE_RECORD_H_INCLUDED_ */
