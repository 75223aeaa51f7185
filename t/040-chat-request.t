# What a request may hold: each field that is refused is named, and what the
# model is asked is what the client said.

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::Nginx::Claude 'no_plan';

# Tables, so that one line is one promise: name, members of the body, param.

my @refused = (
    ['model is a number', '"model":4', 'model'],
    ['model is an array', '"model":["sonnet"]', 'model'],
    ['stream is a string', '"stream":"true"', 'stream'],
    ['stream is a number', '"stream":1', 'stream'],
    ['stream_options is a boolean', '"stream_options":true',
     'stream_options'],
    ['include_usage is a string', '"stream_options":{"include_usage":"yes"}',
     'stream_options.include_usage'],
    ['max_tokens is 0', '"max_tokens":0', 'max_tokens'],
    ['max_tokens is negative', '"max_tokens":-1', 'max_tokens'],
    ['max_tokens is a fraction', '"max_tokens":1.5', 'max_tokens'],
    ['max_tokens is a string', '"max_tokens":"5"', 'max_tokens'],
    ['max_tokens is huge', '"max_tokens":1e400', 'max_tokens'],
    ['max_tokens is 20 digits long', '"max_tokens":99999999999999999999',
     'max_tokens'],
    ['max_tokens is 400 digits long', '"max_tokens":' . '9' x 400,
     'max_tokens'],
    ['max_completion_tokens is 0', '"max_completion_tokens":0',
     'max_completion_tokens'],
    ['temperature is over 2', '"temperature":2.1', 'temperature'],
    ['temperature is negative', '"temperature":-0.1', 'temperature'],
    ['temperature is a string', '"temperature":"1"', 'temperature'],
    ['temperature is huge', '"temperature":1e999', 'temperature'],
    ['top_p is over 1', '"top_p":1.1', 'top_p'],
    ['top_p is an object', '"top_p":{}', 'top_p'],
    ['n is 9', '"n":9', 'n'],
    ['n is a fraction', '"n":1.5', 'n'],
    ['n is 0', '"n":0', 'n'],
    ['n is a string', '"n":"1"', 'n'],
    ['stop is a number', '"stop":1', 'stop'],
    ['stop holds a number', '"stop":["a",1]', 'stop'],
    ['stop holds null', '"stop":["a",null]', 'stop'],
    ['stop has five sequences', '"stop":["a","b","c","d","e"]', 'stop'],
    ['stop is empty', '"stop":""', 'stop'],
    ['logprobs is true', '"logprobs":true', 'logprobs'],
    ['top_logprobs is 2', '"logprobs":true,"top_logprobs":2', 'logprobs'],
    ['top_logprobs alone is 2', '"top_logprobs":2', 'top_logprobs'],
    ['logit_bias has an entry', '"logit_bias":{"50256":-100}', 'logit_bias'],
    ['audio is asked for', '"audio":{"voice":"alloy","format":"mp3"}',
     'audio'],
    ['modalities hold audio', '"modalities":["text","audio"]', 'modalities'],
    ['modalities is a string', '"modalities":"text"', 'modalities'],
    ['web_search_options has an entry',
     '"web_search_options":{"search_context_size":"low"}',
     'web_search_options'],
    ['messages is an object', '"messages":{}', 'messages'],
    ['messages is empty', '"messages":[]', 'messages'],
    ['messages is null', '"messages":null', 'messages'],
    ['a message is a string', '"messages":["hi"]', 'messages[0]'],
    ['a message has no role', '"messages":[{"content":"x"}]',
     'messages[0].role'],
    ['a role is null', '"messages":[{"role":null,"content":"x"}]',
     'messages[0].role'],
    ['a role is unknown', '"messages":[{"role":"robot","content":"x"}]',
     'messages[0].role'],
    ['content is missing', '"messages":[{"role":"user"}]',
     'messages[0].content'],
    ['content is null', '"messages":[{"role":"user","content":null}]',
     'messages[0].content'],
    ['content is a number', '"messages":[{"role":"user","content":5}]',
     'messages[0].content'],
    ['content is an empty array', '"messages":[{"role":"user","content":[]}]',
     'messages[0].content'],
    ['content is empty', '"messages":[{"role":"user","content":""}]',
     'messages[0].content'],
    ['content is blank', '"messages":[{"role":"user","content":" \t\n"}]',
     'messages[0].content'],
    ['content is blank in Unicode',
     '"messages":[{"role":"user","content":"\u00a0\u2003\ufeff"}]',
     'messages[0].content'],
    ['a later message is at fault, by its place',
     '"messages":[{"role":"user","content":"a"},{"role":"assistant",'
     . '"content":"b"},{"role":"user","content":[{"type":"text","text":"c"},'
     . '{"type":"text"}]}]', 'messages[2].content[1].text'],
    ['a part has no type', '"messages":[{"role":"user","content":[{}]}]',
     'messages[0].content[0].type'],
    ['a part is a string', '"messages":[{"role":"user","content":["x"]}]',
     'messages[0].content[0]'],
    ['a part is blank',
     '"messages":[{"role":"user","content":[{"type":"text","text":" "}]}]',
     'messages[0].content[0].text'],
    ['a part is of an unknown kind',
     '"messages":[{"role":"user","content":[{"type":"smell"}]}]',
     'messages[0].content[0].type'],
    ['a part is audio',
     '"messages":[{"role":"user","content":[{"type":"input_audio",'
     . '"input_audio":{"data":"","format":"wav"}}]}]',
     'messages[0].content[0].type'],
    ['the assistant begins', '"messages":[{"role":"assistant","content":"a"},'
     . '{"role":"user","content":"b"}]', 'messages'],
    ['the assistant ends', '"messages":[{"role":"user","content":"a"},'
     . '{"role":"assistant","content":"b"}]', 'messages'],
    ['only the system speaks', '"messages":[{"role":"system",'
     . '"content":"a"}]', 'messages'],
);

my @accepted = (
    ['an unknown field', '"no_such_field":{"a":[1,{"b":null}]}'],
    ['seed', '"seed":42'],
    ['user', '"user":"someone"'],
    ['temperature while sampling is off', '"temperature":0.7'],
    ['temperature 2 while sampling is off', '"temperature":2'],
    ['top_p while sampling is off', '"top_p":0.5'],
    ['n 1', '"n":1'],
    ['n 1.0', '"n":1.0'],
    ['logprobs false', '"logprobs":false'],
    ['top_logprobs 0', '"top_logprobs":0'],
    ['an empty logit_bias', '"logit_bias":{}'],
    ['modalities text', '"modalities":["text"]'],
    ['response_format text', '"response_format":{"type":"text"}'],
    ['no tools', '"tools":[]'],
    ['penalties', '"presence_penalty":0.5,"frequency_penalty":-0.5'],
    ['store and metadata', '"store":true,"metadata":{"a":"b"}'],
    ['service_tier', '"service_tier":"auto"'],
    ['parallel_tool_calls', '"parallel_tool_calls":true'],
    ['an empty stop', '"stop":[]'],
    ['max_tokens 1e3', '"max_tokens":1e3'],
    ['reasoning_effort', '"reasoning_effort":"medium"'],
    map { ["$_ null", "\"$_\":null"] }
        qw(stream stream_options max_tokens max_completion_tokens temperature
           top_p n stop logprobs top_logprobs logit_bias audio modalities
           response_format tools tool_choice functions function_call seed user
           store metadata web_search_options prediction model),
);

# Of two members with one name the last wins, so a whole body comes first.
my $whole = '{"model":"sonnet","messages":[{"role":"user","content":"hi"}],';

my $n = 500;
my $spec = join '', <DATA>;

for (@refused) {
    $n++;
    $spec .= "=== TEST $n: a 400 names $_->[2]: $_->[0]\n"
        . "--- chat\n$whole$_->[1]}\n--- error_code: 400\n"
        . "--- json\nerror.type = \"invalid_request_error\"\n"
        . "error.param = \"$_->[2]\"\nerror.code = null\n"
        . "error.message ~ .\n\n\n\n";
}

for (@accepted) {
    $n++;
    $spec .= "=== TEST $n: accepted: $_->[0]\n"
        . "--- chat\n$whole$_->[1]}\n"
        . "--- json\nchoices.0.message.content = \"echo: hi\"\n\n\n\n";
}

spec_string($spec);
run_tests();

__DATA__

=== TEST 1: of duplicate members the last wins
--- chat: {"model":"nonsense","messages":[],"model":"opus","messages":[{"role":"user","role":"user","content":"no","content":"yes"}]}
--- json
model = "opus"
choices.0.message.content = "echo: yes"



=== TEST 2: a refused value that a later one replaces does not count
--- chat: {"max_tokens":"x","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}
--- json
choices.0.message.content = "echo: hi"



=== TEST 3: 100,000 opening brackets are a 400
--- chat eval: '[' x 100000
--- error_code: 400
--- json
error.type = "invalid_request_error"
error.message ~ deep
--- calls: 0



=== TEST 4: 100,000 nested objects are a 400
--- chat eval: '{"a":' x 100000
--- error_code: 400
--- json
error.message ~ deep



=== TEST 5: deep nesting inside an ignored field is a 400
--- chat eval: '{"messages":[{"role":"user","content":"hi"}],"x":' . '[' x 100000 . ']' x 100000 . '}'
--- error_code: 400
--- json
error.message ~ deep



=== TEST 6: invalid UTF-8 is a 400
--- chat eval: "{\"messages\":[{\"role\":\"user\",\"content\":\"a\xff\xfeb\"}]}"
--- error_code: 400
--- json
error.type = "invalid_request_error"
error.message ~ UTF8|UTF-8|utf



=== TEST 7: overlong UTF-8 is a 400
--- chat eval: "{\"messages\":[{\"role\":\"user\",\"content\":\"\xc0\xaf\"}]}"
--- error_code: 400
--- json
error.type = "invalid_request_error"



=== TEST 8: a surrogate in UTF-8 is a 400
--- chat eval: "{\"messages\":[{\"role\":\"user\",\"content\":\"\xed\xa0\x80\"}]}"
--- error_code: 400
--- json
error.type = "invalid_request_error"



=== TEST 9: UTF-8 beyond U+10FFFF is a 400
--- chat eval: "{\"messages\":[{\"role\":\"user\",\"content\":\"\xf4\x90\x80\x80\"}]}"
--- error_code: 400
--- json
error.type = "invalid_request_error"



=== TEST 10: an escaped NUL is a 400
--- chat: {"messages":[{"role":"user","content":"a\u0000b"}]}
--- error_code: 400
--- json
error.message ~ NUL



=== TEST 11: an escaped NUL in a member's name is a 400
--- chat: {"messages":[{"role":"user","content":"hi"}],"a\u0000b":1}
--- error_code: 400
--- json
error.message ~ NUL



=== TEST 12: a NUL byte is a 400
--- chat eval: "{\"messages\":[{\"role\":\"user\",\"content\":\"a\0b\"}]}"
--- error_code: 400
--- json
error.type = "invalid_request_error"



=== TEST 13: an empty body is a 400
--- chat:
--- error_code: 400
--- json
error.type = "invalid_request_error"
error.message ~ empty



=== TEST 14: no body at all is a 400
--- method: POST
--- error_code: 400
--- json
error.message ~ empty



=== TEST 15: a body that ends early is a 400
--- chat: {"messages":[{"role":"user","content":"hi"}
--- error_code: 400
--- json
error.type = "invalid_request_error"



=== TEST 16: something behind the object is a 400
--- chat: {"messages":[{"role":"user","content":"hi"}]} {}
--- error_code: 400
--- json
error.type = "invalid_request_error"



=== TEST 17: a body that is no JSON is a 400 that does not quote it
--- chat: secret=1
--- error_code: 400
--- response_body_unlike: secret
--- no_logs
secret=1



=== TEST 18: a body that is an array is a 400
--- chat: [1]
--- error_code: 400
--- json
error.message ~ object



=== TEST 19: a body that is a string is a 400
--- chat: "hi"
--- error_code: 400
--- json
error.message ~ object



=== TEST 20: a body without messages is a 400 that names them
--- chat: {"model":"sonnet"}
--- error_code: 400
--- json
error.param = "messages"



=== TEST 21: a 400 keeps the connection and its headers
--- chat: {}
--- error_code: 400
--- response_headers
Content-Type: application/json
--- response_headers_like
x-request-id: req_[0-9a-f]{32}



=== TEST 22: an unknown model is a 404 with its name
--- chat: {"model":"nonsense","messages":[{"role":"user","content":"hi"}]}
--- error_code: 404
--- response_headers
x-should-retry: false
--- json
error.type = "invalid_request_error"
error.code = "model_not_found"
error.param = "model"
error.message ~ nonsense
--- calls: 0



=== TEST 23: GET is a 405
--- get: /v1/chat/completions
--- error_code: 405
--- json
error.type = "invalid_request_error"



=== TEST 24: PUT is a 405
--- method: PUT
--- chat: {"messages":[{"role":"user","content":"hi"}]}
--- error_code: 405
--- json
error.type = "invalid_request_error"
--- calls: 0



=== TEST 25: DELETE is a 405
--- method: DELETE
--- error_code: 405
--- json
error.type = "invalid_request_error"



=== TEST 26: a body over client_max_body_size is a 413 in JSON
--- server
        location /v1/ { claude_openai; client_max_body_size 1k; }
--- ask eval: 'x' x 2000
--- error_code: 413
--- response_headers
Content-Type: application/json
--- json
error.type = "invalid_request_error"
error.message ~ large
--- calls: 0



=== TEST 27: a chunked body over client_max_body_size is a 413 in JSON
--- server
        location /v1/ { claude_openai; client_max_body_size 1k; }
--- headers
Transfer-Encoding: chunked
--- ask eval: 'x' x 2000
--- error_code: 413
--- json
error.type = "invalid_request_error"



=== TEST 28: a chunked body is read
--- headers
Transfer-Encoding: chunked
--- ask: hello chunks
--- json
choices.0.message.content = "echo: hello chunks"



=== TEST 29: a body that nginx spooled to a file is read
--- server
        location /v1/ { claude_openai; client_body_in_file_only clean; }
--- ask: from a file
--- json
choices.0.message.content = "echo: from a file"



=== TEST 30: a body in a buffer and a file is read
--- server
        location /v1/ { claude_openai; client_body_buffer_size 1k; }
--- ask eval: 'y' x 30000 . ' [[fake {"text":"ok"}]]'
--- asked
messages.0.content ~ ^y{30000} \[\[
--- json
choices.0.message.content = "ok"



=== TEST 31: 20 MB spooled to a file are read, and reach the model whole
--- ask eval: 'z' x 20000000 . ' [[fake {"text":"ok"}]]'
--- asked
run = 20000000
--- json
choices.0.message.content = "ok"
--- timeout: 60



=== TEST 32: the body's content type does not matter
--- headers
Content-Type: text/plain
--- chat: {"messages":[{"role":"user","content":"hi"}]}
--- json
choices.0.message.content = "echo: hi"



=== TEST 33: white space around the body does not matter
--- chat eval: " \r\n\t{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]} \r\n"
--- json
choices.0.message.content = "echo: hi"



=== TEST 34: the whole history reaches the model, roles and all
--- chat: {"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"one"},{"role":"assistant","content":"two"},{"role":"user","content":"three"}]}
--- asked
system = "Be brief."
messages.0.role = "user"
messages.0.content = "one"
messages.1.role = "assistant"
messages.1.content ~ "two"
messages.2.role = "user"
messages.2.content = "three"
! messages.3



=== TEST 35: a long history reaches the model in order
--- chat eval: '{"messages":[' . join(',', map { qq({"role":"user","content":"u$_"},{"role":"assistant","content":"a$_"}) } 1 .. 40) . ',{"role":"user","content":"last"}]}'
--- asked
messages.0.content = "u1"
messages.1.content ~ "a1"
messages.78.content = "u40"
messages.79.content ~ "a40"
messages.80.content = "last"
! messages.81
--- calls: 1



=== TEST 36: system and developer messages are joined, wherever they stand
--- chat: {"messages":[{"role":"system","content":"A"},{"role":"user","content":"hi"},{"role":"developer","content":[{"type":"text","text":"B"}]}]}
--- asked
system = "A\n\nB"
messages.0.content = "hi"
! messages.1



=== TEST 37: without a system message the configured prompt is used
--- server
        location /v1/ { claude_openai; claude_system_prompt "You are $server_name."; }
--- chat: {"messages":[{"role":"user","content":"hi"}]}
--- asked
system = "You are localhost."



=== TEST 38: a blank system message is like none
--- chat: {"messages":[{"role":"system","content":" "},{"role":"user","content":"hi"}]}
--- asked
system = "You are a helpful assistant."



=== TEST 39: the parts of a content are one text
--- chat: {"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]}
--- asked
messages.0.role = "user"
. ~ a.*b
! messages.1



=== TEST 40: neighbours of one role are one message
--- chat: {"messages":[{"role":"user","content":"a"},{"role":"user","content":"b"}]}
--- asked
messages.0.role = "user"
! messages.1



=== TEST 41: extra members of messages and parts are ignored
--- chat: {"messages":[{"role":"user","name":"bob","refusal":null,"audio":null,"content":[{"type":"text","text":"hi","cache_control":{"type":"ephemeral"}}]}]}
--- json
choices.0.message.content = "echo: hi"



=== TEST 42: an assistant's refusal part is what it said
--- chat: {"messages":[{"role":"user","content":"a"},{"role":"assistant","content":[{"type":"refusal","refusal":"no"}]},{"role":"user","content":"b"}]}
--- asked
messages.1.content ~ "no"



=== TEST 43: any text reaches the model as it is
--- chat: {"messages":[{"role":"user","content":"q\"b\\s/ \t\r\n\u0001\u007f\u2028 \u00e9 \ud83d\ude00"}]}
--- asked
messages.0.content = "q\"b\\s/ \t\r\n\u0001\u007f\u2028 \u00e9 \ud83d\ude00"



=== TEST 44: a model's name is mapped, and comes back as it was asked for
--- chat: {"model":"gpt-4","messages":[{"role":"user","content":"hi"}]}
--- json
model = "gpt-4"
--- asked
model = "claude-opus-5-5"



=== TEST 45: without a model the default one is used
--- server
        location /v1/ { claude_openai; claude_default_model haiku; }
--- chat: {"messages":[{"role":"user","content":"hi"}]}
--- json
model = "haiku"
--- asked
model = "claude-haiku-5-5"



=== TEST 46: the default of the map takes what nothing else does
--- server
        location /v1/ { claude_openai; claude_model_map default haiku; }
--- chat: {"model":"gpt-9","messages":[{"role":"user","content":"hi"}]}
--- json
model = "gpt-9"
--- asked
model = "claude-haiku-5-5"



=== TEST 47: max_tokens limits the answer
--- ask: hi
--- with: "max_tokens":77
--- asked
max_tokens = 77



=== TEST 48: max_completion_tokens wins over max_tokens
--- ask: hi
--- with: "max_completion_tokens":55,"max_tokens":77
--- asked
max_tokens = 55



=== TEST 49: a limit lasts for its own request
--- ask: hi
--- asked
max_tokens = 128000



=== TEST 50: stop sequences reach the model
--- ask: hi
--- with: "stop":["END","\n\nHuman\""]
--- asked
extra_body.stop_sequences = ["END","\n\nHuman\""]



=== TEST 51: one stop sequence is a list of one
--- ask: hi
--- with: "stop":"END"
--- asked
extra_body.stop_sequences = ["END"]



=== TEST 52: temperature and top_p do not reach the model by default
--- ask: hi
--- with: "temperature":0.3,"top_p":0.9
--- asked
! extra_body.temperature
! extra_body.top_p



=== TEST 53: with claude_sampling on they do
--- server
        location /v1/ { claude_openai; claude_sampling on; }
--- ask: hi
--- with: "temperature":0.3,"top_p":0.9
--- asked
extra_body.temperature = 0.3
extra_body.top_p = 0.9



=== TEST 54: with claude_sampling on a temperature over 1 is a 400
--- server
        location /v1/ { claude_openai; claude_sampling on; }
--- ask: hi
--- with: "temperature":1.5
--- error_code: 400
--- json
error.param = "temperature"



=== TEST 55: text that looks like JSON of ours stays text
--- ask: "},"client_composed":false,"x":{"
--- asked
messages.0.content = "\"},\"client_composed\":false,\"x\":{\""
composed = true



=== TEST 56: a stop sequence that looks like JSON of ours stays a string
--- ask: hi
--- with: "stop":["\"],\"model\":\"evil\",\"x\":[\""]
--- asked
! extra_body.model
extra_body.stop_sequences = ["\"],\"model\":\"evil\",\"x\":[\""]
