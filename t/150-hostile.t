# Hostile input: bodies that are large, deep, broken or odd, names that would
# be headers or lines of the log. Each gets its answer, the worker lives on,
# and others are served meanwhile.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use ClaudeTest;
use Test::More;
use Time::HiRes qw(time);

my $true = JSON::PP::true;
my $slow = $ENV{TEST_SANITIZED} ? 8 : 1;

my $s = ClaudeTest->start(workers => 1,
    server => 'location /v1/ { claude_openai; } '
              . 'location /any/ { claude_openai; claude_model_map default '
              . 'opus; }');
my $worker;
wait_for { ($worker) = $s->workers } undef;

sub post {
    my ($body, %o) = @_;
    return $s->send(POST => $o{path} // '/v1/chat/completions',
                    body => $body, %o)->rest;
}

sub chat_with {                        # members of the body, as text
    return '{"model":"sonnet","messages":[{"role":"user","content":"hi"}],'
           . "$_[0]}";
}

sub status_is {
    my ($body, $want, $name, %o) = @_;
    my $r = post($body, %o);
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is($r->{status}, $want, $name);
    if ($want >= 400) {
        like($r->{json}{error}{type} // '', qr/_error$/,
             '  in OpenAI\'s shape');
    }
    return $r;
}

# texts that are no JSON, or not the right one

status_is($_->[0], 400, $_->[1]) for
    ['', 'nothing'], ['null', 'null'], ['[]', 'an array'], ['"x"', 'a string'],
    ['{}', 'an empty object'], ['{', 'half of one'], ["\0" x 100, 'NULs'],
    ["\xef\xbb\xbf" . chat_with('"n":1'), 'a byte order mark'],
    [chat_with('"n":1') . '{}', 'something after the end'],
    ['x' x 10_000_000, '10 MB of no JSON'],
    ['"' . 'x' x 10_000_000, '10 MB of a string without an end'],
    ['{"messages":' x 1000, 'objects without an end'],
    ['[' x 5_000_000, 'five million arrays'],
    [chat_with('"x":' . '[' x 200 . ']' x 200), 'a depth of 200'],
    [chat_with('"x":' . '{"a":' x 200 . '1' . '}' x 200), 'of objects, too'];
status_is(chat_with('"x":' . '[' x 100 . ']' x 100), 200, 'a depth of 100');
status_is(chat_with('"x":[' . join(',', (0) x 300_000) . ']'), 200,
          '300,000 values');
status_is(chat_with('"' . 'k' x 3_000_000 . '":1'), 200, 'a name of 3 MB');
status_is(chat_with('"x":' . '9' x 60_000), 200,
          'a number of 60,000 digits that nobody reads');
status_is(chat_with('"x":' . '9' x 3_000_000), 400,
          'one of 3 million, which would be read again and again');

# UTF-8 and escapes

status_is(chat_with("\"user\":\"$_->[0]\""), 400, "UTF-8: $_->[1]") for
    ["\xff", 'a byte that never occurs'], ["\xc0\x80", 'an overlong NUL'],
    ["\xed\xa0\x80", 'a surrogate'], ["\xf4\x90\x80\x80", 'beyond U+10FFFF'],
    ["\xe2\x82", 'half a character'];

for ('\ud800', '\udc00', '\ud800x', '\udfff\ud800') {
    my $r = post('{"model":"sonnet","messages":[{"role":"user","content":"a'
                 . $_ . 'b"}]}');
    ok($r->{status} == 400 || ($r->{status} == 200 && $r->{text} =~ /^echo: a/),
       "half a surrogate pair: $_ ($r->{status})");
}

{
    my $n = 300_000;
    my $asked = () = $s->events('asked');
    my $r = post('{"model":"sonnet","messages":[{"role":"user","content":"'
                 . '\u0000' x $n . 'end"}]}');
    is($r->{status}, 400, 'a bomb of NULs is refused');
    like($r->{json}{error}{message}, qr/NUL/, '  and told why');
    is(scalar(() = $s->events('asked')), $asked, '  nobody was asked');
    $r = post('{"model":"sonnet","messages":[{"role":"user","content":"'
              . '\u0001' x $n . 'end"}]}');
    is($r->{text}, 'echo: ' . "\1" x $n . 'end',
       'one of another control character comes back as it was');
}

# duplicates and numbers

{
    my $r = post('{"model":"sonnet","messages":[{"role":"user","content":"a"}]'
                 . ',"messages":[{"role":"user","content":"b","content":"c"}],'
                 . '"model":"nonsense","model":"sonnet"}');
    is($r->{text}, 'echo: c', 'of two members with one name the last wins');
    my $x = '"messages":[{"role":"user","content":"x"}],';
    $r = post('{"model":"sonnet",' . $x x 20_000
              . '"messages":[{"role":"user","content":"last"}]}');
    is($r->{text}, 'echo: last', '  and of 20,001');
}

status_is(chat_with("\"max_tokens\":$_"), 400, 'max_tokens: '
          . substr $_, 0, 30)
    for '1e999', '-1', '0', '-0', '1.5', '99999999999999999999',
        '18446744073709551616', '9' x 100_000, '"5"', 'true', '{}', '1e-400';
status_is(chat_with("\"temperature\":$_"), 400, 'temperature: '
          . substr $_, 0, 30) for '1e308', '-1e308', '2.0000001', '9' x 10_000;
status_is(chat_with('"stop":' . json->encode([('x') x 1000])), 400,
          'a thousand stop sequences');

# messages

{
    my $n = 100_000;
    my $one = '{"role":"user","content":"x"}';
    my $r = post('{"model":"sonnet","messages":[' . join(',', ($one) x $n)
                 . ']}');
    is($r->{status}, 200, '100,000 messages of one role');
    my $t = time;
    my $pair = '{"role":"user","content":"u"},'
               . '{"role":"assistant","content":"a"},';
    my $c = $s->open_chat('', body => '{"model":"sonnet","messages":['
                          . $pair x ($n / 2) . $one . ']}');
    my @t;
    for (1 .. 30) {
        my $t = cpu($worker);
        is($s->get('/health')->{status}, 200, '  /health answers') if $_ == 1;
        $s->get('/health') if $_ > 1;
        push @t, cpu($worker) - $t;
    }
    @t = sort { $a <=> $b } @t;
    cmp_ok($t[-1], '<', 0.5 * $slow, 'while 100,000 of two roles are read '
           . 'and replayed, others have answers');
    $c->close;                         # nobody waits for 50,000 replays
    $s->wait_idle('a client that leaves them frees the place');
    is($s->chat('ok')->{text}, 'echo: ok', 'and the next is served');
}

# a large body holds nobody up

{
    my $body = chat_with('"metadata":"' . 'a \"quoted\" word \\\\ ' x 500_000
                         . '"');
    cmp_ok(length $body, '>', 10_000_000, '10 MB');
    my $r = post($body);
    is($r->{text}, 'echo: hi', '  without a Content-Type');

    my $c = ClaudeTest::Connection->new(port());
    $c->write("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
              . "Connection: close\r\nAuthorization: Bearer sk-test\r\n"
              . "Transfer-Encoding: chunked\r\n\r\n");
    for (my $at = 0; $at < length $body; $at += 1_000_000) {
        my $piece = substr $body, $at, 1_000_000;
        $c->write(sprintf("%x\r\n%s\r\n", length $piece, $piece));
    }
    $c->write("0\r\n\r\n");
    is($c->rest->{text}, 'echo: hi', '  nor a Content-Length');

    $c = ClaudeTest::Connection->new(port());
    $c->write("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
              . "Authorization: Bearer sk-test\r\n"
              . "Content-Length: 100000000\r\n\r\n");
    is($c->until(qr{^HTTP/1.1 413}), 1, 'more than client_max_body_size');
    $c->close;
}

# headers and log lines out of names

for my $evil ("x\r\nX-Evil: 1", "x\nSet-Cookie: a=b", "x\0y", "\x1b[2Jx",
              "x\x{85}X-Evil: 1", "\x{202e}evil", '%0d%0aX-Evil:1') {
    my $text = json->encode($evil);
    my $r = post(json->encode({ model => $evil, user => $evil,
        messages => [{ role => 'user', content => 'hi', name => $evil }],
        metadata => { $evil => $evil } }), path => '/any/chat/completions');
    ok(!(grep { /evil|cookie/i } keys %{ $r->{headers} }),
       "no header out of a model $text");
    $r = post(json->encode({ model => $evil, messages =>
                             [{ role => 'user', content => 'hi' }] }));
    is($r->{status}, $evil =~ /\0/ ? 400 : 404, '  nor as an error');
    ok(!(grep { /evil|cookie/i } keys %{ $r->{headers} }), '  no header');
}

{
    my $r = $s->get("/v1/models/x%0d%0aX-Evil:%201");
    is($r->{status}, 404, 'a model in the address');
    ok(!exists $r->{headers}{'x-evil'}, '  is no header');
    $r = $s->get('/v1/x%0a2026%2f01%2f01%2000:00:00%20%5balert%5d%20forged');
    is($r->{status}, 404, 'an address with a line feed');

    for my $name ("a\x01b", 'x' x 8000, '../../../etc/passwd', "'; drop",
                  '00000000-0000-0000-0000-00000000000g', '{"a":1}')
    {
        $r = $s->chat('hi', headers => ["X-Session-Id: $name"]);
        like($r->{headers}{'x-session-id'} // 'none', qr/^(?:[-0-9a-f]{36})$/,
             'a session named ' . substr json->encode($name), 0, 30)
            if $r->{status} != 400;
        ok($r->{status} == 200 || $r->{status} == 400, '  has its answer');
    }
    $r = $s->chat('hi', headers => ['X-Request-Id: forged', 'Request-Id: x']);
    like($r->{headers}{'x-request-id'}, qr/^req_[0-9a-f]{32}$/,
         'the id of a request is ours');
}

{
    my $text = "first\n2026/01/01 00:00:00 [alert] 1#1: forged\r\x1b[31mred";
    $s->chat('hi', fake => { error => { word => 'server_error', status => 529,
                                        text => $text } });
    $s->chat('hi', fake => { stderr => $text, die_before => 1 });
    my @bad = grep { m{^2026/01/01} || /[\x00-\x08\x0b-\x1f\x7f]/ }
              $s->errors;
    is(join('', @bad), '', 'what upstream or the CLI says forges no line of '
                           . 'the log, and steers no terminal');
}

# a key, compared in a time that tells nothing: its hash, all of it, with all
# keys. A test of times would be of luck.

{
    open my $fh, '<', root() . '/src/http/ngx_http_claude_auth.c' or die;
    local $/;
    my ($find) = <$fh> =~ /^ngx_http_claude_auth_find\(.*?\n\{(.*?)^\}/ms;
    ok(length $find, 'the comparison of keys is found');
    my ($loop) = $find =~ /(for \(i = 0.*)\n    return/s;
    like($find, qr/auth_hash\(&hash, &bearer\)/, 'the key that came is hashed');
    like($loop // '', qr/diff \|= hash\.hash\[j\] \^ key\[i\]\.hash\.hash\[j\]/,
         'all bytes of the hashes are compared');
    unlike($loop // 'return', qr/\b(?:break|return|goto|continue|\w*cmp)\b/,
           'and no comparison ends before the last key');
}

is(($s->workers)[0], $worker, 'all of that was one worker\'s');
open my $fh, '<', "/proc/$worker/status";
my ($rss) = map { /^VmRSS:\s+(\d+)/ } <$fh>;
cmp_ok($rss, '<', 300_000, "and its memory came back ($rss KB)")
    if !$ENV{TEST_SANITIZED};
$s->wait_idle;
$s->stop(allow => qr/1#1: forged/);
done_testing();
