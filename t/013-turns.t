# Places of turns, src/zone: what they cost where many wait.  The tests are
# t/unit/unit_turns.c.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Unit;

Unit::run('turns');
