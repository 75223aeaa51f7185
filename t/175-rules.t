# DESIGN.md's rules that must always hold, one after the other. What a rule
# means in detail is in the suites of its subject; here is what an outsider
# sees of it: the processes themselves, in /proc.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use ClaudeTest;
use Test::More;
use Time::HiRes qw(time sleep);

my $true = JSON::PP::true;
my $slow = $ENV{TEST_SANITIZED} ? 8 : 1;
my $gone_within = patience() / 4;                  # 2 s by the design
my $hang = { deltas => ['first ', 'second'], hang_after_deltas => 1 };
my $secret = 'words-of-a-client';

$ENV{SECRET_OF_NGINX} = 'hunter2';

my $s = ClaudeTest->start(workers => 2, env => 'NAMED=value',
    main => 'worker_priority 5; worker_rlimit_nofile 1000; '
        . 'worker_cpu_affinity 1 1; '
        . 'env SECRET_OF_NGINX;',
    http => 'claude_max_concurrent 20; claude_max_processes 30; '
        . 'claude_warm 1;',
    server => 'location /v1/ { claude_openai; } '
        . 'location /soon/ { claude_openai; claude_timeout 500ms; } '
        . 'location /other/ { claude_openai; claude_args --effort low; } '
        . 'location /any/ { claude_openai; satisfy any; allow all; } '
        . 'location /mirrored { mirror /v1/chat/completions; } '
        . 'location /sub { auth_request /v1/models; }');

sub content {
    my ($file) = @_;
    open my $fh, '<:raw', $file or return '';
    local $/;
    return <$fh> // '';
}

sub stream {
    my ($text, %o) = @_;
    my $c = $s->open_chat($text, stream => 1, fake => $hang, %o);
    $c->until(qr/first/) or die "no stream\n";
    return $c;
}

sub ask {
    my ($fake, $stream) = @_;
    return $s->send(POST => '/soon/chat/completions', body =>
        ClaudeTest::body('hi', fake => $fake, stream => $stream))->rest;
}

# CLIs of two keys at work, one of each key idle, one warm

my @c = (stream("$secret-one", history => [
             { role => 'system', content => "$secret-system" },
             { role => 'user', content => "$secret-past" },
             { role => 'assistant', content => "$secret-answer" } ],
             with => { user => "$secret-user", stop => ["$secret-stop"],
                       metadata => { a => "$secret-metadata" } }),
         stream("$secret-two", key => 'sk-other'));
$s->chat("$secret-idle");
$s->chat('idle of the other', key => 'sk-other');
my @cli = map { $_->{pid} } grep { alive($_->{pid}) } $s->events('start');
cmp_ok(scalar @cli, '>=', 4, 'CLIs at work and idle');
my @workers = $s->workers;

# rule 1

for my $pid (@cli) {
    my $cmdline = cmdline($pid);
    ok(length $cmdline && $cmdline !~ /$secret/,
       'rule 1: no client text in the arguments');
}
{
    my @family;
    for my $pid (@cli) {
        push @family, parent($pid), parent(parent($pid));
    }
    is(join('', grep { /$secret|sk-test|sk-other/ } map { cmdline($_) } @family,
            @workers, $s->{pid}), '', 'rule 1: nor in any other process\'s');
    my $long = 'z' x 140_000;
    is($s->chat("$secret $long", fake => { text => 'long' })->{text}, 'long',
       'rule 1: so none is too long for one');
}

# rule 2: t/100-security.t and t/real/hostile.test.mjs

{
    my @lines = map { json->decode($_->{line}) } $s->events('in');
    my @bare = grep { $_->{type} eq 'user' && !$_->{client_composed} } @lines;
    is(scalar @bare, 0, 'rule 2: client_composed on every client line');
    cmp_ok(scalar(grep { $_->{client_composed} } @lines), '>', 3,
           '  of which there are some');
}

# rule 3

{
    my %listed = map { $_ => 1 } qw(HOME PATH NAMED TMPDIR FAKE_CLAUDE_LOG);
    my %pipes;
    for my $pid (@cli) {
        my %fd = descriptors($pid);
        # perl has the stand-in's own file open
        delete $fd{$_} for grep { $_ > 2 && $fd{$_} =~ m{/t/bin/claude$|/cli/log$} }
                           keys %fd;
        is(join(' ', sort keys %fd), '0 1 2',
           'rule 3: three descriptors and no other') or diag(explain(\%fd));
        is(scalar(grep { !/^pipe:/ } values %fd), 0, '  all of them pipes');
        push @{ $pipes{$_} }, $pid for values %fd;

        my %env = map { /^([^=]*)=(.*)/s } split /\0/,
                  content("/proc/$pid/environ");
        is(join(' ', grep { !$listed{$_} && !/^(?:CLAUDE_CODE|DISABLE|ENABLE
                            |MAX_MCP|CLAUDE)_/x } sort keys %env), '',
           'rule 3: the environment is what is named');
        is($env{NAMED}, 'value', '  all of it');
        is((grep { /hunter2|sk-test|sk-other|$secret/ } %env), 0,
           '  nothing of nginx, of a key or of a client');

        my ($stat) = content("/proc/$pid/stat") =~ /\) (.*)/s;
        is((split ' ', $stat)[16], 0,
           'rule 3: not the priority of the worker') if $> == 0;
        my $status = content("/proc/$pid/status");
        my $mine = content('/proc/self/status');
        my ($cpus) = $status =~ /^Cpus_allowed_list:\s*(\S+)/m;
        my ($all) = $mine =~ /^Cpus_allowed_list:\s*(\S+)/m;
        is($cpus, $all, 'rule 3: nor its affinity');
        my ($blocked) = $status =~ /^SigBlk:\s*(\S+)/m;
        is(hex $blocked, 0, 'rule 3: nor its signal mask');
        my $limits = content("/proc/$pid/limits");
        my ($nofile) = $limits =~ /^Max open files\s+(\S+)/m;
        my $master = content("/proc/$s->{pid}/limits");
      SKIP: {
            # a hard limit that is lowered needs CAP_SYS_RESOURCE to be raised
            my $may = system('sh', '-c', '(ulimit -n 900 && ulimit -n 950) '
                             . '2>/dev/null') == 0;
            skip 'who runs this may not raise a limit', 1 if !$may;
            is($nofile, ($master =~ /^Max open files\s+(\S+)/m)[0],
               'rule 3: nor its limit of open files');
        }
        is(content("/proc/$pid/cgroup"), content("/proc/$s->{pid}/cgroup"),
           '  it stays in nginx\'s cgroup');
        isnt(readlink("/proc/$pid/cwd"), readlink("/proc/$s->{pid}/cwd"),
             '  not in its directory');
    }
    is(join(' ', grep { @{ $pipes{$_} } > 1 } keys %pipes), '',
       'rule 3: no two CLIs have a pipe in common');

    # what stands between has neither sockets of nginx nor its log

    my %between = map { $_ => 1 } map { (parent($_), parent(parent($_))) } @cli;
    for my $pid (keys %between) {
        my %fd = descriptors($pid);
        my @socket = grep { /^socket:/ } values %fd;
        cmp_ok(scalar @socket, '<=', 1, 'rule 3: a spawner has one socket, a '
               . 'keeper none');
        is(join(' ', grep { /\.log$/ } values %fd), '', '  and no log');
    }
}

# rule 5

{
    my $c = stream('leaves');
    my ($asked) = reverse $s->events('asked');
    $c->close;
    wait_for { $s->status->{turns}{running} == 2 } 'rule 5: a client leaves: '
        . 'its turn is over';
    wait_for { !alive($asked->{pid}) || grep { $_->{event} eq 'interrupt'
               && $_->{pid} == $asked->{pid} } $s->events } '  in the CLI, too';

    $c = stream('dies');
    ($asked) = reverse $s->events('asked');
    my ($row) = grep { $_->{pid} == $asked->{pid} } @{ $s->status->{processes} };
    my ($child) = (parent($asked->{pid}), parent(parent($asked->{pid})));
    my %of = map { $_->{pid} => $_->{worker} } @{ $s->status->{processes} };
    my @its = grep { $of{$_} == $row->{worker} } keys %of;
    kill 'KILL', $row->{worker};
    wait_for { !grep { alive($_) } @its } 'rule 5: a worker is killed: its '
        . 'CLIs are gone', $gone_within;
    wait_for { !alive($child) } '  and what kept them', $gone_within;
    $c->close;
}

$_->close for @c;
$s->wait_idle;

# rule 6

{
    my (%key, %profile, $mixed);
    for my $round (1 .. 4) {
        for my $key ('sk-test', 'sk-other') {
            for my $path ('/v1', '/other') {
                my $r = $s->send(POST => "$path/chat/completions", key => $key,
                    body => ClaudeTest::body("of $key at $path"))->rest;
                is($r->{status}, 200, 'rule 6: a turn') if $round == 1;
            }
        }
    }
    for ($s->events('asked')) {
        my $text = json->encode($_->{messages});
        my ($key, $path) = $text =~ /of (sk-\w+) at (\S+?)"/ or next;
        $mixed .= "$key$path in $_->{pid}\n"
            if ($key{ $_->{pid} } //= $key) ne $key
               || ($profile{ $_->{pid} } //= $path) ne $path;
        my $others = $key eq 'sk-test' ? 'sk-other' : 'sk-test';
        $mixed .= "$others in a conversation of $key\n" if $text =~ /$others/;
    }
    is($mixed // '', '', 'rule 6: a process belongs to a key and a profile');
    cmp_ok(scalar keys %key, '>=', 4, '  so these took four at least');

    is($s->get('/any/models', key => 'sk-wrong')->{status}, 401,
       'rule 6: satisfy any lets nobody in without a key');
    my $asked = () = $s->events('asked');
    is($s->get('/sub', key => 'sk-wrong')->{status}, 401,
       'rule 6: nor does a subrequest');
    $s->send(POST => '/mirrored', key => 'sk-wrong',
             body => ClaudeTest::body('mirrored'))->rest;
    is(scalar(() = $s->events('asked')), $asked,
       '  one of mirror reaches no CLI');
}

# rule 7

for my $fake ({ die_before => 1 }, { die_before => 'KILL' }, { hang => $true },
              { no_message_start => $true }, { blank => $true },
              { garbage_after_deltas => 0 }, { prompt_too_long => $true },
              (map { +{ error => { word => 'server_error', status => $_,
                                   text => 'their words' } } }
                   400, 404, 413, 429, 500, 529))
{
    my $what = substr json->encode($fake), 0, 50;
    for my $stream (0, 1) {
        my $r = ask($fake, $stream);
        cmp_ok($r->{status}, '>=', 400, "rule 7: an error is no 200: $what");
        like($r->{error}{type} // '', qr/_error$|insufficient_quota/,
             '  but an error object');
        unlike($r->{body}, qr/"choices"|\[DONE\]/, '  and no answer');
    }
}
for my $fake ({ die_after_deltas => 1 }, { drop_after_deltas => 1 },
              { half_line => $true }, { hang_after_deltas => 1 },
              { garbage_after_deltas => 1 })
{
    my $what = json->encode($fake);
    my $r = ask({ deltas => ['a ', 'b'], gap_ms => 50, %$fake }, 1);
    ok($r->{error} && !$r->{done} && !$r->{cut}, "rule 7: nor an end: $what");
    unlike($r->{body}, qr/"finish_reason":"/, '  nor a finish_reason');
    $r = ask({ deltas => ['a ', 'b'], %$fake }, 0);
    cmp_ok($r->{status}, '>=', 400, '  nor half an answer');
}

$s->wait_idle;
$s->stop(allow => qr/exited on signal 9/);

# rule 4, with CLIs that read nothing at all

{
    $s = ClaudeTest->start(workers => 2, start => { deaf => $true },
        http => 'claude_max_concurrent 3; claude_max_processes 3; '
                . 'claude_warm 0; claude_queue 3;');
    my @hangs = map { $s->open_chat('y' x 5_000_000, stream => 1) } 1 .. 6;
    wait_for { my $t = $s->status->{turns};
               $t->{running} == 3 && $t->{waiting} == 3 }
        'rule 4: large bodies for CLIs that do not read, and a full queue';
    is($s->chat('over')->{status}, 429, '  no table grows');
    my (@t, $bad);
    my @workers = $s->workers;
    for (1 .. 40) {
        my $t = cpu(@workers);
        $bad++ if $s->get('/health')->{status} != 200;
        push @t, cpu(@workers) - $t;
    }
    @t = sort { $a <=> $b } @t;
    ok(!$bad, '  the workers answer others');
    cmp_ok($t[20], '<', 0.1 * $slow, '  at once');
    my @w = $s->workers;
    cmp_ok(memory($_, 'VmRSS'), '<', 100_000 * $slow, '  and stay small')
        for @w;
    $_->close for @hangs;
    $s->wait_idle('  nothing stays taken');
    my @clis = map { $_->{pid} } $s->events('start');
    $s->stop;
    wait_for { !grep { alive($_) } @clis } '  nor runs on', $gone_within;
}

done_testing();
