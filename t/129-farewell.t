# How a CLI is told to end. At the end of its stdin one that waits for results
# gives up on them and asks the model again, so that is not what it sees first:
# SIGTERM comes while its stdin is open. A shim, preloaded into nginx alone,
# holds the worker up where it is about to close that.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use ClaudeTest;
use Test::More;

my $dir = "$ENV{TEST_NGINX_SERVROOT}/farewell";

mkdir $dir;
ClaudeTest::compile("$dir/close.so", <<'END', '-shared', '-fPIC');
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* the pipe whose end to write to is not closed yet; whether somebody tries */
static volatile long  *held;

__attribute__((constructor)) static void
held_init(void)
{
    int  fd = open(getenv("CLOSE_HELD"), O_RDWR|O_CLOEXEC);

    if (fd != -1) {
        held = mmap(NULL, 2 * sizeof(long), PROT_READ|PROT_WRITE, MAP_SHARED,
                    fd, 0);
        syscall(SYS_close, fd);
    }
}

int
close(int fd)
{
    int          i;
    struct stat  st;

    if (held && held[0] && fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode)
        && (long) st.st_ino == held[0]
        && (fcntl(fd, F_GETFL) & O_ACCMODE) == O_WRONLY)
    {
        held[1] = 1;

        for (i = 0; held[0] && i < 120 * 1000; i++) {
            usleep(1000);
        }
    }

    return syscall(SYS_close, fd);
}
END

sub hold {                             # a pipe, or none any more
    open my $fh, '+<', "$dir/held" or die;
    syswrite $fh, pack 'l!', $_[0];
}

sub held {                             # whether somebody waits
    open my $fh, '<:raw', "$dir/held" or die;
    sysread $fh, my $buf, 64;
    return (unpack 'l!2', $buf)[1];
}

open my $fh, '>', "$dir/held" or die;
print $fh pack 'l!2', 0, 0;
close $fh;
chmod 0666, "$dir/held";

my $s = ClaudeTest->start(workers => 1, http => 'claude_warm 0;',
                          preload => "$dir/close.so",
                          environ => { CLOSE_HELD => "$dir/held" });

my $r = $s->chat('call', fake => { tool_use => [{ id => 'toolu_1',
                                   name => 'look', input => {} }] },
    with => { tools => [{ type => 'function',
                          function => { name => 'look' } }] });
is($r->{json}{choices}[0]{finish_reason}, 'tool_calls',
   'a CLI waits for the results of a call');
$s->wait_idle(undef);

my ($cli) = map { $_->{pid} } $s->events('asked');
my %fds = descriptors($cli);
my ($stdin) = $fds{0} =~ /^pipe:\[(\d+)\]$/;
ok($stdin, 'its stdin is a pipe');

hold($stdin);
$s->signal('QUIT');
wait_for { held() } 'its worker is about to close its stdin';
wait_for { $s->events('exit') } '  it ends';
my ($exit) = $s->events('exit');
is($exit->{why} // 'not', 'SIGTERM', '  of the signal');
is(scalar(() = $s->events('asked')), 1, '  and has not asked again');

hold(0);
$s->gone('nginx ends');
$s->quiet_log;
wait_for { !alive($cli) } 'and so has the CLI';

done_testing();
