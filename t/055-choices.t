# Several answers to one request: n, and what holds for all of them together.

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::Nginx::Claude 'no_plan';

run_tests();

__DATA__

=== TEST 1: n whole answers, in their order, their usage added up
--- ask: hi
--- fake: {"text":"x","usage":{"input_tokens":3,"output_tokens":5,"cache_read_input_tokens":7,"output_tokens_details":{"thinking_tokens":2}}}
--- with: "n":3
--- json
choices.0.index = 0
choices.1.index = 1
choices.2.index = 2
choices.0.message.content = "x"
choices.1.message.content = "x"
choices.2.message = {"role":"assistant","content":"x","refusal":null,"annotations":[]}
choices.2.finish_reason = "stop"
! choices.3
usage.prompt_tokens = 30
usage.completion_tokens = 15
usage.total_tokens = 45
usage.prompt_tokens_details.cached_tokens = 21
usage.completion_tokens_details.reasoning_tokens = 6
--- calls: 3



=== TEST 2: eight of them
--- ask: hi
--- with: "n":8
--- json
choices.7.index = 7
choices.7.message.content = "echo: hi"
! choices.8
--- calls: 8



=== TEST 3: nine are a 400 that starts nothing
--- ask: hi
--- with: "n":9
--- error_code: 400
--- json
error.param = "n"
--- calls: 0



=== TEST 4: streamed, each with its role, its text and its end, one end of all
--- ask: hi
--- fake: {"deltas":["a ","b ","c"],"gap_ms":30}
--- with: "stream":true,"n":2,"stream_options":{"include_usage":true}
--- chunks
n = 11
done = 1
same.id = 1
same.created = 1
same.model = 1
chunks.-1.choices = []
chunks.-1.usage.completion_tokens = 6
--- response_body_like eval
my $delta = sub { "\"choices\":\\[\\{\"index\":$_[0],\"delta\":\\{$_[1]\\},"
                  . "\"logprobs\":null,\"finish_reason\":$_[2]\\}\\]" };
my $one = sub { my $i = shift;
    '(?=.*?' . join('.*?', $delta->($i, '"role":"assistant".*?', 'null'),
                    map({ $delta->($i, "\"content\":\"$_\"", 'null') }
                        'a ', 'b ', 'c'),
                    $delta->($i, '', '"stop"')) . ')' };
qr/\A${\ $one->(0) }${\ $one->(1) }.*data: \[DONE\]\n\n\z/s



=== TEST 4a: the usage of a stream is the sum, with what was cached and thought
--- ask: hi
--- fake: {"text":"x","usage":{"input_tokens":3,"output_tokens":5,"cache_read_input_tokens":7,"output_tokens_details":{"thinking_tokens":2}}}
--- with: "stream":true,"n":3,"stream_options":{"include_usage":true}
--- chunks
done = 1
chunks.-1.usage.prompt_tokens = 30
chunks.-1.usage.completion_tokens = 15
chunks.-1.usage.prompt_tokens_details.cached_tokens = 21
chunks.-1.usage.completion_tokens_details.reasoning_tokens = 6
--- calls: 3



=== TEST 5: their pieces are interleaved, as they arrive
--- ask: hi
--- fake: {"deltas":["a "],"repeat":40,"gap_ms":20}
--- with: "stream":true,"n":2
--- response_body_like chop
(?s)"index":0,"delta":\{"content".*"index":1,"delta":\{"content".*"index":0,"delta":\{"content".*"index":1,"delta":\{"content"



=== TEST 6: limits are each answer's own
--- ask: hi
--- fake: {"text":"x","stop_reason":"max_tokens"}
--- with: "n":2,"max_tokens":5
--- json
choices.0.finish_reason = "length"
choices.1.finish_reason = "length"



=== TEST 7: calls of tools have ids of their own
--- ask: hi
--- fake: {"tool_use":[{"name":"look","input":{"a":1}}]}
--- with: "n":2,"tools":[{"type":"function","function":{"name":"look"}}]
--- json
choices.0.finish_reason = "tool_calls"
choices.0.message.tool_calls.0.function.arguments = "{\"a\":1}"
choices.1.finish_reason = "tool_calls"
choices.1.message.tool_calls.0.function.name = "look"



=== TEST 8: a call that is done in disguise: an id for each
--- ask: hi
--- fake: {"text":"{\"a\":1}"}
--- with: "n":2,"tools":[{"type":"function","function":{"name":"look","parameters":{"type":"object","properties":{"a":{"type":"integer"}}}}}],"tool_choice":"required"
--- json
choices.0.message.tool_calls.0.id ~ ^toolu_[0-9a-f]{24}$
choices.1.message.tool_calls.0.id ~ ^toolu_[0-9a-f]{24}_1$
choices.1.message.tool_calls.0.function.arguments = "{\"a\":1}"



=== TEST 9: one that fails, and there is no answer
--- ask: hi
--- fake: {"error":{"word":"overloaded","status":529}}
--- with: "n":4
--- error_code: 503
--- json
error.code = "overloaded"



=== TEST 10: in a stream, one error and no end
--- ask: hi
--- fake: {"deltas":["a ","b "],"die_after_deltas":1}
--- with: "stream":true,"n":4
--- chunks
error.code = "cli_failed"
done = 0



=== TEST 11: as many as there are places come
--- http: claude_max_concurrent 6; claude_max_processes 6;
--- ask: hi
--- fake: {"text":"x","delay_ms":20}
--- with: "n":6
--- json
choices.5.message.content = "x"
--- calls: 6



=== TEST 12: more than there are places for are a 400, and none is asked
--- http: claude_warm 0; claude_max_concurrent 5;
--- ask: hi
--- with: "n":6
--- error_code: 400
--- json
error.type = "invalid_request_error"
error.param = "n"
--- calls: 0



=== TEST 13: white-space stops end each answer
--- ask: hi
--- fake: {"deltas":["one","\n","\ntwo"]}
--- with: "n":2,"stop":"\n\n"
--- json
choices.0.message.content = "one"
choices.1.message.content = "one"



=== TEST 14: json_object, each by itself
--- ask: hi
--- fake: {"deltas":["```json\n","{\"a\":","1}","\n```"]}
--- with: "n":2,"response_format":{"type":"json_object"}
--- json
choices.0.message.content = "{\"a\":1}"
choices.1.message.content = "{\"a\":1}"



=== TEST 15: the session is one, and only-new-messages cannot be for several
--- headers: X-Session-Id: 11111111-2222-4333-8444-555555555555
--- ask: hi
--- with: "n":2
--- error_code: 400
--- json
error.param = "n"
--- calls: 0
