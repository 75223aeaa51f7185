# No event is long: a body of any shape is read, checked, converted and hashed
# a slice at a time, once for all answers to it, and what it took is given back
# in slices as well. The debug log says how often something was left for later;
# t/real/slices.test.mjs says how long an event is.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use ClaudeTest;
use Test::More;

plan skip_all => 'this nginx has no debug log'
    if `${\ClaudeTest::binary()} -V 2>&1` !~ /--with-debug/;

my $slice = 262144;                    # bytes, of a question
my $piece = 65536;                     # of a body

my $s = ClaudeTest->start(workers => 1, level => 'debug', start => {},
    http => 'claude_max_concurrent 8; claude_warm 0;');

my $logged = 0;

# One body, and how many of its slices left something for later

sub slices {
    my ($body, %o) = @_;
    my $r = $s->send(POST => $o{path} // '/v1/chat/completions',
                     body => $body)->rest;
    my %n = (status => $r->{status});
    my @lines = $s->errors;

    for (@lines[$logged .. $#lines]) {
        $n{body}++ if /claude: request \S+: the rest of the body is for later/;
        $n{question}++
            if /claude: request \S+: the rest of the question is for later/;
        $n{hashed}++ if /claude: request \S+: a conversation is hashed/;
        $n{freed}++ if /claude: the rest of pool \S+ is freed later/;
    }

    $logged = @lines;
    return \%n;
}

sub user { '{"role":"user","content":"' . ($_[0] // 'hi') . '"}' }
sub said { '{"role":"assistant","content":"' . $_[0] . '"}' }

sub chat {
    my ($messages, $more) = @_;
    return '{"model":"sonnet"' . ($more ? ",$more" : '')
           . ",\"messages\":[$messages]}";
}

# two bytes of JSON as arguments, so that they stand in a string
sub call {
    my ($arguments) = @_;
    return user() . ',{"role":"assistant","content":null,"tool_calls":[{"id":'
           . '"call_1","type":"function","function":{"name":"look",'
           . "\"arguments\":\"$arguments\"}}]},{\"role\":\"tool\","
           . '"tool_call_id":"call_1","content":"r"},' . user();
}

sub file {
    my ($type, $base64) = @_;
    return '{"role":"user","content":[{"type":"file","file":{"filename":"a",'
           . "\"file_data\":\"data:$type;base64,$base64\"}}]}";
}

my $tool = '"tools":[{"type":"function","function":{"name":"look"}}]';
my $long = 1_000_000;

# name, body, and a number of slices of the question that is not too many:
# what is hashed is all of it, what is read at least a part

for (['a text of the user', chat(user('x' x $long)), $long / $slice],
     ['of escapes', chat(user('\u00e9' x ($long / 6))), $long / 3 / $slice],
     ['of the assistant', chat(join ',', user(), said('x' x $long), user()),
      $long / $slice],
     ['white space around a text of it',
      chat(join ',', user(), said(' ' x $long . 'x' . ' ' x $long), user()),
      2 * $long / $slice],
     ['a system text', chat('{"role":"system","content":"' . 'x' x $long
                            . '"},' . user()), $long / $slice],
     ['two of them, which are joined',
      chat(('{"role":"system","content":"' . 'x' x ($long / 2) . '"},') x 2
           . user()), 2 * $long / $slice],
     ['a result', chat(call('{}') =~ s/"r"/'"' . 'x' x $long . '"'/er, $tool),
      $long / $slice],
     ['arguments, one string',
      chat(call('{\"a\":\"' . 'x' x $long . '\"}'), $tool),
      4 * $long / $slice],
     ['arguments, zeros', chat(call('{\"a\":[' . '0,' x ($long / 2) . '0]}'),
                               $tool), 4 * $long / $slice],
     ['arguments that are no JSON', chat(call('x' x $long), $tool),
      $long / $slice],
     ['a PDF', chat(file('application/pdf', 'JVBERi0x' . 'QUJD' x ($long / 4))),
      $long * 1.25 / $slice],
     ['a text file', chat(file('text/plain', 'QUJD' x ($long / 4))),
      $long * 3 / $slice],
     ['messages', chat(join ',', (user('x'), said('y')) x 5_000, user()),
      10_000 * 300 / $slice],
     ['parts', chat('{"role":"user","content":['
                    . join(',', ('{"type":"text","text":"p"}') x 10_000)
                    . ']}'), 10_000 * 150 / $slice],
     ['tools', chat(user(), '"tools":[' . join(',', map {
          '{"type":"function","function":{"name":"t' . $_
          . '","description":"' . 'x' x 200 . '"}}' } 1 .. 5000) . ']'),
      5000 * 400 / $slice])
{
    my ($name, $body, $least) = @$_;
    my $n = slices($body);

    is($n->{status}, 200, $name);
    cmp_ok($n->{body} // 0, '>=', int(length($body) / $piece) - 1,
           '  the body is read in slices');
    cmp_ok($n->{question} // 0, '>=', int($least * 0.9) - 1,
           '  the question is made in slices');
    is($n->{hashed}, 1, '  and hashed once');
}

# once for all answers

for (['eight answers', chat(user('x' x $long), '"n":8'), 1],
     ['to a prompt', '{"model":"sonnet","n":4,"prompt":"' . 'x' x $long . '"}',
      1, '/v1/completions'],
     ['to two prompts, each', '{"model":"sonnet","n":2,"prompt":["'
      . 'x' x $long . '","' . 'y' x $long . '"]}', 2, '/v1/completions'])
{
    my ($name, $body, $hashed, $path) = @$_;
    my $n = slices($body, $path ? (path => $path) : ());

    is($n->{status}, 200, $name);
    is($n->{hashed}, $hashed, '  hashed once');
    cmp_ok($n->{question}, '<', ($hashed + 1) * $long / $slice,
           '  and not more often than that');
}

# a small one is read in the event that it comes in

is_deeply(slices(chat(user())), { status => 200, hashed => 1 },
          'a small body has no slices');

# what is refused has its slices, too

for (['white space', chat(user(' ' x $long)), 0],
     ['no base64', chat(file('text/plain', 'QUJD' x ($long / 4) . '????')),
      $long / 4 / $slice],
     ['a text file of white space', chat(file('text/plain',
                                              'ICAg' x ($long / 4))),
      $long * 2 / $slice])
{
    my ($name, $body, $least) = @$_;
    my $n = slices($body);

    is($n->{status}, 400, "$name is refused");
    cmp_ok($n->{question} // 0, '>=', int($least * 0.9) - 1,
           '  after as many slices as it takes');
}

# and memory goes as it came

cmp_ok(slices(chat('{"role":"user","content":['
                   . join(',', ('{"type":"text","text":"p"}') x 100_000)
                   . ']}'))->{freed} // 0, '>=', 1,
       'hundreds of bytes for a part are freed in slices');

$s->stop;


# $claude_conversation: as much of the body as the user's first words, and no
# more of them than count

{
    my $sink = port(6);
    my $front = ClaudeTest->start(workers => 1, server =>
        "location / { proxy_pass http://127.0.0.1:$sink; "
        . 'client_body_buffer_size 8m; '
        . 'add_header conversation "=$claude_conversation"; }',
        http => "server { listen 127.0.0.1:$sink; return 200 ok; }");

    my $of = sub {
        return substr $front->send(POST => '/v1/chat/completions',
            body => $_[0])->rest->{headers}{conversation} // '', 1;
    };

    my $mark = $of->(chat(user('one')));
    my $head = '{"messages":[' . user('one');

    like($mark, qr/^[0-9a-f]{40}$/, 'a conversation has a name');
    is($of->("$head,0"), $mark, 'nothing behind the words of the user counts');
    is($of->("$head,] nonsense"), $mark, 'nor is it read');
    is($of->('{"messages":[{"content":"one","role":"user"}]}'), $mark,
       'the order of members does not count');
    is($of->('{"x":[' . '0,' x 500_000 . "0]," . substr($head, 1) . ']}'),
       $mark, 'nor what is before it');
    isnt($of->(chat(user('two'))), $mark, 'other words have another');
    is($of->('{"messages":[' . said('x') . ']}'), '',
       'without words of the user there is none');
    is($of->('[' . '0,' x 1_000_000 . '0]'), '', 'nor for what is no chat');

    my $text = 'x' x 1_048_576;
    my $cut = $of->(chat(user($text . 'a')));

    like($cut, qr/^[0-9a-f]{40}$/, 'so have very long words');
    is($of->(chat(user($text . 'b' x 2_000_000))), $cut,
       'of which 1 MB counts');
    isnt($of->(chat(user('y' . $text))), $cut, 'from the first on');

    $front->stop;
}

done_testing;
