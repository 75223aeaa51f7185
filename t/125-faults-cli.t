# A CLI that misbehaves, or a system that has nothing left for one: the turn
# that is hit has its error, once in the log, and another stream in the same
# worker goes on meanwhile; then all is as it was before.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use ClaudeTest;
use Test::More;
use Time::HiRes qw(time sleep);

my $true = JSON::PP::true;
my $gone_within = patience() / 4;                  # 2 s by the design
my $max_line = 8 * 1024;                           # KB
my $spare = $ENV{TEST_SANITIZED} ? 128 * 1024 : 6 * 1024;

my @server = (workers => 1, http => "claude_warm 0; claude_max_line ${\ $max_line}k;",
    server => 'location /v1/ { claude_openai; } '
              . 'location /soon/ { claude_openai; claude_timeout 2s; }');

# A stream that has something to say all the time, and its end.

sub bystander {
    my ($s) = @_;
    my $c = $s->open_chat('bystander', stream => 1, key => 'sk-other',
        fake => { deltas => ['tick '], repeat => 100_000, gap_ms => 20 });
    $c->until(qr/tick/) or die "no stream\n";
    return $c;
}

sub goes_on {
    my ($c, $name) = @_;
    my $ticks = () = $c->{raw} =~ /tick/g;
    wait_for { $c->read(1); (() = $c->{raw} =~ /tick/g) > $ticks + 3 }
        "$name: another stream goes on";
}

sub worker_of { my ($s) = @_; my $w; wait_for { ($w) = $s->workers } undef;
                return $w }
sub spawner_of { my ($s) = @_; return parent(parent(($s->events('start'))[-1]
                                                    {pid})) }
sub fds { my %fd = descriptors($_[0]); return scalar keys %fd }
sub ask { my ($s, $path, $text, %o) = @_;
          return $s->send(POST => "$path/chat/completions",
                          body => ClaudeTest::body($text, %o), %o)->rest }

# The lines of the log that came with it, at warn and above.

sub logged {
    my ($s, $name, $re, $do, %o) = @_;
    my $before = () = $s->errors;
    my $r = $do->();
    my @new;
    wait_for { @new = grep { /\[(?:warn|error|crit|alert|emerg)\]/ }
                      ($s->errors)[$before .. (() = $s->errors) - 1];
               grep { $_ =~ $re } @new } undef;
    my @ours = grep { $_ =~ $re } @new;
    is(scalar @ours, 1, "$name: one line of the log")
        or diag(@new);
    @new = grep { $_ !~ $re && !($o{allow} && $_ =~ $o{allow}) } @new;
    is(join('', @new), '', "$name: and no other");
    return $r;
}

# a CLI that dies after its answer

{
    my $s = ClaudeTest->start(@server);
    my $c = bystander($s);
    my $worker = worker_of($s);
    my @history = ({ role => 'user', content => 'one' },
                   { role => 'assistant', content => 'echo: one' });
    is($s->chat('one')->{text}, 'echo: one', 'an answer');
    my $before = fds($worker);
    my ($cli) = map { $_->{pid} } reverse $s->events('asked');
    my $log = () = $s->errors;

    kill 'KILL', $cli;
    wait_for { !grep { $_->{pid} == $cli } @{ $s->status->{processes} } }
        'a CLI is killed after its answer: its row goes';
    is(join('', grep { /\[(?:warn|error|alert|crit)\]/ }
                ($s->errors)[$log .. (() = $s->errors) - 1]), '',
       'which is no failure, so the log has none');
    my $r = $s->chat('two', history => \@history);
    is($r->{text}, 'echo: two', 'and the conversation goes on');
    my ($asked) = reverse $s->events('asked');
    is(scalar @{ $asked->{messages} }, 3, 'with all of it');
    wait_for { fds($worker) <= $before } 'and no descriptor more than before';

    # while the next question is under way to it

    kill 'STOP', $asked->{pid};
    push @history, { role => 'user', content => 'two' },
                   { role => 'assistant', content => 'echo: two' };
    my $next = $s->open_chat('three', history => \@history);
    wait_for { $s->status->{turns}{running} == 2 } undef;
    kill 'KILL', $asked->{pid};
    is($next->rest->{text}, 'echo: three', 'one that dies before the model '
                                           . 'has said anything is replaced');
    goes_on($c, 'all the time');
    $c->close;
    $s->wait_idle('no place stays taken');
    $s->stop;
}

# a CLI that neither goes on, nor obeys, nor ends

{
    my $s = ClaudeTest->start(@server, start => { ignore_term => $true });
    my $c = bystander($s);
    for my $what ([hang => $true], [half_line => $true],
                  [hang_after_deltas => 1])
    {
        my $r = logged($s, $what->[0], qr/see claude_timeout/, sub {
            ask($s, '/soon', 'hi', fake => { deltas => ['a', 'b'], @$what,
                                             deaf => $true });
        });
        my ($cli) = map { $_->{pid} } reverse $s->events('asked');
        is($r->{status}, 504, "$what->[0], and it ignores SIGTERM: 504");
        is($s->status->{turns}{running}, 1, '  its place is free at once');
        wait_for { !alive($cli) } '  and 2 s later it is killed',
                 $gone_within + 1;
        wait_for { !grep { $_->{pid} == $cli } @{ $s->status->{processes} } }
            '  and its row gone';
    }
    goes_on($c, 'all the time');
    $c->close;
    $s->wait_idle;
    $s->stop;
}

# one that never ends its line

{
    my $s = ClaudeTest->start(@server);
    my $worker = worker_of($s);
    $s->chat('hi');                    # first use of everything
    my $c = bystander($s);
    my $before = memory($worker, 'VmRSS');
    my $fds = fds($worker);

    for my $stream (0, 1) {
        my $r = logged($s, 'a gigabyte without a newline', qr/claude_max_line/,
            sub { $s->chat('hi', stream => $stream, fake =>
                           { no_newline_bytes => 1_000_000_000 }) });
        is($r->{error}{code}, 'cli_failed', '  fails its turn');
        my ($cli) = map { $_->{pid} } reverse $s->events('asked');
        wait_for { !alive($cli) } '  and ends the CLI', $gone_within;
    }
    cmp_ok(memory($worker, 'VmHWM') - $before, '<', $max_line * 2 + $spare,
           'the worker never had more than twice claude_max_line of it');
    cmp_ok(memory($worker, 'VmRSS') - $before, '<', $max_line + $spare,
           'and what its allocator keeps does not add up');
    goes_on($c, 'all the time');

    # the same, before the first line and to a client that does not wait

    my $left = $s->open_chat('hi', stream => 1, fake =>
                             { no_newline_bytes => 1_000_000_000 });
    wait_for { $s->status->{turns}{running} == 2 } undef;
    $left->close;
    wait_for { $s->status->{turns}{running} == 1 }
        'a client leaves one: its place is free';
    wait_for { @{ $s->status->{processes} } <= 2 && fds($worker) <= $fds }
        'and nothing of it stays open';
    $c->close;
    $s->wait_idle;
    $s->stop;
}

# a flood on stderr, and all of it at once

{
    my $s = ClaudeTest->start(@server);
    my $worker = worker_of($s);
    my $c = bystander($s);
    my $size = -s "$s->{dir}/logs/error.log";
    my $before = memory($worker, 'VmRSS');
    my @floods = map { $s->open_chat('hi', stream => 1, fake =>
        { stderr_bytes => 5_000_000, text => "after flood $_" }) } 1 .. 4;
    is($floods[$_ - 1]->rest->{text}, "after flood $_", "flood $_ on stderr "
       . 'does not stop its turn') for 1 .. 4;
    cmp_ok((-s "$s->{dir}/logs/error.log") - $size, '<', 200_000,
           'nor fill the log');
    cmp_ok(memory($worker, 'VmHWM') - $before, '<', $spare,
           'nor the memory');
    goes_on($c, 'all the time');
    $c->close;
    $s->wait_idle;
    $s->stop;
}

# no process can be started: the limit of processes of the workers' user

# (root's has none, so the workers are nobody's)

my $reaches = ClaudeTest::nobody_reaches();

SKIP: {
    skip 'nobody cannot start the stand-in where it is', 1 if !$reaches;
    my $s = ClaudeTest->start(nobody => 1, @server);
    my $c = bystander($s);
    my $worker = worker_of($s);
    my $spawner = spawner_of($s);
    like(cmdline($spawner), qr/spawner/, 'the spawner is found');
    my $fds = fds($worker);

    my $was = limit($spawner, 'nproc', 0);
    my $r = logged($s, 'no fork', qr/fork failed \(11: /, sub {
        $s->chat('hi') });
    is($r->{status}, 503, 'the spawner cannot fork: 503');
    is($r->{error}{code}, 'cli_unavailable', '  with its code');
    goes_on($c, 'no fork');
    $r = $s->chat('hi', stream => 1);
    is($r->{status}, 503, '  streamed, too');
    is($s->status->{turns}{running}, 1, '  no place stays taken');
    is(scalar @{ $s->status->{processes} }, 1, '  nor a row');
    wait_for { fds($worker) <= $fds } '  nor a descriptor';
    wait_for { fds($spawner) <= 6 } '  nor one of the spawner\'s';
    limit($spawner, 'nproc', $was);
    is($s->chat('hi')->{text}, 'echo: hi', 'when it can again, all is well');

    $c->close;
    $s->wait_idle;
    $s->stop;
}

SKIP: {
    skip 'nobody cannot start the stand-in where it is', 1 if !$reaches;
    my $s = ClaudeTest->start(nobody => 1, @server);
    my $worker = worker_of($s);
    my $fork_failed = qr/fork\(\) failed|close\(\) channel failed \(9: /; # nginx

    # the look for old transcripts starts one soon after the worker

    my $spawner;
    wait_for { ($spawner) = grep { cmdline($_) =~ /spawner/ }
                            children($worker) } undef;
    my $was = limit($worker, 'nproc', 0);
    kill 'TERM', $spawner;
    wait_for { grep { /spawner process $spawner of this worker ended/ }
               $s->errors } undef;
    sleep 0.3;                          # the next one may come after 100 ms

    my $r = logged($s, 'no spawner', qr/spawner process of this worker cannot/,
                   sub { $s->chat('hi') }, allow =>
                   qr{$fork_failed|spawner failed \(11: });
    is($r->{status}, 503, 'the worker cannot start its spawner: 503');
    is($r->{error}{code}, 'cli_unavailable', '  with its code');
    is($s->status->{turns}{running}, 0, '  no place stays taken');
    limit($worker, 'nproc', $was);
    wait_for { $s->chat('hi')->{text} eq 'echo: hi' }
        'when it can again, all is well';
    $s->stop(allow => $fork_failed);
}

# no descriptors left: in the spawner, and in the worker

{
    my $s = ClaudeTest->start(@server);
    my $c = bystander($s);
    my $worker = worker_of($s);
    my $spawner = spawner_of($s);
    my $fds = fds($worker);

    my $was = limit($spawner, 'nofile', 8);
    my $r = logged($s, 'no pipe', qr/pipe failed \(24: /, sub {
        $s->chat('hi') });
    is($r->{status}, 503, 'the spawner has no descriptors: 503');
    is($r->{error}{code}, 'cli_unavailable', '  with its code');
    goes_on($c, 'no pipe');
    wait_for { fds($worker) <= $fds } '  none stays open';
    limit($spawner, 'nofile', $was);
    is($s->chat('hi')->{text}, 'echo: hi', 'when it has some, all is well');

    kill 'TERM', map { $_->{pid} } grep { $_->{state} eq 'idle' }
                 @{ $s->status->{processes} };
    wait_for { @{ $s->status->{processes} } == 1 } undef;
    my %open = descriptors($worker);
    my ($free, $top) = (0, 0);
    $free += !exists $open{$top++} while $free < 3;

    # room for the client and for two of the four that a CLI needs

    $was = limit($worker, 'nofile', $top);
    $r = logged($s, 'no room', qr/descriptors failed \(24: /, sub {
        $s->chat('hi') });
    is($r->{status}, 503, 'the worker has no descriptors for a CLI: 503');
    is($r->{error}{code}, 'cli_unavailable', '  with its code');
    goes_on($c, 'no room');
    my @left = $s->events('start');
    wait_for { (grep { alive($_->{pid}) } @left) == 1 }
        '  the CLI that was started is gone', $gone_within;
    is($s->status->{turns}{running}, 1, '  no place stays taken');
    limit($worker, 'nofile', $was);
    is($s->chat('hi')->{text}, 'echo: hi', 'when it has some, all is well');

    # not even one for a client: nginx's own message

    # (what is being closed just now may leave it one: then once more)

    my (@waits, $said);
    for (1 .. 20) {
        %open = descriptors($worker);
        ($top) = grep { !exists $open{$_} } 0 .. 10_000;
        limit($worker, 'nofile', $top);
        push @waits, $s->open_chat('waits');
        last if $said = wait_for {
            grep { /accept4?\(\) failed \(24: / } $s->errors
        } undef, 1;
        limit($worker, 'nofile', $was);
    }
    ok($said, 'no descriptor for a client: nginx says so');
    goes_on($c, 'no client');
    limit($worker, 'nofile', $was);
    is($waits[-1]->rest->{text}, 'echo: waits',
       'and it is served when there is');
    $_->rest for @waits[0 .. $#waits - 1];
    $c->close;
    $s->wait_idle;
    $s->stop(allow => qr/accept4?\(\) failed \(24: /);
}

# A CLI that is slow to read, with a wait before and after what has the words.

sub slow {
    my ($name, $before, $after) = @_;
    my $slow = "$ENV{TEST_NGINX_SERVROOT}/$name";
    my $cli = ClaudeTest::root() . '/t/bin/claude';

    open my $out, '>', $slow or die "$slow: $!";
    print $out <<"SLOW";
#!/usr/bin/perl
pipe my \$r, my \$w;
if (fork == 0) {
    open STDIN, '<&', \$r;
    close \$w;
    exec '$cli', \@ARGV;
}
close \$r;
while (sysread STDIN, my \$buf, 4096) {
    select undef, undef, undef, 1 if \$buf =~ /$before/;
    syswrite \$w, \$buf;
    select undef, undef, undef, 1 if \$buf =~ /$after/;
}
close \$w;
wait;
SLOW
    close $out;
    chmod 0755, $slow;
    return $slow;
}

sub tools {
    my ($n, %more) = @_;
    return { tools => [map { { type => 'function', function => {
        name => "look$_", parameters => { type => 'object' }, %more } } }
        1 .. $n] };
}

# It refuses the model before it has read all of the request, of which what it
# has not read would go with it: it gets the rest all the same, and is kept.

{
    my $s = ClaudeTest->start(@server, start => { refuse => ['set_model'] },
        binary => slow('refuses', 'nothing', 'set_model'));
    my $r = $s->chat('hi', with => tools(1, description => 'd' x 1_000_000));
    is($r->{error}{code}, 'overloaded', 'it refuses, and reads no further');
    wait_for { grep { $_->{state} eq 'idle' } @{ $s->status->{processes} } }
             '  it reads the rest, and is kept';
    is($s->status->{turns}{running}, 0, '  no place stays taken');
    $s->stop;
}

# Its client has left, and it has not read the list of the tools that it has
# asked for: the next one has other tools.

{
    my $s = ClaudeTest->start(@server,
        binary => slow('lists', 'set_model', '"tools":\['));
    is($s->chat('hi')->{text}, 'echo: hi', 'a CLI is there');
    my $c = $s->open_chat('hi', with => { model => 'opus', %{ tools(1200) } });
    wait_for { $s->status->{turns}{running} } undef;
    $c->close;
    wait_for { !$s->status->{turns}{running} } 'a client leaves';
    wait_for { !grep { $_->{state} eq 'busy' || $_->{state} eq 'starting' }
                    @{ $s->status->{processes} } }
        '  its process is not busy any more';
    is($s->chat('other', with => tools(1))->{text}, 'echo: other',
       '  the next one has its answer');
    $s->stop;
}

done_testing();
