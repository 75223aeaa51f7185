# What the compiler cannot see in the module's source: that the arguments of
# nginx's formats are of the types that their letters read, and that no bytes
# without a NUL pass for a C string. See t/lib/Formats.pm; it must find what
# is wrong in a file of examples, and nothing in src/.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use ClaudeTest;
use File::Temp ();
use Formats;
use Test::More;

plan skip_all => 'once is enough: it reads the source'
    if $ENV{TEST_SANITIZED};

my $root = root();

# where the module under test was built, t/../build/module but for other nginx

my ($build) = grep { -f "$_/obj/Makefile" } "$root/build/module",
    map { m{^(/.*)/obj/[^/]+$} ? $1 : () } $ENV{TEST_NGINX_LOAD_MODULES} // '';
my $check = Formats->new(build => $build, root => $root);


# Each line with "bad" is found, by those words of its comment, and no other.

{
    my $head = <<'END';
#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_claude_chat.h"
#include "ngx_claude_cstr.h"
#include "ngx_http_claude_error.h"

#define error(...)  ngx_http_claude_error(ctx, 400, NULL, NULL, __VA_ARGS__)

void another(const char *fmt, ...);              /* bad: not known */
void use(ngx_http_claude_ctx_t *ctx, u_char *p, ngx_str_t *s, ngx_str_t v,
    ngx_uint_t n, ngx_int_t i, size_t z, off_t o, int d, const char *c,
    const char *fmt, ngx_claude_out_t *out);

void
use(ngx_http_claude_ctx_t *ctx, u_char *p, ngx_str_t *s, ngx_str_t v,
    ngx_uint_t n, ngx_int_t i, size_t z, off_t o, int d, const char *c,
    const char *fmt, ngx_claude_out_t *out)
{
    char     name[4];
    u_char   buf[64], *last;
    double   f;
    struct { unsigned flag:1; } bits;

    last = buf;
    f = 1;
    bits.flag = 1;
END
    my $lines = <<'END';
    error("%s", (char *) s->data);               /* bad: "s->data" is bytes */
    error("%s", v.data);                         /* bad: %s takes a C string */
    error("%s", p);                              /* bad: %s takes a C string */
    error("%s", buf);                            /* bad: %s takes a C string */
    error("%s", name);                           /* bad: is an array */
    error("%s%s", c, n ? "a" : "b");
    error("%s", ngx_claude_cstr(p));
    error("%s", ngx_claude_cstr_print(buf, sizeof(buf), "%V", s));
    error("%V", v);                              /* bad: %V takes ngx_str_t * */
    error("%V%V", s, &v);
    error("%*s", v.len, v.data);
    error("%*s", p - buf, p);                    /* bad: %* takes unsigned */
    error("%*s", d, p);                          /* bad: %* takes unsigned */
    error("%ui", d);                             /* bad: %ui takes unsigned */
    error("%ui", i);                             /* bad: %ui takes unsigned */
    error("%i", n);                              /* bad: %i takes long */
    error("%d", n);                              /* bad: %d takes int */
    error("%d", z);                              /* bad: %d takes int */
    error("%d", 7);
    error("%ud", bits.flag);                     /* bad: %ud takes unsigned */
    error("%d", bits.flag);
    error("%uz", d);                             /* bad: %uz takes unsigned */
    error("%uz %O %i %d", z, o, i, d);
    error("%O", d);                              /* bad: %O takes long */
    error("%f", d);                              /* bad: %f takes double */
    error("%.3f", f);
    error("%p", p);
    error("%T %M", ngx_time(), ngx_current_msec);
    error("%P", ngx_pid);
    error("%02xd %08XD", buf[0], (uint32_t) d);
    error("100%% %N%Z");
    error("%V");                                 /* bad: 0 arguments for 1 */
    error("%V", s, d);                           /* bad: 2 arguments for 1 */
    error("%y", d);                              /* bad: nginx knows no %y */
    error("%");                                  /* bad: a % at the end */
    error(c);                                    /* bad: is no literal */
    error(n ? "%V" : "%s", s);                   /* bad: %s takes a C string */
    error("a" "%d" "b", z);                      /* bad: %d takes int */
    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0, "%s", p); /* bad: %s takes */
    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0, "%V %d", s, n); /* bad: %d takes */
    n = ngx_strlen(s->data);                     /* bad: "s->data" is bytes */
    n = ngx_strlen(c);
    n = ngx_strlen(ngx_claude_cstr(p));
    n = ngx_strcmp(v.data, "none");              /* bad: "v.data" is bytes */
    n = ngx_strncmp(c, "a", ngx_strlen(p));      /* bad: "p" is bytes */
    n = ngx_strcasecmp(p, p);                    /* bad: takes bytes for */
    n = (ngx_uint_t) getenv((char *) p);         /* bad: "p" is bytes */
    n = (ngx_uint_t) ((char *) ctx + 1);
    n = ngx_sprintf(buf, "%V", s) - buf;         /* bad: has no bound */
    last = ngx_sprintf(last, "%s", c);           /* bad: has no bound */
    last = ngx_sprintf(buf, "%ui", n);
    p = ngx_sprintf(p, "%V", s);
    ngx_snprintf(buf, 64, "%V%Z", s);            /* bad: has no %Z */
    p = ngx_vslprintf(buf, last, c, *(va_list *) p); /* bad: no function's fmt */
    ngx_claude_out(out, "{%J%Q%s%03M}", s, s, c, ngx_current_msec);
    ngx_claude_out(out, "%J", v);                /* bad: %J takes ngx_str_t * */
    ngx_claude_out(out, "%s", p);                /* bad: %s takes a C string */
    ngx_claude_out(out, "%xd", d);               /* bad: the writer knows no */
    ngx_claude_out(out, "%*s", z, p);            /* bad: the writer knows no */
    error("%J", s);                              /* bad: nginx knows no %J */
END
    my $unseen = <<'END';
    n = ngx_strncmp(PLACE->data, "name", 4);     /* bad: looks at its length */
    n = ngx_memcmp(PLACE->data, p, 20);          /* bad: looks at its length */
END
    my $at = File::Temp->newdir;
    my $file = "$at/ngx_http_claude_examples.c";
    my $text = "$head$lines}\n\n\nvoid unseen(ngx_str_t *s, u_char *p);\n"
        . "void\nunseen(ngx_str_t *s, u_char *p)\n{\n    int  n;\n\n"
        . ($unseen =~ s/PLACE/s/gr) . "}\n\n\n"
        . "void seen(ngx_str_t *s, u_char *p);\n"
        . "void\nseen(ngx_str_t *s, u_char *p)\n{\n    int  n;\n\n"
        . "    if (s->len < 20) { return; }\n"
        . ($unseen =~ s/PLACE/s/gr =~ s{/\*.*}{}gr) . "}\n";

    open my $fh, '>', $file or die;
    print $fh $text;
    close $fh;

    my $r = $check->file($file);
    my %found;
    push @{ $found{ (split /:/)[1] } }, $_ for @{ $r->{found} };

    my $n = 0;
    for (split /\n/, $text) {
        $n++;
        my $said = join ' / ', @{ delete $found{$n} // [] };
        my ($what) = m{/\* bad: (.*?) \*/};
        my $code = s/^\s+|\s*\/\*.*//gr;
        if (defined $what) {
            like($said, qr/\Q$what\E/, "found: $code");
        } elsif ($said ne '' || /^    error|^    [np] =/) {
            is($said, '', "nothing found: $code");
        }
    }
    is_deeply(\%found, {}, 'and nothing elsewhere');
}


# The source, two files at a time.

my @files = sort map { glob "$root/$_" } qw(*.c src/*/*.c src/*/*/*.c);
my @done = ([], []);

for my $half (0, 1) {
    my @mine = @files[grep { $_ % 2 == $half } 0 .. $#files];
    my $pid = open(my $from, '-|') // die "fork: $!";

    if ($pid == 0) {
        for (@mine) {
            my $r = eval { $check->file($_) }
                // { found => [$@], formats => 0, texts => [] };
            print json()->encode([$_, $r]), "\n";
        }
        close STDOUT;
        require POSIX;
        POSIX::_exit(0);
    }
    $done[$half] = [$from, scalar @mine];
}

my ($formats, %of) = (0);

for (@done) {
    my ($from, $n) = @$_;
    while (<$from>) {
        my ($file, $r) = @{ json()->decode($_) };
        $of{$file} = $r;
        $formats += $r->{formats};
    }
    close $from;
}

is(join('', map { "$_\n" } @{ $of{$_}{found} // ['was not read'] }), '',
   s{^\Q$root\E/}{}r) for @files;
cmp_ok($formats, '>', 250, "$formats formats were read");


# Each text of the dialects that a client can be told has a request that is
# told it: t/152-errors-heap.t asks it, and t/fuzz begins with it.

my @told = map { $_->{says} } @{ json()->decode(do {
    open my $fh, '<:raw', "$root/t/data/refused.json" or die;
    local $/;
    <$fh>;
}) };

# no request alone provokes these

my %never = map { $_ => 1 } 'out of memory', 'parse error',
    'a string is too long',                             # for 32 bits
    'The server has not kept the request body.',        # t/105-locations.t
    'The server could not read the request body.',      # t/126-faults-nginx.t
    'The request has no message.',                      # of no dialect here
    'The request asks for %ui answers at once, and this server gives at most '
    . '%ui.',                                           # t/055-choices.t
    'The answer is too long.';

for my $file (@files) {
    next if $file !~ m{/src/dialect/|ngx_claude_(?:schema|json)|_claude_body};

    for my $text (@{ $of{$file}{texts} }) {
        next if $text->{name} !~ /error$|refuse$/;

        for (@{ $text->{formats} }) {
            my $words = s/\\"/"/gr;
            next if $never{$words}
                || $words =~ /^'%s' %[sV]\.$/;          # of other texts
            my $re = join '.*', map { quotemeta } split /%[*\w]+/, $words;
            ok((grep { /$re/ } @told), "a request is told: $words");
        }
    }
}

done_testing;
