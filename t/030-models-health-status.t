# The pages beside the chat: models, health and status.

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::Nginx::Claude 'no_plan';

run_tests();

__DATA__

=== TEST 1: the list of models has OpenAI's shape
--- get: /v1/models
--- response_headers
Content-Type: application/json
--- response_headers_like
x-request-id: req_[0-9a-f]{32}
--- json
object = "list"
data.0.object = "model"
data.0.id ~ ^[-a-z0-9.]+$
data.0.created ~ ^\d+$
data.0.owned_by = "anthropic"
--- calls: 0



=== TEST 2: the list has the aliases and the mapped names
--- get: /v1/models
--- json
. ~ "id":"sonnet"
. ~ "id":"opus"
. ~ "id":"haiku"
. ~ "id":"gpt-4o"
. ~ "id":"gpt-3.5-turbo"



=== TEST 3: a map of one's own replaces the default one
--- server
        location /v1/ { claude_openai; claude_model_map mine opus; }
--- get: /v1/models
--- json
. ~ "id":"mine"
. ~ ^(?!.*gpt-4)



=== TEST 4: "default" is no name to list
--- server
        location /v1/ { claude_openai; claude_model_map default opus; }
--- get: /v1/models
--- json
. ~ ^(?!.*"id":"default")



=== TEST 5: one model by its name
--- get: /v1/models/gpt-4o
--- json
id = "gpt-4o"
object = "model"
owned_by = "anthropic"



=== TEST 6: a full Claude name is a model
--- get: /v1/models/claude-opus-5-5
--- json
id = "claude-opus-5-5"



=== TEST 7: an unknown model is a 404 with model_not_found
--- get: /v1/models/nonsense
--- error_code: 404
--- response_headers
x-should-retry: false
--- json
error.type = "invalid_request_error"
error.code = "model_not_found"
error.param = "model"
error.message ~ nonsense



=== TEST 8: a name with a quote comes back escaped
--- get: /v1/models/a%22%0Ab
--- error_code: 404
--- json
error.message ~ a"\nb



=== TEST 9: with a default of the map every name is a model
--- server
        location /v1/ { claude_openai; claude_model_map default opus; }
--- get: /v1/models/whatever
--- json
id = "whatever"



=== TEST 10: HEAD is answered without a body
--- request
HEAD /v1/models
--- raw_request eval
"HEAD /v1/models HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer sk-test\r\n\r\n"
--- response_headers
Content-Type: application/json
--- response_body:



=== TEST 11: POST to the models is a 405
--- path: /v1/models
--- chat: {}
--- error_code: 405
--- json
error.type = "invalid_request_error"
error.message ~ .



=== TEST 12: an unknown path is a 404 that tells the method and the path
--- get: /v1/embeddings
--- error_code: 404
--- json
error.type = "invalid_request_error"
error.code = "unknown_url"
error.message ~ GET /v1/embeddings



=== TEST 13: a path that only begins like one is a 404
--- get: /v1/modelsx
--- error_code: 404
--- json
error.code = "unknown_url"



=== TEST 14: a prefix of one's own, without a slash at its end
--- server
        location /ai { claude_openai; }
--- get: /ai/models
--- json
object = "list"



=== TEST 15: a location of a regular expression
--- server
        location ~ ^/x/(v\d+)/ { claude_openai; }
--- get: /x/v1/models/opus
--- json
id = "opus"



=== TEST 16: an exact location for the chat alone
--- server
        location = /one/chat/completions { claude_openai; }
--- path: /one/chat/completions
--- ask: hi
--- json
choices.0.message.content = "echo: hi"



=== TEST 17: an exact location for the models alone
--- server
        location = /one/models { claude_openai; }
--- get: /one/models
--- json
object = "list"



=== TEST 18: health needs no key
--- server
        location = /health { claude_health; }
--- get: /health
--- key: none
--- response_headers
Content-Type: application/json
--- json
status = "ok"
module ~ ^\d+\.\d+
turns = 0
waiting = 0
processes ~ ^\d+$



=== TEST 20: POST to health is a 405
--- server
        location = /health { claude_health; }
--- path: /health
--- chat: {}
--- error_code: 405
--- json
error.type = "invalid_request_error"



=== TEST 21: status needs a key
--- server
        location = /status { claude_status; }
--- get: /status
--- key: none
--- error_code: 401
--- json
error.code = "invalid_api_key"



=== TEST 22: status as JSON
--- server
        location = /status { claude_status; }
--- get: /status
--- json
module ~ ^\d
limits.concurrent = 10
limits.queue = 100
limits.processes = 20
turns.running = 0
turns.waiting = 0
turns.finished = 0
turns.failed = 0
processes ~ ^\[
rungs.cold ~ ^\d+$
tokens.prompt = 0
tokens.completion = 0
spawned ~ ^\d+$
died = 0



=== TEST 23: status tells the limits of the configuration
--- http
    claude_max_concurrent 3; claude_queue 7; claude_max_processes 5;
--- server
        location = /status { claude_status; }
--- get: /status
--- json
limits.concurrent = 3
limits.queue = 7
limits.processes = 5



=== TEST 24: status as Prometheus text
--- server
        location = /status { claude_status; }
--- get: /status?format=prometheus
--- response_headers_like
Content-Type: text/plain; version=0\.0\.4.*
--- response_body_like
# TYPE claude_turns gauge.*# TYPE claude_processes gauge.*# TYPE claude_turns_total counter.*# TYPE claude_tokens_total counter



=== TEST 25: status needs a key
--- server
        location = /status { claude_status; }
--- key: none
--- get: /status?format=prometheus
--- error_code: 401
--- json
error.code = "invalid_api_key"



=== TEST 26: an error of nginx's own in a health location is JSON
--- server
        location = /health { claude_health; deny all; }
--- get: /health
--- error_code: 403
--- json
error.type = "invalid_request_error"



=== TEST 27: a CLI that has no list of models answers all the same
--- start: {"refuse":["list_models"]}
--- ask: hi
--- json
choices.0.message.content = "echo: hi"
--- calls: 1
