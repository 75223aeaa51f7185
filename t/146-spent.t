# What was spent: the line of the access log and the account of the status say
# the same, whatever became of the turn, and the line is written when it can.
# t/real/account.test.mjs has the same against what upstream has billed; here
# is what the real CLI does not do to order.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use ClaudeTest;
use Test::More;
use Time::HiRes qw(time);

my $true = JSON::PP::true;
my @tokens = qw(prompt cached completion reasoning);
my $format = q{log_format spent '$claude_prompt_tokens $claude_cached_tokens }
             . q{$claude_completion_tokens $claude_reasoning_tokens }
             . q{$claude_cost_usd "$claude_finish_reason" $claude_error }
             . q{$status $claude_ttft';};

sub started {
    my (%o) = @_;
    my $s = ClaudeTest->start(workers => 1, %o,
        http => "$format claude_warm 0; " . ($o{http} // ''),
        server => 'location /v1/ { claude_openai; access_log logs/spent spent;'
                  . ' ' . ($o{location} // '') . '} ' . ($o{server} // ''));
    $s->{lines} = 0;
    $s->{was} = sums($s);
    return $s;
}

sub sums {
    my ($s) = @_;
    my %sum = map { $_ => 0 } @tokens, 'cost';
    for my $row (@{ $s->status->{usage} }) {
        $sum{$_} += $row->{"${_}_tokens"} for @tokens;
        $sum{cost} += $row->{cost_usd};
    }
    return \%sum;
}

sub usage {
    my ($in, $out, $read, $write, $thinking) = @_;
    return { input_tokens => $in, output_tokens => $out,
             cache_read_input_tokens => $read,
             cache_creation_input_tokens => $write,
             output_tokens_details => { thinking_tokens => $thinking } };
}

# Waits for so many more lines, which have to be no more; returns them.

sub lines {
    my ($s, $n, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my @lines;

    wait_for {
        open my $fh, '<', "$s->{dir}/logs/spent" or return 0;
        @lines = map { /^(\S+) (\S+) (\S+) (\S+) (\S+) "(.*?)" (\S+) (\S+) (\S+)$/
                       ? { prompt => $1, cached => $2, completion => $3,
                           reasoning => $4, cost => $5, finish => $6,
                           error => $7, status => $8, ttft => $9 } : () }
                 <$fh>;
        @lines >= $s->{lines} + $n
    } "$name: its line";
    $s->{written} = time;
    is(scalar @lines, $s->{lines} + $n, "$name: and no other");
    @lines = @lines[$s->{lines} .. $#lines];
    $s->{lines} += @lines;
    return @lines;
}

# The same, and that log and status agree, with these tokens.

sub spent {
    my ($s, $name, $want, $n) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my @lines = lines($s, $n // 1, $name);

    $s->wait_idle;
    my $is = sums($s);
    my $was = $s->{was};
    $s->{was} = $is;

    for my $kind (@tokens) {
        my $logged = 0;
        $logged += $_->{$kind} eq '-' ? 0 : $_->{$kind} for @lines;
        is($logged, $want->{$kind} // 0, "$name: $kind in the log");
        is($is->{$kind} - $was->{$kind}, $want->{$kind} // 0,
           "$name: $kind in the status");
    }
    my $cost = 0;
    $cost += $_->{cost} eq '-' ? 0 : $_->{cost} for @lines;
    cmp_ok(abs($is->{cost} - $was->{cost} - $cost), '<', 2e-6 * (1 + @lines),
           "$name: the cost in both") if !$want->{apart};
    return @lines;
}

# The CLI that was asked last, and its row, are gone.

sub killed {
    my ($s) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my ($pid) = map { $_->{pid} } reverse $s->events('asked');

    kill 'KILL', $pid;
    wait_for { !grep { $_->{pid} == $pid } @{ $s->status->{processes} } }
        'the CLI is killed';
}

my $two = usage(3, 5, 7, 11, 2);

{
    my $s = started(server => 'location /ungated/ { claude_openai; access_log '
        . "logs/spent spent; claude_env 'FAKE_CLAUDE="
        . json->encode({ start => { gate => 'silent' } }) . "'; }");
    my ($l, $r);

    for my $stream (0, 1) {
        my $how = $stream ? 'streamed' : 'whole';

        $s->chat('hi', stream => $stream, with => { n => 2 },
                 fake => { text => 'x', usage => $two });
        ($l) = spent($s, "two answers, $how", { prompt => 42, cached => 14,
                     completion => 10, reasoning => 4 });
        is($l->{finish}, 'stop, stop', '  both ends are told');
        cmp_ok($l->{cost}, '>', 0, '  and the cost');
    }

    # calls that nobody goes on with, and what comes then

    my $tools = [{ type => 'function', function => { name => 'look' } }];
    my $call = { tool_use => [{ id => 'toolu_1', name => 'look',
                                input => {} }], usage => $two,
                 then => { text => 'y', usage => usage(100, 10, 0, 0, 0) } };

    for my $stream (0, 1) {
        my $how = $stream ? 'streamed' : 'whole';

        $s->chat("call $stream", stream => $stream, fake => $call,
                 with => { tools => $tools });
        ($l) = spent($s, "a call, $how", { prompt => 21, cached => 7,
                     completion => 5, reasoning => 2 });
        is($l->{finish}, 'tool_calls', '  which is its end');
        cmp_ok($l->{cost}, '>', 0, '  its cost is told at once');

        $s->chat('else', stream => $stream,
                 fake => { text => 'x', usage => $two });
        my ($e) = spent($s, "what comes then, $how", { prompt => 21,
                        cached => 7, completion => 5, reasoning => 2 });
        cmp_ok(abs($e->{cost} - $l->{cost}), '<', 2e-6,
               '  costs what it costs');
    }

    # what the CLI asks by itself, before it heeds the interrupt: with the gate
    # that is nothing

    my $more = { text => 'x', stop_reason => 'max_tokens', usage => $two,
        ignore_interrupt => $true,
        then => { text => 'more', usage => usage(1000, 50, 30, 20, 0) } };

    $r = $s->chat('hi', fake => $more);
    ($l) = spent($s, 'the CLI is kept from going on', { prompt => 21,
                 cached => 7, completion => 5, reasoning => 2 });
    is($l->{finish}, 'length', '  the end is that of the answer');

    $r = $s->send(POST => '/ungated/chat/completions',
                  body => ClaudeTest::body('hi', fake => $more))->rest;
    is($r->{json}{usage}{prompt_tokens}, 21, 'the answer has its own usage');
    ($l) = spent($s, 'the CLI goes on by itself', { prompt => 1071,
                 cached => 37, completion => 55, reasoning => 2 });
    is($l->{finish}, 'length', '  the end is that of the answer');

    # the call upstream begins when the client is gone

    my $asked = () = $s->events('asked');
    my $c = $s->open_chat('hi', stream => 1, fake => {
        delay_ms => 1000, deltas => ['a', 'b'], usage => $two, gap_ms => 20,
        ignore_interrupt => $true });
    wait_for { (() = $s->events('asked')) > $asked } 'the model is asked';
    $c->close;
    ($l) = spent($s, 'it begins when the client is gone', { prompt => 21,
                 cached => 7, completion => 5, reasoning => 2 });
    is($l->{status}, 499, '  which the line says');
    is($l->{finish}, '-', '  there is no end');

    # nothing comes of it

    $asked = () = $s->events('asked');
    $c = $s->open_chat('hi', fake => { hang => $true });
    wait_for { (() = $s->events('asked')) > $asked } 'the model is asked';
    $c->close;
    ($l) = spent($s, 'left before anything came', {});
    is($l->{completion}, 0, '  which is 0');

    # the CLI dies of the interrupt: the tokens are known, the cost is not

    $c = $s->open_chat('hi', stream => 1, fake => {
        deltas => ['a', 'b'], hang_after_deltas => 1, usage => $two,
        crash_on_interrupt => $true });
    $c->until(qr/"a"/);
    $c->close;
    ($l) = spent($s, 'a CLI that dies of it', { prompt => 21, cached => 7,
                 completion => 1 });
    is($l->{cost}, '-', '  its cost is not known');

    # the CLI does not heed the interrupt: the line waits, but not for long

    $c = $s->open_chat('hi', stream => 1, fake => {
        deltas => ['a', 'b'], hang_after_deltas => 1, usage => $two,
        ignore_interrupt => $true });
    $c->until(qr/"a"/);
    my $left = time;
    $c->close;
    ($l) = spent($s, 'a CLI that goes on', { prompt => 21, cached => 7,
                 completion => 1 });
    my $waited = $s->{written} - $left;
    cmp_ok($waited, '>', 1.5, '  the line has waited for it');
    cmp_ok($waited, '<', 2 + patience() / 2, '  for no longer than 2 seconds');

    # an error in the answer, and the next request on the same connection

    my $body = ClaudeTest::body('hi', fake => {
        deltas => ['a', 'b'], drop_after_deltas => 1, usage => $two });
    my $next = ClaudeTest::body('hi', fake => { text => 'next',
                                                usage => $two });
    my $k = ClaudeTest::Connection->new(ClaudeTest::port());
    my $head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
               . "Authorization: Bearer sk-test\r\nContent-Length: ";
    $k->write($head . length($body) . "\r\n\r\n$body"
              . $head . length($next) . "\r\n\r\n$next");
    ok($k->until(qr/"next"/), 'a connection goes on after a failed turn');
    $k->close;
    my @l = spent($s, 'a failed turn, and the next on the connection',
                  { prompt => 42, cached => 14, completion => 6,
                    reasoning => 2 }, 2);
    is($l[0]{error}, 'overloaded', '  the first has failed');

    # the same with a call, whose line waits for the cost

    $body = ClaudeTest::body('call', fake => $call,
                             with => { tools => $tools });
    $k = ClaudeTest::Connection->new(ClaudeTest::port());
    $k->write($head . length($body) . "\r\n\r\n$body"
              . $head . length($next) . "\r\n\r\n$next");
    ok($k->until(qr/"next"/), 'a connection goes on after a call');
    $k->close;
    spent($s, 'a call, and the next on the connection',
          { prompt => 42, cached => 14, completion => 10, reasoning => 4 }, 2);

    # errors before anything was spent

    $s->chat('hi', fake => { error => { word => 'rate_limit', status => 429,
                                        text => 'slow' } });
    ($l) = spent($s, 'upstream refuses', {});
    is($l->{prompt}, 0, '  which is 0');
    $s->send(POST => '/v1/chat/completions', body => '{')->rest;
    ($l) = spent($s, 'no question at all', {});
    is($l->{prompt}, '-', '  which is nothing');

    # a worker that leaves while a line waits

    $c = $s->open_chat('hi', stream => 1, fake => {
        deltas => ['a', 'b'], hang_after_deltas => 1, usage => $two,
        slow_interrupt_ms => 500 });
    $c->until(qr/"a"/);
    my ($old) = $s->workers;
    $c->close;
    $s->signal('HUP');
    ($l) = spent($s, 'a reload meanwhile', { prompt => 21, cached => 7,
                 completion => 1 });
    cmp_ok($l->{cost}, '>', 0, '  the old worker has waited for the cost');
    wait_for { !ClaudeTest::alive($old) } '  and is gone';
    $s->stop;
}

# a CLI that does not tell what a call cost: it is counted when it does

for my $how (['refuses to say', refuse => ['get_usage']],
             ['does not say', no_answer => ['get_usage']])
{
    my ($name, @start) = @$how;
    my $s = started(start => { @start });
    my $tools = [{ type => 'function', function => { name => 'look' } }];

    $s->chat('call', stream => 1, with => { tools => $tools }, fake => {
        tool_use => [{ id => 'toolu_1', name => 'look', input => {} }],
        usage => $two });
    my ($l) = spent($s, "a CLI that $name", { prompt => 21, cached => 7,
                    completion => 5, reasoning => 2 });
    is($l->{cost}, '-', '  the line is written without it');

    $s->chat('else', fake => { text => 'x', usage => $two });
    ($l) = spent($s, 'the next turn', { prompt => 21, cached => 7,
                 completion => 5, reasoning => 2 });
    cmp_ok($l->{cost}, '>', 1e-4, '  has both costs, as the status does');
    $s->stop;
}

# calls wait for their results, and their process goes to the other worker. It
# has begun a call of its own meanwhile, which never gets an end: what came out
# of that the CLI guesses, and nobody has billed

{
    my $s = started(workers => 2);
    my $tools = [{ type => 'function', function => { name => 'look' } }];
    my $fake = { tool_use => [{ id => 'toolu_1', name => 'look',
                                input => {} }], usage => $two,
                 own => { usage => usage(1000, 40, 0, 0, 0) },
                 then => { text => 'y', usage => usage(100, 10, 0, 0, 0) } };
    wait_for { $s->workers == 2 } undef;

    my $r = $s->chat('call', fake => $fake, with => { tools => $tools });
    is($r->{json}{choices}[0]{finish_reason}, 'tool_calls', 'a call');
    lines($s, 1, '  it waits');
    wait_for { sums($s)->{prompt} == 1021 } '  its CLI calls by itself';
    is(sums($s)->{completion}, 6, '  which has begun');
    $s->{was} = sums($s);

    my ($cli) = @{ $s->status->{processes} };
    my $body = json->decode(ClaudeTest::body('call', fake => $fake,
                                             with => { tools => $tools }));
    push @{ $body->{messages} }, $r->{json}{choices}[0]{message},
        { role => 'tool', tool_call_id => 'toolu_1', content => 'seen' };
    $r = $s->elsewhere($cli->{worker}, json->encode($body))->rest;
    is($r->{text}, 'y', '  the result comes to the other worker');
    is($s->status->{handed}, 1, '  which takes the process over');
    spent($s, '  where what was guessed does not count',
          { prompt => 100, completion => 10, apart => 1 });
    $s->stop;
}

# a CLI that is resumed after it was killed: of what the one before has told it
# knows a part, or nothing, and goes on from there

for my $known (0, 0.001, 0.003) {
    my $s = started(start => { resumed_total => $known },
                    location => 'add_header X-Process $claude_process;');
    my @id = (headers => ['X-Session-Id: 0198a2b4-1111-4222-8333-000000000001']);
    my $name = "a resumed CLI that knows of \$$known";

    $s->chat('one', @id, fake => { text => 'x',
                                   usage => usage(1000, 100, 0, 0, 0) });
    my ($l) = spent($s, "$name: before", { prompt => 1000, completion => 100 });
    cmp_ok(abs($l->{cost} - 0.003), '<', 2e-6, '  its price');
    killed($s);

    for my $rung ('resumed', 'live') {
        my $r = $s->chat($rung, @id, fake => { text => 'x', usage => $two });
        is($r->{headers}{'x-process'}, $rung, "$name: $rung");
        ($l) = spent($s, $name, { prompt => 21, cached => 7, completion => 5,
                                  reasoning => 2 });
        cmp_ok(abs($l->{cost} - 84.9e-6), '<', 2e-6, '  its price');
    }
    $s->stop;
}

# a mirror, whose line is not written when the request is freed

{
    my $s = started(server => 'location /mirror/ { claude_openai;'
        . ' mirror /in/chat/completions; }'
        . ' location /in/ { internal; claude_openai; log_subrequest on;'
        . ' claude_timeout 2s; access_log logs/spent spent; }');

    # two processes, whose start is not in the time

    $s->chat('hi', with => { n => 2 });
    lines($s, 1, 'before');

    for my $stream (0, 1) {
        my $c = $s->send(POST => '/mirror/chat/completions', body =>
            ClaudeTest::body('hi', stream => $stream, fake => {
                deltas => ['a', 'b'], hang_after_deltas => 1,
                slow_interrupt_ms => 200, usage => $two }));
        wait_for { $s->status->{turns}{running} == 1 }
            'the mirror is out of time';
        my ($l) = lines($s, 1, 'its line');
        is("$l->{prompt} $l->{completion}", '21 1', '  has the tokens');
        cmp_ok($l->{cost} eq '-' ? 0 : $l->{cost}, '>', 0, '  and the cost');
        $c->close;
        $s->wait_idle;
    }
    $s->stop;
}

# a turn that is out of time

{
    my $s = started(location => 'claude_timeout 2s;');
    my $r = $s->chat('hi', stream => 1, fake => {
        deltas => ['a', 'b'], hang_after_deltas => 1, usage => $two });
    is($r->{error}{code}, 'timeout', 'out of time');
    my ($l) = spent($s, 'a turn that is out of time', { prompt => 21,
                    cached => 7, completion => 1 });
    cmp_ok($l->{cost}, '>', 0, '  the CLI is asked for its cost');
    wait_for { !grep { $_->{state} ne 'starting' }
               @{ $s->status->{processes} } } '  and is ended';
    $s->stop;
}

# a login that fails when it has spent something, and another one that answers

{
    my $turn = '{"turn":{"deltas":["a","b"],"die_after_deltas":1,"usage":'
             . '{"input_tokens":3,"output_tokens":5,'
             . '"cache_read_input_tokens":7}}}';
    my $s = started(
        location => "error_page 502 = \@second; claude_env 'FAKE_CLAUDE=$turn';",
        server => 'location @second { claude_openai; '
                . 'access_log logs/spent spent; }');
    my $r = $s->chat('hi', with => { n => 2 });
    is($r->{json}{choices}[0]{message}{content}, 'echo: hi',
       'another login answers');
    my $second = $r->{json}{usage};
    my ($l) = lines($s, 1, 'two logins');
    $s->wait_idle;
    my $is = sums($s);
    cmp_ok($l->{prompt} - $second->{prompt_tokens}, '>=', 10,
           '  what the first one has spent is in its line');
    is($l->{$_}, $is->{$_}, "  $_: the line is what the status has")
        for @tokens;
    is($l->{finish}, 'stop, stop', '  its ends are those of the answer');
    $s->stop;
}

# a location that has spent something, and another one that refuses the request

for my $second ('claude_tools Read; claude_model_map other sonnet;',
                'claude_model_map x sonnet;') {
    my %body = $second =~ /tools/
        ? (tools => [{ type => 'function', function => { name => 'f' } }]) : ();
    my $turn = '{"turn":{"deltas":["a","b"],"die_after_deltas":1,"usage":'
             . '{"input_tokens":3,"output_tokens":5,'
             . '"cache_read_input_tokens":7}}}';
    my $s = started(
        location => "error_page 502 = \@second; claude_env 'FAKE_CLAUDE=$turn';"
                  . 'claude_model_map other sonnet;',
        server => "location \@second { claude_openai; $second "
                . 'access_log logs/spent spent; }');
    my $r = $s->chat('hi', with => { %body, model => 'other' });
    is($r->{status}, %body ? 400 : 404, "a second location: $second")
        or diag($r->{body});
    my ($l) = lines($s, 1, '  one line');
    $s->wait_idle;
    my $is = sums($s);
    cmp_ok($is->{prompt}, '>=', 10, '  the first one has spent something');
    is($l->{$_}, $is->{$_}, "  $_: the line is what the status has")
        for @tokens;
    $s->stop;
}

# a location of ours without a model behind it: what was spent has the first's

{
    my $s = ClaudeTest->start(workers => 1,
        http => q{log_format model '$claude_model $claude_prompt_tokens';},
        server => 'location /v1/ { claude_openai; access_log logs/m model; '
                . 'error_page 502 =200 /other; }'
                . 'location = /other { claude_health; access_log logs/m model; }');
    my $r = $s->chat('hi', fake => { deltas => ['a'], die_after_deltas => 1,
                                     usage => $two });
    is($r->{status}, 200, 'another location of ours answers')
        or diag($r->{body});
    my $line;
    wait_for { ($line) = ClaudeTest::lines_of("$s->{dir}/logs/m") } '  a line';
    like($line // '', qr/^sonnet 21$/, '  with the model that was billed');
    $s->stop;
}

done_testing();
