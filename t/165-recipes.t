# The recipes of conf/examples, as they stand there: limits by key, logs,
# addresses, a login of another kind, a second machine. nginx's own modules do
# all of it; here is that they can.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use ClaudeTest;
use Test::More;
use MIME::Base64;

my $true = JSON::PP::true;
my $hang = { deltas => ['x', 'y'], hang_after_deltas => 1 };

# nginx with a recipe: addresses, files and the CLI of this test in place of
# those that stand there; %replace: other texts, more: what else http has

sub recipe {
    my ($file, %o) = @_;
    open my $fh, '<', root() . "/conf/examples/$file" or die "$file: $!";
    my $text = join '', <$fh>;

    for (@{ $o{replace} || [] }) {
        my ($from, $to) = @$_;
        ok($text =~ s/\Q$from\E/$to/g, "$file has $from");
    }
    $text =~ s{listen\s+127\.0\.0\.1:\d+}{'listen 127.0.0.1:' . port()}e;
    $text =~ s{/etc/nginx/}{\$DIR/}g;
    $text =~ s{/var/log/nginx/}{\$DIR/logs/}g;

    return ClaudeTest->start(%o, recipe => $text);
}

{
    no warnings 'redefine';
    my $plain = \&ClaudeTest::configuration;

    # a recipe takes the place of zone, keys and server
    *ClaudeTest::configuration = sub {
        my ($s, %o) = @_;
        return $plain->($s, %o) if !$o{recipe};

        my $text = $o{recipe} =~ s/\$DIR/$s->{dir}/gr;
        my $first = 'listen 127.0.0.1:' . port(9) . ';';
        return $plain->($s, %o, zone => '', keys => '', listen => $first,
                        server => '', http => ($o{http} // '')
                        . "\n$text\n" . ($o{more} // ''))
               =~ s/location = \/status \{[^}]*\}//r;
    };

    my $configure = \&ClaudeTest::configure;
    *ClaudeTest::configure = sub {
        my ($s, %o) = @_;
        my %file = %{ $o{files} || {} };
        for my $name (keys %file) {
            open my $fh, '>', "$s->{dir}/$name" or die "$name: $!";
            print $fh $file{$name};
        }
        $configure->($s, %o);
    };
}

sub is_error {
    my ($r, $status, $code, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is($r->{status}, $status, $name);
    like($r->{json}{error}{message} // '', qr/\w/, '  in OpenAI\'s shape');
    is($r->{json}{error}{code}, $code, '  with its code') if defined $code;
}

# box.conf: the box itself is real/box.test.mjs's

{
    my $s = recipe('box.conf', workers => 1, replace => [
        ["claude_binary         /usr/local/bin/claude-in-a-box;\n", ''] ],
        files => { 'claude.keys' => "one:sk-one\n",
                   'claude.env' => "ANTHROPIC_API_KEY=x\n" });

    for my $path ('/v1', '/agent') {
        is($s->send(POST => "$path/chat/completions", key => 'sk-one',
                    body => ClaudeTest::body('hi'))->rest->{status}, 200,
           "box.conf: $path");
    }

    # what the script asks for and mounts

    my ($start) = reverse $s->events('start');
    ok(-d $start->{env}{$_}, "an agent's CLI is told its $_")
        for qw(CLAUDE_CONFIG_DIR TMPDIR);
    $s->stop;
}

# limits.conf: limit_req, limit_conn, access_log

{
    my $s = recipe('limits.conf', workers => 1);
    my ($alice, $batch) = ('sk-change-me-alice', 'sk-change-me-batch');

    # one more is let through every two seconds, so with what takes no time

    my @r = map { $s->get('/v1/models', key => $alice) } 1 .. 11;
    is(scalar(grep { $_->{status} == 200 } @r), 11,
       'limit_req: a burst of 10 for a key');
    push @r, $s->chat('hi', key => $alice);
    is_error($r[11], 429, 'rate_limit_exceeded', 'then it has to wait');
    is($r[11]{json}{error}{type}, 'rate_limit_error', '  of that type');
    is($s->chat('hi', key => $batch)->{status}, 200,
       'another key is not its concern');

    @r = map { $s->chat('hi', key => 'sk-guess') } 1 .. 7;
    is(scalar(grep { $_->{status} == 401 } @r[0 .. 5]), 6,
       'who guesses keys gets 401');
    is_error($r[6], 429, 'rate_limit_exceeded', 'and soon has to wait');
    is($s->chat('hi', key => $batch)->{status}, 200,
       'which is no concern of a key that is right');

    my @c = map { $s->open_chat('hi', key => $batch, stream => 1,
                                fake => $hang) } 1 .. 4;
    ok($_->until(qr/"x"/), 'limit_conn: a stream') for @c;
    is_error($s->chat('hi', key => $batch), 429, 'rate_limit_exceeded',
             'a fifth of the same key is one too many');
    $_->close for @c;

    my @log;
    wait_for {
        open my $fh, '<', "$s->{dir}/logs/claude.log";
        @log = <$fh>;
        @log >= 26
    } 'each request has its line in the log';
    like((grep { / key=batch status=200 / } @log)[0],
         qr/\ key=batch\ status=200\ error=-\ model=sonnet\ session=\S{36}
                      \ process=\w+\ prompt=\d+\ completion=\d+\ usd=[\d.]+
                      \ ttft=[\d.]+\ time=[\d.]+$/x, 'with all that there is');
    is(scalar(grep { /key=alice status=429 error=rate_limit_exceeded / } @log),
       1, 'also when nginx refused it');
    is(scalar(grep { /key=- status=401 error=invalid_api_key / } @log), 6,
       'or the module did');
    is(scalar(grep { /key=batch status=200 error=-.* prompt=\d+/ } @log), 6,
       'or the client left');
    $s->stop;
}

# access.conf: real_ip, auth_request, error_page, satisfy

{
    my $broken = 'claude_heartbeat 3s; claude_env HOME=$DIR/cli/home '
        . "'FAKE_CLAUDE={\"start\":{\"exit\":7}}';";
    my %o = (workers => 1, files => {
            'claude.keys' => "alice:sk-test\nbob:sk-other\n",
            'lab.htpasswd' => "x:{PLAIN}secret\n" },
        replace => [['10.0.0.0/8', '127.0.0.0/8'],
                    ['127.0.0.1:9001', '127.0.0.1:' . port(1)],
                    ['127.0.0.1:9002', '127.0.0.1:' . port(2)]],
        more => 'map $http_x_claude_key $quota { alice 204; default 403; } '
            . 'server { listen 127.0.0.1:' . port(1) . '; '
            . 'location / { if ($quota = 403) { return 403; } return 204; } } '
            . 'server { listen 127.0.0.1:' . port(2) . '; location /v1/ '
            . '{ claude_openai; add_header X-Node second always; } }');
    my $s = recipe('access.conf', %o);
    my $from = sub { (headers => ["X-Forwarded-For: $_[0]"]) };
    my ($office, $street) = map { [$from->($_)] } '192.0.2.7', '198.51.100.1';

    is($s->chat('hi', @$office)->{text}, 'echo: hi',
       'an address of the office, a key and a quota');
    is_error($s->chat('hi', @$street), 403, undef,
             'real_ip, deny: another address');
    is_error($s->chat('hi', headers => ['X-Forwarded-For: 192.0.2.7, '
                                        . '198.51.100.1']), 403, undef,
             'also when it claims to be one');
    is_error($s->chat('hi', @$office, key => 'sk-wrong'), 401,
             'invalid_api_key', 'no key');
    is_error($s->chat('hi', @$office, key => 'sk-other'), 403, undef,
             'auth_request: a key without a quota');

    my $lab = sub {
        $s->send(POST => '/lab/v1/chat/completions',
                 body => ClaudeTest::body('hi'), @_)->rest
    };
    my $login = 'Authorization: Basic ' . encode_base64('x:secret', '');
    is($lab->(@$office, key => 'none')->{text}, 'echo: hi',
       'satisfy any: the address is enough');
    is_error($lab->(@$street, key => 'none'), 401, undef,
             'or neither is there');
    my $r = ClaudeTest::Connection->new(port());
    my $body = ClaudeTest::body('hi');
    $r->write("POST /lab/v1/chat/completions HTTP/1.1\r\nHost: x\r\n$login\r\n"
              . "X-Forwarded-For: 198.51.100.1\r\nConnection: close\r\n"
              . 'Content-Length: ' . length($body) . "\r\n\r\n$body");
    is($r->rest->{text}, 'echo: hi', 'or the login is');
    ok(!exists $s->chat('hi', @$office)->{headers}{'x-node'},
       'nothing of it went to the second machine');
    $s->stop;

    # the same with a CLI that does not work
    push @{ $o{replace} }, ['    location /v1/ {', "    location /v1/ {\n"
                            . "        $broken"];
    $s = recipe('access.conf', %o);

    my $long = 'long ' x 1000;
    $r = $s->chat($long, @$office);
    is($r->{text}, "echo: $long", 'error_page: the second machine answers');
    is($r->{headers}{'x-node'}, 'second', '  and nobody else');
    $r = $s->chat('x' x 3_000_000, @$office);
    is(length $r->{text}, 3_000_006, '  also a body that went to a file');
    $r = $s->chat('hi', stream => 1, @$office);
    is($r->{text}, 'echo: hi', '  also a stream');
    is($r->{done}, 1, '  to its end');
    $r = $s->chat('hi', stream => 1, fake => { delay_ms => 5000 }, @$office);
    is($r->{done}, 1, '  also one that lets itself be waited for');
    unlike($r->{body}, qr/heartbeat/, '  the first machine is silent then');
    is_error($s->chat('hi', @$street), 403, undef,
             'an error that is no 5xx stays here');
    $s->stop;
}

# nodes.conf: $claude_conversation, hashed over nodes

{
    my @port = (port(7), port(8));
    my $node = join ' ', map { "server { listen 127.0.0.1:$_; location / { "
                               . "client_max_body_size 32m; "
                               . "return 200 'node $_'; } }" } @port;
    my $zone = 'claude_zone claude:1m; claude_api_key sk-node;';
    my $s = recipe('nodes.conf', workers => 1, more => $node,
                   http => $zone, replace => [
        ['127.0.0.1:8001', "127.0.0.1:$port[0]"],
        ['127.0.0.1:8002', "127.0.0.1:$port[1]"],
    ]);
    my $ask = sub {
        my ($key, @messages) = @_;
        my @list = map { my ($role, $text) = @$_;
                         { role => $role, content => $text } } @messages;
        return $s->send(POST => "/v1/chat/completions", key => $key,
                        body => json->encode({ messages => \@list }))
               ->rest->{body};
    };
    my @later = ([assistant => 'a'], [user => 'and then?']);
    my (%seen, $same);

    for my $i (1 .. 24) {
        my @first = ([system => 's'], [user => "question $i"]);
        my $at = $ask->('sk-one', @first);
        $seen{$at}++;
        $same++ if $ask->('sk-one', @first, @later) eq $at
                   && $ask->('sk-one', @first, [assistant => 'edited'],
                             [user => 'else']) eq $at;
    }

    is($same, 24, 'all turns of a conversation go to one node');
    is(join(' ', sort keys %seen), "node $port[0] node $port[1]",
       'and conversations to both');

    my %by_key = map { $ask->("sk-$_", [user => 'the same']) => 1 } 1 .. 24;
    is(scalar keys %by_key, 2, 'the same words of others are others');
    my %by_system = map { $ask->('sk-one', [system => $_], [user => 'hi'])
                          => 1 } 1 .. 24;
    is(scalar keys %by_system, 2, 'so are other system texts');
    like($ask->('sk-one', [user => 'x' x 5_000_000]), qr/^node/,
         'a body that went to a file has a node, too');
    $s->stop;
}

# $claude_conversation: fronts of two versions send a body to the same node, so
# that these values are never others

{
    my $sink = port(6);
    my $s = ClaudeTest->start(workers => 1, server =>
        "location / { proxy_pass http://127.0.0.1:$sink; "
        . 'add_header conversation "=$claude_conversation"; }',
        http => "server { listen 127.0.0.1:$sink; return 200 ok; }");
    my $chat = '4cad7e8ab0b7c86f0c4f5bee143890fcbe26c0aa';
    my $prompt = '1529e7b6121889074e5c7f4d0b59254479938c15';

    for (['{"messages":[{"role":"user","content":"hi"}]}', $chat],
         ['{"prompt":"hi"}', $prompt],
         ['{"prompt":"hi","messages":[{"role":"user","content":"hi"}]}',
          $chat],
         ['{"prompt":"hi","messages":[]}', ''],
         ['{"prompt":"hi","messages":null}', ''],
         ['{"prompt":"hi","messages":[{"role":"assistant","content":"hi"}]}',
          ''],
         ['{"say":"hi"}', ''])
    {
        my ($body, $value) = @$_;

        for my $path ('/chat/completions', '/completions', '/echo') {
            is($s->send(POST => $path, body => $body)->rest
                 ->{headers}{conversation}, "=$value", "$path $body");
        }
    }

    $s->stop;
}

# satisfy any on a location with keys: a key is asked for all the same

{
    my $s = ClaudeTest->start(workers => 1, server =>
        'location /v1/ { satisfy any; allow 127.0.0.0/8; deny all; '
        . 'claude_openai; }');
    is_error($s->chat('hi', key => 'sk-wrong'), 401, 'invalid_api_key',
             'satisfy any and an address: a wrong key is no key');
    is($s->chat('hi')->{status}, 200, 'a right one is');
    $s->stop;
}

# error_page of one's own

{
    my $s = ClaudeTest->start(workers => 1, server =>
        'location /v1/ { claude_openai; error_page 401 /own.json; '
        . 'error_page 404 =410 /gone; } '
        . 'location = /own.json { default_type application/json; '
        . 'return 401 \'{"mine":"$claude_error"}\'; } '
        . 'location = /gone { return 410 "gone: $claude_error"; }');
    my $r = $s->chat('hi', key => 'sk-wrong');
    is($r->{body}, '{"mine":"invalid_api_key"}',
       'an error_page wins, and knows the error');
    $r = $s->get('/v1/nothing');
    is($r->{status}, 410, 'with another status');
    is($r->{body}, 'gone: unknown_url', 'as well');
    $s->stop;
}

done_testing();
