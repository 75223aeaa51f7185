# Tests in C of what lies below HTTP: t/unit/unit_NAME.c and unit.c become a
# module that nginx loads behind the one under test, so that what is tested is
# what was built, with its sanitizers.  It says TAP.
#
#   use Unit;
#   Unit::run('waist');

package Unit;

use strict;
use warnings;

use ClaudeTest;
use File::Temp ();
use Formats ();
use Test::More ();


# where the nginx under test was configured

sub build {
    my $modules = $ENV{TEST_NGINX_LOAD_MODULES} // '';

    return "${\root()}/build/asan"
        if ($ENV{TEST_SANITIZED} // '') eq 'asan';
    return $1 if $modules =~ m{(/\S+)/obj/[^/\s]+\.so};
    return "${\root()}/build/module";
}


sub run {
    my ($name) = @_;

    Test::More::plan(skip_all => 'valgrind: its nginx is tested by asan')
        if ($ENV{TEST_SANITIZED} // '') eq 'valgrind';

    my $dir = File::Temp->newdir;
    my $unit = root() . '/t/unit';
    my $source = Formats->new(build => build(), root => root());
    my $modules = join '', map { "load_module $_;\n" }
                               split ' ', $ENV{TEST_NGINX_LOAD_MODULES} // '';

    # a debug build has other structures; it is the module that is tested

    $source->{flags} =~ s{ -DNGX_DEBUG=1|-fsanitize\S*}{}g;

    $source->cc("-Wall -Werror -shared -fPIC -I '$unit' -o '$dir/unit.so' "
                . "'$unit/unit.c' '$unit/unit_$name.c' 2>'$dir/log'")
        or die "unit_$name.c is not built:\n", Formats::slurp("$dir/log");

    open my $conf, '>', "$dir/nginx.conf" or die "$dir/nginx.conf: $!\n";
    print $conf "error_log stderr;\n$modules",
                "load_module $dir/unit.so;\nunit_tests $unit;\nevents {}\n";
    close $conf or die;

    system(ClaudeTest::binary(), '-t', '-p', $dir, '-c', "$dir/nginx.conf");

    exit($? >> 8 || ($? ? 1 : 0));
}


1;
