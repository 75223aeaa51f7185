# A client of HTTP/2 without TLS that says how much it takes: its windows are
# what the suite makes them. One connection with one request.
#
#   my $c = H2Slow->new($port, window => 0);
#   $c->post('/v1/chat/completions', $body, %headers);
#   $c->until(sub { $c->{headers} });  $c->take(1 << 30);  $c->rest;
#
# headers is true when the response's header is there, data is its body so far,
# end that it is over: 'end', or 'reset'.

package H2Slow;

use strict;
use warnings;

use IO::Select ();
use IO::Socket::INET ();
use Time::HiRes qw(time);

use constant { DATA => 0, HEADERS => 1, RST_STREAM => 3, SETTINGS => 4,
               PING => 6, GOAWAY => 7, WINDOW_UPDATE => 8 };
use constant { END_STREAM => 1, ACK => 1, END_HEADERS => 4, STREAM => 1 };


# Whether the nginx that is tested can do it.

sub there {
    return `${\ClaudeTest::binary()} -V 2>&1` =~ /--with-http_v2_module/;
}


sub new {
    my ($class, $port, %o) = @_;
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                       PeerPort => $port) or die "connect: $!";
    my $c = bless { socket => $socket, raw => '', data => '' }, $class;

    $socket->autoflush(1);
    $c->write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    $c->frame(SETTINGS, 0, 0, pack 'nN', 4, $o{window} // 65535);
    return $c;
}


sub write {
    my ($c, $bytes) = @_;
    local $SIG{PIPE} = 'IGNORE';
    print { $c->{socket} } $bytes;
}


sub frame {
    my ($c, $type, $flags, $stream, $payload) = @_;
    $c->write(substr(pack('N', length $payload), 1)
              . pack('CCN', $type, $flags, $stream) . $payload);
}


# A string of HPACK, as it is; its length in seven bits, and more.

sub string {
    my ($s) = @_;
    my $n = length $s;

    return pack('C', $n) . $s if $n < 127;
    $n -= 127;
    my $length = pack 'C', 127;
    while ($n >= 128) {
        $length .= pack 'C', $n % 128 + 128;
        $n = int($n / 128);
    }
    return $length . pack('C', $n) . $s;
}


sub post {
    my ($c, $path, $body, %headers) = @_;
    my @fields = (':method' => 'POST', ':scheme' => 'http', ':path' => $path,
                  ':authority' => 'localhost',
                  map { $_ => $headers{$_} } sort keys %headers);
    my $block = '';

    while (my ($name, $value) = splice @fields, 0, 2) {
        $block .= "\0" . string($name) . string($value);
    }
    $c->frame(HEADERS, END_HEADERS, STREAM, $block);
    $c->frame(DATA, 0, STREAM, substr $body, 0, 16384, '')
        while length $body > 16384;
    $c->frame(DATA, END_STREAM, STREAM, $body);
}


# It takes so many bytes more.

sub take {
    my ($c, $n) = @_;
    $c->frame(WINDOW_UPDATE, 0, $_, pack 'N', $n) for 0, STREAM;
}


# One read, at most so many seconds, and what came of it.

sub read {
    my ($c, $seconds) = @_;
    return if !IO::Select->new($c->{socket})->can_read($seconds);
    my $n = sysread $c->{socket}, $c->{raw}, 65536, length $c->{raw};
    $c->{end} //= 'eof' if !$n;

    while (length $c->{raw} >= 9) {
        my ($high, $length, $type, $flags, $stream) = unpack 'CnCCN', $c->{raw};
        $length += $high << 16;
        last if length $c->{raw} < 9 + $length;
        my $payload = substr $c->{raw}, 9, $length;
        substr $c->{raw}, 0, 9 + $length, '';

        if ($type == SETTINGS && !($flags & ACK)) {
            $c->frame(SETTINGS, ACK, 0, '');
        } elsif ($type == PING && !($flags & ACK)) {
            $c->frame(PING, ACK, 0, $payload);
        } elsif ($type == HEADERS) {
            $c->{headers} = 1;
        } elsif ($type == DATA) {
            $c->{data} .= $payload;
        }
        $c->{end} //= 'reset' if $type == RST_STREAM || $type == GOAWAY;
        $c->{end} //= 'end' if ($type == DATA || $type == HEADERS)
                               && $flags & END_STREAM;
    }
}


# Reads until it is as wanted; true if it is.

sub until {
    my ($c, $wanted, $seconds) = @_;
    my $until = time + ($seconds // ClaudeTest::patience());

    while (!$wanted->()) {
        my $left = $until - time;
        return 0 if $left <= 0 || $c->{end};
        $c->read($left);
    }
    return 1;
}


# All the rest: data.

sub rest {
    my ($c) = @_;
    $c->until(sub { $c->{end} }, ClaudeTest::patience() * 2);
    return $c->{data};
}


sub close { my ($c) = @_; CORE::close($c->{socket}) }


1;
