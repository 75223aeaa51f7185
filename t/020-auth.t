# API keys: who is let in, how others are told, and what stays nginx's.

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::Nginx::Claude 'no_plan';

run_tests();

__DATA__

=== TEST 1: a right key is let in
--- ask: hi
--- json
choices.0.message.content = "echo: hi"



=== TEST 2: no key is a 401 with invalid_api_key
--- ask: hi
--- key: none
--- error_code: 401
--- response_headers
Content-Type: application/json
--- json
error.type = "invalid_request_error"
error.code = "invalid_api_key"
error.param = null
error.message ~ .
--- calls: 0



=== TEST 3: a wrong key is a 401 with invalid_api_key
--- ask: hi
--- key: sk-tesT
--- error_code: 401
--- json
error.code = "invalid_api_key"
--- calls: 0



=== TEST 4: the beginning of a key is no key
--- ask: hi
--- key: sk-tes
--- error_code: 401
--- json
error.code = "invalid_api_key"



=== TEST 5: a key with something behind is no key
--- ask: hi
--- key: sk-testx
--- error_code: 401
--- json
error.code = "invalid_api_key"



=== TEST 6: a 401 says that a retry cannot help
--- ask: hi
--- key: none
--- error_code: 401
--- response_headers
x-should-retry: false



=== TEST 7: the key is not told in the answer or in the log
--- ask: hi
--- key: sk-secretsecret
--- error_code: 401
--- response_body_unlike: secretsecret
--- no_logs
secretsecret



=== TEST 8: the scheme is case-insensitive
--- get: /v1/models
--- key: none
--- headers
Authorization: bEaReR sk-test
--- json
object = "list"



=== TEST 9: another scheme is no key
--- get: /v1/models
--- key: none
--- headers
Authorization: Basic c2stdGVzdA==
--- error_code: 401
--- json
error.code = "invalid_api_key"



=== TEST 10: an empty key is no key
--- get: /v1/models
--- key: none
--- headers
Authorization: Bearer 
--- error_code: 401
--- json
error.code = "invalid_api_key"



=== TEST 11: each of several keys is let in
--- get: /v1/models
--- key: sk-other
--- json
object = "list"



=== TEST 12: claude_auth off needs no key
--- server
        location /v1/ { claude_openai; claude_auth off; }
--- get: /v1/models
--- key: none
--- json
object = "list"



=== TEST 13: keys of a location replace those around it
--- server
        location /v1/ { claude_openai; claude_api_key sk-inner; }
--- get: /v1/models
--- error_code: 401
--- json
error.code = "invalid_api_key"



=== TEST 14: a key of the location itself is let in
--- server
        location /v1/ { claude_openai; claude_api_key sk-inner; }
--- get: /v1/models
--- key: sk-inner
--- json
object = "list"



=== TEST 15: keys come from a file as well, comments and blanks aside
--- server
        location /v1/ { claude_openai; claude_api_key_file keys; }
--- user_files
>>> ../conf/keys
# the first

alice:sk-alice
  bob:sk-bob
--- get: /v1/models
--- key: sk-bob
--- json
object = "list"



=== TEST 16: a key in a comment of the file is no key
--- server
        location /v1/ { claude_openai; claude_api_key_file keys; }
--- user_files
>>> ../conf/keys
# carol:sk-carol
alice:sk-alice
--- get: /v1/models
--- key: sk-carol
--- error_code: 401
--- json
error.code = "invalid_api_key"



=== TEST 17: a key may hold colons
--- server
        location /v1/ { claude_openai; claude_api_key_file keys; add_header X-Name $claude_key_name always; }
--- user_files
>>> ../conf/keys
dora:sk:with:colons
--- get: /v1/models
--- key: sk:with:colons
--- response_headers
X-Name: dora



=== TEST 18: satisfy any: an address that is allowed does not replace the key
--- server
        location /v1/ { claude_openai; satisfy any; allow 127.0.0.1; deny all; }
--- get: /v1/models
--- key: none
--- error_code: 401
--- json
error.code = "invalid_api_key"



=== TEST 19: satisfy any: the key opens to an address that is denied
--- server
        location /v1/ { claude_openai; satisfy any; deny all; }
--- get: /v1/models
--- json
object = "list"



=== TEST 20: satisfy all: the key does not open to an address that is denied
--- server
        location /v1/ { claude_openai; satisfy all; deny all; }
--- get: /v1/models
--- error_code: 403
--- json
error.type = "invalid_request_error"



=== TEST 21: the key is asked for before the path is known
--- get: /v1/nowhere
--- key: none
--- error_code: 401
--- json
error.code = "invalid_api_key"



=== TEST 22: a subrequest has the key of its client, and no other
--- server
        location /v1/ { claude_openai; satisfy any; allow all; }
        location /sub { auth_request /v1/models; }
--- get: /sub
--- key: none
--- error_code: 401
--- response_body_unlike: "object"



=== TEST 23: access that auth_basic grants does not replace the key
--- server
        location /v1/ { claude_openai; satisfy any; auth_basic x; auth_basic_user_file pw; }
--- user_files
>>> ../conf/pw
u:{PLAIN}p
--- get: /v1/models
--- key: none
--- headers
Authorization: Basic dTpw
--- error_code: 401
--- json
error.code = "invalid_api_key"
