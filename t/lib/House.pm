# The house: which room of the source knows which other, and how large what is
# in them is. scripts/house prints its figures, t/008-house.t keeps its rules.
#
#   my $house = House->new(root => $root);
#   print $house->figures($verbose);
#   $_->{file}, $_->{line}, $_->{what} for @{ $house->faults };
#
# A room is the .c and the .h of one name. It depends on another one whose
# header it includes, and on one that defines a function or a variable that it
# names: a call through a prototype in somebody else's header is a dependency
# as well. Aliases ("#define schema_walk ngx_claude_schema_walk") are the name
# that they stand for. A header "..._private.h" and the room whose name it has
# are one house within the house: neither depends on the other. The symbol
# ngx_http_claude_module, by which nginx finds a configuration, is nobody's.
#
# Folders are those of "ngx_claude_folders" in config, from the bottom up; in
# a tree without any all files are in one.
#
# Nothing is preprocessed: comments and strings are blanked, and definitions
# are found by nginx's style, a function's name and braces in the first column.

package House;

use strict;
use warnings;


use constant { FIELDS => 40, LINES => 100 };

# what a file below that folder must not know of nginx

my $waist = 'http';

sub new {
    my ($class, %o) = @_;
    my $s = bless { %o }, $class;

    $s->{order} = [$s->folders];
    $s->{rank} = { map { $s->{order}[$_] => $_ } 0 .. $#{ $s->{order} } };
    $s->{file} = { map { $_ => $s->file($_) } $s->files };
    $s->{room} = {};
    push @{ $s->{room}{ $_->{room} } }, $_ for $s->sorted;

    $s->definitions;
    $s->dependencies;
    $s->{circles} = [circles([sort keys %{ $s->{room} }], $s->{needs})];
    return $s;
}


sub slurp {
    my ($file) = @_;
    open my $fh, '<:raw', $file or die "$file: $!\n";
    local $/;
    return <$fh>;
}


sub folders {
    my ($s) = @_;
    my $config = -e "$s->{root}/config" ? slurp("$s->{root}/config") : '';
    my ($folders) = $config =~ /^ngx_claude_folders="([^"]*)"/m;
    return split ' ', $folders // '';
}


sub files {
    my ($s) = @_;
    return sort map { s{^\Q$s->{root}\E/}{}r } glob
        join ' ', map { "$s->{root}/$_.[ch]" } '*', map { "src$_/*" } '',
        map { "/$_" } @{ $s->{order} };
}


sub sorted {
    my ($s) = @_;
    return map { $s->{file}{$_} } sort keys %{ $s->{file} };
}


# A file: its text with comments and strings blanked, line by line the same.

sub file {
    my ($s, $path) = @_;
    my $text = slurp("$s->{root}/$path");
    my ($folder, $room, $ext) = $path =~ m{^(?:src/(?:(.*)/)?)?(\w+)\.([ch])$};
    my @includes;

    while ($text =~ /^#[ \t]*include[ \t]+(["<])([^">]+)[">]/mg) {
        push @includes, { name => $2, system => $1 eq '<',
                          line => line($text, $-[0]) };
    }

    my $lines = $text =~ tr/\n//;

    $text =~ s{(/\*.*?\*/)|("(?:[^"\\\n]|\\.)*")|('(?:[^'\\\n]|\\.)*')}
              {$1 ? $1 =~ tr/\n//cdr : $2 ? '""' : '0'}egs;

    return { path => $path, folder => $folder // '', room => $room,
             header => $ext eq 'h', includes => \@includes, text => $text,
             lines => $lines };
}


sub line {
    my ($text, $at) = @_;
    return 1 + (substr($text, 0, $at) =~ tr/\n//);
}


# Functions, structs, names that other files can see, and aliases.

sub definitions {
    my ($s) = @_;

    for my $f ($s->sorted) {
        $s->{alias}{$1} = $2
            while $f->{text} =~ /^#define[ \t]+(\w+)[ \t]+([a-z]\w+)[ \t]*$/mg;
    }

    for my $f ($s->sorted) {
        my $code = $f->{text} =~ s{^#(?:[^\n]*\\\n)*[^\n]*}
                                  {$& =~ tr/\n//cdr}egmr;

        $f->{functions} = [];
        $f->{structs} = [];
        $f->{names} = [];
        $f->{own} = {};

        $s->functions($f, $code);
        $s->structs($f, $code);
        $s->variables($f, $code);

        for (@{ $f->{names} }) {
            $_->{name} = $s->{alias}{ $_->{name} } // $_->{name};
            $s->{owner}{ $_->{name} } //= $f;
        }
    }
}


sub functions {
    my ($s, $f, $code) = @_;

    my $arguments = qr/\((?:[^(){};]|\((?:[^()]|\([^()]*\))*\))*\)/;

    while ($code =~ /^((?:\w[\w *]*\n)?)(\w+)$arguments *\n\{ *\n.*?^\}/msg) {
        my ($type, $name) = ($1, $2);
        my $n = $& =~ tr/\n//;

        push @{ $f->{functions} }, { name => $name, lines => 1 + $n,
                                     line => line($code, $-[2]) };
        if ($type =~ /\bstatic\b/) {
            $f->{own}{$name} = 1;
        } else {
            push @{ $f->{names} }, { name => $name,
                                     line => line($code, $-[2]) };
        }
    }
}


# A bit field is a field, and so is each of a nested struct or union.

sub structs {
    my ($s, $f, $code) = @_;

    my $head = qr/(?:typedef )?(?:struct|union)(?: (\w+))?/;

    while ($code =~ /^$head \{ *\n(.*?)^\}\s*(\w*)/msg) {
        my ($name, $body, $type) = ($1, $2, $3);
        my $line = line($code, $-[0]);
        my $fields = 0;

        $body =~ s/\([^()]*\)//g while $body =~ /\([^()]*\)/;
        $body =~ s/\{|\}[^;]*;/;/g;

        for (split /;/, $body) {
            $fields += 1 + tr/,// if /\w/ && !/(?:struct|union)\s*\w*\s*$/;
        }

        push @{ $f->{structs} }, { name => $name // $type, fields => $fields,
                                   line => $line };
    }
}


sub variables {
    my ($s, $f, $code) = @_;
    return if $f->{header};

    my $other = qr/static|extern|typedef|struct \w+ \{|enum|union/;
    my $rest = qr/(?:\[[^\]]*\])*\s*(?:=[^;]*)?;/;

    while ($code =~ /^(?!$other)\w[\w *\n]*?[\s*](\w+)$rest/mg) {
        push @{ $f->{names} }, { name => $1, line => line($code, $-[1]) };
    }
}


# Each room's dependencies: { room => { other => [file, line, why] } }. Those
# within a file are none.

sub dependencies {
    my ($s) = @_;
    my %header = map { ("$_->{room}.h" => $_) }
                 grep { $_->{header} } $s->sorted;

    $s->{needs} = {};
    $s->{uses} = [];

    for my $f ($s->sorted) {
        for (@{ $f->{includes} }) {
            my $to = $header{ $_->{name} } // next;
            $s->depends($f, $to, $_->{line}, "includes $_->{name}");
        }
        next if $f->{header};

        my (%seen, $line);
        for (split /\n/, $f->{text}) {
            $line++;
            next if /^#\s*include/;
            while (/(?<![\w.])(?<!->)([A-Za-z_]\w*)/g) {
                my $name = $s->{alias}{$1} // $1;
                my $to = $s->{owner}{$name} // next;
                next if $seen{$name}++ || $f->{own}{$1}
                     || $name eq 'ngx_http_claude_module';
                $s->depends($f, $to, $line, "names $name");
            }
        }
    }
}


sub depends {
    my ($s, $from, $to, $line, $why) = @_;
    my ($a, $b) = map { $_->{room} =~ s/_private$//r } $from, $to;

    return if $from->{room} eq $to->{room} || $a eq $b;
    $s->{needs}{ $from->{room} }{ $to->{room} } = 1;
    push @{ $s->{uses} }, { from => $from, to => $to, line => $line,
                            why => $why };
}


# Sets of nodes that reach each other, each sorted (Tarjan).

sub circles {
    my ($nodes, $needs) = @_;
    my ($n, %index, %low, @stack, %on, @found) = (0);
    my $visit;

    no warnings 'recursion';
    $visit = sub {
        my ($v) = @_;
        $index{$v} = $low{$v} = $n++;
        push @stack, $v;
        $on{$v} = 1;

        for my $w (sort keys %{ $needs->{$v} // {} }) {
            if (!defined $index{$w}) {
                $visit->($w);
                $low{$v} = $low{$w} if $low{$w} < $low{$v};
            } elsif ($on{$w} && $index{$w} < $low{$v}) {
                $low{$v} = $index{$w};
            }
        }
        return if $low{$v} != $index{$v};

        my @set;
        do {
            push @set, pop @stack;
            $on{ $set[-1] } = 0;
        } while ($set[-1] ne $v);
        push @found, [sort @set] if @set > 1;
    };
    defined $index{$_} || $visit->($_) for @$nodes;
    return @found;
}


# The longest chain of those nodes, each of which needs the next; a circle is
# one floor.

sub floors {
    my ($nodes, $needs) = @_;
    my %here = map { $_ => $_ } @$nodes;
    my (%set, %below, %height);

    for my $circle (circles($nodes, only($needs, \%here))) {
        $set{$_} = $circle->[0] for @$circle;
    }
    for my $v (@$nodes) {
        my $a = $set{$v} // $v;
        for my $w (grep { $here{$_} } keys %{ $needs->{$v} // {} }) {
            my $b = $set{$w} // $w;
            $below{$a}{$b} = 1 if $a ne $b;
        }
    }

    my $height;
    $height = sub {
        my ($v) = @_;
        return $height{$v} //= do {
            my $most = 0;
            for (keys %{ $below{$v} // {} }) {
                my $h = $height->($_);
                $most = $h if $h > $most;
            }
            1 + $most;
        };
    };

    my ($most) = sort { $b <=> $a } map { $height->($set{$_} // $_) } @$nodes;
    return $most // 0;
}


sub only {
    my ($needs, $here) = @_;
    return { map {
        my $v = $_;
        $v => { map { $_ => 1 } grep { $here->{$_} } keys %{ $needs->{$v} } };
    } grep { $here->{$_} } keys %$needs };
}


# What breaks the rules of the house: { file, line, what } each.

sub faults {
    my ($s) = @_;
    my @faults;
    my $fault = sub {
        my ($f, $line, $what) = @_;
        push @faults, { file => ref $f ? $f->{path} : $f, line => $line,
                        what => $what };
    };
    my %once;

    for (@{ $s->{uses} }) {
        my $way = $s->wrong_way($_->{from}, $_->{to}) // next;
        $fault->($_->{from}, $_->{line}, "$_->{why} of src/$_->{to}{folder}, "
                 . $way);
    }

    for my $circle (@{ $s->{circles} }) {
        my ($f) = sort map { map { $_->{path} } @{ $s->{room}{$_} } } @$circle;
        $fault->($f, 1, 'is in a circle: ' . join ' ', map { short($_) }
                                                       @$circle);
    }

    for my $f ($s->sorted) {
        my $prefix = $s->prefix($f);
        my $name = $f->{path} =~ s{.*/}{}r;

        $fault->($f, 1, "is a second $name") if $once{$name}++;
        $fault->($f, 1, "is not named $prefix...")
            if $f->{room} !~ /^\Q$prefix\E/;

        for (@{ $f->{names} }) {
            $fault->($f, $_->{line}, "$_->{name} is not named $prefix...")
                if $_->{name} !~ /^\Q$prefix\E/;
        }
        for (grep { $_->{lines} > LINES } @{ $f->{functions} }) {
            $fault->($f, $_->{line}, "$_->{name}() has $_->{lines} lines");
        }
        for (grep { $_->{fields} > FIELDS } @{ $f->{structs} }) {
            $fault->($f, $_->{line}, "$_->{name} has $_->{fields} fields");
        }
        $s->knows_http($f, $fault) if $s->below_waist($f);
    }

    return \@faults;
}


sub short { return $_[0] =~ s/^ngx_(?:http_)?claude_//r }


sub below_waist {
    my ($s, $f) = @_;
    my $rank = $s->{rank}{ $f->{folder} } // return 0;
    return $rank < ($s->{rank}{$waist} // @{ $s->{order} });
}


sub prefix {
    my ($s, $f) = @_;
    return $s->below_waist($f) ? 'ngx_claude_' : 'ngx_http_claude_';
}


# Up, or from one dialect to another. What is in no folder is on top.

sub wrong_way {
    my ($s, $from, $to) = @_;
    my ($a, $b) = map { $s->{rank}{ $_->{folder} } // 99 } $from, $to;
    my ($one, $two) = map { $_->{folder} =~ m{^(dialect/.*)} } $from, $to;

    return 'a dialect beside it'
        if defined $one && defined $two && $one ne $two;
    return 'which is above it' if $b > $a;
    return undef;
}


sub knows_http {
    my ($s, $f, $fault) = @_;
    my ($line, %once);

    for (@{ $f->{includes} }) {
        $fault->($f, $_->{line}, "includes <$_->{name}>")
            if $_->{system} && $_->{name} eq 'ngx_http.h';
    }
    for (split /\n/, $f->{text}) {
        $line++;
        next if /^#\s*include/;
        while (/\b(ngx_http_\w+|NGX_HTTP_\w+)/g) {
            $fault->($f, $line, "knows $1") if !$once{$1}++;
        }
    }
}


# The figures as text; verbose: with the names of what is counted.

sub figures {
    my ($s, $verbose) = @_;
    my @files = $s->sorted;
    my @rooms = sort keys %{ $s->{room} };
    my ($lines, $pairs, %folder, %between) = (0, 0);
    my $out = '';
    my $say = sub { $out .= sprintf "%-28s %s\n", @_ };
    my $names = sub { $out .= "    $_\n" for @_ };

    $lines += $_->{lines} for @files;
    $pairs += keys %$_ for values %{ $s->{needs} };

    for my $f (@files) {
        $folder{ $f->{folder} }{ $f->{room} } = 1;
    }
    for (@{ $s->{uses} }) {
        my ($a, $b) = ($_->{from}{folder}, $_->{to}{folder});
        $between{$a}{$b} = 1 if $a ne $b;
    }

    $say->('files', scalar @files);
    $say->('lines', $lines);
    $say->('folders', scalar @{ $s->{order} } || 1);
    $say->('floors', floors(\@rooms, $s->{needs}));
    $say->('floors of folders',
           floors([grep { $_ ne '' } sort keys %folder], \%between));
    for (@{ $s->{order} }) {
        $say->("floors of $_",
               floors([sort keys %{ $folder{$_} }], $s->{needs}));
    }

    $say->('rooms', scalar @rooms);
    $say->('dependencies', $pairs);

    my (%up, %beside, @up, @beside);

    for (@{ $s->{uses} }) {
        my $way = $s->wrong_way($_->{from}, $_->{to}) // next;
        my $pair = "$_->{from}{room} $_->{to}{room}";
        my $name = "$_->{from}{path}:$_->{line}: $_->{why}";
        push @up, $name if $way =~ /above/ && !$up{$pair}++;
        push @beside, $name if $way =~ /beside/ && !$beside{$pair}++;
    }

    $say->('dependencies up', scalar keys %up);
    $names->(@up) if $verbose;
    $say->('dependencies sideways', scalar keys %beside);
    $names->(@beside) if $verbose;

    my @circles = sort { @$b <=> @$a } @{ $s->{circles} };
    my $sizes = join ' ', map { scalar @$_ } @circles;
    $say->('circles', @circles . ($sizes && " ($sizes rooms)"));
    $names->(map { join ' ', map { short($_) } @$_ } @circles) if $verbose;

    my @functions = most(lines => map { @{ $_->{functions} } } @files);
    my @long = grep { $_->{lines} > LINES } @functions;
    my $part = sub { $functions[-1 - int $#functions * $_[0]]{lines} };

    $say->('functions', scalar @functions);
    $say->('lines of a function', sprintf 'median %d, 9 in 10 up to %d',
           $part->(0.5), $part->(0.9)) if @functions;
    $say->('longest function', "$functions[0]{name} $functions[0]{lines}")
        if @functions;
    $say->('functions over ' . LINES, scalar @long);
    $names->(map { "$_->{name} $_->{lines}" } @long) if $verbose;

    my @structs = most(fields => map { @{ $_->{structs} } } @files);

    $say->('fields of largest structs', join ', ', map {
        short($_->{name}) . " $_->{fields}" } splice @structs, 0, 5);

    my ($places, @writers) = $s->writers;
    $say->('writers of the state', "$places in " . @writers
           . (@writers == 1 ? ' file' : ' files'));
    $names->(@writers) if $verbose;

    return $out;
}


sub most {
    my ($key, @all) = @_;
    return sort { $b->{$key} <=> $a->{$key} || $a->{name} cmp $b->{name} }
                @all;
}


# Where the state of a process is assigned: "->phase", and in the folders that
# know one "->state" too, which others have of other things.

sub writers {
    my ($s) = @_;
    my ($places, @files) = (0);

    for my $f ($s->sorted) {
        my $field = $f->{folder} =~ /^(?:cli|engine)$/ ? 'phase|state'
                                                       : 'phase';
        my $n = () = $f->{text} =~ /->(?:$field)\s*=(?!=)/g;
        $places += $n;
        push @files, "$f->{path} $n" if $n;
    }
    return ($places, @files);
}


1;
