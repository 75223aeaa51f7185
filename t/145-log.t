# The error log: one line for each failed turn, with the request's id, what
# happened and what to look at; nothing more, nothing less.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use ClaudeTest;
use Test::More;

my $true = JSON::PP::true;
my $dir = "$ENV{TEST_NGINX_SERVROOT}/bin";

mkdir $dir;
open my $fh, '>', "$dir/no-interpreter" or die;
print $fh "#!/nonexistent/interpreter\n";
close $fh;
chmod 0755, "$dir/no-interpreter";

my $s = ClaudeTest->start(workers => 1,
    http => 'claude_max_concurrent 1; claude_warm 0; '
            . 'claude_queue 1 timeout=2s; claude_max_processes 1; '
            . 'claude_max_line 100k;',
    server => 'location /v1/ { claude_openai; } '
              . 'location /soon/ { claude_openai; claude_timeout 2s; } '
              . "location /gone/ { claude_openai; claude_binary "
              . "$dir/no-interpreter; } "
              . "location /old/ { claude_openai; claude_env 'FAKE_CLAUDE="
              . json->encode({ start => { version => '2.1.1' } }) . "'; } "
              . "location /exit/ { claude_openai; claude_env 'FAKE_CLAUDE="
              . json->encode({ start => { exit => 7 } }) . "'; } ");

# Asks, and looks for the lines of the log that came with it and are about a
# turn: those at info and above with "claude:", but for what the first turn of
# a CLI has shown of the gate.

sub logged {
    my ($name, $level, $re, $ask) = @_;
    my $before = () = $s->errors;
    my $r = $ask->();
    my $id = $r->{headers}{'x-request-id'};
    my @new;

    wait_for {
        my @all = $s->errors;
        @new = grep { /\] .*claude: / && !/ claude: the gate of / }
               @all[$before .. $#all];
    } undef;

    is(scalar @new, 1, "$name: one line") or diag(@new);
    like($new[0] // '', qr/ \[$level\] /, "  at the level $level");
    like($new[0] // '', $re, '  that says what happened');
    like($new[0] // '', qr/, request \Q$id\E, client: /,
         '  with the id that the client has');
    $s->wait_idle;
    return $r;
}

sub fails {
    my ($name, $level, $re, $fake, %o) = @_;
    return logged($name, $level, $re,
                  sub { $s->chat('hi', fake => $fake, %o) });
}

sub path {
    my ($path, @o) = @_;
    return sub { $s->send(POST => "$path/chat/completions",
                          body => ClaudeTest::body('hi', @o))->rest };
}

my $upstream = sub { { error => { word => $_[0], status => $_[1],
                                  text => 'their words' } } };

fails('a CLI that exits', 'error', qr/exited with status 3, process \d{2,}/,
      { die_before => 3 });
fails('one that is killed', 'error', qr/killed by signal 9/,
      { die_before => 'KILL' });
fails('one that is killed in the answer', 'error', qr/killed by signal 9/,
      { die_after_deltas => 1 });
fails('the same in a stream', 'error', qr/killed by signal 9/,
      { deltas => ['a', 'b'], die_after_deltas => 1 }, stream => 1);
logged('one that hangs', 'error', qr/see claude_timeout/,
       path('/soon', fake => { hang => $true }));
logged('one that hangs in the answer', 'error', qr/see claude_timeout/,
       path('/soon', stream => 1, fake =>
            { deltas => ['a', 'b'], hang_after_deltas => 1 }));
logged('half a line, then silence', 'error', qr/see claude_timeout/,
       path('/soon', fake => { half_line => $true }));
fails('half a line, then the end', 'error', qr/exited with status 2/,
      { half_line => $true, exit_code => 2 });
fails('a line over the limit', 'error', qr/claude_max_line/,
      { huge_line => 300_000 });
fails('no JSON', 'error', qr/not JSON/, { garbage_after_deltas => 1 });
fails('a blank prompt\'s answer', 'error', qr/the CLI failed/,
      { blank => $true });

fails('the rate limit', 'warn', qr/limits the rate: their words/,
      $upstream->('rate_limit', 429));
fails('an upstream that is overloaded', 'warn', qr/overloaded.*their words/,
      $upstream->('server_error', 529));
fails('an answer that broke off', 'warn', qr/broke off/,
      { drop_after_deltas => 1 });
fails('a model upstream does not know', 'info', qr/does not know the model/,
      $upstream->('model_not_found', 404));
fails('a request upstream refuses', 'info', qr/refused the request/,
      $upstream->('unknown', 400));
fails('one that is too large for it', 'info', qr/too large/,
      $upstream->('invalid_request', 413));
fails('a conversation that is too long', 'info', qr/too long/,
      { prompt_too_long => $true });

logged('a binary that cannot be started', 'error',
       qr/no-interpreter" in ".*": exec failed \(2: No such file/,
       path('/gone'));
logged('a CLI that exits at its start', 'error', qr/exited with status 7/,
       path('/exit'));
logged('an old CLI', 'error', qr/2\.1\.260 or later is needed/, path('/old'));
logged('an old CLI, from memory', 'error', qr/2\.1\.260 or later is needed/,
       path('/old'));

{
    my $c = $s->open_chat('hi', stream => 1, fake =>
                          { deltas => ['x', 'y', 'z'], gap_ms => 1500 });
    $c->until(qr/"x"/);
    logged('a wait that is too long', 'warn', qr/claude_max_concurrent/,
           sub { $s->chat('waits') });
}

{
    my $c = $s->open_chat('hi', stream => 1, fake =>
                          { deltas => ['x', 'y', 'z'], gap_ms => 1500 });
    $c->until(qr/"x"/);
    my $w = $s->open_chat('waits');
    wait_for { $s->status->{turns}{waiting} == 1 } undef;
    my $before = () = $s->errors;
    my $r = $s->chat('full');
    my @new = ($s->errors)[$before .. (() = $s->errors) - 1];
    is(scalar(grep { /claude: the queue is full, see claude_queue/
                     && /\Q$r->{headers}{'x-request-id'}\E/ } @new), 1,
       'a full queue: one line');
    $_->rest for $c, $w;
    $s->wait_idle;
}

{
    my $before = () = $s->errors;
    my $c = $s->open_chat('hi', stream => 1, fake =>
                          { deltas => ['x', 'y'], hang_after_deltas => 1 });
    $c->until(qr/"x"/);
    $c->close;
    $s->wait_idle;
    my @new = grep { /claude: / } ($s->errors)[$before .. (() = $s->errors) - 1];
    is(scalar @new, 1, 'a client that leaves: one line');
    like($new[0], qr/ \[info\] .*client left/, '  at info, and it says so');
}

fails('no login', 'error', qr/not logged in, see claude_env/,
      { not_logged_in => $true });

# a request that is refused before it is a turn is the client's, not a failure
{
    my $before = () = $s->errors;
    $s->chat('hi', key => 'sk-wrong');
    $s->send(POST => '/v1/chat/completions', body => '{')->rest;
    is(scalar(grep { /\[(?:warn|error)\]/ }
              ($s->errors)[$before .. (() = $s->errors) - 1]), 0,
       'what is the client\'s fault is no warning');
}

$s->stop;
done_testing();
