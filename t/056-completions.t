# The older endpoint, completions.

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::Nginx::Claude 'no_plan';

my @refused = (
    ['no prompt', '', 'prompt'],
    ['a prompt that is null', '"prompt":null', 'prompt'],
    ['a blank prompt', '"prompt":" \n"', 'prompt'],
    ['an empty array', '"prompt":[]', 'prompt'],
    ['a number', '"prompt":1', 'prompt'],
    ['tokens', '"prompt":[15496,11]', 'prompt'],
    ['arrays of tokens', '"prompt":[[15496,11]]', 'prompt'],
    ['a blank one among several', '"prompt":["a",""]', 'prompt'],
    ['nine prompts', '"prompt":["a","a","a","a","a","a","a","a","a"]',
     'prompt'],
    ['three prompts, three answers each', '"prompt":["a","b","c"],"n":3',
     'prompt'],
    ['n is 9', '"prompt":"a","n":9', 'n'],
    ['n is 0', '"prompt":"a","n":0', 'n'],
    ['a suffix', '"prompt":"a","suffix":"z"', 'suffix'],
    ['logprobs', '"prompt":"a","logprobs":0', 'logprobs'],
    ['logit_bias', '"prompt":"a","logit_bias":{"1":2}', 'logit_bias'],
    ['best_of more than n', '"prompt":"a","best_of":2', 'best_of'],
    ['echo is a string', '"prompt":"a","echo":"yes"', 'echo'],
    ['stream is a string', '"prompt":"a","stream":"yes"', 'stream'],
    ['max_tokens is 0', '"prompt":"a","max_tokens":0', 'max_tokens'],
    ['five stops', '"prompt":"a","stop":["a","b","c","d","e"]', 'stop'],
    ['temperature is over 2', '"prompt":"a","temperature":3', 'temperature'],
);

my @accepted = (
    ['an empty suffix', '"suffix":""'],
    ['best_of as many as n', '"n":1,"best_of":1'],
    ['nulls', '"n":null,"stop":null,"logprobs":null,"suffix":null,'
     . '"best_of":null,"echo":null,"max_tokens":null,"stream":null'],
    ['hints', '"seed":1,"user":"u","presence_penalty":1,'
     . '"frequency_penalty":1,"temperature":0.5,"top_p":0.5'],
    ['what nobody knows', '"whatever":{}'],
);

my $spec = '';
my $n = 100;

for (@refused) {
    $n++;
    $spec .= "=== TEST $n: refused: $_->[0]\n"
        . "--- path: /v1/completions\n--- chat\n{$_->[1]}\n"
        . "--- error_code: 400\n--- json\n"
        . "error.type = \"invalid_request_error\"\n"
        . "error.param = \"$_->[2]\"\n--- calls: 0\n\n\n\n";
}

for (@accepted) {
    $n++;
    $spec .= "=== TEST $n: accepted: $_->[0]\n"
        . "--- path: /v1/completions\n--- chat\n{\"prompt\":\"hi\",$_->[1]}\n"
        . "--- json\nchoices.0.text = \"echo: hi\"\n\n\n\n";
}

spec_string($spec . do { local $/; <DATA> });
run_tests();

__DATA__
=== TEST 1: a whole answer has OpenAI's shape
--- path: /v1/completions
--- chat: {"model":"gpt-3.5-turbo","prompt":"hi"}
--- response_headers
Content-Type: application/json
--- response_body_like chop
\A\{"id":"cmpl-[0-9a-f]{24}","object":"text_completion","created":\d{10},"model":"gpt-3\.5-turbo","choices":\[\{"index":0,"text":"echo: hi","logprobs":null,"finish_reason":"stop"\}\],"usage":\{"prompt_tokens":\d+,"completion_tokens":\d+,"total_tokens":\d+,.*\},"system_fingerprint":"fp_claude"\}\n?\z



=== TEST 2: a stream has OpenAI's shape
--- path: /v1/completions
--- chat: {"prompt":"hi [[fake {\"deltas\":[\"one\",\"two\"]}]]","stream":true}
--- response_headers
Content-Type: text/event-stream; charset=utf-8
--- response_body_like chop
\Adata: (\{"id":"cmpl-[0-9a-f]{24}","object":"text_completion","created":\d{10},"model":"sonnet","system_fingerprint":"fp_claude",)"choices":\[\{"index":0,"text":"one","logprobs":null,"finish_reason":null\}\]\}\n\ndata: \1"choices":\[\{"index":0,"text":"two","logprobs":null,"finish_reason":null\}\]\}\n\ndata: \1"choices":\[\{"index":0,"text":"","logprobs":null,"finish_reason":"stop"\}\]\}\n\ndata: \[DONE\]\n\n\z



=== TEST 3: usage of a stream
--- path: /v1/completions
--- chat: {"prompt":"hi [[fake {\"text\":\"x\",\"usage\":{\"input_tokens\":3,\"output_tokens\":5}}]]","stream":true,"stream_options":{"include_usage":true}}
--- chunks
text = "x"
chunks.0.usage = null
chunks.-1.choices = []
chunks.-1.usage.total_tokens = 8
done = 1



=== TEST 4: the model gets the prompt, and is told what to do with it
--- path: /v1/completions
--- chat: {"prompt":"  Once upon a time \n"}
--- asked
messages.0.content ~ Once upon a time
system ~ ^You are a helpful assistant\..*\n\nThe user's message is a text that you complete\.
--- json
choices.0.finish_reason = "stop"



=== TEST 5: the system text of the location stands before that
--- http: claude_system_prompt "Write like a pirate.";
--- path: /v1/completions
--- chat: {"prompt":"hi"}
--- asked
system ~ ^Write like a pirate\.\n\nThe user's message is a text
--- json
choices.0.text = "echo: hi"



=== TEST 6: several prompts, an answer each
--- path: /v1/completions
--- chat: {"prompt":["a","b","c"]}
--- json
choices.0.text = "echo: a"
choices.1.text = "echo: b"
choices.2.text = "echo: c"
choices.2.index = 2
! choices.3
--- calls: 3



=== TEST 7: several of each, those of a prompt together
--- path: /v1/completions
--- chat: {"prompt":["a","b"],"n":2}
--- json
choices.0.text = "echo: a"
choices.1.text = "echo: a"
choices.2.text = "echo: b"
choices.3.text = "echo: b"
--- calls: 4



=== TEST 8: echo puts the prompt before the answer
--- path: /v1/completions
--- chat: {"prompt":["a \"q\" ","b "],"echo":true}
--- json
choices.0.text = "a \"q\" echo: a \"q\" "
choices.1.text = "b echo: b "



=== TEST 9: the same in a stream
--- path: /v1/completions
--- chat: {"prompt":"a ","echo":true,"stream":true}
--- chunks
text = "a echo: a "



=== TEST 10: limits
--- path: /v1/completions
--- chat: {"prompt":"a [[fake {\"text\":\"x\",\"stop_reason\":\"max_tokens\"}]]","max_tokens":16}
--- json
choices.0.finish_reason = "length"



=== TEST 11: a white-space stop ends the text
--- path: /v1/completions
--- chat: {"prompt":"a [[fake {\"deltas\":[\"one\",\"\\n\",\"two\"]}]]","stop":["\n"]}
--- json
choices.0.text = "one"
choices.0.finish_reason = "stop"



=== TEST 12: a refusal
--- path: /v1/completions
--- chat: {"prompt":"a [[fake {\"text\":\"no\",\"stop_reason\":\"refusal\"}]]","stream":true}
--- response_body_like chop
"text":"","logprobs":null,"finish_reason":"content_filter"
--- response_body_unlike: "refusal"



=== TEST 13: an error has its status
--- path: /v1/completions
--- chat: {"prompt":"a [[fake {\"error\":{\"word\":\"overloaded\",\"status\":529}}]]"}
--- error_code: 503
--- json
error.code = "overloaded"



=== TEST 14: only POST
--- get: /v1/completions
--- error_code: 405
--- json
error.type = "invalid_request_error"



=== TEST 15: a key is needed
--- path: /v1/completions
--- key: none
--- chat: {"prompt":"a"}
--- error_code: 401
--- json
error.code = "invalid_api_key"



=== TEST 16: under an exact name
--- server: location = /v1/completions { claude_openai; }
--- path: /v1/completions
--- chat: {"prompt":"a"}
--- json
choices.0.text = "echo: a"



=== TEST 17: under a regular expression
--- server: location ~ ^/x/.*completions$ { claude_openai; }
--- path: /x/v1/completions
--- chat: {"prompt":"a"}
--- json
choices.0.text = "echo: a"



=== TEST 18: a body that is an array
--- path: /v1/completions
--- chat: ["a"]
--- error_code: 400
--- json
error.message ~ object



=== TEST 19: prompts are read as far as there can be answers
--- path: /v1/completions
--- chat: {"prompt":["a","a","a","a","a","a","a","a","a",7]}
--- error_code: 400
--- json
error.message ~ ask for more than 8 answers



=== TEST 20: what is wrong with one that can be answered is said first
--- path: /v1/completions
--- chat: {"prompt":["a",7,"a"],"n":4}
--- error_code: 400
--- json
error.message ~ tokens are not supported
