#!/usr/bin/perl

# The suites themselves: each has a number of its own, says in its first lines
# what it proves, and stands in t/README.md, which names none that is not
# there; and the scripts sort out and call only such as are there.

use strict;
use warnings;

use Test::More;

my $root = $ENV{TEST_ROOT} // '.';
chdir $root or die "$root: $!";


sub content {
    my ($file) = @_;
    open my $fh, '<:raw', $file or die "$file: $!";
    local $/;
    return <$fh>;
}


my @perl = glob 't/*.t';
my @suites = (@perl, glob 't/real/*.test.mjs t/clients/*.test.mjs '
                          . 't/stub/*.test.mjs');
my %is = map { $_ => 1 } @suites;

{
    my %by;

    for (@perl) {
        like($_, qr{^t/\d{3}-[a-z0-9-]+\.t\z}, "$_ has a number");
        push @{ $by{ substr $_, 2, 3 } }, $_;
    }
    is_deeply([grep { @$_ > 1 } values %by], [], 'no number is used twice');
}

for (@suites) {
    like(content($_), /\.t\z/ ? qr{\A(?:#!/usr/bin/perl\n\n?)?# \S}
                              : qr{\A/\*(?:\n \*)? \S},
         "$_ says what it proves");
}

{
    my $readme = content('t/README.md');
    my %named;

    $named{"t/$_"}++ for $readme =~ /^- `([^`*]+\.(?:t|test\.mjs))`/gm;
    is_deeply([grep { !$named{$_} } @suites], [], 't/README.md names each');
    is_deeply([grep { !$is{$_} } sort keys %named], [],
              '  and none that is not there');
    is_deeply([grep { $named{$_} > 1 } sort keys %named], [], '  and once');
    is_deeply([grep { !-e "t/$_" } $readme =~ /\]\(([^):]+)\)/g], [],
              '  and leads nowhere that is not there');
}

{
    my $script = content('scripts/test.sh');

    for my $list (qw(TEST_ALONE TEST_ONCE TEST_FIRST)) {
        my ($patterns) = $script =~ /^$list=\(([^)]+)\)/m;
        ok($patterns, "$list is a list of scripts/test.sh") or next;
        for my $pattern (map { tr/'//dr } split ' ', $patterns) {
            ok(scalar(grep { -e } glob $pattern), "  $pattern is there");
        }
    }
}

{
    my %called = map { $_ => 1 }
                     content('scripts/clients.sh') =~ /^    "(t\/[^:]+): /gm;

    is_deeply([grep { !$is{$_} } sort keys %called], [],
              './build.sh clients calls what is there');
    is_deeply([grep { !$called{$_} } grep { m{^t/clients/} } @suites], [],
              '  and all of t/clients/');
}

done_testing();
