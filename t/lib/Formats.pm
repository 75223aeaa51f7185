# A check of what the compiler cannot see: nginx's format strings, and bytes
# that pass for a C string.
#
#   my $check = Formats->new(build => "$root/build/module", root => $root);
#   my $r = $check->file("$root/src/a.c");
#   @{ $r->{found} }                            # "src/a.c:12: what is wrong"
#
# Each file is preprocessed, so that macros are no way around it. Behind each
# argument of a format, and each cast to char *, an assertion of its type is
# put, and the compiler is given the result: the types are its own. What is
# found:
#
#   - an argument that is not of its letter's type (%ui ngx_uint_t, %uz size_t,
#     %V ngx_str_t *, the length of %*s size_t ...), too many or too few of
#     them, a letter that nginx does not know
#   - a format that is no literal: the compiler could not have checked it, and
#     a client could have written it
#   - %s of anything but a C string. Those are const char *; bytes are u_char *
#   - a cast of bytes to char *, strlen() and its kind of nginx's own included:
#     ngx_claude_cstr() is the one way, and says where the NUL comes from
#   - ngx_sprintf() of strings into an array, and %Z at the end of what may be
#     cut off: ngx_claude_cstr_print() is the way
#   - a string function of nginx's own that takes u_char * with a NUL

package Formats;

use strict;
use warnings;

use File::Temp ();


# function => the argument that is the format, from 0 on

my %format = (
    ngx_sprintf => 1, ngx_snprintf => 2, ngx_slprintf => 2,
    ngx_log_error_core => 3, ngx_log_debug_core => 2, ngx_log_abort => 1,
    ngx_log_stderr => 1, ngx_conf_log_error => 3,
    ngx_http_claude_error => 4, process_reason => 1,
    ngx_claude_cstr_print => 2, ngx_claude_out => 1, variable_number => 3,
);

# what the JSON writer knows of nginx's letters, and its own three

my %json = map { $_ => 1 } qw(V J Q E s d P % M i z A L T);

# function => the argument that is part of what a client is told

my %said = (
    ngx_http_claude_place_error => 2,
    ngx_claude_schema_refuse => 1, json_refuse => 1,
);

# those print what another function was given

my %forward = (ngx_vslprintf => 2);

my %nul = map { $_ => 1 } qw(ngx_strcasecmp ngx_strstrn ngx_strcasestrn
    ngx_filename_cmp ngx_dns_strcmp);

# those are told how many bytes there are, and need no NUL: but then somebody
# has looked at the length

my %counted = map { $_ => 1 } qw(memcmp strncmp ngx_strncasecmp ngx_strnstr
    ngx_memn2cmp strnlen uuid_generate_sha1 snprintf);

# C's types by letter, signed and unsigned; long is as wide as a pointer
# wherever nginx prints one, and int32_t is int

my %signed = (O => 'long', T => 'long', z => 'long', i => 'long',
              l => 'long', A => 'long', d => 'int', D => 'int', P => 'int',
              L => 'long', r => 'unsigned long', c => 'int');
my %unsigned = (z => 'unsigned long', i => 'unsigned long',
                l => 'unsigned long', A => 'unsigned long',
                d => 'unsigned int', D => 'unsigned int',
                L => 'unsigned long', M => 'unsigned long');

sub new {
    my ($class, %o) = @_;
    my $s = bless { %o }, $class;
    my $make = slurp("$s->{build}/obj/Makefile");
    my ($flags) = $make =~ /^CFLAGS =(.*)$/m;
    my ($incs) = $make =~ /^ALL_INCS =((?:.*\\\n)*.*)$/m;

    $incs =~ s/\\\n/ /g;
    $flags =~ s/-(?:O\d?|Werror\S*|g)(?=\s|$)//g;
    $s->{flags} = "$flags $incs -O0 -DNGX_DEBUG=1 -U_FORTIFY_SOURCE";
    $s->{src} = "$s->{build}/nginx-src";
    return $s;
}


sub slurp {
    my ($file) = @_;
    open my $fh, '<:raw', $file or die "$file: $!\n";
    local $/;
    return <$fh>;
}


# All that is wrong in a file, each once, and how many formats it has.

sub file {
    my ($s, $file) = @_;
    my $in = File::Temp->new(SUFFIX => '.i');
    my $out = File::Temp->new(SUFFIX => '.log');

    local $s->{found} = [];
    local $s->{formats} = 0;
    local $s->{texts} = [];

    $s->cc("-E -D NGX_CLAUDE_FORMATS '$file' -o $in 2>$out")
        or die "$file: the preprocessor: " . slurp("$out");

    my $checked = $s->transform(slurp("$in"));
    open my $fh, '>:raw', "$in" or die;
    print $fh $checked;
    close $fh;

    my $ok = $s->cc("-fsyntax-only -fpreprocessed '$in' 2>$out");
    my $said = slurp("$out");

    for (split /\n/, $said) {
        my ($at, $line, $what) = /^(.*?):(\d+):(?:\d+:)? (?:fatal )?error: (.*)/
            or next;
        $what =~ s/^static assertion failed: "(.*)"$/$1/;
        $what =~ s/\\(.)/$1/g;
        $s->found($at, $line, $what);
    }

    die "$file: the compiler: $said\n" if !$ok && !@{ $s->{found} };

    my %once;
    return { found => [grep { !$once{$_}++ } @{ $s->{found} }],
             formats => $s->{formats}, texts => $s->{texts} };
}


sub cc {
    my ($s, $arguments) = @_;
    my $cc = $ENV{CC} // 'cc';
    return system('sh', '-c', "cd '$s->{src}' && $cc $s->{flags} $arguments")
           == 0;
}


sub found {
    my ($s, $file, $line, $what) = @_;
    $file =~ s{^.*?/?((?:src/(?:\w+/)+)?[^/]+)$}{$1};
    push @{ $s->{found} }, "$file:$line: $what";
}


# Tokens: { type, text, line, file }. type: id, str, num, op, and ws for all
# that means nothing, line markers included.

sub tokens {
    my ($text) = @_;
    my @tokens;
    my ($file, $line) = ('', 1);

    while ($text !~ /\G\z/gc) {
        my $type;
        if ($text =~ /\G(?<=\n)# (\d+) "([^"]*)"[^\n]*\n/gc
            || (pos($text) // 0) == 0
               && $text =~ /\G# (\d+) "([^"]*)"[^\n]*\n/gc)
        {
            push @tokens, { type => 'ws', text => $&, file => $file,
                            line => $line };
            ($line, $file) = ($1, $2);
            next;
        }
        $type = $text =~ /\G\s+?(?=\n\#|\S|\z)\n?/gc ? 'ws'
              : $text =~ /\G\n/gc ? 'ws'
              : $text =~ /\G#[^\n]*/gc ? 'ws'
              : $text =~ /\G[A-Za-z_]\w*/gc ? 'id'
              : $text =~ /\G\.?\d(?:[eE][+-]|[\w.])*/gc ? 'num'
              : $text =~ /\G"(?:[^"\\]|\\.)*"/gcs ? 'str'
              : $text =~ /\G'(?:[^'\\]|\\.)*'/gcs ? 'num'
              : $text =~ /\G(?:->|\+\+|--|\.\.\.|&&|\|\||[<>=!+\-*\/%&|^]=|.)/gcs
                ? 'op' : die "no token";
        push @tokens, { type => $type, text => $&, file => $file,
                        line => $line };
        $line += ($& =~ tr/\n//);
    }

    return @tokens;
}


# The assertions are put in where the text is of a function of ours; the
# rest, most of it other headers, is left alone.

sub transform {
    my ($s, $text) = @_;
    my @parts = ('');
    my $ours = 0;

    for (split /^/m, $text) {
        if (/^# \d+ "([^"]*)"/) {
            my $now = $1 =~ m{ngx_http_claude|^\Q$s->{root}\E} ? 1 : 0;
            push @parts, '' if $now != $ours;
            $ours = $now;
        }
        $parts[-1] .= $_;
    }

    return join '', map { $_ % 2 ? $s->functions($parts[$_]) : $parts[$_] }
                    0 .. $#parts;
}


sub functions {
    my ($s, $text) = @_;
    my @t = tokens($text);
    my ($out, $depth, $start) = ('', 0, 0);

    for (my $i = 0; $i < @t; $i++) {
        my $t = $t[$i];
        $s->variadic(\@t, $i) if $depth == 0 && $t->{text} eq '...';
        if ($t->{type} eq 'op' && $t->{text} eq '{' && $depth++ == 0) {
            $start = $i;
        }
        next if $t->{type} ne 'op' || $t->{text} ne '}' || --$depth != 0;

        # one whole block: a function's, or an initializer's

        my $k = $start - 1;
        $k-- while $k >= 0 && $t[$k]{type} eq 'ws';
        next if $k < 0 || $t[$k]{text} ne ')';

        my @body = @t[$start .. $i];
        local $s->{arrays} = arrays(\@body);
        local $s->{text} = words(@body);
        my $new = $s->rewrite(\@body);
        splice @t, $start, $i - $start + 1,
               { type => 'ws', text => $new, file => '', line => 0 };
        $i = $start;
    }

    $out .= $_->{text} for @t;
    return $out;
}


# A function of ours that takes anything must be known as one with a format.

sub variadic {
    my ($s, $t, $i) = @_;
    my $k = $i;

    $k-- while $k > 0 && $t->[$k]{text} ne '(';
    my $name = significant($t, $k, -1);
    return if !defined $name || defined $format{ $t->[$name]{text} };
    $s->found($t->[$name]{file}, $t->[$name]{line}, "$t->[$name]{text}() takes "
              . 'a format, perhaps, and is not known to Formats.pm');
}


# The names of local arrays of bytes, and of what points into them.

sub arrays {
    my ($body) = @_;
    my $text = join '', map { $_->{type} eq 'ws' ? ' ' : $_->{text} } @$body;
    my %arrays;

    for my $list ($text =~ /\bu_char\b ([^;()]*);/g) {
        $arrays{$_} = 1 for $list =~ /(\w+) ?\[/g;
    }
    for (1 .. 2) {
        while ($text =~ /\b(\w+) = &? ?(\w+)\b ?(?![(.\w]|->)/g) {
            $arrays{$1} = 1 if $arrays{$2};
        }
    }
    return \%arrays;
}


sub words {                            # of tokens, on one line
    my $text = join '', map { $_->{type} eq 'ws' ? ' ' : $_->{text} } @_;
    $text =~ s/\s+/ /g;
    $text =~ s/^ | $//g;
    return $text;
}


sub quoted {
    my ($text) = @_;
    $text =~ s/([\\"])/\\$1/g;
    return "\"$text\"";
}


sub significant {
    my ($t, $i, $step) = @_;
    do { $i += $step } while $i >= 0 && $i < @$t && $t->[$i]{type} eq 'ws';
    return $i >= 0 && $i < @$t ? $i : undef;
}


# The index of what closes the bracket at $i.

sub closing {
    my ($t, $i) = @_;
    my $depth = 0;

    for (; $i < @$t; $i++) {
        next if $t->[$i]{type} ne 'op';
        $depth++ if $t->[$i]{text} =~ /^[(\[{]$/;
        $depth-- if $t->[$i]{text} =~ /^[)\]}]$/;
        return $i if $depth == 0;
    }
    die 'brackets';
}


sub split_arguments {
    my ($t) = @_;
    my @list = ([]);
    my $depth = 0;

    for (@$t) {
        if ($_->{type} eq 'op') {
            $depth++ if $_->{text} =~ /^[(\[{]$/;
            $depth-- if $_->{text} =~ /^[)\]}]$/;
            if ($_->{text} eq ',' && $depth == 0) {
                push @list, [];
                next;
            }
        }
        push @{ $list[-1] }, $_;
    }
    return @list;
}


sub rewrite {
    my ($s, $t) = @_;
    my $out = '';

    for (my $i = 0; $i < @$t; $i++) {
        my $k;

        if ($t->[$i]{type} eq 'id' && defined($k = significant($t, $i, 1))
            && $t->[$k]{text} eq '(')
        {
            my $name = $t->[$i]{text};
            my $end = closing($t, $k);
            my @in = @$t[$k + 1 .. $end - 1];

            if ($counted{$name}) {
                $out .= $name . $s->counted($t->[$i], \@in);
                $i = $end;
                next;
            }
            if (defined $said{$name}) {
                my @list = split_arguments(\@in);
                push @{ $s->{texts} }, { name => $name,
                    formats => [literals($list[$said{$name}] // [])],
                    line => $t->[$i]{line} };
            }
            if ($nul{$name}) {
                $s->found($t->[$i]{file}, $t->[$i]{line},
                          "$name() takes bytes for a C string");
            }
            if (defined $format{$name}) {
                $out .= $name . $s->call($t->[$i], $format{$name}, \@in);
                $i = $end;
                next;
            }
            if (defined $forward{$name}
                && words(@{ (split_arguments(\@in))[2] }) ne 'fmt')
            {
                $s->found($t->[$i]{file}, $t->[$i]{line},
                          "$name() prints what is no function's fmt");
            }
        }

        if ($t->[$i]{text} eq '(' && defined($k = cast($t, $i))) {
            my $end = operand($t, $k + 1);
            my $what = words(@$t[$k + 1 .. $end]);
            my @op = @$t[$k + 1 .. $end];
            my $before = significant($t, $i, -1);

            if (!(defined $before && $t->[$before]{text} eq 'sizeof')
                && @op && $op[0]{type} ne 'str' && $what ne '')
            {
                $out .= "(__extension__ ({ _Static_assert(_Generic(($what), "
                    . 'unsigned char *: 0, const unsigned char *: 0, '
                    . 'default: 1), '
                    . quoted("\"$what\" is bytes, and no C string")
                    . '); ' . words(@$t[$i .. $k]) . $s->rewrite(\@op)
                    . '; }))';
                $i = $end;
                next;
            }
        }

        $out .= $t->[$i]{text};
    }

    return $out;
}


# Bytes of an ngx_str_t whose length its function never looks at. A cast is
# no harm here; what stands inside an argument may be.

sub counted {
    my ($s, $at, $in) = @_;
    my @out;

    for (split_arguments($in)) {
        my @t = @$_;
        my $verbatim = '';
        while (@t) {
            my $end = $t[0]{type} eq 'ws' ? 0
                      : $t[0]{text} eq '(' ? cast(\@t, 0) : undef;
            last if !defined $end;
            $verbatim .= join '', map { $_->{text} } splice @t, 0, $end + 1;
        }
        push @out, $verbatim . $s->rewrite(\@t);

        my $what = words(@$_);
        $what =~ s/^(?:\((?:const )?(?:u_)?char \*\) ?)+//;
        my ($base) = $what =~ /^(.*?)(?:\.|->)data$/ or next;
        $s->found($at->{file}, $at->{line}, "$at->{text}() of \"$what\", and "
                  . 'nothing here looks at its length')
            if $s->{text} !~ /\Q$base\E ?(?:\.|->) ?len\b/;
    }

    return '(' . join(',', @out) . ')';
}


# (char *) or (const char *) at $i: the index of its end.

sub cast {
    my ($t, $i) = @_;
    my ($k, $text) = ($i, '');

    while ($t->[$k]{text} ne ')') {
        $text .= $t->[$k]{text} if $t->[$k]{type} ne 'ws';
        return if length $text > 20;
        $k++;
    }
    return $text =~ /^\((?:const)?char(?:const)?\*$/ ? $k : undef;
}


# The end of a cast's operand: prefixes, one thing, and what follows it.

sub operand {
    my ($t, $i) = @_;

    $i-- ;
    while (1) {                        # prefixes, casts among them
        $i = significant($t, $i, 1);
        my $text = $t->[$i]{text};
        next if $text =~ /^(?:[*&~!+-]|\+\+|--)$/;
        if ($text eq '(') {
            my $end = closing($t, $i);
            my $in = words(@$t[$i + 1 .. $end - 1]);
            if ($in =~ /^(?:const )?(?:unsigned )?\w+ ?\*+$/) {
                $i = $end;
                next;
            }
            $i = $end;
        }
        last;
    }

    while (1) {
        my $k = significant($t, $i, 1) // last;
        my $text = $t->[$k]{text};
        if ($text eq '(' || $text eq '[') {
            $i = closing($t, $k);
        } elsif ($text eq '.' || $text eq '->') {
            $i = significant($t, $k, 1);
        } elsif ($text eq '++' || $text eq '--') {
            $i = $k;
        } else {
            last;
        }
    }
    return $i;
}


# The arguments of a call, with the assertions, in parentheses.

sub call {
    my ($s, $at, $n, $in) = @_;
    my @args = split_arguments($in);
    my @out = map { $s->rewrite($_) } @args;

    return '(' . join(',', @out) . ')'
        if words(@{ $args[-1] }) eq '...';         # a declaration

    my $wrong = sub {
        $s->found($at->{file}, $at->{line}, "$at->{text}(): $_[0]");
    };
    my @formats = literals($args[$n] // []);

    if (!@formats) {
        $wrong->('the format is no literal: '
                 . words(@{ $args[$n] // [] }));
        return '(' . join(',', @out) . ')';
    }

    my @rest = @args[$n + 1 .. $#args];
    $s->{formats}++;
    push @{ $s->{texts} }, { name => $at->{text}, formats => \@formats,
                             line => $at->{line} };

    for my $format (@formats) {
        my ($wants, $error) = wants($format,
                                    $at->{text} eq 'ngx_claude_out');

        if (defined $error) {
            $wrong->("$error in \"$format\"");
            next;
        }
        if (@$wants != @rest) {
            $wrong->(@rest . ' arguments for ' . @$wants . " of \"$format\"");
            next;
        }
        for my $i (0 .. $#rest) {
            $out[$n + 1 + $i] = assertion($wants->[$i], words(@{ $rest[$i] }),
                                          $format, $out[$n + 1 + $i]);
        }

        my ($to) = words(@{ $args[0] }) =~ /^[&(]*(\w+)/;

        if ($at->{text} eq 'ngx_sprintf' && $s->{arrays}{ $to // '' }
            && grep { $_->[0] =~ /^%(?:s|V|v|\*)$/ } @$wants)
        {
            $wrong->("\"$to\" is an array, and \"$format\" has no bound");
        }
        if ($at->{text} =~ /^ngx_s[nl]printf$/ && $format =~ /%Z/) {
            $wrong->("what is cut off has no %Z: \"$format\"");
        }
    }

    return '(' . join(',', @out) . ')';
}


# One literal, or two that a condition chooses from.

sub literals {
    my ($t) = @_;
    my @t = grep { $_->{type} ne 'ws' } @$t;

    while (@t >= 2 && $t[0]{text} eq '(' && closing(\@t, 0) == $#t) {
        @t = @t[1 .. $#t - 1];
    }
    while (@t > 1 && $t[0]{text} eq '(' && cast(\@t, 0)) {
        splice @t, 0, cast(\@t, 0) + 1;
    }
    if (@t && !grep { $_->{type} ne 'str' } @t) {
        return join '', map { substr $_->{text}, 1, -1 } @t;
    }

    my ($q) = grep { $t[$_]{text} eq '?' } 0 .. $#t;
    return if !defined $q;
    my ($colon) = grep { $t[$_]{text} eq ':' } $q .. $#t;
    return if !defined $colon;
    my @a = literals([@t[$q + 1 .. $colon - 1]]);
    my @b = literals([@t[$colon + 1 .. $#t]]);
    return @a && @b ? (@a, @b) : ();
}


# What a format's arguments must be: [letter, type] each, as ngx_vslprintf()
# reads it.

sub wants {
    my ($format, $json) = @_;
    my @wants;

    while ($format =~ /%/g) {
        $format =~ /\G0?\d*/gc;
        my $sign = 1;

        my $hex = 0;

        while ($format =~ /\G(u|m|X|x|\*|\.\d*)/gc) {
            my $flag = $1;
            return (undef, "the writer knows no %$flag")
                if $json && $flag ne 'u';
            $sign = 0 if $flag =~ /[uXx]/;
            $hex = 1 if $flag =~ /[Xx]/;
            push @wants, ['%*', 'unsigned long'] if $flag eq '*';
        }

        $format =~ /\G(.)/gcs or return (undef, 'a % at the end');
        my $letter = $1;
        my $name = '%' . ($sign ? '' : 'u') . $letter;

        return (undef, "the writer knows no $name")
            if $json && !$json{$letter};

        if ($json && $letter =~ /[JQE]/) {
            push @wants, ["%$letter", 'ngx_str_t *'];
        } elsif ($letter =~ /[ZN%]/) {
            next;
        } elsif ($letter eq 's') {
            push @wants, @wants && $wants[-1][0] eq '%*'
                         && $format =~ /\*s\G/ ? ['%*s', 'bytes']
                                               : ['%s', 'string'];
        } elsif ($letter eq 'V') {
            push @wants, ['%V', 'ngx_str_t *'];
        } elsif ($letter eq 'v') {
            push @wants, ['%v', 'ngx_variable_value_t *'];
        } elsif ($letter eq 'p') {
            push @wants, ['%p', 'pointer'];
        } elsif ($letter eq 'f') {
            push @wants, ['%f', 'double'];
        } elsif ($letter eq 'M' || !$sign && $unsigned{$letter}) {
            push @wants, [$name, $unsigned{$letter}
                                 . ($hex ? "|$signed{$letter}" : '')];
        } elsif ($sign && $signed{$letter}) {
            push @wants, [$name, $signed{$letter}];
        } else {
            return (undef, "nginx knows no $name");
        }
    }

    return \@wants;
}


sub assertion {
    my ($want, $what, $format, $out) = @_;
    my ($letter, $type) = @$want;
    my ($expression, $types) = ("($what)", $type);

    if ($type eq 'string') {
        $types = 'char *|const char *';
    } elsif ($type eq 'bytes') {
        $types = 'char *|const char *|unsigned char *|const unsigned char *|'
                 . 'signed char *';
    } elsif ($type =~ /^ngx_\w+ \*$/) {
        $types = "$type|const $type";
    } elsif ($type eq 'pointer') {
        $expression = "(const void *) ($what)";
        $types = 'const void *';
    } elsif ($type ne 'double') {
        $expression = "+($what)";
        $types =~ s/long/long|long long/ if $letter =~ /L$/;
    }

    my $cases = join '', map { "$_: 1, " } split /\|/, $types;
    my $said = "$letter takes "
        . ($type eq 'string' ? 'a C string (const char *)'
           : $type)
        . ": \"$what\" in \"$format\"";

    # an array may be full to its end

    my $array = $type eq 'string' && $what !~ /^\(* ?"/
        ? "_Static_assert(__builtin_types_compatible_p(__typeof__($what), "
          . "__typeof__(&($what)[0])), "
          . quoted("\"$what\" is an array, and perhaps no C string") . '); '
        : '';

    return " (__extension__ ({ ${array}_Static_assert(_Generic($expression, ${cases}"
        . "default: 0), " . quoted($said) . "); ($out); }))";
}


1;
