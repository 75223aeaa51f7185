
/*
 * Peers: a worker that dies is missed by another one, at once, whatever its
 * master does or does not.  See the .c for who watches whom and why.
 */


#ifndef _NGX_CLAUDE_PEERS_H_INCLUDED_
#define _NGX_CLAUDE_PEERS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_claude_zone.h"


/*
 * Begins, once this worker has entered the zone: frees what dead ones have
 * left there, and begins to watch.
 */
void ngx_claude_peers_init(ngx_claude_zone_t *zone);

/* ends the watching, at a worker's end: who watches it looks for another */
void ngx_claude_peers_exit(void);

/* the mailbox's handler: another worker watches this one, and takes the fd */
void ngx_claude_peers_watched(ngx_fd_t fd);


#endif /* _NGX_CLAUDE_PEERS_H_INCLUDED_ */
