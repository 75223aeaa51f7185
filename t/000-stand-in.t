#!/usr/bin/perl

# t/bin/claude, the stand-in for the Claude CLI, over its pipes: what the other
# suites rely on.  What the real CLI says to the same lines is in t/data/.

use strict;
use warnings;

use Test::More;

use Cwd qw(abs_path);
use Fcntl qw(F_SETFD);
use File::Basename qw(dirname);
use File::Copy qw(copy);
use File::Path qw(make_path remove_tree);
use File::Temp qw(tempdir);
use IO::Select;
use IPC::Open3;
use JSON::PP;
use Symbol qw(gensym);
use Time::HiRes qw(time);

my $bin = abs_path(dirname(__FILE__) . '/bin/claude');
my $dir = tempdir(CLEANUP => 1);
my $json = JSON::PP->new->utf8->canonical;
my @flags = (qw(-p --input-format stream-json --output-format stream-json
                --verbose --include-partial-messages --tools), '',
             '--setting-sources', '', qw(--strict-mcp-config
             --disable-slash-commands --permission-mode dontAsk
             --system-prompt x));
my @lean = (@flags, '--no-session-persistence');
my $logs = 0;


# ---------------------------------------------------------------------------
# A process and its pipes
# ---------------------------------------------------------------------------

sub start {
    my (%o) = @_;
    my $self = { n => 0, buf => '', lines => [], log => "$dir/log." . ++$logs };

    local %ENV = (
        PATH => '/usr/bin:/bin', HOME => $dir, FAKE_CLAUDE_LOG => $self->{log},
        CLAUDE_AGENT_SDK_MCP_NO_PREFIX => 1, %{ $o{env} || {} },
    );
    $ENV{FAKE_CLAUDE} = $json->encode($o{script}) if $o{script};

    $self->{err} = gensym;
    $self->{pid} = open3($self->{in}, $self->{out}, $self->{err}, $bin,
                         @{ $o{args} || \@lean });
    return $self;
}


sub put {
    my ($p, $o) = @_;
    local $SIG{PIPE} = 'IGNORE';
    syswrite $p->{in}, (ref $o ? $json->encode($o) : $o) . "\n";
}


# The next line, decoded; undef at the end, or after five seconds.

sub line {
    my ($p, $wait) = @_;
    my $end = time + ($wait // 5);

    while ($p->{buf} !~ /\n/) {
        my $left = $end - time;
        return undef if $left <= 0;
        IO::Select->new($p->{out})->can_read($left) or return undef;
        sysread($p->{out}, $p->{buf}, 65536, length $p->{buf}) or return undef;
    }
    $p->{buf} =~ s/\A([^\n]*)\n//;
    my $l = $1;
    push @{ $p->{lines} }, $l;
    return eval { $json->decode($l) } || { type => 'garbage', text => $l };
}


# Lines until one of the type (and subtype), all of them in a list.

sub until_type {
    my ($p, $type, $sub) = @_;
    my @l;

    while (my $j = line($p)) {
        push @l, $j;
        last if $j->{type} eq $type
                && (!defined $sub || ($j->{subtype} // '') eq $sub);
    }
    return @l;
}


sub uuid { return sprintf '%08x-aaaa-4000-8000-000000000000', $_[0] }


sub ask {                              # lines up to the result
    my ($p, $i, $content, %more) = @_;
    question($p, $i, $content, %more);
    return until_type($p, 'result');
}


sub question {
    my ($p, $i, $content, %more) = @_;
    put($p, { type => 'user', message => { role => 'user',
              content => $content }, parent_tool_use_id => undef,
              session_id => '', uuid => uuid($i),
              client_composed => JSON::PP::true, %more });
}


sub replay {                           # a past pair
    my ($p, $i, $user, $assistant) = @_;
    ask($p, $i, $user, shouldQuery => JSON::PP::false);
    put($p, { type => 'assistant', message => { role => 'assistant',
              content => [{ type => 'text', text => $assistant }] },
              uuid => uuid($i + 1) });
}


sub control {                          # the response
    my ($p, %request) = @_;
    my $id = 'r' . ++$p->{n};
    put($p, { type => 'control_request', request_id => $id,
              request => \%request });
    while (my $j = line($p)) {
        return $j->{response} if $j->{type} eq 'control_response'
                                 && $j->{response}{request_id} eq $id;
    }
    return {};
}


sub rewind {
    my ($p, $target, $last) = @_;
    return control($p, subtype => 'rewind_conversation',
                   target_message_uuid => uuid($target),
                   (defined $last ? (last_seen_user_message_uuid
                                     => uuid($last)) : ()))->{response};
}


sub finish {                           # exit status, or the signal's name
    my ($p, $close) = @_;

    close $p->{in} unless $p->{closed}++;
    1 while line($p, 5);
    local $SIG{ALRM} = sub { kill 'KILL', $p->{pid} };
    alarm 10;
    waitpid $p->{pid}, 0;
    alarm 0;
    return $? & 127 ? 'signal ' . ($? & 127) : $? >> 8;
}


sub log_of {
    my ($p, $event) = @_;
    open my $fh, '<:raw', $p->{log} or return;
    return grep { $_->{event} eq $event } map { $json->decode($_) } <$fh>;
}


sub log_of_start {                     # once it has answered something
    my ($p) = @_;
    control($p, subtype => 'get_binary_version');
    return log_of($p, 'start');
}


sub kinds {                            # one word a line
    return join ' ', map {
        my $j = $_;
        $j->{type} eq 'stream_event' ? do {
            my $k = $j->{event}{type};
            $k =~ s/content_block_//;
            $k eq 'delta' ? () : $k
        } : $j->{type} eq 'command_lifecycle' ? $j->{state}
          : $j->{type} eq 'system' ? $j->{subtype} : $j->{type}
    } @_;
}


sub text {
    return join '', map { $_->{event}{delta}{text} // '' }
                    grep { $_->{type} eq 'stream_event' } @_;
}


sub one {                              # a whole process for one question
    my ($script, %o) = @_;
    my $p = start(script => { turn => $script }, %o);
    my @l = ask($p, 1, 'hi');
    return ($p, @l);
}


# ---------------------------------------------------------------------------

is(`$bin --version`, "2.1.330 (Claude Code)\n", 'it says its version');

{
    my $p = start();
    my $r = control($p, subtype => 'initialize', systemPrompt => ['SYS']);
    ok($r->{response}{models}, 'initialize is answered, with the models');

    $r = control($p, subtype => 'set_model', model => 'sonnet',
                 system_prompt => 'S2');
    is($r->{response}{model}, 'claude-sonnet-5-5', 'an alias is resolved');

    my @l = ask($p, 1, 'hello there');
    push @l, line($p);
    is(kinds(@l), 'queued started init status message_start start '
       . 'assistant stop message_delta message_stop result completed',
       'a question is answered in the real order');
    is(text(@l), 'echo: hello there', 'the answer is an echo by default');

    ask($p, 2, 'more');
    my ($a) = grep { $_->{n} == 1 && @{ $_->{messages} } == 3 }
                   log_of($p, 'asked');
    is_deeply([map { $_->{role} } @{ $a->{messages} }],
              [qw(user assistant user)], 'the conversation is kept');
    is($a->{system}, 'S2', 'set_model sets the system prompt');

    is_deeply(rewind($p, 2, 1), { rewound => JSON::PP::false,
        prefillText => undef, precedingAssistantUuid => undef,
        error => 'unseen later turn', reason => 'unseen_later_turn' },
        'a rewind that missed the newest line is refused');
    is(rewind($p, 1, undef)->{reason}, 'stale_target',
       'a rewind without last_seen reaches the newest line only');
    is(rewind($p, 77, 2)->{reason}, 'target_not_found',
       'a rewind to nowhere is refused');
    ok(rewind($p, 2, 2)->{rewound}, 'a rewind cuts before its target');

    ask($p, 3, 'branch');
    ($a) = reverse log_of($p, 'asked');
    is_deeply([map { ref $_->{content} ? $_->{content}[0]{text}
                                       : $_->{content} } @{ $a->{messages} }],
              ['hello there', 'echo: hello there', 'branch'],
              'a rewind leaves no trace');

    question($p, 3, 'the same uuid');
    is(line($p)->{state}, 'completed', 'the turn before ends');
    is(line($p, 0.1), undef, 'a line with a known uuid is dropped silently');

    $r = control($p, subtype => 'nonsense');
    is($r->{error}, 'Unsupported control request subtype: nonsense',
       'an unknown control request is an error');

    is(finish($p), 0, 'end of file ends it with status 0');
    is((log_of($p, 'exit'))[0]{why}, 'end of file', 'the log says why');
    my $fds = (log_of($p, 'start'))[0]{fds};
    is(scalar(grep { /^pipe:/ } @$fds{0 .. 2}), 3, 'the log names the pipes');
}

{
    pipe my $leak, my $other;
    fcntl $leak, F_SETFD, 0;
    my $p = start();
    is((log_of_start($p))[0]{fds}{ fileno $leak }, readlink('/proc/self/fd/'
       . fileno $leak), 'a leaked descriptor is in the log');
    finish($p);
}

{
    my $p = start();
    replay($p, 1, 'one', 'two');
    my @l = ask($p, 3, 'three');
    my ($a) = log_of($p, 'asked');
    is_deeply($a->{messages}, [
        { role => 'user', content => 'one' },
        { role => 'assistant', content => [{ type => 'text', text => 'two' }] },
        { role => 'user', content => 'three' },
    ], 'replayed messages are in the conversation');

    # 00000001-aaaa-4000-8000-000000000000 and ...-000000000009 are one to it
    my $near = uuid(3);
    $near =~ s/0\z/9/;
    my $r = control($p, subtype => 'rewind_conversation',
        target_message_uuid => $near, last_seen_user_message_uuid => $near);
    is($r->{response}{targetMessageUuid}, uuid(3),
       'uuids are compared by their first 24 characters');
    finish($p);
}

{
    my $p = start(script => { turns => [
        { deltas => [map { "w$_ " } 0 .. 5], hang_after_deltas => 6 },
        { text => 'fine' } ] });
    question($p, 1, 'slow');
    until_type($p, 'system', 'status');
    while (my $j = line($p)) {
        last if ($j->{event}{delta}{text} // '') eq 'w5 ';
    }
    is(rewind($p, 1, 1)->{reason}, 'turn_running',
       'a rewind during a turn is refused');
    put($p, { type => 'control_request', request_id => 'i',
              request => { subtype => 'interrupt' } });
    my @l = until_type($p, 'result');
    push @l, line($p);
    is(kinds(@l), 'control_response assistant user stop message_delta '
       . 'message_stop result cancelled', 'an interrupt ends a turn as the '
       . 'real one does');
    is($l[6]{terminal_reason}, 'aborted_streaming', 'the result says so');
    ok(rewind($p, 1, 1)->{rewound}, 'an interrupted turn can be rewound');
    is(text(ask($p, 2, 'again')), 'fine', 'the process can be used again');
    is(finish($p), 0, 'the status is that of the last turn');
}

# failures of the upstream

for my $c ([429, 'rate_limit'], [401, 'authentication_failed'],
           [404, 'model_not_found'], [529, 'server_error'])
{
    my ($p, @l) = one({ error => { status => $c->[0] } });
    my ($a) = grep { $_->{type} eq 'assistant' } @l;
    is("$a->{error} $l[-1]{api_error_status} $l[-1]{is_error} "
       . "$l[-1]{subtype} $a->{message}{model}",
       "$c->[1] $c->[0] 1 success <synthetic>", "upstream $c->[0]");
    is(finish($p), 1, "the exit status after $c->[0] is 1");
}

{
    my ($p, @l) = one({ not_logged_in => 1 });
    is($l[-1]{result}, "Not logged in \x{b7} Please run /login",
       'not logged in');
    finish($p);

    ($p, @l) = one({ prompt_too_long => 1 });
    is($l[-1]{terminal_reason}, 'prompt_too_long', 'prompt too long');
    finish($p);

    ($p, @l) = one({ budget => 1 });
    is($l[-1]{subtype}, 'error_max_budget_usd', 'budget reached');
    finish($p);

    ($p, @l) = one({ api_retry => 2, error => { status => 529 } });
    is(scalar(grep { ($_->{subtype} // '') eq 'api_retry' } @l), 2,
       'retries are announced');
    finish($p);

    ($p, @l) = one({ text => 'half', stop_reason => 'max_tokens' });
    is(scalar(grep { ($_->{event}{type} // '') eq 'message_start' } @l), 4,
       'after max_tokens it goes on by itself, three times');
    finish($p);

    ($p, @l) = one({ text => 'half', drop_after_deltas => 1 });
    is(scalar(grep { ($_->{event}{type} // '') eq 'message_delta' } @l), 0,
       'a broken stream has a message_stop but no message_delta');
    finish($p);
}

# faults

{
    my ($p, @l) = one({ die_before => 3 });
    is(finish($p), 3, 'die_before, with a status');

    ($p, @l) = one({ text => 'a b c d', die_after_deltas => 2 });
    is(text(@l), 'a b ', 'die_after_deltas: so many deltas');
    is(finish($p), 'signal 9', 'and a signal');

    ($p, @l) = one({ text => 'a b', garbage_after_deltas => 1 });
    is(scalar(grep { $_->{type} eq 'garbage' } @l), 1, 'garbage');
    finish($p);

    ($p, @l) = one({ half_line => JSON::PP::true, exit_code => 0 });
    like($p->{buf}, qr/content_block_del\z/, 'half_line');
    finish($p);

    ($p, @l) = one({ huge_line => 300000 });
    is(length text(@l), 300000, 'huge_line');
    finish($p);

    ($p, @l) = one({ text => 'done', exit_code => 7 });
    is(finish($p), 7, 'exit_code after the turn');

    $p = start(script => { start => { exit => 4, stderr => 'no licence' } });
    is(finish($p), 4, 'start.exit');
    sysread $p->{err}, my $said, 100;
    is($said, "no licence\n", 'start.stderr');

    $p = start(script => { start => { refuse => ['set_model'] } });
    is(control($p, subtype => 'set_model', model => 'opus')->{subtype},
       'error', 'start.refuse');
    finish($p);

    $p = start(script => { turn => { hang => JSON::PP::true } });
    question($p, 1, 'x');
    until_type($p, 'system', 'status');
    my $t = time;
    kill 'TERM', $p->{pid};
    is(finish($p), 143, 'SIGTERM ends it, mid-turn too');
    cmp_ok(time - $t, '<', 5, 'and quickly');

    $p = start();
    put($p, 'this is not JSON');
    is(finish($p), 1, 'a line that is not JSON ends it with status 1');
}

{
    my $p = start(script => { turn => { fork_child_holds_pipe
                                        => JSON::PP::true } });
    question($p, 1, 'x');
    waitpid $p->{pid}, 0;
    my ($c) = log_of($p, 'child');
    ok($c && kill(0, $c->{child}), 'a child may hold the pipe after the exit');
    kill 'KILL', $c->{child} if $c;
    finish($p);
}

# scripting

{
    my ($p, @l) = one({ text => "na\x{ef}ve \x{1f600} \x{4e2d}\n\"q\"" });
    is(text(@l), "na\x{ef}ve \x{1f600} \x{4e2d}\n\"q\"", 'any text passes');
    is((ask($p, 2, "\x{1f600} [[fake {\"text\":\"ok\"}]]"))[-1]{result}, 'ok',
       'and a conversation with it goes on');
    like((log_of($p, 'asked'))[1]{messages}[1]{content}[0]{text},
         qr/\x{4e2d}/, 'and is logged');
    finish($p);
}

{
    my $file = "$dir/script.json";
    my $p = start(script => { turn => { text => 'from env' } },
                  env => { FAKE_CLAUDE_FILE => $file });
    is(text(ask($p, 1, 'x')), 'from env', 'the environment scripts a turn');

    open my $fh, '>', $file;
    print $fh '{"turn":{"text":"from file"}}';
    close $fh;
    is(text(ask($p, 2, 'x')), 'from file', 'the file wins over it');
    is(text(ask($p, 3, 'x [[fake {"text":"from marker"}]]')), 'from marker',
       'the marker wins over both');
    finish($p);
}

# the security boundary, and settings

{
    my $secret = "$dir/secret";
    open my $fh, '>', $secret;
    print $fh "hunter2\n";
    close $fh;

    my $p = start();
    ask($p, 1, "see \@$secret", client_composed => JSON::PP::false);
    ask($p, 2, "see \@$secret");
    my @a = log_of($p, 'asked');
    like($json->encode($a[0]{messages}), qr/hunter2/,
         'without client_composed a mention is expanded');
    my $tail = $a[1]{messages}[-1]{content};
    is($tail, "see \@$secret", 'with it the text stays as it is');

    control($p, subtype => 'apply_flag_settings', settings => { env => {
        CLAUDE_CODE_MAX_OUTPUT_TOKENS => '77',
        CLAUDE_CODE_EXTRA_BODY => '{"stop_sequences":["ZZ"]}' } });
    ask($p, 3, 'x');
    control($p, subtype => 'apply_flag_settings', settings => { env => {
        CLAUDE_CODE_MAX_OUTPUT_TOKENS => '' } });
    ask($p, 4, 'x');
    @a = log_of($p, 'asked');
    is($a[2]{max_tokens}, 77, 'settings take effect');
    is_deeply($a[2]{extra_body}, { stop_sequences => ['ZZ'] },
              'and are in the log');
    is($a[3]{max_tokens}, 128000, 'an empty value takes one back');
    finish($p);
}

# client tools

{
    my $obj = { type => 'object' };
    my $p = start(args => [@lean, '--allowedTools', 'mcp__client'],
                  script => { turn => { tool_use => [
                      { id => 'toolu_a', name => 'get', input => { x => 1 } },
                  ], then => { text => 'sunny' } } });
    control($p, subtype => 'initialize', systemPrompt => ['S'],
        sdkMcpServers => ['client'], sdkMcpServerManifests => { client => {
        toolsListResult => { tools => [{ name => 'get', inputSchema => $obj,
        annotations => { readOnlyHint => JSON::PP::true } }] } } });
    question($p, 1, 'weather?');
    my @l = until_type($p, 'control_request');
    my $m = $l[-1]{request}{message};
    is("$m->{params}{name} $m->{params}{_meta}{'claudecode/toolUseId'}",
       'get toolu_a', 'a tool call reaches the client');
    put($p, { type => 'control_response', response => { subtype => 'success',
        request_id => $l[-1]{request_id}, response => { mcp_response => {
        jsonrpc => '2.0', id => $m->{id}, result => { content => [
        { type => 'text', text => 'warm' }] } } } } });
    @l = until_type($p, 'result');
    is(text(@l), 'sunny', 'and its result lets the turn go on');
    my @a = log_of($p, 'asked');
    is($a[1]{messages}[2]{content}[0]{type}, 'tool_result',
       'with the result in the conversation');
    finish($p);

    ($p, @l) = one({ tool_use => [{ name => 'nope' }],
                     then => { text => 'x' } });
    my ($u) = grep { $_->{type} eq 'user' } @l;
    like($u->{message}{content}[0]{content}, qr/No such tool available: nope/,
         'it answers an unknown tool by itself');
    finish($p);
}

# the gate

my $gate = "$dir/gate";

sub gate_files {                       # of the module's plugin, less one
    my ($less) = @_;

    remove_tree($gate);
    for (['.claude-plugin', 'plugin.json'], ['hooks', 'hooks.json'],
         ['hooks', 'register.mjs'])
    {
        make_path("$gate/$_->[0]");
        copy(dirname($bin) . "/../../src/spawner/gate/$_->[1]",
             "$gate/$_->[0]/$_->[1]") if $_->[1] ne ($less // '');
    }
}


# One question, and what the gate says of it: "gate 1", "call", "said: 200".

sub with_gate {
    my ($script, $args, @more) = @_;
    my $p = start(script => $script, args => [@lean, '--plugin-dir', $gate,
                                              @{ $args || [] }], @more);
    control($p, subtype => 'initialize', systemPrompt => ['S']);
    my @l = ask($p, 1, 'hi');
    my @said = map { $_->{text} =~ s/\brequest-id: req_$p->{pid}_/request-id: /r }
               grep { ($_->{subtype} // '') eq 'ui_log' }
               map { $json->decode($_) } @{ $p->{lines} };
    return ($p, join(', ', @said), @l);
}

{
    my ($p, $said, @l);

    gate_files();
    ($p, $said, @l) = with_gate({});
    is($said, "gate 1, call, said: 200\nrequest-id: 1",
       'with --plugin-dir it says what the plugin says');
    is($l[2]{plugins}[0]{name}, 'nginx-gate', '  and lists it');
    is(kinds(@l), 'queued started init status ui_log ui_log message_start '
       . 'start assistant stop message_delta message_stop result',
       '  each line in its place');
    is(control($p, subtype => 'set_model', model => 'gpt-unknown')->{subtype},
       'success', '  no name is checked by set_model');
    @l = ask($p, 2, 'x');
    is("$l[-1]{api_error_status} " . scalar(log_of($p, 'call')), '404 3',
       '  it fails at the question, which is sent twice');
    is(scalar(log_of($p, 'validate')), 0, '  and nothing was asked before');
    finish($p);

    ($p, $said, @l) = with_gate({ turn => { text => 'half',
                                            stop_reason => 'max_tokens' } });
    is($said, "gate 1, call, said: 200\nrequest-id: 1",
       'after max_tokens there is no second call');
    is("$l[-1]{api_error} $l[-1]{api_error_status} $l[-1]{num_turns}",
       'hook_denied 403 2', '  it is denied');
    is(scalar(log_of($p, 'asked')), 1, '  and the model is asked once');
    is(text(ask($p, 2, '[[fake {"text":"fine"}]]')), 'fine',
       '  the next question has its call');
    finish($p);

    ($p, $said, @l) = with_gate({ turn => { drop_before => 1 } });
    is("$said: $l[-1]{api_error}", "gate 1, call, said: 200\nrequest-id: 1: "
       . 'hook_denied', 'a stream that breaks before its begin');
    finish($p);

    ($p, $said, @l) = with_gate({ turn => { api_retry => 1, retry_status => 429,
        headers => [{ 'retry-after' => 1 }, { 'request-id' => 'req_b',
        'anthropic-ratelimit-unified-status' => 'allowed', other => 1 }] } });
    is($said, "gate 1, call, said: 429\nrequest-id: 1\nretry-after: 1, call, "
       . "said: 200\nanthropic-ratelimit-unified-status: allowed\n"
       . 'request-id: req_b', 'headers of each call are scripted');
    is($l[-1]{result}, 'echo: hi', '  a refused call may be repeated');
    finish($p);

    ($p, $said) = with_gate({ turn => { not_logged_in => 1 } });
    is($said, 'gate 1', 'no call without a login');
    finish($p);
    ($p, $said) = with_gate({ turn => { error => {} } });
    is($said, 'gate 1, call', 'no headers of a connection that is refused');
    finish($p);
    ($p, $said) = with_gate({ turn => { gate => 'passed' } });
    is($said, 'gate 1', 'a question may pass it by');
    ask($p, 2, '[[fake {"gate":"works"}]]');
    is(scalar(grep { /"text":"call"/ } @{ $p->{lines} }), 1, '  once');
    finish($p);

    for my $script ({ start => { gate => 'shut' } },
                    { turn => { gate => 'shut' } })
    {
        ($p, $said, @l) = with_gate($script);
        is("$said: $l[-1]{api_error}", 'gate 1: hook_denied',
           'a gate may let nothing through: no call');
        is(scalar(log_of($p, 'asked')), 0, '  upstream');
        finish($p);
    }

    my %lost = (
        '--bare'      => [{}, ['--bare'], ''],
        '--safe-mode' => [{}, ['--safe-mode'], ''],
        'settings'    => [{}, ['--settings', '{"disableAllHooks":true}'], ''],
        'the script, silent' => [{ start => { gate => 'silent' } }, [], ''],
        'the script, passed' => [{ start => { gate => 'passed' } }, [],
                                 'gate 1'],
        '2.1.299' => [{ start => { version => '2.1.299' } }, [], ''],
        '2.1.300' => [{ start => { version => '2.1.300' } }, [], 'gate 1'],
        '2.1.320' => [{ start => { version => '2.1.320' } }, [], 'gate 1'],
    );

    for my $why (sort keys %lost) {
        my ($script, $args, $want) = @{ $lost{$why} };
        $script->{turn} = { text => 'half', stop_reason => 'max_tokens' };
        ($p, $said, @l) = with_gate($script, $args);
        is($said, $want, "the gate is lost by $why");
        is(scalar(log_of($p, 'asked')), 4, '  so that the model is asked again');
        finish($p);
    }
    for my $file (qw(plugin.json hooks.json register.mjs)) {
        gate_files($file);
        ($p, $said) = with_gate({});
        is($said, '', "the gate is lost without $file");
        finish($p);
    }
    remove_tree($gate);
    ($p, $said) = with_gate({});
    is($said, '', 'the gate is lost without its directory');
    finish($p);
}

# a message with calls of known tools and others

{
    my $tools = { tools => [map { { name => $_, inputSchema => { type =>
        'object' }, annotations => { readOnlyHint => JSON::PP::true } } }
        qw(get put)] };

    for my $case ([[qw(get put)], 2, 'sunny', 'after the results of all calls '
                                              . 'there is one more call'],
                  [[qw(get nope)], 2, 'sunny', 'and beside an unknown one'],
                  [['nope'], 1, '', 'not after an unknown one alone'])
    {
        my ($names, $calls, $text, $name) = @$case;
        gate_files();
        my $p = start(args => [@lean, '--allowedTools', 'mcp__client',
                               '--plugin-dir', $gate],
            script => { turn => { tool_use => [map { { name => $_, id =>
                "toolu_$_" } } @$names], then => { text => 'sunny' } } });
        control($p, subtype => 'initialize', systemPrompt => ['S'],
            sdkMcpServers => ['client'], sdkMcpServerManifests => {
            client => { toolsListResult => $tools } });
        question($p, 1, 'weather?');
        my @l;
        while (my $j = line($p)) {
            push @l, $j;
            last if $j->{type} eq 'result';
            next if $j->{type} ne 'control_request';
            put($p, { type => 'control_response', response => {
                subtype => 'success', request_id => $j->{request_id},
                response => { mcp_response => { jsonrpc => '2.0',
                id => $j->{request}{message}{id}, result => { content => [
                { type => 'text', text => 'warm' }] } } } } });
        }
        is(scalar(log_of($p, 'asked')) . ' ' . text(@l), "$calls $text", $name);
        finish($p);
    }
}

# sessions on disk

{
    my $id = '11111111-2222-4333-8444-555555555555';
    my $p = start(args => [@flags, '--session-id', $id]);
    ask($p, 1, 'remember');
    finish($p);
    $p = start(args => [@flags, '--resume', $id]);
    ask($p, 2, 'what?');
    my ($a) = log_of($p, 'asked');
    is(scalar @{ $a->{messages} }, 3, 'a session is resumed');
    finish($p);
    $p = start(args => [@flags, '--resume', uuid(9)]);
    is(finish($p), 1, 'an unknown session is an error');
}

{
    my $p = start();
    question($p, 1, '[[fake {"text":"word ","repeat":200000}]]');
    my $n = 0;
    while (1) {
        my $k = sysread $p->{out}, my $b, 1 << 20 or last;
        $n += $b =~ tr/\n//;
        last if $b =~ /"type":"result"/;
    }
    # of its own CPU, in hundredths: what else the machine does is not in it
    open my $fh, '<', "/proc/$p->{pid}/stat";
    my ($user, $system) = (split ' ', <$fh> =~ s/^.*\) //r)[11, 12];
    cmp_ok($n / ($user + $system) * 100, '>', 50000, '50,000 lines a second');
    finish($p);
}

done_testing();
