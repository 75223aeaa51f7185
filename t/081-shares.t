# Shares: what keys have of places, of the queue and of processes.  No key
# keeps another from its own, and one that is alone may have all.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use ClaudeTest;
use Test::More;
use Time::HiRes qw(time sleep);

my @keys = qw(a b c);
my $keys = join ' ', map { "claude_api_key sk-$_ name=$_;" } @keys;
my $hang = { hang_after_deltas => 1, deltas => ['first ', 'second'] };

sub turns { my $t = $_[0]->status->{turns}; return "$t->{running}+$t->{waiting}" }

sub asked {                            # questions, in order
    my ($s) = @_;
    return map { $_->{messages}[-1]{content} =~ /^(\S+)/ ? $1 : '?' }
               $s->events('asked');
}

# opens a stream for a key, and waits until it is counted
sub enter {
    my ($s, $name, $counts, %o) = @_;
    my ($key) = $name =~ /^(\w)/;
    my $c = $s->open_chat($name, stream => 1, key => "sk-$key", %o);
    wait_for { turns($s) eq $counts } "$name is in: $counts";
    return $c;
}

# ---- places ----

for my $workers (1, 2) {
    my $s = ClaudeTest->start(workers => $workers, keys => $keys,
        http => 'claude_max_concurrent 1; claude_queue 20 timeout=60s;');

    my $run = enter($s, 'a0', '1+0', fake => $hang);
    ok($run->until(qr/first/), "$workers workers: a has the place");

    my @w = map { enter($s, "a$_", "1+$_") } 1 .. 6;
    push @w, enter($s, 'b1', '1+7'), enter($s, 'b2', '1+8'), enter($s, 'c1', '1+9'),
             enter($s, 'b3', '1+10');

    $run->close;
    $_->rest for @w;
    my @order = asked($s);
    is("@order[1 .. 10]", 'b1 c1 a1 b2 a2 b3 a3 a4 a5 a6',
       '  those that came later are behind one turn of a, and one of another');
    $s->wait_idle('  and all are served');

    # one after the other is no way past the others

    $run = enter($s, 'a7', '1+0', fake => $hang);
    $run->until(qr/first/);
    @w = map { enter($s, "a$_", '1+' . ($_ - 7)) } 8, 9;
    my $b = enter($s, 'b4', '1+3');
    $run->close;
    $b->rest;
    push @w, $s->open_chat('b5', stream => 1, key => 'sk-b');
    $_->rest for @w;
    @order = grep { /^(?:a[89]|b[45])$/ } asked($s);
    like("@order", qr/^b4 a8 (?:b5 a9|a9 b5)$/, '  nor are many in a row');

    $s->stop;
}

{
    my $s = ClaudeTest->start(keys => $keys,
        http => 'claude_max_concurrent 4; claude_queue 80 timeout=60s;');
    my @run = map { my $c = enter($s, "a$_", ($_ + 1) . '+0', fake => $hang); $c->until(qr/first/); $c } 0 .. 3;
    my @w = map { enter($s, "a$_", '4+' . ($_ - 3)) } 4 .. 63;
    push @w, enter($s, 'b1', '4+61');
    $run[0]->close;
    is($w[-1]->rest->{text}, 'echo: b1', 'a has all places, and 60 wait: the next place is b\'s');
    is((asked($s))[4], 'b1', '  before any of a\'s');
    $_->close for @run, @w;
    $s->wait_idle;
    $s->stop;
}

{
    my $s = ClaudeTest->start(keys => $keys,
        http => 'claude_max_concurrent 3; claude_queue 20 timeout=60s;');
    my %run = map { my $c = enter($s, $_->[0], "$_->[1]+0", fake => $hang); $c->until(qr/first/); ($_->[0] => $c) }
                  ['a0', 1], ['b0', 2], ['c0', 3];
    $run{a1} = enter($s, 'a1', '3+1', fake => $hang);
    my $b = enter($s, 'b1', '3+2');
    $run{c0}->close;
    ok($run{a1}->until(qr/first/), 'a has two places, b one, which waits for more');
    my $c = enter($s, 'c1', '3+2');
    $run{a0}->close;
    $_->rest for $c, $b;
    is((asked($s))[4], 'c1', '  the next is c\'s, which has none, though it came later');
    $_->close for values %run;
    $s->wait_idle;
    $s->stop;
}

# ---- places in the queue ----

{
    my $s = ClaudeTest->start(workers => 2, keys => $keys,
        http => 'claude_max_concurrent 1; claude_queue 4 timeout=60s;');
    my $run = enter($s, 'a0', '1+0', fake => $hang);
    ok($run->until(qr/first/), 'a has the place');
    my @a = map { enter($s, "a$_", "1+$_") } 1 .. 4;

    is($s->chat('a5', key => 'sk-a')->{error}{code}, 'queue_full', '  and fills the queue for itself');

    my $b = $s->open_chat('b1', stream => 1, key => 'sk-b');
    my $r = $a[3]->rest;
    is($r->{status}, 429, '  another key comes: the last of a\'s gives way');
    is($r->{error}{code}, 'queue_full', '    and is told so');
    like($r->{headers}{'retry-after'}, qr/^\d+$/, '    with a Retry-After');
    is(turns($s), '1+4', '    its place is the other\'s');

    my $b2 = $s->open_chat('b2', stream => 1, key => 'sk-b');
    is($a[2]->rest->{status}, 429, '  another: the next to the last');
    is($s->chat('b3', key => 'sk-b')->{error}{code}, 'queue_full', '  until they have as many');

    $run->close;
    is(join(' ', map { $_->rest->{text} } $b, $a[0], $b2, $a[1]), join(' ', map { "echo: $_" } qw(b1 a1 b2 a2)),
       '  who waits is served');
    $s->wait_idle;
    $s->stop;
}

# ---- several answers ----

{
    my $s = ClaudeTest->start(keys => $keys,
        http => 'claude_max_concurrent 3; claude_queue 20 timeout=1s;');
    my $r = $s->chat('a1', key => 'sk-a', with => { n => 4 });
    is($r->{status}, 400, 'more answers than places: 400');
    is($r->{error}{param}, 'n', '  that names it');
    is($s->chat('a1', key => 'sk-a', stream => 1, with => { n => 4 })->{status}, 400,
       '  in a stream, too');

    for (['n', prompt => ['a', 'b'], n => 2], ['n', prompt => 'a', n => 4],
         ['prompt', prompt => ['a', 'b', 'c', 'd']])
    {
        my ($param, %body) = @$_;
        $r = $s->send(POST => '/v1/completions', key => 'sk-a', body => json->encode(\%body))->rest;
        is("$r->{status} " . ($r->{error}{param} // ''), "400 $param", '  of completions: ' . json->encode(\%body));
    }
    is($s->send(POST => '/v1/completions', key => 'sk-a',
                body => json->encode({ prompt => ['a', 'b', 'c'] }))->rest->{status}, 200, '  as many are served');
    is(scalar(asked($s)), 3, '  and nothing else was asked');

    my $hold = enter($s, 'b0', '1+0', fake => $hang);
    $hold->until(qr/first/);
    my $two = enter($s, 'b1', '2+0', fake => $hang);
    $two->until(qr/first/);
    $r = $s->chat('a2', key => 'sk-a', with => { n => 2 }, fake => { deltas => ['x', 'y'], gap_ms => 1500 });
    is($r->{status}, 200, 'a place for one of two answers, for longer than the queue: both come');
    is(scalar @{ $r->{json}{choices} // [] }, 2, '  both');
    $_->close for $hold, $two;
    $s->wait_idle;
    $s->stop;
}

# The queue's clock stands as long as another answer of the request comes, and
# goes on from there. Here it stands from the beginning.

{
    my $s = ClaudeTest->start(keys => $keys,
        http => 'claude_max_concurrent 2; claude_queue 20 timeout=1s;');
    my $hold = enter($s, 'b0', '1+0', fake => $hang);
    $hold->until(qr/first/);
    my ($a, $next, $comes);

    for (1 .. 5) {                     # until the third one is in time
        $a = $s->open_chat('a1', key => 'sk-a', stream => 1, with => { n => 2 },
                           fake => { deltas => ['x'], gap_ms => 1800 });
        $a->until(qr/"x"/) or last;
        sleep 1.2;
        $next = $s->open_chat('c1', key => 'sk-c', stream => 1, fake => $hang);
        last if $comes = $next->until(qr/first/);
        $_->close for $a, $next;
        wait_for { turns($s) eq '1+0' } undef;
    }
    my $since = time;
    ok($comes, 'one of two answers came for nearly twice the time of the queue, '
               . 'and its place goes to another key');
    is($a->rest->{error}{code}, 'queue_timeout', '  the other one waits');
    cmp_ok(time - $since, '>', 0.5, '    for all of its time');
    $_->close for $hold, $next;
    $s->wait_idle;
    $s->stop;
}

# ---- sessions ----

# Turns that wait for the one before them in their session wait for it alone.

{
    my $s = ClaudeTest->start(workers => 2, keys => $keys,
        http => 'claude_max_concurrent 2; claude_queue 3 timeout=60s;');
    my @id = (headers => session(100));
    my $run = enter($s, 'a0', '1+0', @id, fake => $hang);
    ok($run->until(qr/first/), 'a turn of a session runs');
    my @w = map { enter($s, "a$_", "1+$_", @id) } 1 .. 3;

    for my $key (qw(a b)) {
        is($s->chat("${key}9", key => "sk-$key")->{text}, "echo: ${key}9", "  and those that wait for it take no place of $key\'s");
        is(turns($s), '1+3', '    which are still there');
    }
    is($s->chat('a8', key => 'sk-a', headers => session(101))->{text}, 'echo: a8', '  nor of another session\'s');

    $run->close;
    is(join(' ', map { $_->rest->{text} } @w), 'echo: a1 echo: a2 echo: a3', '  one after the other is served');
    $s->wait_idle;
    $s->stop;
}

# ---- processes ----

# Named sessions have a process each, which stays when it is idle.

sub session { return [sprintf 'X-Session-Id: 00000000-0000-4000-8000-%012d', $_[0]] }

sub pids {
    return map { $_->{pid} } grep { $_->{state} eq 'idle' } @{ $_[0]->status->{processes} };
}

{
    my $s = ClaudeTest->start(keys => $keys,
        http => 'claude_max_concurrent 2; claude_max_processes 4; claude_warm 0;');
    my $n = 0;
    $s->chat('b', key => 'sk-b', headers => session($n++));
    wait_for { pids($s) == 1 } 'b has a process';
    my ($b) = pids($s);

    for (1 .. 6) {
        is($s->chat('a', key => 'sk-a', headers => session($n++))->{status}, 200, 'a begins a session');
        $s->wait_idle;
        wait_for { pids($s) == ($n < 4 ? $n : 4) } "  which has a process, $n";
        ok((grep { $_ == $b } pids($s)), '  and b keeps its own');
    }

    $s->chat('b', key => 'sk-b', headers => session($n++));
    $s->wait_idle;
    wait_for { pids($s) == 4 } 'b begins another';
    ok((grep { $_ == $b } pids($s)), '  which takes the place of one of a\'s');
    is($s->chat('b', key => 'sk-b', headers => session(0))->{status}, 200, '  the first goes on');
    $s->stop;
}

done_testing;
