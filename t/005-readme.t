# README.md and conf/ against the code: every directive, variable, request
# field and error is documented as it is, nothing else is, and every
# configuration that is printed passes nginx -t.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use ClaudeTest;
use Test::More;

my $root = root();

sub slurp {
    my ($file) = @_;
    open my $fh, '<:raw', "$root/$file" or die "$file: $!\n";
    local $/;
    return <$fh>;
}

my $readme = slurp('README.md');
my $module = slurp('ngx_http_claude_module.c');

sub section {                          # up to the next heading of its level
    my ($title, $level) = @_;
    my ($text) = $readme =~ /^#{$level} \Q$title\E\n(.*?)(?=^#{1,$level} |\z)/ms;
    ok(defined $text, "README has a section \"$title\"");
    return $text // '';
}

sub same {                             # of two lists, whatever the order
    my ($got, $want, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is_deeply([sort @$got], [sort @$want], $name);
}


# Directives: the command table, and a section for each.

my ($commands) = $module =~ /ngx_command_t +\w+\[\] = \{(.*?)ngx_null_command/s;
my (%type, %documented);

$type{$1} = $2
    while $commands =~ /ngx_string\("(\w+)"\),\s*([A-Z0-9_|\s]+?),/g;

my $directives = section('Directives', 2);

while ($directives =~ /^### (\w+)\n(.*?)(?=^### |\z)/msg) {
    ok(!$documented{$1}, "$1 is documented once");
    $documented{$1} = $2;
}

same([keys %documented], [keys %type],
     'the directives of README are those of the command table');

for my $name (sort keys %type) {
    my $text = $documented{$name} // next;
    my ($syntax) = $text =~ /^\*\*Syntax:\*\* (.+)$/m;
    my ($context) = $text =~ /^\*\*Context:\*\* (.+)$/m;
    my ($default) = $text =~ /^\*\*Default:\*\* (.+)$/m;
    my %place = (MAIN => 'http', SRV => 'server', LOC => 'location');

    is($context // '', join(', ', map { $place{$_} }
                                  grep { $type{$name} =~ /HTTP_${_}_CONF/ }
                                       qw(MAIN SRV LOC)),
       "$name: context");
    like($syntax // '', qr/^$name\b.*;$/, "$name: syntax");
    ok(defined $default, "$name: default");

    my ($min, $max) =
          $type{$name} =~ /NOARGS/  ? (0, 0)
        : $type{$name} =~ /FLAG/    ? (1, 1)
        : $type{$name} =~ /TAKE12/  ? (1, 2)
        : $type{$name} =~ /TAKE2/   ? (2, 2)
        : $type{$name} =~ /TAKE1/   ? (1, 1)
        : $type{$name} =~ /1MORE/   ? (1, 99) : (-1, -1);

    # [name=`value`] is one that may be missing; … says that more may follow
    my $rest = ($syntax // '') =~ s/^$name\s*//r =~ s/;$//r;
    my $more = $rest =~ s/ …//;
    $rest =~ s/on \| off/flag/;
    my @words = split ' ', $rest =~ s/`\[=`value`\]/`/r;
    my $needed = grep { !/^\[/ } @words;

    is_deeply([$needed, $more ? 99 : scalar @words], [$min, $max],
              "$name: arguments in the syntax");
}

# Defaults that are a number in the code, in nginx's units.

my %initial = (
    claude_max_concurrent => ['max_concurrent', sub { $_[0] }],
    claude_warm           => ['warm', sub { $_[0] }],
    claude_idle_timeout   => ['idle_timeout', sub { $_[0] / 60000 . 'm' }],
    claude_session_ttl    => ['session_ttl', sub { $_[0] / 60 . 'm' }],
    claude_max_line       => ['max_line', sub { $_[0] / 1048576 . 'm' }],
    claude_timeout        => ['timeout', sub { $_[0] / 60000 . 'm' }],
    claude_heartbeat      => ['heartbeat', sub { $_[0] / 1000 . 's' }],
    claude_auth           => ['auth', sub { $_[0] ? 'on' : 'off' }],
    claude_sampling       => ['sampling', sub { $_[0] ? 'on' : 'off' }],
);

for my $name (sort keys %initial) {
    my ($field, $unit) = @{ $initial{$name} };
    my ($value) = $module =~ /(?:init|merge)_\w+\((?:mcf|conf)->$field,(?:
                              \s*prev->$field,)?\s*([0-9* ]+)\)/x;
    my $want = defined $value ? $unit->(eval $value) : 'no default found';

    like($documented{$name} // '', qr/^\*\*Default:\*\* $name \Q$want\E;$/m,
         "$name: its default is $want");
}

my ($map) = slurp('src/http/ngx_http_claude_models.c')
            =~ /model_map\[\] = \{(.*?)null/s;
my @map = $map =~ /\{ ngx_string\("(.*?)"\), ngx_string\("(.*?)"\) \}/g;
my @pairs;
push @pairs, join ' ', splice @map, 0, 2 while @map;
like($documented{claude_model_map} // '',
     qr/^\*\*Default:\*\* \Q@{[join ', ', @pairs]}\E$/m,
     'claude_model_map: its default');

like($readme, qr/`\Q$_\E`/, "README says what becomes of $_ of the wrapper")
    for qw(API_KEY DEFAULT_MODEL FALLBACK_MODEL MODEL_MAP MAX_CONCURRENT
           SESSION_TTL_SECONDS MAX_BUDGET_USD WORKING_DIRECTORY HOST PORT);

# No directive is named that is not there.

{
    my %ours = (%type, map { $_ => 1 }
                $readme =~ /^\| `(\w+)` \| (?:gauge|counter|histogram) \|/mg);
    my @unknown = grep { !$ours{$_} } $readme =~ /(?<![\$\w.])(claude_[a-z_]+)/g;
    @unknown = grep { !/^claude_code_|^claude_$/ } @unknown;
    same(\@unknown, [], 'README names no directive that is not there');
}


# Variables.

{
    my @code = slurp('src/http/ngx_http_claude_variables.c')
               =~ /\{ ngx_string\("(\w+)"\), NULL/g;
    my @page = section('Variables', 2) =~ /^\| `\$(\w+)` \|/mg;
    my %code = map { $_ => 1 } @code;

    same(\@page, \@code, 'the variables of README are those of the code');
    same([grep { !$code{$_} } $readme =~ /\$(claude_\w+)/g], [],
         'README names no variable that is not there');
}


# Fields of a request: what the rooms of the chat dialect look at.

{
    my $code = join '', map { slurp($_ =~ s{^\Q$root\E/}{}r) }
                        glob("$root/src/dialect/chat/*.c");
    $code .= slurp('src/dialect/chat/ngx_http_claude_chat.h');
    my %code = map { $_ => 1 }
        $code =~ /\{ ngx_string\("(\w+)"\), (?!ngx_claude_json_ignored)/g;

    cmp_ok(scalar keys %code, '>', 20, 'the code looks at fields');

    my %page;
    for (split /\n/, section('The request, field by field', 2)
                     . section('Completions', 3)) {
        my ($fields, $what) = /^\| (`.*?) \| (.*) \|$/ or next;
        push @{ $page{$_} }, $what for $fields =~ /`(.*?)`/g;
    }

    my %leaves = map { /(\w+)$/ ? ($1 => 1) : () } keys %page;

    same([grep { !$leaves{$_} } keys %code], [],
         'README has a row for every field that the code looks at');
    same([grep { my ($leaf) = /(\w+)$/;
                 !$code{$leaf} && grep { !/^ignored\b/ } @{ $page{$_} } }
          keys %page], [],
         'and says "ignored" of every other');

    my ($message) = $code =~ /^request_message\(.*?\)\n\{(.*?)^\}/ms;
    my %roles = map { $_ => 1 } $message =~ /request_is\(role, "(\w+)"\)/g;

    cmp_ok(scalar keys %roles, '>', 4, 'the code looks at roles');
    my $row = ($page{'messages[].role'} || [''])->[0];
    same([grep { $row !~ /`$_`/ } keys %roles], [],
         'and names every role');
}


# Errors: status and code of every failure of a turn, and all other codes.

{
    my $page = section('Errors', 2);
    my %rows;
    while ($page =~ /^\| (\d{3}) \| `(\w+)` \| (.*)$/mg) {
        $rows{"$1 $2"} = $3;
    }

    my $code = slurp('src/http/ngx_http_claude_error.c');
    my ($turns) = $code =~ /failures\[\w+\] =\n\{(.*?)^\};/ms;
    my (%known, @retry);

    while ($turns =~ /\{ (\d+), "(\w+)", ([01])/g) {
        my ($row, $final) = ("$1 $2", $3);
        $known{$row} = 1;

        # a long wait for the rate limit is final, too
        push @retry, $row if $final != (($rows{$row} // '') =~ /; no retry/);
    }

    same(\@retry, [], 'README says of which errors a retry cannot help');

    my %status = (UNAUTHORIZED => 401, NOT_FOUND => 404, );

    for my $file (glob "$root/*.c $root/src/*/*.c $root/src/*/*/*.c") {
        my $text = slurp($file =~ s{^\Q$root\E/}{}r);
        $known{"$status{$1} $2"} = 1
            while $text =~ /ngx_http_claude_error\(\w+,\s*(?:NGX_HTTP_)?
                            (UNAUTHORIZED|NOT_FOUND),
                            \s*"(\w+)"/xg;
    }

    same([keys %rows], [keys %known],
         'the errors of README are those of the code');
}


# Metrics.

{
    my %code = slurp('src/http/ngx_http_claude_status_prometheus.c')
               =~ /prometheus_(?:head|one)\(p, "(\w+)", "(\w+)"/g;
    my %page;

    $page{$1} = $2
        while $readme =~ /^\| `(\w+)` \| (gauge|counter|histogram) \|/mg;

    cmp_ok(scalar keys %code, '>', 15, 'the code has metrics');
    is_deeply(\%page, \%code, 'the metrics of README are those of the code, '
                              . 'with their types');
}


# The rooms of src/ and the files that the page names.

{
    my %rooms = map { $_ => 1 }
                map { /^\| (?:`[\w\/]+\/`)? ?\| (`.*?) \|/
                          ? $1 =~ /`(\w+)`/g : () }
                split /\n/, section('Development', 2);
    my @files = map { /ngx_(?:http_)?claude_(\w+)\.c$/ }
                glob "$root/src/*/*.c $root/src/*/*/*.c";

    same([keys %rooms], \@files, 'the rooms of README are the files of src/');

    for my $path ($readme =~ m{`((?:conf|t|bench|src)/[\w./*-]*)`}g) {
        ok(scalar(my @found = glob "$root/$path"), "$path is there");
    }

    my @examples = map { m{([^/]+)$} } glob "$root/conf/examples/*.conf";
    same([grep { $readme !~ /`(?:conf\/examples\/)?\Q$_\E`/ } @examples], [],
         'README names every example');
    unlike($readme, qr{(?<![\w/])/(?:work|home|root)/\w},
           'README has no path of somebody\'s machine');
}


# Configurations: nginx -t of each, its placeholders replaced.

my $features = do {
    my $binary = ClaudeTest::binary();
    my $said = `"$binary" -V 2>&1`;
    { ssl => scalar $said =~ /http_ssl_module/,
      http2 => scalar $said =~ /http_v2_module/ };
};

my $openssl = 'openssl req -x509 -newkey rsa:2048 -nodes -days 1 -batch '
              . '-subj /CN=claude.example.com -keyout "%s/tls.key" '
              . '-out "%s/tls.crt" >/dev/null 2>&1';

sub prepare {
    my ($dir) = @_;

    for (['keys', "alice:sk-a\n"], ['env', "ANTHROPIC_API_KEY=x\n"]) {
        open my $fh, '>', "$dir/$_->[0]" or die "$_->[0]: $!";
        print $fh $_->[1];
    }
    system sprintf $openssl, $dir, $dir if $features->{ssl};
}

sub passes {
    my ($name, $text) = @_;
    my $modules = join '', map { "load_module $_;\n" }
                               split ' ', $ENV{TEST_NGINX_LOAD_MODULES} // '';
    my $first = port();
    my %ports;

    if ($text =~ /ssl_certificate/ && !($features->{ssl}
                                        && $features->{http2})) {
        SKIP: { skip "$name: this nginx has no TLS or no HTTP/2", 1 }
        return;
    }

    # a port for each of the page's, on the loopback; -t opens them
    $text =~ s{^(\s*listen\s+)(?:[\d.]+:)?(\d+)\b}
              {$ports{$2} //= $first + keys %ports;
               "${1}127.0.0.1:$ports{$2}"}megx;
    $text =~ s{^\s*listen\s+\[::\].*\n}{}mg;

    $text =~ s{^\s*load_module .*\n}{}mg;
    $text =~ s{/etc/nginx/[\w.]+\.keys}{\$DIR/keys}g;
    $text =~ s{/etc/nginx/[\w.]+\.env}{\$DIR/env}g;
    $text =~ s{/etc/nginx/tls/[\w.]+\.(crt|key)}{\$DIR/tls.$1}g;
    $text =~ s{/var/log/nginx/}{\$DIR/logs/}g;

    # a part of a configuration gets what is around it
    if ($text !~ /^http \{/m) {
        my $server = $text =~ /^(?:claude_zone|server|map|log_format|upstream|
                                limit_\w+_zone)\b/xm;

        $text = "server { listen 127.0.0.1:$first;\n$text\n"
                . ($text =~ /^location/m ? '' : 'location / { claude_openai; }')
                . "\n}" if !$server;
        $text = "claude_zone claude:1m;\n$text" if $text !~ /^claude_zone/m;
        $text = "claude_api_key sk-more;\n$text" if $text !~ /claude_api_key/;
        $text = "claude_binary $root/t/bin/claude;\n$text"
            if $text !~ /claude_binary/;
        $text = "claude_working_directory \$DIR/cli/cwd;\n$text"
            if $text !~ /claude_working_directory/;
        $text = "events { worker_connections 768; }\nhttp {\n"
                . join('', map { "$_ \$DIR/temp/$_;\n" }
                           qw(client_body_temp_path proxy_temp_path
                              fastcgi_temp_path uwsgi_temp_path
                              scgi_temp_path))
                . "access_log off;\n$text\n}\n";
    }

    $text = ($> == 0 ? "user root;\n" : '') . $text if $text !~ /^user /m;
    $text = "pid \$DIR/nginx.pid;\nerror_log \$DIR/logs/error.log;\n$text"
        if $text !~ /^error_log/m;

    # nginx -t frees nothing at its end
    my $asan = join ':', $ENV{ASAN_OPTIONS} || (), 'detect_leaks=0';

    my ($status, $said) = ClaudeTest->try(conf => $modules . $text,
                                          prepare => \&prepare,
                                          environ => { ASAN_OPTIONS => $asan });
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is($status, 0, "nginx -t: $name") or diag($said);
    unlike($said, qr/\[warn\].*claude/, "  and no warning of ours: $name");
}

{
    my $n = 0;

    while ($readme =~ /^```nginx\n(.*?)^```/msg) {
        my $text = $1;
        $n++;
        next if $text =~ /\Aload_module [^\n]*\n\z/;
        passes("README, configuration $n", $text);
    }

    cmp_ok($n, '>=', 4, 'README has configurations');
}

for my $file (sort glob "$root/conf/examples/*.conf") {
    my ($name) = $file =~ m{([^/]+)$};
    passes("conf/examples/$name", slurp("conf/examples/$name"));
}

{
    my %word = (
        module => '-', user => $> == 0 ? 'user root;' : '',
        claude => "$root/t/bin/claude", key => 'sk-a', port => port(),
        environment => 'claude_env HOME=/nonexistent;',
        html => "$root/conf/html",
    );
    my $text = slurp('conf/nginx.conf') =~ s/@(\w+)@/$word{$1} \/\/ ''/ger;

    passes('conf/nginx.conf', $text);
}

done_testing();
