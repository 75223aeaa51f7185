
/*
 * Descriptors that come with a message of a UNIX socket (SCM_RIGHTS), and who
 * sent it.  The kernel has opened them in this process by the time that the
 * message is looked at, so each of them is handed to the caller or closed.
 */


#ifndef _NGX_CLAUDE_RIGHTS_H_INCLUDED_
#define _NGX_CLAUDE_RIGHTS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* bytes of control data for so many descriptors and the sender */
#define ngx_claude_rights_space(n)                                            \
    (CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE((n) * sizeof(ngx_fd_t)))


/*
 * Takes what came with the message: exactly n descriptors, or none, with which
 * all of fds are -1.  cred: who sent it, where the socket has SO_PASSCRED, or
 * NULL; its pid is 0 if nobody tells.  NGX_OK; NGX_DECLINED: not n of them
 * came, and those that did are closed.
 */
ngx_int_t ngx_claude_rights_take(struct msghdr *msg, ngx_fd_t *fds,
    ngx_uint_t n, struct ucred *cred);

void ngx_claude_rights_close(ngx_fd_t *fds, ngx_uint_t n);


#endif /* _NGX_CLAUDE_RIGHTS_H_INCLUDED_ */
