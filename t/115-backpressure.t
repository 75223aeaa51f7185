# Back-pressure: clients that do not read stop their own pipes and nobody
# else's, whatever the CLIs would write, and cost a bounded amount of memory.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use ClaudeTest;
use Socket qw(SHUT_WR);
use Test::More;
use Time::HiRes qw(time sleep);

use constant FIONREAD => 0x541B;       # linux, x86 and arm
use constant PIPE => 65536;

my $stalled = 20;

# The kernel's buffers are small, else it takes megabytes until one is full.

my @listen = (listen => 'listen 127.0.0.1:' . port() . ' sndbuf=64k;');

my $s = ClaudeTest->start(@listen,
    http => 'claude_max_line 300k; claude_max_concurrent 40; '
        . 'claude_max_processes 60; claude_warm 0;',
    server => 'client_body_timeout 1s; '
        . 'location /v1/ { claude_openai; send_timeout 600s; } '
        . 'location /stall/ { claude_openai; send_timeout 1s; }',
);

sub rss {
    my $sum = 0;
    for ($s->workers) {
        open my $fh, '<', "/proc/$_/status" or next;
        /^VmRSS:\s+(\d+)/ and $sum += $1 while <$fh>;
    }
    return $sum;
}

# What of a process's stdout nobody has read: its pipe is opened once more.

sub unread {
    my ($pid) = @_;
    my $n = pack 'i', 0;
    open my $fh, '<', "/proc/$pid/fd/1" or return -1;
    ioctl $fh, FIONREAD, $n or return -1;
    return unpack 'i', $n;
}

sub written {                          # all that it has written, ever
    my ($pid) = @_;
    my ($n) = map { /^wchar: (\d+)/ } ClaudeTest::lines_of("/proc/$pid/io");
    return $n // -1;
}

# Of these, those whose pipes are full, or as full as they get: not each of the
# sixteen pages has to be. A pipe that is full while the workers are busy may be
# read in the next moment, so they have to wait for something.

sub stalled {
    my $full = sub { grep { alive($_) && unread($_) >= PIPE / 2
                            && state_of($_) eq 'S' } @_ };
    my @full = $full->(@_);
    @full = () if grep { state_of($_) ne 'S' } $s->workers;
    return $full->(@full);
}

# What has to keep its pace, so many seconds at most from step to step: a
# machine that was too busy for that shows nothing, and it is done again.

sub in_pace {
    my ($limit, $code) = @_;
    for (1 .. 10) {
        my ($last, $late);
        my $r = $code->(sub {
            sleep $_[0];
            $late ||= $last && time - $last > $limit;
            $last = time;
        });
        return $r if !$late;
        diag('late, once more');
    }
    return;
}

sub flood {
    my ($path, %fake) = @_;
    my $c = $s->send(POST => "$path/chat/completions", receive_buffer => 4096,
        body => ClaudeTest::body('hi', stream => 1, fake =>
            { deltas => ['x' x 1000], repeat => 100_000, %fake }));
    $c->until(qr/xxx/);
    return $c;
}


# stalled clients

{
    # first use of everything, in each worker: then it has a spawner
    wait_for {
        my @c = map { $s->open_chat('hi') } 1 .. 4;
        $_->rest for @c;
        !grep { !children($_) } $s->workers
    } undef;
    my $before = rss();
    my @c = map { flood('/v1') } 1 .. $stalled;
    my %pid = map { $_->{pid} => 1 } grep { $_->{pid} } $s->events('asked');
    my @full;

    ok((wait_for {
        (@full = stalled(keys %pid)) == $stalled
    } undef), "$stalled clients that do not read: $stalled pipes are full")
        or diag(scalar @full);

    my %written = map { $_ => written($_) } @full;
    my $each = (rss() - $before) / $stalled;
    my $limit = $ENV{TEST_SANITIZED} ? 1500 : 200;
    cmp_ok($each, '<', $limit, "each costs less than $limit KB in nginx");

    my $r = $s->chat('hi', stream => 1, fake =>
        { deltas => ["x\n"], repeat => 500 });
    is($r->{text}, "x\n" x 500, 'another stream flows meanwhile');
    is($r->{done}, 1, 'to its end');
    wait_for { stalled(@full) == $stalled } 'and theirs are as full as before';
    is(join(' ', grep { written($_) - $written{$_} > PIPE } @full), '',
       '  of what they were full of then');

    # one of them reads a little: its own CLI goes on, the others do not

    my $got = length $c[0]{raw};
    while (length $c[0]{raw} < $got + 1_000_000) {
        $c[0]->read(patience()) or last;
    }
    cmp_ok(length $c[0]{raw}, '>=', $got + 1_000_000,
           'a client that reads again gets more');
    cmp_ok((rss() - $before) / $stalled, '<', $limit, 'for no more memory');

    $_->close for @c;
    ok($s->wait_idle, 'clients that leave leave nothing');
}

# send_timeout: the time without any progress, not that of the whole

{
    my $c = in_pace(0.7, sub {
        my ($pace) = @_;
        my $c = flood('/stall', repeat => 2_000);

        for (1 .. 30) {                # a slow reader, for three times as long
            $pace->(0.1);
            my $want = length($c->{raw}) + 20_000;
            while (length $c->{raw} < $want) {
                $c->read(patience()) or last;
            }
        }
        return $c;
    });
    ok($c && !$c->{eof}, 'a client that reads slowly is not given up');
    is(length $c->rest->{text}, 2_000_000, 'and gets all');

    $c = flood('/stall');
    ok($s->wait_idle, 'one that reads nothing is, after send_timeout');
    $c->close;
}

# what is kept is bounded, too

{
    my $r = $s->chat('hi', fake => { deltas => ['y' x 1000], repeat => 299 });
    is(length $r->{text}, 299_000, 'an answer of one piece up to the limit');

    $r = $s->chat('hi', fake => { deltas => ['y' x 1000], repeat => 100_000 });
    is($r->{status}, 500, 'one that is longer is an error');
    is($r->{error}{code}, 'internal_error', '  with a code');
    like(join('', $s->errors), qr/\[error\].*see claude_max_line, request req_/,
         '  and a line in the log');
    $s->wait_idle('and its turn ends');
    is($s->chat('ho')->{text}, 'echo: ho', 'the next one is answered');
}

{
    my $c = $s->open_chat('hi', stream => 1, fake =>
        { deltas => ['one'], hang_after_deltas => 1 });
    $c->until(qr/"one"/);
    my $r = $s->chat('hi', stream => 1, fake => { huge_line => 400_000 });
    is($r->{status} == 502 || ($r->{error}{code} // '') eq 'cli_failed', 1,
       'a line over claude_max_line fails its turn');
    ok(!$c->read(0.2), 'and no other');
    $c->close;
    $s->wait_idle;
}

# slow bodies, and clients that close one side

{
    my $body = ClaudeTest::body('slowly ' . 'z' x 3000);
    my $r = in_pace(0.7, sub {
        my ($pace) = @_;
        my $c = ClaudeTest::Connection->new(port);
        $c->write("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
                  . "Connection: close\r\nAuthorization: Bearer sk-test\r\n"
                  . 'Content-Length: ' . length($body) . "\r\n\r\n");
        for (my $at = 0; $at < length $body; $at += 300) {
            $c->write(substr $body, $at, 300);
            $pace->(0.15);
        }
        return $c->rest;
    });
    like($r->{text}, qr/^echo: slowly z{3000}$/,
         'a body that comes slowly is read to its end');

    my $c = ClaudeTest::Connection->new(port);
    $c->write("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
              . "Connection: close\r\nAuthorization: Bearer sk-test\r\n"
              . "Content-Length: 1000\r\n\r\n{\"model\":");
    $r = $c->rest;
    is(!$r->{timeout} && $r->{status}, 0,
       'one that does not come is given up after client_body_timeout');
}

{
    my $c = $s->open_chat('hi', stream => 1, fake =>
        { deltas => ['one'], hang_after_deltas => 1 });
    $c->until(qr/"one"/);
    shutdown $c->{socket}, SHUT_WR;
    ok($s->wait_idle, 'a client that closes its sending side has left');
    ok($c->rest->{cut}, 'and its stream is cut');
}

$s->stop;

# two answers in one stream, whose lines may be long

$s = ClaudeTest->start(@listen);

sub two {
    my ($one, $other, %o) = @_;
    my @prompts = map { "$_->[0] [[fake " . json()->encode($_->[1]) . ']]' }
                      ['the one', $one], ['the other', $other];
    return $s->send(POST => '/v1/completions', %o, body => json()->encode(
        { prompt => \@prompts, stream => JSON::PP::true }));
}

{
    # the process of one ends while the client does not read: what it has said
    # is read to its end

    my $c = two({ delay_ms => 1000, deltas => ['a', 'b'], exit_code => 0 },
                { deltas => ['x' x 1000], repeat => 3000 },
                receive_buffer => 4096);

    # a client that does not read holds up what is not asked yet

    wait_for { $c->read(0); $s->events('asked') == 2 } 'both are asked';
    ok($c->until(qr/xxx/), 'two answers, and a client that does not read');

    wait_for { $s->events('exit') } 'one of the processes ends';
    my ($pid) = map { $_->{pid} } $s->events('exit');
    wait_for { !alive($pid) && !grep { state_of($_) ne 'S' } $s->workers }
        '  which nginx has seen';

    my $r = $c->rest;
    my %end = (0 => '', 1 => '');
    my %text = %end;
    my %decoded;

    for ($r->{body} =~ /^data: (\{.*)$/mg) {
        my $choice = ($decoded{$_} //= json()->decode($_))->{choices}[0];
        $text{$choice->{index}} .= $choice->{text};
        $end{$choice->{index}} .= $choice->{finish_reason} // '';
    }

    is_deeply(\%end, { 0 => 'stop', 1 => 'stop' }, 'both have an end');
    is($text{0}, 'ab', 'all of the one has come');
    is(length $text{1}, 3_000_000, 'and all of the other');
    is($r->{cut}, 0, 'in order');
    $s->wait_idle;
}

{
    # all that the one writes is read at once: its turn ends in that moment,
    # and the other never says anything

    my ($c, $kept, @workers);
    for my $delay (500, 2000, 8000) {  # until the workers stop before it ends
        my $asked = $s->events('asked');
        $c = two({ delay_ms => $delay, deltas => ['a' x 5000] }, { hang => 1 });
        wait_for { $s->events('asked') == $asked + 2 } 'both are asked';
        my ($one) = map { $_->{pid} }
                    grep { $_->{messages}[-1]{content} =~ /^the one/ }
                    ($s->events('asked'))[$asked, $asked + 1];
        my $written = written($one);
        @workers = $s->workers;
        kill 'STOP', @workers;
        wait_for { unread($one) > 15_000 || written($one) > $written + 15_000 }
            undef;
        last if $kept = unread($one) > 15_000;
        kill 'CONT', @workers;
        $c->close;
        $s->wait_idle;
    }
    ok($kept, 'the one has written all of it, and nobody has read it');
    kill 'CONT', @workers;
    ok($c->until(qr/"index":0,"text":"","logprobs":null,"finish_reason":"s/),
       'one answer ends');
    unlike($c->{raw}, qr/"index":1|heartbeat/,
           'before anything else has to be said');
    $c->close;
    $s->wait_idle;
}

$s->stop;

done_testing();
