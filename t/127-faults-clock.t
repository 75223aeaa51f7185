# The clock is set while nginx runs, a day ahead and a day back: turns, idle
# processes and the queue neither hang nor expire, and a session that is in
# use is not forgotten. A shim, preloaded into nginx alone, adds what a file
# says to the time of day; the monotonic clock stays as it is.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use ClaudeTest;
use Test::More;
use Time::HiRes qw(time sleep clock_gettime CLOCK_MONOTONIC);

my $dir = "$ENV{TEST_NGINX_SERVROOT}/clock";
my $day = 86400;

mkdir $dir;
ClaudeTest::compile("$dir/clock.so", <<'END', '-shared', '-fPIC');
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include <sys/syscall.h>

/* seconds to add; msec that the monotonic clock shows, if it stands; to add */
static volatile long  *offset;

__attribute__((constructor)) static void
clock_init(void)
{
    char  *name = getenv("CLOCK_OFFSET");
    int    fd = name ? open(name, O_RDONLY|O_CLOEXEC) : -1;

    if (fd != -1) {
        offset = mmap(NULL, 3 * sizeof(long), PROT_READ, MAP_SHARED, fd, 0);
        close(fd);
    }
}

int
clock_gettime(clockid_t id, struct timespec *ts)
{
    int  rc = syscall(SYS_clock_gettime, id, ts);

    if (offset && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) {
        ts->tv_sec += *offset;

    } else if (offset && (id == CLOCK_MONOTONIC
                          || id == CLOCK_MONOTONIC_COARSE))
    {
        long  ms = offset[1] ? offset[1] : ts->tv_sec * 1000
                                           + ts->tv_nsec / 1000000 + offset[2];

        ts->tv_sec = ms / 1000;
        ts->tv_nsec = ms % 1000 * 1000000 + ts->tv_nsec % 1000000;
    }

    return rc;
}

int
gettimeofday(struct timeval *tv, void *tz)
{
    struct timespec  ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    tv->tv_sec = ts.tv_sec;
    tv->tv_usec = ts.tv_nsec / 1000;
    return 0;
}

time_t
time(time_t *t)
{
    struct timespec  ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    if (t) *t = ts.tv_sec;
    return ts.tv_sec;
}
END

sub set_clock {                        # seconds off the right time
    open my $fh, '+<', "$dir/offset" or die;
    syswrite $fh, pack 'l!', $_[0];
}

sub set_monotonic {                    # msec: it stands, and is ahead then
    open my $fh, '+<', "$dir/offset" or die;
    sysseek $fh, length pack('l!', 0), 0;
    syswrite $fh, pack 'l!l!', @_;
}

sub now {                              # as nginx has it, at its next event
    my ($s) = @_;
    my ($date) = $s->get('/health')->{headers}{date} =~ /, (.*) GMT/;
    require Time::Piece;
    return Time::Piece->strptime($date, '%d %b %Y %H:%M:%S')->epoch;
}

open my $fh, '>', "$dir/offset" or die;
print $fh pack 'l!l!l!', 0, 0, 0;
close $fh;

sub started {
    return ClaudeTest->start(workers => 1, preload => "$dir/clock.so",
                             environ => { CLOCK_OFFSET => "$dir/offset" }, @_);
}

my $s = started(
    http => 'claude_warm 1; claude_max_concurrent 2; '
        . 'claude_queue 5 timeout=60s; claude_idle_timeout 1h; '
        . 'claude_session_ttl 1h;',
    server => 'location /v1/ { claude_openai; claude_timeout 1h; '
        . 'claude_heartbeat 200ms; } '
        . 'location /soon/ { claude_openai; claude_timeout 500ms; }');

my $name = '5d9cbf2a-8a53-4b1e-9e0e-1f0f6f1d0a13';
my @session = (headers => ["X-Session-Id: $name"]);

cmp_ok(abs(now($s) - time), '<', 10, 'the clock is right at first');

for my $jump ($day, -$day, 0, 400 * $day, 0) {
    my $by = $jump / $day . ' days';
    my @history = ({ role => 'user', content => "of $by" },
                   { role => 'assistant', content => "echo: of $by" });
    $s->chat("of $by");                # and one is idle then
    my ($idle) = map { $_->{pid} } reverse $s->events('asked');

    # two streams, one that says nothing and one of the session, and a waiter

    my $go = "$dir/go";
    my $hung = $s->open_chat('hang', stream => 1, fake =>
        { deltas => ['first ', 'second'], hang_after_deltas => 1 });
    ok($hung->until(qr/first/), "$by: a stream runs");
    my $flows = $s->open_chat("session $by", stream => 1, @session, fake =>
        { deltas => ['tick '], repeat => 15, gap_ms => 100 });
    ok($flows->until(qr/tick/), '  and one of a session');
    my $waits = $s->open_chat("waits $by");
    wait_for { $s->status->{turns}{waiting} == 1 } '  and one waits';
    my $log = () = $s->errors;
    my %before = map { $_->{pid} => 1 } grep { $_->{pid} }  # 0: not there yet
                 @{ $s->status->{processes} };

    set_clock($jump);
    wait_for { abs(now($s) - time - $jump) < 20 } '  the clock jumps';

    my $r = $flows->rest;
    is($r->{text}, 'tick ' x 15, '  the session\'s turn goes on');
    is($r->{done}, 1, '  to its end');
    is($waits->rest->{text}, "echo: waits $by", '  the waiter is served');
    my $beats = () = $hung->{raw} =~ /^:/mg;
    wait_for { $hung->read(1); (() = $hung->{raw} =~ /^:/mg) > $beats + 2 }
        '  the silent stream still has its heartbeat';

    my %after = map { $_->{pid} => 1 } @{ $s->status->{processes} };
    is(join(' ', grep { !$after{$_} } keys %before), '',
       '  no process has expired');
    ok(alive($idle), '  the idle one neither');
    $r = $s->chat('goes on', history => \@history);
    is($r->{text}, 'echo: goes on', '  its conversation goes on');
    $hung->close;
    $s->wait_idle('  who leaves makes room');

    my $t = time;
    $r = $s->send(POST => '/soon/chat/completions', body =>
        ClaudeTest::body('x', fake => { hang => JSON::PP::true }))->rest;
    is($r->{status}, 504, '  claude_timeout is still what it is');
    cmp_ok(time - $t, '>', 0.3, '  not shorter');

    # what the session has said; a sweep may look while its process holds it

    $r = $s->chat("after $by", @session);
    is($r->{status}, 200, '  the session is not forgotten');
    my ($asked) = reverse $s->events('asked');
    cmp_ok(scalar @{ $asked->{messages} }, '>', 2, '  nor what it said');
    is(join('', grep { /\[(?:warn|error)\]/ && !/see claude_timeout/ }
                ($s->errors)[$log .. (() = $s->errors) - 1]), '',
       '  no other failure in the log');
}

{
    my $status = $s->status;
    is(join(' ', grep { $_ < 0 } map { @$_{qw(age since)} }
                 @{ $status->{processes} }), '', 'no age is below zero');
}

# back by a day with processes that are of tomorrow

set_clock($day);
wait_for { abs(now($s) - time - $day) < 20 } undef;
$s->chat('of tomorrow');
set_clock(0);
wait_for { abs(now($s) - time) < 20 } undef;
{
    my $status = $s->status;
    is(join(' ', grep { $_ < 0 } map { @$_{qw(age since)} }
                 @{ $status->{processes} }), '', 'nor after a jump back');
    my @clis = map { $_->{pid} } $s->events('start');
    $s->stop;
    wait_for { !grep { alive($_) } @clis } 'all end';
}

# what is answered from memory is so for 5 seconds, and then no more

$s = started(http => 'claude_warm 0;', log => "$dir/log",
    server => join ' ', map { "location /$_->[0]/ { claude_openai; "
                              . "claude_env HOME=$dir FAKE_CLAUDE_LOG=$dir/log "
                              . "'$_->[1]'; }" }
              ['none', 'LOGIN=none'], ['refused', 'LOGIN=refused'],
              ['old', 'FAKE_CLAUDE={"start":{"version":"2.1.1"}}']);
{
    my $at = int(clock_gettime(CLOCK_MONOTONIC) * 1000);
    my $late = sub { set_monotonic($at += $_[0], 0) };
    my $work = sub { scalar grep { $_->{event} =~ /^(?:start|asked)$/ }
                     $s->events };

    for (['none', 'cli_not_logged_in', { not_logged_in => JSON::PP::true }],
         ['refused', 'cli_not_logged_in', { error => { status => 401 } }],
         ['old', 'cli_too_old']) {
        my ($where, $code, $fake) = @$_;
        my $chat = sub {
            my $r = $s->send(POST => "/$where/chat/completions",
                             body => ClaudeTest::body('hi', @_))->rest;
            return $r->{error} ? $r->{error}{code} : $r->{text};
        };

        $late->(0);
        is($chat->(fake => $fake), $code, "$where: it fails");
        my $done = $work->();
        cmp_ok($done, '>', 0, '  so says a CLI');

        $late->(4900);
        is($chat->(), $code, '  and memory 4.9 seconds later');
        is($work->(), $done, '  which asks none');

        $late->(200);
        is($chat->(), $fake ? 'echo: hi' : $code, '  but not after 5.1');
        cmp_ok($work->(), '>', $done, '  when one is asked again');
    }

    set_monotonic(0, $at + 1000 - int(clock_gettime(CLOCK_MONOTONIC) * 1000));
    $s->stop;
}

done_testing();
