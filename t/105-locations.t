# In a location of nginx everything that nginx promises holds: if,
# limit_except, every kind of location, named ones, error_page to and from
# them, internal redirects, subrequests, access rules.

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::Nginx::Claude 'no_plan';

no_root_location();

my $n = 100;
my $spec = join '', <DATA>;

# Debian's nginx has it, a small one has not

$spec =~ s/^=== TEST \d+: addition:.*?(?=^=== |\z)//msg
    if `$ENV{TEST_NGINX_BINARY} -V 2>&1` !~ /with-http_addition_module/;

# Blocks of one configuration share an nginx; all ask with and without the
# header that an "if" looks for.

my $if = 'claude_openai; if ($http_x) { add_header X-If yes always; }';
my %servers = (
    'if' => <<"END",
        location /p/ { $if }
        location = /e/chat/completions { $if }
        location = /e/completions { $if }
        location = /e/models { $if }
        location = /e/models/opus { $if }
        location = /e/nowhere { $if }
        location ~ ^/r/(v\\d)/ { $if }
        location ^~ /c/ { $if }
        location /n { $if }
        location /o/ { location /o/i/ { $if } location ~ ^/o/j/ { $if } }
        location /t/ { try_files /none \@t; }
        location \@t { $if }
        location /2/ { claude_openai; if (\$http_x) { set \$y 1; }
            if (\$y) { add_header X-If yes always; } }
        location / { $if }
END
);
my %prefixes = (
    'a prefix' => '/p/', 'an exact name' => '/e/',
    'a regular expression' => '/r/v1/', 'a prefix before expressions' => '/c/',
    'a prefix without a slash' => '/n/', 'a nested prefix' => '/o/i/',
    'a nested expression' => '/o/j/', 'a named location' => '/t/',
    'two blocks of if' => '/2/', '/' => '/',
);
my $chat = '{"messages":[{"role":"user","content":"hi"}]';

for my $name (sort keys %prefixes) {
    my $at = $prefixes{$name};

    for my $with (0, 1) {
        my $what = "if, " . ($with ? '' : 'not ') . "matching, in $name";
        my $more = ($with ? "--- headers: X: 1\n" : '')
            . "--- response_headers\n" . ($with ? "X-If: yes\n" : "! X-If\n");
        my $block = sub {
            my ($title, $rest) = @_;
            $n++;
            $spec .= "=== TEST $n: $what: $title\n--- server\n$servers{if}"
                     . "$more$rest\n\n\n";
        };

        $block->('chat', "--- path: ${at}chat/completions\n"
            . "--- ask: hi\n--- json\nchoices.0.message.content = \"echo: hi\"\n");
        $block->('a stream', "--- path: ${at}chat/completions\n"
            . "--- ask: hi\n--- with: \"stream\":true\n--- chunks\n"
            . "text = \"echo: hi\"\ndone = 1\n");
        $block->('completions', "--- path: ${at}completions\n"
            . "--- chat: {\"prompt\":\"a\"}\n--- json\nchoices.0.text = \"echo: a\"\n");
        $block->('models', "--- get: ${at}models\n--- json\nobject = \"list\"\n");
        $block->('a model', "--- get: ${at}models/opus\n--- json\nid = \"opus\"\n");
        $block->('another address', "--- get: ${at}nowhere\n--- error_code: 404\n"
            . "--- json\nerror.code = \"unknown_url\"\n");
        $block->('no key', "--- get: ${at}models\n--- key: none\n"
            . "--- error_code: 401\n--- json\nerror.code = \"invalid_api_key\"\n");
        $block->('a bad body', "--- path: ${at}chat/completions\n"
            . "--- chat: {\n--- error_code: 400\n--- json\n"
            . "error.type = \"invalid_request_error\"\n");
    }
}

# what an address ends with, under which location

my $addresses = <<'END';
        location /claude { claude_openai; }
        location /all/chat/ { claude_openai; }
        location /all/chat/completions/ { claude_openai; }
        location /full/v1/chat/completions { claude_openai; }
        location /full/v1/models/ { claude_openai; }
        location ~ ^/x/(.+)/v1/ { claude_openai; }
        location ~ ^/models/ { claude_openai; }
        location ~ ^/models$ { claude_openai; }
        location = /one/models/opus { claude_openai; }
        location /broken/ { rewrite ^/broken/(.*) /v1/$1 break; claude_openai; }
        location /short/ { rewrite ^/short/(.*) /$1 break; claude_openai; }
        location /long/ { rewrite ^/long/(.*) /long/and/$1 break;
                          claude_openai; }
        location /last/ { rewrite ^/last/(.*) /claude/$1 last; }
        location /static/ { alias /nowhere/; claude_openai; }
        location /tried/ { try_files /none /claude/models; }
        location /root/ { root /nowhere; try_files $uri @root; }
        location @root { claude_openai; }
        location /maps/ { claude_openai;
                          claude_model_map vendor/models/big opus; }
        location ~ ^/mapx/ { claude_openai;
                             claude_model_map vendor/big opus; }
        location / { claude_openai; }
END
my $ok = 'object = "list"';
my $none = 'error.code = "unknown_url"';

for (
    ['no slash at the end of the prefix', '/claude/models', $ok],
    ['nothing between prefix and endpoint', '/claude/v1/models', $none],
    ['no slash between them', '/claudemodels', $none],
    ['another word that begins so', '/claudex/models', $none],
    ['no slash behind the endpoint', '/claude/models/', $none],
    ['the prefix alone', '/claude', $none],
    ['an expression with captures', '/x/a/b/v1/models', $ok],
    ['an expression, and an endpoint in the midst', '/x/chat/v1/z', $none],
    ['an expression that has an endpoint\'s name', '/models/v1/models', $ok],
    ['a model behind a name that is an endpoint\'s', '/models/v1/models/opus',
     'id = "opus"'],
    ['the name alone', '/models', $ok],
    ['a model as an exact location', '/one/models/opus', 'id = "opus"'],
    ['the prefix ends within an endpoint', '/full/v1/models/opus', 'id = "opus"'],
    ['rewritten with break, to another prefix', '/broken/models', $ok],
    ['rewritten with break, to none', '/short/models', $ok],
    ['rewritten with break, within its own', '/long/models', $ok],
    ['rewritten with last', '/last/models', $ok],
    ['alias', '/static/models', $ok],
    ['try_files to an address', '/tried/x', $ok],
    ['try_files to a named location', '/root/v1/models', $ok],
    ['an id with slashes under a prefix', '/maps/models/vendor/models/big',
     'id = "vendor/models/big"'],
    ['an id with slashes under an expression', '/mapx/v1/models/vendor/big',
     'id = "vendor/big"'],
    ['in "/" there is no /v1', '/v1/models', $none],
) {
    my ($name, $path, $want) = @$_;
    $n++;
    $spec .= "=== TEST $n: addresses: $name\n--- server\n$addresses"
        . "--- get: $path\n--- json\n$want\n"
        . ($want eq $none ? "--- error_code: 404\n" : '') . "\n\n\n";
}

for (
    ['a prefix that ends in an endpoint', '/all/chat/completions'],
    ['a prefix that is an endpoint', '/full/v1/chat/completions'],
    ['try_files to a named location', '/root/v1/chat/completions'],
    ['rewritten with last', '/last/chat/completions'],
    ['rewritten with break', '/broken/chat/completions'],
    ['an expression', '/x/y/v1/chat/completions'],
) {
    my ($name, $path) = @$_;
    $n++;
    $spec .= "=== TEST $n: addresses: chat: $name\n--- server\n$addresses"
        . "--- path: $path\n--- ask: hi\n--- json\n"
        . "object = \"chat.completion\"\n"
        . "choices.0.message.content = \"echo: hi\"\n\n\n\n";
}

spec_string($spec);
run_tests();

__DATA__

=== TEST 1: if: the location's directives hold in it
--- server
        location /v1/ { claude_openai; claude_auth off; claude_timeout 300ms;
            claude_model_map mine haiku;
            if ($http_x) { add_header X-If yes always; } }
--- headers: X: 1
--- key: none
--- chat: {"model":"mine","messages":[{"role":"user","content":"hi [[fake {\"hang\":true}]]"}]}
--- error_code: 504
--- response_headers
X-If: yes
--- json
error.code = "timeout"



=== TEST 2: if: and what is said to the model
--- server
        location /v1/ { claude_openai; claude_default_model haiku;
            claude_system_prompt "Be brief.";
            if ($http_x) { add_header X-If yes always; } }
--- headers: X: 1
--- chat: {"messages":[{"role":"user","content":"hi"}]}
--- json
model = "haiku"
--- asked
system ~ Be brief



=== TEST 3: if: claude_health
--- server
        location = /h { claude_health; if ($http_x) { add_header X-If yes; } }
--- headers: X: 1
--- get: /h
--- key: none
--- response_headers
X-If: yes
--- json
status = "ok"



=== TEST 4: if: an error of claude_health
--- server
        location = /h { claude_health; if ($http_x) { add_header X-If yes; } }
--- headers: X: 1
--- path: /h
--- chat: {}
--- error_code: 405
--- json
error.type = "invalid_request_error"



=== TEST 5: if: claude_status
--- server
        location /s { claude_status; if ($http_x) { add_header X-If yes; } }
--- headers: X: 1
--- get: /s
--- response_headers
X-If: yes
--- json
turns.running = 0



=== TEST 6: if: claude_status asks for its key
--- server
        location /s { claude_status; if ($http_x) { add_header X-If yes; } }
--- headers: X: 1
--- get: /s
--- key: none
--- error_code: 401
--- json
error.code = "invalid_api_key"



=== TEST 7: if: return in it is an error of the location
--- server
        location /v1/ { claude_openai; if ($http_x) { return 403; } }
--- headers: X: 1
--- get: /v1/models
--- error_code: 403
--- json
error.type = "invalid_request_error"



=== TEST 8: if: rewrite in it, break
--- server
        location /v2/ { claude_openai;
            if ($http_x) { rewrite ^/v2/old/(.*) /v2/$1 break; } }
--- headers: X: 1
--- get: /v2/old/models
--- json
object = "list"



=== TEST 9: if: rewrite in it, last
--- server
        location /v1/ { claude_openai; }
        location /v2/ { claude_openai;
            if ($http_x) { rewrite ^/v2/(.*) /v1/$1 last; } }
--- headers: X: 1
--- get: /v2/models
--- json
object = "list"



=== TEST 10: if: another handler in it is another's location
--- http
    server { listen unix:$CLAUDE_DIR/if.sock;
             location / { add_header X-Back yes always; return 404; } }
--- server
        location /v1/ { claude_openai;
            if ($http_x) { proxy_pass http://unix:$CLAUDE_DIR/if.sock; } }
--- headers: X: 1
--- get: /v1/models
--- error_code: 404
--- response_headers
X-Back: yes
Content-Type: text/html



=== TEST 11: if: of the server
--- server
        if ($http_x) { set $y 1; }
        if ($http_x) { rewrite ^/old(/.*) $1; }
        location /v1/ { claude_openai; }
--- headers: X: 1
--- get: /old/v1/models
--- json
object = "list"



=== TEST 12: limit_except: a method that is not excepted has the location
--- server
        location /v1/ { claude_openai; limit_except POST { deny all; } }
--- ask: hi
--- json
choices.0.message.content = "echo: hi"



=== TEST 13: limit_except: another is refused, in the location's words
--- server
        location /v1/ { claude_openai; limit_except POST { deny all; } }
--- get: /v1/models
--- error_code: 403
--- json
error.type = "invalid_request_error"



=== TEST 14: limit_except: another that is allowed is answered
--- server
        location /v1/ { claude_openai;
            limit_except GET { allow 127.0.0.1; deny all; } }
--- ask: hi
--- json
choices.0.message.content = "echo: hi"



=== TEST 15: limit_except: in a regular expression
--- server
        location ~ ^/(v1)/ { claude_openai;
            limit_except GET { allow 127.0.0.1; deny all; } }
--- ask: hi
--- with: "stream":true
--- chunks
text = "echo: hi"
done = 1



=== TEST 16: limit_except: in "/"
--- server
        location / { claude_openai; limit_except GET { allow all; } }
--- path: /chat/completions
--- ask: hi
--- json
choices.0.message.content = "echo: hi"



=== TEST 17: limit_except: a key is needed
--- server
        location /v1/ { claude_openai; limit_except GET { allow all; } }
--- ask: hi
--- key: sk-wrong
--- error_code: 401
--- json
error.code = "invalid_api_key"



=== TEST 18: limit_except: claude_health
--- server
        location /h { claude_health; limit_except POST { allow all; } }
--- get: /h
--- json
status = "ok"



=== TEST 19: limit_except: claude_status
--- server
        location /s { claude_status; limit_except POST { allow all; } }
--- get: /s
--- json
turns.running = 0



=== TEST 20: limit_except: another handler in it
--- http
    server { listen unix:$CLAUDE_DIR/except.sock;
             location / { return 200 "back\n"; } }
--- server
        location /v1/ { claude_openai; limit_except POST {
            proxy_pass http://unix:$CLAUDE_DIR/except.sock; } }
--- get: /v1/models
--- response_body
back



=== TEST 21: named: error_page of a backend that is down
--- server
        location /v1/ { proxy_pass http://127.0.0.1:1;
                        error_page 502 = @claude; }
        location @claude { claude_openai; }
--- ask: hi
--- json
choices.0.message.content = "echo: hi"
--- logs
Connection refused



=== TEST 22: named: with a stream
--- server
        location /v1/ { proxy_pass http://127.0.0.1:1;
                        error_page 502 = @claude; }
        location @claude { claude_openai; }
--- ask: hi
--- with: "stream":true
--- chunks
text = "echo: hi"
done = 1
--- logs
Connection refused



=== TEST 23: named: a backend that has read the body
--- http
    server { listen unix:$CLAUDE_DIR/read.sock; client_max_body_size 8m;
             location / { proxy_pass http://127.0.0.1:1; } }
--- server
        location /v1/ { proxy_pass http://unix:$CLAUDE_DIR/read.sock;
                        proxy_intercept_errors on; error_page 502 = @claude; }
        location @claude { claude_openai; }
--- ask: hi
--- json
choices.0.message.content = "echo: hi"
--- logs
Connection refused



=== TEST 24: named: and one that went to a file
--- http
    server { listen unix:$CLAUDE_DIR/read.sock; client_max_body_size 8m;
             location / { proxy_pass http://127.0.0.1:1; } }
--- server
        location /v1/ { proxy_pass http://unix:$CLAUDE_DIR/read.sock;
                        proxy_intercept_errors on; error_page 502 = @claude; }
        location @claude { claude_openai; }
--- ask eval: 'x' x 300000
--- json
choices.0.message.content # 300006
--- logs
Connection refused



=== TEST 25: named: a chunked body
--- server
        location /v1/ { proxy_pass http://127.0.0.1:1;
                        error_page 502 = @claude; }
        location @claude { claude_openai; }
--- headers: Transfer-Encoding: chunked
--- chat: {"messages":[{"role":"user","content":"hi"}]}
--- json
choices.0.message.content = "echo: hi"
--- logs
Connection refused



=== TEST 26: named: models
--- server
        location /v1/ { proxy_pass http://127.0.0.1:1;
                        error_page 502 = @claude; }
        location @claude { claude_openai; }
--- get: /v1/models/opus
--- json
id = "opus"
--- logs
Connection refused



=== TEST 27: named: an address that has no endpoint
--- server
        location /v1/ { proxy_pass http://127.0.0.1:1;
                        error_page 502 = @claude; }
        location @claude { claude_openai; }
--- get: /v1/embeddings
--- error_code: 404
--- json
error.code = "unknown_url"
--- logs
Connection refused



=== TEST 28: named: without a key
--- server
        location /v1/ { proxy_pass http://127.0.0.1:1;
                        error_page 502 = @claude; }
        location @claude { claude_openai; }
--- ask: hi
--- key: none
--- error_code: 401
--- json
error.code = "invalid_api_key"
--- logs
Connection refused



=== TEST 29: named: claude_health and claude_status
--- server
        location /a { try_files /none @health; }
        location @health { claude_health; if ($arg_s) { set $x 1; } }
        location /b { try_files /none @status; }
        location @status { claude_status; }
--- pipelined_requests eval
["GET /a?s=1", "GET /b"]
--- raw_request eval
my $k = "Host: a\r\nAuthorization: Bearer sk-test\r\n";
"GET /a?s=1 HTTP/1.1\r\n$k\r\nGET /b HTTP/1.1\r\n${k}Connection: close\r\n\r\n"
--- error_code eval
[200, 200]
--- response_body_like eval
['"status":"ok"', '"processes":']



=== TEST 30: named: error_page of a file that is not there
--- server
        location /v1/ { root html; error_page 404 = @claude; }
        location @claude { claude_openai; }
--- ask: hi
--- json
choices.0.message.content = "echo: hi"



=== TEST 31: second: another login is the fallback
--- server
        location /v1/ { claude_openai; error_page 429 502 503 = @second;
            claude_env HOME=$CLAUDE_DIR/home 'FAKE_CLAUDE={"start":{"exit":7}}'; }
        location @second { claude_openai; add_header X-Error "[$claude_error]"; }
--- ask: hi
--- response_headers
X-Error: []
! x-should-retry
--- json
choices.0.message.content = "echo: hi"
--- calls: 1
--- logs
exited with status 7



=== TEST 32: second: with a stream, and one id
--- server
        location /v1/ { claude_openai; error_page 429 502 503 = @second;
            claude_env HOME=$CLAUDE_DIR/home 'FAKE_CLAUDE={"start":{"exit":7}}'; }
        location @second { claude_openai; add_header X-Error "[$claude_error]"; }
--- ask: hi
--- with: "stream":true
--- raw_response_headers_unlike: (?s)x-request-id.*x-request-id
--- chunks
text = "echo: hi"
done = 1



=== TEST 33: second: a body that went to a file
--- server
        location /v1/ { claude_openai; error_page 429 502 503 = @second;
            claude_env HOME=$CLAUDE_DIR/home 'FAKE_CLAUDE={"start":{"exit":7}}'; }
        location @second { claude_openai; }
--- ask eval: 'y' x 300000
--- json
choices.0.message.content # 300006



=== TEST 34: second: several answers
--- server
        location /v1/ { claude_openai; error_page 429 502 503 = @second;
            claude_env HOME=$CLAUDE_DIR/home 'FAKE_CLAUDE={"start":{"exit":7}}'; }
        location @second { claude_openai; }
--- ask: hi
--- with: "n":3
--- json
choices.0.message.content = "echo: hi"
choices.2.message.content = "echo: hi"



=== TEST 35: second: a login that is remembered to be none
--- server
        location /v1/ { claude_openai; error_page 429 502 503 = @second;
            claude_env HOME=$CLAUDE_DIR/home
                       'FAKE_CLAUDE={"start":{"version":"2.1.200"}}'; }
        location @second { claude_openai; }
--- pipelined_requests eval
[1, 2, 3]
--- raw_request eval
my $b = '{"messages":[{"role":"user","content":"hi"}]}';
my $r = "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n"
        . "Authorization: Bearer sk-test\r\nContent-Length: " . length($b);
"$r\r\n\r\n$b" x 2 . "$r\r\nConnection: close\r\n\r\n$b"
--- error_code eval
[200, 200, 200]
--- response_body_like eval
['echo: hi', 'echo: hi', 'echo: hi']



=== TEST 36: second: its own failure is the answer
--- server
        location /v1/ { claude_openai; error_page 429 502 503 = @second;
            claude_env HOME=$CLAUDE_DIR/home
                       'FAKE_CLAUDE={"start":{"version":"2.1.200"}}'; }
        location @second { claude_openai; }
--- ask: hi
--- fake: {"error":{"status":429}}
--- error_code: 429
--- response_headers
! x-should-retry
--- json
error.code = "rate_limit_exceeded"



=== TEST 37: second: an error of nginx's own there is not the first one's
--- http
    limit_req_zone $server_name zone=none:1m rate=1r/m;
--- server
        location /v1/ { claude_openai; error_page 503 = @second;
            claude_env HOME=$CLAUDE_DIR/home
                       'FAKE_CLAUDE={"start":{"version":"2.1.200"}}'; }
        location @second { claude_openai; return 503; }
--- ask: hi
--- error_code: 503
--- response_headers
! x-should-retry
--- json
error.code = null



=== TEST 38: second: a stream that has begun stays
--- server
        location /v1/ { claude_openai; error_page 429 502 503 = @second; }
        location @second { claude_openai; }
--- ask: hi
--- fake: {"deltas":["a ","b "],"gap_ms":200,"die_after_deltas":1}
--- with: "stream":true
--- chunks
text = "a "
error.code = "cli_failed"
done = 0
--- calls: 1



=== TEST 39: second: a third, by recursive_error_pages
--- server
        recursive_error_pages on;
        location /v1/ { claude_openai; error_page 502 = @second;
            claude_env HOME=$CLAUDE_DIR/home 'FAKE_CLAUDE={"start":{"exit":7}}'; }
        location @second { claude_openai; error_page 503 = @third;
            claude_env HOME=$CLAUDE_DIR/home
                       'FAKE_CLAUDE={"start":{"version":"2.1.200"}}'; }
        location @third { claude_openai; }
--- ask: hi
--- json
choices.0.message.content = "echo: hi"



=== TEST 40: second: without recursive_error_pages there is no third
--- server
        location /v1/ { claude_openai; error_page 502 = @second;
            claude_env HOME=$CLAUDE_DIR/home 'FAKE_CLAUDE={"start":{"exit":7}}'; }
        location @second { claude_openai; error_page 503 = @third;
            claude_env HOME=$CLAUDE_DIR/home
                       'FAKE_CLAUDE={"start":{"version":"2.1.200"}}'; }
        location @third { claude_openai; }
--- ask: hi
--- error_code: 503
--- json
error.code = "cli_too_old"



=== TEST 41: second: a location that leads to itself ends
--- server
        recursive_error_pages on;
        location /v1/ { try_files /none @self; }
        location @self { claude_openai; error_page 503 = @self;
            claude_env HOME=$CLAUDE_DIR/home
                       'FAKE_CLAUDE={"start":{"version":"2.1.200"}}'; }
--- ask: hi
--- error_code: 500
--- json
error.type = "server_error"
--- logs
redirection cycle



=== TEST 42: second: an error_page without "=" keeps the status, as nginx's
--- server
        location /v1/ { claude_openai; error_page 502 @second;
            claude_env HOME=$CLAUDE_DIR/home 'FAKE_CLAUDE={"start":{"exit":7}}'; }
        location @second { claude_openai; }
--- ask: hi
--- error_code: 502
--- json
choices.0.message.content = "echo: hi"



=== TEST 43: second: so a stream's
--- server
        location /v1/ { claude_openai; error_page 502 @second;
            claude_env HOME=$CLAUDE_DIR/home 'FAKE_CLAUDE={"start":{"exit":7}}'; }
        location @second { claude_openai; }
--- ask: hi
--- with: "stream":true
--- error_code: 502
--- chunks
text = "echo: hi"
done = 1



=== TEST 44: second: an error_page that wants no body gets none
--- server
        location /v1/ { claude_openai; error_page 502 =204 @second;
            claude_env HOME=$CLAUDE_DIR/home 'FAKE_CLAUDE={"start":{"exit":7}}'; }
        location @second { claude_openai; }
--- ask: hi
--- fake: {"deltas":["a ","b ","c "],"gap_ms":50}
--- with: "stream":true
--- error_code: 204
--- response_body
--- calls: 1



=== TEST 45: second: its keys are its own
--- server
        location /v1/ { claude_openai; error_page 502 = @second;
            claude_env HOME=$CLAUDE_DIR/home 'FAKE_CLAUDE={"start":{"exit":7}}'; }
        location @second { claude_openai; claude_api_key sk-second name=two; }
--- ask: hi
--- error_code: 401
--- json
error.code = "invalid_api_key"
--- no_logs
asked



=== TEST 84: second: within if
--- server
        location /v1/ { claude_openai; error_page 502 = @second;
            claude_env HOME=$CLAUDE_DIR/home 'FAKE_CLAUDE={"start":{"exit":7}}';
            if ($http_x) { set $y 1; } }
        location @second { claude_openai;
            if ($http_x) { add_header X-If yes; } }
--- headers: X: 1
--- ask: hi
--- response_headers
X-If: yes
--- json
choices.0.message.content = "echo: hi"



=== TEST 85: second: without keys it is still the client's who has one
--- server
        location /v1/ { claude_openai; error_page 401 502 = @second;
            claude_env HOME=$CLAUDE_DIR/home 'FAKE_CLAUDE={"start":{"exit":7}}'; }
        location @second { claude_openai; claude_auth off;
                           add_header X-Key "[$claude_key_name]"; }
--- ask: hi
--- response_headers
X-Key: [tester]
--- json
choices.0.message.content = "echo: hi"



=== TEST 86: second: and everyone's who has none
--- server
        location /v1/ { claude_openai; error_page 401 502 = @second;
            claude_env HOME=$CLAUDE_DIR/home 'FAKE_CLAUDE={"start":{"exit":7}}'; }
        location @second { claude_openai; claude_auth off;
                           add_header X-Key "[$claude_key_name]"; }
--- ask: hi
--- key: none
--- response_headers
X-Key: []
--- json
choices.0.message.content = "echo: hi"



=== TEST 87: limit_except: in a named location
--- server
        location /v1/ { try_files /none @claude; }
        location @claude { claude_openai; limit_except GET { allow all; } }
--- ask: hi
--- json
choices.0.message.content = "echo: hi"



=== TEST 46: error_page: a page of one's own
--- server
        root html;
        location /v1/ { claude_openai; error_page 401 404 /own.html; }
        location = /own.html { internal; root html; }
--- user_files
>>> own.html
own
--- get: /v1/nowhere
--- error_code: 404
--- response_body
own



=== TEST 47: error_page: one that is not there, under claude_openai
--- server
        location / { claude_openai; error_page 404 /own.html; }
--- get: /nowhere
--- error_code: 404
--- json
error.code = "unknown_url"



=== TEST 48: error_page: claude_health as the page, with the error's status
--- server
        location /v1/ { claude_openai; error_page 404 /h; }
        location = /h { claude_health; }
--- get: /v1/nowhere
--- error_code: 404
--- json
status = "ok"



=== TEST 49: error_page: models as the page, with a status of its own
--- server
        location /v1/ { claude_openai; error_page 404 =203 /v1/models; }
--- get: /v1/nowhere
--- error_code: 203
--- json
object = "list"



=== TEST 50: error_page: to an address is a GET, which chat does not take
--- server
        location /v1/ { claude_openai; error_page 502 = /v2/chat/completions;
            claude_env HOME=$CLAUDE_DIR/home 'FAKE_CLAUDE={"start":{"exit":7}}'; }
        location /v2/ { claude_openai; }
--- ask: hi
--- error_code: 405
--- json
error.type = "invalid_request_error"



=== TEST 51: error_page: from a location that is another's
--- server
        location /v1/ { return 403; error_page 403 = @claude; }
        location @claude { claude_openai; }
--- ask: hi
--- json
choices.0.message.content = "echo: hi"



=== TEST 52: X-Accel-Redirect to a named location has the request
--- http
    server { listen unix:$CLAUDE_DIR/accel.sock;
        location / { add_header X-Accel-Redirect $http_to;
                     add_header Cache-Control "no-store";
                     default_type text/html; charset koi8-r; return 200 "x"; } }
--- server
        location /v1/ { proxy_set_header To @claude;
                        proxy_pass http://unix:$CLAUDE_DIR/accel.sock; }
        location @claude { claude_openai; }
--- ask: hi
--- response_headers
Content-Type: application/json
--- json
choices.0.message.content = "echo: hi"



=== TEST 53: X-Accel-Redirect to a named location, with a stream
--- http
    server { listen unix:$CLAUDE_DIR/accel.sock;
        location / { add_header X-Accel-Redirect $http_to;
                     default_type text/html; charset koi8-r; return 200 "x"; } }
--- server
        location /v1/ { proxy_set_header To @claude;
                        proxy_pass http://unix:$CLAUDE_DIR/accel.sock; }
        location @claude { claude_openai; }
--- ask: hi
--- with: "stream":true
--- response_headers
Content-Type: text/event-stream; charset=utf-8
--- chunks
text = "echo: hi"
done = 1



=== TEST 54: X-Accel-Redirect to an address is a GET
--- http
    server { listen unix:$CLAUDE_DIR/accel.sock;
        location / { add_header X-Accel-Redirect $http_to;
                     default_type text/html; charset koi8-r; return 200 "x"; } }
--- server
        location /go { proxy_set_header To $arg_to;
                       proxy_pass http://unix:$CLAUDE_DIR/accel.sock; }
        location /v1/ { internal; claude_openai; }
--- path: /go?to=/v1/models
--- ask: hi
--- response_headers
Content-Type: application/json
--- json
object = "list"



=== TEST 55: X-Accel-Redirect to an address, which chat does not take
--- http
    server { listen unix:$CLAUDE_DIR/accel.sock;
        location / { add_header X-Accel-Redirect $http_to;
                     default_type text/html; charset koi8-r; return 200 "x"; } }
--- server
        location /go { proxy_set_header To $arg_to;
                       proxy_pass http://unix:$CLAUDE_DIR/accel.sock; }
        location /v1/ { internal; claude_openai; }
--- path: /go?to=/v1/chat/completions
--- ask: hi
--- error_code: 405
--- json
error.type = "invalid_request_error"



=== TEST 56: subrequest: an SSI include of health
--- server
        location = /page.html { root html; ssi on; }
        location = /h { claude_health; }
--- user_files
>>> page.html
<<!--# include virtual="/h" -->|<!--# include virtual="/h" -->>
--- get: /page.html
--- response_body_like: ^<\{"status":"ok".*\}\n\|\{"status":"ok".*\}\n>\n$



=== TEST 57: subrequest: the connection goes on after it
--- server
        location = /page.html { root html; ssi on; }
        location = /h { claude_health; }
--- user_files
>>> page.html
<<!--# include virtual="/h" -->>
--- pipelined_requests eval
[1, 2]
--- raw_request eval
my $r = "GET /page.html HTTP/1.1\r\nHost: a\r\n";
"$r\r\n${r}Connection: close\r\n\r\n"
--- response_body_like eval
['^<\{.*\}\n>\n$', '^<\{.*\}\n>\n$']



=== TEST 58: subrequest: SSI includes of models and status, by the client's key
--- server
        location = /page.html { root html; ssi on; }
        location /v1/ { claude_openai; }
        location = /s { claude_status; }
--- user_files
>>> page.html
<<!--# include virtual="/v1/models" -->|<!--# include virtual="/s" -->>
--- get: /page.html
--- response_body_like: (?s)^<\{"object":"list".*\}\|\{.*"processes":.*\}\s*>\n$



=== TEST 59: subrequest: without one they say so, in JSON, and the page goes on
--- server
        location = /page.html { root html; ssi on; }
        location /v1/ { claude_openai; }
        location = /s { claude_status; }
--- user_files
>>> page.html
<<!--# include virtual="/v1/models" -->|<!--# include virtual="/s" -->>
--- get: /page.html
--- key: none
--- response_body_like: ^<\{"error":\{.*"invalid_api_key"\}\}\|\{"error":\{.*"invalid_api_key"\}\}>\n$



=== TEST 60: subrequest: a chat by GET is an error, and the page goes on
--- server
        location = /page.html { root html; ssi on; }
        location /v1/ { claude_openai; }
--- user_files
>>> page.html
<<!--# include virtual="/v1/chat/completions" -->|<!--# include virtual="/v1/x" -->>
--- get: /page.html
--- response_body_like: ^<\{"error":.*not allowed.*\}\|\{"error":.*"unknown_url"\}\}>\n$



=== TEST 61: subrequest: into a variable
--- server
        location = /page.html { root html; ssi on; }
        location = /h { claude_health; }
--- user_files
>>> page.html
<!--# include virtual="/h" set="h" --><<!--# echo var="h" encoding="none" -->>
--- get: /page.html
--- response_body_like: ^<\{"status":"ok".*\}\n>\n$



=== TEST 62: subrequest: through if and a named location
--- server
        location = /page.html { root html; ssi on; }
        location /v1/ { try_files /none @claude; }
        location @claude { claude_openai; if ($http_x) { set $y 1; } }
--- user_files
>>> page.html
<<!--# include virtual="/v1/models/opus" -->>
--- get: /page.html
--- headers: X: 1
--- response_body_like: ^<\{"id":"opus".*\}>\n$



=== TEST 63: subrequest: auth_request asks health
--- server
        location /v1/ { claude_openai; auth_request /h; }
        location = /h { claude_health; }
--- ask: hi
--- json
choices.0.message.content = "echo: hi"



=== TEST 64: subrequest: auth_request asks models: a key opens
--- server
        location = /x { auth_request /v1/models; root html;
                        try_files /x.txt =404; }
        location /v1/ { claude_openai; }
--- user_files
>>> x.txt
behind
--- get: /x
--- response_body
behind



=== TEST 65: subrequest: auth_request asks models: none does not
--- server
        location = /x { auth_request /v1/models; root html;
                        try_files /x.txt =404; }
        location /v1/ { claude_openai; }
--- user_files
>>> x.txt
behind
--- get: /x
--- key: sk-wrong
--- error_code: 401
--- response_body_unlike: behind



=== TEST 66: subrequest: auth_request in front of a stream
--- server
        location /v1/ { claude_openai; auth_request /ok; }
        location = /ok { return 204; }
--- ask: hi
--- with: "stream":true
--- chunks
text = "echo: hi"
done = 1



=== TEST 67: subrequest: a mirror of chat to another login
--- server
        location /v1/ { claude_openai; mirror /mirror/chat/completions; }
        location /mirror/ { internal; claude_openai; claude_args --effort low; }
--- ask: hi
--- json
choices.0.message.content = "echo: hi"
--- calls: 2



=== TEST 68: subrequest: a mirror of a stream
--- server
        location /v1/ { claude_openai; mirror /mirror/chat/completions; }
        location /mirror/ { internal; claude_openai; claude_args --effort low; }
--- ask: hi
--- with: "stream":true
--- chunks
text = "echo: hi"
done = 1
--- calls: 2



=== TEST 69: subrequest: mirrors that fail, of a location that is another's
--- server
        location /plain { mirror /h; mirror /v1/nowhere;
                          mirror /v1/chat/completions; proxy_pass
                          http://unix:$CLAUDE_DIR/mirror.sock; }
        location /h { claude_health; }
        location /v1/ { claude_openai; }
--- http
    server { listen unix:$CLAUDE_DIR/mirror.sock;
             location / { return 200 "plain\n"; } }
--- path: /plain
--- chat: {}
--- response_body
plain



=== TEST 70: addition: health and models around a page
--- server
        location = /page.html { root html; add_before_body /h;
                                add_after_body /v1/models; }
        location = /h { claude_health; }
        location /v1/ { claude_openai; }
--- user_files
>>> page.html
page
--- get: /page.html
--- response_body_like: ^\{"status":"ok".*\}\npage\n\{"object":"list".*\}$



=== TEST 71: addition: health behind a stream
--- server
        location /v1/ { claude_openai; addition_types *; add_after_body /h; }
        location = /h { claude_health; }
--- ask: hi
--- with: "stream":true
--- response_body_like: (?s)^data: .*\[DONE\]\n\n\{"status":"ok".*\}\n$



=== TEST 72: addition: health before a stream, which waits for it
--- server
        location /v1/ { claude_openai; addition_types *; add_before_body /h; }
        location = /h { claude_health; }
--- ask: hi
--- with: "stream":true
--- response_body_like: (?s)^\{"status":"ok".*\}\ndata: .*\[DONE\]\n\n$



=== TEST 73: satisfy any: the key opens the status to a denied address
--- server
        location = /s { claude_status; satisfy any; deny all; }
--- get: /s
--- json
turns.running = 0



=== TEST 74: satisfy any: and nothing else does
--- server
        location = /s { claude_status; satisfy any; allow all; }
--- get: /s
--- key: none
--- error_code: 401
--- json
error.code = "invalid_api_key"



=== TEST 75: satisfy any: in if and in limit_except
--- server
        location /v1/ { claude_openai; satisfy any; deny all;
            if ($http_x) { set $y 1; }
            limit_except GET { deny all; } }
--- headers: X: 1
--- ask: hi
--- json
choices.0.message.content = "echo: hi"



=== TEST 76: internal: not for a client
--- server
        location /v1/ { internal; claude_openai; }
--- ask: hi
--- error_code: 404
--- json
error.type = "invalid_request_error"



=== TEST 77: limit_req by the key, where if is: its refusal is JSON
--- http
    limit_req_zone $claude_key_name zone=key:1m rate=1r/m;
--- server
        location /v1/ { claude_openai; limit_req zone=key;
            limit_req_status 429; if ($http_x) { set $y 1; } }
--- pipelined_requests eval
[1, 2]
--- raw_request eval
my $r = "GET /v1/models HTTP/1.1\r\nHost: a\r\nX: 1\r\nAuthorization: Bearer sk-test\r\n";
"$r\r\n${r}Connection: close\r\n\r\n"
--- error_code eval
[200, 429]
--- response_body_like eval
['"object":"list"', '"code":"rate_limit_exceeded"']



=== TEST 78: add_header always, on an error of ours
--- server
        location /v1/ { claude_openai; add_header X-Mine yes always;
                        add_header X-Never yes; expires 1h; }
--- chat: {
--- error_code: 400
--- response_headers
X-Mine: yes
! X-Never
Content-Type: application/json
--- json
error.type = "invalid_request_error"



=== TEST 79: HEAD of models, in if
--- server
        location /v1/ { claude_openai; if ($http_x) { set $y 1; } }
--- raw_request eval
"HEAD /v1/models HTTP/1.1\r\nHost: a\r\nX: 1\r\nConnection: close\r\nAuthorization: Bearer sk-test\r\n\r\n"
--- request
HEAD /v1/models
--- response_headers
Content-Type: application/json
--- response_body



=== TEST 80: HEAD of chat is not allowed
--- raw_request eval
"HEAD /v1/chat/completions HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer sk-test\r\n\r\n"
--- request
HEAD /v1/chat/completions
--- error_code: 405
--- response_headers
Content-Type: application/json
--- response_body



=== TEST 81: return of words is as it is said
--- server
        location /v1/ { claude_openai; return 503 "closed\n"; }
--- get: /v1/models
--- error_code: 503
--- response_body
closed



=== TEST 82: return of another address
--- server
        location /v1/ { claude_openai; if ($http_x) { return 302 /else; } }
--- headers: X: 1
--- get: /v1/models
--- error_code: 302
--- response_headers_like
Location: .*/else



=== TEST 83: pipelined requests after errors of every kind, in if
--- server
        location /v1/ { claude_openai; if ($http_x) { set $y 1; } }
--- pipelined_requests eval
[1 .. 7]
--- raw_request eval
my $k = "Host: a\r\nX: 1\r\nAuthorization: Bearer sk-test\r\n";
my $post = sub {
    my ($b, $more) = @_;
    "POST /v1/chat/completions HTTP/1.1\r\n$k" . ($more // '')
    . "Content-Length: " . length($b) . "\r\n\r\n$b" };
my $hi = '{"messages":[{"role":"user","content":"hi"}]}';
$post->('{') . $post->($hi)
. "GET /v1/nowhere HTTP/1.1\r\n$k\r\n"
. "GET /v1/chat/completions HTTP/1.1\r\n$k\r\n"
. "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: "
  . length($hi) . "\r\n\r\n$hi"
. "POST /v1/chat/completions HTTP/1.1\r\n${k}Transfer-Encoding: chunked\r\n\r\n"
  . join('', map { "1\r\n$_\r\n" } split //, $hi) . "0\r\n\r\n"
. $post->($hi, "Connection: close\r\n")
--- error_code eval
[400, 200, 404, 405, 401, 200, 200]
--- response_body_like eval
['"error"', 'echo: hi', 'unknown_url', '"error"', 'invalid_api_key',
 'echo: hi', 'echo: hi']



=== TEST 84: a condition on an answer of one piece is not heeded: If-None-Match
--- headers: If-None-Match: *
--- ask: hi
--- json
choices.0.message.content = "echo: hi"
--- error_code: 200



=== TEST 85: a condition on an answer of one piece is not heeded: If-Match
--- headers: If-Match: "x"
--- ask: hi
--- json
choices.0.message.content = "echo: hi"
--- error_code: 200



=== TEST 86: a condition on a stream is not heeded: If-None-Match
--- headers: If-None-Match: *
--- ask: hi
--- with: "stream":true
--- chunks
text = "echo: hi"
done = 1
--- error_code: 200



=== TEST 87: a condition on a stream is not heeded: If-Unmodified-Since
--- headers: If-Unmodified-Since: Thu, 01 Jan 1970 00:00:10 GMT
--- ask: hi
--- with: "stream":true
--- chunks
text = "echo: hi"
done = 1
--- error_code: 200



=== TEST 88: a condition on the list of models is not heeded: If-None-Match
--- headers: If-None-Match: *
--- get: /v1/models
--- json
object = "list"
--- error_code: 200
