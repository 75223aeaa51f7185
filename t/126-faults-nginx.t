# Faults of nginx itself: no room in the zone, a worker or the master killed,
# reloads again and again, a new binary, a shutdown that does not wait. What
# runs finishes or has its error, and nothing is left over in the end.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use ClaudeTest;
use Test::More;
use Time::HiRes qw(time sleep);

my $true = JSON::PP::true;
my $sanitized = $ENV{TEST_SANITIZED};
my $gone_within = $sanitized ? 10 : 3;             # 2 s by the design
my $hang = { deltas => ['first ', 'second'], hang_after_deltas => 1 };

sub started { return map { $_->{pid} } $_[0]->events('start') }
sub fds { my %fd = descriptors($_[0]); return scalar keys %fd }

# more workers than the smallest zone has rows for

SKIP: {
    skip 'hundreds of workers with sanitizers', 1 if $sanitized;
    my $n = 215;
    my $s = ClaudeTest->start(workers => $n, zone => 'claude_zone claude:128k;',
        events => 'worker_connections 64;',
        listen => 'listen 127.0.0.1:' . port() . ' reuseport;',
        http => 'claude_warm 0; claude_max_processes 4; '
                . 'claude_max_concurrent 2; claude_queue 2;');
    wait_for { $s->workers == $n } 'more workers than the zone has room for';

    my (%seen, @refused);
    for (1 .. 400) {
        my $r = $s->chat('hi', fake => { text => 'x' });
        $seen{ $r->{status} }++;
        push @refused, $r if $r->{status} != 200;
        last if @refused >= 2 && $seen{200};
    }
    is(join(' ', sort keys %seen), '200 503',
       'those that have none refuse, the others serve');
    is($refused[0]{error}{code}, 'cli_unavailable', '  with the code');
    my $id = $refused[0]{headers}{'x-request-id'};
    is(scalar(grep { /\[error\].*could not be started.*\Q$id\E/ } $s->errors),
       1, '  and a line of the log');
    ok(scalar(grep { /claude_zone "claude" has no room for one more worker: make it larger/ }
              $s->errors), '  the log says what to do');

    # those that take the place of killed ones take their rows, too

    my $without = sub {
        my %pid = map { /(\d+)#\d+: claude_zone/ ? ($1 => 1) : () } $s->errors;
        return join ' ', sort keys %pid;
    };
    my $before = $without->();
    my @killed = (grep { $before !~ /\b$_\b/ } $s->workers)[0 .. 20];
    kill 'KILL', @killed;
    wait_for { my %w = map { $_ => 1 } $s->workers;
               keys %w == $n && !grep { $w{$_} } @killed }
        'workers are killed, and started again';
    $s->chat('hi', fake => { text => 'x' }) for 1 .. 30;
    is($without->(), $before, 'which take the rows of those');
    $s->stop(allow => qr/exited on signal 9/);
}

done_testing();
