# Resets: a client that opens requests and resets them has no more CLIs started
# than it may use, keeps no place, and other keys notice nothing.  A CLI that
# was started ahead of need and dies again and again is started more slowly.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use ClaudeTest;
use H2;
use Test::More;

my $keys = join ' ', map { "claude_api_key sk-$_ name=$_;" } qw(a b);
my $h2 = qx(@{[ ClaudeTest::binary() ]} -V 2>&1) =~ /http_v2_module/;
my $json = ClaudeTest::json();

# All that a client may do before it leaves; a CLI takes 300 ms to start.

my $hang = { hang_after_deltas => 1, deltas => ['first ', 'second'] };
my %HTTP = (keys => $keys, workers => 1, start => { delay_ms => 300 });

sub server {
    my (%o) = @_;
    my $places = $o{places} // 8;
    my $http = join ' ', "claude_max_concurrent $places;", $o{http} // '';
    return ClaudeTest->start(%HTTP, %o, http => $http,
        ($h2 ? (listen => 'listen 127.0.0.1:' . port() . '; listen 127.0.0.1:'
                          . port(1) . ' http2;') : ()));
}

sub aborted { return $_[0]->status->{turns}{aborted} }
sub turns { my $t = $_[0]->status->{turns}; return $t->{running} + $t->{waiting} }
sub starts { return $_[0]->status->{spawned} }
sub session { return sprintf '00000000-0000-4000-8000-%012d', $_[0] }

# Opens n requests, each of which is reset as soon as its turn is there.  $next
# is called with the number of each: the body, and headers.

sub storm {
    my ($s, $n, $next, %o) = @_;
    my $h = $h2 && !$o{http1} ? H2->new(port(1)) : undef;
    my $before = aborted($s);
    my $of = $o{of} // 1;              # turns in each

    for my $i (1 .. $n) {
        my ($body, @headers) = $next->($i);
        my $c = $h ? $h->post('/v1/chat/completions', $body, key => 'sk-a',
                              headers => \@headers)
                   : $s->send(POST => $o{path} // '/v1/chat/completions',
                              body => $body, key => 'sk-a',
                              headers => \@headers);
        $o{until} ? $o{until}->($i) : wait_for { turns($s) >= 1 } undef;
        $h ? $h->reset($c) : $c->close;
        wait_for { aborted($s) == $before + $of * $i } undef
            or return diag("number $i is not aborted") && 0;
    }
    $h->close if $h;
    return aborted($s) == $before + $of * $n;
}

sub plain { return ClaudeTest::body("hi $_[0]", fake => $hang) }

sub ended {                            # pids of CLIs that are no more
    return map { $_->{pid} } grep { !alive($_->{pid}) } $_[0]->events('start');
}

# ---- while its CLI starts ----

for my $workers (1, 2) {
    my $s = server(workers => $workers, http => 'claude_warm 0;', start => { delay_ms => 2000 });
    ok(storm($s, 20, \&plain), "$workers workers: 20 requests are opened and reset");
    cmp_ok(starts($s), '<=', $workers, '  a CLI in each worker was started for all of them');
    wait_for { grep { $_->{state} eq 'idle' } @{ $s->status->{processes} } } '  it is kept';
    my $r = $s->chat('hi', key => 'sk-a');
    is($r->{text}, 'echo: hi', '  and answers the next');
    cmp_ok(starts($s), '<=', $workers, '  which had none started');
    is(scalar ended($s), 0, '  none was ended');
    is(turns($s), 0, '  no place stays taken');
    $s->stop;
}

{
    my $s = server(http => 'claude_warm 0;', start => { delay_ms => 1000 });
    ok(storm($s, 3, \&plain), 'a CLI is slow to start, and the clients leave');
    my $c = $s->open_chat('hi', key => 'sk-a');
    is($c->rest->{text}, 'echo: hi', '  the next has it while it still starts');
    is(starts($s), 1, '  and no other');
    is($s->status->{rungs}{warm}, 3, '  as a warm one');
    ok(storm($s, 1, sub { ClaudeTest::body('x', with => { model => 'opus' }, fake => $hang) }), '  another');
    is($s->chat('hi', key => 'sk-b')->{text}, 'echo: hi', '  another key has one of its own');
    is(starts($s), 2, '    since the first is the other\'s');
    my @asked = $s->events('asked');
    isnt($asked[0]{pid}, $asked[-1]{pid}, '    for it has answered');
    $s->stop;
}

{
    my $s = server(http => 'claude_warm 0;');
    ok(storm($s, 1, \&plain), 'one was started for a client that has left');
    is($s->chat('hi', key => 'sk-b')->{text}, 'echo: hi', '  it may be any key\'s, as it has nothing of the client\'s');
    is(starts($s), 1, '  and no other is started');
    my ($first) = map { $json->decode($_->{line}) } grep { $_->{line} =~ /set_model/ } $s->events('in');
    ok($first, '  it was told a model');
    is(scalar(grep { $_->{line} =~ /set_model/ } $s->events('in')), 1, '  by the one that it has answered');
    $s->stop;
}

{
    my $s = server(http => 'claude_warm 1;', start => { delay_ms => 100 });
    wait_for { grep { $_->{state} eq 'idle' } @{ $s->status->{processes} } } 'a warm one is there';
    ok(storm($s, 30, \&plain), '  30 requests are opened and reset');
    cmp_ok(starts($s), '<=', 4, '  one was taken, and few were started in its place');
    is(scalar ended($s), 0, '  none was ended');
    $s->stop;
}

# ---- whatever each of them wants ----

{
    my $s = server(http => 'claude_warm 0;', start => { delay_ms => 2000 });
    my @models = qw(sonnet opus haiku);
    my $different = sub {
        my ($i) = @_;
        return $json->encode({ model => $models[$i % 3], messages => [
            { role => 'system', content => "system $i" },
            map({ ({ role => 'user', content => "u $i $_" }, { role => 'assistant', content => "a $i $_" }) } 1 .. $i % 4),
            { role => 'user', content => "hi $i [[fake " . $json->encode($hang) . ']]' } ],
            tools => [map { { type => 'function', function => { name => "t${i}_$_",
                parameters => { type => 'object' } } } } 1 .. $i % 5 + 1] });
    };
    ok(storm($s, 20, $different), 'other models, system texts, histories and tools, while it starts');
    is(starts($s), 1, '  one CLI was started');
    wait_for { grep { $_->{state} eq 'idle' } @{ $s->status->{processes} } } '  it is kept';
    ok(storm($s, 10, $different), '  and when it has started');
    cmp_ok(starts($s), '<=', 5, '  few more were');
    is(scalar ended($s), 0, '  none was ended');
    $s->stop;
}

{
    my $s = server(http => 'claude_warm 0;');
    ok(storm($s, 10, sub { ClaudeTest::body("hi $_[0]", with => { n => 8 }, fake => $hang) }, of => 8), 'requests for eight answers');
    cmp_ok(starts($s), '<=', 8, '  as many CLIs are started as one of them takes');
    is(scalar ended($s), 0, '  none was ended');
    is(turns($s), 0, '  no place stays taken');
    $s->stop;
}

{
    my $s = server(http => 'claude_warm 0;', start => { delay_ms => 3000 });
    ok(storm($s, 20, \&plain, http1 => 1), 'HTTP/1.1: connections that are closed');
    is(starts($s), 1, '  one CLI was started');
    $s->stop;
}

# ---- that must have a CLI each ----

{
    my $s = server(http => 'claude_warm 0;');
    my $b = $s->chat('b', key => 'sk-b');
    my ($own) = map { $_->{pid} } $s->events('start');
    my $waits = sub { scalar grep { /the key has to wait \d+ ms for another process/ } $s->errors };
    ok(storm($s, 30, sub { (plain($_[0]), 'X-Session-Id: ' . session($_[0])) },
             until => sub { my $i = $_[0]; wait_for { starts($s) + $waits->() > $i } undef }),
       'a session of its own each: 30 requests are reset');
    cmp_ok(starts($s), '<=', 8, '  after some the key has to wait');
    is($s->chat('hi', key => 'sk-b')->{text}, 'echo: hi', '  another does not');
    my @asked = $s->events('asked');
    is($asked[1]{pid}, $own, '    and has its own process');
    cmp_ok($waits->(), '>', 20, '  the log says so');
    $s->stop;
}

{
    my $s = server(http => 'claude_warm 0; claude_session_ttl 1h;', start => { delay_ms => 2000 });
    my $name = 'X-Session-Id: ' . session(7);
    ok(storm($s, 5, sub { (plain($_[0]), $name) }, until => sub {
                 my $in = $_[0] == 1 ? 'running' : 'waiting';
                 wait_for { $s->status->{turns}{$in} } undef }),
       'the same session, five times');
    is(starts($s), 1, '  one CLI was started');
    my $r = $s->chat('hi', key => 'sk-a', headers => [$name]);
    is($r->{text}, 'echo: hi', '  which answers for it');
    is(starts($s), 1, '    none other');
    $s->stop;
}

{
    my $s = server(http => 'claude_warm 0; claude_tools Read;', start => { delay_ms => 3000 });
    ok(storm($s, 20, \&plain), 'agents: 20 requests are reset');
    is(starts($s), 1, '  one CLI was started');
    is($s->chat('hi', key => 'sk-a')->{text}, 'echo: hi', '  and answers the next');
    is(starts($s), 1, '    none other');
    $s->stop;
}

{
    my $s = server(http => 'claude_warm 0; claude_max_budget_usd 1;', start => { delay_ms => 3000 });
    ok(storm($s, 20, \&plain), 'a budget, so that a process is for one turn: 20 requests are reset');
    is(starts($s), 1, '  one CLI was started');
    ok(storm($s, 20, \&plain, until => sub {
                 my $i = $_[0];
                 wait_for { $i == 1 ? $s->events('asked') : turns($s) } undef }),
       '  and 20 more, the first of which was asked');
    cmp_ok(starts($s), '<=', 6, '  after some the key has to wait');
    $s->stop;
}

{
    my $s = server(http => 'claude_warm 1; claude_max_budget_usd 1;', start => { delay_ms => 100 });
    my $waits = sub { scalar grep { /the key has to wait/ } $s->errors };
    ok(storm($s, 15, \&plain, until => sub {
                 my $i = $_[0]; wait_for { $s->events('asked') + $waits->() >= $i } undef }),
       'the same with a warm one: 15 that were asked, or had to wait');
    cmp_ok(scalar $s->events('asked'), '<=', 6, '  the warm ones are not for who had enough of them');
    is($s->chat('hi', key => 'sk-b')->{text}, 'echo: hi', '  but for another key');
    $s->stop;
}

# ---- at the limit ----

{
    my $s = server(places => 2, http => 'claude_warm 0; claude_max_processes 2;',
        server => 'location /v1/ { claude_openai; } location /x/ { claude_openai; claude_env A=1; } '
                  . 'location /y/ { claude_openai; claude_env A=2; }');
    my @path = map { "/$_/chat/completions" } qw(v1 x y);
    my $n = 0;
    for my $i (1 .. 24) {
        storm($s, 1, \&plain, http1 => 1, path => $path[$i % 3]) and $n++;
    }
    is($n, 24, 'three kinds of CLI and room for two: 24 requests in turn are reset');
    cmp_ok(starts($s), '<=', 8, '  they do not chase each other away for ever');
    wait_for { $s->chat('hi', key => 'sk-b')->{text} eq 'echo: hi' } '  another key has its answer';
    $s->stop;
}

# ---- when it was asked, or was about to be ----

{
    my $s = server(http => 'claude_warm 0;');
    $s->chat('hi', key => 'sk-a');
    my $asked = 1;
    ok(storm($s, 20, \&plain, until => sub { $asked++; wait_for { $s->events('asked') == $asked } undef }),
       'questions that were asked: 20 are reset');
    cmp_ok(starts($s), '<=', 5, '  few CLIs were started beside the first');
    is(scalar ended($s), 0, '  none was ended');
    $s->stop;
}

{
    my $s = server(http => 'claude_warm 0;');
    $s->chat('hi', key => 'sk-a');
    my ($pid) = map { $_->{pid} } $s->events('start');

    for my $kind ('question', 'history', 'system text', 'tools') {
        my $long = 'long ' x 60_000;
        my %with = $kind eq 'tools' ? (tools => [{ type => 'function', function => {
            name => 'look', description => $long, parameters => { type => 'object' } } }]) : ();
        my @history = $kind eq 'history' ? ({ role => 'user', content => $long }, { role => 'assistant', content => 'yes' })
                    : $kind eq 'system text' ? ({ role => 'system', content => $long }) : ();

        kill 'STOP', $pid;
        my $before = aborted($s);
        my $c = $s->open_chat($kind eq 'question' ? $long : 'hi', key => 'sk-a', history => \@history, with => \%with);
        wait_for { turns($s) == 1 } "a long $kind that a CLI has a part of";
        $c->close;
        wait_for { aborted($s) == $before + 1 } '  its client leaves';
        kill 'CONT', $pid;
        wait_for { grep { $_->{pid} == $pid && $_->{state} eq 'idle' } @{ $s->status->{processes} } } '  it reads the rest, and is kept';
        is($s->chat("after $kind", key => 'sk-a')->{text}, "echo: after $kind", '  and answers the next');
        my ($last) = reverse $s->events('asked');
        is($last->{pid}, $pid, '    the same');
        is(join(' ', map { $_->{content} } @{ $last->{messages} }), "after $kind", '    with nothing of it');
    }
    $s->stop;
}

# ---- a warm one that dies ----

sub said { my ($s, $re) = @_; return grep { /\[error\]/ && /$re/ } $s->errors }

for my $case (['at its start', { exit => 3, stderr => 'no such login' }, qr/exited with status 3: no such login/],
              ['once it has started', { live_ms => 150, exit => 'KILL', stderr => 'not today' }, qr/killed by signal 9: not today/])
{
    my ($name, $start, $words) = @$case;
    my $file = "$ENV{TEST_NGINX_SERVROOT}/start.json";
    my $write = sub {
        open my $fh, '>', $file or die;
        print $fh $json->encode({ start => $_[0] });
        close $fh;
    };
    $write->($start);

    my $s = ClaudeTest->start(keys => $keys, workers => 2, env => "FAKE_CLAUDE_FILE=$file");
    wait_for { $s->status->{lost} >= 3 } "a warm CLI dies $name, again and again: it is counted";
    cmp_ok(starts($s), '<=', 5, '  and started more and more slowly, whatever the workers');
    my @said = said($s, qr/died before its first turn/);
    is(scalar @said, 1, '  the log says it once');
    like($said[0], $words, '    in its own words');
    is(scalar said($s, qr/claude:/), 1, '    and nothing else');

    $write->({});
    is($s->chat('hi', key => 'sk-a')->{text}, 'echo: hi', '  it is well again: a turn is answered');
    wait_for { said($s, qr/does what it should, after \d+ that died/) } '    the log says it';
    wait_for { grep { $_->{state} eq 'idle' && $_->{turns} == 0 } @{ $s->status->{processes} } } '    and a warm one is there at once';
    is(scalar said($s, qr/claude:/), 2, '    once');
    my $metrics = $s->get('/status?format=prometheus')->{body};
    like($metrics, qr/^claude_processes_lost_total [3-9]/m, '  the metrics count them');
    $s->stop;
}

done_testing;
