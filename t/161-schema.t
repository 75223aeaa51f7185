# Structured output: what becomes of a client's schema on its way to the
# model, and which one cannot be.

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::Nginx::Claude 'no_plan';

# name, the client's schema, the model's

my @rewritten = (
    ['an object is closed',
     '{"type":"object","properties":{"a":{"type":"string"}},"required":["a"]}',
     '{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],'
     . '"additionalProperties":false}'],
    ['an open one as well',
     '{"type":"object","properties":{"a":{"type":"null"}},'
     . '"additionalProperties":true}',
     '{"type":"object","properties":{"a":{"type":"null"}},'
     . '"additionalProperties":false}'],
    ['a name that is required and not there is forgotten',
     '{"type":"object","properties":{"a":{"type":"null"}},'
     . '"required":["b","a"]}',
     '{"type":"object","properties":{"a":{"type":"null"}},"required":["a"],'
     . '"additionalProperties":false}'],
    ['an empty object is one',
     '{"type":"object","properties":{}}',
     '{"type":"object","properties":{},"additionalProperties":false}'],
    ['numbers: their limits are told',
     '{"type":"integer","minimum":0,"exclusiveMaximum":1e3,'
     . '"description":"An age."}',
     '{"type":"integer","description":"An age.\\n\\n'
     . '{\"minimum\":0,\"exclusiveMaximum\":1e3}"}'],
    ['strings: their limits are told, too',
     '{"type":"string","minLength":2,"pattern":"^[a-z]+$"}',
     '{"type":"string","description":'
     . '"{\"minLength\":2,\"pattern\":\"^[a-z]+$\"}"}'],
    ['a format that the API knows stays',
     '{"type":"string","format":"date-time"}',
     '{"type":"string","format":"date-time"}'],
    ['another is told',
     '{"type":"string","format":"phone"}',
     '{"type":"string","description":"{\"format\":\"phone\"}"}'],
    ['a default is told', '{"type":"boolean","default":false}',
     '{"type":"boolean","description":"{\"default\":false}"}'],
    ['arrays: minItems 1 stays, maxItems is told',
     '{"type":"array","items":{"type":"number"},"minItems":1,"maxItems":9}',
     '{"type":"array","items":{"type":"number"},"minItems":1,'
     . '"description":"{\"maxItems\":9}"}'],
    ['arrays: minItems 3 is told',
     '{"type":"array","items":{"type":"number"},"minItems":3}',
     '{"type":"array","items":{"type":"number"},'
     . '"description":"{\"minItems\":3}"}'],
    ['an array of anything has scalars', '{"type":"array"}',
     '{"type":"array","items":{"anyOf":[{"type":"string"},{"type":"number"},'
     . '{"type":"boolean"},{"type":"null"}]}}'],
    ['a tuple has items of its kinds',
     '{"type":"array","prefixItems":[{"type":"string"},{"type":"number"}]}',
     '{"type":"array","items":{"anyOf":[{"type":"string"},'
     . '{"type":"number"}]},"description":"{\"prefixItems\":'
     . '[{\"type\":\"string\"},{\"type\":\"number\"}]}"}'],
    ['an older tuple as well',
     '{"type":"array","items":[{"type":"string"}],"maxItems":1}',
     '{"type":"array","items":{"anyOf":[{"type":"string"}]},'
     . '"description":"{\"items\":[{\"type\":\"string\"}],\"maxItems\":1}"}'],
    ['several types are alternatives', '{"type":["string","null"]}',
     '{"anyOf":[{"type":"string"},{"type":"null"}]}'],
    ['one type in a list is that', '{"type":["string"]}',
     '{"type":"string"}'],
    ['an enum of several types is dealt out',
     '{"type":["string","null"],"enum":["F","C",null]}',
     '{"anyOf":[{"type":"string","enum":["F","C"]},'
     . '{"type":"null","enum":[null]}]}'],
    ['a null that a schema without type allows',
     '{"anyOf":[{"type":"string"},{"type":"null"}],"title":"Name"}',
     '{"anyOf":[{"type":"string"},{"type":"null"}],"title":"Name"}'],
    ['oneOf is anyOf', '{"oneOf":[{"type":"string"},{"type":"number"}]}',
     '{"anyOf":[{"type":"string"},{"type":"number"}]}'],
    ['const stays', '{"const":"circle"}', '{"const":"circle"}'],
    ['const with its type', '{"type":"string","const":"circle"}',
     '{"type":"string","const":"circle"}'],
    ['an enum without a type', '{"enum":[1,"a",true,null]}',
     '{"enum":[1,"a",true,null]}'],
    ['properties make an object', '{"properties":{"a":{"type":"null"}}}',
     '{"type":"object","properties":{"a":{"type":"null"}},'
     . '"additionalProperties":false}'],
    ['the words about the schema itself are dropped',
     '{"$schema":"x","$id":"y","$comment":"z","type":"null"}',
     '{"type":"null"}'],
    ['a definition stays one',
     '{"type":"object","properties":{"a":{"$ref":"#/$defs/A"},'
     . '"b":{"$ref":"#/$defs/A"}},"$defs":{"A":{"type":"string",'
     . '"maxLength":3},"Unused":{"type":"string"}}}',
     '{"type":"object","properties":{"a":{"$ref":"#/$defs/A_1"},'
     . '"b":{"$ref":"#/$defs/A_1"}},"additionalProperties":false,'
     . '"$defs":{"A_1":{"type":"string",'
     . '"description":"{\"maxLength\":3}"}}}'],
    ['the older word for definitions, and a pointer with escapes',
     '{"type":"array","items":{"$ref":"#/definitions/a~1b%25"},'
     . '"definitions":{"a/b%":{"type":"null"}}}',
     '{"type":"array","items":{"$ref":"#/$defs/a1b25_1"},'
     . '"$defs":{"a1b25_1":{"type":"null"}}}'],
    ['a reference into another property',
     '{"type":"object","properties":{"a":{"type":"string"},'
     . '"b":{"$ref":"#/properties/a"}}}',
     '{"type":"object","properties":{"a":{"type":"string"},'
     . '"b":{"$ref":"#/$defs/a_1"}},"additionalProperties":false,'
     . '"$defs":{"a_1":{"type":"string"}}}'],
    ['a root that only refers',
     '{"$ref":"#/definitions/A","definitions":{"A":{"type":"object",'
     . '"properties":{"x":{"type":"null"}}}}}',
     '{"type":"object","properties":{"x":{"type":"null"}},'
     . '"additionalProperties":false}'],
    ['a description beside a reference',
     '{"type":"object","properties":{"a":{"$ref":"#/$defs/A",'
     . '"description":"The a."}},"$defs":{"A":{"type":"null"}}}',
     '{"type":"object","properties":{"a":{"anyOf":[{"$ref":"#/$defs/A_1"}],'
     . '"description":"The a."}},"additionalProperties":false,'
     . '"$defs":{"A_1":{"type":"null"}}}'],
    ['an allOf with one reference is that',
     '{"type":"object","properties":{"a":{"allOf":[{"$ref":"#/$defs/A"}],'
     . '"default":1}},"$defs":{"A":{"type":"null"}}}',
     '{"type":"object","properties":{"a":{"$ref":"#/$defs/A_1"}},'
     . '"additionalProperties":false,"$defs":{"A_1":{"type":"null"}}}'],
    ['an allOf of objects is one object',
     '{"allOf":[{"type":"object","properties":{"a":{"type":"null"}},'
     . '"required":["a"]},{"$ref":"#/$defs/B"}],"$defs":{"B":{'
     . '"type":"object","properties":{"b":{"type":"string"}},'
     . '"required":["b"]}}}',
     '{"type":"object","properties":{"a":{"type":"null"},'
     . '"b":{"type":"string"}},"required":["a","b"],'
     . '"additionalProperties":false}'],
    ['recursion has four levels, and then none',
     '{"type":"object","properties":{"v":{"type":"number"},'
     . '"next":{"anyOf":[{"$ref":"#"},{"type":"null"}]}},'
     . '"required":["v","next"]}',
     '{"type":"object","properties":{"v":{"type":"number"},"next":{"anyOf":'
     . '[{"$ref":"#/$defs/root_1"},{"type":"null"}]}},"required":["v","next"],'
     . '"additionalProperties":false,"$defs":{'
     . '"root_1":{"type":"object","properties":{"v":{"type":"number"},'
     . '"next":{"anyOf":[{"$ref":"#/$defs/root_2"},{"type":"null"}]}},'
     . '"required":["v","next"],"additionalProperties":false},'
     . '"root_2":{"type":"object","properties":{"v":{"type":"number"},'
     . '"next":{"anyOf":[{"$ref":"#/$defs/root_3"},{"type":"null"}]}},'
     . '"required":["v","next"],"additionalProperties":false},'
     . '"root_3":{"type":"object","properties":{"v":{"type":"number"},'
     . '"next":{"anyOf":[{"type":"null"}]}},'
     . '"required":["v","next"],"additionalProperties":false}}}'],
    ['an optional property that would never end is left out in the end',
     '{"type":"object","properties":{"a":{"$ref":"#/$defs/A"}},'
     . '"$defs":{"A":{"type":"object","properties":{'
     . '"a":{"$ref":"#/$defs/A"}}}}}',
     '{"type":"object","properties":{"a":{"$ref":"#/$defs/A_1"}},'
     . '"additionalProperties":false,"$defs":{'
     . '"A_4":{"type":"object","properties":{},'
     . '"additionalProperties":false},'
     . '"A_3":{"type":"object","properties":{"a":{"$ref":"#/$defs/A_4"}},'
     . '"additionalProperties":false},'
     . '"A_2":{"type":"object","properties":{"a":{"$ref":"#/$defs/A_3"}},'
     . '"additionalProperties":false},'
     . '"A_1":{"type":"object","properties":{"a":{"$ref":"#/$defs/A_2"}},'
     . '"additionalProperties":false}}}'],
    ['and an array is empty in the end',
     '{"type":"object","properties":{"c":{"type":"array",'
     . '"items":{"$ref":"#"}}},"required":["c"]}',
     '{"type":"object","properties":{"c":{"type":"array",'
     . '"items":{"$ref":"#/$defs/root_1"}}},"required":["c"],'
     . '"additionalProperties":false,"$defs":{'
     . join(',', map { my $last = $_ == 3;
         '"root_' . $_ . '":{"type":"object","properties":{"c":{"type":"array",'
         . ($last ? '"items":{"type":"null"},'
                    . '"description":"This array must be empty."'
                  : '"items":{"$ref":"#/$defs/root_' . ($_ + 1) . '"}')
         . '}},"required":["c"],"additionalProperties":false}' } 1 .. 3)
     . '}}'],
    ['an allOf is the same at each level of a recursion',
     '{"$ref":"#/$defs/A","$defs":{"A":{"properties":{"a":{"anyOf":['
     . '{"$ref":"#/$defs/A"},{"type":"null"}]}},"allOf":[{"properties":{'
     . '"b":{"type":"null"}},"required":["b"]}]}}}',
     '{"type":"object","properties":{"a":{"anyOf":[{"$ref":"#/$defs/A_1"},'
     . '{"type":"null"}]},"b":{"type":"null"}},"required":["b"],'
     . '"additionalProperties":false,"$defs":{' . join(',', map { my $n = $_;
         "\"A_$n\":" . '{"type":"object","properties":{"a":{"anyOf":['
         . ($n < 3 ? '{"$ref":"#/$defs/A_' . ($n + 1) . '"},' : '')
         . '{"type":"null"}]},"b":{"type":"null"}},"required":["b"],'
         . '"additionalProperties":false}' } 3, 2, 1) . '}}'],
    ['two that hold each other',
     '{"$ref":"#/$defs/A","$defs":{"A":{"type":"object","properties":{'
     . '"b":{"$ref":"#/$defs/B"}}},"B":{"type":"object","properties":{'
     . '"a":{"$ref":"#/$defs/A"}}}}}',
     undef],
);

my @refused = (
    ['it is not an object', '[]', 'must be an object'],
    ['a map', '{"type":"object","additionalProperties":{"type":"string"}}',
     "'#' is an object with members of any name"],
    ['a map inside', '{"type":"object","properties":{"m":{"type":"object"}}}',
     "'#/properties/m' is an object with members of any name"],
    ['a required property that never ends',
     '{"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]}',
     "'#' has no value that satisfies it and ends"],
    ['a reference to itself', '{"$ref":"#"}', "'#' has no value"],
    ['a reference to nothing',
     '{"type":"array","items":{"$ref":"#/$defs/A"}}',
     "'#/items' refers to what is not in the schema"],
    ['a reference elsewhere',
     '{"type":"array","items":{"$ref":"https://example.com/a"}}',
     "'#/items' refers to what is not in the schema"],
    ['a type that is none', '{"type":"text"}',
     "'#' has a 'type' that JSON has not"],
    ['a type that is a number', '{"type":1}', "'#' has a 'type'"],
    ['an enum with an object', '{"enum":[{}]}',
     "'#' has an 'enum' with a value that is not a scalar"],
    ['an empty anyOf', '{"anyOf":[]}', "'#' has an 'anyOf'"],
    ['an allOf of two types',
     '{"allOf":[{"type":"string"},{"type":"number"}]}',
     "'#' has an 'allOf' of different types"],
    ['an allOf with one property twice',
     '{"allOf":[{"properties":{"a":{}}},{"properties":{"a":{}}}]}',
     "one property twice"],
    ['an allOf of an object and a list',
     '{"allOf":[{"properties":{"a":{}}},{"properties":[{"type":"text"}]}]}',
     "'#' has an 'allOf' with 'properties' that are not an object"],
    ['an allOf around itself', '{"allOf":[{"$ref":"#"}]}', "'#"],
    ['an enum of 20,000', '{"enum":[' . join(',', 1 .. 20000) . ']}',
     'too large'],
    ['a place of long names, of which a message has the last',
     '{"properties":{"' . 'n' x 5000 . '":{"properties":{"' . 'm' x 5000
     . '":1}}}}', "'#/properties/" . 'n' x 128 . '.../properties/' . 'm' x 128
     . "...' is not a schema"],
    ['a place of long names that is deep',
     ('{"properties":{"' . 'n' x 200 . '":') x 10 . '1' . '}}' x 10,
     "cannot be done: '.../properties/" . 'n' x 128 . '.../properties/'],
    ['lists of types that make much of little',
     ('{"type":["object","array","object","array","object","array","object"],'
      . '"properties":{"a":') x 20 . '{}' . '}}' x 20,
     'makes the schemas of the request too large'],
    ['words that are repeated',
     ('{"type":["object","object","object","object","object","object"],'
      . '"properties":{"a":') x 5 . '{"x":"' . 'y' x 20000 . '"}' . '}}' x 5,
     'makes the schemas of the request too large'],
    ['parts that are repeated',
     '{"allOf":[' . join(',', ('{"$ref":"#/$defs/A"}') x 2000)
     . '],"$defs":{"A":{' . join(',', map { "\"x$_\":1" } 1 .. 2000) . '}}}',
     'makes the schemas of the request too large'],
    ['references that make much of little',
     '{"$defs":{' . join(',', map { "\"d$_\":{\"type\":\"object\",\"properties"
         . "\":{\"a\":{\"\$ref\":\"#/\$defs/d" . ($_ + 1) . "\"},\"b\":"
         . "{\"\$ref\":\"#\"}}}" } 0 .. 600)
     . ',"d601":{"type":"null"}},"$ref":"#/$defs/d0"}', "'"],
);

# members of a body that is large, and what the model is asked, of which a
# million bytes are not looked into

my @large = (
    ['10,000 tools',
     '"tools":[' . join(',', map { '{"type":"function","function":{"name":"t'
                                   . "$_\"}}" } 0 .. 9999) . ']',
     'bytes ~ ^[1-9]\d{6}$'],
    ['10,000 tools, of which one must be called',
     '"tools":[' . join(',', map { '{"type":"function","function":{"name":"t'
                                   . "$_\"}}" } 0 .. 9999)
     . '],"tool_choice":"required"',
     'bytes ~ ^[1-9]\d{6}$'],
    ['5,000 properties, all required',
     '"tools":[{"type":"function","function":{"name":"t","strict":true,'
     . '"parameters":{"type":"object","properties":{'
     . join(',', map { "\"p$_\":{\"type\":\"string\"}" } 0 .. 4999)
     . '},"required":[' . join(',', map { "\"p$_\"" } reverse 0 .. 4999)
     . ']}}}]',
     "extra_body.tools.0.input_schema.required.4999 = \"p4999\"\n"
     . 'extra_body.tools.0.input_schema.properties.p4999 = {"type":"string"}'],
    ['properties of any kind, as many as there may be',
     '"tools":[{"type":"function","function":{"name":"t","strict":true,'
     . '"parameters":{"type":"object","properties":{'
     . join(',', map { "\"p$_\":{}" } 1 .. 19000) . '}}}}]',
     'bytes ~ ^[1-9]\d{6}$'],
    ['an enum of 10,000',
     '"response_format":{"type":"json_schema","json_schema":{"name":"n",'
     . '"schema":{"type":"string","enum":['
     . join(',', map { "\"v$_\"" } 0 .. 9999) . ']}}}',
     'extra_body.output_config.format.schema.enum.9999 = "v9999"'],
    ['an enum of 15,000 of several types',
     '"response_format":{"type":"json_schema","json_schema":{"name":"n",'
     . '"schema":{"type":["string","null"],"enum":[null,'
     . join(',', map { "\"v$_\"" } 1 .. 14999) . ']}}}',
     'extra_body.output_config.format.schema.anyOf.0.enum.14998 = "v14999"'
     . "\nextra_body.output_config.format.schema.anyOf.1.enum = [null]"],
    ['references into 5,000 definitions',
     '"response_format":{"type":"json_schema","json_schema":{"name":"n",'
     . '"schema":{"properties":{'
     . join(',', map { "\"p$_\":{\"\$ref\":\"#/\$defs/d" . (5000 - $_)
                       . '"}' } 1 .. 400)
     . '},"$defs":{'
     . join(',', map { "\"d$_\":{\"const\":$_}" } 1 .. 5000) . '}}}}',
     'extra_body.output_config.format.schema.$defs.d4600_400 = '
     . '{"const":4600}'],
    ['of a word on top that comes again, the last',
     '"tools":[{"type":"function","function":{"name":"t","description":"D",'
     . '"parameters":{' . '"anyOf":1,' x 100 . '"anyOf":[{"required":["a"]}],'
     . '"properties":{"a":{}}}}}]',
     'extra_body.tools.0.description = "D\\n\\nThe arguments also match, as '
     . 'JSON Schema\'s anyOf: [{\\"required\\":[\\"a\\"]}]"'],
);

my ($n, $spec) = (100, join '', <DATA>);

for (@large) {
    my ($name, $with, $asked) = @$_;
    $n++;
    $spec .= "=== TEST $n: $name\n--- ask: hi\n--- with: $with\n--- asked\n"
        . "$asked\n\n\n\n";
}

for (@rewritten) {
    my ($name, $schema, $want) = @$_;
    $n++;
    $spec .= "=== TEST $n: $name\n--- ask: hi\n--- with: \"response_format\":"
        . "{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\","
        . "\"strict\":true,\"schema\":$schema}}\n--- asked\n"
        . (defined $want
           ? "extra_body.output_config = {\"effort\":\"medium\",\"format\":{\"type\":"
             . "\"json_schema\",\"schema\":$want}}\n"
           : "extra_body.output_config.format.type = \"json_schema\"\n")
        . "\n\n\n";
}

for (@refused) {
    my ($name, $schema, $why) = @$_;
    $n++;
    $spec .= "=== TEST $n: a 400 says why: $name\n--- ask: hi\n--- with: "
        . "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":"
        . "{\"name\":\"n\",\"schema\":$schema}}\n--- error_code: 400\n"
        . "--- json\nerror.param = \"response_format.json_schema.schema\"\n"
        . "error.message ~ " . quotemeta($why) . "\n--- calls: 0\n\n\n\n";
}

spec_string($spec);
run_tests();

__DATA__

=== TEST 1: json_schema must be there
--- ask: hi
--- with: "response_format":{"type":"json_schema"}
--- error_code: 400
--- json
error.param = "response_format.json_schema"



=== TEST 2: a schema must be there
--- ask: hi
--- with: "response_format":{"type":"json_schema","json_schema":{"name":"n"}}
--- error_code: 400
--- json
error.param = "response_format.json_schema.schema"



=== TEST 3: another type is refused by name
--- ask: hi
--- with: "response_format":{"type":"grammar"}
--- error_code: 400
--- json
error.param = "response_format.type"



=== TEST 4: a string is not a format
--- ask: hi
--- with: "response_format":"json"
--- error_code: 400
--- json
error.param = "response_format"



=== TEST 5: the format's description is the schema's, if that has none
--- ask: hi
--- with: "response_format":{"type":"json_schema","json_schema":{"name":"n","description":"A thing.","schema":{"type":"null"}}}
--- asked
extra_body.output_config.format.schema = {"type":"null","description":"A thing."}



=== TEST 6: without a format there is none, also after one
--- ask: hi
--- asked
extra_body.output_config = {"effort":"medium"}



=== TEST 7: a stream, with stop sequences beside it
--- ask: hi
--- fake: {"deltas":["{\"a\"",":1}"]}
--- with: "stream":true,"stop":["X"],"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"type":"object","properties":{"a":{"type":"integer"}}}}}
--- chunks
text = "{\"a\":1}"
--- asked
extra_body.stop_sequences = ["X"]
extra_body.output_config.format.type = "json_schema"
