# Nothing is lost for good. Whoever dies, and however, what it held in the zone
# is free within two seconds, whether or not another worker starts; strangers
# cannot fill a worker with descriptors; it all works without pidfd_open() and
# without /proc; and a login that fails is no other login's failure.
#
# A shim, preloaded into nginx alone, makes system calls fail, or has a worker
# die in the midst of one.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use ClaudeTest;
use Test::More;
use IO::Select;
use Socket qw(AF_UNIX MSG_DONTWAIT SOCK_DGRAM SOL_SOCKET SO_SNDBUF
              pack_sockaddr_un);
use Time::HiRes qw(time sleep);

my $true = JSON::PP::true;
my $within = patience() / 4;                       # 2 s by the design
my $hang = { deltas => ['first ', 'second'], hang_after_deltas => 1 };
my $killed = qr/exited on signal 9/;
my $dir = "$ENV{TEST_NGINX_SERVROOT}/lost";

mkdir $dir;
chmod 0755, $ENV{TEST_NGINX_SERVROOT}, $dir;
ClaudeTest::compile("$dir/lost.so", <<'END', '-shared', '-fPIC');
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* LOST_PIDFD=errno: as where there is no pidfd_open(), or a filter */

long
syscall(long n, ...)
{
    static long (*next)(long, ...);
    char     *fails = getenv("LOST_PIDFD");
    long      a[6];
    int       i;
    va_list   args;

    if (n == SYS_pidfd_open && fails) {
        errno = atoi(fails);
        return -1;
    }

    va_start(args, n);
    for (i = 0; i < 6; i++) {
        a[i] = va_arg(args, long);
    }
    va_end(args);

    if (next == NULL) {
        next = dlsym(RTLD_NEXT, "syscall");
    }

    return next(n, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* LOST_PROC: /proc is not mounted */

static int
lost_open(const char *path, int flags, mode_t mode)
{
    if (getenv("LOST_PROC") && strncmp(path, "/proc/", 6) == 0) {
        errno = ENOENT;
        return -1;
    }

    return openat(AT_FDCWD, path, flags, mode);
}

#define LOST_OPEN(name)                                                       \
    int name(const char *path, int flags, ...)                                \
    {                                                                         \
        mode_t   mode;                                                        \
        va_list  args;                                                        \
                                                                              \
        va_start(args, flags);                                                \
        mode = (flags & O_CREAT) ? va_arg(args, mode_t) : 0;                  \
        va_end(args);                                                         \
        return lost_open(path, flags, mode);                                  \
    }

LOST_OPEN(open)
LOST_OPEN(open64)

/* LOST_FILTER: sockets have no filters */

int
setsockopt(int s, int level, int name, const void *value, socklen_t len)
{
    if (getenv("LOST_FILTER") && level == SOL_SOCKET
        && name == SO_ATTACH_FILTER)
    {
        errno = ENOPROTOOPT;
        return -1;
    }

    return syscall(SYS_setsockopt, s, level, name, value, len);
}

/* LOST_KILL=file, while there is one: groups are another user's */

int
kill(pid_t pid, int signo)
{
    char  *file = getenv("LOST_KILL");

    if (file && pid < -1 && access(file, F_OK) == 0) {
        errno = EPERM;
        return -1;
    }

    return syscall(SYS_kill, pid, signo);
}

/* LOST_SENDMSG=file, likewise: who hands a process over dies just before */

ssize_t
sendmsg(int s, const struct msghdr *msg, int flags)
{
    char  *file = getenv("LOST_SENDMSG");

    if (file && msg->msg_iovlen == 3 && access(file, F_OK) == 0) {
        syscall(SYS_kill, getpid(), SIGKILL);
    }

    return syscall(SYS_sendmsg, s, msg, flags);
}
END

ClaudeTest::compile("$dir/flood", <<'END');
#define _GNU_SOURCE
#include <fcntl.h>
#include <grp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* flood UID COUNT LENGTH NAME FDS: datagrams with one descriptor or two each */

int
main(int argc, char **argv)
{
    int                 s, i, fd[2];
    long                n, sent;
    size_t              size = atoi(argv[5]) * sizeof(int);
    uid_t               uid = atoi(argv[1]);
    char                data[256] = "";
    socklen_t           len;
    struct iovec        iov = { data, atoi(argv[3]) };
    struct msghdr       msg = { 0 };
    struct cmsghdr     *cmsg;
    struct sockaddr_un  sa = { AF_UNIX };
    union {
        struct cmsghdr  cm;
        char            space[CMSG_SPACE(sizeof(fd))];
    } control = { { 0 } };

    if (uid != getuid() && (setgroups(0, NULL) || setuid(uid))) {
        return 1;
    }

    fd[0] = fd[1] = open("/dev/null", O_RDONLY);
    s = socket(AF_UNIX, SOCK_DGRAM, 0);
    strcpy(sa.sun_path + 1, argv[4]);
    len = offsetof(struct sockaddr_un, sun_path) + 1 + strlen(argv[4]);

    msg.msg_name = &sa;
    msg.msg_namelen = len;
    msg.msg_iov = &iov;
    msg.msg_iovlen = 1;
    msg.msg_control = &control;
    msg.msg_controllen = CMSG_SPACE(size);
    cmsg = CMSG_FIRSTHDR(&msg);
    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(cmsg), fd, size);

    for (n = 0, sent = 0; n < atol(argv[2]); n++) {
        sent += (sendmsg(s, &msg, 0) != -1);
    }

    printf("%ld\n", sent);
    return 0;
}
END

sub start {                            # nginx with the shim, set so
    my ($set, @o) = @_;
    my $main = join '', map { "env $_;" } sort keys %$set;

    # LeakSanitizer has no names without /proc
    local $ENV{ASAN_OPTIONS} = join ':', $ENV{ASAN_OPTIONS} // (),
                               $set->{LOST_PROC} ? 'detect_leaks=0' : ();
    return ClaudeTest->start(main => $main, preload => "$dir/lost.so",
                             environ => $set, @o);
}

sub stream {
    my ($s, %o) = @_;
    my $c = $s->open_chat('hi', stream => 1, fake => $hang, %o);
    $c->until(qr/first/) or fail('a stream begins');
    return $c;
}

# Until it is dead: the wake-up of a new connection may go to who is dying.

sub murder {
    my @pids = @_;
    kill 'KILL', @pids;
    wait_for { !grep { alive($_) } @pids } undef;
}

sub stopped { return state_of($_[0]) eq 'T' }
sub touch { open my $fh, '>', $_[0] or die }
sub fds { my %fd = descriptors($_[0]); return scalar keys %fd }
sub asked { my @a = $_[0]->events('asked'); return $a[-1]{pid} }
sub row { my ($s, $pid) = @_;
          return (grep { $_->{pid} == $pid } @{ $s->status->{processes} })[0] }
sub free {                             # nothing of what was is in the zone
    my ($s, $name, @workers) = @_;
    my %gone = map { $_ => 1 } @workers;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return wait_for {
        my $status = $s->status;
        $status->{turns}{running} == 0 && $status->{turns}{waiting} == 0
            && !grep { $gone{ $_->{worker} } } @{ $status->{processes} }
    } $name, $within;
}

sub elsewhere {                        # in the other worker, of two
    my ($s, $not, @o) = @_;
    return $s->elsewhere($not, ClaudeTest::body(@o));
}

sub history {
    return history => [map { ({ role => 'user', content => $_ },
                              { role => 'assistant', content => "echo: $_" })
                           } @_];
}

sub reload {                           # pids of the old workers, still there
    my ($s) = @_;
    my %old = map { $_ => 1 } $s->workers;
    $s->signal('HUP');
    wait_for { my @w = grep { !$old{$_} } $s->workers;
               @w >= keys %old && !grep { $old{$_} } $s->workers } undef;
    return grep { alive($_) } keys %old;
}

# a worker that shuts down is killed, its stream open: the places are free

for my $workers (1, 2) {
    my $s = ClaudeTest->start(workers => $workers,
        http => 'claude_max_concurrent 2; claude_max_processes 2; '
              . 'claude_queue 4 timeout=300s; claude_warm 0;');
    wait_for { $s->workers == $workers } undef;
    my @c = map { stream($s) } 1, 2;
    my $waits = $s->open_chat('waits');
    wait_for { $s->status->{turns}{waiting} == 1 } undef;
    my @old = reload($s);
    my $status = $s->status->{turns};
    is("$status->{running} $status->{waiting}", '2 1',
       "$workers: reloaded, the old worker has streams and one who waits");

    my $new = $s->open_chat('new');
    wait_for { $s->status->{turns}{waiting} == 2 } undef;
    murder(@old);
    is($new->rest->{text}, 'echo: new',
       '  it is killed: who waits in a new one gets a place');
    free($s, '  places, queue and rows are free', @old);
    my @again = map { stream($s) } 1, 2;
    is($s->status->{turns}{running}, 2, '  all of them');
    $_->close for @again;
    $s->wait_idle('  and free again');
    $s->stop(allow => $killed);
}

# a reload that gives the workers another user: they wake each other all the same

SKIP: {
    skip 'only root has users to choose from', 1 if $> != 0;
    skip 'nobody cannot start the stand-in where it is', 1
        if !ClaudeTest::nobody_reaches();
    my %o = (workers => 1,
        http => 'claude_max_concurrent 1; claude_queue 4 timeout=300s; '
              . 'claude_warm 0;');
    my $s = ClaudeTest->start(%o);
    my $c = stream($s);
    $s->configure(%o, nobody => 1);
    my ($old) = reload($s);
    ok(alive($old), 'another user: the old worker has a stream');
    my $waits = $s->open_chat('waits');
    wait_for { $s->status->{turns}{waiting} == 1 } '  a new one waits for it';
    $c->close;
    is($waits->rest->{text}, 'echo: waits', '  and is told when it is free');
    $s->wait_idle(undef);
    $s->stop;
}

# an old worker gives back what it held as it ends: who reads of it when it is
# gone already gets it all the same

for my $what (qw(place session)) {
    my $s = ClaudeTest->start(workers => 1,
        http => 'claude_queue 4 timeout=300s; claude_warm 0;'
              . ($what eq 'place' ? ' claude_max_concurrent 1;' : ''));
    my @o = $what eq 'place' ? ()
        : (headers => ['X-Session-Id: b61f4a9e-57f0-4dc1-8d5c-0e5f5b0c9a11']);
    my $c = $s->open_chat('hi', stream => 1, @o,
                          fake => { deltas => ['first ', 'second'],
                                    gap_ms => 1500 });
    $c->until(qr/first/) or fail("$what: a stream begins");
    my $cli = asked($s);
    kill 'STOP', $cli;                 # it ends when all is ready
    my ($old) = reload($s);
    ok(alive($old), "$what: the old worker has a stream");
    my ($new) = $s->workers;
    my $waits = $s->open_chat('waits', @o);
    wait_for { $s->status->{turns}{waiting} == 1 } '  a new one waits for it';
    kill 'STOP', $new;
    wait_for { stopped($new) } undef;
    kill 'CONT', $cli;
    like($c->rest->{text}, qr/second/, '  the stream ends');
    wait_for { !alive($old) } '  and its worker';
    kill 'CONT', $new;
    is($waits->rest->{text}, 'echo: waits', '  the new one is told');
    $s->wait_idle(undef);
    $s->stop;
}

# several generations of old workers, all killed at once

{
    my $s = ClaudeTest->start(workers => 2,
        http => 'claude_max_concurrent 8; claude_max_processes 8; '
              . 'claude_warm 0;');
    wait_for { $s->workers == 2 } undef;
    my (@c, %old);
    for (1 .. 3) {
        push @c, stream($s);
        $old{$_} = 1 for reload($s);
    }
    my @old = grep { alive($_) } keys %old;
    cmp_ok(scalar @old, '>=', 3, 'three generations shut down, with streams');
    is($s->status->{turns}{running}, 3, '  three places are taken');
    murder(@old);
    free($s, '  all are killed at once: all is free', @old);
    $s->stop(allow => $killed);
}

# nginx quits: there is no new worker, and the one that is left misses it

{
    my $s = ClaudeTest->start(workers => 2,
        http => 'claude_max_concurrent 1; claude_queue 4 timeout=300s; '
              . 'claude_warm 0;');
    my @workers;
    wait_for { (@workers = $s->workers) == 2 } undef;
    my $c = stream($s);
    my $cli = asked($s);
    my $one = row($s, $cli)->{worker};
    my ($two) = grep { $_ != $one } @workers;
    my $waits = elsewhere($s, $one, 'waits');
    wait_for { $s->status->{turns}{waiting} == 1 }
        'a stream in one worker, another turn waits in the other';
    $s->signal('QUIT');
    wait_for { 2 == grep { $s->shuts_down($_) } @workers } '  nginx quits';
    murder($one);
    is($waits->rest->{text}, 'echo: waits',
       '  the first worker is killed: the other has its place');
    wait_for { !alive($cli) } '  the CLI is gone';
    $s->gone('  and nginx ends');
    $s->quiet_log(allow => $killed);
}

# the master is killed, and then a worker; with its spawner; with the last one

{
    my $s = ClaudeTest->start(workers => 3,
        http => 'claude_max_concurrent 2; claude_warm 0;');
    my @workers;
    wait_for { (@workers = $s->workers) == 3 } undef;
    my @c = map { stream($s) } 1, 2;
    my @cli = map { $_->{pid} } $s->events('asked');
    my @owner = map { $_->{worker} } @{ $s->status->{processes} };
    $s->signal('KILL');
    $s->gone('the master is killed');
    my ($left) = grep { my $w = $_; !grep { $_ == $w } @owner } @workers;
    my %spawner = map { parent(parent($_)) => 1 } @cli;
    murder(keys %spawner, @owner);
    wait_for { !grep { alive($_) } @cli } '  workers and spawners: no CLI is '
        . 'left', $within;
    free($s, '  nor a place taken', @owner);
    is($s->chat('hi')->{text}, 'echo: hi', '  another one serves');

    my @rest = grep { alive($_) } @workers;
    my @last = map { $_->{pid} } @{ $s->status->{processes} };
    kill 'KILL', @rest;
    wait_for { !grep { alive($_) } @rest, @last, map { $_->{pid} }
                   $s->events('start') } '  the last are killed: nothing is '
        . 'left', $within;
    $s->quiet_log(allow => $killed);
}

# a worker dies with the zone locked, in the midst of a change

SKIP: for my $master (1, 0) {
    my $s = ClaudeTest->start(workers => 2, http => 'claude_warm 0;',
                              zone => 'claude_zone claude:3m;');
    my @workers;
    wait_for { (@workers = $s->workers) == 2 } undef;
    my $c = stream($s);
    my $owner = row($s, asked($s))->{worker};
    my ($other) = grep { $_ != $owner } @workers;
    if (!$master) {
        $s->signal('KILL');
        $s->gone('there is no master any more');
    }
    kill 'STOP', $other;
    my $locked = lock_zone($owner, 3 << 20, $other);
    murder($other);
    if (!$locked) {
        $s->signal('KILL') if $master;
        kill 'KILL', @workers;
        skip 'memory of a worker cannot be written', 1;
    }
    my $t = time;
    my $r = $s->get('/status')->{json};
    is($r->{turns}{running}, 1, 'a worker died with the zone locked: '
       . 'others have it, and their sums are right');
    cmp_ok(time - $t, '<', $within, '  within two seconds');
    $c->close;
    free($s, '  and all is free', $other);
    if ($master) {
        $s->stop(allow => qr/$killed|was locked by/);
    } else {
        ok(scalar(grep { /worker $other died with the zone "claude" locked/ }
                      $s->errors), '  the log says so');
        kill 'QUIT', $owner;
        wait_for { !alive($owner) } undef;
        $s->quiet_log;
    }
}

# As ngx_slab_pool_t has it: the lock first, and what the module keeps (data)
# just before its own address. There the dirty mark and the sum of running
# turns come first.

sub lock_zone {
    my ($pid, $size, $holder) = @_;
    open my $maps, '<', "/proc/$pid/maps" or return 0;
    no warnings 'portable';
    my ($base) = map { /^(\w+)-(\w+) rw-s/ && hex($2) - hex($1) == $size
                           ? hex($1) : () } <$maps>;
    return 0 if !$base;
    open my $mem, '+<:raw', "/proc/$pid/mem" or return 0;
    sysseek $mem, $base, 0;
    sysread $mem, my $pool, 1024;
    my @words = unpack 'J*', $pool;
    my ($i) = grep { $words[$_] == $base } 1 .. $#words;
    return 0 if !$i;
    sysseek $mem, $words[$i - 1], 0;
    syswrite $mem, pack('J2', 1, 77) or return 0;
    sysseek $mem, $base, 0;
    return syswrite $mem, pack 'J', $holder;
}

# its pid is another program's by now, and /proc is there or not

for my $set ({}, { LOST_PROC => 1 }) {
  SKIP: {
    my $s = start($set, workers => 1,
                  http => 'claude_max_concurrent 1; claude_warm 0;');
    my $how = %$set ? 'without /proc' : 'with /proc';
    wait_for { $s->workers == 1 } undef;
    my $c = stream($s);
    my ($old) = reload($s);
    my ($new) = $s->workers;
    kill 'STOP', $new;
    kill 'KILL', $old;
    wait_for { !kill 0, $old } undef;              # reaped
    my $other = process_of($old);
    kill 'CONT', $new;
    if (!$other) {
        $s->stop(allow => $killed);
        skip 'a pid cannot be chosen here', 1;
    }
    free($s, "$how: its pid is another's by now, and all is free", $old);
    is($s->chat('hi')->{text}, 'echo: hi', '  and used');
    ok(alive($other), '  and that other process is let alone');
    kill 'KILL', $other;
    waitpid $other, 0;
    $s->stop(allow => $killed);
  }
}

# a process that has this pid, if the system lets it be chosen. Those that come
# then have the next pids, which are those of processes that ended a moment ago
# and that other suites may still ask about: so it goes on from where it was.

sub process_of {
    my ($pid) = @_;
    my $file = '/proc/sys/kernel/ns_last_pid';
    my ($last) = map { /(\d+)/ } ClaudeTest::lines_of($file);
    my $next = sub { open my $fh, '>', $file or return;
                     return syswrite $fh, $_[0] };
    my $found;

    for (1 .. 50) {
        $next->($pid - 1) or return;
        my $child = fork // last;
        if ($child == 0) {
            exec('sleep', 600) or POSIX::_exit(1);
        }
        $found = $child if $child == $pid;
        last if $found;
        kill 'KILL', $child;
        waitpid $child, 0;
    }
    $next->($last);
    return $found;
}

# hand-over without pidfd_open(), and without /proc

for my $set ({ LOST_PIDFD => 38 }, { LOST_PIDFD => 1 },
             { LOST_PIDFD => 38, LOST_PROC => 1 })
{
    my $how = join ' ', map { "$_=$set->{$_}" } sort keys %$set;
    my $s = start($set, workers => 2,
        http => 'claude_warm 0; claude_max_concurrent 2; '
              . 'claude_max_processes 3; claude_idle_timeout 1h;');
    wait_for { $s->workers == 2 } undef;

    is($s->chat('a')->{text}, 'echo: a', "$how: a turn");
    my $cli = asked($s);
    my $owner = row($s, $cli)->{worker};
    my $r = elsewhere($s, $owner, 'b', history('a'))->rest;
    is($r->{text}, 'echo: b', '  the next one in the other worker');
    is(asked($s), $cli, '  in the same process');
    my $row = row($s, $cli);
    isnt($row->{worker}, $owner, '  which is the other worker\'s');
    is("$row->{rung} $row->{turns}", 'live 2', '  live');
    $owner = $row->{worker};
    elsewhere($s, $owner, 'c', history(qw(a b)))->rest;
    is(asked($s), $cli, '  and back again');
    isnt(row($s, $cli)->{worker}, $owner, '  in its row');
    $owner = row($s, $cli)->{worker};
    elsewhere($s, $owner, 'd', history(qw(a b c)))->rest;
    is($s->status->{handed}, 3, '  three times handed over') or
        diag(json->encode($s->status));

    # what becomes of it is seen

    kill 'KILL', $cli;
    wait_for { !row($s, $cli) } '  it dies: its row is free', $within;
    is($s->chat('e', history(qw(a b c d)))->{text}, 'echo: e',
       '  and the conversation goes on');

    # one is ended: evicted, with the last worker, and with a dead one

    $cli = asked($s);
    $owner = row($s, $cli)->{worker};
    elsewhere($s, $owner, 'f', history(qw(a b c d e)))->rest;
    is(asked($s), $cli, '  handed over again');
    my @c = map { stream($s, key => 'sk-other') } 1, 2;
    $_->close for @c;
    $s->wait_idle(undef);
    kill 'TERM', map { $_->{pid} } @{ $s->status->{processes} };
    wait_for { !@{ $s->status->{processes} } } '  all that are idle are ended: '
        . 'no row is left', $within;

    $r = $s->chat('one');
    $cli = asked($s);
    $owner = row($s, $cli)->{worker};
    elsewhere($s, $owner, 'two', history('one'),
              fake => { deltas => ['first ', 'second'],
                        hang_after_deltas => 1 }, stream => 1)
        ->until(qr/first/);
    is(asked($s), $cli, '  handed over, at work');
    $owner = row($s, $cli)->{worker};
    murder($owner);
    wait_for { !alive($cli) } '  its worker is killed: so is it', $within;
    free($s, '  and its row free', $owner);

    my @all = map { $_->{pid} } $s->events('start');
    $s->stop(allow => $killed);
    wait_for { !grep { alive($_) } @all } '  nothing is left', $within;
}

# the giver dies when the row is the taker's, and nothing was sent

{
    my $file = "$dir/die";
    my $s = start({ LOST_SENDMSG => $file }, workers => 2,
        http => 'claude_warm 0; claude_max_concurrent 2; '
              . 'claude_max_processes 2;');
    wait_for { $s->workers == 2 } undef;
    $s->chat('a');
    my $cli = asked($s);
    my $owner = row($s, $cli)->{worker};
    touch($file);
    my $c = elsewhere($s, $owner, 'b', history('a'));
    is($c->rest->{text}, 'echo: b', 'who gives a process dies: it is done '
       . 'without');
    unlink $file;
    ok(!alive($owner), '  it did');
    wait_for { !alive($cli) } '  the process is gone', $within;
    wait_for { !grep { !alive($_->{pid}) } @{ $s->status->{processes} } }
        '  no row is left behind', $within;
    my @c = map { stream($s, key => 'sk-other') } 1, 2;
    is(scalar @{ $s->status->{processes} }, 2, '  all rows can be had');
    $_->close for @c;
    $s->wait_idle(undef);
    $s->stop(allow => $killed);
}

# a process that cannot be killed

{
    my $file = "$dir/immortal";
    my $s = start({ LOST_KILL => $file }, workers => 1,
        start => { ignore_term => $true },
        http => 'claude_warm 0; claude_max_concurrent 1; '
              . 'claude_max_processes 1; claude_queue 4 timeout=100s;');
    touch($file);
    my $name = '5d9cbf2a-8a53-4b1e-9e0e-1f0f6f1d0a28';
    my $c = stream($s, headers => ["X-Session-Id: $name"], fake =>
        { deltas => ['first ', 'second'], hang_after_deltas => 1,
          ignore_interrupt => $true, deaf => $true });
    my $cli = asked($s);
    $c->close;
    my $r = $s->chat('next');
    is($r->{text}, 'echo: next', 'one that cannot be killed: the next turn '
       . 'has its row') or diag($r->{body});
    ok(alive($cli), '  it lives');
    ok(!row($s, $cli), '  and counts no more');
    ok(scalar(grep { /process $cli does not end, also not by SIGKILL/ }
                  $s->errors), '  the log says so');
    is($s->status->{turns}{running}, 0, '  no place is taken');
    unlink $file;
    kill 'KILL', $cli;
    wait_for { !alive($cli) } undef;
    $s->stop;
}

# strangers send descriptors to the mailboxes

sub mailboxes {                        # names, by worker
    my ($s) = @_;
    my %name = map { (split)[6] => (split)[7] }
                   grep { / \@/ } ClaudeTest::lines_of('/proc/net/unix');
    return map {
        my %fd = descriptors($_);
        grep { defined } map { /socket:\[(\d+)\]/ ? $name{$1} : undef }
             values %fd;
    } $s->workers;
}

sub flood {                            # what it says, when it is done
    my ($name, $uid, @o) = @_;
    open my $out, '-|', "$dir/flood", $uid, @o[0, 1], $name =~ s/^\@//r, $o[2]
        or die;
    return $out;
}

sub taken {                            # datagrams, of so many, by one mailbox
    my ($name, $n) = @_;
    my $to = pack_sockaddr_un($name =~ s/^\@/\0/r);
    socket my $s, AF_UNIX, SOCK_DGRAM, 0 or die;
    setsockopt $s, SOL_SOCKET, SO_SNDBUF, 4096 or die;
    return scalar grep { defined send $s, 'x' x 32, MSG_DONTWAIT, $to } 1 .. $n;
}

for my $set ({}, { LOST_FILTER => 1 }) {
    my $s = start($set, workers => 2, http => 'claude_warm 0;');
    wait_for { $s->workers == 2 } undef;
    $s->chat('hi');
    my @names = mailboxes($s);
    is(scalar @names, 2, %$set ? 'no filter: mailboxes' : 'mailboxes');
    my %before = map { $_ => fds($_) } $s->workers;
    my $n = 20_000;

    # Nobody reads them now: what is not dropped as it is sent has to wait, and
    # for so many there is no room.

    kill 'STOP', $s->workers;
    wait_for { 2 == grep { stopped($_) } $s->workers } undef;
    for my $name (@names) {
        my $took = taken($name, 1000);
        if (%$set) {
            cmp_ok($took, '<', 1000, 'messages of strangers wait');
        } else {
            is($took, 1000, 'messages of strangers do not wait');
        }
    }
    kill 'CONT', $s->workers;

    # One descriptor is taken from a message, two are not. All but the last few
    # messages have been read when the last is sent.

    for my $fds (1, 2) {
        my $sent = 0;
        $sent += readline flood($_, $>, 200, 32, $fds) for @names;
        is($sent, 400, "descriptors in a message: $fds");
        wait_for { !grep { fds($_) > $before{$_} + 8 } keys %before }
            '  none of them stays';
    }

    for my $uid ($> == 0 ? (65534, 0) : $>) {
        for my $length (0, 8, 32, 200) {
            my @flood = map { flood($_, $uid, $n / 4, $length, 2) } @names;
            my ($bad, $t) = (0, time);
            my $select = IO::Select->new(@flood);
            do {
                $bad++ if $s->chat('meanwhile')->{text} ne 'echo: meanwhile';
            } while (!$select->can_read(0));
            my $sent = 0;
            $sent += <$_> for @flood;
            close $_ for @flood;
            cmp_ok($sent, '>', 0, "user $uid, $length bytes: sent");
            is($bad, 0, '  others are served meanwhile');
        }
    }
    $s->chat('after');
    $s->wait_idle(undef);
    my %workers = map { $_ => 1 } $s->workers;
    is(join(' ', grep { !$workers{$_} } keys %before), '',
       'workers are the same');
    wait_for { !grep { fds($_) > $before{$_} + 8 } keys %before }
        'and have no more descriptors' or diag(json->encode(
            { map { $_ => fds($_) } keys %before }));

    # what they are for works all the same

    my $cli = asked($s);
    my $owner = row($s, $cli)->{worker};
    is(elsewhere($s, $owner, 'b', history('after'))->rest->{text}, 'echo: b',
       'a mailbox is read');
    is(asked($s), $cli, 'and a process handed over');
    $s->stop;
}

# a 403 is remembered of nobody, a 401 of its own login

{
    my $s = ClaudeTest->start(workers => 1,
        server => 'location /v1/ { claude_openai; } '
                . 'location /two/ { claude_openai; '
                . 'claude_env HOME=' . "$dir" . ' LOGIN=two; }');
    my $two = sub {
        return $s->send(POST => '/two/chat/completions',
                        body => ClaudeTest::body(@_))->rest;
    };
    my $code = sub { return $_[0]{error} ? $_[0]{error}{code} : 'none' };

    is($code->($s->chat('hi', fake => { error => { status => 403 } })),
       'cli_not_logged_in', 'upstream answers 403');
    is($s->chat('next', key => 'sk-other')->{text}, 'echo: next',
       '  the next is asked, of another key');
    is($s->chat('next')->{text}, 'echo: next', '  and of this one');
    ok(scalar(grep { /\[error\].*not logged in.*403/ } $s->errors),
       '  the log has the words');

    # words that upstream, or a proxy on the way, quotes are no login's

    for my $stream (0, 1) {
        for my $e ({ status => 403, text => 'API Error: 403 the text "Not '
                     . 'logged in" is not allowed' },
                   { status => undef, word => 'invalid_request',
                     text => 'API Error: Not logged in: is not allowed' }) {
            isnt($code->($s->chat('hi', stream => $stream,
                                  fake => { error => $e })), 'none',
                 "upstream quotes: $e->{text}");
            is($s->chat('next', key => 'sk-other')->{text}, 'echo: next',
               '  the next is asked');
        }
    }

    my $fake = { fake => { error => { status => 401 } } };
    is($code->($two->('hi', %$fake)), 'cli_not_logged_in',
       'upstream answers 401');
    is($code->($two->('next')), 'cli_not_logged_in', '  that is remembered');
    is($s->chat('next')->{text}, 'echo: next', '  of that login alone');

    # a turn under way shows that the login is well again

    my $c = $s->open_chat('slow', stream => 1, fake =>
                          { text => 'well', delay_ms => 1000 });
    my $slow;
    wait_for { ($slow) = map { $_->{pid} }
                         grep { $_->{messages}[-1]{content} =~ /^slow/ }
                         $s->events('asked') } undef;
    kill 'STOP', $slow;
    is($code->($s->chat('hi', %$fake)), 'cli_not_logged_in', 'another 401');
    kill 'CONT', $slow;
    is($c->rest->{text}, 'well', '  while a turn of the login is answered');
    is($s->chat('next')->{text}, 'echo: next', '  which shows that it is well');
    $s->stop;
}

done_testing();
