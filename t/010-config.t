# What the configuration may say: nginx -t takes each directive in its places,
# refuses it elsewhere, and of what cannot work it says what to write.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use ClaudeTest;
use File::Path ();
use Test::More;

my $openai = 'location /v1/ { claude_openai; %s }';
my $root = root();

sub accepted {
    my ($name, %o) = @_;
    my ($status, $said) = ClaudeTest->try(%o);
    is($status, 0, "accepted: $name") or diag($said);
}

sub refused {
    my ($name, $re, %o) = @_;
    my ($status, $said) = ClaudeTest->try(%o);
    isnt($status, 0, "refused: $name");
    like($said, $re, "  and says why: $name");
}

accepted('the suite\'s own configuration');

# Where each may stand: http, server, location.  Values that are all right.

my %places = (
    claude_zone              => ['other:1m', 'h'],
    claude_max_concurrent    => ['5', 'h'],
    claude_queue             => ['5 timeout=1s', 'h'],
    claude_max_processes     => ['50', 'h'],
    claude_max_line          => ['1m', 'h'],
    claude_openai            => ['', 'l'],
    claude_health            => ['', 'l'],
    claude_status            => ['', 'l'],
    claude_api_key           => ['sk-more name=more', 'hsl'],
    claude_api_key_file      => ['$DIR/keys', 'hsl'],
    claude_auth              => ['off', 'hsl'],
    claude_binary            => ["$root/t/bin/claude", 'hsl'],
    claude_env               => ['A=b C=d', 'hsl'],
    claude_env_file          => ['$DIR/env', 'hsl'],
    claude_args              => ['--debug x', 'hsl'],
    claude_tools             => ['Read Grep', 'hsl'],
    claude_permission_mode   => ['plan', 'hsl'],
    claude_mcp_config        => ['$DIR/mcp.json', 'hsl'],
    claude_sandbox           => ['off', 'hsl'],
    claude_session_ttl       => ['1h', 'h'],
    claude_state_path        => ['$DIR/state', 'h'],
    claude_working_directory => ['/tmp', 'hsl'],
    claude_default_model     => ['opus', 'hsl'],
    claude_fallback_model    => ['haiku', 'hsl'],
    claude_model_map         => ['gpt-9 opus', 'hsl'],
    claude_system_prompt     => ['"Be kind."', 'hsl'],
    claude_max_budget_usd    => ['0.50', 'hsl'],
    claude_timeout           => ['5m', 'hsl'],
    claude_turn_timeout      => ['2h', 'hsl'],
    claude_heartbeat         => ['5s', 'hsl'],
    claude_sampling          => ['on', 'hsl'],
);

sub files {
    my ($dir) = @_;
    for (['keys', "# keys\nx:sk-x\n"], ['env', "# env\nX=y\n"],
         ['mcp.json', '{"mcpServers":{}}']) {
        open my $fh, '>', "$dir/$_->[0]" or die;
        print $fh $_->[1];
    }
}

# one of a kind in a block already has its own value there
my $bare = sub {
    my ($name) = @_;
    return (zone => '', keys => 'claude_zone claude:2m; '
            . 'claude_api_key sk-a;') if $name ne 'claude_zone';
    return (zone => '', keys => 'claude_api_key sk-a;');
};

for my $name (sort keys %places) {
    my ($value, $where) = @{ $places{$name} };
    my $line = length $value ? "$name $value;" : "$name;";
    my $clash = $name =~ /^claude_(?:binary|working_directory)$/;
    my %o = ($bare->($name), prepare => \&files);

    for my $place (['h', 'http'], ['s', 'server'], ['l', 'location']) {
        my ($letter, $word) = @$place;
        next if $letter eq 'h' && $clash;   # the harness has it there
        my $at = $letter eq 'h' ? { http => $line,
                                    server => sprintf $openai, '' }
               : $letter eq 's' ? { server => "$line "
                                              . sprintf $openai, '' }
               : $name =~ /_(?:openai|health|status)$/
                                ? { server => "location /x/ { $line }" }
                                : { server => sprintf $openai, $line };
        if ($where =~ /$letter/) {
            accepted("$name in $word", %o, %$at);
        } else {
            refused("$name in $word",
                    qr/"$name" directive is not allowed here/, %o, %$at);
        }
    }
    refused("$name in events", qr/"$name" directive is not allowed here/,
            events => "worker_connections 512; $line");
}

# What cannot work, and the words that tell what to write.

refused('no zone', qr/claude_zone claude:10m;/, zone => '');
refused('no zone, for health alone', qr/claude_zone claude:10m;/, zone => '',
        server => 'location /h { claude_health; }', keys => '');
refused('no key', qr/claude_api_key KEY.*claude_auth off/s, keys => '');
accepted('no key, and claude_auth off', keys => 'claude_auth off;');
refused('status without a key', qr/claude_status has no API key/, keys => '',
        conf => undef, server => 'location /s { claude_status; }');
refused('a key twice', qr/is there twice/,
        keys => 'claude_api_key a; claude_api_key a;');
refused('a key\'s name without a name', qr/write "name=/,
        keys => 'claude_api_key a named=b;');
refused('a key file that is not there', qr/no such file|No such file/,
        keys => 'claude_api_key_file /nonexistent/keys;');
refused('a key file with a line that is none', qr/keys:1 is not "name:key"/,
        keys => 'claude_api_key_file $DIR/keys;', prepare => sub {
            open my $fh, '>', "$_[0]/keys"; print $fh "nocolon\n" });
{
    my (undef, $said) = ClaudeTest->try(
        keys => 'claude_api_key_file $DIR/keys;', prepare => sub {
            open my $fh, '>', "$_[0]/keys"; print $fh "sk-secret\n" });
    unlike($said, qr/sk-secret/, 'a bad line of a key file is not told');
}

refused('a binary that is not there', qr/claude_binary.*cannot be found/,
        binary => '/nonexistent/claude');
refused('a binary that is a directory', qr/is not a file/, binary => '/tmp');
refused('a binary that is not executable', qr/is not executable for user/,
        binary => '$DIR/claude', prepare => sub {
            open my $fh, '>', "$_[0]/claude"; chmod 0644, "$_[0]/claude" });

SKIP: {
    skip 'only root can have workers of another user', 4 if $>;

    my $dir = "/tmp/claude-config-$$";
    mkdir $dir, 0755;
    symlink "$root/t/bin/claude", "$dir/link";
    open my $fh, '>', "$dir/claude"; print $fh "#!/bin/sh\n"; close $fh;
    chmod 0700, "$dir/claude";

    my $conf = sub {
        my ($binary) = @_;
        my ($status, $said) = ClaudeTest->try(conf =>
            ClaudeTest::configuration({ dir => '$DIR', log => '/tmp/x' },
                                      binary => $binary,
                                      http => 'claude_auth off;')
            =~ s/^user root;$/user nobody @{[ scalar getgrgid((getpwnam("nobody"))[3]) ]};/mr
            =~ s/claude_working_directory \S+;/claude_working_directory \/;/r);
        return ($status, $said);
    };

    my ($status, $said) = $conf->("$dir/claude");
    isnt($status, 0, 'refused: a binary that only root may run');
    like($said, qr/is not executable for user "nobody"/, '  and says for whom');

    chmod 0755, "$dir/claude";
    chmod 0700, $dir;
    ($status, $said) = $conf->("$dir/claude");
    isnt($status, 0, 'refused: a binary in a directory that only root enters');
    like($said, qr/"\Q$dir\E" is not searchable for user "nobody"/,
         '  and says which directory');
    unlink "$dir/claude", "$dir/link";
    rmdir $dir;
}

refused('a working directory that is not there',
        qr/claude_working_directory.*cannot be found/,
        server => sprintf($openai, 'claude_working_directory /nonexistent;'));
refused('a working directory that is a file', qr/is not a directory/,
        server => sprintf($openai, 'claude_working_directory /etc/passwd;'));
refused('a map to no Claude model', qr/"gpt-4" is no Claude model/,
        server => sprintf($openai, 'claude_model_map x gpt-4;'));
refused('a map of one argument', qr/claude_model_map" directive needs two/,
        server => sprintf($openai, 'claude_model_map x;'));
refused('a map from nothing', qr/model's name is empty/,
        server => sprintf($openai, 'claude_model_map "" opus;'));
refused('one model mapped twice', qr/mapped twice/, server => sprintf($openai,
        'claude_model_map x opus; claude_model_map x haiku;'));

refused('a zone without a size', qr/write "claude:10m"/,
        zone => 'claude_zone claude;');
refused('a zone without a name', qr/write "claude:10m"/,
        zone => 'claude_zone :1m;');
refused('a zone whose size is no number', qr/invalid size of zone/,
        zone => 'claude_zone claude:big;');
refused('a zone that is too small', qr/write at least \d+k/,
        zone => 'claude_zone claude:8k;');
refused('a second zone', qr/duplicate/,
        zone => 'claude_zone claude:2m; claude_zone claude2:2m;');
refused('a zone with too little room for the limits', qr/make it larger/,
        zone => 'claude_zone claude:128k; claude_queue 100000;',
        events => 'worker_connections 512;');

refused('a queue that is no number', qr/invalid number of waiting turns/,
        http => 'claude_queue many;');
refused('a queue that is negative', qr/invalid number of waiting turns/,
        http => 'claude_queue -1;');
refused('a queue with a wrong parameter', qr/write "timeout=30s"/,
        http => 'claude_queue 5 time=3s;');
refused('a queue with a wrong time', qr/write "timeout=30s"/,
        http => 'claude_queue 5 timeout=soon;');
refused('a queue with no time', qr/write "timeout=30s"/,
        http => 'claude_queue 5 timeout=0;');
accepted('a queue of nobody', http => 'claude_queue 0;');
refused('no turn at all', qr/must be (?:equal to or )?greater|must be between/,
        http => 'claude_max_concurrent 0;');
refused('less processes than turns', qr/each turn needs a process/,
        http => 'claude_max_concurrent 10; claude_max_processes 5;');

refused('a budget that is no number', qr/number of US dollars/,
        server => sprintf($openai, 'claude_max_budget_usd much;'));
refused('a budget of nothing', qr/number of US dollars/,
        server => sprintf($openai, 'claude_max_budget_usd 0;'));
refused('a budget with a unit behind', qr/number of US dollars/,
        server => sprintf($openai, 'claude_max_budget_usd 5usd;'));
refused('a heartbeat of 0', qr/must be more than 0/,
        server => sprintf($openai, 'claude_heartbeat 0;'));
refused('a timeout of 0', qr/must be more than 0/,
        server => sprintf($openai, 'claude_timeout 0;'));
refused('an environment variable with a bad name', qr/write NAME or/,
        server => sprintf($openai, 'claude_env 1A=b;'));
{
    my (undef, $said) = ClaudeTest->try(
        server => sprintf($openai, 'claude_env "sk-secret";'));
    unlike($said, qr/sk-secret/, 'a bad claude_env is not told: it may be a '
                                 . 'secret');
}
for (['', 0], (map { [$_, 0] } qw(low medium high xhigh max High auto UNSET)),
     map { [$_, 1] } qw(turbo lo lower 3))
{
    my ($effort, $warned) = @$_;
    my ($status, $said) = ClaudeTest->try(server => sprintf($openai,
        "claude_env CLAUDE_CODE_EFFORT_LEVEL=$effort;"));
    is($status, 0, "an effort of the environment, '$effort': accepted");
    my $line = qr/\[warn\].*"\Q$effort\E" in CLAUDE_CODE_EFFORT_LEVEL of/;
    $warned ? like($said, $line, '  and not used') : unlike($said, $line, '  and used');
}
refused('an environment file with a line that is none',
        qr/env:2 is not NAME=value/,
        server => sprintf($openai, 'claude_env_file $DIR/env;'),
        prepare => sub { open my $fh, '>', "$_[0]/env";
                         print $fh "A=b\nnothing here\n" });
refused('names of tools beside none', qr/takes no names beside/,
        server => sprintf($openai, 'claude_tools none Read;'));
refused('a tool that looks like an argument', qr/none, default or names/,
        server => sprintf($openai, 'claude_tools --model;'));
refused('a permission mode that the CLI does not have',
        qr/must be acceptEdits, auto/,
        server => sprintf($openai, 'claude_permission_mode yolo;'));
refused('a file of MCP servers that is not there',
        qr/claude_mcp_config: ".*nothing\.json" cannot be found/,
        server => sprintf($openai, 'claude_mcp_config $DIR/nothing.json;'));
refused('a directory as a file of MCP servers', qr/claude_mcp_config: .*not a/,
        server => sprintf($openai, 'claude_mcp_config $DIR;'));
refused('sessions that last no time', qr/claude_session_ttl must be/,
        http => 'claude_session_ttl 0;');
refused('a working directory with a path too long for the CLI',
        qr/claude_working_directory: .* more than 200/,
        server => sprintf($openai, 'claude_working_directory $DIR/'
                                   . 'd' x 201 . ';'),
        prepare => sub { mkdir "$_[0]/" . 'd' x 201 });
refused('two endpoints in one location', qr/conflicts/,
        server => 'location /v1/ { claude_openai; claude_health; }');
refused('an endpoint with an argument', qr/invalid number of arguments/,
        server => 'location /v1/ { claude_openai on; }');

{
    my ($status, $said) = ClaudeTest->try(
        events => 'worker_connections 16;');
    is($status, 0, 'accepted: few worker_connections');
    like($said, qr/\[warn\].*16 worker_connections are less than/,
         '  with a warning');

    ($status, $said) = ClaudeTest->try(main => 'worker_rlimit_nofile 20;');
    is($status, 0, 'accepted: few open files');
    like($said, qr/\[warn\].*20 open files are less than/, '  with a warning');
}

{
    my ($status, $said, $dir) = ClaudeTest->try();
    ok(!-e "$dir/cli/log", 'nginx -t never runs the CLI');
}

{
    my ($status, $said) = ClaudeTest->try(
        server => 'location /v1/ { claude_openai; claude_env NOT_THERE_1; }');
    is($status, 0, 'accepted: a variable that nginx itself does not have');
    like($said, qr/\[warn\].*NOT_THERE_1/, '  with a warning');
}

# A login that no CLI of nginx can use is told, whatever way the CLI has HOME.

{
    my $console = sub {
        my ($at) = @_;
        return sub {
            File::Path::make_path("$_[0]/$at");
            open my $fh, '>', "$_[0]/$at/.claude.json" or die;
            print $fh '{"numStartups":1,"primaryApiKey":"sk-secret"}';
        };
    };
    my @home = (http => 'claude_env HOME=$DIR/h;');
    my ($status, $said) = ClaudeTest->try(@home, prepare => $console->('h'));
    is($status, 0, 'accepted: a login of the Console in HOME');
    like($said, qr{\[error\] .*"[^"]*/h/\.claude\.json" is one of the Console},
         '  which is said');
    unlike($said, qr/sk-secret/, '  without the key');

    ($status, $said) = ClaudeTest->try(prepare => $console->('c'),
        http => 'claude_env HOME=$DIR/h CLAUDE_CONFIG_DIR=$DIR/c;');
    like($said, qr{/c/\.claude\.json" is one of the Console},
         '  also in CLAUDE_CONFIG_DIR');

    ($status, $said) = ClaudeTest->try(prepare => $console->('h'),
        http => 'claude_env HOME=$DIR/h ANTHROPIC_API_KEY=x;');
    unlike($said, qr/Console/, '  not where there is another login');
}

done_testing();
