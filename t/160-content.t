# Images and files in messages: what reaches the model, and what is refused by
# the name of its part.

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::Nginx::Claude 'no_plan';
use MIME::Base64 ();

sub b64 { return MIME::Base64::encode_base64($_[0], '') }

my %image = (
    png  => b64("\x89PNG\r\n\x1a\n" . "\0" x 22),
    jpeg => b64("\xff\xd8\xff\xe0" . "\0" x 20),
    gif  => b64("GIF89a" . "\0" x 20),
    webp => b64("RIFF\x1a\0\0\0WEBPVP8 " . "\0" x 20),
);
my $pdf = b64("%PDF-1.4\n" . "x" x 50);

sub image { return "{\"type\":\"image_url\",\"image_url\":{\"url\":\"$_[0]\"}}" }
sub file {
    my ($data, $more) = @_;
    return "{\"type\":\"file\",\"file\":{\"file_data\":\"$data\""
        . ($more // '') . "}}";
}
sub text { return "{\"type\":\"text\",\"text\":\"$_[0]\"}" }

# name, the part, the block

my @taken = (
    (map { ["a data URL of a $_", image("data:image/$_;base64,$image{$_}"),
            "{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":"
            . "\"image/$_\",\"data\":\"$image{$_}\"}}"] }
         sort keys %image),
    ['its type is known by another name, too',
     image("data:image/JPG;base64,$image{jpeg}"),
     "{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":"
     . "\"image/jpeg\",\"data\":\"$image{jpeg}\"}}"],
    ['a URL of https', image('https://example.com/a.png?b=c#d'),
     '{"type":"image","source":{"type":"url",'
     . '"url":"https://example.com/a.png?b=c#d"}}'],
    ['detail is taken', '{"type":"image_url","image_url":{"detail":"high",'
     . '"url":"https://example.com/"}}',
     '{"type":"image","source":{"type":"url","url":"https://example.com/"}}'],
    ['a PDF', file("data:application/pdf;base64,$pdf"),
     "{\"type\":\"document\",\"source\":{\"type\":\"base64\",\"media_type\":"
     . "\"application/pdf\",\"data\":\"$pdf\"}}"],
    ['its name is the title',
     file("data:application/pdf;base64,$pdf", ',"filename":"a \"b\".pdf"'),
     "{\"type\":\"document\",\"source\":{\"type\":\"base64\",\"media_type\":"
     . "\"application/pdf\",\"data\":\"$pdf\"},\"title\":\"a \\\"b\\\".pdf\"}"],
    ['a text', file('data:text/plain;charset=utf-8;base64,'
                    . b64("\xc3\xa4 \"b\"\n")),
     '{"type":"document","source":{"type":"text","media_type":"text/plain",'
     . '"data":"\u00e4 \"b\"\n"}}'],
    ['Markdown', file('data:text/markdown;base64,' . b64('# a')),
     '{"type":"document","source":{"type":"text","media_type":"text/plain",'
     . '"data":"# a"}}'],
    ['JSON', file('data:application/json;base64,' . b64('{}')),
     '{"type":"document","source":{"type":"text","media_type":"text/plain",'
     . '"data":"{}"}}'],
);

# name, the part, the field, why

my @refused = (
    ['image_url is missing', '{"type":"image_url"}', '.image_url', 'object'],
    ['image_url is a string', '{"type":"image_url","image_url":"https://a/"}',
     '.image_url', 'object'],
    ['url is missing', '{"type":"image_url","image_url":{}}',
     '.image_url.url', 'string'],
    ['url is a path', image('/etc/passwd'), '.image_url.url', 'data URL'],
    ['url is a file', image('file:///etc/passwd'), '.image_url.url',
     'data URL'],
    ['url is of http', image('http://example.com/a.png'), '.image_url.url',
     'https'],
    ['url has no host', image('https:///a'), '.image_url.url', 'data URL'],
    ['url has a space', image('https://a/ b'), '.image_url.url', 'data URL'],
    ['url is endless', image('https://a/' . 'b' x 8192), '.image_url.url',
     '8192'],
    ['data without base64', image('data:image/png,abc'), '.image_url.url',
     'look like'],
    ['data without a comma', image('data:image/png;base64'),
     '.image_url.url', 'look like'],
    ['data of no type', image("data:;base64,$image{png}"), '.image_url.url',
     'has a type'],
    ['an image of another type', image("data:image/svg+xml;base64,AAAA"),
     '.image_url.url', 'has a type'],
    ['a PNG that is a GIF', image("data:image/png;base64,$image{gif}"),
     '.image_url.url', 'of another type than it says'],
    ['a PNG that is a text', image('data:image/png;base64,aGVsbG8gd29ybGQh'),
     '.image_url.url', 'does not hold an image'],
    ['an empty image', image('data:image/png;base64,'), '.image_url.url',
     'base64'],
    ['base64 without its padding', image('data:image/png;base64,iVBORw0KGg'),
     '.image_url.url', 'base64'],
    ['base64 with a line break',
     image("data:image/png;base64,iVBO\\nRw0KGgoA"), '.image_url.url',
     'base64'],
    ['base64 for URLs', image('data:image/png;base64,iVBO_w0KGgoA'),
     '.image_url.url', 'base64'],
    ['padding in the midst', image('data:image/png;base64,iVBO=w0KGgoA'),
     '.image_url.url', 'base64'],
    ['only padding', image('data:image/png;base64,===='), '.image_url.url',
     'base64'],
    ['an image over 5 MB', image('data:image/png;base64,' . $image{png}
                                 . 'A' x (5 * 1024 * 1024)),
     '.image_url.url', '5 MB'],
    ['file is missing', '{"type":"file"}', '.file', 'object'],
    ['file_id', '{"type":"file","file":{"file_id":"file-1"}}',
     '.file.file_id', 'not supported'],
    ['file_data is missing', '{"type":"file","file":{"filename":"a"}}',
     '.file.file_data', 'string'],
    ['filename is a number', file("data:text/plain;base64,QQ==",
                                  ',"filename":1'),
     '.file.filename', 'string'],
    ['file_data is no data URL', file('QUFB'), '.file.file_data',
     'look like'],
    ['a file of another type', file('data:application/zip;base64,QUFB'),
     '.file.file_data', 'has a type'],
    ['a PDF that is none', file('data:application/pdf;base64,QUFBQUFB'),
     '.file.file_data', 'does not hold a PDF'],
    ['a PDF of bad base64', file('data:application/pdf;base64,JVBERi0*'),
     '.file.file_data', 'base64'],
    ['a text in Latin-1', file('data:text/plain;base64,' . b64("\xe4")),
     '.file.file_data', 'UTF-8'],
    ['a text with a NUL', file('data:text/plain;base64,' . b64("a\0b")),
     '.file.file_data', 'UTF-8'],
    ['a blank text', file('data:text/plain;base64,' . b64(" \n")),
     '.file.file_data', 'blank'],
    ['audio', '{"type":"input_audio","input_audio":{"data":"","format":"wav"}}',
     '.type', 'not supported'],
);

my ($n, $spec) = (100, join '', <DATA>);

for (@taken) {
    my ($name, $part, $block) = @$_;
    $n++;
    $spec .= "=== TEST $n: taken: $name\n--- chat\n{\"messages\":[{\"role\":"
        . "\"user\",\"content\":[" . text('look') . ",$part]}]}\n--- asked\n"
        . "messages.0.content = [" . text('look') . ",$block]\n\n\n\n";
}

for (@refused) {
    my ($name, $part, $field, $why) = @$_;
    $n++;
    $spec .= "=== TEST $n: a 400 names the part: $name\n--- chat\n"
        . "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":"
        . "\"assistant\",\"content\":\"b\"},{\"role\":\"user\",\"content\":["
        . text('look') . ",$part]}]}\n--- error_code: 400\n--- json\n"
        . "error.param = \"messages[2].content[1]$field\"\n"
        . "error.type = \"invalid_request_error\"\n"
        . "error.message ~ " . quotemeta($why) . "\n--- calls: 0\n\n\n\n";
}

$spec =~ s/\$PNG/$image{png}/g;
spec_string($spec);
run_tests();

__DATA__

=== TEST 1: an image alone is a message
--- chat: {"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://a/b"}}]}]}
--- asked
messages.0.content = [{"type":"image","source":{"type":"url","url":"https://a/b"}}]



=== TEST 2: the assistant has no images
--- chat: {"messages":[{"role":"user","content":"a"},{"role":"assistant","content":[{"type":"image_url","image_url":{"url":"https://a/b"}}]},{"role":"user","content":"b"}]}
--- error_code: 400
--- json
error.param = "messages[1].content[0].type"



=== TEST 3: nor has the system
--- chat: {"messages":[{"role":"system","content":[{"type":"image_url","image_url":{"url":"https://a/b"}}]},{"role":"user","content":"b"}]}
--- error_code: 400
--- json
error.param = "messages[0].content[0].type"



=== TEST 4: images in the history stand where they stood
--- chat: {"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,$PNG"}},{"type":"text","text":"what?"}]},{"role":"assistant","content":"a dot"},{"role":"user","content":"sure?"}]}
--- asked
messages.0.content.0.source.media_type = "image/png"
messages.0.content.1.text = "what?"
messages.1.content = [{"type":"text","text":"a dot"}]
messages.2.content = "sure?"



=== TEST 5: 32 MB of images in one request are too much
--- server
        location /v1/ {
            claude_openai;
            client_max_body_size 64m;
            client_body_buffer_size 64m;
        }
--- chat eval
my $one = '{"type":"image_url","image_url":{"url":"data:image/png;base64,$PNG' . 'A' x (5 * 1000 * 1000) . '"}}';
return '{"messages":[{"role":"user","content":[' . join(',', ($one) x 7) . ']}]}';
--- error_code: 400
--- json
error.param = "messages[0].content[6].image_url.url"
error.message ~ 32 MB
--- timeout: 60
