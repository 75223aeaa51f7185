# README.md, docs/ and conf/ against the code: every directive, variable,
# request field, error and metric is documented as it is, nothing else is, what
# is linked and named is there, and every configuration that is printed passes
# nginx -t.
#
# What there is the code says itself. A library that this test compiles with
# the module's headers goes into "nginx -t" and prints the module's tables when
# that ends (tables() below); metrics, roles and two errors are a running
# server's.

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

my @pages = ('README.md', map { m{/(docs/[^/]+)$} } glob "$root/docs/*.md");
my %page = map { $_ => slurp($_) } @pages;
my $all = join "\n", @page{@pages};

sub section {                          # up to the next heading of its level
    my ($page, $title) = @_;
    my ($level, $text) = $page{$page} =~ /^(#+) \Q$title\E\n(.*)/ms;
    ok(defined $text, "$page has a section \"$title\"");
    $text = '' if !defined $text;
    my $most = length($level // '');
    $text =~ s/^#{1,$most} .*//ms if $most;
    return $text;
}

sub same {                             # of two lists, whatever the order
    my ($got, $want, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is_deeply([sort @$got], [sort @$want], $name);
}


# Starts nginx -t with the library; what it has printed.

sub tables {
    my ($tree) = grep { -f "$_/obj/ngx_auto_config.h" }
                      map { m{^(.*)/[^/]+$} ? ($1, "$1/..", "$1/module") : () }
                          split(' ', $ENV{TEST_NGINX_LOAD_MODULES} // ''),
                          ClaudeTest::binary(), "$root/build/x";
    die "no nginx that was configured to be built\n" if !defined $tree;

    my @folders = map { "-I$_" } "$tree/obj", grep { -d }
                      glob("$tree/nginx-src/src/{core,os/unix}"),
                      glob("$tree/nginx-src/src/event{,/modules,/quic}"),
                      glob("$tree/nginx-src/src/http{,/modules,/v2,/v3}"),
                      glob("$root/src/* $root/src/*/*");
    my $servroot = $ENV{TEST_NGINX_SERVROOT} || '/tmp/claude-test-servroot';
    my $modules = join '', map { "load_module $_;\n" }
                               split ' ', $ENV{TEST_NGINX_LOAD_MODULES} // '';

    mkdir $servroot;
    my $library = ClaudeTest::compile("$servroot/tables.so",
        slurp('t/lib/tables.c'), '-shared', '-fPIC', '-Wl,-z,lazy', '-w',
        @folders);
    my $asan = join ':', $ENV{ASAN_OPTIONS} || (), 'verify_asan_link_order=0';
    my ($status, $said) = ClaudeTest->try(
        conf => ($> == 0 ? 'user root;' : '') . "pid \$DIR/pid;\n"
                . "error_log \$DIR/log;\n${modules}events { } http { }\n",
        environ => { LD_PRELOAD => $library, TABLES => "$servroot/tables",
                     ASAN_OPTIONS => $asan });

    is($status, 0, 'nginx -t with a library that prints tables') or diag($said);
    open my $fh, '<:raw', "$servroot/tables" or die "no tables: $said\n";
    local $/;
    return json->decode(<$fh>);
}

my $code = tables();
my %directive = map { $_->{name} => $_ } @{ $code->{directives} };


# Directives: a section for each.

{
    my (%documented, %place);

    while ($page{'docs/configuration.md'}
           =~ /^### (claude_\w+)\n(.*?)(?=^##)/msg)
    {
        ok(!$documented{$1}, "$1 is documented once");
        $documented{$1} = $2;
    }

    cmp_ok(scalar keys %directive, '>', 20, 'the code has directives');
    same([keys %documented], [keys %directive],
         'the directives of docs/configuration.md are those of the code');

    for my $name (sort keys %directive) {
        my $text = $documented{$name} // next;
        my ($syntax) = $text =~ /^\*\*Syntax:\*\* (.+)$/m;
        my ($context) = $text =~ /^\*\*Context:\*\* (.+)$/m;
        my ($default) = $text =~ /^\*\*Default:\*\* (.+)$/m;
        my $known = $directive{$name};

        is($context // '', join(', ', @{ $known->{contexts} }),
           "$name: context");
        like($syntax // '', qr/^$name\b.*;$/, "$name: syntax");

        # [name=`value`] is one that may be missing; … says that more may
        # follow
        # "off" alone takes back what a level above says
        my $rest = ($syntax // '') =~ s/^$name\s*//r =~ s/;$//r;
        my $off = $rest =~ / \| off$/;
        my $more = $rest =~ s/ …//;
        $rest =~ s/ \| \S+//g;             # one or the other
        my @words = split ' ', $rest =~ s/`\[=`value`\]/`/r;
        my $needed = $off ? 1 : grep { !/^\[/ } @words;

        is_deeply([$needed, $more ? 99 : scalar @words],
                  [$known->{least}, $known->{most}],
                  "$name: arguments in the syntax");

        my $value = $known->{default};
        my %other = (
            # what is said in words, and the value that it stands for
            claude_max_processes => ['twice claude_max_concurrent',
                2 * ($directive{claude_max_concurrent}{default} // 0)],
        );

        if ($other{$name}) {
            is($default // '', $other{$name}[0], "$name: its default");
            is($value, $other{$name}[1], '  which is that of the code');
        } elsif ($name eq 'claude_model_map') {
            is($default // '', $value, "$name: its default");
        } elsif (defined $value) {
            is($default // '', "$name $value;", "$name: its default");
        } else {
            unlike($default // ';', qr/;$/, "$name: there is no default");
        }
    }

    my $wrapper = section('docs/configuration.md',
                          'From claude-code-api-wrapper');
    like($wrapper, qr/`\Q$_\E`/, "what becomes of $_ of the wrapper")
        for qw(API_KEY DEFAULT_MODEL FALLBACK_MODEL MODEL_MAP MAX_CONCURRENT
               SESSION_TTL_SECONDS MAX_BUDGET_USD WORKING_DIRECTORY HOST PORT);
}


# Variables.

{
    my %code = map { $_ => 1 } @{ $code->{variables} };
    my @documented = section('docs/configuration.md', 'Variables')
                     =~ /^\| `\$(\w+)` \|/mg;

    cmp_ok(scalar keys %code, '>', 10, 'the code has variables');
    same(\@documented, [keys %code],
         'the variables documented are those of the code');
    same([grep { !$code{$_} } $all =~ /\$(claude_\w+)/g], [],
         'no variable is named that is not there');
}


# Of a running server: metrics, two errors that no failure of a turn is, and
# the roles that it takes.

my (%metrics, @roles);

{
    my $s = ClaudeTest->start;
    my $text = $s->get('/status?format=prometheus')->{body};
    my %documented;

    $metrics{$1} = $2 while $text =~ /^# TYPE (\w+) (\w+)$/mg;
    $documented{$1} = $2
        while $page{'docs/operations.md'}
              =~ /^\| `(\w+)` \| (gauge|counter|histogram) \|/mg;

    cmp_ok(scalar keys %metrics, '>', 15, 'the server has metrics');
    is_deeply(\%documented, \%metrics,
              'the metrics documented are those of the server, with types');

    for my $r ($s->get('/v1/models', key => 'sk-wrong'),
               $s->get('/v1/nothing'))
    {
        push @{ $code->{fails} },
            { status => $r->{status}, code => $r->{error}{code},
              final => ($r->{headers}{'x-should-retry'} // '') eq 'false'
                       ? 1 : 0 };
    }

    my $said = $s->chat('x', with => { messages => [{ role => 'critic',
                                                      content => 'x' }] })
                 ->{error}{message};
    @roles = $said =~ /must be one of (.*)\.$/ ? split(/, | and /, $1) : ();

    $s->stop;
}

same([grep { !$directive{$_} && !$metrics{$_} && !/^claude_code_|^claude_$/ }
      $all =~ /(?<![\$\w.])(claude_[a-z_]+)/g], [],
     'no directive and no metric is named that is not there');


# Errors: status and code of every failure of a turn, and those two.

{
    my (%rows, %known, @retry);

    $rows{"$1 $2"} = $3
        while $page{'docs/errors.md'} =~ /^\| (\d{3}) \| `(\w+)` \| (.*)$/mg;

    for my $fail (grep { defined $_->{code} } @{ $code->{fails} }) {
        my $row = "$fail->{status} $fail->{code}";
        $known{$row} = 1;

        # a long wait for the rate limit is final, too
        push @retry, $row
            if $fail->{final} != (($rows{$row} // '') =~ /; no retry/
                                  || $row eq '404 unknown_url'
                                     && $fail->{final});
    }

    cmp_ok(scalar keys %known, '>', 15, 'the code has errors');
    same([keys %rows], [keys %known],
         'the errors documented are those of the code');
    same(\@retry, [], 'and it is said of which a retry cannot help');
}


# Fields of a request: what the tables of the dialects have, by their way down
# from the body, "messages.content.text".

sub documented {                       # field => what the rows of it say
    my %rows;
    for (split /\n/, section('docs/api-chat.md', $_[0])) {
        my ($fields, $what) = /^\| (`.*?) \| (.*) \|$/ or next;
        push @{ $rows{ s/\[\]//gr } }, $what for $fields =~ /`(.*?)`/g;
    }
    return \%rows;
}

sub fields_agree {
    my ($what, $rows, @known) = @_;
    my %known = map { $_ => 1 } @known;
    local $Test::Builder::Level = $Test::Builder::Level + 1;

    same([grep { !$rows->{$_} } @known], [],
         "$what: there is a row for every field that the code reads");
    same([grep { !$known{$_} && grep { !/^ignored\b/ } @{ $rows->{$_} } }
          keys %$rows], [],
         "$what: and \"ignored\" is said of every other");
    same([grep { $known{$_} && grep { /^ignored\b/ } @{ $rows->{$_} } }
          keys %$rows], [],
         "$what: and not of one that it reads");
}

{
    my $rows = documented('The request, field by field');

    cmp_ok(scalar @{ $code->{chat} }, '>', 40, 'the code reads fields');
    fields_agree('chat', $rows, @{ $code->{chat} });
    fields_agree('completions', documented('Completions'),
                 grep { !/\./ } @{ $code->{completions} });

    same([grep { !grep { /^ignored\b/ } @{ $rows->{$_} // [] } }
          @{ $code->{chat_ignored} }], [],
         'and of those that the table has as ignored');

    ok(@roles > 4, 'the server names its roles');
    same([grep { $rows->{'messages.role'}[0] !~ /`$_`/ } @roles], [],
         'and every role is documented');
}


# The rooms of src/: the row of a folder has its files.

{
    my %rows;
    my @folders = map { s{/[^/]+$}{}r =~ s{^\Q$root\E/}{}r }
                  glob "$root/src/*/*.c $root/src/*/*/*.c";

    $rows{$1} = $2 while $page{'docs/development.md'}
                         =~ /^\| `(src\/[\w\/]+)\/` \| (.*?) \|/mg;
    my %folders = map { $_ => 1 } @folders;
    same([keys %rows], [keys %folders], 'every folder of src/ has a row');

    for my $folder (sort keys %folders) {
        same([($rows{$folder} // '') =~ /`(\w+)`/g],
             [map { /ngx_(?:http_)?claude_(\w+)\.c$/ }
                  glob "$root/$folder/*.c"],
             "the rooms of $folder/ are its files");
    }
}


# What the pages link to and name.

sub anchors {                          # as GitHub makes them
    my ($text) = @_;
    my %anchor;
    $text =~ s/^```.*?^```//msg;
    while ($text =~ /^#+ (.*)$/mg) {
        $anchor{ lc($1) =~ s/[^\w\- ]//gr =~ tr/ /-/r } = 1;
    }
    return \%anchor;
}

for my $page (@pages) {
    my ($folder) = $page =~ m{^(.*/)?};
    my @broken;

    for ($page{$page} =~ /\]\(([^)\s]+)\)/g) {
        next if /^https?:/;
        my ($path, $anchor) = /^([^#]*)(?:#(.*))?$/;
        my $target = $path eq '' ? $page : ($folder // '') . $path;
        1 while $target =~ s{[^/]+/\.\./}{};

        if (!-e "$root/$target") {
            push @broken, $_;
        } elsif (defined $anchor) {
            push @broken, $_ if !anchors(slurp($target))->{$anchor};
        }
    }

    is_deeply(\@broken, [], "$page: what it links to is there");

    my @paths = $page{$page}
                =~ m{`((?:conf|t|bench|src|scripts|docs)/[\w./*-]*)`}g;
    same([grep { !(() = glob "$root/$_") } @paths], [],
         "$page: the files that it names are there");
    unlike($page{$page}, qr{(?<![\w/])/(?:work|home|root)/\w},
           "$page: no path of somebody's machine");
}

{
    my @examples = map { m{([^/]+)$} } glob "$root/conf/examples/*.conf";
    same([grep { $page{'README.md'} !~ /`\Q$_\E`/ } @examples], [],
         'README names every example');
    same([grep { m{^docs/} && $page{'README.md'} !~ /\]\(\Q$_\E\)/ } @pages],
         [], 'README links to every page of docs/');
    cmp_ok(scalar(() = $page{'README.md'} =~ /\n/g), '<=', 260,
           'README is short');

    my $pinned = json->decode(slurp('package.json'))
                     ->{dependencies}{'@anthropic-ai/claude-code'};
    my @named = $all =~ m{\@anthropic-ai/claude-code\@(\S+)}g;
    ok(@named && !grep({ $_ ne $pinned } @named),
       "the CLI that the text installs is the one of package.json, $pinned");
}


# Each fact of the CLI has the suite that holds it.

{
    my @rows = grep { !/^\| (?:fact|---) / }
               $page{'docs/cli-protocol.md'} =~ /^(\| .* \|)$/mg;

    cmp_ok(scalar @rows, '>', 40, 'there are facts of the CLI');
    same([grep { my ($suite) = /\| `(\w[\w.-]*)`[^|]*\|$/;
                 !$suite || !-f "$root/t/real/$suite" } @rows], [],
         'each names a suite of t/real/ that holds it');
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
    $text =~ s{/usr/local/bin/claude-in-a-box}{$root/t/bin/claude};

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
            if $text !~ /^claude_binary/m;
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

    for my $page (@pages) {
        while ($page{$page} =~ /^( *)```nginx\n(.*?)^\1```/msg) {
            my ($indent, $text) = ($1, $2);
            $text =~ s/^$indent//mg;
            $n++;
            next if $text =~ /\Aload_module [^\n]*\n\z/;
            passes("$page, configuration $n", $text);
        }
    }

    cmp_ok($n, '>=', 6, 'the pages have configurations');
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
