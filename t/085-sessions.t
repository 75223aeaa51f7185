# Turns of one session that come while the one before is on its way, or is over
# for its client while its process is not in order yet.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use ClaudeTest;
use Test::More;

my $cut = { text => 'cut here', stop_reason => 'max_tokens',
            slow_interrupt_ms => 900 };

# that process is done in two seconds at the latest, which a busy machine may
# need for the next question: then all of it is tried again

my $tries = 8;
my $hang = { hang_after_deltas => 1, deltas => ['first ', 'second'] };
my $sessions = 0;

sub uuid { return sprintf '0198a2b4-1111-4222-8333-%012d', ++$sessions }

sub said {
    my @messages;
    while (my ($question, $answer) = splice @_, 0, 2) {
        push @messages, { role => 'user', content => $question },
                        { role => 'assistant', content => $answer };
    }
    return \@messages;
}

sub question { return "$_[0] [[fake " . JSON::PP->new->canonical
                                       ->encode($_[1]) . ']]' }

sub text {
    my ($content) = @_;
    $content = join '', map { $_->{text} } @$content if ref $content;
    return $content =~ s/ \[\[.*//r;
}

sub asked {
    my ($last) = reverse $_[0]->events('asked');
    return join '|', map { text($_->{content}) } @{ $last->{messages} };
}

sub turns {
    my $t = $_[0]->status->{turns};
    return "$t->{running}+$t->{waiting}";
}

my @server = (workers => 2, server => 'location /v1/ { claude_openai; '
              . 'add_header X-Process $claude_process always; }');

{
    my $s = ClaudeTest->start(@server, http => 'claude_max_concurrent 4;');

    for my $whole (0, 1) {
        my $what = $whole ? 'a whole history' : 'a new message';
        my (@id, $began, $next, $waits);

        for (1 .. $tries) {
            @id = (headers => ['X-Session-Id: ' . uuid()]);
            $began = $s->chat('one', @id)->{text};

            my $c = $s->open_chat('two', @id, fake => $cut, stream => 1);
            $c->until(qr/\[DONE\]/) or last;

            my $history = $whole ? said('one', 'echo: one',
                                        question('two', $cut), 'cut here') : [];
            $next = $s->open_chat('three', @id, history => $history);
            $waits = wait_for { turns($s) eq '1+1' } undef, 2;
            $c->rest;
            last if $waits;
            $next->rest;
        }
        is($began, 'echo: one', 'a session begins');
        ok($waits, "  an answer is cut off, and $what waits for its process");

        my $r = $next->rest;
        is($r->{text}, 'echo: three', '  and is answered');
        is($r->{headers}{'x-process'}, 'live', '  by the same process');
        is(asked($s), 'one|echo: one|two|cut here|three', '  in the session');

        $r = $s->chat('four', @id);
        is($r->{headers}{'x-process'}, 'live', '  which goes on from there');
        is(asked($s), 'one|echo: one|two|cut here|three|echo: three|four',
           '  with all of it');
    }

    my @id = (headers => ['X-Session-Id: ' . uuid()]);
    $s->chat('one', @id);
    my $c = $s->open_chat('two', @id, fake => $hang, stream => 1);
    ok($c->until(qr/first/), 'a turn of a session is under way');

    my $r = $s->chat('other', @id, history => said('one', 'echo: one'));
    is($r->{text}, 'echo: other', '  a whole history does not wait for it');
    is(turns($s), '1+0', '  which goes on');
    $c->close;
    $s->wait_idle('  until its client leaves');

    is($s->chat('three', @id)->{text}, 'echo: three', '  the session goes on');
    is(asked($s), 'one|echo: one|three', '  from before that turn');
    $s->stop;
}

# a CLI that does not obey is ended, and with it what only it could have put
# right: the session says so, and does not go on without the answer

{
    my $s = ClaudeTest->start(@server, http => 'claude_max_concurrent 4;');
    my @id = (headers => ['X-Session-Id: ' . uuid()]);
    my $deaf = { text => 'cut here', stop_reason => 'max_tokens',
                 ignore_interrupt => 1, again_ms => 60_000 };
    $s->chat('one', @id);
    is($s->chat('two', @id, fake => $deaf)->{text}, 'cut here',
       'a CLI that ignores the interrupt');
    $s->wait_idle('  is ended');

    my $r = $s->chat('three', @id);
    is($r->{status}, 410, '  its session is gone');
    is($r->{error}{code}, 'session_expired', '  with the code');
    is($s->chat('three', @id, history => said('one', 'echo: one',
           question('two', $deaf), 'cut here'))->{text}, 'echo: three',
       '  a whole history goes on');
    is($s->chat('four', @id)->{text}, 'echo: four', '  and the session');
    is(asked($s), 'one|echo: one|two|cut here|three|echo: three|four',
       '  with all of it');
    $s->stop;
}

# where nobody may wait, a whole history does without the session at once

{
    my $s = ClaudeTest->start(@server, http => 'claude_queue 0;');
    my ($c, $new, $whole, $turns);

    for (1 .. $tries) {
        my @id = (headers => ['X-Session-Id: ' . uuid()]);
        $s->chat('one', @id);

        $c = $s->open_chat('two', @id, fake => $cut, stream => 1);
        $c->until(qr/\[DONE\]/) or last;
        $new = $s->chat('new', @id);
        $whole = $s->chat('three', @id, history => said('one', 'echo: one',
                          question('two', $cut), 'cut here'));
        $turns = turns($s);
        last if $turns eq '1+0';

        $c->rest;
        $s->wait_idle;
    }

    is($new->{status}, 429,
       'no queue, and an answer is cut off: a new message cannot wait');
    is($whole->{text}, 'echo: three', '  a whole history is answered');
    is($turns, '1+0', '  before the process is done');
    $c->rest;
    $s->stop;
}

done_testing();
