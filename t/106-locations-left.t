# Locations over time: a client that leaves while nginx has more to do for it,
# connections that go on, what mirrors and post_action hold, and what the log
# says in each case.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use ClaudeTest;
use Test::More;

my $exit = q('FAKE_CLAUDE={"start":{"exit":7}}');
my $hang = { deltas => ['first ', 'second'], hang_after_deltas => 1 };
my $slow = { deltas => [map { "word$_ " } 1 .. 40], gap_ms => 50 };
my $dir = ($ENV{TEST_NGINX_SERVROOT} || '/tmp/claude-test-servroot') . '/1';
my $gate = port(1);                    # a backend that answers when it is told

my $s = ClaudeTest->start(workers => 1,
    http => <<'END',
    claude_warm 0;
    log_format vars '$request_method $request_uri status=$status '
        'key=$claude_key_name model=$claude_model process=$claude_process '
        'error=$claude_error tokens=$claude_prompt_tokens';
END
    server => <<"END",
        access_log logs/vars.log vars;
        location /v1/ { claude_openai;
            if (\$http_x) { add_header X-If yes; } }
        location /post/ { claude_openai; post_action \@gate; }
        location \@gate { proxy_pass http://127.0.0.1:$gate; }
        location /health-post/ { claude_openai; post_action /health; }
        location /chat-post/ { claude_openai; post_action \@after; }
        location \@after { claude_openai; claude_args --effort low; }
        location /mirror/ { claude_openai; mirror /in/chat/completions; }
        location /in/ { internal; claude_openai; claude_args --effort low;
            log_subrequest on; }
        location /unbuffered/ { proxy_request_buffering off;
            proxy_http_version 1.1;
            proxy_pass http://127.0.0.1:1; error_page 502 = \@claude; }
        location \@claude { claude_openai; }
        location /first/ { claude_openai; error_page 502 = \@claude;
            claude_env HOME=$dir/cli/home FAKE_CLAUDE_LOG=$dir/cli/log $exit; }
        location /bad/ { claude_openai; error_page 502 = \@bad;
            claude_env HOME=$dir/cli/home FAKE_CLAUDE_LOG=$dir/cli/log $exit; }
        location \@bad { claude_openai; claude_args --effort low;
            claude_env HOME=$dir/cli/home FAKE_CLAUDE_LOG=$dir/cli/log $exit; }
        location /out/ { claude_openai; error_page 502 /sorry; }
        location = /sorry { return 200 "sorry"; }
END
);

my $hi = ClaudeTest::body('hi');

sub log_lines {                        # those of health and status aside
    return grep { !m{^GET /(?:health|status)} } ClaudeTest::lines_of("$dir/logs/vars.log");
}
sub asked { return scalar(() = $s->events('asked')) }

sub request {                          # one that leaves the connection open
    my ($path, $body, @more) = @_;
    return "POST $path HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-test\r\n"
        . join('', map { "$_\r\n" } @more)
        . 'Content-Length: ' . length($body) . "\r\n\r\n$body";
}

# a client that leaves while its location has a post_action

{
    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 5,
        LocalPort => $gate, ReuseAddr => 1) or die "listen: $!";
    my $c = $s->send(POST => '/post/chat/completions', body =>
        ClaudeTest::body('hi', stream => 1, fake => $slow));
    ok($c->until(qr/word2/), 'a stream in a location with a post_action');
    $c->close;

    ok(IO::Select->new($listen)->can_read(patience()),
       'its client leaves: the post_action begins');
    my $b = $listen->accept;
    wait_for { $s->status->{turns}{running} == 0 }
        'the turn ends before the post_action does';
    wait_for { scalar $s->events('interrupt') } '  it is interrupted';
    my $lines = log_lines();
    print $b "HTTP/1.0 200 OK\r\n\r\nx";
    close $b;
    wait_for { log_lines() > $lines } 'the request ends with it';
    like((log_lines())[-1], qr{^POST /post/chat/completions .*key=tester model=sonnet process=\w+},
         '  and the log knows its turn');

    # the same while nothing was said yet, with heartbeats due

    $c = $s->send(POST => '/post/chat/completions', body =>
        ClaudeTest::body('hi', stream => 1, fake => { delay_ms => 60000 }));
    wait_for { $s->status->{turns}{running} == 1 } 'a turn that waits';
    $c->close;
    ok(IO::Select->new($listen)->can_read(patience()), 'its client leaves');
    $b = $listen->accept;
    $lines = log_lines();
    close $b;
    wait_for { log_lines() > $lines } 'the post_action fails';
    $s->wait_idle('and the turn is over');

    # and of one that is over

    $c = $s->send(POST => '/post/chat/completions', body => $hi);
    ok(IO::Select->new($listen)->can_read(patience()),
       'a post_action after the answer');
    $b = $listen->accept;
    print $b "HTTP/1.0 200 OK\r\n\r\nx";
    close $b;
    is($c->rest->{text}, 'echo: hi', '  which was whole');
}

for my $path ('/health-post', '/chat-post') {
    for my $stream (0, 1) {
        my $r = $s->send(POST => "$path/chat/completions", body =>
            ClaudeTest::body('hi', stream => $stream))->rest;
        is($r->{text}, 'echo: hi', "a post_action that is ours: $path");
        ok(!$r->{cut} && $r->{done} == $stream, '  does not touch the answer');
    }
}
$s->wait_idle('and ends');

# mirrors: the answer is not theirs, the connection waits for them

{
    my $c = ClaudeTest::Connection->new(port());
    for my $n (1, 2) {
        my $before = asked();
        $c->{raw} = '';
        $c->write(request('/mirror/chat/completions',
                          ClaudeTest::body("mirrored $n", stream => $n - 1)));
        ok($c->until(qr/echo: .*mirrored.*$n/s), "a mirrored request $n");
        wait_for { asked() == $before + 2 } '  is asked twice';
    }
    $c->{raw} = '';
    $c->write(request('/v1/chat/completions', $hi));
    ok($c->until(qr/echo: hi/), 'the connection goes on');
    $c->close;

    my $turn = qr/key=tester model=sonnet process=\w+ error=- tokens=\d+$/;
    wait_for { (() = grep { m{^POST /mirror/\S+ status=200 $turn} } log_lines())
               == 4 } '  and log_subrequest has lines of both kinds';

    # the client leaves: what is mirrored goes on, as nginx's own mirrors do

    my $before = asked();
    $c = $s->send(POST => '/mirror/chat/completions', body =>
        ClaudeTest::body('hi', stream => 1, fake => $hang));
    ok($c->until(qr/first/), 'a mirrored stream');
    wait_for { asked() == $before + 2 } '  and its mirror';
    $c->close;
    $s->wait_idle('both end with the client');
}

# one connection for everything

{
    my $c = ClaudeTest::Connection->new(port());
    my $at = sub {
        my ($bytes, $want, $name) = @_;
        $c->{raw} = '';
        $c->write($bytes);
        ok($c->until($want), $name) or diag($c->{raw});
    };
    for my $x ([], ['X: 1']) {
        my $in = @$x ? ', in if' : '';
        $at->(request('/v1/chat/completions', '{', @$x), qr/\}\}$/,
              "an error$in");
        unlike($c->{raw}, qr/Connection: close/i, '  keeps the connection');
        $at->(request('/v1/chat/completions', $hi, @$x, 'Expect: 100-continue'),
              qr/^HTTP\/1.1 100 Continue\r\n\r\nHTTP\/1.1 200.*echo: hi/s,
              "Expect: 100-continue$in");
        $at->(request('/v1/models/none', $hi, @$x), qr/\}\}$/,
              "a method that is not allowed$in");
        $at->(request('/v1/nowhere', 'x' x 100000, @$x), qr/unknown_url/,
              "a body that nobody reads$in");
        $at->(request('/v1/chat/completions', $hi, @$x)
              . request('/v1/chat/completions',
                        ClaudeTest::body('two', stream => 1), @$x)
              . "GET /v1/models/opus HTTP/1.1\r\nHost: x\r\n"
              . "Authorization: Bearer sk-test\r\n\r\n",
              qr/echo: hi.*\[DONE\].*"id":"opus"/s, "three at once$in");
    }
    $at->(request('/first/chat/completions', $hi), qr/echo: hi/,
          'the second login');
    $at->(request('/bad/chat/completions', $hi), qr/cli_failed.*\}\}/,
          'or the second fails as well');
    unlike($c->{raw}, qr/Connection: close/i, '  and the connection goes on');
    $at->(request('/v1/chat/completions', $hi), qr/echo: hi/, '  indeed');
    $c->close;
}

# a body that a proxy has not kept for an error_page

{
    my $at = '/unbuffered/chat/completions';
    is($s->send(POST => $at, body => $hi)->rest->{text}, 'echo: hi',
       'proxy_request_buffering off: a body that came with its header');
    my $r = $s->send(POST => $at, body => ClaudeTest::body('x' x 300_000))
              ->rest;
    is($r->{error}{code}, 'internal_error', 'a longer one is gone');
    wait_for { grep { /\[error\].*proxy_request_buffering, request \Q$r->{headers}{'x-request-id'}/ }
               $s->errors } '  and the log says why';
    my $c = ClaudeTest::Connection->new(port());
    $c->write("POST $at HTTP/1.1\r\nHost: x\r\n"
              . "Authorization: Bearer sk-test\r\n"
              . "Content-Length: 1000\r\n\r\n{");
    ok($c->until(qr/internal_error.*\}\}/s), 'and one that is still to come');
    like($c->{raw}, qr/Connection: close/, '  ends the connection');
    $c->close;
}

# clients that leave on the way to the second

{
    my @c = map { $s->send(POST => '/first/chat/completions', body =>
        ClaudeTest::body("leave $_", stream => $_ % 2, fake => $hang)) } 1 .. 4;
    wait_for { (() = grep { /leave/ } map { $_->{messages}[-1]{content} }
                $s->events('asked')) == 4 } 'four at their second login';
    $_->close for @c;
    $s->wait_idle('their clients leave');
}

# the log

{
    my $r = $s->send(POST => '/first/chat/completions', body => $hi)->rest;
    is($r->{status}, 200, 'an answer of the second');
    wait_for { grep { m{^POST /first/\S+ status=200 key=tester model=sonnet process=\w+ error=- tokens=\d+$} }
               log_lines() } '  is what the log says';
    $r = $s->send(POST => '/bad/chat/completions', body => $hi)->rest;
    is($r->{error}{code}, 'cli_failed', 'a failure of both');
    wait_for { grep { m{^POST /bad/\S+ status=502 .*error=cli_failed } }
               log_lines() } '  is in the log';
    $r = $s->send(POST => '/out/chat/completions', body =>
        ClaudeTest::body('hi', fake => { die_before => 1 }))->rest;
    is($r->{body}, 'sorry', 'a page elsewhere');
    wait_for { grep { m{^GET /out/\S+ status=502 .*error=cli_failed } }
               log_lines() } '  and the error in the log';
    $r = $s->send(POST => '/v1/chat/completions', body => $hi,
                  headers => ['X: 1'])->rest;
    is($r->{headers}{'x-if'}, 'yes', 'a turn within if');
    wait_for { (log_lines())[-1] =~
               m{^POST /v1/\S+ status=200 key=tester model=sonnet process=\w+ error=- tokens=\d+$} }
        '  is in the log';
}

$s->stop;
done_testing();
