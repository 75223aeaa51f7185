# HTTP/3: a stream is one over QUIC, too, to its end; so is an error; and a
# client that leaves ends its turn. Debian's nginx 1.22 has no HTTP/3, so this
# runs on builds that have it: ./build.sh versions. The client is ngtcp2's.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use ClaudeTest;
use Test::More;

my $binary = ClaudeTest::binary();
my $client = (grep { -x } map { "$_/gtlsclient" } split /:/, $ENV{PATH})[0];

plan skip_all => 'this nginx has no HTTP/3'
    if `"$binary" -V 2>&1` !~ /http_v3_module/;
plan skip_all => 'no gtlsclient of ngtcp2 here' if !$client;

my $quic = port(1);
my $dir = $ENV{TEST_NGINX_SERVROOT} || '/tmp/claude-test-servroot';

plan skip_all => 'no openssl here'
    if system("openssl req -x509 -newkey rsa:2048 -nodes -days 2"
              . " -subj /CN=localhost -keyout $dir/key.pem"
              . " -out $dir/cert.pem >/dev/null 2>&1") != 0;

# the client cannot send a header of its own, so these locations need no key
my $s = ClaudeTest->start(
    listen => 'listen 127.0.0.1:' . port . ';'
        . " listen 127.0.0.1:$quic quic reuseport; ssl_certificate $dir/cert.pem; "
        . "ssl_certificate_key $dir/key.pem; ssl_protocols TLSv1.3;",
    server => 'location /v1/ { claude_openai; claude_auth off; } '
        . 'location /beat/ { claude_openai; claude_auth off; '
        . 'claude_heartbeat 150ms; } '
        . 'location /keyed/ { claude_openai; }',
);

my $n = 0;
my %clients;


# ask PATH, BODY: a client that runs; what it reads goes to a file at once

sub ask {
    my ($path, $body, @more) = @_;
    my $at = "$dir/quic-" . ++$n;

    mkdir $_ for $at, "$at/got";
    open my $fh, '>:raw', "$at/body" or die "$at/body: $!";
    print $fh $body;
    close $fh or die;

    my $pid = fork // die "fork: $!";
    if ($pid == 0) {
        open STDIN, '<', '/dev/null';
        open STDOUT, '>', "$at/said";
        open STDERR, '>&', \*STDOUT;
        exec $client, '--no-quic-dump', '--exit-on-all-streams-close',
            '--timeout=60s', "--download=$at/got", '--http-method=POST',
            "--data=$at/body", @more, '127.0.0.1', $quic,
            "https://localhost:$quic$path" or POSIX::_exit(127);
    }

    $clients{$pid} = 1;
    my ($name) = $path =~ m{([^/]+)$};
    return { pid => $pid, got => "$at/got/$name", said => "$at/said" };
}

sub slurp {
    open my $fh, '<:raw', $_[0] or return '';
    local $/;
    return <$fh> // '';
}

sub got { return slurp($_[0]{got}) }
sub head { return join '', slurp($_[0]{said}) =~ /^http: .*\[.*\].*\n/mg }

sub ended {
    my ($c, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $ended = wait_for { waitpid($c->{pid}, 1) == $c->{pid} } $name;
    delete $clients{ $c->{pid} } if $ended;
}

END {
    my $status = $?;
    kill 'KILL', keys %clients;
    waitpid $_, 0 for keys %clients;
    $? = $status;
}


{
    my $c = ask('/v1/chat/completions', ClaudeTest::body('hi', stream => 1,
        fake => { deltas => ["w\n"], repeat => 2000 }));
    ended($c, 'a stream over HTTP/3 ends');
    like(head($c), qr/\[:status: 200\]/, '  its status');
    like(head($c), qr/\[content-type: text\/event-stream/, '  its type');
    is(() = got($c) =~ /"content":"w\\n"/g, 2000, '  all of it');
    like(got($c), qr/data: \[DONE\]\n\n\z/, '  to its end');
}

{
    my $c = ask('/v1/chat/completions', ClaudeTest::body('hi', stream => 1,
        fake => { deltas => ['one', 'two'], hang_after_deltas => 1 }));
    wait_for { got($c) =~ /"content":"one"/ }
        'a delta leaves while the next one is not there yet';
    unlike(got($c), qr/two/, 'and nothing that is not there');

    kill 'INT', $c->{pid};
    ended($c, 'the client leaves');
    $s->wait_idle('and that ends the turn');
}

{
    my $c = ask('/beat/chat/completions', ClaudeTest::body('hi', stream => 1,
        fake => { delay_ms => 700, deltas => ['one'] }));
    ended($c, 'a stream with a pause ends');
    like(got($c), qr/heartbeat/, '  and had heartbeats');
    like(got($c), qr/"one".*\[DONE\]\n\n\z/s, '  and its text');
}

{
    my $c = ask('/v1/chat/completions', ClaudeTest::body('hi',
        fake => { deltas => ['one'] }));
    ended($c, 'a whole answer over HTTP/3');
    like(head($c), qr/\[:status: 200\]/, '  its status');
    is(eval { json->decode(got($c))->{choices}[0]{message}{content} }, 'one',
       '  its text');
}

{
    my $long = 'x' x 300_000;
    my $c = ask('/v1/chat/completions', ClaudeTest::body("hi $long",
        fake => { deltas => ['one'] }));
    ended($c, 'a long question over HTTP/3');
    like(head($c), qr/\[:status: 200\]/, '  its status');
    my ($asked) = reverse $s->events('asked');
    cmp_ok(length json->encode($asked // {}), '>', 300_000,
           '  all of it was asked');
}

{
    my $c = ask('/v1/chat/completions', '{"messages":');
    ended($c, 'a broken body over HTTP/3');
    like(head($c), qr/\[:status: 400\]/, '  its status');
    ok(eval { json->decode(got($c))->{error}{message} }, '  its message');
}

{
    my $c = ask('/keyed/chat/completions', ClaudeTest::body('hi'));
    ended($c, 'a request without a key');
    like(head($c), qr/\[:status: 401\]/, '  its status');
    is(eval { json->decode(got($c))->{error}{code} }, 'invalid_api_key',
       '  its code');
}

{
    # slower than the CLI: the flow of one stream is 16 KB at first
    my $c = ask('/v1/chat/completions', ClaudeTest::body('hi', stream => 1,
        fake => { deltas => ['y' x 1000], repeat => 1000 }),
        '--max-stream-data-bidi-local=16K', '--max-data=16K');
    ended($c, 'a stream through a narrow window ends');
    is(() = got($c) =~ /"content":"y{1000}"/g, 1000, '  all of it');
}

{
    my @c = map { ask('/v1/chat/completions', ClaudeTest::body('hi',
        stream => 1, fake => { deltas => ["$_ "], repeat => 50,
                               gap_ms => 5 })) } 1 .. 4;
    for my $i (1 .. 4) {
        ended($c[$i - 1], "stream $i of 4 ends");
        is(() = got($c[$i - 1]) =~ /"content":"$i "/g, 50, '  all of it');
    }
}

$s->wait_idle('nothing is left');
$s->stop;

done_testing();
