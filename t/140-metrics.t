# What is counted: every turn by its outcome, its rung, its times, its key and
# its model, as JSON and as Prometheus reads it.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use ClaudeTest;
use Test::More;

my $true = JSON::PP::true;

# A reader of the text format 0.0.4 that takes nothing else. Returns samples,
# name{labels} => value, and types.

sub exposition {
    my ($text, $name) = @_;
    my (%sample, %type, %help, @wrong);
    my $label = qr/[a-z_]+="(?:[^"\\\n]|\\["\\n])*"/;
    my $last = '';

    push @wrong, 'no line feed at the end' if $text !~ /\n\z/;

    for (split /\n/, $text) {
        if (/^# HELP (\w+) \S/) {
            push @wrong, "HELP of $1 twice" if $help{$1}++;

        } elsif (/^# TYPE (\w+) (counter|gauge|histogram)$/) {
            push @wrong, "TYPE of $1 twice or without HELP"
                if $type{$1} || !$help{$1};
            $type{$last = $1} = $2;
            push @wrong, "$1 is a counter without _total"
                if $2 eq 'counter' && $1 !~ /_total$/;

        } elsif (/^(\w+)(?:\{($label(?:,$label)*)\})? (\d+(?:\.\d+)?)$/) {
            my ($n, $l, $v) = ($1, $2 // '', $3);
            (my $family = $n) =~ s/_(?:bucket|sum|count)$//
                if ($type{$last} // '') eq 'histogram';
            push @wrong, "$n stands apart from its TYPE"
                if ($family // $n) ne $last;
            push @wrong, "$n\{$l} is there twice" if exists $sample{"$n\{$l}"};
            $sample{"$n\{$l}"} = $v;

        } else {
            push @wrong, "no line of the format: $_";
        }
    }

    # buckets: each with no less than the one before, the last is the count
    my (%at, %bound);
    for (split /\n/, $text) {
        my ($n, $l, $le, $v) = /^(\w+)_bucket\{(.*?),?le="([^"]+)"\} (\d+)$/
            or next;
        push @wrong, "$n\{$l} le=$le goes down"
            if $v < ($at{"$n\{$l}"} // 0)
               || ($le ne '+Inf' && $le <= ($bound{"$n\{$l}"} // 0));
        push @wrong, "le=$le is not written as a number is"
            if $le ne '+Inf' && $le ne $le + 0;
        $at{"$n\{$l}"} = $v;
        $bound{"$n\{$l}"} = $le;
    }
    for (keys %at) {
        my ($n, $l) = /^(\w+)\{(.*)\}$/;
        push @wrong, "$_ does not end with +Inf" if $bound{$_} ne '+Inf';
        push @wrong, "$_ has another count"
            if ($sample{"${n}_count{$l}"} // -1) != $at{$_}
               || !exists $sample{"${n}_sum{$l}"};
    }

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is(join("\n", @wrong), '', $name);
    return (\%sample, \%type);
}

sub prometheus {
    my ($s, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return exposition($s->get('/status?format=prometheus')->{body}, $name);
}

sub account {
    my ($status, $key, $model) = @_;
    my ($row) = grep { ($_->{key} // '-') eq $key
                       && ($_->{model} // '-') eq $model }
                @{ $status->{usage} };
    return $row;
}

# turns that end well

{
    my $s = ClaudeTest->start(workers => 2,
        keys => q{claude_api_key sk-test 'name=a "b\\\\c'; }
                . 'claude_api_key sk-other name=other;');
    my $before = $s->status;
    prometheus($s, 'Prometheus can read it before the first turn');
    cmp_ok($before->{since}, '<=', $before->{time}, 'it says since when');
    is(scalar @{ $before->{usage} }, 1, 'nobody has used anything');

    my $usage = { input_tokens => 3, output_tokens => 5,
                  cache_read_input_tokens => 7,
                  cache_creation_input_tokens => 11,
                  output_tokens_details => { thinking_tokens => 2 } };
    my $fake = { text => 'x', usage => $usage };

    my @history;
    for (1 .. 3) {
        my $r = $s->chat("q$_", fake => $fake, history => [@history]);
        push @history, { role => 'user', content =>
            json->decode(ClaudeTest::body("q$_", fake => $fake))
                ->{messages}[0]{content} },
                       { role => 'assistant', content => 'x' };
    }
    $s->chat('q', fake => $fake, stream => 1, key => 'sk-other',
             with => { model => 'gpt-4' });
    $s->wait_idle;

    my $status = $s->status;
    is($status->{turns}{finished}, 4, 'turns that finished');
    is($status->{rungs}{live}, 2, 'by rung');
    is_deeply($status->{tokens}, { prompt => 84, cached => 28,
                                   completion => 20, reasoning => 8 },
              'tokens of all');

    my $row = account($status, 'a "b\\c', 'sonnet');
    is_deeply([@$row{qw(turns prompt_tokens cached_tokens
                        completion_tokens reasoning_tokens)}],
              [3, 63, 21, 15, 6],
              'and by key, whatever its name, and model');
    cmp_ok($row->{cost_usd}, '>', 0, 'with the cost');
    is(account($status, 'other', 'opus')->{turns}, 1,
       'the model is what the CLI was told');
    is(account($status, '-', '-')->{turns}, 0, 'no row is short');
    cmp_ok(abs($status->{cost_usd} - $row->{cost_usd}
               - account($status, 'other', 'opus')->{cost_usd}), '<', 2e-6,
           'the cost of all is their sum');

    my $latency = $status->{latency};
    my $sum = sub { my $n = 0; $n += $_ for map { @{ $_->{counts} } } @_; $n };
    is($sum->(values %{ $latency->{ttft} }), 4,
       'each turn has its time to the first token');
    is($sum->($latency->{ttft}{live}), 2, 'with its rung');
    is($sum->($latency->{wait}), 4, 'each has waited, if for nothing');
    is($sum->($latency->{duration}), 4, 'each has lasted');
    is(scalar @{ $latency->{wait}{counts} }, 1 + @{ $latency->{bounds} },
       'there is one bucket more than bounds');

    my ($m, $type) = prometheus($s, 'Prometheus can read it');
    is($m->{'claude_turns_total{outcome="finished"}'}, 4, 'its turns');
    is($m->{'claude_turns_rung_total{rung="live"}'}, 2, 'its rungs');
    is($m->{'claude_tokens_total{key="a \"b\\\\c",model="sonnet",'
            . 'kind="prompt"}'}, 63, 'its tokens, the label escaped');
    is($m->{'claude_reasoning_tokens_total{key="other",model="opus"}'}, 2,
       'those that were thinking');
    is($m->{'claude_finished_turns_total{key="other",model="opus"}'}, 1,
       'its turns by key');
    is($m->{'claude_time_to_first_token_seconds_count{rung="live"}'}, 2,
       'its times');
    is($m->{'claude_queue_wait_seconds_count{}'}, 4, 'its waits');
    is($m->{'claude_limit{of="concurrent"}'}, 10, 'its limits');
    is($m->{'claude_info{module="0.1.0",cli="2.1.330"}'}, 1, 'its versions');
    is($type->{claude_turn_duration_seconds}, 'histogram', 'its types');

    my @old = $s->workers;
    $s->signal('HUP');
    wait_for { my %w = map { $_ => 1 } $s->workers;
               keys %w >= 2 && !grep { $w{$_} } @old } undef;
    is($s->status->{turns}{finished}, 4, 'a reload keeps all of it');
    $s->stop;
}

# turns that do not

{
    my $s = ClaudeTest->start(workers => 1, http =>
        'claude_max_concurrent 1; claude_queue 1 timeout=3s; claude_warm 0;'
        . ' claude_max_processes 1;');
    my $hang = { deltas => ['first ', 'second'], hang_after_deltas => 1,
                 usage => { input_tokens => 9, output_tokens => 1 } };

    my $c = $s->open_chat('hi', stream => 1, fake => $hang);
    $c->until(qr/first/);
    my $w = $s->open_chat('waits');
    wait_for { $s->status->{turns}{waiting} == 1 } 'one waits';
    my ($m) = prometheus($s, 'Prometheus can read it meanwhile');
    is($m->{'claude_turns{state="waiting"}'}, 1, 'the queue has its length');
    is($m->{'claude_processes{state="busy"}'}, 1, 'processes their state');
    is($s->chat('full')->{error}{code}, 'queue_full', 'the next is refused');
    is($w->rest->{error}{code}, 'queue_timeout', 'and then the first is');
    $c->close;
    $s->wait_idle;

    is($s->chat('hi', fake => { api_retry => 2 })->{status}, 200,
       'one that the CLI tries three times');
    $s->chat('hi', fake => { die_before => 3 });
    $s->chat('hi', fake => { error => { word => 'server_error',
                                        status => 529, text => 'over' } });
    $s->wait_idle;

    my $status = $s->status;
    my ($turns, $failures) = @$status{qw(turns failures)};
    is_deeply([@$turns{qw(finished failed aborted refused)}], [1, 2, 1, 2],
              'turns by outcome');
    is_deeply({ map { $failures->{$_} ? ($_ => $failures->{$_}) : () }
                keys %$failures },
              { queue_full => 1, queue_timeout => 1, cli_failed => 1,
                overloaded => 1 }, 'failures by reason');
    is($status->{retries}, 2, 'what the CLI tried again is counted');
    cmp_ok($status->{died}, '>=', 1, 'a process that died is');
    cmp_ok($status->{replaced}, '>=', 1, 'one that was replaced is');

    my $row = account($status, 'tester', 'sonnet');
    is($row->{turns}, 1, 'one turn of the key has finished');
    cmp_ok($row->{prompt_tokens}, '>', 9,
           'what the model had begun for a client that left is counted too');
    cmp_ok($row->{cost_usd}, '>', 0, 'with its cost');

    ($m) = prometheus($s, 'Prometheus can read it after failures');
    is($m->{'claude_failures_total{reason="queue_full"}'}, 1, 'with reasons');
    is($m->{'claude_upstream_retries_total{}'}, 2, 'and retries');
    $s->stop;
}

# a wait is measured

{
    my $s = ClaudeTest->start(workers => 1,
                              http => 'claude_max_concurrent 1;');
    my $c = $s->open_chat('hi', stream => 1, fake =>
        { deltas => ['first ', 'second'], gap_ms => 1500 });
    $c->until(qr/first/);
    $s->chat('waits');
    my $wait = $s->status->{latency}{wait};
    cmp_ok($wait->{sum}, '>', 0.2, 'the wait in the queue is measured');
    $c->close;
    $s->wait_idle;
    $s->stop;
}

# more keys and models than there is room for

{
    my $s = ClaudeTest->start(workers => 1, zone => 'claude_zone claude:128k;');
    my $n = 45;

    for (1 .. $n) {
        $s->chat('hi', fake => { text => 'x' },
                 with => { model => "claude-test-$_" });
    }
    $s->wait_idle;

    my $status = $s->status;
    my $turns = 0;
    $turns += $_->{turns} for @{ $status->{usage} };
    my $other = account($status, '-', '-');
    is($turns, $n, 'a full table loses nothing');
    is($other->{turns}, $n - @{ $status->{usage} } + 1,
       'each row has its turn, the one without a name the rest');
    cmp_ok($other->{turns}, '>', 0, 'which are some');
    cmp_ok(scalar @{ $status->{usage} }, '>', 20, 'and not all');
    my ($m) = prometheus($s, 'Prometheus can read it');
    is($m->{'claude_finished_turns_total{key="(other)",model="(other)"}'},
       $other->{turns}, 'and has that row, too');
    $s->chat('hi', with => { model => 'claude-test-1' });
    $s->wait_idle;
    is(account($s->status, 'tester', 'claude-test-1')->{turns}, 2,
       'a row that is there goes on');
    $s->stop;
}

# names that are no key's

for ('x' x 65, "a\tb", '(other)', "\xff") {
    my ($status, $said) = ClaudeTest->try(keys =>
                                          "claude_api_key sk-test 'name=$_';");
    isnt($status, 0, 'refused: the name ' . substr json->encode($_), 0, 12);
    like($said, qr/name of an API key is 64 bytes/, '  and says why');
}

done_testing();
