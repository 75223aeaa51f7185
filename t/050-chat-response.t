# What an answer looks like, to the letter, streamed and not.

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::Nginx::Claude 'no_plan';

run_tests();

__DATA__

=== TEST 1: a whole answer has OpenAI's shape
--- ask: hi
--- response_headers
Content-Type: application/json
--- response_body_like chop
\A\{"id":"chatcmpl-[0-9a-f]{24}","object":"chat\.completion","created":\d{10},"model":"sonnet","choices":\[\{"index":0,"message":\{"role":"assistant","content":"echo: hi","refusal":null,"annotations":\[\]\},"logprobs":null,"finish_reason":"stop"\}\],"usage":\{"prompt_tokens":\d+,"completion_tokens":\d+,"total_tokens":\d+,"prompt_tokens_details":\{"cached_tokens":\d+,"audio_tokens":0\},"completion_tokens_details":\{"reasoning_tokens":\d+,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0\}\},"system_fingerprint":"fp_claude"\}\n?\z



=== TEST 2: a stream has OpenAI's shape
--- ask: hi
--- fake: {"deltas":["one","two"]}
--- with: "stream":true
--- response_headers
Content-Type: text/event-stream; charset=utf-8
--- response_body_like chop
\Adata: (\{"id":"chatcmpl-[0-9a-f]{24}","object":"chat\.completion\.chunk","created":\d{10},"model":"sonnet","system_fingerprint":"fp_claude",)"choices":\[\{"index":0,"delta":\{"role":"assistant","content":"","refusal":null\},"logprobs":null,"finish_reason":null\}\]\}\n\ndata: \1"choices":\[\{"index":0,"delta":\{"content":"one"\},"logprobs":null,"finish_reason":null\}\]\}\n\ndata: \1"choices":\[\{"index":0,"delta":\{"content":"two"\},"logprobs":null,"finish_reason":null\}\]\}\n\ndata: \1"choices":\[\{"index":0,"delta":\{\},"logprobs":null,"finish_reason":"stop"\}\]\}\n\ndata: \[DONE\]\n\n\z



=== TEST 3: the role is in the first delta, and only there
--- ask: hi
--- with: "stream":true
--- chunks
chunks.0.choices.0.delta.role = "assistant"
! chunks.1.choices.0.delta.role
! chunks.2.choices.0.delta.role



=== TEST 4: id, created, model and fingerprint are the same in every chunk
--- ask: hi
--- fake: {"deltas":["a","b"],"repeat":50}
--- with: "stream":true,"stream_options":{"include_usage":true}
--- chunks
same.id = 1
same.created = 1
same.model = 1
same.object = 1
same.system_fingerprint = 1
n = 103



=== TEST 5: a stream's text is the answer's
--- ask: hi
--- fake: {"deltas":["a ","b ","c"]}
--- with: "stream":true
--- chunks
text = "a b c"
done = 1



=== TEST 6: without include_usage no chunk has usage
--- ask: hi
--- with: "stream":true
--- response_body_unlike: usage



=== TEST 7: include_usage false is like none
--- ask: hi
--- with: "stream":true,"stream_options":{"include_usage":false}
--- response_body_unlike: usage



=== TEST 8: with include_usage a last chunk has it, with no choices
--- ask: hi
--- fake: {"text":"x","usage":{"input_tokens":3,"output_tokens":5,"cache_read_input_tokens":7,"cache_creation_input_tokens":11,"output_tokens_details":{"thinking_tokens":2}}}
--- with: "stream":true,"stream_options":{"include_usage":true}
--- chunks
chunks.-1.choices = []
chunks.-1.usage.prompt_tokens = 21
chunks.-1.usage.completion_tokens = 5
chunks.-1.usage.total_tokens = 26
chunks.-1.usage.prompt_tokens_details.cached_tokens = 7
chunks.-1.usage.completion_tokens_details.reasoning_tokens = 2
done = 1



=== TEST 9: with include_usage all other chunks have a null
--- ask: hi
--- with: "stream":true,"stream_options":{"include_usage":true}
--- chunks
chunks.0.usage = null
chunks.1.usage = null
chunks.-2.usage = null



=== TEST 10: usage of a whole answer
--- ask: hi
--- fake: {"text":"x","usage":{"input_tokens":3,"output_tokens":5,"cache_read_input_tokens":7,"cache_creation_input_tokens":11,"output_tokens_details":{"thinking_tokens":2}}}
--- json
usage.prompt_tokens = 21
usage.completion_tokens = 5
usage.total_tokens = 26
usage.prompt_tokens_details.cached_tokens = 7
usage.completion_tokens_details.reasoning_tokens = 2



=== TEST 11: include_usage without a stream changes nothing
--- ask: hi
--- with: "stream_options":{"include_usage":true}
--- json
object = "chat.completion"



=== TEST 12: end_turn is "stop"
--- ask: hi
--- fake: {"text":"x","stop_reason":"end_turn"}
--- json
choices.0.finish_reason = "stop"



=== TEST 13: stop_sequence is "stop"
--- ask: hi
--- fake: {"text":"x","stop_reason":"stop_sequence","stop_sequence":"END"}
--- json
choices.0.finish_reason = "stop"



=== TEST 14: max_tokens is "length"
--- ask: hi
--- fake: {"text":"x","stop_reason":"max_tokens"}
--- json
choices.0.finish_reason = "length"
choices.0.message.content = "x"



=== TEST 15: max_tokens is "length" in a stream as well
--- ask: hi
--- fake: {"text":"x","stop_reason":"max_tokens"}
--- with: "stream":true
--- chunks
chunks.-1.choices.0.finish_reason = "length"
text = "x"
done = 1



=== TEST 16: refusal is "content_filter"
--- ask: hi
--- fake: {"text":"x","stop_reason":"refusal"}
--- json
choices.0.finish_reason = "content_filter"



=== TEST 17: refusal is "content_filter" in a stream as well
--- ask: hi
--- fake: {"text":"x","stop_reason":"refusal"}
--- with: "stream":true
--- chunks
chunks.-1.choices.0.finish_reason = "content_filter"
done = 1



=== TEST 18: what needs escaping is escaped, whole
--- ask: hi
--- fake: {"text":"q\"b\\s\t\n\r\u0001\u001f\u007f/\u2028<é😀"}
--- json
choices.0.message.content = "q\"b\\s\t\n\r\u0001\u001f\u007f/\u2028<é😀"



=== TEST 19: what needs escaping is escaped, streamed
--- ask: hi
--- fake: {"deltas":["q\"b\\s\t\n\r\u0001\u001f\u007f/\u2028<é😀","\"","\\"]}
--- with: "stream":true
--- chunks
text = "q\"b\\s\t\n\r\u0001\u001f\u007f/\u2028<é😀\"\\"
done = 1



=== TEST 20: an event in the text does not end the event it is in
--- ask: hi
--- fake: {"deltas":["a\n\ndata: [DONE]\n\n","b"]}
--- with: "stream":true
--- chunks
text = "a\n\ndata: [DONE]\n\nb"
done = 1



=== TEST 21: a long delta of characters of several bytes stays whole
--- ask: hi
--- fake: {"deltas":["aé😀中\n"],"repeat":3000}
--- with: "stream":true
--- chunks
text ~ ^(?:a\x{e9}\x{1f600}\x{4e2d}\n){3000}$
done = 1



=== TEST 22: one line of 300,000 bytes is one delta's text, streamed
--- ask: hi
--- fake: {"huge_line":300000}
--- with: "stream":true
--- chunks
text # 300000
done = 1



=== TEST 23: one line of 300,000 bytes is one delta's text, whole
--- ask: hi
--- fake: {"huge_line":300000}
--- json
choices.0.message.content # 300000



=== TEST 24: thinking is not in the answer
--- ask: hi
--- fake: {"thinking":"let me see","text":"x"}
--- json
choices.0.message.content = "x"
--- response_body_unlike: let me see



=== TEST 25: thinking is not in a stream
--- ask: hi
--- fake: {"thinking":"let me see","text":"x"}
--- with: "stream":true
--- chunks
text = "x"
--- response_body_unlike: let me see



=== TEST 26: a whole answer has an id for its request
--- ask: hi
--- response_headers_like
x-request-id: req_[0-9a-f]{32}



=== TEST 27: the id of a request is nginx's $request_id
--- server
        location /v1/ { claude_openai; add_header X-Nginx req_$request_id; }
--- ask: hi
--- raw_response_headers_like chop
x-request-id: (req_[0-9a-f]{32})\r\n.*X-Nginx: \1



=== TEST 28: a stream has an id for its request
--- ask: hi
--- with: "stream":true
--- response_headers_like
x-request-id: req_[0-9a-f]{32}



=== TEST 29: an answer names its session
--- ask: hi
--- response_headers_like
X-Session-Id: [0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}



=== TEST 30: a stream names its session
--- ask: hi
--- with: "stream":true
--- response_headers_like
X-Session-Id: [0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}



=== TEST 31: a stream is not to be buffered or cached
--- ask: hi
--- with: "stream":true
--- response_headers
X-Accel-Buffering: no
Cache-Control: no-cache



=== TEST 32: a whole answer tells its length
--- ask: hi
--- response_headers_like
Content-Length: \d+
--- raw_response_headers_unlike
Transfer-Encoding



=== TEST 33: a UUID of the client's own is the session's name
--- ask: hi
--- headers
X-Session-Id: 0198a2b4-1111-4222-8333-444455556666
--- response_headers
X-Session-Id: 0198a2b4-1111-4222-8333-444455556666



=== TEST 34: a name that is no UUID is a hint, and not kept
--- ask: hi
--- headers
X-Session-Id: ses_0123456789abcdef
--- response_headers_like
X-Session-Id: [0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}



=== TEST 35: the model comes back as it was asked for, escaped
--- server
        location /v1/ { claude_openai; claude_model_map default sonnet; }
--- chat: {"model":"a\"b\\c\u0001","messages":[{"role":"user","content":"hi"}]}
--- json
model = "a\"b\\c\u0001"



=== TEST 36: the same in a stream
--- server
        location /v1/ { claude_openai; claude_model_map default sonnet; }
--- chat: {"model":"a\"b\\c\u0001","stream":true,"messages":[{"role":"user","content":"hi"}]}
--- chunks
chunks.0.model = "a\"b\\c\u0001"
same.model = 1



=== TEST 37: HTTP/1.0 gets a stream without chunks
--- raw_request eval
my $b = '{"stream":true,"messages":[{"role":"user","content":"hi"}]}';
"POST /v1/chat/completions HTTP/1.0\r\nHost: a\r\nAuthorization: Bearer sk-test\r\nContent-Length: " . length($b) . "\r\n\r\n$b"
--- raw_response_headers_unlike
Transfer-Encoding
--- chunks
text = "echo: hi"
done = 1



=== TEST 38: what the CLI says that is not known is skipped
--- start: {"reverse":true}
--- ask: hi
--- json
choices.0.message.content = "echo: hi"



=== TEST 39: a white-space stop that begins again within itself
--- ask: hi
--- fake: {"deltas":["a\n\n\n\tb"]}
--- with: "stop":"\n\n\t"
--- json
choices.0.message.content = "a\n"
choices.0.finish_reason = "stop"



=== TEST 40: the same across deltas
--- ask: hi
--- fake: {"deltas":["a\n","\n","\n","\tb"]}
--- with: "stop":"\n\n\t"
--- json
choices.0.message.content = "a\n"



=== TEST 41: the same in a stream
--- ask: hi
--- fake: {"deltas":["a\n\n\n\tb"]}
--- with: "stream":true,"stop":"\n\n\t"
--- chunks
text = "a\n"
done = 1



=== TEST 42: the same in a stream, across deltas
--- ask: hi
--- fake: {"deltas":["a\n","\n","\n","\tb"]}
--- with: "stream":true,"stop":"\n\n\t"
--- chunks
text = "a\n"
done = 1
