# What a CLI is started with: the switches that keep it from other sessions
# and from acting after its answer, for each kind of location, and what opens
# them.  That they do so is in t/real/lockdown.test.mjs.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use ClaudeTest;
use Cwd ();
use File::Temp ();
use Test::More;

my %lock = (
    CLAUDE_CODE_HARBOR_KITE              => 0,
    CLAUDE_CODE_DISABLE_BACKGROUND_TASKS => 1,
    CLAUDE_CODE_DISABLE_CRON             => 1,
    CLAUDE_CODE_DISABLE_WORKFLOWS        => 1,
);
my %opened = (                         # by the name of a tool
    ListAgents     => 'CLAUDE_CODE_HARBOR_KITE',
    TaskStop       => 'CLAUDE_CODE_DISABLE_BACKGROUND_TASKS',
    TaskOutput     => 'CLAUDE_CODE_DISABLE_BACKGROUND_TASKS',
    CronCreate     => 'CLAUDE_CODE_DISABLE_CRON',
    CronDelete     => 'CLAUDE_CODE_DISABLE_CRON',
    CronList       => 'CLAUDE_CODE_DISABLE_CRON',
    ScheduleWakeup => 'CLAUDE_CODE_DISABLE_CRON',
    Workflow       => 'CLAUDE_CODE_DISABLE_WORKFLOWS',
    Workflows      => '',              # a name that only begins so
    Monitor        => '',
);

my $s = ClaudeTest->start(
    http => 'claude_warm 0; claude_max_concurrent 20;',
    server => join ' ', 'location /v1/ { claude_openai; }',
        'location /default/ { claude_openai; claude_tools default; }',
        'location /mcp/ { claude_openai; claude_mcp_config '
            . root() . '/t/data/README.md; }',  # the stand-in reads none
        'location /joined/ { claude_openai; claude_tools "Read,CronList"; }',
        'location /deny/ { claude_openai; claude_tools default; '
            . 'claude_args --disallowedTools Bash; }',
        map { "location /$_/ { claude_openai; claude_tools Read $_; }" }
            sort keys %opened);

sub launch {                           # of the process that serves a turn
    my ($server, $path, %o) = @_;
    my $known = () = $server->events('start');
    my $r = $server->send(POST => "$path/chat/completions",
                          body => ClaudeTest::body('hi'), %o)->rest;
    is($r->{status}, 200, "a turn at $path");
    my ($start) = ($server->events('start'))[$known];
    my @argv = @{ $start->{argv} };
    my %option;
    for (0 .. $#argv) {
        $option{ $argv[$_] } //= $argv[$_ + 1] // '' if $argv[$_] =~ /^--/;
    }
    return { %$start, option => \%option,
             settings => json->decode($option{'--settings'}) };
}

sub locks {
    my ($start, $open, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my %want = map { $_ => $_ eq $open ? undef : $lock{$_} } keys %lock;
    is_deeply({ map { $_ => $start->{env}{$_} } keys %lock }, \%want, $name);
}

{
    my $start = launch($s, '/v1');
    locks($start, '', 'a chat: every switch');
    is($start->{settings}{crossSessionInbound}, 'refuse', '  no messages');
    my $plugins = $start->{settings}{enabledPlugins};
    is(join(' ', grep { $plugins->{$_} } keys %$plugins), '', '  no plugins');
    is(scalar keys %$plugins, 3, '  of which there are three');
    is($start->{option}{'--tools'}, '', '  no tools');
    ok(exists $start->{option}{'--no-session-persistence'},
       '  no transcript');
    is($start->{env}{CLAUDE_CODE_DISABLE_CLAUDE_MDS}, 1, '  no CLAUDE.md');
    like($start->{env}{PATH}, qr{^/usr/local/sbin:},
         '  but PATH, since this binary is a script');

    my $name = '0f4ba1f4-0000-4000-8000-000000000105';
    $start = launch($s, '/v1', headers => ["X-Session-Id: $name"]);
    locks($start, '', 'a named session: the same');
    is($start->{settings}{crossSessionInbound}, 'refuse', '  no messages');
    ok(!exists $start->{option}{'--no-session-persistence'},
       '  with its transcript');
}

{
    my $start = launch($s, '/default');
    locks($start, '', 'claude_tools default: every switch');
    is($start->{settings}{crossSessionInbound}, 'refuse', '  no messages');
    ok(!exists $start->{settings}{enabledPlugins}, '  plugins as they are');
    my %denied = map { $_ => 1 } split /,/,
                 $start->{option}{'--disallowedTools'};
    ok($denied{$_}, "  without $_") for qw(ListAgents Monitor PushNotification
        ReadNotifications RemoteTrigger ScheduleWakeup SendMessage SetGoal);
    ok(!$denied{$_}, "  with $_") for qw(Bash Read Agent);

    my @argv = @{ launch($s, '/deny')->{argv} };
    is(scalar(grep { $_ eq '--disallowedTools' } @argv), 2,
       '  and without those that claude_args names');

    $start = launch($s, '/mcp');
    locks($start, '', 'MCP servers alone: every switch');
    is($start->{settings}{crossSessionInbound}, 'refuse', '  no messages');
    ok(!exists $start->{settings}{enabledPlugins},
       '  plugins as they are: it is an agent');
    is($start->{option}{'--mcp-config'}, root() . '/t/data/README.md',
       '  with its servers');
    is($start->{option}{'--tools'}, '', '  no other tools');
    ok(!exists $start->{option}{'--allowedTools'}, '  and none of a client');
}

for my $tool (sort keys %opened) {
    my $start = launch($s, "/$tool");
    locks($start, $opened{$tool}, "claude_tools Read $tool: opens "
                                  . ($opened{$tool} || 'nothing'));
    is($start->{settings}{crossSessionInbound}, 'refuse', '  no messages');
    ok(!exists $start->{option}{'--disallowedTools'}, '  nothing is denied');
}
locks(launch($s, '/joined'), 'CLAUDE_CODE_DISABLE_CRON',
      'also where names are joined by commas');

$s->stop;

{
    my $env = join ' ', map { "$_=other" } sort keys %lock;
    my $own = ClaudeTest->start(env => "$env PATH=/usr/bin",
                                http => 'claude_warm 0;');
    my $start = launch($own, '/v1');
    is($start->{env}{$_}, 'other', "claude_env wins: $_") for sort keys %lock;
    is($start->{env}{PATH}, '/usr/bin', '  PATH, too');
    is($start->{settings}{crossSessionInbound}, 'refuse',
       '  messages are refused all the same');
    $own->stop;
}


# How far the tools of an agent reach: confined, and told so whatever path the
# state has; with all permissions only told.

{
    my $odd = 'a state (of [ours]) \\"quoted\\" Ü';
    my $own = ClaudeTest->start(
        http => "claude_warm 0; claude_state_path '$odd';",
        server => 'location /v1/ { claude_openai; } '
            . 'location /agent/ { claude_openai; claude_tools Read; } '
            . 'location /own/ { claude_openai; claude_tools Read; '
            . 'claude_working_directory off; } '
            . 'location /all/ { claude_openai; claude_tools Read; '
            . 'claude_permission_mode bypassPermissions; } '
            . 'location /skip/ { claude_openai; claude_tools Read; '
            . 'claude_args --dangerously-skip-permissions; }');
    my $start = launch($own, '/v1');
    ok(!exists $start->{option}{'--restricted'}, 'a chat has no tools');
    ok(!exists $start->{settings}{permissions}, '  and no rules for them');

    $start = launch($own, '/agent');
    ok(exists $start->{option}{'--restricted'}, 'an agent is confined');
    my $deny = $start->{settings}{permissions}{deny};
    my $state = Cwd::realpath($own->{dir}) . '/a?state??of??ours???'
                . '?quoted?' . '?*';
    my $home = Cwd::realpath($own->{dir} . '/cli/home') . '/.claude';
    is_deeply([sort @$deny], [sort map { ("Read(/$_)", "Edit(/$_)") }
        "$state/keys/**", "$state/chat/**", "$state/names.*",
        "$state/work/**",
        "$home/projects/**", "$home/.credentials.json"],
        '  and denied what is kept of keys, and the login');
    ok(!exists $start->{settings}{sandbox}, '  without a sandbox');
    is_deeply(launch($own, '/own')->{settings}{permissions}{deny},
        [grep { !m{/work/\*\*} } @$deny], '  but its own directory, where it has one');

    for my $path ('/all', '/skip') {
        $start = launch($own, $path);
        ok(!exists $start->{option}{'--restricted'},
           'with all permissions it cannot be confined');
        is_deeply($start->{settings}{permissions}{deny}, $deny,
                  '  but denied the same');
    }
    $own->stop;
}


# a state path with room for the sockets of a sandbox below it

my $short = File::Temp::tempdir('lXXXX', TMPDIR => 1, CLEANUP => 1) . '/s';


# claude_sandbox: looked for by nginx -t, and told to the CLI

{
    my @agent = (http => "claude_state_path $short;",
                 server => 'location /v1/ { claude_openai; claude_tools Bash; '
                           . 'claude_sandbox on; }');
    my ($status, $said) = ClaudeTest->try(@agent,
        env => 'PATH=$DIR/bin:/nonexistent');
    isnt($status, 0, 'a sandbox that is not there is refused');
    like($said, qr/claude_sandbox: there is no "bwrap" in PATH/, '  by name');

    ($status, $said) = ClaudeTest->try(
        server => 'location /v1/ { claude_openai; claude_sandbox on; }',
        env => 'PATH=/nonexistent');
    is($status, 0, 'a chat needs none');

    my $programs = sub {
        mkdir "$_[0]/bin";
        for (qw(bwrap socat)) {
            open my $fh, '>', "$_[0]/bin/$_" or die;
            chmod 0755, $fh;
        }
    };
    ($status, $said) = ClaudeTest->try(@agent, prepare => $programs,
        env => 'PATH=/nonexistent:$DIR/bin');
    is($status, 0, 'it is looked for in all of PATH') or diag($said);

    my @long = (http => "claude_state_path $short" . 'x' x 60 . ';',
                prepare => $programs, server => $agent[3]);
    ($status, my $words) = ClaudeTest->try(@long,
        env => 'PATH=$DIR/bin');
    isnt($status, 0, 'a state path that leaves its sockets no room');
    like($words, qr/claude_sandbox: its sockets would be in/, '  is told');
    ($status) = ClaudeTest->try(@long, env => 'PATH=$DIR/bin TMPDIR=/tmp');
    is($status, 0, '  unless they are elsewhere');
    unlike($said, qr/can read what the CLIs of all keys have/,
           '  and commands are not warned of');

    # the path of a Unix socket has 107 characters, and the sandbox some there

    for (['as long as it may be', 0], ['longer', 1]) {
        my ($what, $more) = @$_;
        my $path = File::Temp::tempdir(CLEANUP => 1) . '/';
        $path .= 'x' x (73 + $more - length("/keys/tester/tmp") - length $path);
        ($status, $said) = ClaudeTest->try(@agent, prepare => $programs,
            http => "claude_state_path $path;",
            keys => 'claude_api_key sk-test name=tester;',
            env => 'PATH=$DIR/bin');
        $more ? like($said, qr/claude_sandbox: its sockets would be in "\Q$path\E\/keys\/tester\/tmp", whose 74 char/,
                     "a directory of temporary files: $what")
              : is($status, 0, "a directory of temporary files: $what")
                    || diag($said);
    }

    ($status, $said) = ClaudeTest->try(
        server => 'location /v1/ { claude_openai; claude_tools Read Bash; }');
    is($status, 0, 'accepted: commands without a sandbox');
    like($said, qr/\[warn\] .*can read what the CLIs of all keys have/,
         '  with a warning');
    ($status, $said) = ClaudeTest->try(
        server => 'location /v1/ { claude_openai; claude_tools Read; '
                  . 'claude_permission_mode bypassPermissions; }');
    like($said, qr/\[warn\] .*can read what the CLIs of all keys have/,
         'all permissions: warned of, too');
    ($status, $said) = ClaudeTest->try(
        server => 'location /v1/ { claude_openai; claude_tools Read Bash; '
                  . 'claude_sandbox external; }',
        env => 'PATH=/nonexistent');
    is($status, 0, 'accepted: a box that the binary makes') or diag($said);
    unlike($said, qr/\[warn\]/, '  without a warning, or a look for it');
    ($status, $said) = ClaudeTest->try(
        server => 'location /v1/ { claude_openai; claude_sandbox maybe; }');
    like($said, qr/invalid value "maybe"/, 'there is no other word');
    ($status, $said) = ClaudeTest->try(
        server => 'location /v1/ { claude_openai; claude_tools default; }');
    unlike($said, qr/\[warn\]/, 'claude_tools default: not');
}

SKIP: {
    my @there = grep { -x "/usr/bin/$_" } qw(bwrap socat);
    skip 'no bubblewrap and socat', 4 if @there < 2;

    my $own = ClaudeTest->start(
        http => "claude_warm 0; claude_state_path $short;",
        server => 'location /v1/ { claude_openai; claude_tools Bash; '
                  . 'claude_sandbox on; }');
    my $box = launch($own, '/v1')->{settings}{sandbox};
    is_deeply($box->{filesystem}, {
        denyRead => [Cwd::realpath($short),
                     ("$own->{dir}/cli/home/.claude") x 2],
        allowRead => ['.'] },
        'commands see their working directory, and no other of keys');
    is_deeply([@$box{qw(enabled failIfUnavailable allowUnsandboxedCommands)}],
              [JSON::PP::true, JSON::PP::true, JSON::PP::false],
              '  always');
    is(scalar(grep { $_->{name} eq 'CLAUDE_CODE_OAUTH_TOKEN'
                     && $_->{mode} eq 'deny' }
              @{ $box->{credentials}{envVars} }), 1, '  and no login');
    $own->stop;
}


# off takes back what a level above says

{
    my $mcp = ClaudeTest::root() . '/t/data/README.md';
    my $own = ClaudeTest->start(
        env => 'ABOVE=1',
        http => 'claude_warm 0; claude_args --max-turns 7; '
                . "claude_mcp_config $mcp; claude_fallback_model haiku; "
                . 'claude_max_budget_usd 5; claude_system_prompt Above; '
                . 'claude_model_map gpt-4 opus;',
        server => 'location /v1/ { claude_openai; } '
                  . 'location /off/ { claude_openai; claude_args off; '
                  . 'claude_mcp_config off; claude_fallback_model off; '
                  . 'claude_max_budget_usd off; claude_system_prompt off; '
                  . 'claude_working_directory off; claude_model_map off; } '
                  . 'location /bare/ { claude_openai; claude_env off; '
                  . 'claude_max_budget_usd off; }');
    my $start = launch($own, '/v1');
    is(join(' ', map { $start->{option}{$_} // '' } qw(--max-turns --mcp-config
            --fallback-model --max-budget-usd)), "7 $mcp haiku 5",
       'a level above');
    is($start->{env}{ABOVE}, 1, '  and its environment');
    my $system = sub { (($own->events('asked'))[-1])->{system} };
    is($system->(), 'Above', '  and its system text');

    $start = launch($own, '/off');
    ok(!exists $start->{option}{$_}, "off: no $_") for qw(--max-turns
        --mcp-config --fallback-model --max-budget-usd);
    is($system->(), 'You are a helpful assistant.', '  the system text of all');
    is($start->{cwd} =~ s{.*/}{}r, 'claude', '  the directory of all');
    is($own->send(POST => '/off/chat/completions', body => ClaudeTest::body(
           'x', with => { model => 'gpt-4' }))->rest->{status}, 404,
       '  no names of models but Claude\'s');

    my %before = map { $_->{pid} => 1 } @{ $own->status->{processes} };
    my $r = $own->send(POST => '/bare/chat/completions',
                       body => ClaudeTest::body('x'))->rest;
    is($r->{text}, 'echo: x', 'claude_env off: a turn');
    my ($row) = grep { !$before{ $_->{pid} } } @{ $own->status->{processes} };
    open my $fh, '<', "/proc/$row->{pid}/environ" or die;
    unlike(join('', <$fh>), qr/ABOVE=/, '  with nothing from above');
    $own->stop;
}

done_testing();
