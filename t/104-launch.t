# What a CLI is started with: the switches that keep it from other sessions
# and from acting after its answer, for each kind of location, and what opens
# them.  That they do so is in t/real/lockdown.test.mjs.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use ClaudeTest;
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

done_testing();
