# No word of a client or of the model is in the error log, at whatever level
# but debug, and whatever happens. What a provider says of an error is, as far
# as 512 bytes of it; so is what a CLI says when it does not start.
#
# What all other suites have said is looked for in their own logs, too: see
# t/lib/Silence.pm.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use ClaudeTest;
use Silence;
use Test::More;

my $mark = 'q7x2m9k4';                 # in all that anybody says
my $true = JSON::PP::true;

sub word { return "$mark-$_[0]" }

sub marked {
    my ($s) = @_;
    return grep { /$mark/ && !/ \[debug\] / } $s->errors;
}

# A request with the mark in whatever a client may write.

sub request {
    my ($fake, %more) = @_;
    my $call = word('call');
    return json->encode({
        model => 'sonnet', user => word('user'), stop => [word('stop')],
        metadata => { word('member') => word('value') },
        safety_identifier => word('safety'), prompt_cache_key => word('cache'),
        tools => [map { { type => 'function', function => {
            name => word($_), description => word('description'),
            parameters => { type => 'object', description => word('schema'),
                            properties => { word('property') =>
                                            { type => 'string' } } } } } }
                      'tool', 'tool2'],
        messages => [
            { role => 'system', content => word('system') },
            { role => 'user', name => word('name'), content => [
                { type => 'text', text => word('text') },
                { type => 'file', file => { filename => word('file'),
                    file_data => 'data:text/plain;base64,cTd4Mm05azQ=' } }] },
            { role => 'assistant', content => word('assistant'),
              tool_calls => [{ id => $call, type => 'function', function =>
                  { name => word('tool'), arguments => json->encode(
                      { word('property') => word('argument') }) } }] },
            { role => 'tool', tool_call_id => $call, content => word('result') },
            { role => 'user', content => word('question')
                              . ' [[fake ' . json->encode($fake) . ']]' }],
        %more });
}

my %said = (thinking => word('thinking'), deltas => [word('one'), word('two')]);
my @faults = (
    {}, { stop_reason => 'max_tokens' }, { stop_reason => 'stop_sequence',
        stop_sequence => word('stop') },
    { stop_reason => 'refusal', stop_details => {
          type => 'refusal', category => word('why'),
          explanation => word('explanation') } },
    { deltas => [], tool_use => [{ id => word('toolu'), name => word('tool'),
          input => { word('property') => word('argument') } }] },
    { deltas => [], tool_use => [{ id => word('toolu2'), name => word('none'),
          input => {} }] },
    (map { +{ %$_, stderr => word('stderr') } }
         {}, { die_before => 3 }, { die_before => 'KILL' },
         { die_after_deltas => 1 }, { garbage_after_deltas => 1 },
         { half_line => $true, exit_code => 2 }, { huge_line => 400_000 },
         { drop_after_deltas => 1 }, { drop_before => $true },
         { blank => $true }, { empty => $true }, { no_message_start => $true },
         { prompt_too_long => $true }, { refusal_fallback => $true },
         { gate => 'passed' }, { ignore_interrupt => $true,
                                 stop_reason => 'max_tokens' },
         { crash_on_interrupt => $true, stop_reason => 'max_tokens' }),
);

my $s = ClaudeTest->start(workers => 2,
    http => 'claude_max_concurrent 3; claude_queue 2 timeout=1s; '
        . 'claude_max_line 300k;',
    server => 'client_max_body_size 1m; location /v1/ { claude_openai; } '
        . 'location /soon/ { claude_openai; claude_timeout 500ms; } '
        . 'location /turn/ { claude_openai; claude_turn_timeout 500ms; } '
        . 'location /agent/ { claude_openai; claude_tools Read; }');

sub ask {
    my ($path, $body, @headers) = @_;
    return $s->send(POST => $path, body => $body,
                    headers => ['User-Agent: ' . word('agent'), @headers]);
}

my $chat = '/v1/chat/completions';
my (%status, $n);

for my $fake (@faults) {
    for my $stream (0, 1) {
        my $r = ask($chat, request({ %said, %$fake }, stream => $stream
                                   ? $true : JSON::PP::false))->rest;
        $status{ $r->{status} }++;
        $n++;
    }
}
cmp_ok($status{200}, '>=', 12, "$n requests: answers");
cmp_ok($n - $status{200}, '>=', 12, '  and errors');
$s->wait_idle;

ask($chat, request({ hang => $true }, stream => $true));
for my $path ('/soon', '/turn') {
    is(ask("$path/chat/completions", request({ %said, hang => $true }))
       ->rest->{status}, 504, "$path: no answer in time");
}
{
    my $c = ask($chat, request({ %said, hang_after_deltas => 1 },
                               stream => $true));
    ok($c->until(qr/$mark-one/), 'a client hears something');
    $c->close;
    $s->wait_idle('  and leaves');
}

ask('/agent/chat/completions', json->encode({ messages => [{ role => 'user',
    content => "$mark [[fake " . json->encode({ %said }) . ']]' }] }))->rest;
ask('/v1/completions', json->encode({ prompt => ["$mark a", "$mark b"],
                                      user => $mark }))->rest;

# sessions, and names that are none

for my $id ('0198a2b4-1111-4222-8333-00000000000a', "ses_$mark") {
    for my $text (map { word($_) } 1 .. 3) {
        ask($chat, json->encode({ messages => [{ role => 'user',
            content => $text }] }), "X-Session-Id: $id")->rest;
    }
    my ($asked) = reverse $s->events('asked');
    kill 'KILL', $asked->{pid};
    wait_for { !alive($asked->{pid}) } undef;
    ask($chat, json->encode({ messages => [{ role => 'user',
        content => word('again') }] }), "X-Session-Id: $id")->rest;
}
ask($chat, json->encode({ model => 'opus', messages => [{ role => 'user',
    content => word('other model') }] }),
    'X-Session-Id: 0198a2b4-1111-4222-8333-00000000000a')->rest;

# what is refused before it is a turn

for (request({}, model => word('model')), request({}, n => word('n')),
     request({}, tool_choice => word('choice')),
     request({}, response_format => { type => word('format') }),
     request({}, messages => word('messages')),
     request({}, messages => [{ role => word('role'), content => 'x' }]),
     qq({"$mark":), qq($mark), qq({"model":"$mark\xff"}),
     json->encode({ messages => [{ role => 'user', content => [{
         type => 'image_url', image_url => { url => "data:$mark" } }] }] }),
     request({}, user => 'z' x 2_000_000 . $mark))
{
    my $r = ask($chat, $_)->rest;
    ok($r->{status} >= 400 && $r->{status} < 500, 'refused: ' . substr $_, 0, 30);
}
is($s->send(POST => $chat, key => "sk-$mark", body => request({}))->rest
   ->{status}, 401, 'a wrong key');

# a queue that is full, and one that takes too long

{
    my @c = map { ask($chat, request({ %said, hang_after_deltas => 1 },
                                     stream => $true)) } 1 .. 3;
    ok($_->until(qr/$mark-one/), 'all places are taken') for @c;
    my @w = map { ask($chat, request({})) } 1, 2;
    wait_for { $s->status->{turns}{waiting} == 2 } undef;
    is(ask($chat, request({}))->rest->{status}, 429, 'the queue is full');
    is($_->rest->{status}, 429, '  and those in it wait too long') for @w;
    $_->close for @c;
    $s->wait_idle;
}

cmp_ok(scalar(grep { /claude: / } $s->errors), '>', 20, 'the log has its lines');
is(join('', marked($s)), '', '  and none of them what was said');

# a provider's words, which may be a client's

{
    my $words = substr +(word('words') . ' ') x 100, 0, 700;
    my ($r, $before);

    # on a busy machine its second in the queue may be over first

    for (1 .. 20) {
        $before = () = $s->errors;
        $r = ask($chat, request({ error => { word => 'server_error',
            status => 529, text => $words } }))->rest;
        last if $r->{status} != 429;
    }
    is($r->{status}, 503, 'an error of the provider\'s');
    $s->wait_idle;
    my @new = grep { /$mark/ } ($s->errors)[$before .. (() = $s->errors) - 1];
    is(scalar @new, 1, '  has one line');
    my $told = join '', $new[0] =~ /($mark.*), process \d/;
    cmp_ok(length $told, '<=', 512, '  with no more than 512 bytes of its words');
    cmp_ok(length $told, '>', 400, '    but those');
}

$s->stop;

# a CLI that does not start: what it says is for the operator

{
    $s = ClaudeTest->start(start => { exit => 7,
        stderr => 'no licence ' . 'z' x 2000 . $mark });
    is(ask($chat, request({}))->rest->{status}, 502, 'a CLI that does not start');
    my ($line) = grep { /no licence/ } $s->errors;
    like($line // '', qr/\[warn\]/, '  is heard');
    my ($told) = ($line // '') =~ /(no licence.*?)(?:, client|$)/;
    is(length($told // ''), 512, '  as far as 512 bytes');
    is(join('', marked($s)), '', '  and no further');
    $s->stop;
}

done_testing;
