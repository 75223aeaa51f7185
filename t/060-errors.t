# The table of errors, row by row: the true status, OpenAI's object, and what
# the log tells the operator.  Each before a stream has begun, then after.

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::Nginx::Claude 'no_plan';

# name, the stand-in's turn, status, type, code, retry (x-should-retry false)

my @upstream = (
    ['401', '{"error":{"status":401}}', 503, 'server_error',
     '"cli_not_logged_in"', 1],
    ['403', '{"error":{"status":403}}', 503, 'server_error',
     '"cli_not_logged_in"', 1],
    ['400', '{"error":{"status":400}}', 400, 'invalid_request_error', 'null',
     1],
    ['404', '{"error":{"status":404}}', 404, 'invalid_request_error',
     '"model_not_found"', 1],
    ['413', '{"error":{"status":413}}', 413, 'invalid_request_error',
     '"request_too_large"', 1],
    ['429', '{"error":{"status":429}}', 429, 'rate_limit_error',
     '"rate_limit_exceeded"', 0],
    ['500', '{"error":{"status":500}}', 503, 'server_error', '"overloaded"',
     0],
    ['529', '{"error":{"status":529}}', 503, 'server_error', '"overloaded"',
     0],
    ['out of reach', '{"error":{"word":"server_error","status":null}}', 503,
     'server_error', '"overloaded"', 0],
    ['no login', '{"not_logged_in":true}', 503, 'server_error',
     '"cli_not_logged_in"', 1],
    ['prompt too long', '{"prompt_too_long":true}', 400,
     'invalid_request_error', '"context_length_exceeded"', 1],
    ['blocking limit', '{"blocking_limit":true}', 400,
     'invalid_request_error', '"context_length_exceeded"', 1],
    ['budget', '{"budget":"before"}', 402, 'insufficient_quota',
     '"budget_exceeded"', 1],
    ['a blank prompt', '{"blank":true}', 502, 'server_error', '"cli_failed"',
     0],
    ['no message', '{"no_message_start":true}', 502, 'server_error',
     '"cli_failed"', 0],
    ['died before the answer, by a status', '{"die_before":3}', 502,
     'server_error', '"cli_failed"', 0],
    ['died before the answer, with status 0', '{"die_before":0}', 502,
     'server_error', '"cli_failed"', 0],
    ['died before the answer, by a signal', '{"die_before":"KILL"}', 502,
     'server_error', '"cli_failed"', 0],
    ['died before the answer, by SEGV', '{"die_before":"SEGV"}', 502,
     'server_error', '"cli_failed"', 0],
    ['spoke garbage', '{"garbage_after_deltas":0}', 502, 'server_error',
     '"cli_failed"', 0],
);

# after the stream has begun; a whole answer has its status all the same

my @later = (
    ['died in the answer', '{"deltas":["a ","b "],"gap_ms":200,"die_after_deltas":1}', 502,
     'cli_failed'],
    ['exited in the answer',
     '{"deltas":["a ","b "],"gap_ms":200,"die_after_deltas":1,"exit_code":0}', 502,
     'cli_failed'],
    ['spoke garbage', '{"deltas":["a ","b "],"gap_ms":200,"garbage_after_deltas":1}', 502,
     'cli_failed'],
    ['half a line, then the end',
     '{"deltas":["a ","b "],"gap_ms":200,"half_line":true,"exit_code":0}', 502,
     'cli_failed'],
    ['the upstream connection broke',
     '{"deltas":["a ","b "],"gap_ms":200,"drop_after_deltas":1}', 503, 'overloaded'],
);

my $n = 500;
my $spec = join '', <DATA>;

# A missing login is remembered for some seconds: a profile for each.

my $location = "--- server\n" . join('', map {
    "        location /$_/ { claude_openai; claude_env CASE=$_; }\n"
    } 501 .. 560) . "--- path: /%d/chat/completions\n";

for (@upstream) {
    my ($name, $fake, $status, $type, $code, $final) = @$_;

    for my $with ('', '"stream":true') {
        $n++;
        my $s = $with ? ', stream' : '';
        $spec .= "=== TEST $n: upstream or CLI: $name: $status$s\n"
            . sprintf($location, $n)
            . "--- ask: hi\n--- fake: $fake\n"
            . ($with ? "--- with: $with\n" : '')
            . "--- error_code: $status\n--- response_headers\n"
            . "Content-Type: application/json\n"
            . ($final ? "x-should-retry: false\n" : "! x-should-retry\n")
            . "--- json\nerror.type = \"$type\"\nerror.code = $code\n"
            . "error.message ~ .\n--- logs\nclaude: .* request req_\n\n\n\n";
    }
}

for (@later) {
    my ($name, $fake, $status, $code) = @$_;

    $n++;
    $spec .= "=== TEST $n: in the answer: $name: $status, whole\n"
        . sprintf($location, $n) . "--- ask: hi\n--- fake: $fake\n"
        . "--- error_code: $status\n--- json\nerror.code = \"$code\"\n"
        . "--- logs\nclaude: .* request req_\n\n\n\n";
    $n++;
    $spec .= "=== TEST $n: in the answer: $name: the error is data, streamed\n"
        . sprintf($location, $n) . "--- ask: hi\n--- fake: $fake\n"
        . "--- with: \"stream\":true\n--- chunks\n"
        . "error.code = \"$code\"\nerror.type = \"server_error\"\n"
        . "error.message ~ .\ndone = 0\n"
        . "chunks.-1.choices.0.finish_reason = null\n"
        . "--- logs\nclaude: .* request req_\n\n\n\n";
}

# a CLI that is to wait for an hour before it asks upstream again

open my $fh, '>', "$ENV{CLAUDE_DIR}/patient" or die;
print $fh "#!/bin/sh\n$ENV{CLAUDE_BIN} \"\$@\""
    . " | sed -u 's/\"retry_delay_ms\":1[0-9]*/\"retry_delay_ms\":3600000/'\n";
close $fh;
chmod 0755, "$ENV{CLAUDE_DIR}/patient";

spec_string($spec);
run_tests();

__DATA__

=== TEST 1: the message of an overflow has both words that clients look for
--- ask: hi
--- fake: {"prompt_too_long":true}
--- error_code: 400
--- json
error.message ~ context_length_exceeded
error.message ~ maximum context length



=== TEST 2: upstream's 429 says when to come back, at most in 60 s
--- ask: hi
--- fake: {"error":{"status":429}}
--- error_code: 429
--- response_headers_like
Retry-After: (?:[1-9]|[1-5]\d|60)



=== TEST 3: a long wait between the CLI's retries is a 429 at once
--- ask: hi
--- server
        location /v1/ { claude_openai; claude_binary $CLAUDE_DIR/patient; }
--- fake: {"api_retry":1,"retry_ms":3600000,"error":{"status":429}}
--- error_code: 429
--- response_headers
Retry-After: 60
x-should-retry: false
--- json
error.message ~ 36\d\d seconds



=== TEST 4: short retries are waited for
--- ask: hi
--- fake: {"api_retry":2,"text":"at last"}
--- json
choices.0.message.content = "at last"



=== TEST 5: a CLI that hangs is a 504
--- server
        location /v1/ { claude_openai; claude_timeout 300ms; }
--- ask: hi
--- fake: {"hang":true}
--- error_code: 504
--- json
error.type = "server_error"
error.code = "timeout"
--- logs
wrote nothing for too long, see claude_timeout



=== TEST 6: a CLI that hangs is a 504 for a stream as well
--- server
        location /v1/ { claude_openai; claude_timeout 300ms; }
--- ask: hi
--- fake: {"hang":true}
--- with: "stream":true
--- error_code: 504
--- json
error.code = "timeout"



=== TEST 7: a CLI that hangs in the answer ends the stream with the error
--- server
        location /v1/ { claude_openai; claude_timeout 2s; }
--- ask: hi
--- fake: {"deltas":["a","b"],"hang_after_deltas":1}
--- with: "stream":true
--- chunks
text = "a"
error.code = "timeout"
done = 0



=== TEST 8: half a line, then silence, is a timeout
--- server
        location /v1/ { claude_openai; claude_timeout 2s; }
--- ask: hi
--- fake: {"deltas":["a","b"],"half_line":true}
--- with: "stream":true
--- chunks
error.code = "timeout"
done = 0



=== TEST 9: lines that come in time keep a slow answer alive
--- server
        location /v1/ { claude_openai; claude_timeout 2s; }
--- ask: hi
--- fake: {"deltas":["a","b","c","d","e"],"gap_ms":500}
--- json
choices.0.message.content = "abcde"



=== TEST 10: a CLI that never answers is a 504
--- server
        location /v1/ { claude_openai; claude_timeout 300ms; }
--- start: {"silent":true}
--- ask: hi
--- error_code: 504
--- json
error.code = "timeout"



=== TEST 11: a CLI that never reads is a 504
--- server
        location /v1/ { claude_openai; claude_timeout 300ms; }
--- start: {"deaf":true}
--- ask eval: 'x' x 300000
--- error_code: 504
--- json
error.code = "timeout"



=== TEST 12: a CLI that exits at once is a 502, and the log says with what
--- start: {"exit":7,"stderr":"no licence"}
--- ask: hi
--- error_code: 502
--- json
error.code = "cli_failed"
--- logs
no licence
exited with (?:status |code )?7



=== TEST 13: what the CLI says on stderr is not in the answer
--- start: {"exit":7,"stderr":"secret path"}
--- ask: hi
--- error_code: 502
--- response_body_unlike: secret path



=== TEST 14: a CLI that prints something else than JSON is a 502
--- start: {"garbage":true}
--- ask: hi
--- error_code: 502
--- json
error.code = "cli_failed"
--- logs
JSON



=== TEST 15: a CLI before 2.1.260 is a 503 cli_too_old, and hears nothing
--- start: {"version":"2.1.259"}
--- ask: hi
--- error_code: 503
--- response_headers
x-should-retry: false
--- json
error.type = "server_error"
error.code = "cli_too_old"
error.message ~ 2\.1\.260
--- calls: 0
--- logs
too old



=== TEST 16: 2.1.260 is not too old
--- start: {"version":"2.1.260"}
--- ask: hi
--- json
choices.0.message.content = "echo: hi"



=== TEST 17: 3.0.0 is not too old
--- start: {"version":"3.0.0"}
--- ask: hi
--- json
choices.0.message.content = "echo: hi"



=== TEST 18: 2.1.99 is too old
--- start: {"version":"2.1.99"}
--- ask: hi
--- error_code: 503
--- json
error.code = "cli_too_old"



=== TEST 19: a control request that is refused is a 502
--- start: {"refuse":["apply_flag_settings"]}
--- ask: hi
--- error_code: 502
--- json
error.code = "cli_failed"



=== TEST 20: a CLI that does not know the question for its version is too old
--- start: {"refuse":["get_binary_version"]}
--- ask: hi
--- error_code: 503
--- json
error.code = "cli_too_old"



=== TEST 21: a model that the CLI refuses is a 404
--- start: {"unknown_models":["claude-gone-1"]}
--- chat: {"model":"claude-gone-1","messages":[{"role":"user","content":"hi"}]}
--- error_code: 404
--- json
error.code = "model_not_found"
error.param = "model"



=== TEST 22: limit_req's refusal is JSON, with its status
--- http
    limit_req_zone $server_name zone=one:1m rate=1r/m;
--- server
        location /v1/ { claude_openai; limit_req zone=one; limit_req_status 429; }
--- pipelined_requests eval
["GET /v1/models", "GET /v1/models"]
--- raw_request eval
my $r = "GET /v1/models HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer sk-test\r\n";
"$r\r\n${r}Connection: close\r\n\r\n"
--- error_code eval
[200, 429]
--- response_body_like eval
["object", '"type":"rate_limit_error".*"code":"rate_limit_exceeded"']



=== TEST 23: auth_request's refusal is JSON
--- server
        location /v1/ { claude_openai; auth_request /check; }
        location /check { return 403; }
--- get: /v1/models
--- error_code: 403
--- response_headers
Content-Type: application/json
--- json
error.type = "invalid_request_error"



=== TEST 24: auth_request's failure is JSON
--- server
        location /v1/ { claude_openai; auth_request /check; }
        location /check { return 404; }
--- get: /v1/models
--- error_code: 500
--- json
error.type = "server_error"
--- logs
auth request unexpected status



=== TEST 25: a user's error_page wins
--- server
        location /v1/ { claude_openai; error_page 404 = /mine; }
        location /mine { return 418 "teapot\n"; }
--- get: /v1/nowhere
--- error_code: 418
--- response_body
teapot



=== TEST 26: a user's error_page wins over a failed turn
--- server
        location /v1/ { claude_openai; error_page 502 =200 /mine; }
        location /mine { return 200 "sorry\n"; }
--- ask: hi
--- fake: {"die_before":1}
--- error_code: 200
--- response_body
sorry



=== TEST 27: return in a claude location gives JSON
--- server
        location /v1/ { claude_openai; return 503; }
--- get: /v1/models
--- error_code: 503
--- json
error.type = "server_error"



=== TEST 28: another location's errors stay nginx's
--- get: /nowhere
--- error_code: 404
--- response_headers
Content-Type: text/html
--- response_body_like: <html>



=== TEST 29: an error has an id for its request
--- ask: hi
--- fake: {"die_before":1}
--- error_code: 502
--- response_headers_like
x-request-id: req_[0-9a-f]{32}



=== TEST 30: the log tells the request by the id that the client has
--- server
        location /v1/ { claude_openai; claude_env CASE=30; }
--- ask: hi
--- fake: {"die_before":1}
--- error_code: 502
--- logs
claude: the CLI failed.* request req_[0-9a-f]{32}



=== TEST 31: the words of upstream are told where they are about the request
--- ask: hi
--- fake: {"error":{"status":400,"text":"messages.7: too odd"}}
--- error_code: 400
--- json
error.message ~ messages\.7: too odd



=== TEST 32: an apology is not an answer
--- ask: hi
--- fake: {"error":{"status":529,"text":"I am sorry"}}
--- error_code: 503
--- response_body_unlike: "choices"



=== TEST 33: HEAD of an error has no body
--- raw_request eval
"HEAD /v1/nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer sk-test\r\n\r\n"
--- request
HEAD /v1/nowhere
--- error_code: 404
--- response_headers
Content-Type: application/json



=== TEST 34: a budget that the answer has used up does not take it back
--- ask: hi
--- fake: {"text":"paid","budget":true}
--- json
choices.0.message.content = "paid"
