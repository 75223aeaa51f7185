# Plans, src/engine: which process serves a turn, how far back it goes and by
# what steps; holdings, src/spawner: what a process holds, and what of it is
# resumed from a record.  The tests are t/unit/unit_plan.c;
# t/fuzz/fuzz_plan.c has more.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Unit;

Unit::run('plan');
