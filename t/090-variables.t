# The variables: in logs, in limits, and after internal redirects.

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::Nginx::Claude 'no_plan';

my $fields = '';

# The log line is written when the request is done: some event later than the
# client's last byte.

add_block_check(sub {
    my ($block) = @_;
    my $want = $block->access_line or return;
    my ($file, @lines) = ("$Test::Nginx::Util::ServRoot/logs/vars.log");

    chomp $want;
    for (1 .. 500) {
        if (open my $fh, '<', $file) {
            @lines = <$fh>;
            last if grep { /\n/ } @lines;
        }
        Time::HiRes::sleep(0.02);
    }
    Test::More::like($lines[-1] // '', qr/$want/,
                     $block->name . ' - access log');
});

add_block_preprocessor(sub {
    my ($block) = @_;
    return if !$block->access_line;

    # a log of its own, so a configuration of its own
    my $http = $block->http // '';
    $block->set_value(http => $http . <<'END' . '    # ' . $block->name);
    log_format vars 'key=$claude_key_name model=$claude_model '
                    'session=$claude_session process=$claude_process '
                    'ttft=$claude_ttft prompt=$claude_prompt_tokens '
                    'cached=$claude_cached_tokens '
                    'completion=$claude_completion_tokens '
                    'reasoning=$claude_reasoning_tokens '
                    'finish="$claude_finish_reason" '
                    'cost=$claude_cost_usd error=$claude_error '
                    'status=$status';
    access_log logs/vars.log vars;
END
});

run_tests();

__DATA__

=== TEST 1: a turn's variables are in the access log
--- ask: hi
--- fake: {"text":"x","usage":{"input_tokens":3,"output_tokens":5,"cache_read_input_tokens":7,"cache_creation_input_tokens":11,"output_tokens_details":{"thinking_tokens":2}}}
--- access_line: ^key=tester model=sonnet session=[-0-9a-f]{36} process=\w+ ttft=\d+\.\d{3} prompt=21 cached=7 completion=5 reasoning=2 finish="stop" cost=\d+\.\d{6} error=- status=200$



=== TEST 2: a streamed turn's variables are in the access log
--- ask: hi
--- fake: {"text":"x","usage":{"input_tokens":3,"output_tokens":5}}
--- with: "stream":true
--- access_line: ^key=tester model=sonnet session=[-0-9a-f]{36} process=\w+ ttft=\d+\.\d{3} prompt=3 cached=0 completion=5 reasoning=0 finish="stop" cost=\d+\.\d{6} error=- status=200$



=== TEST 3: $claude_model is the CLI's name
--- chat: {"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}
--- access_line: model=haiku



=== TEST 4: $claude_process is a rung of the ladder
--- ask: hi
--- access_line: process=(?:live|rewound|recycled|warm|cold|resumed) 



=== TEST 5: $claude_error is the code of a failed turn
--- ask: hi
--- fake: {"die_before":1}
--- error_code: 502
--- access_line: ttft=- .*error=cli_failed status=502$



=== TEST 6: $claude_error tells of an error after the stream began
--- ask: hi
--- fake: {"deltas":["a","b"],"gap_ms":200,"die_after_deltas":1}
--- with: "stream":true
--- access_line: error=cli_failed status=200$



=== TEST 7: $claude_error is the type where there is no code
--- chat: {}
--- error_code: 400
--- access_line: error=invalid_request_error status=400$



=== TEST 8: without a turn its variables are empty
--- get: /v1/models
--- access_line: ^key=tester model=- session=- process=- ttft=- prompt=- cached=- completion=- reasoning=- finish="-" cost=- error=- status=200$



=== TEST 9: without a key its name is empty
--- get: /v1/models
--- key: none
--- error_code: 401
--- access_line: ^key=- .* error=invalid_api_key status=401$



=== TEST 10: in another location they are empty
--- server
        location /v1/ { claude_openai; }
        location = /plain { return 200 "x"; }
--- get: /plain
--- key: none
--- access_line: ^key=- model=- session=- process=- ttft=- prompt=- cached=- completion=- reasoning=- finish="-" cost=- error=- status=200$



=== TEST 11: $claude_session is the X-Session-Id of the answer
--- ask: hi
--- headers
X-Session-Id: 0198a2b4-1111-4222-8333-444455556666
--- access_line: session=0198a2b4-1111-4222-8333-444455556666 



=== TEST 12: an unnamed key is called by its number
--- server
        location /v1/ { claude_openai; claude_api_key sk-a; claude_api_key sk-b; }
--- get: /v1/models
--- key: sk-b
--- access_line: ^key=key2 



=== TEST 13: after an error_page the variables are still there
--- server
        location /v1/ { claude_openai; error_page 502 =200 /mine; }
        location /mine { return 200 "sorry"; }
--- ask: hi
--- fake: {"die_before":1}
--- access_line: model=sonnet .*error=cli_failed status=200$



=== TEST 14: after a rewrite into the location the variables are there
--- server
        location /v1/ { claude_openai; }
        location /alias/ { rewrite ^/alias/(.*) /v1/$1 last; }
--- path: /alias/chat/completions
--- ask: hi
--- access_line: key=tester model=sonnet .*process=\w+ .*status=200$



=== TEST 15: limit_req by $claude_key_name limits a key
--- http
    limit_req_zone $claude_key_name zone=keys:1m rate=1r/m;
    limit_req_status 429;
--- server
        location /v1/ { claude_openai; limit_req zone=keys; }
--- raw_request eval
my $r = "GET /v1/models HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ";
"${r}sk-test\r\n\r\n${r}sk-test\r\nConnection: close\r\n\r\n"
--- pipelined_requests eval: [1, 2]
--- error_code eval: [200, 429]



=== TEST 16: limit_req by $claude_key_name leaves another key alone
--- http
    limit_req_zone $claude_key_name zone=keys:1m rate=1r/m;
    limit_req_status 429;
--- server
        location /v1/ { claude_openai; limit_req zone=keys; add_header X-K other; }
--- raw_request eval
my $r = "GET /v1/models HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ";
"${r}sk-test\r\n\r\n${r}sk-other\r\nConnection: close\r\n\r\n"
--- pipelined_requests eval: [1, 2]
--- error_code eval: [200, 200]



=== TEST 17: map by $claude_key_name chooses the model
--- http
    map $claude_key_name $mine { default sonnet; other haiku; }
--- server
        location /v1/ { claude_openai; claude_default_model $mine; }
--- key: sk-other
--- chat: {"messages":[{"role":"user","content":"hi"}]}
--- json
model = "haiku"



=== TEST 18: $claude_key_name is known to a header
--- server
        location /v1/ { claude_openai; add_header X-Key $claude_key_name; }
--- get: /v1/models
--- key: sk-other
--- response_headers
X-Key: other



=== TEST 50: of several answers, the sums
--- ask: hi
--- fake: {"text":"x","usage":{"input_tokens":3,"output_tokens":5}}
--- with: "n":3
--- access_line: process=\w+ ttft=\d+\.\d{3} prompt=9 cached=0 completion=15 reasoning=0 finish="stop, stop, stop" cost=\d+\.\d{6} error=- status=200$



=== TEST 51: of a completion
--- path: /v1/completions
--- chat: {"prompt":"x [[fake {\"text\":\"x\",\"usage\":{\"input_tokens\":3,\"output_tokens\":5}}]]"}
--- access_line: process=\w+ ttft=\d+\.\d{3} prompt=3 cached=0 completion=5 reasoning=0 finish="stop" cost=\d+\.\d{6} error=- status=200$



=== TEST 52: of several answers that are streamed, the sum
--- ask: hi
--- fake: {"text":"x","usage":{"input_tokens":3,"output_tokens":5,"cache_read_input_tokens":7,"output_tokens_details":{"thinking_tokens":2}}}
--- with: "stream":true,"n":2
--- access_line: ttft=\d+\.\d{3} prompt=20 cached=14 completion=10 reasoning=4 finish="stop, stop" cost=0\.0*[1-9]\d* error=- 



=== TEST 53: the end of a call, and what it cost
--- ask: hi
--- fake: {"tool_use":[{"name":"look","input":{"a":1}}],"usage":{"input_tokens":3000,"output_tokens":5}}
--- with: "tools":[{"type":"function","function":{"name":"look"}}]
--- access_line: prompt=3000 .* finish="tool_calls" cost=0\.0*[1-9]\d* error=- 



=== TEST 54: the end is that of the older functions, where these were asked for
--- ask: hi
--- fake: {"tool_use":[{"name":"look","input":{"a":1}}]}
--- with: "functions":[{"name":"look"}]
--- access_line: finish="function_call" 



=== TEST 55: an answer that failed has no end, and what it has used
--- ask: hi
--- fake: {"deltas":["a","b"],"gap_ms":20,"die_after_deltas":1,"usage":{"input_tokens":30,"output_tokens":5}}
--- with: "stream":true
--- access_line: prompt=30 cached=0 completion=1 reasoning=0 finish="-" cost=- error=cli_failed 
