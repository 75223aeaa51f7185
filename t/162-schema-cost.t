# Tools and schemas of every shape cost no more than their bytes: time of the
# processor, and the most memory that a worker ever had, from the first byte to
# the answer. Each has an nginx of its own, since memory that was in use before
# would be used again. One that ends in a tool of no name asks nobody.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use ClaudeTest;
use Test::More;

my $slow = $ENV{TEST_SANITIZED} ? 8 : 1;

sub used {                             # seconds; the kernel's count
    my ($pid) = @_;
    open my $fh, '<', "/proc/$pid/schedstat" or return 0;
    return (split ' ', <$fh>)[0] / 1e9;
}

sub costs {
    my ($name, $body, $want, $say) = @_;
    my $n = length $body;
    my $s = ClaudeTest->start(workers => 1,
                              server => 'location /v1/ { claude_openai; }');
    my $pid;
    wait_for { ($pid) = $s->workers } undef;
    $s->get('/health');                # it has begun

    my ($kb, $cpu) = (memory($pid, 'VmHWM'), used($pid));
    my $r = $s->send(POST => '/v1/chat/completions', body => $body)->rest;
    $s->wait_idle;
    $cpu = used($pid) - $cpu;
    $kb = memory($pid, 'VmHWM') - $kb;

    is($r->{status}, $want, "$name ($n bytes)");
    like($r->{json}{error}{message}, $say, '  and told why') if $say;
    cmp_ok($cpu, '<', 0.3e-6 * $n * $slow + 0.02 * $slow,
           sprintf '  takes %.3f us a byte', $cpu / $n * 1e6);
    cmp_ok($kb * 1024, '<', 32 * $n + 8e6,
           sprintf '  and %.1f bytes a byte', $kb * 1024 / $n)
        if !$ENV{TEST_SANITIZED};
    $s->stop;
}

sub chat_with {                        # members of the body, as text
    return '{"model":"sonnet","messages":[{"role":"user","content":"hi"}],'
           . "$_[0]}";
}

sub tools_with {                       # tools, and one of no name
    return chat_with('"tools":[' . join(',', @_, '{"type":"function",'
                                             . '"function":{}}') . ']');
}

sub named {
    my ($name, $parameters, $strict) = @_;
    return "{\"type\":\"function\",\"function\":{\"name\":\"$name\""
           . ($parameters ? ",\"parameters\":$parameters" : '')
           . ($strict ? ',"strict":true' : '') . '}}';
}

sub formed { return '"response_format":{"type":"json_schema","json_schema":{'
                    . "\"name\":\"n\",\"schema\":$_[0]}}" }

my $nameless = qr/^'tools\[\d+\]\.function\.name'/;
my $repeat = qr/makes the schemas of the request too large/;
my $sevenfold = '{"type":["object","object","object","object","object",'
                . '"object","object"],"properties":{"a":';
$sevenfold = '{"type":"object","properties":{"a":' . $sevenfold x 4
             . '{"type":"null"}' . '}}' x 4 . '}}';

costs('anyOf on top, 8,000 times', chat_with('"tools":[' . named('f', '{'
      . join(',', ('"anyOf":1') x 8000) . '}') . ']'), 200);
costs('10,000 tools', chat_with('"tools":[' . join(',', map
      { named("t$_") } 1 .. 10_000) . ']'), 200);
costs('9,999 tools with names of one prefix', tools_with(map
      { named('p' x 100 . $_) } 1 .. 9_999), 400, $nameless);
costs('9,999 strict tools', tools_with(map { named("t$_",
      '{"type":"object","properties":{"a":{}}}', 1) } 1 .. 9_999), 400,
      $nameless);
costs('20 strict tools with 5,000 properties and 9,000 names required',
      tools_with(map { named("t$_", '{"type":"object","properties":{'
      . join(',', map { "\"p$_\":{\"type\":\"null\"}" } 1 .. 5000)
      . '},"required":[' . join(',', map { "\"q$_\"" } 1 .. 9000) . ']}',
      1) } 1 .. 20), 400, $nameless);
costs('200 strict tools with lists of types in each other',
      tools_with(map { named("t$_", $sevenfold, 1) } 1 .. 200), 400,
      $repeat);
costs('5,000 references to one of 5,000 words', chat_with(formed(
      '{"allOf":[' . join(',', ('{"$ref":"#/$defs/A"}') x 5000)
      . '],"$defs":{"A":{' . join(',', map { "\"x$_\":1" } 1 .. 5000)
      . '}}}')), 400, $repeat);
costs('an allOf of 6,500 words', chat_with(formed('{"type":"null",'
      . '"allOf":[' . join(',', map { "{\"x$_\":1}" } 1 .. 6500) . ']}')
      . ',"tools":[{}]'), 400, qr/^'tools\[0\]\.type'/);
costs('400 references among 6,000', chat_with(formed('{"properties":{'
      . join(',', map { "\"p$_\":{\"\$ref\":\"#/\$defs/d" . (6000 - $_)
                        . '"}' } 1 .. 400)
      . '},"$defs":{' . join(',', map { "\"d$_\":{\"type\":\"null\"}" }
                                  1 .. 6000) . '}}')
      . ',"tools":[{}]'), 400, qr/^'tools\[0\]\.type'/);
costs('a description of nothing but escapes', chat_with('"tools":['
      . '{"type":"function","function":{"name":"f","description":"'
      . '\u0001' x 300_000 . '"}}]'), 200);

done_testing();
