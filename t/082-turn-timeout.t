# claude_turn_timeout: a turn ends, whatever it is at and whatever its client
# does. What waits for its place, or is over for its client, is none.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use ClaudeTest;
use Test::More;
use Time::HiRes qw(sleep);

my $true = JSON::PP::true;
my $hang = { deltas => ['first ', 'second'], hang_after_deltas => 1 };
my $flood = { deltas => ['x' x 1000], repeat => 100_000 };
my $trickle = { deltas => ["x\n"], repeat => 2_000, gap_ms => 20 };

# Their buffers are small, else it takes long until a client is behind.

my @listen = (listen => 'listen 127.0.0.1:' . port() . ' sndbuf=4k;');
my $locations = 'location /v1/ { claude_openai; claude_turn_timeout 1h; } '
    . 'location /soon/ { claude_openai; } '
    . 'location /two/ { claude_openai; claude_turn_timeout 2s; } '
    . 'location /now/ { claude_openai; claude_turn_timeout 200ms; } '
    . 'location /agent/ { claude_openai; claude_tools Read; '
    . 'claude_turn_timeout 2s; } ';

sub start {
    my (%o) = @_;
    my $http = delete $o{http} // '';
    my $server = delete $o{server} // $locations;
    my $log = "$ENV{TEST_NGINX_SERVROOT}/errors";
    return ClaudeTest->start(@listen, workers => 1, %o,
        http => 'claude_turn_timeout 1s; claude_timeout 5s; '
                . "log_format e \$claude_error; $http",
        server => "access_log $log e; $server");
}

sub soon {
    my ($s, $text, %o) = @_;
    return $s->send(POST => $o{path} // '/soon/chat/completions',
                    body => $o{body} // ClaudeTest::body($text, %o), %o);
}

sub turns { my $t = $_[0]->status->{turns}; return "$t->{running}+$t->{waiting}" }

# What an answer of one piece is: an error, and its line in the log.

sub is_over {
    my ($s, $r, $name) = @_;
    is($r->{status}, 504, "$name: 504");
    is($r->{error}{code}, 'turn_timeout', '  turn_timeout');
    is($r->{error}{type}, 'server_error', '  of its type');
    my $id = $r->{headers}{'x-request-id'};
    is(scalar(grep { /\[error\].*claude: it took too long as a whole, see claude_turn_timeout.*, request \Q$id\E/ }
                   $s->errors), 1, '  with a line in the log');
    $s->wait_idle('  and its place is free');
}

# A stream that has begun in time, which a busy machine may not allow at once.

sub begun {
    my (@ask) = @_;
    my $r;

    for (1 .. 5) {
        $r = soon(@ask, stream => 1)->rest;
        last if $r->{status} == 200;
    }
    return $r;
}

# What such a stream is: the error is its last event.

sub ends_so {
    my ($s, $r, $name) = @_;
    is($r->{status}, 200, "$name: it has begun");
    is($r->{error}{code}, 'turn_timeout', '  and ends with turn_timeout');
    ok(!$r->{done} && !$r->{cut}, '  in good order, without [DONE]');
    unlike($r->{body}, qr/"finish_reason":"/, '  and without a finish_reason');
}

# ---- what it may be at ----

{
    my $s = start();
    is_over($s, soon($s, 'hi', fake => { hang => $true })->rest,
            'before the first word');
    is_over($s, soon($s, 'hi', fake => $trickle)->rest, 'in an answer of one piece');

    my ($its) = map { $_->{pid} } reverse $s->events('asked');
    ok((grep { $_->{pid} == $its && $_->{event} eq 'interrupt' } $s->events),
       '  which is interrupted in the CLI');
    is($s->chat('ho')->{text}, 'echo: ho', '  the next turn is served');
    is((map { $_->{pid} } reverse $s->events('asked'))[0], $its,
       '    by the same process');

    my $r = begun($s, 'hi', fake => $trickle);
    ends_so($s, $r, 'a stream that is read');
    like($r->{text}, qr/^(?:x\n)+\z/, '  with what there was');
    $s->wait_idle('  and its place is free');

    ends_so($s, begun($s, 'hi', fake => $hang), 'a stream that is silent');
    $s->wait_idle;

    my @prompt = (body => json->encode({ stream => $true,
        prompt => 'hi [[fake ' . json->encode($trickle) . ']]' }));
    ends_so($s, begun($s, '', path => '/soon/completions', @prompt),
            'completions');
    $s->wait_idle;

    ends_so($s, begun($s, 'hi', path => '/agent/chat/completions',
                      fake => $trickle), 'an agent');
    $s->wait_idle;

    # of several answers one is enough

    $r = soon($s, 'hi', with => { n => 2 }, fake => { hang => $true })->rest;
    is_over($s, $r, 'two answers');

    # elsewhere there is time

    is($s->chat('hi', stream => 1, fake => { deltas => ['a', 'b'],
                                             gap_ms => 600 })->{text}, 'ab',
       'a location may have its own');

    $s->get('/status');
    my @errors = ClaudeTest::lines_of("$ENV{TEST_NGINX_SERVROOT}/errors");
    cmp_ok(scalar(grep { $_ eq "turn_timeout\n" } @errors), '>=', 7,
           '$claude_error says so');
    my $status = $s->status;
    cmp_ok($status->{failures}{turn_timeout}, '>=', 7, 'so does the status');
    like($s->get('/status?format=prometheus')->{body},
         qr/^claude_failures_total\{reason="turn_timeout"\} \d+$/m,
         '  and the metrics');
    $s->stop;
}

# a process that does not start, and one that does not take what it is told

for (['a process that starts', { silent => $true }],
     ['one that is told of its model', { no_answer => ['set_model'] }])
{
    my ($name, $start) = @$_;
    my $s = start(start => $start, http => 'claude_warm 0;');
    is_over($s, soon($s, 'hi', history => [{ role => 'system', content => 'x' }])
                ->rest, $name);
    $s->stop;
}

# past messages that go in one by one

{
    my $s = start(start => { delay_ms => 100 },
                  http => 'claude_warm 0; claude_max_concurrent 2;');
    my @pairs = map { { role => 'user', content => "q$_" },
                      { role => 'assistant', content => "a$_" } } 1 .. 20_000;
    is_over($s, soon($s, 'hi', path => '/now/chat/completions',
                     history => \@pairs)->rest, 'a long history');
    $s->stop;
}

# no process at all: another one has to end first, and takes its time

{
    my $s = start(start => { ignore_term => $true }, http =>
        'claude_warm 0; claude_max_concurrent 1; claude_max_processes 1;');
    is($s->chat('hi', key => 'sk-other')->{status}, 200, 'all processes are another\'s');
    is_over($s, soon($s, 'hi', path => '/now/chat/completions')->rest,
            'a turn that waits for one of them to end');
    $s->stop;
}

# a process of another worker's that does not come

{
    my $s = start(workers => 2, http => 'claude_warm 0;');
    $s->chat('one', fake => { text => 'answer' });
    $s->wait_idle;
    my ($idle) = grep { $_->{state} eq 'idle' } @{ $s->status->{processes} };
    kill 'STOP', $idle->{worker};
    my $c = soon($s, 'two', path => '/now/chat/completions', history =>
        [{ role => 'user', content => 'one [[fake {"text":"answer"}]]' },
         { role => 'assistant', content => 'answer' }]);
    $s->get('/health');
    my $r = $c->rest;
    kill 'CONT', $idle->{worker};
    SKIP: {
        # the kernel may have given it to the worker that stands still
        skip 'the other worker had it', 5 if $r->{status} == 200;
        is_over($s, $r, 'a turn that waits for another worker');
    }
    wait_for { grep { $_->{pid} == $idle->{pid} && $_->{state} eq 'idle' }
                    @{ $s->status->{processes} } } '  whose process stays as it is';
    $s->stop;
}

# ---- what its client may do ----

# Two clients of one key read hardly anything and never nothing. They are no
# reason to say that the CLI is silent, and no reason to keep their places.

{
    my $s = start(http => 'claude_max_concurrent 2; '
                          . 'claude_queue 4 timeout=60s;');
    my @c = map { soon($s, 'hi', stream => 1, fake => $flood,
                       receive_buffer => 4096) } 1, 2;
    $_->until(qr/xxx/) for @c;
    is(turns($s), '2+0', 'two clients that barely read have all places');

    my $other = $s->open_chat('ho', key => 'sk-other');
    my $r;
    for (1 .. 400) {
        for my $c (@c) {
            sysread $c->{socket}, $c->{raw}, 100, length $c->{raw};
        }
        last if $other->read(0.05);
    }
    $r = $other->rest;
    is($r->{text}, 'echo: ho', '  until their time is over: another key\'s turn is served');
    $s->wait_idle('  and nothing is left');
    is($s->status->{failures}{turn_timeout}, 2, '  for that reason');
    ends_so($s, $_->rest, '  what they read of it') for @c;
    $s->stop;
}

# one that reads nothing

{
    my $s = start();
    my $c = soon($s, 'hi', stream => 1, fake => $flood, receive_buffer => 4096);
    $c->until(qr/xxx/);
    wait_for { turns($s) eq '0+0' } 'a client that reads nothing keeps no place';
    wait_for { !grep { $_->{state} ne 'idle' } @{ $s->status->{processes} } }
        '  and no process';
    $c->close;
    $s->stop;
}

# ---- what it is not ----

{
    my $s = start(http => 'claude_max_concurrent 1; claude_queue 5 timeout=60s;');
    my $hold = $s->open_chat('hold', stream => 1, fake => $hang);
    $hold->until(qr/first/);
    my @two = (path => '/two/chat/completions');
    my $w = soon($s, 'waits', @two);
    wait_for { turns($s) eq '1+1' } 'a turn waits';
    sleep 2.1;                         # longer than it may take
    is(turns($s), '1+1', '  for longer than it may take');
    $hold->close;
    is($w->rest->{text}, 'echo: waits', '  and is served');
    $s->wait_idle;

    # the answer is there, the CLI is not done with it

    my $r = soon($s, 'cut', stream => 1, fake => { text => 'cut',
        stop_reason => 'max_tokens', slow_interrupt_ms => 1500 })->rest;
    is($r->{done}, 1, 'an answer that is complete is none');
    $s->wait_idle;

    # a call: its turn is over, however long the client needs for the result

    my @tools = (tools => [{ type => 'function', function => { name => 'look',
                             parameters => { type => 'object' } } }]);
    my $call = { role => 'user', content => 'look [[fake ' . json->encode(
        { tool_use => [{ id => 'toolu_1', name => 'look', input => {} }] }) . ']]' };
    $r = soon($s, '', @two, body => json->encode({ @tools, messages => [$call] }))->rest;
    is($r->{json}{choices}[0]{finish_reason}, 'tool_calls', 'a call');
    my $asked = () = $s->events('asked');
    sleep 2.1;
    my $said = $r->{json}{choices}[0]{message};
    $r = soon($s, '', @two, body => json->encode({ @tools, messages => [$call, $said,
        { role => 'tool', content => 'seen',
          tool_call_id => $said->{tool_calls}[0]{id} }] }))->rest;
    is($r->{status}, 200, '  whose result comes later than a turn may last');
    my @its = ($s->events('asked'))[$asked - 1, $asked];
    is($its[0]{pid}, $its[1]{pid}, '    goes on in its process');
    is($s->status->{failures}{turn_timeout}, 0, 'none of them has failed');
    $s->stop;
}

# a session goes on from before the turn

{
    my $s = start();
    my @id = (headers => ['X-Session-Id: 0198a2b4-1111-4222-8333-000000000002']);
    $s->chat('one', @id);
    is_over($s, soon($s, 'two', @id, fake => { hang => $true })->rest,
            'a turn of a session');
    is($s->chat('three', @id)->{text}, 'echo: three', '  it goes on');
    my ($asked) = reverse $s->events('asked');
    is(join('|', map { ref $_->{content} ? $_->{content}[0]{text} : $_->{content} }
                     @{ $asked->{messages} }), 'one|echo: one|three',
       '    from before that turn');
    $s->stop;
}

done_testing;
