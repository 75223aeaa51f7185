# The limits hold over all workers, the queue is served in order, and who
# leaves makes room.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use ClaudeTest;
use Test::More;

my $hang = { hang_after_deltas => 1, deltas => ['first ', 'second'] };
my $s = ClaudeTest->start(workers => 2,
    http => 'claude_max_concurrent 2; claude_queue 3 timeout=30s;');

# One after the other is accepted by whichever worker is free, so that with
# reuseport off both get some; the limit must not depend on that.

sub turns { my $t = $s->status->{turns}; return "$t->{running}+$t->{waiting}" }
sub asked { return map { $_->{messages}[-1]{content} =~ /^(\S+)/ ? $1 : '?' }
                   $s->events('asked') }

{
    my @c = map { $s->open_chat("run$_", fake => $hang, stream => 1) } 1, 2;
    ok($_->until(qr/first/), 'a turn runs') for @c;

    my @w;
    for my $n (1 .. 3) {
        push @w, $s->open_chat("wait$n", stream => 1);
        wait_for { turns() eq "2+$n" } "turn $n over the limit waits";
    }

    my $r = $s->chat('over');
    is($r->{status}, 429, 'over the queue: 429');
    is($r->{error}{type}, 'rate_limit_error', '  of its type');
    is($r->{error}{code}, 'queue_full', '  and its code');
    like($r->{headers}{'retry-after'}, qr/^(?:[1-9]|[1-5]\d|60)$/,
         '  with a Retry-After of at most 60');
    ok(!exists $r->{headers}{'x-should-retry'}, '  a retry can help');
    is(scalar(asked()), 2, '  and nothing was started');

    is(turns(), '2+3', 'a refused turn takes no place');

    $w[1]->close;
    wait_for { turns() eq '2+2' } 'a client that leaves the queue makes room';

    push @w, $s->open_chat('wait4', stream => 1);
    wait_for { turns() eq '2+3' } 'which the next one takes';

    # one at a time from here on: the order shows

    $c[0]->close;
    is($w[0]->rest->{text}, 'echo: wait1', 'a turn ends: the first is served');
    is($w[2]->rest->{text}, 'echo: wait3', 'then the next in the queue');
    is($w[3]->rest->{text}, 'echo: wait4', 'then the last');
    is(join(' ', (asked())[2 .. 4]), 'wait1 wait3 wait4',
       'in the order in which they came');
    ok(!grep({ $_ eq 'wait2' } asked()), 'who left was never asked for');

    $c[1]->close;
    $s->wait_idle('a client that leaves its turn makes room');
}

{
    my @c = map { $s->open_chat("n$_", stream => 1,
                                fake => { text => 'x', delay_ms => 20 }) }
            1 .. 5;
    is(join('', map { $_->rest->{text} } @c), 'xxxxx',
       'all that fit the queue are served');
    $s->wait_idle('and leave no place taken');
}

{
    my $most = 0;
    my %open;
    for (sort { $a->{ms} <=> $b->{ms} } $s->events('asked')) { 1 }
    my @c = map { $s->open_chat("m$_", stream => 1, fake =>
                  { deltas => ['a', 'b'], gap_ms => 100 }) } 1 .. 5;
    my $n = 0;
    while (grep { !$_->{eof} } @c) {
        my $t = $s->status->{turns};
        $most = $t->{running} if $t->{running} > $most;
        $_->read(0) for grep { !$_->{eof} } @c;
        last if ++$n > 3000;
    }
    is($most, 2, 'never more than claude_max_concurrent over two workers');
    is(join('', map { $_->rest->{text} } @c), 'ab' x 5, 'and all are served');
}

# a client that leaves

{
    my $c = $s->open_chat('leaver', fake => $hang, stream => 1);
    ok($c->until(qr/first/), 'a stream has begun');
    my ($start) = reverse $s->events('start');
    my ($asked) = reverse $s->events('asked');
    $c->close;
    wait_for {
        grep { $_->{pid} == $asked->{pid}
               && $_->{event} =~ /^(?:interrupt|exit)$/ } $s->events
            or !alive($asked->{pid})
    } 'a client that leaves mid-turn ends the turn in the CLI';
    $s->wait_idle('and its place is free');
}

{
    my $c = $s->open_chat('early', fake => { hang => JSON::PP::true });
    wait_for { grep { $_ eq 'early' } asked() } 'a whole answer is awaited';
    my ($asked) = grep { $_->{messages}[-1]{content} =~ /^early/ }
                       $s->events('asked');
    $c->close;
    wait_for {
        grep { $_->{pid} == $asked->{pid}
               && $_->{event} =~ /^(?:interrupt|exit)$/ } $s->events
            or !alive($asked->{pid})
    } 'a client that leaves before the answer ends the turn, too';
    $s->wait_idle('and its place is free');
}

{
    my @c = map { $s->open_chat("q$_", fake => $hang, stream => 1) } 1, 2;
    $_->until(qr/first/) for @c;
    my $w = $s->open_chat('gone');
    wait_for { turns() eq '2+1' } 'one waits';
    $w->close;
    wait_for { turns() eq '2+0' } 'a client that leaves the queue is forgotten';
    $_->close for @c;
    $s->wait_idle('and all places are free');
    ok(!grep({ $_ eq 'gone' } asked()), 'and was never asked for');
}

my $t = $s->status->{turns};
is($t->{refused}, 1, 'the status page has counted the refused one')
    if exists $t->{refused};
$s->stop;

# the queue's timeout, and no queue at all

$s = ClaudeTest->start(workers => 2,
    http => 'claude_max_concurrent 1; claude_queue 1 timeout=300ms;');
{
    my $c = $s->open_chat('run', fake => $hang, stream => 1);
    ok($c->until(qr/first/), 'one runs');
    my $r = $s->chat('late');
    is($r->{status}, 429, 'who waits too long gets a 429');
    is($r->{error}{code}, 'queue_timeout', '  with its code');
    is($r->{error}{type}, 'rate_limit_error', '  and type');
    like($r->{headers}{'retry-after'}, qr/^\d+$/, '  and Retry-After');
    $r = $s->chat('late', stream => 1);
    is($r->{status}, 429, 'a stream that waits too long gets its true status');
    like(join('', $s->errors), qr/waited too long, see claude_queue/,
         'the log says which directive matters');
    $c->close;
    $s->wait_idle('no place stays taken');
}
$s->stop;

$s = ClaudeTest->start(workers => 2,
    http => 'claude_max_concurrent 1; claude_queue 0;');
{
    my $c = $s->open_chat('run', fake => $hang, stream => 1);
    ok($c->until(qr/first/), 'one runs');
    is($s->chat('second')->{status}, 429, 'with claude_queue 0 nobody waits');
    $c->close;
    $s->wait_idle('the place is free again');
    is($s->chat('third')->{status}, 200, 'and can be taken');
}
$s->stop;

done_testing();
