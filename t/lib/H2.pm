# HTTP/2 without TLS, as much of it as a client needs that opens requests and
# resets them:
#
#   my $h = H2->new($port);
#   my $id = $h->post('/v1/chat/completions', $body, key => 'sk-a');
#   $h->reset($id);
#   my $r = $h->rest($id);               # status, body
#
# What is sent is never compressed, and of what comes only :status is looked
# at, which nginx sends first.

package H2;

use strict;
use warnings;

use IO::Select ();
use IO::Socket::INET ();
use JSON::PP ();
use Time::HiRes qw(time);

use ClaudeTest ();

my %STATUS = (8 => 200, 9 => 204, 10 => 206, 11 => 304, 12 => 400, 13 => 404,
              14 => 500);


sub new {
    my ($class, $port) = @_;
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
        PeerPort => $port, Timeout => 5) or die "connect: $!";
    my $h = bless { socket => $socket, next => 1, raw => '', streams => {},
                    window => 65535 }, $class;

    $h->write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    $h->frame(4, 0, 0, pack 'nN', 4, 1 << 30);   # a stream's window
    $h->frame(8, 0, 0, pack 'N', 1 << 30);
    return $h;
}


sub write {
    my ($h, $bytes) = @_;
    local $SIG{PIPE} = 'IGNORE';
    for (my $at = 0; $at < length $bytes;) {
        $at += syswrite($h->{socket}, $bytes, 65536, $at) || last;
    }
}


sub frame {
    my ($h, $type, $flags, $stream, $payload) = @_;
    $h->write(substr(pack('N', length $payload), 1)
              . pack('CCN', $type, $flags, $stream) . $payload);
}


sub literal {
    my ($name, $value) = @_;
    return "\0" . pack('C/a*', $name) . pack('C/a*', $value);
}


sub post {
    my ($h, $path, $body, %o) = @_;
    my $id = $h->{next};
    my $key = $o{key} // 'sk-test';

    $h->{next} += 2;
    $h->{streams}{$id} = { body => '', status => 0 };
    $h->frame(1, 4, $id, "\x83\x86\x04" . pack('C/a*', $path)
              . "\x01" . pack('C/a*', 'localhost')
              . literal('authorization', "Bearer $key")
              . literal('content-length', length $body)
              . join '', map { literal(lc $1, $2) if /^([^:]+): (.*)/ }
                             @{ $o{headers} || [] });
    while (length $body > 16384) {
        $h->data($id, 0, substr $body, 0, 16384, '');
    }
    $h->data($id, 1, $body);
    return $id;
}


# The window of the connection alone is kept: bodies are below 64 KB.

sub data {
    my ($h, $id, $flags, $bytes) = @_;
    while ($h->{window} < length $bytes) {
        $h->read(ClaudeTest::patience()) or die "no window\n";
    }
    $h->{window} -= length $bytes;
    $h->frame(0, $flags, $id, $bytes);
}


sub reset { $_[0]->frame(3, 0, $_[1], pack 'N', 8) }


# One read, at most so many seconds.  False at the end, and when time is over.

sub read {
    my ($h, $seconds) = @_;
    return 0 if !IO::Select->new($h->{socket})->can_read($seconds);
    sysread($h->{socket}, $h->{raw}, 65536, length $h->{raw}) or return 0;

    while (length $h->{raw} >= 9) {
        my ($high, $low, $type, $flags, $id) = unpack 'CnCCN', $h->{raw};
        my $len = ($high << 16) + $low;
        last if length $h->{raw} < 9 + $len;
        my $payload = substr $h->{raw}, 9, $len;
        substr($h->{raw}, 0, 9 + $len) = '';
        my $s = $h->{streams}{$id} || {};

        if ($type == 0) {
            $s->{body} .= $payload;
        } elsif ($type == 1) {
            my $first = ord $payload;
            $s->{status} ||= $STATUS{ $first & 0x7f }
                // ($payload =~ /^\x08\x03(\d{3})/ ? $1 : 999);
        } elsif ($type == 3) {
            $s->{end} = 1;
        } elsif ($type == 4 && !($flags & 1)) {
            $h->frame(4, 1, 0, '');
        } elsif ($type == 6 && !($flags & 1)) {
            $h->frame(6, 1, 0, $payload);
        } elsif ($type == 8 && $id == 0) {
            $h->{window} += unpack 'N', $payload;
        }
        $s->{end} = 1 if $type < 2 && $flags & 1;
    }
    return 1;
}


sub rest {
    my ($h, $id, $seconds) = @_;
    my $until = time + ($seconds // ClaudeTest::patience() * 2);
    my $s = $h->{streams}{$id};

    while (!$s->{end}) {
        my $left = $until - time;
        last if $left <= 0 || !$h->read($left);
    }
    $s->{json} = eval { JSON::PP->new->utf8->decode($s->{body}) };
    $s->{text} = eval { $s->{json}{choices}[0]{message}{content} } // '';
    return $s;
}


sub close { CORE::close($_[0]{socket}) }


1;
