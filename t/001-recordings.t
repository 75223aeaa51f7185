#!/usr/bin/perl

# The two stand-ins for the Claude CLI against the real one: what t/data/ has
# recorded is written to t/bin/claude and to bench/cli.c, line by line, and
# what they say has to be of the same shape, line by line: type and subtype,
# each key that the module reads with the type of its value, and the value
# where it is a word of the protocol.  What the text says is the script's.

use strict;
use warnings;

use Test::More;

use File::Copy qw(copy);
use File::Path qw(make_path);
use File::Temp qw(tempdir);
use IO::Select;
use IPC::Open3;
use JSON::PP;
use Time::HiRes qw(time);

use lib ($ENV{TEST_ROOT} // '.') . '/t/lib';
use ClaudeTest;

my $root = root();
my $dir = tempdir(CLEANUP => 1);
my $json = JSON::PP->new->utf8->canonical->allow_nonref;
my $patience = 30;

my @flags = (qw(-p --input-format stream-json --output-format stream-json
                --verbose --include-partial-messages --tools), '',
             '--setting-sources', '', qw(--strict-mcp-config
             --disable-slash-commands --permission-mode dontAsk
             --system-prompt - --no-session-persistence));
my @allow = qw(--allowedTools mcp__client);

# The module's plugin, in those that were recorded with it.

my @gate = ('--plugin-dir', "$dir/gate");

for (['.claude-plugin', 'plugin.json'], ['hooks', 'hooks.json'],
     ['hooks', 'register.mjs'])
{
    make_path("$dir/gate/$_->[0]");
    copy("$root/src/spawner/gate/$_->[1]", "$dir/gate/$_->[0]/$_->[1]")
        or die "$_->[1]: $!";
}

my $calls = [
    { id => 'toolu_1', name => 'get_weather', input => { city => 'Oslo' } },
    { id => 'toolu_2', name => 'zed', input => {} },
];
my $unknown = [{ id => 'toolu_1', name => 'nope', input => { a => 1 } }];
my $weather = { tool_use => $calls, then => { deltas => ['sunny'] } };


sub model_error {
    my ($name, $code) = @_;
    return { start => { model_errors => { $name => $code } } };
}


# What t/bin/claude has to be told, that it does what the model did.

my %script = (
    'bad-line'                 => {},
    'blank-prompt'             => {},
    'budget'                   => { turns => [{ budget => 1 },
                                              { budget => 'before' }] },
    'controls'                 => model_error('claude-nonsense-9',
                                              'check_failed'),
    'empty-answer'             => { turn => { empty => 1 } },
    'gate-401'                 => { turn => { error => { status => 401 } } },
    'gate-429'                 => { turn => { error => { status => 429 },
                                    headers => { 'retry-after' => 1 } } },
    'gate-429-retried'         => { turn => { api_retry => 2,
                                    retry_status => 429, headers => [
                                    ({ 'retry-after' => 1 }) x 2, {}] } },
    'gate-529'                 => { turn => { error => { status => 529 } } },
    'gate-dropped'             => { turn => { drop_after_deltas => 1 } },
    'gate-dropped-early'       => { turn => { drop_before => 1 } },
    'gate-empty'               => { turn => { empty => 1 } },
    'gate-max-tokens'          => { turn => { stop_reason => 'max_tokens' } },
    'gate-model-unknown'       => {},
    'gate-plain'               => {},
    'gate-refusal-explained'   => { turn => { stop_reason => 'refusal',
                                    stop_details => { type => 'refusal',
                                    category => 'cyber',
                                    explanation => 'No' } } },
    'gate-tools'               => { turn => $weather },
    'gate-tools-beside'        => { turn => { %$weather, tool_use => [
                                    $calls->[0], { %{ $unknown->[0] },
                                    id => 'toolu_2' }] } },
    'gate-tools-denied'        => { turn => { %$weather,
                                    tool_use => [$calls->[0]] } },
    'gate-tool-unknown'        => { turn => { tool_use => $unknown } },
    'interrupt-before-message' => { turns => [{ hang => 1 }, {}] },
    'interrupt-streaming'      => { turns => [{ deltas => [1 .. 6],
                                                hang_after_deltas => 6 },
                                              {}] },
    'interrupt-tools'          => { turns => [$weather, {}] },
    'max-tokens'               => { turn => { stop_reason => 'max_tokens' } },
    'not-logged-in'            => { turn => { not_logged_in => 1 } },
    'pipelined'                => {},
    'plain'                    => {},
    'prompt-too-long'          => { turn => { prompt_too_long => 1 } },
    'redacted-thinking'        => { turn => { redacted_thinking => 'abcd' } },
    'refusal'                  => { turn => { stop_reason => 'refusal' } },
    'refusal-explained'        => { turn => { stop_reason => 'refusal',
                                    stop_details => { type => 'refusal',
                                    category => 'cyber', explanation => 'No' },
                                    then => { deltas => ['no'] } } },
    'replay-and-rewind'        => {},
    'rewind-refused-stale'     => {},
    'rewind-refused-unseen'    => {},
    'rewind-same-prefix'       => {},
    'set-model-login'          => model_error('claude-sonnet-4-5',
                                              'auth_failed'),
    'set-model-not-empty'      => {},
    'set-model-not-found'      => { start => { unknown_models
                                               => ['claude-sonnet-4-5'] } },
    'set-model-overloaded'     => model_error('claude-sonnet-4-5',
                                              'check_server_error'),
    'set-model-rejected'       => model_error('claude-sonnet-4-5',
                                              'check_rejected'),
    'stop-sequence'            => { turn => { stop_sequence => 'END' } },
    'thinking'                 => { turn => { thinking => 'hmm' } },
    'tool-history'             => {},
    'tool-unknown'             => { turn => { tool_use => $unknown, then => {
                                    tool_use => $unknown, then => {
                                    deltas => ['done'] } } } },
    'tools-denied'             => { turn => $weather },
    'tools-failed'             => { turn => $weather },
    'tools-handshake'          => { turn => $weather },
    'tools-parallel'           => { turns => [$weather, {}] },
    'tools-serial'             => { turn => $weather },
    'upstream-401'             => { turn => { error => { status => 401 } } },
    'upstream-404'             => { turn => { error => { status => 404 } } },
    'upstream-413'             => { turn => { error => { status => 413 } } },
    'upstream-429-retried'     => { turn => { error => { status => 429 },
                                              api_retry => 2 } },
    'upstream-529'             => { turn => { error => { status => 529 } } },
    'upstream-dropped'         => { turn => { drop_after_deltas => 1 } },
    'upstream-refused'         => { turn => { error => {} } },
    'usage'                    => {},
    'uuid-reused'              => {},
);

# These it cannot play: it has no tools of its own.

my @real_only = qw(agent-max-turns agent-subagent agent-tools);

# What comes when is the machine's: their lines are compared without an order.

my %apart = map { $_ => 1 } qw(pipelined tools-denied gate-tools-denied);

# Those that bench/cli.c can play: it keeps no conversation and has no tools.

my @bench = qw(plain pipelined interrupt-streaming gate-plain);


# ---------------------------------------------------------------------------
# Shapes
# ---------------------------------------------------------------------------

# A key is one that the module reads when it stands, as a string, in the code
# of those who read lines.

my %read = map { $_ => 1 } map { /"([A-Za-z_]\w*)"/g } map {
    open my $fh, '<', $_ or die "$_: $!";
    local $/;
    <$fh>;
} glob "$root/src/{cli,engine,spawner}/*.[ch]";

cmp_ok(scalar(grep { $read{$_} } qw(type subtype request_id event delta
    message usage is_error total_cost_usd stop_reason)), '==', 10,
    'what the module reads is found in its source');

# These are words: their values are compared.

my %word = map { $_ => 1 } qw(type subtype state role stop_reason error_code
    terminal_reason is_error error api_error_status rewound method name
    error_status num_turns);


sub shape_of {
    my ($v, $path, $into) = @_;

    if (ref $v eq 'HASH') {
        my $any = $path =~ /\.model_usage_since_last_result\z/;
        for my $key (keys %$v) {
            next if !$any && !$read{$key} && !$word{$key};
            my $at = $any ? "$path.*" : "$path.$key";

            # what the provider counts is its own; of a result it is the CLI's

            if ($key eq 'usage' && $path =~ /\.(?:event|message)\b/) {
                $into->{$at} = 1;
                next;
            }
            if (!ref $v->{$key} || JSON::PP::is_bool($v->{$key})) {
                $into->{ "$at=" . kind_of($v->{$key}, $word{$key}) } = 1;
            } else {
                $into->{$at} = 1;
                shape_of($v->{$key}, $at, $into);
            }
        }
    } elsif (ref $v eq 'ARRAY') {
        shape_of($_, "$path\[]", $into) for @$v;
    }
    return $into;
}


sub kind_of {
    my ($v, $word) = @_;
    my $text = $json->encode($v);

    return $text if $text =~ /^(?:null|true|false)\z/;
    return $text if $word && $text =~ /^(?:"[\w.\/-]*"|\d+)\z/;
    return $text =~ /^"/ ? 'string' : 'number';
}


sub shape {                            # one line: its name, and the rest
    my ($line) = @_;
    my $j = eval { $json->decode($line) } // return "no JSON: $line";
    my ($name) = map { join ' ', grep { defined && !ref } @$_ } [
        @$j{qw(type subtype state)}, ref $j->{event} eq 'HASH'
            ? ($j->{event}{type}, $j->{event}{delta}{type}) : (),
        ($j->{subtype} // '') eq 'ui_log' ? words_of($j) : () ];

    return join ' ', "$name:", sort keys %{ shape_of($j, '', {}) };
}


# Of a line of the gate's: who says it, what, and of which headers.

sub words_of {
    my ($line) = @_;
    my ($what, @headers) = split /\n/, $line->{text};

    return "$line->{plugin} '$what'", map { /^([a-z-]+): ./ } @headers;
}


# Deltas: as many as the model likes.

sub story {
    my @story;

    for (map { shape($_) } @_) {
        push @story, $_ if !@story || $_ ne $story[-1] || !/_delta/;
    }
    return @story;
}


# ---------------------------------------------------------------------------
# Recordings
# ---------------------------------------------------------------------------

sub lines_of {
    open my $fh, '<:raw', $_[0] or die "$_[0]: $!";
    return map { chomp; $_ } <$fh>;
}


# The lines to write, each with how much of the story comes before its own
# first answer: [line, after, id of the request that it answers].

sub steps {
    my ($in, $out) = @_;
    my @out = map { $json->decode($_) } @$out;
    my @plan;

    for my $line (@$in) {
        my $j = eval { $json->decode($line) } // {};
        my $r = $j->{type} && $j->{type} eq 'control_response'
                ? $j->{response}{request_id} : undef;
        my $id = $j->{request_id};
        my $uuid = $j->{uuid};
        my ($first) = grep {
            my $o = $out[$_];
            defined $r ? ($o->{request_id} // '') eq $r
            : defined $id ? ($o->{response}{request_id} // '') eq $id
            : defined $uuid && ($o->{command_uuid} // '') eq $uuid
        } 0 .. $#out;

        $first++ if defined $first && defined $r;

        # what the request leads to besides, and is said before its answer

        $first-- while $first && !defined $r && is_said_first($out[$first - 1]);
        push @plan, { line => $line, first => $first, answers => $r };
    }

    # a line without an answer comes after the one before it has been answered

    my $next = @out;
    for (reverse @plan) {
        $next = $_->{first} //= $next;
    }
    for (@plan) {
        $_->{after} = story(@$out[0 .. $_->{first} - 1]);
    }
    return @plan;
}


sub is_said_first {
    my ($o) = @_;
    return $o->{isReplay} || ($o->{text} // '') eq 'gate 1'
                          || (($o->{request} || {})->{message} || {})->{method}
                             && $o->{request}{message}{method} =~ /cancelled/;
}


# What a stand-in says to it. Requests of the CLI have other ids each time.

sub play {
    my ($command, $env, $in, $out) = @_;
    my @asked = map { $_->{request_id} } grep { $_->{type} eq 'control_request' }
                map { $json->decode($_) } @$out;
    my (@said, @ids);
    my ($buf, $eof) = ('', 0);
    my $end = time + $patience;

    local %ENV = (PATH => '/usr/bin:/bin', HOME => $dir,
                  CLAUDE_AGENT_SDK_MCP_NO_PREFIX => 1, %$env);
    local $SIG{PIPE} = 'IGNORE';
    my $pid = open3(my $to, my $from, '>&STDERR', @$command);
    my $select = IO::Select->new($from);

    my $hear = sub {                   # until it has said so much
        my ($enough) = @_;

        while (!$eof && story(@said) < $enough && time < $end) {
            next if !$select->can_read(0.2);
            sysread($from, $buf, 65536, length $buf) or $eof = 1;
            while ($buf =~ s/\A([^\n]*)\n//) {
                push @said, $1;
                my $j = eval { $json->decode($1) } // {};
                push @ids, $j->{request_id}
                    if ($j->{type} // '') eq 'control_request';
            }
        }
    };

    for my $step (steps($in, $out)) {
        my $line = $step->{line};

        $hear->($step->{after});
        if (defined(my $id = $step->{answers})) {
            my ($nth) = grep { $asked[$_] eq $id } 0 .. $#asked;
            $line =~ s/\Q$id\E/$ids[$nth] \/\/ 'none'/e;
        }
        syswrite $to, "$line\n";
    }
    $hear->(scalar(story(@$out)));
    close $to;
    $hear->(1e9);
    kill 'KILL', $pid if !$eof;
    waitpid $pid, 0;
    return @said;
}


sub same {
    my ($name, $said, $recorded) = @_;
    my @is = story(@$said);
    my @real = story(@$recorded);

    if ($apart{$name =~ s/.* //r}) {
        @is = sort @is;
        @real = sort @real;
    }

    if ("@is" eq "@real") {
        pass($name);
        return;
    }

    fail($name);
    for my $i (0 .. ($#is > $#real ? $#is : $#real)) {
        my ($is, $real) = map { $_ // '(nothing)' } $is[$i], $real[$i];
        next if $is eq $real;
        my %is = map { $_ => 1 } split / /, $is;
        my %real = map { $_ => 1 } split / /, $real;
        diag("line $i of the story");
        diag("  says     " . join ' ', $is =~ /^([^:]*:)/,
             grep { !$real{$_} } split / /, $is);
        diag("  recorded " . join ' ', $real =~ /^([^:]*:)/,
             grep { !$is{$_} } split / /, $real);
        last if ($is =~ /^([^:]*)/)[0] ne ($real =~ /^([^:]*)/)[0];
    }
}


# ---------------------------------------------------------------------------

my @cases = map { m{([^/]+)\.in\.jsonl\z} } glob "$root/t/data/*.in.jsonl";

is_deeply([sort(keys %script, @real_only)], [sort @cases],
          'each recording is played, and each that is played is there');

for my $case (grep { $script{$_} } @cases) {
    my @in = lines_of("$root/t/data/$case.in.jsonl");
    my @out = lines_of("$root/t/data/$case.out.jsonl");
    my @args = ($case =~ /^(?:(?:gate-)?tools(?!-denied)|interrupt-tools)/
                ? @allow : (), $case =~ /^gate-/ ? @gate : ());

    same("t/bin/claude, $case", [play(["$root/t/bin/claude", @flags, @args],
         { FAKE_CLAUDE => $json->encode($script{$case}) }, \@in, \@out)],
         \@out);
}

SKIP: {
    my ($cc) = grep { system("command -v $_ >/dev/null 2>&1") == 0 }
                    qw(cc gcc);
    skip 'no C compiler', scalar @bench if !$cc;
    system($cc, '-O1', '-o', "$dir/cli", "$root/bench/cli.c") == 0
        or die "bench/cli.c is not built\n";

    for my $case (@bench) {
        my @in = lines_of("$root/t/data/$case.in.jsonl");
        my @out = lines_of("$root/t/data/$case.out.jsonl");

        s/"slow"/"slow [[bench n=100000 gap=10000]]"/ for @in;
        my @args = $case =~ /^gate-/ ? @gate : ();
        same("bench/cli.c, $case", [play(["$dir/cli", @flags, @args], {},
             \@in, \@out)], \@out);
    }
}

done_testing();
