
/*
 * Descriptors that come with a message.  See the header.
 */


#include "ngx_claude_rights.h"


ngx_int_t
ngx_claude_rights_take(struct msghdr *msg, ngx_fd_t *fds, ngx_uint_t n,
    struct ucred *cred)
{
    ngx_fd_t         fd;
    ngx_uint_t       i, came, found;
    struct cmsghdr  *cmsg;

    found = 0;

    for (i = 0; i < n; i++) {
        fds[i] = (ngx_fd_t) -1;
    }

    if (cred) {
        ngx_memzero(cred, sizeof(struct ucred));
    }

    for (cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {

        if (cmsg->cmsg_level != SOL_SOCKET) {
            continue;
        }

        if (cmsg->cmsg_type == SCM_CREDENTIALS && cred) {
            ngx_memcpy(cred, CMSG_DATA(cmsg), sizeof(struct ucred));
        }

        if (cmsg->cmsg_type != SCM_RIGHTS) {
            continue;
        }

        came = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(ngx_fd_t);

        for (i = 0; i < came; i++, found++) {
            ngx_memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(ngx_fd_t),
                       sizeof(ngx_fd_t));

            if (found < n) {
                fds[found] = fd;

            } else {
                (void) close(fd);
            }
        }
    }

    if (found == n && !(msg->msg_flags & MSG_CTRUNC)) {
        return NGX_OK;
    }

    ngx_claude_rights_close(fds, n);

    return NGX_DECLINED;
}


void
ngx_claude_rights_close(ngx_fd_t *fds, ngx_uint_t n)
{
    ngx_uint_t  i;

    for (i = 0; i < n; i++) {

        if (fds[i] != (ngx_fd_t) -1) {
            (void) close(fds[i]);
            fds[i] = (ngx_fd_t) -1;
        }
    }
}
