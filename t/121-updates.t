# Updates of the CLI: once the binary was replaced, no worker uses a process
# of the old one that was started ahead of need, its own or another worker's.
# A conversation keeps to the process that it began with.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use ClaudeTest;
use Test::More;

my $dir = "$ENV{TEST_NGINX_SERVROOT}/updates";
my $bin = "$dir/claude";

mkdir $dir;

sub put {                              # as an update does: another file
    open my $in, '<', root() . '/t/bin/claude' or die;
    open my $out, '>', "$bin.new" or die;
    print $out join '', <$in>;
    close $out;
    chmod 0755, "$bin.new";
    rename "$bin.new", $bin;
}

sub start {
    my ($warm) = @_;
    put();
    my $s = ClaudeTest->start(binary => $bin, workers => 2,
                              http => "claude_warm $warm;");
    wait_for { $s->workers == 2 } undef;
    return $s;
}

sub idle {
    my ($s) = @_;
    return grep { $_->{state} eq 'idle' && $_->{pid} }
                @{ $s->status->{processes} };
}

sub asked { my @a = $_[0]->events('asked'); return $a[-1]{pid} }

for my $warm (1, 2) {
    my $s = start($warm);
    my @old;
    wait_for { (@old = idle($s)) == $warm } "$warm warm";
    put();

    my $not = $old[0]{worker};
    my $r = $s->elsewhere($not, ClaudeTest::body('hi'))->rest;
    is($r->{text}, 'echo: hi', '  the binary is replaced, the worker asked '
                               . 'that has no process or an old one');
    my $pid = asked($s);
    ok(!(grep { $_->{pid} == $pid } @old), '  a new process answers');

    # and the worker whose the old one was

    my ($other) = grep { $_ != $not } $s->workers;
    $r = $s->elsewhere($other, ClaudeTest::body('ho'))->rest;
    is($r->{text}, 'echo: ho', '  the other one as well');
    $pid = asked($s);
    ok(!(grep { $_->{pid} == $pid } @old), '  in a new process');

    wait_for { my %now = map { $_->{pid} => 1 } @{ $s->status->{processes} };
               !grep { $now{ $_->{pid} } } @old } '  and the old ones end';
    $s->stop;
}

{
    my $s = start(0);
    $s->chat('one');
    my ($old) = idle($s);
    put();

    my $r = $s->elsewhere($old->{worker}, ClaudeTest::body('two',
        history => [{ role => 'user', content => 'one' },
                    { role => 'assistant', content => 'echo: one' }]))->rest;
    is($r->{text}, 'echo: two', 'a conversation goes on after an update');
    is(asked($s), $old->{pid}, '  in its process, from one worker to another');
    $s->stop;
}

done_testing();
