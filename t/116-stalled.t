# A client that takes nothing is a state of its turn: whatever process the turn
# gets, and whenever, nobody reads that process until the client takes more.
#
# The clients speak HTTP/2 and give no window at all. So the first heartbeat is
# one too many, while the turn still waits for its place.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use ClaudeTest;
use H2Slow;
use Test::More;

use constant FIONREAD => 0x541B;       # linux, x86 and arm

plan skip_all => 'this nginx is built without http_v2_module' if !H2Slow->there;

my $all = 3_000_000;                   # bytes of an answer
my $flood = { deltas => ['x' x 10_000], repeat => $all / 10_000 };
my $hang = { deltas => ['first ', 'second'], hang_after_deltas => 1 };
my ($h2, $sessions) = (port(1), 0);
my @listen = (listen => 'listen 127.0.0.1:' . port() . '; '
                        . "listen 127.0.0.1:$h2 http2;");
my @tools = (tools => [{ type => 'function', function => { name => 'look',
                         parameters => { type => 'object' } } }]);

sub start {
    my (%o) = @_;
    return ClaudeTest->start(@listen, %o,
        http => 'claude_max_concurrent 2; claude_max_processes 8; '
                . 'claude_heartbeat 50ms; ' . ($o{http} // 'claude_warm 0;'),
        server => 'location /v1/ { claude_openai; } '
                  . 'location /soon/ { claude_openai; claude_turn_timeout 1s; } '
                  . 'location /agent/ { claude_openai; claude_tools Read; }');
}

sub rss {
    my ($s) = @_;
    my $sum = 0;
    $sum += memory($_, 'VmRSS') for $s->workers;
    return $sum;
}

sub unread {                           # of a process's stdout
    my ($pid) = @_;
    my $n = pack 'i', 0;
    open my $fh, '<', "/proc/$pid/fd/1" or return -1;
    ioctl $fh, FIONREAD, $n or return -1;
    return unpack 'i', $n;
}

sub written {                          # all that it has written, ever
    my ($pid) = @_;
    my ($n) = map { /^wchar: (\d+)/ } ClaudeTest::lines_of("/proc/$pid/io");
    return $n // 0;
}

# Takes all places, for another key.

sub hold {
    my ($s) = @_;
    $s->wait_idle;
    my @hold = map { $s->open_chat("hold$_", key => 'sk-other', stream => 1,
                                   fake => $hang) } 1, 2;
    $_->until(qr/first/) or die 'no place is held' for @hold;
    return @hold;
}

# Asks, without a window, behind those that have the places.

sub ask {
    my ($s, $path, $body, %headers) = @_;
    my $c = H2Slow->new($h2, window => 0);
    $c->post($path, json->encode($body), authorization => 'Bearer sk-test',
             %headers);
    return $c;
}

sub fake { return "$_[0] [[fake " . json->encode($_[1]) . ']]' }

sub user { return { role => 'user', content => $_[0] } }
sub assistant { return { role => 'assistant', content => $_[0] } }

sub chat {
    my ($messages, %with) = @_;
    return { model => 'sonnet', stream => JSON::PP::true,
             messages => $messages, %with };
}

# The processes that turns have, when all stand still: what they have said
# lies in their pipes, and the workers have nothing to do.

sub stalled {
    my ($s, $n) = @_;
    my @busy = grep { $_->{state} eq 'busy' } @{ $s->status->{processes} };
    my $turns = $s->status->{turns};
    return if $turns->{running} != $n || $turns->{waiting} || @busy != $n;
    return if grep { unread($_->{pid}) <= 0 || state_of($_->{pid}) ne 'S' }
                   @busy;
    return if grep { state_of($_) ne 'S' } $s->workers;
    return @busy;
}

sub texts {                            # how much each answer has
    my %text;
    my %decoded;                       # megabytes of the same line: once
    for ($_[0] =~ /^data: (\{.*)$/mg) {
        my $choice = ($decoded{$_} //= json->decode($_))->{choices}[0] // next;
        $text{ $choice->{index} } +=
            length($choice->{delta}{content} // $choice->{text} // '');
    }
    return %text;
}

sub takes_all {                        # the client, from now on
    my ($s, $c, $n, $name) = @_;
    $c->take(1 << 30);
    my %text = texts($c->rest);
    is_deeply(\%text, { map { $_ => $all } 0 .. $n - 1 },
              "  $name: takes all, and gets it");
    is($c->{end}, 'end', '    to its end');
    $c->close;
    $s->wait_idle;
}

# One kind: what is asked while no place is free, and what it gets then.

sub kind {
    my ($s, $name, $path, $body, %o) = @_;
    my $n = $o{n} // 1;
    my @hold = hold($s);
    my $c = ask($s, $path, $body, %{ $o{headers} || {} });

    ok($c->until(sub { $c->{headers} }), "$name: the stream has begun")
        or return;
    is($s->status->{turns}{waiting}, $n, '  behind a heartbeat, in the queue');
    $o{before}->() if $o{before};

    my $before = rss($s);
    my %wrote = map { $_ => written($_) }
                map { $_->{pid} } @{ $s->status->{processes} };
    $_->close for @hold;
    my @busy;
    wait_for { @busy = stalled($s, $n) } '  it gets a process, which stands still';
    is(join(' ', map { $_->{rung} // '' } @busy), join(' ', ($o{rung}) x $n),
       "    $o{rung}") if $o{rung};
    is(scalar(grep { written($_->{pid}) - ($wrote{$_->{pid}} // 0) > 400_000 }
                   @busy), 0, '    with all that it wants to say');
    cmp_ok(rss($s) - $before, '<', 2000, '    and nothing of it in nginx')
        if !$ENV{TEST_SANITIZED};
    $o{then}->(@busy) if $o{then};
    takes_all($s, $c, $n, $name);
}

{
    my $s = start(workers => 1);
    my %session = (headers => { 'x-session-id' =>
                                '0198a2b4-1111-4222-8333-000000000001' });

    kind($s, 'a new process', '/v1/chat/completions',
         chat([user(fake('zero', $flood))]), rung => 'cold');

    $s->chat('one');
    kind($s, 'the same conversation', '/v1/chat/completions',
         chat([user('one'), assistant('echo: one'),
               user(fake('two', $flood))]),
         rung => 'live');
    kind($s, 'a branch of it', '/v1/chat/completions',
         chat([user('one'), assistant('echo: one'),
               user(fake('three', $flood))]),
         rung => 'rewound');
    kind($s, 'another conversation', '/v1/chat/completions',
         chat([user(fake('four', $flood))]), rung => 'recycled');
    kind($s, 'completions', '/v1/completions', { model => 'sonnet',
         stream => JSON::PP::true, prompt => fake('five', $flood) },
         rung => 'recycled');

    # it is nobody's fault that a process dies, and the turn goes to another

    kind($s, 'one that dies', '/v1/chat/completions',
         chat([user(fake('six', $flood))]), rung => 'recycled',
         then => sub {
             my ($dies) = @_;
             kill 'KILL', $dies->{pid};
             my @busy;
             wait_for { @busy = stalled($s, 1) and $busy[0]{pid} != $dies->{pid} }
                 '  it dies: the next one stands still, too';
             cmp_ok(written($busy[0]{pid}), '<', 400_000, '    with all of it');
         });

    kind($s, 'a new session', '/v1/chat/completions',
         chat([user(fake('seven', $flood))]), %session, rung => 'cold');
    my $id = '0198a2b4-1111-4222-8333-000000000002';
    $s->chat('eight', headers => ["X-Session-Id: $id"]);
    my ($its) = map { $_->{pid} } grep { $_->{event} eq 'asked' }
                reverse $s->events;
    kind($s, 'a session on disk', '/v1/chat/completions',
         chat([user(fake('eight and', $flood))]),
         headers => { 'x-session-id' => $id }, rung => 'resumed',
         before => sub {
             kill 'TERM', $its;
             wait_for { !grep { $_->{pid} == $its }
                              @{ $s->status->{processes} } } undef;
         });

    kind($s, 'an agent', '/agent/chat/completions',
         chat([user(fake('nine', $flood))]), rung => 'cold');

    kind($s, 'two answers', '/v1/chat/completions',
         chat([user(fake('ten', $flood))], n => 2), n => 2);

    # results of the client's tools, to a process that waits for them

    my $call = fake('look', { tool_use => [{ id => 'toolu_1', name => 'look',
                              input => {} }], then => $flood });
    my $r = $s->chat('', body => json->encode({ model => 'sonnet', @tools,
                                                messages => [user($call)] }));
    is($r->{json}{choices}[0]{finish_reason}, 'tool_calls', 'a call');
    kind($s, 'results of tools', '/v1/chat/completions',
         chat([user($call), $r->{json}{choices}[0]{message},
               { role => 'tool', content => 'seen', tool_call_id =>
                 $r->{json}{choices}[0]{message}{tool_calls}[0]{id} }],
              @tools), rung => 'live');
    $s->stop;
}

# It may take nothing for as long as a turn may last, whatever its process is at
# then; that goes on with others.

{
    my $s = start(workers => 1);
    for my $kind (['a new process', {}], ['a used one', {}],
                  ['one of a session', { 'x-session-id' =>
                   '0198a2b4-1111-4222-8333-000000000003' }])
    {
        my ($name, $headers) = @$kind;
        my @hold = hold($s);
        my $c = ask($s, '/soon/chat/completions',
                    chat([user(fake("$name is asked", $flood))]), %$headers);
        $c->until(sub { $c->{headers} });
        $_->close for @hold;
        $s->wait_idle("nothing is taken for too long, of $name: it is over");
        wait_for { !grep { $_->{state} ne 'idle' }
                         @{ $s->status->{processes} } } '  for its process, too';
        $c->take(1 << 30);
        like($c->rest, qr/"code":"turn_timeout"/, '  the client is told so');
        is($c->{end}, 'end', '    in good order');
        $c->close;
        is($s->chat("after $name")->{text}, "echo: after $name",
           '  the next turn is served');
    }
    is(scalar(grep { $_->{messages}[-1]{content} =~ /is asked/ }
                   $s->events('asked')), 0, 'nothing of it was asked');
    $s->stop;
}

# ahead of need

{
    my $s = start(workers => 1, http => 'claude_warm 1;');
    kind($s, 'a process that was started ahead', '/v1/chat/completions',
         chat([user(fake('one', $flood))]), rung => 'warm', before => sub {
             wait_for { grep { $_->{state} eq 'idle' && !$_->{turns} }
                             @{ $s->status->{processes} } } undef;
         });
    $s->stop;
}

# a process of another worker's

{
    my $s = start(workers => 2);
    my ($c, $handed, @hold, $idle);

    for my $try (1 .. 8) {
        $s->chat("one$try");
        $s->wait_idle;
        ($idle) = grep { $_->{state} eq 'idle' } @{ $s->status->{processes} };
        @hold = hold($s);
        kill 'STOP', $idle->{worker};  # the other one gets it
        $c = ask($s, '/v1/chat/completions', chat([user("one$try"),
                 assistant("echo: one$try"), user(fake('two', $flood))]));
        my $begun = $c->until(sub { $c->{headers} }, 2);
        kill 'CONT', $idle->{worker};
        last if $begun;
        $_->close for $c, @hold;
        $s->wait_idle;
    }
    wait_for { state_of($idle->{worker}) eq 'S' } undef;
    my $before = rss($s);
    $_->close for @hold;
    my @busy;
    wait_for { @busy = stalled($s, 1) } 'a process of another worker: it stands still';
    is($busy[0]{pid}, $idle->{pid}, '  which was handed over')
        or diag(explain(\@busy));
    isnt($busy[0]{worker}, $idle->{worker}, '  and is another\'s now');
    cmp_ok(rss($s) - $before, '<', 2000, '  with all of it')
        if !$ENV{TEST_SANITIZED};
    takes_all($s, $c, 1, 'a client of another worker');
    $s->stop;
}

# The same without HTTP/2, where the kernel has buffers of its own.

my $s = ClaudeTest->start(workers => 1,
    listen => 'listen 127.0.0.1:' . port() . ' sndbuf=4k;',
    http => 'claude_max_concurrent 2; claude_warm 0; claude_max_line 4m;',
    server => 'location /v1/ { claude_openai; send_timeout 600s; }');

sub stream {
    my ($text, %o) = @_;
    return $s->open_chat($text, stream => 1, receive_buffer => 4096, %o);
}

# the second of two answers has its place when nobody reads the first one

{
    my $hold = stream('hold', key => 'sk-other', fake => $hang);
    $hold->until(qr/first/);

    my $c = stream('two', fake => $flood, with => { n => 2 });
    ok($c->until(qr/xxx/), 'one of two answers comes, and nobody reads it');
    wait_for { grep { unread($_->{pid}) >= 32768 }
                    @{ $s->status->{processes} } } '  its process stands still';
    is($s->status->{turns}{waiting}, 1, '  the other waits');

    my $before = rss($s);
    $hold->close;
    my @busy;
    wait_for { @busy = stalled($s, 2) } '  and gets a process that stands still, too';
    cmp_ok(rss($s) - $before, '<', 2000, '    with nothing of it in nginx')
        if !$ENV{TEST_SANITIZED};

    my %text = texts($c->rest->{body});
    is_deeply(\%text, { 0 => $all, 1 => $all },
              '  a client that reads has all of both');
    $s->wait_idle;
}

# An answer that is complete holds nothing any more, whether it is read or not:
# the CLI's own end of the turn comes later, and is read. All up to the stop is
# read at once here, so that the client is behind in that very moment.

{
    my ($c, $kept, @workers);
    for my $delay (500, 2000, 8000) {  # until the worker stops before it ends
        my $asked = $s->events('asked');
        $c = stream('cut', fake => { delay_ms => $delay, deltas => ['a'],
            repeat => 200, stop_reason => 'max_tokens',
            slow_interrupt_ms => 500 });
        wait_for { $s->events('asked') > $asked } undef;
        my ($its) = map { $_->{pid} } reverse $s->events('asked');
        my $written = written($its);
        @workers = $s->workers;
        kill 'STOP', @workers;
        wait_for { unread($its) > 30_000 || written($its) > $written + 30_000 }
            undef;
        last if $kept = unread($its) > 30_000;
        kill 'CONT', @workers;
        $c->close;
        $s->wait_idle;
    }
    ok($kept, 'an answer that is complete before any of it is read');
    kill 'CONT', @workers;
    $s->wait_idle('  has no place any more, though its client reads nothing');
    ok(!$c->{eof} && length $c->{raw} == 0, '    nothing yet');
    my $r = $c->rest;
    is($r->{text}, 'a' x 200, '  which gets it, as late as it likes');
    is($r->{done}, 1, '    to its end');
}

# neither does one of one piece

{
    my $before = rss($s);
    my $c = $s->open_chat('whole', receive_buffer => 4096, fake => $flood);
    ok($c->until(qr/xxx/), 'an answer of one piece that nobody reads');
    $s->wait_idle('  has no place any more');
    cmp_ok(rss($s) - $before, '<', 3 * $all / 1024, '  and is in memory')
        if !$ENV{TEST_SANITIZED};
    is(length $c->rest->{text}, $all, '  until it is read');
}

$s->stop;

done_testing;
