# What no line of the error log has at a level above debug: words of a client or
# of the model. Those that the suites' clients and stand-ins use over and over
# are known: the scripts in a question, which the clients write, and the answer
# that stand-ins give by default. Each suite looks for them in each log.
#
# A provider's words about an error are the exception.

package Silence;

use strict;
use warnings;

use Exporter 'import';

our @EXPORT = qw(told);

my $words = qr/\[\[(?:fake|stub)\b|\becho: /;


# Of the lines of a log those that tell what was said.

sub told {
    return grep { /$words/ && !/^\S+ \S+ \[debug\]/ } @_;
}


1;
