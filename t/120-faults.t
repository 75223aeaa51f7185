# Whatever dies, nothing is left behind: no process, no taken place, no other
# worker in trouble.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use ClaudeTest;
use Test::More;
use Time::HiRes qw(time sleep);

my $hang = { deltas => ['first ', 'second'], hang_after_deltas => 1 };
my $gone_within = patience() / 4;      # 2 s by the design

sub stream { my ($s, %o) = @_;
             my $c = $s->open_chat('hi', stream => 1, fake => $hang, %o);
             ok($c->until(qr/first/), 'a stream runs');
             return $c }
sub cli_of_last { my ($a) = reverse $_[0]->events('asked'); return $a->{pid} }
sub owner { my ($s, $cli) = @_;
            my ($p) = grep { $_->{pid} == $cli } @{ $s->status->{processes} };
            return $p->{worker} }

# a worker dies

{
    my $s = ClaudeTest->start(workers => 2,
                              http => 'claude_max_concurrent 2;');
    my $c = stream($s);
    my $cli = cli_of_last($s);
    my $worker = owner($s, $cli);
    ok($worker && grep({ $_ == $worker } $s->workers),
       'the status page tells the worker of a process');

    kill 'KILL', $worker;
    my $t = time;
    wait_for { !alive($cli) } 'a worker is killed: its CLI is gone',
             $gone_within;
    my $others = $s->chat('other');
    is($others->{text}, 'echo: other', 'another request is served');
    wait_for { $s->workers >= 2 } 'the master starts a new worker';
    wait_for { $s->status->{turns}{running} == 0 } 'its places are free';

    my @c = map { stream($s) } 1, 2;
    is($s->status->{turns}{running}, 2, 'all of them');
    $_->close for @c;
    $s->wait_idle('and free again');
    $s->stop(allow => qr/exited on signal 9/);
}

{
    my $s = ClaudeTest->start(workers => 2);
    my @c = map { stream($s) } 1 .. 4;
    my @cli = map { $_->{pid} } $s->events('asked');
    kill 'KILL', $s->workers;
    wait_for { !grep { alive($_) } @cli } 'all workers are killed: all CLIs '
        . 'are gone', $gone_within;
    wait_for { eval { $s->chat('again')->{text} eq 'echo: again' } }
        'and new ones serve';
    wait_for { $s->status->{turns}{running} == 0 } 'no place stays taken';
    $s->stop(allow => qr/exited on signal 9/);
}

# a CLI that ignores SIGTERM, and one that left a child behind

{
    my $s = ClaudeTest->start(start => { ignore_term => JSON::PP::true });
    my $c = stream($s);
    my $cli = cli_of_last($s);
    my $worker = owner($s, $cli);
    kill 'KILL', $worker;
    wait_for { !alive($cli) } 'a worker is killed: a CLI that ignores SIGTERM '
        . 'is gone as well', $gone_within + 2;
    $s->stop(allow => qr/exited on signal 9/);
}

{
    my $s = ClaudeTest->start(start => { ignore_term => JSON::PP::true });
    my $c = stream($s);
    my $cli = cli_of_last($s);
    $c->close;
    $s->wait_idle('a client leaves a CLI that ignores SIGTERM: its place is '
                  . 'free');
    is($s->chat('next')->{text}, 'echo: next', 'the next is served');
    my $r = $s->stop(signal => 'TERM');
    wait_for { !alive($cli) } 'after the stop it is gone', $gone_within + 2;
}

{
    my $s = ClaudeTest->start();
    my $r = $s->chat('hi', fake => { fork_child_holds_pipe =>
                                     JSON::PP::true });
    is($r->{status}, 502, 'a CLI exits while a child of it holds the pipes: '
                          . 'an error');
    my ($child) = $s->events('child');
    wait_for { !alive($child->{child}) } 'and the child is gone',
             $gone_within + 2;
    $s->wait_idle('no place stays taken');

    $r = $s->chat('hi', stream => 1, fake => { deltas => ['a', 'b'],
        gap_ms => 100, die_after_deltas => 1,
        fork_child_holds_pipe => JSON::PP::true });
    is($r->{error}{code}, 'cli_failed', 'the same in the answer');
    is($r->{cut}, 0, 'and the body ends well');
    my ($second) = reverse $s->events('child');
    wait_for { !alive($second->{child}) } 'and that child is gone, too',
             $gone_within + 2;

    $r = $s->chat('hi', stream => 1, fake => { deltas => ['a', 'b'],
        gap_ms => 100, die_after_deltas => 1,
        fork_child_holds_pipe => 'flood' });
    is($r->{error}{code}, 'cli_failed', 'and when that child never stops '
                                        . 'writing');
    ($second) = reverse $s->events('child');
    wait_for { !alive($second->{child}) } '  it is gone, too',
             $gone_within + 2;

    my $c = $s->open_chat('hi', stream => 1, fake => $hang);
    $c->until(qr/first/);
    kill 'KILL', cli_of_last($s);
    $r = $c->rest;
    is($r->{error}{code}, 'cli_failed', 'a CLI is killed from outside: the '
                                        . 'stream says so');
    wait_for { grep { /signal 9/ } $s->errors } 'and the log, by what';
    $s->stop;
}

# the spawner dies

{
    my $s = ClaudeTest->start(workers => 1);
    my $c = stream($s);
    my $cli = cli_of_last($s);
    my $spawner = parent($cli);
    my ($worker) = $s->workers;
    isnt($spawner, $worker, 'CLIs are children of a spawner, not of the '
                            . 'worker');
    kill 'KILL', $spawner;
    wait_for { !alive($cli) } 'the spawner is killed: its CLI is gone',
             $gone_within;
    my $r = $c->rest;
    is($r->{error}{code}, 'cli_failed', 'the stream ends with an error');
    wait_for { $s->status->{turns}{running} == 0 } 'its place is free';
    wait_for { eval { $s->chat('again')->{text} eq 'echo: again' } }
        'and a new spawner serves';
    is(($s->workers)[0], $worker, 'in the same worker');
    $s->stop;
}

# reload, quit, stop

{
    my $s = ClaudeTest->start(workers => 2);
    my @old = $s->workers;
    my $c = $s->open_chat('hi', stream => 1, fake =>
        { deltas => ['first ', 'second ', 'third'], gap_ms => 400 });
    ok($c->until(qr/first/), 'a stream runs');
    $s->signal('HUP');
    wait_for { my %w = map { $_ => 1 } $s->workers;
               keys %w >= 2 && !grep { $w{$_} } @old }
        'reload: new workers are there';
    is($s->chat('new')->{text}, 'echo: new', 'which serve');
    my $r = $c->rest;
    is($r->{text}, 'first second third', 'and the running stream finishes');
    is($r->{done}, 1, 'to its end');
    wait_for { !grep { alive($_) } @old } 'then the old workers end';
    wait_for { $s->status->{turns}{running} == 0 } 'no place stays taken';
    $s->stop;
}

{
    my $s = ClaudeTest->start(workers => 2);
    my $c = $s->open_chat('hi', stream => 1, fake =>
        { deltas => ['first ', 'second'], gap_ms => 500 });
    ok($c->until(qr/first/), 'a stream runs');
    my $cli = cli_of_last($s);
    $s->signal('QUIT');
    my $r = $c->rest;
    is($r->{text}, 'first second', 'quit: the stream finishes');
    $s->gone('and nginx ends');
    wait_for { !alive($cli) } 'with its CLIs', $gone_within;
    $s->quiet_log;
}

{
    my $s = ClaudeTest->start(workers => 2);
    my $c = stream($s);
    my @cli = map { $_->{pid} } $s->events('asked');
    my @spawners = map { parent($_) } @cli;
    $s->signal('TERM');
    $s->gone('stop: nginx ends');
    wait_for { !grep { alive($_) } @cli } 'its CLIs are gone', $gone_within;
    wait_for { !grep { alive($_) } @spawners } 'so are the spawners',
             $gone_within;
    $s->quiet_log;
}

{
    my $s = ClaudeTest->start(workers => 2,
                              start => { ignore_term => JSON::PP::true });
    my $c = stream($s);
    my $cli = cli_of_last($s);
    $s->signal('TERM');
    $s->gone('stop: nginx ends, with a CLI that ignores SIGTERM');
    wait_for { !alive($cli) } 'which is gone soon after', $gone_within + 2;
    $s->quiet_log;
}

for my $start ({ silent => JSON::PP::true }, { deaf => JSON::PP::true },
               { ignore_term => JSON::PP::true }, { exit => 3 },
               { garbage => JSON::PP::true })
{
    my ($what) = keys %$start;
    my $s = ClaudeTest->start(workers => 2, start => $start,
        server => 'location /v1/ { claude_openai; claude_timeout 300ms; }');
    my $r = $s->chat('hi');
    my @cli = map { $_->{pid} } $s->events('start');
    $s->signal('QUIT');
    $s->gone("quit after a turn with a CLI that is $what: nginx ends", 8);
    wait_for { !grep { alive($_) } @cli } "  with its CLIs: $what",
        $gone_within + 2;
    $s->quiet_log;
}

# a CLI that does not behave

{
    my $s = ClaudeTest->start(http => 'claude_max_line 100k;',
        server => 'location /v1/ { claude_openai; }');
    my $r = $s->chat('hi', fake => { huge_line => 1_000_000 });
    is($r->{status}, 502, 'a line over claude_max_line is an error');
    is($r->{error}{code}, 'cli_failed', '  with its code');
    like(join('', $s->errors), qr/claude_max_line/, '  and the log says which '
                                                    . 'directive');
    $r = $s->chat('hi', fake => { no_newline_bytes => 10_000_000 });
    is($r->{status}, 502, 'bytes without an end of line are, too');
    is($s->chat('ok')->{text}, 'echo: ok', 'the next is served');

    $r = $s->chat('hi', fake => { stderr_bytes => 3_000_000,
                                  text => 'after the flood' });
    is($r->{text}, 'after the flood', 'a flood on stderr does not stop a turn');
    my $size = -s "$s->{dir}/logs/error.log";
    cmp_ok($size, '<', 1_000_000, 'nor fill the log');
    $s->wait_idle;
    $s->stop;
}

{
    # what it says later may be about a client's text: debug level only
    my $s = ClaudeTest->start(start => { stderr => 'tell the operator' });
    $s->chat('hi');
    my ($asked) = reverse $s->events('asked');
    wait_for { grep { /\b$asked->{pid}\b.*tell the operator/ } $s->errors }
        'what the CLI says at its start is in the log, with its pid';
    $s->chat('hi', fake => { die_before => 4 });
    wait_for { grep { /(?:status|code) 4\b/ } $s->errors }
        'and the status that it exits with';
    $s->stop;
}

{
    my $s = ClaudeTest->start(start => { stderr_bytes => 3_000_000 });
    is($s->chat('hi')->{text}, 'echo: hi', 'a flood before the first line');
    $s->stop;
}

# the binary is gone after the start

{
    my $dir = "$ENV{TEST_NGINX_SERVROOT}/bin";
    mkdir $dir;
    my $bin = "$dir/claude";
    my $put = sub {
        open my $in, '<', root() . '/t/bin/claude' or die;
        open my $out, '>', "$bin.new";
        print $out join '', <$in>;
        close $out;
        chmod 0755, "$bin.new";
        rename "$bin.new", $bin;
    };
    $put->();
    my $s = ClaudeTest->start(binary => $bin, workers => 1);
    is($s->chat('one')->{text}, 'echo: one', 'a CLI is there');
    unlink $bin;

    # whatever runs already may go on; a new profile cannot

    my $s_conf = $s->{dir};
    my @pid;
    wait_for { @pid = map { $_->{pid} } @{ $s->status->{processes} };
               !grep { !$_ } @pid } undef;            # none is only starting
    kill 'TERM', @pid;
    $s->wait_idle;
    wait_for { @{ $s->status->{processes} } == 0 } undef;
    my $r = $s->chat('two');
    is($r->{status}, 503, 'the binary is gone: 503');
    is($r->{error}{code}, 'cli_unavailable', '  with its code');
    is($r->{headers}{'x-should-retry'}, 'false', '  a retry cannot help');
    like(join('', $s->errors), qr/No such file/, '  and the log says why');
    is($s->status->{turns}{running}, 0, '  no place stays taken');

    open my $fh, '>', $bin; print $fh "not a program\n"; close $fh;
    chmod 0755, $bin;
    $r = $s->chat('three');
    is($r->{status}, 503, 'the binary is no program: 503');

    unlink $bin;
    $put->();
    is($s->chat('four')->{text}, 'echo: four', 'when it is back, all is well');
    $s->stop;
}

# a missing login is answered from memory

{
    my $s = ClaudeTest->start(workers => 1, http => 'claude_warm 0;');
    my $r = $s->chat('hi', fake => { not_logged_in => JSON::PP::true });
    is($r->{error}{code}, 'cli_not_logged_in', 'no login');
    my $starts = $s->events('start');
    my $asked = $s->events('asked');
    for (1 .. 5) {
        my $again = $s->chat('hi');
        is($again->{error}{code}, 'cli_not_logged_in', 'is remembered');
    }
    is(scalar(() = $s->events('start')), $starts, 'and nothing is started');
    is(scalar(() = $s->events('asked')), $asked, 'and nobody asked');
    wait_for { my $r = $s->chat('hi'); $r->{text} eq 'echo: hi' }
        'for some seconds';
    $s->stop;
}

{
    my $s = ClaudeTest->start(workers => 1, start => { version => '2.1.1' },
                              http => 'claude_warm 0;');
    is($s->chat('hi')->{error}{code}, 'cli_too_old', 'too old');
    my $starts = () = $s->events('start');
    is($s->chat('hi')->{error}{code}, 'cli_too_old', 'is remembered, too');
    is(scalar(() = $s->events('start')), $starts, 'and nothing is started');
    $s->stop;
}

# many in a row

{
    my $s = ClaudeTest->start(workers => 1);
    my $bad = 0;
    for (1 .. 60) {
        $bad++ if $s->chat('hi', fake => { text => 'x', $_ % 3 ? () :
                                           (die_before => 1) })->{status}
                  != ($_ % 3 ? 200 : 502);
    }
    is($bad, 0, '60 turns, a third of them with a CLI that dies');
    $s->wait_idle('leave no place taken');
    my ($w) = $s->workers;
    opendir my $d, "/proc/$w/fd";
    my $fds = grep { /^\d+$/ } readdir $d;
    cmp_ok($fds, '<', 60, 'and no descriptor open');
    my @zombies = grep { !alive($_) } map { (children($_), ) } ($w,
        children($w));
    is(scalar @zombies, 0, 'and no zombie');
    $s->stop;
}

done_testing();
