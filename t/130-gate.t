# The gate: with it a question has one call upstream, and what the CLI is denied
# no client sees.  In each way in which it can be missing turns go on as before,
# and the log says so once, status and health as long as it is so.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use ClaudeTest;
use File::Path ();
use Test::More;

my $true = JSON::PP::true;
my $top = $ENV{TEST_NGINX_SERVROOT} || '/tmp/claude-test-servroot';
my $fifth = qr/claude-gate-[0-9a-f]{16}/;
my %texts = (
    '.claude-plugin/plugin.json' => 'plugin.json',
    'hooks/hooks.json'           => 'hooks.json',
    'hooks/register.mjs'         => 'register.mjs',
);
my $register = 'hooks/register.mjs';


# ---------------------------------------------------------------------------
# What the suite asks
# ---------------------------------------------------------------------------

# No process before it is asked for, and as many at once as are asked for.

sub start {
    my (%o) = @_;
    my $http = delete $o{http} // '';
    my $s = ClaudeTest->start(%o, http => "claude_warm 0; "
                              . "claude_max_concurrent 20; $http");

    # it listens before all is written

    wait_for { $s->workers == ($o{workers} // 2) } undef;
    return $s;
}


sub directories { return glob "$_[0]/claude-gate-*" }

sub gate_of {                          # where it is, of the one nginx
    my ($s) = @_;
    my @found = directories($s->{dir});
    return $found[0];
}


sub content {
    my ($file) = @_;
    open my $fh, '<:raw', $file or return undef;
    local $/;
    return <$fh>;
}


sub put {
    my ($file, $text) = @_;
    open my $fh, '>:raw', $file or die "$file: $!";
    print $fh $text;
    close $fh or die;
}


sub mode { return sprintf '%04o', (stat $_[0])[2] & 07777 }


# Two words: what the one profile has, and what health says of all.

sub gates {
    my ($s) = @_;
    return join ' ', (map { $_->{gate} } @{ $s->status->{profiles} }),
                     $s->get('/health')->{json}{gate};
}


sub said {                             # lines of the log, at a level
    my ($s, $level, $re) = @_;
    return grep { /\[$level\]/ && (!$re || /$re/) } $s->errors;
}


sub processes { return @{ $_[0]->status->{processes} } }

sub pids { return sort map { $_->{pid} } processes($_[0]) }


# No turn, and no process that is still busy with the last one.

sub settled {
    my ($s) = @_;
    $s->wait_idle;
    wait_for { !grep { $_->{state} ne 'idle' } processes($s) } undef;
}


# So that the next turn starts another; their end is not what is tested.

sub end_processes {
    my ($s) = @_;
    settled($s);
    kill 'TERM', $_->{pid} for grep { $_->{pid} } processes($s);
    wait_for { !processes($s) } undef;
}


sub plugin_dir {                       # of the newest CLI
    my ($s) = @_;
    my @argv = @{ ($s->events('start'))[-1]{argv} };
    my ($at) = grep { $argv[$_] eq '--plugin-dir' } 0 .. $#argv;
    return defined $at ? $argv[$at + 1] : undef;
}


sub answers {                          # a plain turn
    my ($s, $name, %o) = @_;
    my $r = $s->chat('hi', %o);

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is("$r->{status} $r->{text}", '200 ' . ($o{text} // 'echo: hi'), $name);
    return $r;
}


sub many {                             # so many turns at once
    my ($s, $n, $name) = @_;
    my $fake = { deltas => ['a ', 'b'], gap_ms => 300 };
    my @c = map { $s->open_chat("turn $_", fake => $fake) } 1 .. $n;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is(join(' ', map { my $r = $_->rest; "$r->{status}:$r->{text}" } @c),
       join(' ', ('200:a b') x $n), $name);
}


# A CLI that is scripted otherwise as often as arm() was called.

sub one_of_them {
    my ($name, $script) = @_;
    my ($dir, $cli) = ("$top/$name", root() . '/t/bin/claude');
    my $fake = json->encode($script);

    File::Path::make_path($dir);
    put("$dir/claude", <<"END");
#!/bin/sh
if rmdir "$dir/armed" 2>/dev/null; then
    FAKE_CLAUDE='$fake'
    export FAKE_CLAUDE
fi
exec "$cli" "\$@"
END
    chmod 0755, "$dir/claude";
    return ("$dir/claude", sub { mkdir "$dir/armed" or die "armed: $!" });
}


# ---------------------------------------------------------------------------
# It works
# ---------------------------------------------------------------------------

{
    my ($code, $out, $dir) = ClaudeTest->try();
    is($code, 0, 'nginx -t');
    is_deeply([directories($dir)], [], '  writes nothing');
}

{
    my $s = start();
    my $gate = gate_of($s);

    like($gate // '', qr{^\Q$s->{dir}\E/$fifth\z}, 'it is beside the pid file');
    is_deeply([map { content("$gate/$_") } sort keys %texts],
              [map { content(root() . "/src/spawner/gate/$texts{$_}") }
               sort keys %texts], '  as it is in the source');
    is(join(' ', map { mode($_) } $gate, "$gate/.claude-plugin",
            "$gate/hooks"), '0755 0755 0755', '  all may read it');
    is(join(' ', map { mode("$gate/$_") } sort keys %texts),
       '0644 0644 0644', '  and its files');
    is_deeply([grep { (stat)[4] != $> } $gate, map { "$gate/$_" } keys %texts],
              [], '  they are the master\'s');
    is_deeply([sort map { s{^\Q$gate\E/}{}r } glob "$gate/{.c*,*}/*"],
              [sort keys %texts], '  nothing else is there');

    is(gates($s), 'unknown unknown', 'before the first turn nobody knows');
    like($s->status->{profiles}[0]{gate_words}, qr/no CLI has shown it/,
         '  status has words for it');
    is(json->encode($s->status->{profiles}[0]{agent}), 'false',
       '  and says that it is no agent');

    answers($s, 'a turn');
    is(plugin_dir($s), $gate, '  its CLI has the directory');
    is(gates($s), 'works works', '  status and health say that it works');
    many($s, 5, 'turns of several processes and workers');
    is(scalar(said($s, 'info', qr/the gate of .* works/)), 1,
       '  the log says it once');
    is(scalar(said($s, '(?:warn|error)', qr/gate/)), 0,
       '  and nothing else of it');
    is(scalar(grep { $_->{passed} } $s->events('call')), 0,
       '  no call has gone past it');
    is(scalar($s->events('call')), 6, '  there was one for each question');
    $s->stop;
}

# with the benches' stand-in

SKIP: {
    skip 'no C compiler', 4
        if !grep { system("command -v $_ >/dev/null 2>&1") == 0 } qw(cc gcc);

    my $cli = ClaudeTest::compile("$top/cli",
                                  content(root() . '/bench/cli.c'));
    my $s = start(binary => $cli);
    is($s->chat('hi [[bench n=2 stamp=0 pad=1]]')->{text}, 'xx',
       'bench/cli.c: a turn');
    is(gates($s), 'works works', '  it has the gate');
    $s->stop;
}

# whatever the umask

{
    my $s = start();
    $s->stop;
    File::Path::remove_tree(gate_of($s));
    my $umask = umask 077;
    $s->run;
    umask $umask;
    wait_for { $s->workers == 2 } undef;
    my $gate = gate_of($s);
    is(join(' ', map { mode($_) } $gate, "$gate/hooks", "$gate/$register"),
       '0755 0755 0644', 'the umask takes nothing from the modes');
    answers($s, '  a turn');
    is(gates($s), 'works works', '  it works');
    $s->stop;
}

SKIP: {
    skip 'nobody cannot start the stand-in', 2
        if $> != 0 || !ClaudeTest::nobody_reaches();

    my $s = start(nobody => 1);
    answers($s, 'workers that are nobody\'s: a turn');
    is(gates($s), 'works works', '  it works');
    $s->stop;
}

# an nginx that is no root's

SKIP: {
    skip 'nobody cannot start the stand-in', 5
        if $> != 0 || !ClaudeTest::nobody_reaches();

    my $s = start();
    $s->stop;
    my $nginx = "$top/nginx";
    put($nginx, "#!/bin/sh\nexec setpriv --reuid=nobody --regid="
                . (getpwnam 'nobody')[3] . ' --clear-groups '
                . ClaudeTest::binary() . " \"\$\@\"\n");
    chmod 0755, $nginx;
    File::Path::remove_tree(gate_of($s));
    system('chown', '-R', 'nobody', $s->{dir}) == 0 or die "chown\n";

    local $ENV{TEST_NGINX_BINARY} = $nginx;
    $s->run;
    wait_for { $s->workers == 2 } undef;
    answers($s, 'an nginx that is nobody\'s: a turn');
    is((stat gate_of($s))[4], scalar getpwnam 'nobody', '  owns what it wrote');
    is(gates($s), 'works works', '  it works');
    $s->stop;
}


# ---------------------------------------------------------------------------
# What the CLI is denied
# ---------------------------------------------------------------------------

my %ends = (
    'max_tokens' => [{ text => 'half', stop_reason => 'max_tokens' },
                     '200 half', 'length'],
    'a full context window' => [{ text => 'half',
                     stop_reason => 'model_context_window_exceeded' },
                     '200 half', 'length'],
    'an empty answer' => [{ empty => $true }, '200 ', 'stop'],
    'an unknown tool' => [{ text => 'so', tool_use => [{ id => 'toolu_1',
                            name => 'nope', input => {} }], forever => $true },
                     '200 so', 'stop'],
    'an unknown tool alone' => [{ text => '', tool_use => [{ id => 'toolu_1',
                            name => 'nope', input => {} }], forever => $true },
                     '502 ', 'cli_failed'],
    'a refusal' => [{ text => 'no', stop_reason => 'refusal', stop_details => {
                      type => 'refusal', category => 'cyber',
                      explanation => 'No.' } }, '200 no', 'content_filter'],
    'a broken stream' => [{ deltas => ['a ', 'b'], drop_after_deltas => 1 },
                     '503 ', 'overloaded'],
    'a stream that breaks before its begin' => [{ drop_before => $true },
                     '503 ', 'overloaded'],
);

{
    my $s = start(workers => 1);
    answers($s, 'a process');
    settled($s);
    my ($pid) = pids($s);

    # with the interrupt first, and with the denial

    for my $end (map { ([$_, 'denied', 0], [$_, 'interrupted', 2000]) }
                     sort keys %ends)
    {
        my ($name, $how, $ms) = @$end;
        my ($fake, $want, $word) = @{ $ends{$name} };
        my $calls = () = $s->events('call');
        my $r = $s->chat('hi', fake => { %$fake, again_ms => $ms });
        my $is = $r->{json}{choices} ? $r->{json}{choices}[0]{finish_reason}
                                     : $r->{error}{code};

        is("$r->{status} " . ($r->{text} // ''), $want, "$name, $how");
        is($is, $word, "  $word");
        unlike($r->{body}, qr/hook|mod's|its call|logged/, '  no word of the gate');

        settled($s);
        is(scalar($s->events('call')) - $calls, 1, '  one call upstream');
        my $next = $s->chat('and', history => [
            { role => 'user', content => 'hi' },
            { role => 'assistant', content => $r->{text} || 'nothing' } ]);
        is("$next->{status} $next->{text}", '200 echo: and',
           '  the conversation goes on');
        settled($s);
        is(join(' ', pids($s)), $pid, '  in the same process');
        is_deeply([map { $_->{content} =~ /^(\w+)/ ? $1 : ref $_->{content} }
                   @{ ($s->events('asked'))[-1]{messages} }],
                  ['hi', 'ARRAY', 'and'], '  with the client\'s messages alone')
            or diag(explain(($s->events('asked'))[-1]{messages}));
    }
    is(gates($s), 'works works', 'it works all the time');
    is_deeply([said($s, 'error', qr/gate/)], [], '  and the log is silent');
    $s->stop;
}

# a denied call is no missing login, which would be remembered

{
    my $s = start();
    my $r = $s->chat('hi', fake => { drop_before => $true });
    is("$r->{status} $r->{error}{code}", '503 overloaded',
       'the first turn of all, denied: no missing login');
    is($s->chat('hi')->{status}, 200, '  nor for the next one');
    $r = $s->chat('hi', fake => { not_logged_in => $true });
    is($r->{error}{code}, 'cli_not_logged_in', 'a missing login is one');
    $s->stop;
}

# calls of the client's tools beside one that it has not, or that are cut off

my $get = { tools => [{ type => 'function', function => { name => 'get',
            parameters => { type => 'object' } } }] };

for my $case (
    ['beside an unknown tool', 'tool_calls', { tool_use => [map { { id =>
        "toolu_$_", name => $_, input => {} } } qw(get nope)],
        then => { text => 'its own' } }],
    ['at max_tokens', 'length', { tool_use => [{ id => 'toolu_get',
        name => 'get', input => '{"a":' }], stop_reason => 'max_tokens',
        then => { text => 'its own' } }])
{
    my ($name, $reason, $fake) = @$case;
    my $s = start(workers => 1);
    answers($s, "a call of the client's tool $name: a process");
    settled($s);
    my ($pid) = pids($s);
    my $r = $s->chat('hi', fake => $fake, with => $get);
    is($r->{status}, 200, '  an answer') or diag($r->{body});
    my $choice = $r->{json}{choices}[0];
    is($choice->{finish_reason}, $reason, "  $reason");
    is(join(' ', map { $_->{function}{name} }
            @{ $choice->{message}{tool_calls} || [] }) =~ s/^get$//r, '',
       '  with no call of another tool');
    settled($s);
    is(scalar($s->events('call')), 2, '  one call upstream');
    is(scalar($s->events('tool')), 0, '  and no result for the CLI');
    my @results = map { { role => 'tool', content => '9',
                          tool_call_id => $_->{id} } }
                  @{ $choice->{message}{tool_calls} || [] };
    $r = $s->chat('and', history => [{ role => 'user', content => 'hi' },
                  $choice->{message}, @results], with => $get)
        if @results;
    is("$r->{status} " . ($r->{text} // '') =~ s/.*echo: .*/echo/sr, '200 echo',
       '  the results go on') if @results;
    settled($s);
    is(join(' ', pids($s)), $pid, '  in the same process');
    is(scalar(grep { $_->{passed} } $s->events('call')), 0, '  by the gate');
    $s->stop;
}

# streamed

{
    my $s = start();
    my $r = $s->chat('hi', stream => 1, fake => { text => 'half',
                     stop_reason => 'max_tokens' });
    is("$r->{text} $r->{done}", 'half 1', 'max_tokens, streamed');
    like($r->{body}, qr/"finish_reason":"length"/, '  length');
    unlike($r->{body}, qr/hook|"error"/, '  and no word of the gate');
    $r = $s->chat('hi', stream => 1, fake => { drop_before => $true });
    is("$r->{status} $r->{error}{code}", '503 overloaded',
       'a stream that has not begun is an error with a status');
    $s->stop;
}

# a name that is no alias costs nothing, and fails at the question

{
    my $s = start();
    my $r = $s->chat('hi', with => { model => 'claude-nonsense-9' });
    is("$r->{status} $r->{error}{code}", '404 model_not_found',
       'an unknown model');
    is(scalar($s->events('validate')), 0, '  no call to look for it');
    answers($s, '  the next turn', with => { model => 'claude-sonnet-5-5' });
    is(scalar($s->events('validate')), 0, '  nor for a known one');
    $s->stop;
}


# ---------------------------------------------------------------------------
# Files that are not as they were written
# ---------------------------------------------------------------------------

my %broken = (
    'its directory is gone' => sub { File::Path::remove_tree($_[0]) },
    'a file is gone' => sub { unlink "$_[0]/$register" },
    'a byte is another' => sub {
        put("$_[0]/$register", content("$_[0]/$register") =~ s/gate 1/gate 2/r)
    },
    'a byte is too many' => sub {
        put("$_[0]/$register", content("$_[0]/$register") . ' ')
    },
    'a byte is missing' => sub {
        put("$_[0]/$register", content("$_[0]/$register") =~ s/.\z//sr)
    },
    'hooks.json is another' => sub { put("$_[0]/hooks/hooks.json", '{}') },
    'others may write a file' => sub { chmod 0666, "$_[0]/$register" },
    'a link is in its place' => sub {
        rename "$_[0]/$register", "$_[0]/other" or die;
        symlink "$_[0]/other", "$_[0]/$register" or die;
    },
    $> == 0 ? ('another owns a file' => sub {
        chown((getpwnam 'nobody')[2, 3], "$_[0]/$register");
    }) : (),
);

sub reload {                           # with workers of the new one alone
    my ($s) = @_;
    my @old = $s->workers;
    $s->signal('HUP');
    wait_for {
        my %is = map { $_ => 1 } $s->workers;
        keys %is == @old && !grep { $is{$_} } @old
    } undef;
    end_processes($s);
}

{
    my $s = start();
    my $gate = gate_of($s);
    my $errors = 0;

    for my $way (sort keys %broken) {
        answers($s, "before $way");
        is(gates($s), 'works works', '  it works');

        $broken{$way}->($gate);
        end_processes($s);

        answers($s, "$way: a turn");
        is(plugin_dir($s), undef, '  whose CLI does not get the directory');
        is(gates($s), 'files files', '  status and health say why');
        many($s, 4, '  more of them');
        is(scalar(said($s, 'error')), ++$errors, '  the log has one line');
        like((said($s, 'error'))[-1] // '', 
             qr/runs without the gate.*its files are missing.*\Q$gate\E"/,
             '  that says it');

        reload($s);
        is(content("$gate/$register"),
           content(root() . '/src/spawner/gate/register.mjs'),
           '  a reload writes them again');
        is(mode("$gate/$register"), '0644', '  with their mode');
        is((lstat "$gate/$register")[4], $>, '  and owner');
    }
    answers($s, 'in the end');
    is(gates($s), 'works works', '  it works');
    is(scalar(said($s, 'error')), $errors, '  and no line came by itself');
    $s->stop;
}

# while a process lives that has it

{
    my $s = start(workers => 1);
    my @hi = (history => [{ role => 'user', content => 'hi' },
                          { role => 'assistant', content => 'echo: hi' }]);
    my $hang = { deltas => ['a ', 'b'], hang_after_deltas => 1 };
    answers($s, 'a process has it');
    settled($s);
    my ($pid) = pids($s);
    File::Path::remove_tree(gate_of($s));

    for my $round (1, 2) {
        my $busy = $s->open_chat('long', fake => $hang, stream => 1, @hi);
        ok($busy->until(qr/"a /), '  it is busy');
        answers($s, '  another one has not');
        is(gates($s), 'files files', '  as is said');
        $busy->close;
        settled($s);
        my @other = grep { $_ != $pid } pids($s);
        is(scalar(@other), 1, '  both are there');
        answers($s, '  the one that has it goes on', @hi);
        is(($s->events('asked'))[-1]{pid}, $pid, '  by itself');
        is(gates($s), 'files files', '  which does not make the others well');
        settled($s);
        kill 'TERM', @other;
        wait_for { processes($s) == 1 } undef;
    }
    is(scalar(said($s, 'error')), 1, '  the log has one line');
    $s->stop;
}

# what the workers' user could have written, as an agent may

SKIP: {
    skip 'nobody cannot start the stand-in', 4
        if $> != 0 || !ClaudeTest::nobody_reaches();

    my $at = "$top/sticky";
    File::Path::make_path($at);
    chmod 01777, $at;
    my $s = start(nobody => 1, http => "claude_gate_path $at;");
    my ($gate) = directories($at);
    answers($s, 'in a directory that all may write to, with a sticky bit');
    is(gates($s), 'works works', '  it works');
    $s->stop;

    chown((getpwnam 'nobody')[2, 3], $gate, "$gate/.claude-plugin",
          "$gate/hooks", map { "$gate/$_" } keys %texts);
    $s = start(nobody => 1, http => "claude_gate_path $at;");
    answers($s, 'the workers\' user was there first: a turn');
    is(scalar(said($s, 'warn', qr/cannot be made/)), 1, '  a warning');
    is(plugin_dir($s), undef, '  whose CLI does not get what it wrote');
    $s->stop;
}

SKIP: {
    skip 'nobody cannot start the stand-in', 3
        if $> != 0 || !ClaudeTest::nobody_reaches();

    my $s = start(nobody => 1);
    chmod 0600, gate_of($s) . "/$register";
    answers($s, 'a file is not readable for the workers\' user: a turn');
    is(gates($s), 'files files', '  status and health say it');
    like((said($s, 'error'))[0] // '', qr/without the gate.*13: Permission/,
         '  and the log');
    $s->stop;
}


# ---------------------------------------------------------------------------
# CLIs that do not have it
# ---------------------------------------------------------------------------

my $fails = { text => 'half', stop_reason => 'max_tokens', again_ms => 2000 };

for my $case (
    ['2.1.320', 'version', { start => { version => '2.1.320' } },
     qr/too old for it, 2\.1\.328/],
    ['2.1.299', 'version', { start => { version => '2.1.299' } },
     qr/too old for it/],
    ['a CLI that does not load it', 'silent', { start => { gate => 'silent' } },
     qr/did not load it: see claude_args/],
    ['claude_args --bare', 'silent', undef, qr/did not load it/,
     'claude_args --bare;'],
    ['claude_args --safe-mode', 'silent', undef, qr/did not load it/,
     'claude_args --safe-mode;'],
    ['a CLI that asks without it', 'passed', { start => { gate => 'passed' } },
     qr/managed settings/])
{
    my ($name, $state, $script, $words, $http) = @$case;
    my $s = start(http => $http // '', $script ? %$script : ());

    answers($s, "$name: a turn");
    is(gates($s), "$state $state", '  status and health say why');
    like($s->status->{profiles}[0]{gate_words}, $words, '  in words');
    many($s, 6, '  turns of all workers and processes');
    is(gates($s), "$state $state", '  it stays so');
    is(scalar(said($s, 'error')), 1, '  the log has one line');
    like((said($s, 'error'))[0] // '', $words, '  with those words');

    my $calls = () = $s->events('asked');
    my $r = $s->chat('hi', fake => $fails);
    is("$r->{status} $r->{text}", '200 half', '  max_tokens');
    $s->wait_idle;
    is(scalar($s->events('asked')) - $calls, 1,
       '  after which the CLI is interrupted');
    is(scalar(said($s, 'error')), 1, '  and that is no news');
    $s->stop;
}

# the same of one that others have: at its start

for my $n (1, 2) {
    my ($cli, $arm) = one_of_them("start$n", { start => { gate => 'silent' } });
    my $s = start(binary => $cli, workers => $n);

    answers($s, "of $n workers one has it");
    end_processes($s);
    $arm->();
    my $r = answers($s, '  the next process has it not: a plain answer');
    is($s->status->{replaced}, 1, '  of another process');
    my @started = $s->events('start');
    is(scalar(@started), 3, '  which was started for that');
    wait_for { !alive($started[1]{pid}) } '  the one without is ended';
    is(join(' ', map { $_->{state} } $s->events('gate')),
       'works silent works', '  as they were');
    is(gates($s), 'works works', '  it works, say status and health');
    is(scalar(said($s, 'error')), 1, '  the log has one line');
    like((said($s, 'error'))[0] // '', 
         qr/process $started[1]{pid} is without the gate.*did not load it/,
         '  that says it');
    many($s, 4, '  turns go on');
    is(scalar(said($s, 'error')), 1, '  with no other line');
    $s->stop;
}

# a warm one, which no turn waits for

{
    my ($cli, $arm) = one_of_them('warm', { start => { gate => 'silent' } });
    my $s = ClaudeTest->start(binary => $cli, workers => 1,
                              http => 'claude_warm 1;');
    my $gates = sub { join ' ', map { $_->{state} } $s->events('gate') };

    wait_for { $gates->() eq 'works' } 'a warm process has it';
    answers($s, '  a turn');
    settled($s);
    my $known = () = $s->events('gate');
    $arm->();
    kill 'TERM', pids($s);
    wait_for { ($gates->() =~ tr/ // ) + 1 > $known } '  another is started';
    like($gates->(), qr/silent/, '  without');
    wait_for { scalar said($s, 'error', qr/that others of its kind have/) }
        '  as the log says';
    my ($lost) = map { $_->{pid} } grep { $_->{state} eq 'silent' }
                                   $s->events('gate');
    wait_for { !alive($lost) } '  it is ended';
    answers($s, '  a turn goes on');
    is(gates($s), 'works works', '  it works');
    $s->stop;
}

# one of a session, that has to be resumed

{
    my ($cli, $arm) = one_of_them('resumed', { start => { gate => 'silent' } });
    my $s = start(binary => $cli);
    my %session = (headers => ['X-Session-Id: gate-1']);

    answers($s, 'a session', %session);
    end_processes($s);
    $arm->();
    answers($s, '  is resumed by a process without: a plain answer', %session,
            history => [{ role => 'user', content => 'hi' },
                        { role => 'assistant', content => 'echo: hi' }]);
    is(join(' ', map { $_->{state} } $s->events('gate')),
       'works silent works', '  of another');
    is(gates($s), 'works works', '  it works');
    $s->stop;
}

# None that is started has it, as after an update of the CLI, while those of
# before go on: their calls show the gate again and again.

{
    my $file = "$top/slow.json";
    my $s = start(workers => 1, env => "FAKE_CLAUDE_FILE=$file");
    my $fake = { deltas => ['a ', 'b'], gap_ms => 100 };
    my @ask = map { ["turn $_", fake => $fake] } 1 .. 4;
    my @busy = map { $s->open_chat(@$_) } @ask;
    my $r;

    ok($_->until(qr/"a b"/), 'some have it, and go on') for @busy;
    put($file, '{"start":{"gate":"silent","delay_ms":300}}');
    @busy = map { $s->open_chat(@$_) } @ask;
    my $turn = $s->open_chat('other');

    for (1 .. 2000) {
        last if defined $turn->read(0.005);
        for my $i (0 .. $#busy) {
            next if !defined $busy[$i]->read(0);
            $busy[$i]->rest;
            $busy[$i] = $s->open_chat(@{ $ask[$i] });
        }
    }
    $r = $turn->rest;
    is("$r->{status} $r->{text}", '200 echo: other',
       '  those that start have it not: a plain answer')
        or diag($r->{body}, said($s, 'error'));
    $_->rest for @busy;
    $s->wait_idle;
    unlink $file;
    $s->stop;
}

# all that are started from now on

{
    my $s = start(env => "FAKE_CLAUDE_FILE=$top/silent.json");
    answers($s, 'one has it');
    end_processes($s);
    put("$top/silent.json", '{"start":{"gate":"silent"}}');
    answers($s, '  none has it from now on: a plain answer');
    is(gates($s), 'silent silent', '  status and health say it');
    many($s, 5, '  turns go on');
    is(scalar(said($s, 'error')), 2, '  one is ended, and the log says that '
       . 'and that it is so') or diag(said($s, 'error'));
    unlink "$top/silent.json";
    end_processes($s);
    answers($s, '  until they have it again');
    is(gates($s), 'works works', '  as status and health say');
    $s->stop;
}

# at a call

for my $how ({ text => 'fine' }, $fails) {
    my $s = start(workers => 1);
    my ($name) = $how->{stop_reason} // 'end_turn';
    answers($s, "$name: one has it");
    settled($s);
    my ($pid) = pids($s);
    my $calls = () = $s->events('asked');
    my $r = $s->chat('hi', fake => { %$how, gate => 'passed' });
    is("$r->{status} $r->{text}", "200 $how->{text}",
       '  a call goes past it: the turn goes on');
    wait_for { !alive($pid) } '  then its process is ended';
    is(scalar($s->events('asked')) - $calls, 1, '  after one call');
    is(scalar(said($s, 'error')), 1, '  the log has one line');
    like((said($s, 'error'))[0] // '', 
         qr/process $pid is without the gate.*a call went past it/,
         '  that says it');
    answers($s, '  the next turn');
    is(gates($s), 'works works', '  of a process that has it');
    $s->stop;
}

# A call that goes past it before anything is refused for what the provider
# says, and not for what the gate would have added: one process asks.

for my $case (['without the gate', 'off', http => 'claude_gate_path off;'],
              ['past it', 'passed', start => { gate => 'passed' }])
{
    my ($name, $state, @o) = @$case;
    my $s = start(workers => 1, @o);
    my $r = $s->chat('hi', fake => { error => { status => 429 } });

    is($r->{status}, 429, "$name: the first call is refused, 429");
    is(gates($s), "$state $state", '  status and health say it');
    $r = $s->chat('hi', fake => { error => { status => 400 } });
    is($r->{status}, 400, '  the second one, 400');
    $s->wait_idle;
    is(scalar($s->events('asked')), 2, '  each is asked in one process');
    is($s->status->{replaced}, 0, '  and in no other one');
    $s->stop;
}

# it is known once there is a call, whatever becomes of that

for my $fake ({ error => { status => 529 } }, { error => { status => 400 } },
              { drop_before => $true })
{
    my $s = start();
    my $r = $s->chat('hi', fake => $fake);
    my ($name) = map { $_->{status} // 'a break' } $fake->{error} // {};

    cmp_ok($r->{status}, '>=', 400, "the first question is refused: $name");
    is(gates($s), 'works works', '  and the gate works');
    is(scalar(said($s, 'info', qr/the gate of .* works/)), 1, '  says the log');
    $s->stop;
}


# ---------------------------------------------------------------------------
# CLIs whose gate lets no question through
# ---------------------------------------------------------------------------

my $shut = qr/runs without the gate.*it let no question through/;

sub gated {                            # of those that were started, in order
    my ($s) = @_;
    return join ' ', map { (grep { $_ eq '--plugin-dir' } @{ $_->{argv} })
                           ? 'with' : 'without' } $s->events('start');
}

# of all

{
    my $file = "$top/shut.json";
    put($file, '{"start":{"gate":"shut"}}');
    my $s = start(env => "FAKE_CLAUDE_FILE=$file");

    answers($s, 'a gate that lets no question through: a turn');
    is(gated($s), 'with without', '  of a process without');
    is($s->status->{replaced}, 1, '  in place of the one with it');
    is(gates($s), 'shut shut', '  status and health say it');
    like($s->status->{profiles}[0]{gate_words}, qr/until nginx is reloaded/,
         '  and for how long');
    is(scalar(said($s, 'error')), 1, '  the log has one line')
        or diag(said($s, 'error'));
    like((said($s, 'error'))[0] // '', $shut, '  that says it');
    my ($lost) = map { $_->{pid} } $s->events('start');
    wait_for { !alive($lost) } '  the process with it is ended';

    end_processes($s);
    answers($s, '  the next turn');
    is(gated($s), 'with without without', '  of a process without, at once');
    many($s, 6, '  turns of all workers and processes');
    unlike(gated($s), qr/without with\b/, '  have none with it');
    is($s->status->{replaced}, 1, '  none had to be replaced');
    is(gates($s), 'shut shut', '  it stays so');
    my $r = $s->chat('hi', fake => $fails);
    is("$r->{status} $r->{text}", '200 half', '  max_tokens');
    is(scalar(said($s, 'error')), 1, '  the log has no other line');

    reload($s);
    is(gates($s), 'unknown unknown', '  after a reload it is open');
    my $known = () = $s->events('start');
    answers($s, '  a turn');
    is((split / /, gated($s))[$known] // '', 'with', '  is tried with it again');
    is(gates($s), 'shut shut', '  in vain');
    is(scalar(said($s, 'error')), 2, '  as the log says');

    put($file, '{}');
    reload($s);
    $known = () = $s->events('start');
    answers($s, '  after another reload the CLI lets it through');
    is(gates($s), 'works works', '  it works');
    is(scalar($s->events('start')) - $known, 1, '  at the first try');
    is(scalar(said($s, 'error')), 2, '  and the log has no other line');
    $s->stop;
}

# warm ones, whether they have said yet that they have it or not

for my $ms (0, 500) {
    my $s = ClaudeTest->start(workers => 1, http => 'claude_warm 1; '
                              . 'claude_max_concurrent 4;',
                              start => { gate => 'shut', delay_ms => $ms });

    wait_for { grep { $_->{state} eq 'idle' } processes($s) }
        "a warm process that has it, $ms ms after its start" ;
    is(gates($s), 'unknown unknown', '  nobody knows yet');
    answers($s, '  a turn');
    is(gates($s), 'shut shut', '  status and health say why');
    answers($s, '  more') for 1 .. 3;
    like((said($s, 'error'))[0] // '', $shut, '  the log says it');
    is(scalar(said($s, 'error')), 1, '  once') or diag(said($s, 'error'));
    settled($s);
    my $known = () = $s->events('start');
    kill 'TERM', pids($s);
    wait_for { $s->events('start') > $known } '  another warm one';
    is((split / /, gated($s))[-1], 'without', '  is without');
    $s->stop;
}

# one, where others let questions through: at its first

for my $n (1, 2) {
    my ($cli, $arm) = one_of_them("shut$n", { start => { gate => 'shut' } });
    my $s = start(binary => $cli, workers => $n);

    answers($s, "of $n workers one has it");
    end_processes($s);
    $arm->();
    answers($s, '  the next process lets nothing through: a plain answer');
    is($s->status->{replaced}, 1, '  of another process');
    is(gated($s), 'with with with', '  with the gate');
    my @started = $s->events('start');
    wait_for { !alive($started[1]{pid}) } '  the one is ended';
    is(gates($s), 'works works', '  it works, say status and health');
    is(scalar(said($s, 'error')), 1, '  the log has one line');
    like((said($s, 'error'))[0] // '',
         qr/process $started[1]{pid} is without.*let no question through/,
         '  that says it');
    many($s, 4, '  turns go on');
    is(scalar(said($s, 'error')), 1, '  with no other line');
    $s->stop;
}

# at a later question, at results

{
    my $s = start(workers => 1, env => "'FAKE_CLAUDE="
                  . json->encode({ turns => [{}, { gate => 'shut' }] }) . "'");
    answers($s, 'one has let a question through');
    settled($s);
    my ($pid) = pids($s);
    answers($s, '  and lets no other one through: a plain answer',
            history => [{ role => 'user', content => 'hi' },
                        { role => 'assistant', content => 'echo: hi' }]);
    wait_for { !alive($pid) } '  its process is ended';
    is($s->status->{replaced}, 1, '  another one answers');
    is(gated($s), 'with with', '  with the gate');
    is(gates($s), 'works works', '  it works');
    is(scalar(said($s, 'error')), 1, '  the log has one line');
    $s->stop;
}

{
    my $s = start(workers => 1);
    my $said = 'call [[fake ' . json->encode({ text => 'so',
               tool_use => [{ id => 'toolu_1', name => 'get', input => {} }],
               then => { gate => 'shut' } }) . ']]';
    my $r = $s->chat($said, with => $get);
    my $choice = $r->{json}{choices}[0];

    is($choice->{finish_reason}, 'tool_calls', 'a call of a tool');
    my ($pid) = pids($s);
    $r = $s->chat('', body => json->encode({ model => 'sonnet', %$get,
        messages => [{ role => 'user', content => $said }, $choice->{message},
                     { role => 'tool', content => '9',
                       tool_call_id => 'toolu_1' }] }));
    is($r->{status}, 200, '  whose result is not let through: an answer')
        or diag($r->{body});
    wait_for { !alive($pid) } '  its process is ended';
    is($s->status->{replaced}, 1, '  another one answers');
    is(gated($s), 'with with', '  with the gate');
    is_deeply([map { $_->{role} } @{ ($s->events('asked'))[-1]{messages} }],
              [qw(user assistant user)], '  the whole history');
    is(gates($s), 'works works', '  it works');
    is(scalar(said($s, 'error')), 1, '  the log has one line');
    like((said($s, 'error'))[0] // '',
         qr/the gate of process $pid let calls through, and this one not/, '  that says it');
    $s->stop;
}


# ---------------------------------------------------------------------------
# Configuration
# ---------------------------------------------------------------------------

{
    my $s = start(http => 'claude_gate_path off;');
    answers($s, 'claude_gate_path off: a turn');
    is(plugin_dir($s), undef, '  its CLI is told nothing of it');
    is(gates($s), 'off off', '  status and health say off');
    is_deeply([directories($s->{dir})], [], '  nothing is written');
    is_deeply([said($s, '(?:warn|error)')], [], '  the log is silent');
    $s->stop;
}

{
    my $s = start(server => 'location /v1/ { claude_openai; claude_tools Read; '
                            . '}');
    answers($s, 'an agent: a turn');
    is(plugin_dir($s), undef, '  its CLI has no gate');
    is(gates($s), 'off off', '  status and health say off');
    is(json->encode($s->status->{profiles}[0]{agent}), 'true',
       '  and that it is an agent');
    is_deeply([said($s, '(?:warn|error)')], [], '  the log is silent');
    $s->stop;
}

{
    my $s = start(server => 'location /v1/ { claude_openai; } '
                            . 'location /a/ { claude_openai; claude_tools Read; '
                            . '} location /old/ { claude_openai; claude_env '
                            . "'FAKE_CLAUDE="
                            . json->encode({ start => { version => '2.1.320' } })
                            . "'; }");
    my %state;
    my $path = sub { $s->send(POST => "$_[0]/chat/completions",
                              body => ClaudeTest::body('hi'))->rest->{status} };

    is(join(' ', map { $path->($_) } '/v1', '/a'), '200 200',
       'a chat and an agent');
    $state{ $_->{gate} }++ for @{ $s->status->{profiles} };
    is_deeply(\%state, { works => 1, off => 1, unknown => 1 },
              '  each profile has its own');
    is($s->get('/health')->{json}{gate}, 'unknown',
       '  health has the one that is farthest from working');
    is($path->('/old'), 200, 'and a CLI that is too old');
    is($s->get('/health')->{json}{gate}, 'version', '  as health says');
    answers($s, '  beside one that has it');
    is(join(' ', sort map { $_->{gate} } @{ $s->status->{profiles} }),
       'off version works', '  which status says');
    $s->stop;
}

# the operator's effort is that of questions that name none

for my $case (['', 'medium'], ['CLAUDE_CODE_EFFORT_LEVEL=', 'medium'],
              ['CLAUDE_CODE_EFFORT_LEVEL=high', 'high'])
{
    my ($env, $effort) = @$case;

    for my $off (0, 1) {
        my $s = start(env => $env,
                      http => $off ? 'claude_gate_path off;' : '');
        my $asked = sub {
            my $e = ($s->events('asked'))[-1];
            return join ' ', $e->{effort},
                   ($e->{extra_body} || {})->{output_config}{effort} // '-',
                   $e->{settings}{CLAUDE_CODE_EFFORT_LEVEL} // '-';
        };
        my $is = sub { $off ? "$_[0] - -" : "medium $_[0] unset" };
        my $name = ($env || 'no CLAUDE_CODE_EFFORT_LEVEL')
                   . ($off ? ', without the gate' : '');

        answers($s, "$name: a question that names no effort");
        is($asked->(), $is->($effort), "  goes with $effort");
        answers($s, '  one that does',
                with => { reasoning_effort => 'low' });
        is($asked->(), $is->('low'), '  with its own');
        answers($s, '  and the next that does not');
        is($asked->(), $is->($effort), "  with $effort");
        $s->stop;
    }
}

# elsewhere

{
    my $at = "$top/elsewhere";
    File::Path::make_path($at);
    my $s = start(http => "claude_gate_path $at;");
    is_deeply([directories($s->{dir})], [], 'claude_gate_path: not beside the '
              . 'pid file');
    like((directories($at))[0] // '', qr{/$fifth\z}, '  but there');
    answers($s, '  a turn');
    is(gates($s), 'works works', '  it works');
    $s->stop;

    # relative to nginx's prefix
    $s = start(http => 'claude_gate_path cli;');
    answers($s, 'a path that is relative: a turn');
    is(plugin_dir($s), (directories("$s->{dir}/cli"))[0], '  to the prefix');
    is(gates($s), 'works works', '  it works');
    $s->stop;

    # a link is resolved before
    symlink $at, "$top/link" or die;
    $s = start(http => "claude_gate_path $top/link;");
    answers($s, 'a path that is a link: a turn');
    is(plugin_dir($s), (directories($at))[0], '  resolved');
    is(gates($s), 'works works', '  it works');
    $s->stop;
}

{
    my $s = start(http => 'claude_gate_path /nonexistent/there;');
    is(scalar(said($s, 'warn', qr{claude_gate_path: "/nonexistent})), 1,
       'a directory that is not there: one warning');
    answers($s, '  a turn');
    is(gates($s), 'files files', '  without');
    is(scalar(said($s, 'error')), 1, '  and one line that says so');
    $s->stop;
}

SKIP: {
    skip 'not root', 1 if $> != 0;
    my $uid = getpwnam 'nobody';

    for my $case (['all may write to, with a sticky bit', 01777, 0, 1],
                  ['all may write to, without a sticky bit', 0777, 0, 0],
                  ['its group may write to', 0775, 0, 0],
                  ['another owns', 0755, $uid, 0])
    {
        my ($name, $mode, $owner, $fine) = @$case;
        my $at = "$top/parent";

        File::Path::remove_tree($at);
        File::Path::make_path("$at/below");
        chmod $mode, $at;
        chown $owner, 0, $at;

        for my $path ($at, "$at/below") {
            my $s = start(http => "claude_gate_path $path;");
            my @warned = said($s, 'warn', qr/gate_path: "\Q$at\E" is not a/);
            my @written = directories($path);

            is(scalar(@warned), $fine ? 0 : 1,
               ($path eq $at ? '' : 'below ') . "a directory that $name: "
               . ($fine ? 'no warning' : 'a warning'));
            is(scalar(@written), $fine ? 1 : 0,
               '  it is ' . ($fine ? '' : 'not ') . 'written');
            answers($s, '  a turn');
            is(gates($s), $fine ? 'works works' : 'files files', '  '
               . ($fine ? 'with it' : 'without'));
            $s->stop;
        }
    }

    # what is there already, with the right text, may be changed any time

    my $at = "$top/parent";
    File::Path::remove_tree($at);
    File::Path::make_path($at);
    my $s = start(http => "claude_gate_path $at;");
    my ($gate) = directories($at);
    answers($s, 'a directory that root alone can write to: a turn');
    is(gates($s), 'works works', '  with it');

    chmod 0777, $at;
    reload($s);
    is(scalar(said($s, 'warn', qr/root alone/)), 1,
       '  all may write to it from now on: a warning');
    answers($s, '  a turn');
    is(plugin_dir($s), undef, '  without what lies there');

    chmod 0755, $at;
    chmod 0777, $gate;
    reload($s);
    is(scalar(said($s, 'warn', qr/cannot be made/)), 1,
       '  the gate\'s directory itself: a warning');
    answers($s, '  a turn');
    is(plugin_dir($s), undef, '  without what lies there');
    $s->stop;
}


# ---------------------------------------------------------------------------
# What the provider says beside its answer
# ---------------------------------------------------------------------------

{
    my $s = start(http => 'log_format ids "$status|$sent_http_x_request_id|'
                          . '$claude_upstream_request_id";',
                  server => 'access_log logs/ids.log ids; '
                          . 'location /v1/ { claude_openai; }');

    # of an answer: the line is written when the request is done

    my $id = sub {
        my ($r) = @_;
        my $own = quotemeta $r->{headers}{'x-request-id'};
        my $line;
        wait_for {
            ($line) = grep { /^\d+\|$own\|.*\n/ }
                      split /^/, content("$s->{dir}/logs/ids.log") // '';
        } undef;
        return ($line // '') =~ /\|([^|]*)\n/ ? $1 : undef;
    };
    my $a = { 'request-id' => 'req_a' };
    my ($b, $limited) = ({ 'request-id' => 'req_b' },
                         { 'request-id' => 'req_l', 'retry-after' => 1 });

    is($id->($s->chat('hi', fake => { headers => $a })), 'req_a',
       '$claude_upstream_request_id: of a whole answer');
    is($id->($s->chat('hi', fake => { headers => $b }, stream => 1)), 'req_b',
       '  of a stream');
    is($id->($s->chat('hi', fake => { headers => {
       'request-id' => 'req "\\ x' } })), 'req \\x22\\x5C x',
       '  escaped like others');

    my $known = () = $s->events('call');
    my $ids = $id->($s->chat('hi', with => { n => 2 }));
    my @calls = map { $_->{request_id} } ($s->events('call'))[$known, $known + 1];
    is(join(', ', sort split /, /, $ids), join(', ', sort @calls),
       '  of two answers, both');
    is($id->($s->chat('hi', fake => { headers => [$limited, $b],
                      api_retry => 1, retry_status => 429 })), 'req_b',
       '  after a retry, the last');

    my $r = $s->chat('hi', fake => { headers => $limited,
                                     error => { status => 429 } });
    is("$r->{status} $r->{headers}{'retry-after'}", '429 1',
       'a 429 has upstream\'s Retry-After');
    is($id->($r), 'req_l', '  and its id is in the log');

    $r = $s->chat('hi', fake => { headers => [$a, $limited], api_retry => 1,
                                  error => { status => 429 } });
    is("$r->{status} $r->{headers}{'retry-after'} " . $id->($r), '429 1 req_l',
       'a 429 after a retry: the last call\'s');
    $r = $s->chat('hi', fake => { headers => [$limited, $a], api_retry => 1,
                                  error => { status => 429 } });
    is("$r->{status} $r->{headers}{'retry-after'} " . $id->($r), '429 30 req_a',
       '  not that of one before');
    $r = $s->chat('hi', fake => { headers => $limited, api_retry => 1,
                  retry_delay_ms => 20_000, retry_status => 429 });
    is("$r->{status} $r->{headers}{'retry-after'} " . $id->($r), '429 1 req_l',
       '  also where the CLI would wait longer than a client should');
    $r = $s->chat('hi', fake => { api_retry => 1, retry_delay_ms => 20_000,
                                  retry_status => 429 });
    is("$r->{status} $r->{headers}{'retry-after'}", '429 21',
       '  for as long as that where upstream has none');
    $r = $s->chat('hi', fake => { headers => { 'retry-after' => 7 },
                                  error => { status => 529 } });
    is("$r->{status} $r->{headers}{'retry-after'}", '503 7',
       'a 529 has it, too');
    $r = $s->chat('hi', fake => { error => { status => 429 } });
    is("$r->{status} $r->{headers}{'retry-after'}", '429 30',
       'without one it is 30');

    # a plan's limit has no Retry-After, but the time when it is lifted

    my %plan = ('anthropic-ratelimit-unified-reset' => time + 40,
                'anthropic-ratelimit-unified-status' => 'rejected');
    $r = $s->chat('hi', fake => { headers => { %plan },
                                  error => { status => 429 } });
    ok($r->{headers}{'retry-after'} > 5 && $r->{headers}{'retry-after'} <= 40,
       'a plan\'s limit: until it is lifted');
    $plan{'anthropic-ratelimit-unified-status'} = 'allowed';
    $r = $s->chat('hi', fake => { headers => { %plan },
                                  error => { status => 429 } });
    is($r->{headers}{'retry-after'}, 30, '  another limit is not that one');
    $plan{'anthropic-ratelimit-unified-status'} = 'rejected';
    $r = $s->chat('hi', fake => { headers => { %plan, 'retry-after' => 3 },
                                  error => { status => 429 } });
    is($r->{headers}{'retry-after'}, 3, '  and Retry-After is what counts');
    $plan{'anthropic-ratelimit-unified-reset'} = time + 7200;
    $r = $s->chat('hi', fake => { headers => { %plan },
                                  error => { status => 429 } });
    is("$r->{headers}{'retry-after'} $r->{headers}{'x-should-retry'}",
       '60 false', '  hours are not waited for');
    like($r->{error}{message}, qr/\b7[12]\d\d seconds/, '  and are told');

    for my $odd ('soon', '-1', '1.5', '', 'Wed, 21 Oct 2026 07:28:00 GMT',
                 '99999999999999999999')
    {
        $r = $s->chat('hi', fake => { headers => { 'retry-after' => $odd },
                                      error => { status => 429 } });
        is("$r->{status} $r->{headers}{'retry-after'}", '429 30',
           "one that is \"$odd\" is none");
    }
    $r = $s->chat('hi', fake => { headers => { 'retry-after' => 86400 },
                                  error => { status => 429 } });
    is("$r->{status} $r->{headers}{'retry-after'}", '429 60',
       'a long one is cut');

    is($id->($s->chat('hi', fake => { drop_before => $true, headers => $a })),
       'req_a', 'a call that was answered, and denied another: its id');
    is($id->($s->chat('hi', fake => { error => {} })), '-',
       'upstream is not reached: none');
    is($id->($s->chat('hi', fake => { gate => 'passed', headers => $a })), '-',
       'a call past the gate: none');
    $r = $s->chat('hi', with => $get, fake => { headers => [$a, $b],
        tool_use => [{ id => 'toolu_1', name => 'get', input => {} }],
        then => { text => 'warm' } });
    is(($r->{json}{choices}[0]{finish_reason} // '') . ' ' . $id->($r),
       'tool_calls req_a', 'a call of a tool: of the first call upstream');
    my $message = $r->{json}{choices}[0]{message};
    $r = $s->chat('', body => json->encode({ model => 'sonnet', %$get,
        messages => [{ role => 'user', content => ($s->events('asked'))[-1]
                       {messages}[-1]{content} }, $message,
                     { role => 'tool', content => '9',
                       tool_call_id => $message->{tool_calls}[0]{id} }] }));
    is("$r->{text} " . $id->($r), 'warm req_b', '  its result: of the second');

    is_deeply([said($s, 'error', qr/gate/)],
              [said($s, 'error', qr/a call went past it/)],
              'the log has nothing but what was done to the gate');
    $s->stop;
}

done_testing();
