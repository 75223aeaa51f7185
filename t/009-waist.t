# The waist, src/turn, with the protocol below it: how an answer's lines are
# told as blocks, how a conversation's blocks are written, and what links
# tell apart.  The tests are t/unit/unit_waist.c.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Unit;

Unit::run('waist');
