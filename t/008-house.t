# The rules of the house, for every file of the source: which folder may know
# which, that no rooms know each other in a circle, what names say of the
# floor, and how large functions and structs may be. See t/lib/House.pm; it
# must find what is wrong in a small tree of examples, and nothing in src/.
# Besides, what is kept in the tree and is made of a file of it is up to date.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use ClaudeTest;
use File::Basename qw(dirname);
use File::Path qw(make_path);
use File::Temp ();
use House;
use Test::More;

plan skip_all => 'once is enough: it reads the source'
    if $ENV{TEST_SANITIZED};


# What a comment "bad" says is found in its line, or in the one before if it
# has one of its own; and nothing else is.

{
    my $fields = join '', map { "    int  a$_;\n" } 1 .. 36;
    my $lines = "    f();\n" x 96;
    my %tree = (
        config => <<'END',
ngx_claude_folders="base turn http dialect dialect/a dialect/b"
END
        'ngx_http_claude_module.c' => <<'END',
#include <ngx_http.h>
#include "ngx_http_claude_one.h"

ngx_module_t  ngx_http_claude_module = {
    NGX_MODULE_V1, ngx_http_claude_one
};
END
        'src/base/ngx_claude_low.h' => <<'END',
#include <ngx_core.h>
#include "ngx_claude_up.h"
/* bad: includes ngx_claude_up.h of src/turn, which is above it */
#define low_alias  ngx_claude_low_alias
#define low_up     ngx_claude_up
#define low_text   "ngx_http_request_t"

int ngx_claude_low(int a);
int low_alias(void);
int low_up(void);
END
        'src/base/ngx_claude_low.c' => <<'END',
#include "ngx_claude_low.h"
/* ngx_claude_up() and ngx_http_request_t are words of a comment */

extern int  ngx_http_claude_module;    /* bad: knows ngx_http_claude_module */

int  ngx_claude_low_table[] = {
    1, 2, 3
};

int  another;
/* bad: another is not named ngx_claude_... */


static int low_up_here(void);


int
ngx_claude_low(int a)
{
    puts("ngx_claude_up() and ngx_http_request_t of a string");

    return s->ngx_claude_up + low_up_here();
}


int
low_alias(void)
{
    ngx_http_request_t  *r;            /* bad: knows ngx_http_request_t */

    r = NULL;

    return low_up();
    /* bad: names ngx_claude_up of src/turn, which is above it */
}


static int
low_up_here(void)
{
    ngx_http_request_t  *r;

    return NGX_HTTP_OK;                /* bad: knows NGX_HTTP_OK */
}
END
        'src/turn/ngx_claude_up.h' => <<'END',
int ngx_claude_up(void);
END
        'src/turn/ngx_claude_up.c' => <<'END',
#include <ngx_http.h>                  /* bad: includes <ngx_http.h> */
#include "ngx_claude_up.h"


int
ngx_claude_up(void)
{
    return 1;
}


int
up(void)                     /* bad: up is not named ngx_claude_... */
{
    return 2;
}
END
        # a private header makes no circle with those who share it
        'src/turn/ngx_claude_part_private.h' => <<'END',
#include "ngx_claude_part.h"
int ngx_claude_part_first(void);
END
        'src/turn/ngx_claude_part.h' => "int ngx_claude_part(void);\n",
        'src/turn/ngx_claude_part.c' => <<'END',
#include "ngx_claude_part_private.h"

int
ngx_claude_part(void)
{
    return ngx_claude_part_first() + ngx_claude_low(1);
}
END
        'src/turn/ngx_claude_part_first.c' => <<'END',
#include "ngx_claude_part_private.h"

int
ngx_claude_part_first(void)
{
    return ngx_claude_low_table[0];
}
END
        # three that know each other by names alone
        'src/http/ngx_http_claude_a.c' => <<'END',
/* bad: is in a circle: a b c */

void
ngx_http_claude_a(void)
{
    ngx_http_claude_b();
    ngx_http_claude_a();
}
END
        'src/http/ngx_http_claude_b.c' => <<'END',
void
ngx_http_claude_b(void)
{
    call(ngx_http_claude_c);
}
END
        'src/http/ngx_http_claude_c.c' => <<'END',
int *
ngx_http_claude_c(int a, void (*b)(int c))
{
    return ngx_http_claude_a();
}
END
        'src/http/ngx_claude_name.c' => <<"END",
/* bad: is not named ngx_http_claude_... */

typedef struct {
    int (*f)(int a, int b);
    union {
        int  a;
        int  b;
    } u;

    unsigned  c:1;
$fields} name_most_t;

struct name_s {                        /* bad: name_s has 41 fields */
    int  *a, b[2], e;
    struct {
        unsigned  c:1;
        unsigned  d:2;
    };
${fields}};


static void
name_most(void)
{
$lines}


static void
name_longest(void)                     /* bad: name_longest() has 101 lines */
{
    g();
$lines}
END
        'src/dialect/ngx_http_claude_shared.h' => '',
        'src/dialect/ngx_http_claude_shared.c' => <<'END',
#include "ngx_http_claude_shared.h"

void
ngx_http_claude_shared(void)
{
    ngx_http_claude_a();
    ngx_http_claude_two();
    /* bad: names ngx_http_claude_two of src/dialect/b, which is above it */
}
END
        'src/dialect/a/ngx_http_claude_one.h' => '',
        'src/dialect/a/ngx_http_claude_one.c' => <<'END',
/* bad: is in a circle: one shared two */
#include "ngx_http_claude_shared.h"
#include "ngx_http_claude_one.h"
#include "ngx_http_claude_two.h"
/* bad: includes ngx_http_claude_two.h of src/dialect/b, a dialect beside it */

void
ngx_http_claude_one(void)
{
    ngx_http_claude_shared();
}
END
        'src/dialect/b/ngx_http_claude_two.h' => '',
        'src/dialect/b/ngx_http_claude_two.c' => <<'END',
void
ngx_http_claude_two(void)
{
    ngx_http_claude_one();
  /* bad: names ngx_http_claude_one of src/dialect/a, a dialect beside it */
}
END
        'src/http/ngx_http_claude_shared.c' => <<'END',
/* bad: is a second ngx_http_claude_shared.c */
END
    );
    my $at = File::Temp->newdir;

    for my $path (sort keys %tree) {
        make_path(dirname("$at/$path"));
        open my $fh, '>', "$at/$path" or die "$path: $!\n";
        print $fh $tree{$path};
        close $fh;
    }

    my %found;
    push @{ $found{"$_->{file}:$_->{line}"} }, $_->{what}
        for @{ House->new(root => "$at")->faults };

    for my $path (sort keys %tree) {
        my $n = 0;
        for (split /\n/, $tree{$path}) {
            $n++;
            my ($before, $bad) = m{^(.*)/\* bad: (.*?) \*/} or next;
            my $at = $n - ($before !~ /\S/ && $n > 1);
            is_deeply(delete $found{"$path:$at"}, [$bad], "found: $bad");
        }
    }
    is_deeply(\%found, {}, 'and nothing elsewhere');
}


my $house = House->new(root => root());
my @faults = @{ $house->faults };

is(join('', map { "$_->{file}:$_->{line}: $_->{what}\n" } @faults), '',
   'nothing breaks the rules');

note $house->figures(1);


# The header with the gate's text is made of its source.

{
    my $root = root();
    open my $fh, '<:raw', "$root/src/spawner/ngx_claude_gate_text.h" or die;
    local $/;
    is(<$fh>, scalar(`$root/scripts/gate.sh`),
       'ngx_claude_gate_text.h is what scripts/gate.sh makes');
}


# What the driver says and the gate leaves out is one text in two languages.

{
    my ($text, @left);

    for ([ 'ngx_claude_gate.h',
           qr/^#define NGX_CLAUDE_GATE_LEFT_OUT[\s\\]+"([^"]+)"$/m ],
         [ 'gate/register.mjs', qr/^const LEFT_OUT = '([^']+)';$/m ])
    {
        my ($file, $pattern) = @$_;
        open my $fh, '<:raw', root() . "/src/spawner/$file" or die;
        local $/;
        ($text) = <$fh> =~ $pattern;
        push @left, $text;
    }
    ok(defined $left[0], 'ngx_claude_gate.h says what is left out');
    is($left[1], $left[0], '  and register.mjs the same');
}

done_testing;
