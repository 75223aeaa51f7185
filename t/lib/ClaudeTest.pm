# What the suites in plain Perl share: nginx with a master and workers, the
# stand-in CLI, a small HTTP client that can wait for a piece of an answer.
#
#   my $s = ClaudeTest->start(http => '...', server => '...', main => '...');
#   my $r = $s->chat('hi', fake => {...}, stream => 1);   # status headers body
#   my $c = $s->open_chat('hi', ...);  $c->until(qr/.../);  $c->rest;
#   wait_for { condition } 'name';                        # no sleep instead
#   $s->stop;            ends it, and tests that the log has nothing alarming,
#                        and nothing of what was said
#
# preload and environ of start() are nginx's alone; as => [...] is a command that
# starts it, as nobody.
#
# nginx runs as a child in the foreground, so its pid is known; all that a
# suite starts is ended by pid, also when the suite dies.

package ClaudeTest;

use strict;
use warnings;

use Exporter 'import';
use File::Path ();
use IO::Select ();
use IO::Socket::INET ();
use JSON::PP ();
use Silence;
use Test::More ();
use Time::HiRes qw(sleep time);

our @EXPORT = qw(wait_for patience alive port json root cmdline children
                 parent descriptors memory cpu limit state_of);

my $json = JSON::PP->new->utf8->canonical->allow_nonref;
my $servroot = $ENV{TEST_NGINX_SERVROOT} || '/tmp/claude-test-servroot';
my $port = $ENV{TEST_NGINX_PORT} || 31980;
my $instances = 0;
my %started;                           # pid => 1, what END has to end


sub patience { return $ENV{TEST_SANITIZED} ? 60 : 20 }
sub port { return $port + ($_[0] // 0) }
sub json { return $json }

sub root {
    require Cwd;
    return $ENV{TEST_ROOT} || Cwd::getcwd();
}


# wait_for { code } 'name': passes a test as soon as the code is true

sub wait_for(&$;$) {
    my ($code, $name, $seconds) = @_;
    my $until = time + ($seconds // patience());
    my $r;

    while (1) {
        $r = $code->();
        last if $r || time > $until;
        sleep 0.01;
    }

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    Test::More::ok($r, $name) if defined $name;
    return $r;
}


sub state_of {                         # a letter, as in proc(5); or none
    my ($pid) = @_;
    open my $fh, '<', "/proc/$pid/stat" or return '';
    return (<$fh> // '') =~ /\) ([A-Za-z])/ ? $1 : '';
}


sub alive {                            # zombies are not
    my ($pid) = @_;
    return state_of($pid) =~ /^[^ZX]/ ? 1 : 0;
}


sub cmdline {
    my ($pid) = @_;
    open my $fh, '<:raw', "/proc/$pid/cmdline" or return '';
    local $/;
    return <$fh> // '';
}


sub children {
    my ($pid) = @_;
    open my $fh, '<', "/proc/$pid/task/$pid/children" or return;
    return split ' ', <$fh> // '';
}


sub parent {
    my ($pid) = @_;
    open my $fh, '<', "/proc/$pid/stat" or return 0;
    return (split ' ', (<$fh> =~ s/^.*\) //r))[1];
}


# What a process has open, the number of each and what it is.

sub descriptors {
    my ($pid) = @_;
    opendir my $d, "/proc/$pid/fd" or return;
    return map { $_ => readlink("/proc/$pid/fd/$_") // '' }
           grep { /^\d+$/ } readdir $d;
}


sub memory {                           # KB: VmRSS, VmHWM (the most so far)
    my ($pid, $what) = @_;
    open my $fh, '<', "/proc/$pid/status" or return 0;
    my ($kb) = map { /^\Q$what\E:\s+(\d+)/ } <$fh>;
    return $kb // 0;
}


# Seconds that processes have worked: how long one of them keeps others waiting,
# whatever else the machine does.

sub cpu {
    my $ticks = 0;
    for my $pid (@_) {
        my ($stat) = lines_of("/proc/$pid/stat") or next;
        my @f = split ' ', $stat =~ s/^.*\) //r;
        $ticks += $f[11] + $f[12];
    }
    return $ticks / 100;
}


# Another soft limit for a running process; the old one.

sub limit {
    my ($pid, $name, $to) = @_;
    my ($uid, $gid) = map { /^[UG]id:\s+(\d+)/ } lines_of("/proc/$pid/status");

    # root may have no CAP_SYS_RESOURCE, that another user's would need

    my @as = $uid == $> ? () : ('setpriv', "--reuid=$uid", "--regid=$gid",
                                '--clear-groups');
    my ($was) = `@as prlimit --pid $pid --$name --raw --noheadings -o SOFT`
                =~ /(\S+)/;
    system(@as, 'prlimit', '--pid', $pid, "--$name=$to:") == 0
        or die "prlimit --$name=$to\n";
    return $was;
}


sub start {
    my ($class, %o) = @_;
    my $dir = "$servroot/" . ++$instances;
    my $s = bless { dir => $dir, log => "$dir/cli/log", %o }, $class;

    File::Path::make_path(map { "$dir/$_" } qw(logs conf cli/cwd cli/home
                                               temp));
    chmod 0755, $servroot, $dir, "$dir/cli";
    $s->configure(%o);
    system('chown', '-R', 'nobody', $dir) == 0 or die if $o{as};
    $s->run;
    return $s;
}


sub configuration {
    my ($s, %o) = @_;
    my $dir = $s->{dir};
    my $modules = join '', map { "load_module $_;\n" }
                               split ' ', $ENV{TEST_NGINX_LOAD_MODULES} // '';
    my $user = $> != 0 ? '' : $o{nobody} ? $s->nobody : "user root;\n";
    my $root = root();
    my ($main, $http, $more) = map { $_ // '' } @o{qw(main http env)};
    my $workers = $o{workers} // 2;
    my $events = $o{events} // 'worker_connections 512;';
    my $zone = $o{zone} // 'claude_zone claude:2m;';
    my $keys = $o{keys} // 'claude_api_key sk-test name=tester; '
                           . 'claude_api_key sk-other name=other;';
    my $binary = $o{binary} // "$root/t/bin/claude";
    my $server = $o{server} // 'location /v1/ { claude_openai; }';
    my $level = $o{level} // 'info';
    my $listen = $o{listen} // "listen 127.0.0.1:$port;";

    $more .= " 'FAKE_CLAUDE=" . $json->encode({ start => $o{start} }) . "'"
        if $o{start};

    return <<"END";
$modules${user}daemon off;
master_process on;
worker_processes $workers;
pid $dir/nginx.pid;
error_log $dir/logs/error.log $level;
$main
events { $events }
http {
    access_log off;
    client_body_temp_path $dir/temp/body;
    proxy_temp_path $dir/temp/proxy;
    fastcgi_temp_path $dir/temp/fastcgi;
    uwsgi_temp_path $dir/temp/uwsgi;
    scgi_temp_path $dir/temp/scgi;
    default_type text/plain;
    client_max_body_size 40m;
    $zone
    $keys
    claude_binary $binary;
    claude_working_directory $dir/cli/cwd;
    claude_env HOME=$dir/cli/home FAKE_CLAUDE_LOG=$s->{log} $more;
    $http
    server {
        $listen
        server_name localhost;
        location = /health { claude_health; }
        location = /status { claude_status; claude_auth off; }
        $server
    }
}
END
}


# The directive for workers that are nobody's, who may write what CLIs write.

sub nobody {
    my ($s) = @_;
    my ($uid, $gid) = (getpwnam 'nobody')[2, 3];

    chown $uid, $gid, grep { -e } map { "$s->{dir}/$_" }
                                      qw(cli cli/cwd cli/home cli/log);
    return 'user nobody ' . getgrgid($gid) . ";\n";
}


# Whether nobody can start the stand-in where it is.

sub nobody_reaches {
    return $> != 0 || system('setpriv', '--reuid=nobody',
        '--regid=' . (getpwnam 'nobody')[3], '--clear-groups', 'sh', '-c',
        '"$1" --version >/dev/null 2>&1', 'sh', root() . '/t/bin/claude') == 0;
}


sub configure {
    my ($s, %o) = @_;

    open my $fh, '>', "$s->{dir}/conf/nginx.conf" or die "nginx.conf: $!";
    print $fh $o{conf} // $s->configuration(%o);
    close $fh or die;
}


sub binary { return $ENV{TEST_NGINX_BINARY} || 'nginx' }

sub arguments {
    my ($s) = @_;
    return (binary(), '-p', "$s->{dir}/", '-e', "$s->{dir}/logs/error.log",
            '-c', "$s->{dir}/conf/nginx.conf");
}


sub run {
    my ($s) = @_;
    my $pid = fork // die "fork: $!";

    if ($pid == 0) {
        open STDOUT, '>>', "$s->{dir}/logs/stdout";
        open STDERR, '>>', "$s->{dir}/logs/stderr";
        %ENV = (%ENV, LD_PRELOAD => $s->{preload},
                ASAN_OPTIONS => join ':', $ENV{ASAN_OPTIONS} // (),
                                          'verify_asan_link_order=0')
            if $s->{preload};
        %ENV = (%ENV, %{ $s->{environ} || {} });
        exec @{ $s->{as} || [] }, $s->arguments or POSIX::_exit(127);
    }

    $s->{pid} = $pid;
    $started{$pid} = 1;

    wait_for {
        !alive($pid)
            || IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                     PeerPort => $port, Timeout => 1)
    } undef;

    if (!alive($pid)) {
        Test::More::diag($s->stderr, $s->errors);
        die "nginx has not started\n";
    }
}


# A program, or with -shared -fPIC what nginx is to be started with as preload.

sub compile {
    my ($file, $code, @options) = @_;
    my ($cc) = grep { system("command -v $_ >/dev/null 2>&1") == 0 }
                    qw(cc gcc);

    Test::More::plan(skip_all => 'no C compiler') if !$cc;
    open my $fh, '>', "$file.c" or die "$file.c: $!";
    print $fh $code;
    close $fh or die;
    system($cc, @options, '-O1', '-o', $file, "$file.c") == 0
        or die "$file is not built\n";
    chmod 0755, $file;
    return $file;
}


# nginx -t: exit status, output

sub try {
    my ($class, %o) = @_;
    my $dir = "$servroot/" . ++$instances;
    my $s = bless { dir => $dir, log => "$dir/cli/log" }, $class;

    File::Path::make_path(map { "$dir/$_" } qw(logs conf cli/cwd cli/home
                                               temp));
    $o{prepare}->($dir) if $o{prepare};
    for (values %o) {
        s/\$DIR\b/$dir/g if defined && !ref;
    }
    $s->configure(%o);

    my $pid = open(my $out, '-|') // die "fork: $!";
    if ($pid == 0) {
        open STDERR, '>&', \*STDOUT;
        %ENV = (%ENV, %{ $o{environ} || {} });
        # nginx -t frees nothing at its end
        $ENV{ASAN_OPTIONS} = join ':', $ENV{ASAN_OPTIONS} // (),
            'detect_leaks=0';
        exec $s->arguments, '-t' or POSIX::_exit(127);
    }
    my $said = join '', <$out>;
    close $out;
    return ($? >> 8, $said, $dir);
}


sub signal {
    my ($s, $signal) = @_;
    kill $signal, $s->{pid};
}


sub workers {                          # pids, those that shut down aside
    my ($s) = @_;

    # valgrind's command line stays what it was
    return grep { !$s->shuts_down($_) } children($s->{pid})
        if ($ENV{TEST_SANITIZED} // '') eq 'valgrind';

    return grep { cmdline($_) =~ /^nginx: worker process\0/
                  || cmdline($_) =~ /^nginx: worker process *\z/ }
           children($s->{pid});
}


# Whether this worker has said that it shuts down, which takes the log's level.

sub shuts_down {
    my ($s, $pid) = @_;
    return scalar grep { /\b$pid#\d+: gracefully shutting down/ } $s->errors;
}


# Waits until it has ended, and looks into its log.

sub stop {
    my ($s, %o) = @_;
    my $pid = $s->{pid} or return;

    kill $o{signal} // 'QUIT', $pid;
    $s->gone('nginx ends');
    $s->quiet_log(%o);
}


sub gone {
    my ($s, $name, $seconds) = @_;
    my $pid = $s->{pid};
    my $ended;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    wait_for { $ended ||= waitpid($pid, 1) != 0 } $name,
        $seconds && $ENV{TEST_SANITIZED} ? 3 * $seconds : $seconds;
    if (!$ended) {
        kill 'KILL', children($pid), $pid;
        waitpid $pid, 0;
    }
    delete $started{$pid};
    delete $s->{pid};
}


sub quiet_log {
    my ($s, %o) = @_;
    my @bad = grep { /\[(?:alert|crit|emerg)\]/ } $s->errors;
    @bad = grep { $_ !~ $o{allow} } @bad if $o{allow};

    local $Test::Builder::Level = $Test::Builder::Level + 2;
    Test::More::is(join('', @bad), '', 'nothing alarming in the log');
    Test::More::is(join('', told($s->errors)), '',
                   'nothing in it of what was said');
}


sub lines_of {
    open my $fh, '<:raw', $_[0] or return;
    return <$fh>;
}

sub errors { return lines_of("$_[0]{dir}/logs/error.log") }
sub stderr { return lines_of("$_[0]{dir}/logs/stderr") }


sub events {                           # of the stand-in's log
    my ($s, $event) = @_;
    return grep { !defined $event || $_->{event} eq $event }
           map { $json->decode($_) } grep { /\n\z/ } lines_of($s->{log});
}


sub status {
    my ($s) = @_;
    return $json->decode($s->get('/status')->{body});
}


sub wait_idle {                        # no turn runs or waits
    my ($s, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return wait_for {
        my $t = eval { $s->status->{turns} };
        $t && $t->{running} == 0 && $t->{waiting} == 0
    } $name;
}


sub body {
    my ($text, %o) = @_;

    $text .= ' [[fake ' . JSON::PP->new->canonical->encode($o{fake}) . ']]'
        if $o{fake};
    return $json->encode({
        model => 'sonnet', messages => [@{ $o{history} || [] },
            { role => 'user', content => $text }],
        ($o{stream} ? (stream => JSON::PP::true) : ()), %{ $o{with} || {} },
    });
}


sub open_chat {
    my ($s, $text, %o) = @_;
    return $s->send(POST => '/v1/chat/completions',
                    body => $o{body} // body($text, %o), %o);
}

sub chat { return shift->open_chat(@_)->rest }
sub get { my ($s, $path, %o) = @_; return $s->send(GET => $path, %o)->rest }


sub send {
    my ($s, $method, $path, %o) = @_;
    my $key = $o{key} // 'sk-test';
    my $c = ClaudeTest::Connection->new($o{port} // $port, %o);
    my $r = "$method $path HTTP/1.1\r\nHost: localhost\r\n"
            . "Connection: close\r\nAuthorization: Bearer $key\r\n"
            . join('', map { "$_\r\n" } @{ $o{headers} || [] });

    $r .= 'Content-Length: ' . length($o{body}) . "\r\n" if defined $o{body};
    $c->write("$r\r\n" . ($o{body} // ''));
    return $c;
}


# A turn that this worker does not get, of two. It is awake when the other one
# has it: who is to hand a process over gets 500 ms.

sub elsewhere {
    my ($s, $not, $body) = @_;

    kill 'STOP', $not;
    my $c = ClaudeTest::Connection->new($port);
    $c->write("POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
              . "Connection: close\r\nAuthorization: Bearer sk-test\r\n"
              . 'Content-Length: ' . length($body) . "\r\n\r\n");
    $s->get('/health');                # accepted after it
    kill 'CONT', $not;
    wait_for { state_of($not) eq 'S' } undef;
    $c->write($body);
    return $c;
}


END {
    my $status = $?;
    for my $pid (keys %started) {
        kill 'TERM', $pid;
        for (1 .. 200) {
            last if waitpid($pid, 1) != 0;
            sleep 0.02;
        }
        kill 'KILL', $pid if alive($pid);
    }
    $? = $status;
}


package ClaudeTest::Connection;

use Time::HiRes qw(time);


sub new {
    my ($class, $port, %o) = @_;
    my $socket = IO::Socket::INET->new(Proto => 'tcp') or die "socket: $!";

    setsockopt $socket, Socket::SOL_SOCKET(), Socket::SO_RCVBUF(),
               $o{receive_buffer} if $o{receive_buffer};
    connect $socket, Socket::pack_sockaddr_in($port,
                                       Socket::inet_aton('127.0.0.1'))
        or die "connect: $!";
    $socket->autoflush(1);
    return bless { socket => $socket, raw => '' }, $class;
}


sub write {
    my ($c, $bytes) = @_;
    local $SIG{PIPE} = 'IGNORE';
    my $at = 0;
    while ($at < length $bytes) {
        my $n = syswrite $c->{socket}, $bytes, 65536, $at or last;
        $at += $n;
    }
}


# One read, at most so many seconds; 0 at the end, undef when time is over.

sub read {
    my ($c, $seconds) = @_;
    my $select = IO::Select->new($c->{socket});
    return undef if !$select->can_read($seconds);
    my $n = sysread $c->{socket}, $c->{raw}, 65536, length $c->{raw};
    $c->{eof} = 1 if !$n;
    return $n // 0;
}


# Reads until what has come so far matches; true if it does.

sub until {
    my ($c, $re, $seconds) = @_;
    my $until = time + ($seconds // ClaudeTest::patience());

    while ($c->{raw} !~ $re) {
        my $left = $until - time;
        return 0 if $left <= 0 || !$c->read($left);
    }
    return 1;
}


# All the rest: status, headers (lower case), body; cut is true when the body
# has not the end that its framing promises.

sub rest {
    my ($c, $seconds) = @_;
    my $until = time + ($seconds // ClaudeTest::patience() * 2);
    my %r = (status => 0, headers => {}, body => '', cut => 0);

    while (!$c->{eof}) {
        my $left = $until - time;
        last if $left <= 0 || !$c->read($left);
    }
    $r{timeout} = !$c->{eof};
    $c->close if $c->{eof};            # or nginx lingers for five seconds

    my ($head, $body) = split /\r\n\r\n/, $c->{raw}, 2;
    return \%r if !defined $body;

    ($r{status}) = $head =~ m{^HTTP/1\.\d (\d+)};
    for (split /\r\n/, $head) {
        $r{headers}{ lc $1 } = $2 if /^([^:]+):\s*(.*)$/;
    }
    if (($r{headers}{'transfer-encoding'} // '') eq 'chunked') {
        $r{cut} = 1;
        while ($body =~ /\G([0-9a-f]+)\r\n/gci) {
            my $n = hex $1;
            if ($n == 0) {
                $r{cut} = 0;
                last;
            }
            my $at = pos $body;
            last if length($body) < $at + $n + 2;
            $r{body} .= substr $body, $at, $n;
            pos($body) = $at + $n + 2;
        }
    } else {
        $r{body} = $body;
        my $n = $r{headers}{'content-length'};
        $r{cut} = 1 if defined $n && length $body != $n;
    }

    $r{json} = eval { $json->decode($r{body}) };
    my %decoded;                       # megabytes of the same line: once
    for my $line (grep { /^data: \{/ } split /\n/, $r{body}) {
        my $j = $decoded{$line} //= eval { $json->decode(substr $line, 6) }
            or next;
        $r{error} = $j->{error} if $j->{error};
        $r{text} .= $_->{delta}{content} // '' for @{ $j->{choices} || [] };
    }
    $r{text} //= $r{json} && ref $r{json} eq 'HASH' && $r{json}{choices}
                 ? $r{json}{choices}[0]{message}{content} : '';
    $r{error} //= $r{json}{error} if ref $r{json} eq 'HASH';
    $r{done} = $r{body} =~ /^data: \[DONE\]\n\n\z/m ? 1 : 0;
    return \%r;
}


sub close { my ($c) = @_; CORE::close($c->{socket}) }


1;
