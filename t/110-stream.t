# Streaming is streaming: each delta leaves at once, nothing grows when the
# client is slow, and silence is broken by heartbeats.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use ClaudeTest;
use Test::More;
use Time::HiRes qw(time sleep);

my $tls = port(1);
my $dir = ($ENV{TEST_NGINX_SERVROOT} || '/tmp/claude-test-servroot');
my $have_tls = system("openssl req -x509 -newkey rsa:2048 -nodes -days 2"
    . " -subj /CN=localhost -keyout $dir/key.pem -out $dir/cert.pem"
    . " >/dev/null 2>&1") == 0;

my $s = ClaudeTest->start(
    listen => 'listen 127.0.0.1:' . port . ';'
        . ($have_tls ? " listen 127.0.0.1:$tls ssl http2; "
           . "ssl_certificate $dir/cert.pem; "
           . "ssl_certificate_key $dir/key.pem;" : ''),
    server => 'location /v1/ { claude_openai; } '
        . 'location /beat/ { claude_openai; claude_heartbeat 150ms; } '
        . 'location /second/ { claude_openai; claude_heartbeat 2s; } '
        . 'location /slow/ { claude_openai; send_timeout 60s; '
        . 'claude_timeout 2s; }'
        . 'location /rate/ { claude_openai; limit_rate 20k; }'
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


# each delta at once

{
    my $c = $s->open_chat('hi', stream => 1, fake =>
        { deltas => ['one', 'two'], hang_after_deltas => 1 });
    ok($c->until(qr/"content":"one"/), 'a delta leaves while the next one is '
                                       . 'not there yet');
    ok($c->until(qr/\r\n\r\n.*"role":"assistant".*"one"/s),
       'after the header and the role');
    unlike($c->{raw}, qr/two/, 'and nothing that is not there');
    $c->close;
    $s->wait_idle;
}

{
    my $r = $s->chat('hi', stream => 1, fake =>
        { deltas => ["x\n"], repeat => 2000 });
    is($r->{text}, "x\n" x 2000, 'a long stream is whole');
    is($r->{cut}, 0, 'and ends as its framing says');
    is($r->{done}, 1, 'with [DONE]');
}

# a line of the CLI in two writes: the stand-in's big line comes in many

{
    my $r = $s->chat('hi', stream => 1, fake => { huge_line => 1_000_000 });
    is(length $r->{text}, 1_000_000, 'a line that comes in many reads is whole');
}

# back-pressure

{
    my $before = rss();
    my $text = 'x' x 1000;
    my $c = $s->open_chat('hi', stream => 1, receive_buffer => 4096,
        fake => { deltas => [$text], repeat => 10_000 });
    $c->until(qr/xxx/);
    my ($asked) = reverse $s->events('asked');

    # the CLI is stopped when its pipe is full: it no longer uses CPU

    my $cpu = sub {
        open my $fh, '<', "/proc/$asked->{pid}/stat" or return -1;
        my @f = split ' ', (<$fh> =~ s/^.*\) //r);
        return $f[11] + $f[12];
    };
    my ($last, $same) = (-2, 0);
    ok((wait_for {
        my $now = $cpu->();
        $same = $now == $last ? $same + 1 : 0;
        $last = $now;
        sleep 0.04;
        $same >= 10
    } undef), 'a client that does not read stops the CLI');
    ok(alive($asked->{pid}), 'which waits');
    my $grown = rss() - $before;
    my $limit = $ENV{TEST_SANITIZED} ? 40_000 : 3_000;
    cmp_ok($grown, '<', $limit, 'and nginx has grown by less than '
                                . "$limit KB of 10 MB");

    my $r = $c->rest;
    is(length $r->{text}, 10_000_000, 'when it reads, all of it comes');
    is($r->{done}, 1, 'to the end');
    $s->wait_idle('and the turn is over');
    $grown = rss() - $before;
    cmp_ok($grown, '<', 6 * $limit, 'nor has it grown after 10 MB');
}

{
    my $c = $s->send(POST => '/slow/chat/completions', receive_buffer => 4096,
        body => ClaudeTest::body('hi', stream => 1, fake =>
            { deltas => ['y' x 1000], repeat => 3_000 }));
    $c->until(qr/yyy/);
    sleep 2.5;                         # longer than claude_timeout
    my $r = $c->rest;
    is(length $r->{text}, 3_000_000,
       'a slow client is not the CLI\'s silence: no claude_timeout');
}

{
    my $c = $s->send(POST => '/stall/chat/completions',
        receive_buffer => 4096,
        body => ClaudeTest::body('hi', stream => 1, fake =>
            { deltas => ['y' x 1000], repeat => 10_000 }));
    $c->until(qr/yyy/);
    $s->wait_idle('a client that never reads is given up after send_timeout');
    $c->close;
}

{
    my $r = $s->send(POST => '/rate/chat/completions',
        body => ClaudeTest::body('hi', stream => 1, fake =>
            { deltas => ['z' x 1000], repeat => 40 }))->rest;
    is(length $r->{text}, 40_000, 'limit_rate slows a stream, and no more');
    is($r->{done}, 1, 'to the end');
}

# heartbeats

{
    my $c = $s->send(POST => '/beat/chat/completions',
        body => ClaudeTest::body('hi', stream => 1, fake =>
            { deltas => ['one', 'two'], hang_after_deltas => 1 }));
    ok($c->until(qr/"one".*: heartbeat\r?\n.*: heartbeat\r?\n/s),
       'heartbeats while nothing flows');
    like($c->{raw}, qr/^: heartbeat\n\n/m, 'each an SSE comment of its own');
    $c->close;
    $s->wait_idle;
}

{
    my $c = $s->send(POST => '/beat/chat/completions',
        body => ClaudeTest::body('hi', stream => 1, fake =>
            { delay_ms => 1500, deltas => ['one'] }));
    ok($c->until(qr/^HTTP\/1\.1 200 .*: heartbeat/s),
       'a header that waits leaves with the first heartbeat');
    my $r = $c->rest;
    like($r->{body}, qr/\A: heartbeat\n\n.*"role"/s,
         'before the model has said anything');
    is($r->{text}, 'one', 'the answer follows');
    is($r->{done}, 1, 'to the end');
}

{
    my $r = $s->send(POST => '/beat/chat/completions',
        body => ClaudeTest::body('hi', stream => 1, fake =>
            { api_retry => 3, retry_ms => 300, deltas => ['one'] }))->rest;
    like($r->{body}, qr/^: heartbeat\n\n(?=: heartbeat).*"one"/s,
         'the same while the CLI tries again');

    $r = $s->send(POST => '/beat/chat/completions',
        body => ClaudeTest::body('hi', stream => 1, fake =>
            { thinking => 'Hm. ' x 25, gap_ms => 40,
              deltas => ['one'] }))->rest;
    like($r->{body}, qr/"role".*: heartbeat\n\n: heartbeat\n\n.*"one"/s,
         'heartbeats while the model thinks');
    is($r->{text}, 'one', 'and then the answer');
}

{
    my $c = $s->send(POST => '/beat/chat/completions',
        body => ClaudeTest::body('hi', stream => 1, fake =>
            { delay_ms => 1500, error => { status => 529 } }));
    my $r = $c->rest;
    is($r->{status}, 200, 'an upstream failure after a heartbeat');
    is($r->{error}{code}, 'overloaded', 'is data');
    is($r->{done}, 0, 'without [DONE]');
    is($r->{cut}, 0, 'and the body ends well');
}

{
    my $r = $s->chat('hi', stream => 1, fake =>
        { delay_ms => 300, error => { status => 529 } });
    is($r->{status}, 503, 'an upstream failure before the first heartbeat has '
                          . 'its true status');
}

{
    # nginx moves a timer by steps of 300 ms, so not the shortest heartbeat
    my $r = $s->send(POST => '/second/chat/completions',
        body => ClaudeTest::body('hi', stream => 1, fake =>
            { deltas => ['a'], repeat => 30, gap_ms => 100 }))->rest;
    unlike($r->{body}, qr/heartbeat/, 'no heartbeat while text flows');
}

{
    my $r = $s->send(POST => '/beat/chat/completions',
        body => ClaudeTest::body('hi', fake =>
            { delay_ms => 500, deltas => ['one'] }))->rest;
    is($r->{text}, 'one', 'a whole answer has no heartbeat');
    ok(defined $r->{json}, 'and is JSON');
}

{
    # the answer is complete, and the CLI takes its time to stop

    my $r = $s->send(POST => '/beat/chat/completions', body =>
        ClaudeTest::body('hi', stream => 1, with => { stop => "\n\n" }, fake =>
            { deltas => ['one', "\n\n", 'two'], hang_after_deltas => 2,
              slow_interrupt_ms => 900 }))->rest;
    is($r->{text}, 'one', 'an answer that is complete before its turn is over');
    is($r->{done}, 1, 'has no heartbeat behind its end');
}

# HTTP/2 and TLS

SKIP: {
    skip 'no openssl or curl here', 6
        if !$have_tls || system('curl --version >/dev/null 2>&1');

    my $body = ClaudeTest::body('hi', stream => 1, fake =>
        { deltas => ["w\n"], repeat => 300 });
    for my $version ('--http1.1', '--http2') {
        open my $curl, '-|', 'curl', '-sk', '-N', $version, '-w',
            '%{http_code} %{http_version}', '-H',
            'Authorization: Bearer sk-test', '--data-binary', $body,
            "https://127.0.0.1:$tls/v1/chat/completions" or die;
        my $out = join '', <$curl>;
        like($out, $version eq '--http2' ? qr/200 2$/ : qr/200 1\.1$/,
             "TLS, $version");
        is(() = $out =~ /"content":"w\\n"/g, 300, '  all of the stream');
        like($out, qr/data: \[DONE\]\n\n/, '  to its end');
    }

    open my $curl, '-|', 'curl', '-sk', '-N', '--http2', '-H',
        'Authorization: Bearer sk-test', '--data-binary',
        ClaudeTest::body('hi', stream => 1, fake =>
            { deltas => ['one', 'two'], hang_after_deltas => 1 }),
        "https://127.0.0.1:$tls/v1/chat/completions" or die;
    my $raw = '';
    my $select = IO::Select->new($curl);
    while ($raw !~ /"one"/ && $select->can_read(patience())) {
        sysread $curl, $raw, 4096, length $raw or last;
    }
    like($raw, qr/"one"/, 'over HTTP/2 a delta leaves at once, too');
    my ($asked) = reverse $s->events('asked');
    kill 'TERM', $curl ? $$ == 0 ? () : child_of_pipe($curl) : ();
    CORE::close $curl;
    $s->wait_idle('and a client that leaves ends the turn');
}

sub child_of_pipe {                    # the one curl among our children
    return grep { cmdline($_) =~ /^curl\0/ } children($$);
}

$s->stop;

done_testing();
