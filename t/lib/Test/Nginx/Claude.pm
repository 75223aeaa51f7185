# What the Test::Nginx suites of this module share: nginx with a master and
# two workers, the zone, a key and the stand-in CLI, and sections for the API.
#
#   --- chat         a body to POST to /v1/chat/completions (JSON, or anything)
#   --- ask          or the text of one user message; the body is made of it
#   --- fake         a script for the stand-in's turn, added to that text
#   --- with         more members of that body: "stream":true
#   --- get          or a path to GET
#   --- method, path, headers, key     in place of POST, the path, none, sk-test;
#                    "key" none sends no key
#   --- server, http, start            configuration: of the server (a location
#                    /v1/ by default), of http, and the stand-in's "start"
#   --- json         lines about the body: path = JSON, path ~ regex, ! path,
#                    path # length
#   --- chunks       the same about the array of a stream's chunks; "text = "
#                    is all content, "done = 1" tells of the [DONE] at the end,
#                    "error.type = " of the error that is data
#   --- asked        the same about what the model was last asked
#   --- calls        how often the model was called for this block, counted
#                    when no turn runs any more
#   --- logs, no_logs  patterns in the error log, a line each
#
# Each block also checks that the error log got no [alert], [crit] or [emerg],
# unless its "logs" name the word.

package Test::Nginx::Claude;

use strict;
use warnings;

use File::Temp ();
use IO::Socket::INET ();
use JSON::PP ();
use Time::HiRes ();

BEGIN { $ENV{TEST_NGINX_FORCE_RESTART_ON_TEST} //= 0 }

use Test::Nginx::Socket -Base;

our @EXPORT = (@Test::Nginx::Socket::EXPORT, qw(add_block_check));

my $dir = File::Temp::tempdir('claude-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $log = "$dir/log";
my $json = JSON::PP->new->utf8->canonical->allow_nonref;
my $pretty = JSON::PP->new->canonical->allow_nonref;
my ($log_at, $errors_at, $block_checks) = (0, 0, []);
my $last_config = "";
my $patience = $ENV{TEST_SANITIZED} ? 60 : 20;

chmod 0755, $dir;
mkdir "$dir/$_" for qw(cwd home);

sub root() { return $ENV{TEST_ROOT} || do { require Cwd; Cwd::getcwd() } }
sub add_block_check($) { push @$block_checks, shift }


our $Common = <<"_EOC_";
    claude_zone claude:2m;
    claude_api_key sk-test name=tester;
    claude_api_key sk-other name=other;
    claude_binary @{[ root ]}/t/bin/claude;
    claude_working_directory $dir/cwd;
    claude_state_path $dir/state;
    claude_env HOME=$dir/home FAKE_CLAUDE_LOG=$log;
_EOC_

our $Location = "        location /v1/ { claude_openai; }\n";

$ENV{CLAUDE_DIR} = $dir;
$ENV{CLAUDE_BIN} = root . '/t/bin/claude';

no_shuffle();
repeat_each(1);
master_on();
workers(2);
log_level('info');
worker_connections(512);
timeout($patience);
no_long_string();


add_block_preprocessor(sub {
    my ($block) = @_;

    my $server = $block->server // $Location;
    $server .= "        location = /v1-health { claude_health; }\n"
               . "        location = /v1-status { claude_status; "
               . "claude_auth off; }\n";
    my $http = $Common . ($block->http // '');

    if (defined(my $start = $block->start)) {
        chomp $start;
        $http .= "    claude_env 'FAKE_CLAUDE={\"start\":$start}';\n";
    }

    $http =~ s/\$CLAUDE_DIR\b/$dir/g;
    $server =~ s/\$CLAUDE_DIR\b/$dir/g;

    # the same configuration: the same nginx

    my $id = unpack '%32C*', $http;
    $block->set_value(http_config => $http);
    $block->set_value(config => "$server        # $id "
                                . length($http) . "\n");

    $block->set_value(raw_request => raw_request_of($block))
        unless defined $block->raw_request;

    # what the block before has left under way may still ask the model

    wait_until_settled() if $last_config ne ''
                            && (defined $block->calls || defined $block->asked);
    $log_at = -s $log || 0;
    my $errors = $Test::Nginx::Util::ErrLogFile;
    $errors_at = $block->config eq $last_config ? -s $errors || 0 : 0;
    $last_config = $block->config;
});


sub raw_request_of() {
    my ($block) = @_;
    my $body = $block->chat;
    my $key = $block->key // 'sk-test';
    my $path = $block->path // '/v1/chat/completions';
    my $method = $block->method // 'POST';

    chomp($key, $path, $method);

    if (defined(my $ask = $block->ask)) {
        chomp $ask;
        if (defined(my $fake = $block->fake)) {
            chomp $fake;
            $ask .= " [[fake $fake]]";
        }
        utf8::decode($ask);
        $ask = $json->encode($ask);
        my $with = $block->with // '';
        chomp $with;
        $with = ",$with" if length $with;
        $body = "{\"model\":\"sonnet\",\"messages\":[{\"role\":\"user\","
                . "\"content\":$ask}]$with}";
    }

    if (defined(my $get = $block->get)) {
        chomp $get;
        ($method, $path) = ('GET', $get);
    }

    if (defined $body) {
        chomp $body;
        utf8::encode($body) if utf8::is_utf8($body);
    }

    my $more = $block->headers // '';
    $more =~ s/\r?\n/\r\n/g;
    $more .= "\r\n" if length $more && $more !~ /\n\z/;

    my $r = "$method $path HTTP/1.1\r\nHost: localhost\r\n"
            . "Connection: close\r\n$more";
    $r .= "Authorization: Bearer $key\r\n" if $key ne 'none';
    if ($more =~ /^Transfer-Encoding:\s*chunked/mi) {
        my $n = int(length($body) / 3) + 1;
        my $sent = '';
        $sent .= sprintf("%x\r\n%s\r\n", length, $_)
            for $body =~ /(.{1,$n})/gs;
        return "$r\r\n${sent}0\r\n\r\n";
    }
    $r .= "Content-Type: application/json\r\nContent-Length: "
          . length($body) . "\r\n" if defined $body;
    return "$r\r\n" . ($body // '');
}


# value at a.0.b, or a reference to nothing
my $nothing = [];

sub at() {
    my ($v, $path) = @_;

    return $v if $path eq '.';

    for my $step (split /\./, $path) {
        if (ref $v eq 'HASH' && exists $v->{$step}) {
            $v = $v->{$step};
        } elsif (ref $v eq 'ARRAY' && $step =~ /^-?\d+$/ && @$v
                 && abs($step) <= ($step < 0 ? @$v : $#$v)) {
            $v = $v->[$step];
        } else {
            return $nothing;
        }
    }

    return $v;
}


sub hold() {
    my ($what, $value, $rules) = @_;

    for my $rule (grep { /\S/ } split /\n/, $rules) {
        if ($rule =~ /^!\s*(\S+)$/) {
            Test::More::is(at($value, $1), $nothing,
                           "$what has no $1");
        } elsif ($rule =~ /^(\S+)\s*=\s*(.*)$/) {
            my ($path, $want) = ($1, $2);
            my $got = at($value, $path);
            Test::More::is(
                ref $got && $got == $nothing ? "(nothing)"
                                              : $json->encode($got),
                $json->encode($json->decode($want)), "$what: $path");
        } elsif ($rule =~ /^(\S+)\s*#\s*(\d+)$/) {
            Test::More::is(length at($value, $1), $2, "$what: length of $1");
        } elsif ($rule =~ /^(\S+)\s*~\s*(.*)$/) {
            my ($path, $want) = ($1, $2);
            my $got = at($value, $path);
            Test::More::like(ref $got ? $json->encode($got)
                                      : $got // '(null)',
                             qr/$want/s, "$what: $path");
        } else {
            Test::More::fail("$what: a rule that is none: $rule");
        }
    }
}


sub chunks_of() {
    my ($body) = @_;
    my %s = (chunks => [], text => '', done => 0, comments => 0);

    for my $event (split /\n\n/, $body) {
        if ($event =~ /^:/) {
            $s{comments}++;
        } elsif ($event eq 'data: [DONE]') {
            $s{done}++;
        } elsif ($event =~ /^data: (.*)\z/) {
            my $j = eval { $json->decode($1) };
            if (!$j) {
                $s{bad} = $event;
            } elsif ($j->{error}) {
                $s{error} = $j->{error};
            } else {
                push @{ $s{chunks} }, $j;
                $s{text} .= $_->{delta}{content} // $_->{text} // ''
                    for @{ $j->{choices} };
            }
            $s{after_done} = 1 if $s{done};
        } else {
            $s{bad} = $event;
        }
    }

    $s{n} = @{ $s{chunks} };
    for my $k (qw(id created model object system_fingerprint)) {
        my %seen = map { ($_->{$k} // '') => 1 } @{ $s{chunks} };
        $s{same}{$k} = keys %seen;
    }
    return \%s;
}


sub log_events() {                     # of this block
    my ($event) = @_;

    open my $fh, '<:raw', $log or return;
    seek $fh, $log_at, 0;
    return grep { !defined $event || $_->{event} eq $event }
           map { length > 1_000_000 ? event_of_long($_) : $json->decode($_) }
           grep { /\n\z/ } <$fh>;
}


# JSON::PP takes seconds for megabytes.  run: the longest run of the letter z.

sub event_of_long() {
    my ($line) = @_;
    my $run = 0;

    while ($line =~ /z+/g) {
        $run = $+[0] - $-[0] if $run < $+[0] - $-[0];
    }

    my ($event) = $line =~ /"event":"(\w+)"/;
    return { event => $event, run => $run, bytes => length $line };
}


# Asks for a page until it is as wanted: 0 if it is not in time, or is none.

sub wait_for_page() {
    my ($page, $wanted) = @_;
    my $until = Time::HiRes::time() + $patience;
    my $port = server_port();

    while (Time::HiRes::time() < $until) {
        my $s = IO::Socket::INET->new("127.0.0.1:$port") or last;
        print $s "GET $page HTTP/1.0\r\n\r\n";
        my ($text) = join('', <$s>) =~ /\r\n\r\n(.*)/s or last;
        my $r = eval { $json->decode($text) } or last;
        return 1 if $wanted->($r);
        Time::HiRes::sleep(0.02);
    }
    return 0;
}


# No turn runs or waits.

sub wait_until_idle() {
    return wait_for_page('/v1-health',
                         sub { !$_[0]{turns} && !$_[0]{waiting} });
}


# Nor is any process still busy with one that is over.

sub wait_until_settled() {
    return wait_for_page('/v1-status', sub {
        !grep { $_->{state} ne 'idle' } @{ $_[0]{processes} } });
}


sub error_lines() {                    # of this block
    open my $fh, '<:raw', $Test::Nginx::Util::ErrLogFile or return;
    my $size = -s $fh;
    seek $fh, $errors_at <= $size ? $errors_at : 0, 0;
    return <$fh>;
}


add_response_body_check(sub {
    my ($block, $body) = @_;
    my $name = $block->name;

    if (defined $block->json) {
        my $j = eval { $json->decode($body) };
        Test::More::ok(defined $j, "$name - the body is JSON")
            or Test::More::diag($body);
        hold("$name - body", $j, $block->json) if defined $j;
    }

    if (defined $block->chunks) {
        my $s = chunks_of($body);
        Test::More::ok(!$s->{bad} && !$s->{after_done},
                       "$name - the body is a stream of events")
            or Test::More::diag($body);
        hold("$name - stream", $s, $block->chunks);
    }

    if (defined $block->calls) {
        my $calls = $block->calls;
        chomp $calls;
        Test::More::ok(wait_until_idle(), "$name - the turn is over");
        Test::More::is(scalar(() = log_events('asked')), $calls,
                       "$name - calls of the model");
    }

    if (defined $block->asked) {
        my ($asked) = reverse log_events('asked');
        Test::More::ok($asked, "$name - the model was asked");
        hold("$name - asked", $asked, $block->asked) if $asked;
    }

    my @errors = error_lines();
    my $logs = $block->logs // '';

    for my $want (grep { /\S/ } split /\n/, $logs) {
        Test::More::ok(scalar(grep { /$want/ } @errors),
                       "$name - the log has $want")
            or Test::More::diag(@errors);
    }

    for my $want (grep { /\S/ } split /\n/, $block->no_logs // '') {
        Test::More::ok(!grep({ /$want/ } @errors),
                       "$name - the log has no $want")
            or Test::More::diag(grep { /$want/ } @errors);
    }

    my @bad = grep { /\[(?:alert|crit|emerg)\]/ } @errors;
    if ($logs !~ /alert|crit|emerg/) {
        Test::More::ok(!@bad, "$name - nothing alarming in the log")
            or Test::More::diag(@bad);
    }

    $_->($block, $body) for @$block_checks;
});


1;
