# What a 400 says is of its own words and of the request's: nothing of what
# another key's request or answer left in the worker's memory.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use ClaudeTest;
use Test::More;

my $mark = 'foreign';                  # nothing here has it in its own words

my $s = ClaudeTest->start(workers => 1);


# Leaves pieces of all sizes that a request has in the memory of the worker:
# as names and values of JSON, as text that is told, and as an answer.

sub fill {
    my $text = $mark x 700;
    my @pieces = map { substr($text, 0, 7 * $_) } 1 .. 120;
    my $r = $s->chat($text, key => 'sk-other', with => {
        metadata => { map { $_ => $_ } @pieces },
        tools => [{ type => 'function', function => {
            name => 'f', description => $text, strict => JSON::PP::true,
            parameters => {
                type => 'object', properties => {
                    map { $_ => { type => 'string', description => $_ } }
                        @pieces } } } }] });

    return $r->{status};
}


# A tool whose schema cannot be enforced, with names of every length that
# makes memory end at another place.

is(fill(), 200, 'another key is answered');

for my $n (1 .. 40) {
    my $name = 'p' x $n;

    fill() if $n % 8 == 0;

    my $r = $s->chat('hi', with => {
        tools => [{ type => 'function', function => {
            name => 'f', strict => JSON::PP::true, parameters => {
                type => 'object', properties => {
                    $name => { type => 'object' } } } } }] });

    is($r->{status} . ' ' . ($r->{json}{error}{message} // ''),
       "400 'tools[0].function.parameters' '#/properties/$name' is an object "
       . 'with members of any name, which constrained output does not have: '
       . 'it must name its properties.',
       "a strict tool's schema, a name of $n");
}

$s->stop;
done_testing;
