# A turn's story in the debug log: with error_log at debug the plan, its steps,
# the kinds of lines that the CLI writes and the states of the process stand
# there in the order in which they came, from one worker to another too; what
# clients and the model say does not.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use ClaudeTest;
use Test::More;

plan skip_all => 'this nginx has no debug log'
    if `${\ClaudeTest::binary()} -V 2>&1` !~ /--with-debug/;

# what was said of a process since the last time

sub story {
    my ($s, $pid) = @_;
    my @lines = $s->errors;
    my @new = @lines[($s->{told} // 0) .. $#lines];

    $s->{told} = @lines;
    return map { /claude: process $pid,? (.*?)(?:, client: .*)?$/ ? $1 : () }
               @new;
}

sub in_order {
    my ($name, $got, @want) = @_;
    my $at = 0;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    for my $want (@want) {
        my ($found) = grep { $got->[$_] eq $want } $at .. $#$got;

        if (!defined $found) {
            ok(0, "$name: $want");
            diag("after line $at of:\n", map { "    $_\n" } @$got);
            return;
        }

        $at = $found + 1;
    }

    ok(1, $name);
}

sub pid { my @a = $_[0]->events('asked'); return $a[-1]{pid} }

my @answer = ('says: message start', 'says: block start', 'says: block delta',
              'says: block stop', 'says: message delta',
              'was asked, is settling', 'says: result',
              'was settling, is idle');

{
    my $s = ClaudeTest->start(workers => 2, level => 'debug',
                              http => 'claude_warm 0;');
    wait_for { $s->workers == 2 } undef;

    my @with = (with => { temperature => 0.5, stop => ['zz'] });

    $s->chat('a1b2c3d4', fake => { deltas => ['e5f6g7h8'] }, @with);
    wait_for { grep { /is idle/ } $s->errors } undef;
    my $pid = pid($s);

    my @story = story($s, $pid);
    in_order('a new process', \@story,
             'says: control response', 'step: ask 0',
             'was running, is asked', 'says: init', @answer);

    my $old = (grep { $_->{pid} == $pid } @{ $s->status->{processes} })[0];
    my @history = (history => [
        { role => 'user', content => 'a1b2c3d4 [[fake {"deltas":["e5f6g7h8"]}]]' },
        { role => 'assistant', content => 'e5f6g7h8' }]);

    $s->elsewhere($old->{worker},
                  ClaudeTest::body('i9j0k1l2', @history, @with))->rest;
    wait_for { 2 <= grep { /was settling, is idle/ } $s->errors } undef;
    is(pid($s), $pid, 'the other worker asks in the same process');

    my @log = $s->errors;
    ok((grep { /claude: worker $old->{worker} is asked for its process/ }
             @log), '  which it has asked for');
    ok((grep { /claude: process $pid goes to worker \d/ } @log),
       '  which is given');
    ok((grep { /claude: process $pid came from worker $old->{worker}/ } @log),
       '  and has come');

    @story = story($s, $pid);
    in_order('the same conversation goes on', \@story,
             'plan: live, keeps 2 of 2 messages, 2 steps',
             'was idle, is running', 'step: settings 0', 'settings: as before',
             'step: ask 0', 'was running, is asked', @answer);

    # from the worker that has it now, however many of the messages it keeps

    ($old) = grep { $_ != $old->{worker} } $s->workers;
    my ($other) = grep { $_ != $old } $s->workers;

    $s->elsewhere($other, ClaudeTest::body('m3n4o5p6', @history))->rest;
    wait_for { 3 <= grep { /was settling, is idle/ } $s->errors } undef;

    @story = story($s, $pid);
    in_order('a branch of it', \@story,
             'plan: rewound, keeps 2 of 4 messages, 3 steps',
             'was idle, is running', 'step: rewind 2', 'step: settings 0',
             'settings: others', 'says: control response',
             'says: control response', 'step: ask 0', 'was running, is asked',
             @answer);

    $s->elsewhere($other, ClaudeTest::body('q7r8s9t0', @history,
                                  with => { max_tokens => 3 },
                                  fake => { stop_reason => 'max_tokens',
                                            deltas => ['u1v2w3x4'] }))->rest;
    wait_for { 1 <= grep { /was mending, is idle/ } $s->errors } undef;

    @story = story($s, $pid);
    in_order('an answer that is cut off is put in again', \@story,
             'says: message delta', 'was asked, is settling', 'says: result',
             'was settling, is mending', 'step: rewind 2',
             'says: control response', 'step: replay 3', 'says: result',
             'step: restate 0', 'step: sync 0', 'says: control response',
             'was mending, is idle');

    @log = grep { /claude:/ } $s->errors;
    my @told = grep { /a1b2c3d4|e5f6g7h8|i9j0k1l2|m3n4o5p6|q7r8s9t0|u1v2w3x4/ }
                    @log;
    is_deeply(\@told, [], 'what was said is not in it');

    $s->stop;
}

done_testing();
