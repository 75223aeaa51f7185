# A dialect is one folder: those of t/dialect are compiled as a module of their
# own and loaded after ours. t/dialect/echo has no more than one needs, and
# answers under an address of its own, streamed and whole, several times over,
# through a filter, with errors in its own shape also where there is no body
# yet. t/dialect/slices has the rest: bodies read in slices, events that count
# and repeat, failures, heartbeats and reasons of its own.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use ClaudeTest;
use File::Basename qw(dirname);
use File::Temp ();
use Test::More;

my $root = root();
my $dir = File::Temp->newdir;

chmod 0755, $dir;


# The module, with the flags of the nginx that is to load it.

sub built {
    my @so = split ' ', $ENV{TEST_NGINX_LOAD_MODULES} // '';
    my @dirs = ((map { dirname(dirname $_), dirname($_) . '/module' } @so),
                dirname(ClaudeTest::binary()));
    my ($build) = grep { -f "$_/obj/Makefile" } @dirs;

    plan skip_all => 'no Makefile of the build' if !$build;
    return $build;
}

sub slurp {
    my ($file) = @_;
    open my $fh, '<:raw', $file or die "$file: $!\n";
    local $/;
    return <$fh>;
}

{
    my $build = built();
    my $make = slurp("$build/obj/Makefile");
    my ($flags) = $make =~ /^CFLAGS =(.*)$/m;
    my ($incs) = $make =~ /^ALL_INCS =((?:.*\\\n)*.*)$/m;
    my $cc = $ENV{CC} // 'cc';

    $incs =~ s/\\\n/ /g;
    is(system('sh', '-c', "cd '$build/nginx-src' && $cc $flags -fPIC -shared "
              . "$incs -I '$root/t/dialect/echo' -I '$root/t/dialect/slices' "
              . "-o '$dir/dialects.so' '$root'/t/dialect/*.c "
              . "'$root'/t/dialect/*/*.c"), 0, 'the dialects are built');

    # nginx has lists of that name, too, where a module is linked into it

    $ENV{ASAN_OPTIONS} = join ':', $ENV{ASAN_OPTIONS} // (),
                                   'detect_odr_violation=0';
    $ENV{TEST_NGINX_LOAD_MODULES} =
        ($ENV{TEST_NGINX_LOAD_MODULES} // '') . " $dir/dialects.so";
}

sub say_fake {
    my ($fake) = @_;
    return 'hi [[fake ' . JSON::PP->new->canonical->encode($fake) . ']]';
}

sub echo {
    my ($s, $say, %o) = @_;
    my $with = $o{with} // {};
    return $s->send(POST => $o{path} // '/v1/echo',
        body => $o{body} // json()->encode({ say => $say, %$with }), %o);
}

sub slices {
    my ($s, $say, %o) = @_;
    return echo($s, $say, path => '/v1/slices', %o);
}

sub events {                           # [ name, data ], ...
    my ($body) = @_;
    return map { /^event: (\w+)\ndata: (.*)\z/s
                 ? [$1, json()->decode($2)] : [$_] } split /\n\n/, $body;
}

my $stream = { stream => JSON::PP::true };

my $log = "$dir/access";
my $s = ClaudeTest->start(workers => 1,
    http => "log_format who '\$status \$uri \$claude_finish_reason';",
    server => "location /v1/ { claude_openai; access_log $log who; }" . <<'END');
location /small/ { client_max_body_size 10; claude_openai; }
location /quick/ { claude_openai; claude_heartbeat 50ms; }
END

# Errors before there is a body.

{
    my $r = echo($s, ['hi'], key => 'wrong')->rest;
    is($r->{status}, 401, 'a wrong key');
    is_deeply($r->{json}, { wrong => { status => 401, where => undef,
        what => 'Incorrect API key provided.' },
        id => $r->{headers}{'echo-id'} }, '  in the dialect\'s shape');
    like($r->{headers}{'echo-id'}, qr/^req_/, '  and its header');
    is($r->{headers}{'x-request-id'}, undef, '  not OpenAI\'s');

    $r = $s->get('/v1/echo');
    is($r->{status}, 405, 'another method');
    is($r->{json}{wrong}{status}, 405, '  in its shape');

    $r = echo($s, ['hi' x 10], path => '/small/echo')->rest;
    is($r->{status}, 413, 'a body that nginx refuses');
    is($r->{json}{wrong}{status}, 413, '  in its shape');
    ok($r->{headers}{'echo-id'}, '  with its header');

    $r = slices($s, ['hi'], key => 'wrong')->rest;
    is_deeply($r->{json}, { wrong => { type => 'refused', status => 401,
        where => undef, what => 'Incorrect API key provided.' },
        id => $r->{headers}{'slices-id'} }, 'another dialect has its own');

    $r = $s->get('/v1/nothing');
    is($r->{status}, 404, 'an address without a dialect');
    is($r->{json}{error}{code}, 'unknown_url', '  has OpenAI\'s shape');
    ok($r->{headers}{'x-request-id'}, '  and header');

    $r = $s->chat('hi', key => 'wrong');
    is($r->{json}{error}{code}, 'invalid_api_key', 'as has chat');
    ok(!$r->{headers}{'echo-id'}, '  all of it');
}


# Errors of a body: the place is said as the dialect says it.

for (['no JSON', '{', undef, qr/^The request body is not valid JSON/],
     ['no object', '[]', undef, qr/ must be an object with "say"\.$/],
     ['nothing to say', '{"say":[]}', 'say', qr/^'say' must be a string or/],
     ['nothing at all', '{}', 'say', qr/^'say' is missing/],
     ['no text', '{"say":["a",7]}', 'say', qr/^'say' must be a string or/],
     ['a blank text', '{"say":["a"," "]}', 'say', qr/^'say' is blank/],
     ['a bad flag', '{"say":["a"],"stream":1}', 'stream', qr/boolean/],
     ['no JSON, in slices', '{', undef,
      qr/^The request body is not valid JSON/, 'slices'],
     ['nothing to say, in slices', '{"say":[]}', 'say',
      qr/^'say' is to be an array/, 'slices'],
     ['no text, in slices', '{"say":["a",7]}', 'say.1',
      qr/^'say\.1' is no text/, 'slices'],
     ['a bad flag, in slices', '{"say":["a"],"stream":1}', 'stream',
      qr/boolean/, 'slices'])
{
    my ($name, $body, $where, $what, $to) = @$_;
    my $r = echo($s, undef, body => $body, path => '/v1/' . ($to // 'echo'))
        ->rest;
    is($r->{status}, 400, $name);
    is($r->{json}{wrong}{where}, $where, '  its place');
    like($r->{json}{wrong}{what}, $what, '  in words');
}


# An answer of one piece.

{
    my $fake = say_fake({ thinking => 'hm', text => "\"x\"\n" });
    my $r = echo($s, ['a', $fake], with => { n => 2, think => 'low' })->rest;

    is($r->{status}, 200, 'a whole answer');
    like($r->{json}{id}, qr/^echo_[0-9a-f]{24}$/, '  has an id');
    is_deeply($r->{json}{answers}, [({ why => 'end_turn', blocks => [
        { type => 'thought', name => undef, all => 'hm' },
        { type => 'text', name => undef, all => "\"x\"\n" } ] }) x 2],
        '  block by block, of both turns');
    cmp_ok($r->{json}{tokens}, '>', 0, '  with the tokens of both');
    is($r->{headers}{'content-type'}, 'application/json', '  as JSON');
    ok($r->{headers}{'echo-id'} && $r->{headers}{'x-session-id'},
       '  with the headers of all answers');

    my ($asked) = reverse $s->events('asked');
    is_deeply([map { $_->{text} } @{ $asked->{messages}[0]{content} }],
              ['a', $fake], '  the model got both texts');

    wait_for { slurp($log) =~ m{^200 /v1/echo end_turn, end_turn$}m }
        '  and the log the provider\'s words, where a dialect has none';

    $r = echo($s, ['hi'])->rest;
    is($r->{json}{answers}[0]{blocks}[0]{all}, 'echo: hi', 'a text alone');

    $r = echo($s, [say_fake({ redacted_thinking => 'aGk=', text => 'x' })],
              with => { think => 'low' })->rest;
    is_deeply([map { $_->{type} } @{ $r->{json}{answers}[0]{blocks} }],
              ['thought', 'text'], 'a thought that nobody can read');
}

{
    my $fake = say_fake({ thinking => 'hm', text => "\"x\"\n" });
    my $r = slices($s, ['a', $fake], with => { n => 2, think => 'low' })->rest;

    is($r->{status}, 200, 'a body in slices');
    like($r->{json}{id}, qr/^slices_[0-9a-f]{24}$/, '  has an answer');
    ok($r->{headers}{'slices-id'} && $r->{headers}{'x-session-id'},
       '  with the headers of all answers');

    my ($asked) = reverse $s->events('asked');
    is_deeply([map { $_->{text} } @{ $asked->{messages}[0]{content} }],
              ['a', $fake], '  the model got the texts of all slices');

    wait_for { slurp($log) =~ m{^200 /v1/slices end, end$}m }
        '  and the log the dialect\'s words';
}


# A stream.

{
    my $fake = say_fake({ thinking => 'hm', deltas => ['a ', 'b'] });
    my $r = echo($s, [$fake], with => { %$stream, think => 'low' })->rest;
    my @events = events($r->{body});

    is(join(' ', map { $_->[0] } @events),
       'open delta close open delta delta close end',
       'a stream has the blocks in their bounds');
    is_deeply([map { $_->[1]{type} // () } @events], [qw(thought text)],
              '  of both kinds');
    is(join('|', map { $_->[1]{said} // () } @events), 'hm|a |b',
       '  in the model\'s pieces');
    is($events[-1][1]{why}, 'end_turn', '  and why it ended');
    like($r->{headers}{'content-type'}, qr/^text\/event-stream/, '  as events');
    is($r->{cut}, 0, '  to its end');

    $r = echo($s, [say_fake({ text => 'x' })],
              with => { %$stream, n => 3 })->rest;
    @events = events($r->{body});
    is(join(' ', sort map { $_->[0] eq 'end' ? $_->[1]{answer} : () } @events),
       '0 1 2', 'three in one stream');
}

{
    my $fake = say_fake({ thinking => 'hm', deltas => ['a ', 'b'] });
    my $r = slices($s, [$fake], with => { %$stream, think => 'low' })->rest;
    my @events = events($r->{body});

    is(join(' ', map { $_->[0] } @events),
       'begin open delta close open delta delta close end finish',
       'a stream has a beginning and an end');
    like($events[0][1]{id}, qr/^slices_/, '  which say what it is');
    cmp_ok($events[9][1]{tokens}, '>', 0, '  and what it has used');
    is($events[7][1]{all}, 'a b', '  a block\'s end has all of it again');
    is(join(' ', map { $_->[1]{event} } @events), '0 1 2 3 4 5 6 7 8 9',
       '  the dialect counts over the exchange');
    is($r->{cut}, 0, '  to its end');

    $r = slices($s, [say_fake({ text => 'x' })],
                with => { %$stream, n => 3 })->rest;
    @events = events($r->{body});
    is(scalar(grep { $_->[0] eq 'end' } @events), 3, 'three in one stream');
    is(scalar(grep { $_->[0] eq 'finish' } @events), 1, '  with one end');
}


# A filter: the provider takes no stop sequence of white space.

{
    my $fake = say_fake({ deltas => ['one', ' ', 'two'], gap_ms => 20 });
    my $r = echo($s, [$fake], with => { until => ' ' })->rest;
    is($r->{json}{answers}[0]{blocks}[0]{all}, 'one', 'a filter, whole');

    $r = echo($s, [$fake], with => { until => ' ', %$stream })->rest;
    my @events = events($r->{body});
    is(join('', map { $_->[1]{said} // () } @events), 'one', '  and streamed');
    is(join(' ', map { $_->[0] } @events),
       'open delta close end', '  in one block');
    is($events[-1][1]{why}, 'stop_sequence', '  and why it ended');
}


# Failures of a turn, before the answer and in it.

{
    my $overloaded = [say_fake({ error => { status => 529 } })];
    my $r = slices($s, $overloaded)->rest;
    is($r->{status}, 529, 'a failure has the status that the dialect gives it');
    is($r->{json}{wrong}{type}, 'failed', '  and its shape');

    $r = echo($s, $overloaded)->rest;
    is($r->{status}, 503, 'or that which all have');
    is($r->{json}{wrong}{status}, 503, '  in its shape');

    my $dies = [say_fake({ deltas => ['a ', 'b '], gap_ms => 200,
                           die_after_deltas => 1 })];
    $r = slices($s, $dies, with => $stream)->rest;
    my ($last) = reverse events($r->{body});
    is($last->[0], 'wrong', 'one in a stream is its last event');
    is($last->[1]{wrong}{status}, 502, '  with its status');
    is($r->{cut}, 0, '  and the body ends in order');

    $r = echo($s, $dies, with => $stream)->rest;
    ($last) = reverse events($r->{body});
    like($last->[0], qr/^data: \{"wrong":\{"status":502,.*\}\z/,
         'one without a name, where a dialect has none');
    is($r->{cut}, 0, '  and the body ends in order');
}

{
    my $slow = [say_fake({ deltas => ['a ', 'b'], gap_ms => 400 })];
    my $r = slices($s, $slow, with => $stream, path => '/quick/slices')->rest;
    like($r->{body}, qr/^event: beat\ndata: \{\}\n\n/m,
         'the dialect\'s own heartbeat');

    $r = echo($s, $slow, with => $stream, path => '/quick/echo')->rest;
    like($r->{body}, qr/^: heartbeat\n\n/m, 'a comment without one');
}


# "Again": one turn of the event loop for each text.

{
    my $r = slices($s, [('a') x 1000, 7])->rest;
    is($r->{json}{wrong}{where}, 'say.1000', 'a late slice is refused');
}

{
    my $asked = () = $s->events('asked');
    my $c = slices($s, ['a'], with => { forever => JSON::PP::true });

    is($s->chat('hi')->{text}, 'echo: hi',
       'another client is answered in between');
    ok(!IO::Select->new($c->{socket})->can_read(0), '  while slices are read');

    $c->close;
    wait_for { slurp($log) =~ m{^499 /v1/slices }m } 'a client leaves then';
    is(scalar(() = $s->events('asked')), $asked + 1, '  and asks nothing');
    is($s->chat('hi')->{text}, 'echo: hi', '  and the worker goes on');
}

{
    # and when the worker is to end

    my $c = slices($s, ['a'], with => { forever => JSON::PP::true });
    my ($worker) = $s->workers;
    $s->get('/health');
    $s->signal('HUP');
    wait_for { $s->shuts_down($worker) } 'a worker is to end';
    $c->close;
    wait_for { !alive($worker) } '  and does when its client leaves';
}

$s->wait_idle('no turn is left');
$s->stop;

done_testing;
