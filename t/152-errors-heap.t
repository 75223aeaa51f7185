# What a 400 says is of its own words and of the request's: nothing of what
# another key's request or answer left in the worker's memory. Each text that
# a client of the two dialects can be told is in t/data/refused.json, with a
# request that is told it (t/007-formats.t sees to that).

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use ClaudeTest;
use Test::More;

my $mark = 'foreign';                  # nothing here has it in its own words
my $true = JSON::PP::true;

my $s = ClaudeTest->start(workers => 1, http => 'claude_max_concurrent 4;',
                          server => <<'END');
        location /v1/ { claude_openai; }
        location /agent/v1/ { claude_openai; claude_tools Read; }
        location /sampling/v1/ { claude_openai; claude_sampling on; }
END


# Leaves pieces of all sizes that a request has in the memory of the worker:
# as names and values of JSON, as text that is told, and as an answer.

sub fill {
    my $text = $mark x 700;
    my @pieces = map { substr($text, 0, 7 * $_) } 1 .. 120;
    my $r = $s->chat($text, key => 'sk-other', with => {
        metadata => { map { $_ => $_ } @pieces },
        tools => [{ type => 'function', function => {
            name => 'f', description => $text, strict => $true,
            parameters => {
                type => 'object', properties => {
                    map { $_ => { type => 'string', description => $_ } }
                        @pieces } } } }] });

    return $r->{status};
}


# One request, and the whole of what it is told.

sub refused {
    my ($row, $name) = @_;
    my $kind = $row->{flags} // '';
    my $path = $kind eq 'completions' ? '/v1/completions'
               : ($kind ? "/$kind" : '') . '/v1/chat/completions';
    my $body = $row->{text} // json()->encode($row->{body});

    $body =~ s/<<(.+?)\*(\d+)>>/$1 x $2/ge;

    my $r = $s->send(POST => $path, body => $body, headers => [
        $row->{session} ? "X-Session-Id: $row->{session}" : ()])->rest;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is($r->{status} . ' ' . ($r->{json}{error}{message} // ''),
       ($row->{status} // 400) . " $row->{says}", $name);
}


# A tool whose schema cannot be enforced, with names of every length that
# makes memory end at another place.

is(fill(), 200, 'another key is answered');

for my $n (1 .. 40) {
    my $name = 'p' x $n;

    fill() if $n % 8 == 0;

    refused({ body => { model => 'sonnet',
        messages => [{ role => 'user', content => 'hi' }],
        tools => [{ type => 'function', function => {
            name => 'f', strict => $true, parameters => {
                type => 'object', properties => {
                    $name => { type => 'object' } } } } }] },
        says => "'tools[0].function.parameters' '#/properties/$name' is an "
            . 'object with members of any name, which constrained output does '
            . 'not have: it must name its properties.' },
        "a strict tool's schema, a name of $n");
}


my $n = 0;

for my $row (@{ json()->decode(do {
    open my $fh, '<:raw', root() . '/t/data/refused.json' or die;
    local $/;
    <$fh>;
}) })
{
    fill() if $n++ % 8 == 0;
    refused($row, substr($row->{says}, 0, 70));
}

$s->stop;
done_testing;
