# The status page: it has to work under a strict policy, it may read only what
# the status says, and nginx has to serve it with that policy. Where there is
# a chromium it is also drawn.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use ClaudeTest;
use Test::More;

my $html = root() . '/conf/html';

sub slurp {
    open my $fh, '<:raw', $_[0] or die "$_[0]: $!";
    local $/;
    return <$fh>;
}

my ($page, $script, $style) = map { slurp("$html/status.$_") } qw(html js css);

# the policy: default-src 'none', scripts and styles as files of the server

{
    my @inline = $page =~ /<script(?![^>]*\bsrc=)[^>]*>/gi;
    is(scalar @inline, 0, 'no script stands in the page');
    unlike($page, qr/<style\b/i, 'no style does');
    unlike($page, qr/\sstyle\s*=/i, 'no element has one');
    unlike($page, qr/<[^>]*\son\w+\s*=/i, 'nor a handler');
    unlike($page, qr/javascript:/i, 'nor is there an address that is a script');

    my @refs = $page =~ /(?:src|href)="([^"]*)"/g;
    is(join(' ', sort @refs), 'status.css status.js',
       'it loads its own two files and nothing else');
    unlike("$page$script$style", qr{https?://(?!www\.w3\.org/2000/svg)},
           'nothing comes from elsewhere');
    unlike($style, qr/\@import|url\(/, 'nor into the styles');

    unlike($script, qr/\beval\b|new Function|innerHTML|outerHTML
                       |insertAdjacentHTML|document\.write/x,
           'the script makes no script and no markup out of text');
    unlike($script, qr/setAttribute\('style'|cssText/,
           'and no style attribute, which the policy would refuse');
    unlike($script, qr/set(?:Timeout|Interval)\(\s*['"`]/,
           'nor a timer out of text');
    unlike($script, qr/\blocalStorage\b|document\.cookie/,
           'a key does not outlive its tab');

    my %id = map { $_ => 1 } $page =~ /\bid="([^"]+)"/g;
    my @unknown = grep { !$id{$_} } $script =~ /\$\('([\w-]+)'\)/g;
    is("@unknown", '', 'all elements that the script looks for are there');
}

# what it reads is what the status says

my $location = "location = /claude-status { claude_status; } "
    . slurp(root() . '/conf/nginx.conf')
      =~ s/.*?(location \/claude-status\/ \{.*?\n        \}\n).*/$1/sr
      =~ s/\@html\@/$html/r;

my $s = ClaudeTest->start(workers => 1, server =>
                          "location /v1/ { claude_openai; } $location");

{
    $s->chat('hi');
    my $c = $s->open_chat('hi', stream => 1, fake =>
                          { deltas => ['x', 'y'], hang_after_deltas => 1 });
    $c->until(qr/"x"/);
    my $status = $s->status;
    my %root = (status => $status, row => $status->{usage}[0],
                process => $status->{processes}[0]);
    my ($read, @missing) = (0);

    while ($script =~ /\b(status|row|process)\.([a-z_]+(?:\.[a-z_]+)*)/g) {
        my ($what, $path) = ($1, $2);
        my $value = $root{$what};
        $read++;
        for my $name (split /\./, $path) {
            last if ref $value eq 'ARRAY';      # its methods
            if (ref $value ne 'HASH' || !exists $value->{$name}) {
                push @missing, "$what.$path";
                last;
            }
            $value = $value->{$name};
        }
    }
    cmp_ok($read, '>', 30, 'the page reads the status');
    is("@missing", '', 'and only what is there');

    my ($rungs) = $script =~ /RUNGS = \[(.*?)\]/;
    is(join(' ', sort $rungs =~ /\w+/g),
       join(' ', sort keys %{ $status->{rungs} }), 'it knows all rungs');
    my ($states) = $script =~ /order = \[(.*?)\]/;
    my %known = map { $_ => 1 } $states =~ /\w+/g;
    my ($names) = slurp(root() . '/src/http/ngx_http_claude_status_words.c')
                  =~ /states\[\] = \{(.*?)\};/s;
    like($names // '', qr/"free"/, 'the states of the code are found');
    is(join(' ', grep { !$known{$_} && $_ ne 'free' } $names =~ /"(\w+)"/g),
       '', 'it knows all of them');
    $c->close;
    $s->wait_idle;
}

# as conf/nginx.conf has it

{
    my $r = $s->get('/claude-status/');
    is($r->{status}, 200, 'nginx serves the page');
    like($r->{headers}{'content-type'}, qr{^text/html}, '  as HTML');
    my $policy = $r->{headers}{'content-security-policy'};
    like($policy, qr/(?:^|; )\Q$_\E(?:;|$)/, "  with the policy $_")
        for "default-src 'none'", "script-src 'self'", "style-src 'self'",
            "connect-src 'self'", "base-uri 'none'", "form-action 'none'",
            "frame-ancestors 'none'";
    unlike($policy, qr/unsafe|\*|data:|blob:/, '  and no hole in it');
    is($r->{headers}{'x-content-type-options'}, 'nosniff', '  and no guesses');
    is($r->{body}, $page, '  whole');
    like($s->get('/claude-status/status.js')->{headers}{'content-type'},
         qr{^text/javascript}, 'and its script');
    like($s->get('/claude-status/status.css')->{headers}{'content-type'},
         qr{^text/css}, 'and its style');
    is($s->get('/claude-status/../nginx.conf')->{status}, 404,
       'and nothing beside it');
    is($s->get('/claude-status', key => 'no')->{status}, 401,
       'the status itself asks for a key');
}

# drawn

SKIP: {
    my ($chromium) = grep { -x } map { ("$_/chromium", "$_/chromium-browser",
                                        "$_/google-chrome") }
                                 split /:/, $ENV{PATH};
    skip 'no chromium here', 3 if !$chromium || $ENV{TEST_SANITIZED};

    my $draw = sub {
        my ($more) = @_;
        my $open = ClaudeTest->start(workers => 1, server =>
            'location /v1/ { claude_openai; } '
            . $location =~ s/claude_status;/claude_status; $more/r);
        $open->chat('hi');
        my $pid = open(my $out, '-|') // die "fork: $!";
        if ($pid == 0) {
            open STDERR, '>', "$open->{dir}/chromium";
            exec $chromium, '--headless=new', '--no-sandbox', '--disable-gpu',
                 "--user-data-dir=$open->{dir}/profile", '--timeout=15000',
                 '--virtual-time-budget=3000', '--enable-logging=stderr',
                 '--dump-dom', 'http://127.0.0.1:' . port()
                 . '/claude-status/' or POSIX::_exit(127);
        }
        local $SIG{ALRM} = sub { kill 'KILL', $pid };
        alarm 60;
        my $dom = join '', <$out>;
        alarm 0;
        close $out;
        my $said = slurp("$open->{dir}/chromium");
        $open->stop;
        return ($dom, $said);
    };
    $s->stop;
    undef $s;

    my ($dom, $said) = $draw->('claude_auth off;');
    like($dom, qr{<td>tester</td><td>sonnet</td><td class="n">1</td>},
         'a browser draws what a key has used');
    like($dom, qr/<p class="link"[^>]*data-state="good">live/,
         'and says that it is live');
    unlike($said, qr/CONSOLE.*(?:Refused|violates|Uncaught)/,
           'under the policy, without an error');
}

$s->stop if $s;
done_testing();
