# Faults of nginx itself: no room in the zone, a worker or the master killed,
# reloads again and again, a new binary, a shutdown that does not wait. What
# runs finishes or has its error, and nothing is left over in the end.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use ClaudeTest;
use Test::More;
use Time::HiRes qw(time sleep);

my $true = JSON::PP::true;
my $sanitized = $ENV{TEST_SANITIZED};
my $gone_within = patience() / 4;                  # 2 s by the design
my $hang = { deltas => ['first ', 'second'], hang_after_deltas => 1 };

sub started { return map { $_->{pid} } $_[0]->events('start') }
sub fds { my %fd = descriptors($_[0]); return scalar keys %fd }

# a body in a file that cannot be read: a shim has pread() fail

{
    my $so = "$ENV{TEST_NGINX_SERVROOT}/pread.so";

    chmod 0755, $ENV{TEST_NGINX_SERVROOT};
    ClaudeTest::compile($so, <<'END', '-shared', '-fPIC');
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static ssize_t
body_pread(int fd, void *buf, size_t n, off_t offset)
{
    char  link[64], path[1024] = "";

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);

    if (readlink(link, path, sizeof(path) - 1) > 0
        && strstr(path, "/temp/body/"))
    {
        errno = EIO;
        return -1;
    }

    return syscall(SYS_pread64, fd, buf, n, offset);
}

ssize_t
pread(int fd, void *buf, size_t n, off_t offset)
{
    return body_pread(fd, buf, n, offset);
}

ssize_t
pread64(int fd, void *buf, size_t n, off_t offset)
{
    return body_pread(fd, buf, n, offset);
}
END

    my $s = ClaudeTest->start(workers => 1, preload => $so, server =>
        'location /v1/ { client_body_in_file_only clean; claude_openai; }');
    my $r = $s->chat('hi');
    is($r->{status}, 500, 'a body whose file cannot be read');
    is_deeply($r->{json}{error}, { type => 'server_error', param => undef,
        code => 'internal_error',
        message => 'The server could not read the request body.' },
        '  is not said to be the client\'s fault');
    is((grep { /pread\(\) .* failed/ } $s->errors) + 0, 1,
       '  and the log has the reason');
    $s->stop(allow => qr{pread\(\) "[^"]*/temp/body/});
}

# more workers than the smallest zone has rows for

SKIP: {
    skip 'hundreds of workers with sanitizers', 1 if $sanitized;
    my $n = 215;
    my $s = ClaudeTest->start(workers => $n, zone => 'claude_zone claude:128k;',
        events => 'worker_connections 64;',
        listen => 'listen 127.0.0.1:' . port() . ' reuseport;',
        http => 'claude_warm 0; claude_max_processes 4; '
                . 'claude_max_concurrent 2; claude_queue 2;');
    wait_for { $s->workers == $n } 'more workers than the zone has room for';

    my (%seen, @refused);
    for (1 .. 400) {
        my $r = $s->chat('hi', fake => { text => 'x' });
        $seen{ $r->{status} }++;
        push @refused, $r if $r->{status} != 200;
        last if @refused >= 2 && $seen{200};
    }
    is(join(' ', sort keys %seen), '200 503',
       'those that have none refuse, the others serve');
    is($refused[0]{error}{code}, 'cli_unavailable', '  with the code');
    my $id = $refused[0]{headers}{'x-request-id'};
    is(scalar(grep { /\[error\].*could not be started.*\Q$id\E/ } $s->errors),
       1, '  and a line of the log');
    ok(scalar(grep { /claude_zone "claude" has no room for one more worker: make it larger/ }
              $s->errors), '  the log says what to do');

    # those that take the place of killed ones take their rows, too

    my $without = sub {
        my %pid = map { /(\d+)#\d+: claude_zone/ ? ($1 => 1) : () } $s->errors;
        return join ' ', sort keys %pid;
    };
    my $before = $without->();
    my @killed = (grep { $before !~ /\b$_\b/ } $s->workers)[0 .. 20];
    kill 'KILL', @killed;
    wait_for { my %w = map { $_ => 1 } $s->workers;
               keys %w == $n && !grep { $w{$_} } @killed }
        'workers are killed, and started again';
    $s->chat('hi', fake => { text => 'x' }) for 1 .. 30;
    is($without->(), $before, 'which take the rows of those');
    $s->stop(allow => qr/exited on signal 9/);
}

# the master is killed: its workers go on, as nginx's do, until they are ended

{
    my $s = ClaudeTest->start(workers => 2);
    my @workers;
    wait_for { (@workers = $s->workers) == 2 } undef;
    my $c = $s->open_chat('hi', stream => 1, fake =>
        { deltas => ['first ', 'second'], gap_ms => 500 });
    ok($c->until(qr/first/), 'a stream runs');
    my $held = $s->open_chat('hi', stream => 1, fake => $hang);
    ok($held->until(qr/first/), 'and another');

    $s->signal('KILL');
    $s->gone('the master is killed');
    is($c->rest->{text}, 'first second', 'a stream finishes');
    is($s->chat('next')->{text}, 'echo: next', 'others are served');
    is((grep { alive($_) } @workers), 2, 'by its workers');

    my @cli = started($s);
    my @spawners = map { parent(parent($_)) } grep { alive($_) } @cli;
    kill 'QUIT', $workers[0];
    kill 'KILL', $workers[1];
    $held->close;                      # which the first may wait for
    wait_for { !grep { alive($_) } @workers } 'they obey, and can be killed';
    wait_for { !grep { alive($_) } @cli } 'their CLIs are gone',
             $gone_within;
    wait_for { !grep { alive($_) } @spawners } 'and the spawners',
             $gone_within;
    $s->quiet_log;
    kill 'KILL', grep { alive($_) } @workers;
}

# worker_shutdown_timeout

for my $session (0, 1) {
    my $s = ClaudeTest->start(workers => 2,
                              main => 'worker_shutdown_timeout 1s;');
    my @old;
    wait_for { (@old = $s->workers) == 2 } undef;
    my @name = (headers =>
        ['X-Session-Id: 5d9cbf2a-8a53-4b1e-9e0e-1f0f6f1d0a11']) x $session;
    my $what = $session ? 'a session' : 'a stream';
    is($s->chat('zero', @name)->{status}, 200, 'a turn') if $session;
    my $c = $s->open_chat('one', stream => 1, fake => $hang, @name);
    ok($c->until(qr/first/), "$what runs");
    my ($cli) = map { $_->{pid} } reverse $s->events('asked');

    my $t = time;
    $s->signal('HUP');
    my $r = $c->rest;
    ok(!$r->{timeout}, "worker_shutdown_timeout: $what is ended");
    cmp_ok(time - $t, '>', 0.8, '  not before');
    ok($r->{cut} || ($r->{error} && !$r->{done}),
       '  and does not look like a whole one');
    wait_for { !grep { alive($_) } @old } '  the old workers end';
    wait_for { !alive($cli) } '  so does its CLI', $gone_within;
    wait_for { $s->status->{turns}{running} == 0 } '  no place stays taken';
    is($s->chat('two', @name)->{text}, 'echo: two', '  the new ones serve');
    if ($session) {
        my ($asked) = reverse $s->events('asked');
        is($asked->{messages}[0]{content}, 'zero', '  and the session goes on');
    }
    $s->stop;
}

# reload, again and again, while clients stream

{
    my ($clients, $reloads) = (20, 20);
    my $s = ClaudeTest->start(workers => 2, http => 'claude_warm 1; '
        . 'claude_max_concurrent 60; claude_max_processes 80; '
        . 'claude_queue 60;');
    my @first;
    wait_for { (@first = $s->workers) == 2 } undef;
    my ($begun, $done, $bad, @c) = (0, 0, 0);
    my $words = { deltas => [map { "word$_ " } 1 .. 20], gap_ms => 100 };
    my $want = join '', @{ $words->{deltas} };
    my @old = @first;
    my %workers = map { $_ => 1 } @first;

    # so many all the time: one that has ended is followed by another

    my $serve = sub {
        my ($more) = @_;
        for (@c) {
            $_->read(0) while !$_->{eof}
                              && IO::Select->new($_->{socket})->can_read(0);
        }
        for my $c (grep { $_->{eof} } @c) {
            my $r = $c->rest;
            $done++;
            $bad++ if $r->{text} ne $want || !$r->{done} || $r->{cut};
        }
        @c = grep { !$_->{eof} } @c;
        while ($more && @c < $clients) {
            push @c, $s->open_chat('load ' . $begun++, stream => 1,
                                   fake => $words);
        }
    };

    my $reloaded = 0;
    for (1 .. $reloads) {
        $s->signal('HUP');
        $reloaded++ if wait_for {
            $serve->(1);
            my @w = $s->workers;
            my %old = map { $_ => 1 } @old;
            @w = grep { !$old{$_} } @w;
            @w >= 2 ? (@old = @w) : 0;
        } undef;
        $workers{$_} = 1 for @old;
    }
    is($reloaded, $reloads, "$reloads reloads under load");
    wait_for { $serve->(0); !@c } 'all streams end';
    cmp_ok($begun, '>=', $clients, "($begun streams)");
    is($bad, 0, '  each with all of its text');
    is($done, $begun, '  none is lost');

    my %now = map { $_ => 1 } $s->workers;
    wait_for { !grep { alive($_) && !$now{$_} } keys %workers }
        'the workers of old are gone';
    wait_for {
        my %known = map { $_->{pid} => 1 } @{ $s->status->{processes} };
        !grep { alive($_) && !$known{$_} } started($s)
    } 'and all CLIs but those of the new';
    wait_for { my @spawners = grep { cmdline($_) =~ /spawner/ } map {
                   children($_) } keys %now;
               @spawners <= 2 } 'one spawner a worker';
    is($s->status->{turns}{running}, 0, 'no place stays taken');
    is(join('', grep { /\[(?:warn|error)\]/ } $s->errors), '',
       'no failure in the log');
    my @before = map { fds($_) } sort keys %now;
    cmp_ok($before[0], '<', 60, 'few descriptors');
    is($s->chat('hi')->{text}, 'echo: hi', 'and it serves');
    my @clis = started($s);
    $s->stop;
    wait_for { !grep { alive($_) } @clis } 'nothing outlives it', $gone_within;
}

# a reload while a process starts ahead of need: nothing has failed

{
    my $s = ClaudeTest->start(workers => 1, http => 'claude_warm 1;',
                              start => { delay_ms => 20000 });
    wait_for { grep { $_->{state} eq 'starting' }
               @{ $s->status->{processes} } } 'a process starts';
    my ($old) = children($s->{pid});
    $s->signal('HUP');
    wait_for { !alive($old) } 'reload: the old worker ends';
    is(join('', grep { /\[(?:error|warn)\]/ } $s->errors), '',
       '  and complains of nothing');
    $s->stop;
}

# a new binary, under load: USR2, WINCH, QUIT

{
    my $s = ClaudeTest::Daemon->start(workers => 2, main => 'daemon on;',
        http => 'claude_warm 0; claude_max_concurrent 20; '
                . 'claude_max_processes 30; claude_queue 20 timeout=5s;');
    my $dir = $s->{dir};
    my $old = $s->{pid};
    my $words = { deltas => [map { "word$_ " } 1 .. 30], gap_ms => 100 };
    my $want = join '', @{ $words->{deltas} };
    my @name = (headers =>
        ['X-Session-Id: 5d9cbf2a-8a53-4b1e-9e0e-1f0f6f1d0a12']);
    is($s->chat('one', @name)->{status}, 200, 'a session begins');
    my @c = map { $s->open_chat("load $_", stream => 1, fake => $words) }
                1 .. 8;
    $_->until(qr/word1/) for @c;
    my @workers = $s->workers;

    kill 'USR2', $old;
    my $new;
    wait_for { $new = ClaudeTest::Daemon::pid_in("$dir/nginx.pid");
               $new && $new != $old && alive($new) } 'USR2: a new master runs';
    wait_for { children($new) >= 2 } '  with workers';
    is(ClaudeTest::Daemon::pid_in("$dir/nginx.pid.oldbin"), $old,
       '  beside the old one');
    push @c, map { $s->open_chat("both $_", stream => 1, fake => $words) }
                 1 .. 4;

    kill 'WINCH', $old;
    $s->{pid} = $new;
    my $r = $s->chat('two', @name);
    is($r->{status}, 200, 'WINCH: the session goes on in the new tree')
        or diag($r->{body});
    my @asked = map { join ' ', map { ref $_->{content}
                                      ? $_->{content}[0]{text}
                                      : $_->{content} } @{ $_->{messages} } }
                    $s->events('asked');
    is(join(' | ', grep { /two$/ } @asked), 'one echo: one two',
       '  with all that was said');
    kill 'QUIT', $old;

    my @r = map { $_->rest } @c;
    is(scalar(grep { $_->{text} ne $want || !$_->{done} } @r), 0,
       'QUIT: streams finish in the old tree')
        or diag(map { "$_->{status} $_->{body}\n" } grep { !$_->{done} } @r);
    wait_for { !grep { alive($_) } $old, @workers } '  which then ends';
    is($s->chat('three')->{text}, 'echo: three', 'the new tree serves');
    wait_for { my %known = map { $_->{pid} => 1 } @{ $s->status->{processes} };
               !grep { alive($_) && !$known{$_} } started($s) }
        'no CLI of the old is left';
    is($s->chat('three', @name)->{status}, 200, 'the session lives on');

    my @clis = started($s);
    $s->stop;
    wait_for { !grep { alive($_) } @clis } 'nothing outlives it', $gone_within;
}

done_testing();


# As ClaudeTest, but nginx is no child of ours: one that is obeys no USR2.

package ClaudeTest::Daemon;

use parent -norequire, 'ClaudeTest';

sub pid_in {
    open my $fh, '<', $_[0] or return 0;
    my ($pid) = (<$fh> // '') =~ /^(\d+)$/;
    return $pid // 0;
}

sub configuration {
    my ($s, @o) = @_;
    return $s->SUPER::configuration(@o) =~ s/^daemon off;$//mr;
}

sub run {
    my ($s) = @_;
    system("@{[ map { qq('$_') } $s->arguments ]} >>'$s->{dir}/logs/stdout' "
           . "2>>'$s->{dir}/logs/stderr'") == 0
        or die 'nginx has not started: ', $s->stderr;
    ClaudeTest::wait_for(sub { $s->{pid} = pid_in("$s->{dir}/nginx.pid") },
                         undef);
    $s->{owned} = $$;
}

sub gone {
    my ($s, $name) = @_;
    my $pid = $s->{pid};
    ClaudeTest::wait_for(sub { !ClaudeTest::alive($pid) }, $name);
    kill 'KILL', $pid if ClaudeTest::alive($pid);
    delete $s->{pid};
}

sub DESTROY {                          # also when the suite dies
    my ($s) = @_;
    local ($?, $!);
    return if !$s->{pid} || ($s->{owned} // 0) != $$;
    kill 'TERM', grep { $_ } $s->{pid}, pid_in("$s->{dir}/nginx.pid"),
                 pid_in("$s->{dir}/nginx.pid.oldbin");
}
