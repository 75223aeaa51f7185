# The CLI is an agent: what it would do by itself after these ends of a
# message must not reach the client, and must not call the model again.

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::Nginx::Claude 'no_plan';

run_tests();

__DATA__

=== TEST 1: max_tokens: one answer that says "length"
--- ask: hi
--- fake: {"again_ms":2000,"text":"half","stop_reason":"max_tokens"}
--- json
choices.0.message.content = "half"
choices.0.finish_reason = "length"
--- calls: 1



=== TEST 2: max_tokens, streamed: one answer that says "length"
--- ask: hi
--- fake: {"again_ms":2000,"text":"half","stop_reason":"max_tokens"}
--- with: "stream":true
--- chunks
text = "half"
chunks.-1.choices.0.finish_reason = "length"
done = 1
--- calls: 1



=== TEST 3: the context window is full: one answer that says "length"
--- ask: hi
--- fake: {"again_ms":2000,"text":"half","stop_reason":"model_context_window_exceeded"}
--- json
choices.0.message.content = "half"
choices.0.finish_reason = "length"
--- calls: 1



=== TEST 4: max_tokens without any text: one empty answer that says "length"
--- ask: hi
--- fake: {"again_ms":2000,"text":"","stop_reason":"max_tokens"}
--- json
choices.0.message.content = ""
choices.0.finish_reason = "length"
--- calls: 1



=== TEST 5: an empty answer is one answer
--- ask: hi
--- fake: {"again_ms":2000,"empty":true}
--- json
choices.0.message.content = ""
choices.0.finish_reason = "stop"
--- calls: 1



=== TEST 6: an empty answer, streamed
--- ask: hi
--- fake: {"again_ms":2000,"empty":true}
--- with: "stream":true
--- chunks
text = ""
chunks.-1.choices.0.finish_reason = "stop"
done = 1
--- calls: 1



=== TEST 7: a tool that nobody offered, alone, is an error
--- ask: hi
--- fake: {"again_ms":2000,"text":"","tool_use":[{"id":"toolu_1","name":"nope","input":{}}],"forever":true}
--- error_code: 502
--- json
error.code = "cli_failed"
error.message ~ tool
--- calls: 1



=== TEST 8: a tool that nobody offered, after text, is the end of the text
--- ask: hi
--- fake: {"again_ms":2000,"text":"let me look","tool_use":[{"id":"toolu_1","name":"nope","input":{}}],"forever":true}
--- json
choices.0.message.content = "let me look"
choices.0.finish_reason = "stop"
! choices.0.message.tool_calls
--- calls: 1



=== TEST 9: a tool that nobody offered, streamed, is told once
--- ask: hi
--- fake: {"again_ms":2000,"text":"let me look","tool_use":[{"id":"toolu_1","name":"nope","input":{}}],"forever":true}
--- with: "stream":true
--- chunks
text = "let me look"
--- calls: 1



=== TEST 10: a refusal is one answer that says "content_filter"
--- ask: hi
--- fake: {"again_ms":2000,"text":"no","stop_reason":"refusal"}
--- json
choices.0.message.content = "no"
choices.0.finish_reason = "content_filter"
--- calls: 1



=== TEST 11: a refusal without text is one answer
--- ask: hi
--- fake: {"again_ms":2000,"text":"","stop_reason":"refusal"}
--- json
choices.0.finish_reason = "content_filter"
--- calls: 1



=== TEST 12: a move to another model is not an answer of the model asked for
--- ask: hi
--- fake: {"again_ms":2000,"refusal_fallback":true,"stop_reason":"refusal","text":"no"}
--- calls: 1



=== TEST 13: a broken stream, whole: an error and no second call
--- ask: hi
--- fake: {"again_ms":2000,"deltas":["a ","b "],"gap_ms":200,"drop_after_deltas":1,"then":{"text":"second"}}
--- error_code: 503
--- json
error.code = "overloaded"
--- response_body_unlike: second
--- calls: 1



=== TEST 14: a broken stream, streamed: the error is data, and no second call
--- ask: hi
--- fake: {"again_ms":2000,"deltas":["a ","b "],"gap_ms":200,"drop_after_deltas":1,"then":{"text":"second"}}
--- with: "stream":true
--- chunks
text = "a "
error.code = "overloaded"
done = 0
--- calls: 1



=== TEST 15: a prompt that is too long is an error, not a summary
--- ask: hi
--- fake: {"again_ms":2000,"prompt_too_long":true}
--- error_code: 400
--- json
error.code = "context_length_exceeded"



=== TEST 16: pause_turn is an end
--- ask: hi
--- fake: {"again_ms":2000,"text":"so far","stop_reason":"pause_turn"}
--- json
choices.0.message.content = "so far"
--- calls: 1



=== TEST 17: after an odd end the next request has a clean conversation
--- ask: again
--- json
choices.0.message.content = "echo: again"
--- asked
messages.0.content = "again"
! messages.1
--- calls: 1



=== TEST 18: a CLI that ignores the interrupt does not keep the answer back
--- ask: hi
--- fake: {"again_ms":2000,"text":"half","stop_reason":"max_tokens","ignore_interrupt":true}
--- with: "stream":true
--- chunks
text = "half"
chunks.-1.choices.0.finish_reason = "length"
done = 1



=== TEST 19: a CLI that dies of the interrupt does not spoil the answer
--- ask: hi
--- fake: {"again_ms":2000,"text":"half","stop_reason":"max_tokens","crash_on_interrupt":true}
--- json
choices.0.message.content = "half"
choices.0.finish_reason = "length"
