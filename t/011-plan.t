# Plans, src/engine: which process serves a turn, how far back it goes and by
# what steps.  The tests are t/unit/unit_plan.c; t/fuzz/fuzz_plan.c has more.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Unit;

Unit::run('plan');
