# What a key has on disk is its own: the directories below claude_state_path,
# whose they are, what a CLI is told of them, and how long they stay.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use ClaudeTest;
use Cwd ();
use Test::More;

my $sessions = 0;

sub uuid { return sprintf '0198a2b4-2222-4222-8333-%012d', ++$sessions }
sub named { return (headers => ['X-Session-Id: ' . ($_[0] // uuid())]) }

# the processes of the server that have a home: pid => { variable => value }

sub environment {
    my ($pid) = @_;
    open my $fh, '<', "/proc/$pid/environ" or return {};
    local $/;
    return { map { /^([^=]*)=(.*)/s ? ($1, $2) : () } split /\0/, <$fh> };
}

sub processes {
    my ($s) = @_;
    return map { $_->{pid} } @{ $s->status->{processes} };
}

sub home_of { return environment($_[0])->{CLAUDE_CONFIG_DIR} // '' }
sub cwd_of { return readlink("/proc/$_[0]/cwd") // '' }

sub newest {                           # of a turn: what was not there before
    my ($s, @before) = @_;
    my %before = map { $_ => 1 } @before;
    return (grep { !$before{$_} } processes($s))[0];
}

sub inside { return map { s{.*/}{}r } glob "$_[0]/*" }
sub mode { return sprintf '%o', (stat $_[0])[2] & 07777 }

sub turn {                             # answer, pid of a new process or undef
    my ($s, $text, %o) = @_;
    my @before = processes($s);
    my $r = $s->send(POST => ($o{at} // '/v1') . '/chat/completions', %o,
                     body => $o{body} // ClaudeTest::body($text, %o))->rest;
    return ($r, newest($s, @before));
}

my $agents = 'claude_warm 0; claude_max_concurrent 10;';
my $keys = 'claude_api_key sk-test name=tester; claude_api_key sk-new '
           . 'name=tester; claude_api_key sk-other name=other; '
           . 'claude_api_key sk-plain; claude_api_key sk-odd "name=a/../b"; '
           . 'claude_api_key sk-hash name=key-other;';
my $server = 'location /v1/ { claude_openai; } '
             . 'location /agent/ { claude_openai; claude_tools Read; '
             . 'claude_working_directory off; } '
             . 'location /shared/ { claude_openai; claude_tools Read; }';


# where things are

{
    my $s = ClaudeTest->start(http => $agents, keys => $keys,
                              server => $server, workers => 1);
    my $state = Cwd::realpath($s->{dir}) . '/claude-state';
    my ($r, $chat) = turn($s, 'hi');

    is(mode($state), '700', 'the state path is nobody else\'s');
    is(home_of($chat), "$state/chat", 'a chat has the home of all chats');
    is(environment($chat)->{TMPDIR}, "$state/chat/tmp",
       '  and there its temporary files');
    is(environment($chat)->{CLAUDE_SECURESTORAGE_CONFIG_DIR},
       "$s->{dir}/cli/home/.claude", '  and its login where that was');
    is_deeply([inside("$state/keys")], [], '  and its key none');

    ($r, my $session) = turn($s, 'one', named());
    is($r->{text}, 'echo: one', 'a named session');
    is(home_of($session), "$state/keys/tester", '  has its key\'s home');
    is(mode("$state/keys/tester"), '700', '  which is nobody else\'s');
    is(cwd_of($session), Cwd::realpath("$s->{dir}/cli/cwd"),
       '  and the working directory of the configuration');
    is_deeply([inside("$state/work")], [], '  with none of its own');
    my @files = glob "$state/keys/tester/projects/*/*";
    is(scalar(grep { /\.jsonl\z/ } @files), 1, '  its transcript is there');
    is(scalar(grep { /\.nginx\z/ } @files), 1, '  its record, too');
    ok(!-e "$s->{dir}/cli/home/.claude/projects", '  and nothing in HOME');

    ($r, my $agent) = turn($s, 'two', at => '/agent');
    is(home_of($agent), "$state/keys/tester", 'an agent has its key\'s home');
    is(cwd_of($agent), "$state/work/tester",
       '  and a working directory of its own');
    is(mode("$state/work/tester"), '700', '  which is nobody else\'s');
    is(environment($agent)->{TMPDIR}, "$state/keys/tester/tmp",
       '  and temporary files');

    ($r, $agent) = turn($s, 'two', at => '/agent', key => 'sk-other');
    is(home_of($agent), "$state/keys/other", 'another key\'s has another');
    is(cwd_of($agent), "$state/work/other", '  and another directory');

    ($r, $agent) = turn($s, 'two', at => '/shared', key => 'sk-other');
    is(home_of($agent), "$state/keys/other",
       'where the operator names a directory');
    is(cwd_of($agent), Cwd::realpath("$s->{dir}/cli/cwd"),
       '  it is all keys\', and the home is not');

    for ([plain => 'a key without a name'], [odd => 'a name that is a path'],
         [hash => 'a name like a hash']) {
        my ($key, $what) = @$_;
        ($r, $agent) = turn($s, $key, at => '/agent', key => "sk-$key");
        like(home_of($agent), qr{^\Q$state\E/keys/key-[0-9a-f]{40}\z},
             "$what: digits");
        unlike(home_of($agent), qr/\Q$_\E/, '  that do not tell the key')
            for "sk-$key";
    }
    is(scalar(inside("$state/keys")), 5, 'no two keys have one home');

    # two secrets of one name are one key, so that it can be changed

    my @named = named();
    ($r) = turn($s, 'with the old', @named);
    ($r, my $new) = turn($s, 'with the new', @named, key => 'sk-new');
    is($r->{text}, 'echo: with the new', 'a key that is changed');
    is($new, undef, '  goes on with its session');
    ($r) = turn($s, 'of another', @named, key => 'sk-other');
    is(scalar(@{ (($s->events('asked'))[-1])->{messages} }), 1,
       '  which is no other name\'s');

    $s->stop;
}


# what of it is the operator's to say

my @refused = (
    ['a state path that others may read', qr/"[^"]*there" is open to others/,
     sub { mkdir "$_[0]/there", 0755 }],
    ['a file in its place', qr/"[^"]*there" is not a directory/,
     sub { open my $fh, '>', "$_[0]/there" or die }],
    ['a link in its place', qr/"[^"]*there" is not a directory/,
     sub { symlink '/etc', "$_[0]/there" }],
    ['a link to here at its end', qr/does not end with the name/,
     sub { mkdir "$_[0]/there", 0700 }, 'there/.'],
    ['a link upwards at its end', qr/does not end with the name/,
     sub { mkdir "$_[0]/there", 0700 }, 'there/..'],
    ['a directory of root\'s with something else in it',
     qr/"[^"]*there" has "file" in it, which is none of nginx's/,
     sub { mkdir "$_[0]/there", 0700; open my $fh, '>', "$_[0]/there/file" },
     'there', $> == 0],
    ['a parent that is not there', qr/claude_state_path: .* cannot be found/,
     sub {}, 'none/there', $> == 0],
    ['a parent that others may write', qr/can be written by others/,
     sub { mkdir "$_[0]/open"; chmod 0777, "$_[0]/open" }, 'open/there',
     $> == 0],
);

for (@refused) {
    my ($what, $words, $prepare, $path, $can) = @$_;
    $path //= 'there';
    SKIP: {
        skip "$what: needs root", 1 if defined $can && !$can;
        my ($status, $out) = ClaudeTest->try(
            http => "claude_state_path \$DIR/$path;", prepare => $prepare,
            nobody => 1);
        like($out, $words, "nginx -t: $what");
    }
}

{
    my ($status, $out) = ClaudeTest->try(
        http => 'claude_state_path $DIR/' . 'x' x 180 . ';',
        server => $server);
    like($out, qr/claude_state_path: .* is too long/,
         'nginx -t: a path that leaves agents no room');
    ($status, $out) = ClaudeTest->try(
        http => 'claude_state_path $DIR/a; claude_state_path $DIR/b;');
    like($out, qr/is duplicate/, 'nginx -t: two of them');
}


# workers of another user, whose HOME is not theirs to write

SKIP: {
    skip 'needs root, and a stand-in that nobody can start', 6
        if !ClaudeTest->nobody_reaches || $> != 0;

    my $s = ClaudeTest->start(
        http => "$agents claude_env HOME=/nonexistent;", server => $server,
        workers => 1, nobody => 1);
    my $state = "$s->{dir}/claude-state";
    my $uid = (getpwnam 'nobody')[2];
    my ($r) = turn($s, 'hi');
    is($r->{text}, 'echo: hi', 'HOME cannot be written: a chat');
    ($r) = turn($s, 'one', named());
    is($r->{text}, 'echo: one', '  a named session');
    ($r) = turn($s, 'two', at => '/agent');
    is($r->{text}, 'echo: two', '  an agent');
    is((stat $state)[4], $uid, '  the state is the workers\' user\'s');
    is((stat "$state/work/tester")[4], $uid, '  and so are directories');
    $s->stop;

    # what the master has made belongs to it as long as it is not given away

    ok(-d $state, '  and they are there the next time');
}


# workers that become another user's take with them what there is

SKIP: {
    skip 'needs root, and a stand-in that nobody can start', 6
        if $> != 0 || !ClaudeTest->nobody_reaches;

    my %o = (http => $agents, server => $server, workers => 1);
    my $s = ClaudeTest->start(%o);
    my $state = "$s->{dir}/claude-state";
    my @named = named();
    my ($r) = turn($s, 'one', @named);
    ($r) = turn($s, 'hi', at => '/agent');
    open my $fh, '>', "$state/work/tester/file" or die;
    symlink '/etc/hosts', "$state/work/tester/link";
    my $hosts = (stat '/etc/hosts')[4];
    $s->configure(%o, nobody => 1);
    my ($old) = $s->workers;
    $s->signal('HUP');
    wait_for { my @w = $s->workers; @w == 1 && $w[0] != $old }
        'another user: a reload';
    ($r) = turn($s, 'two', @named);
    is($r->{text}, 'echo: two', '  a session goes on');
    is(scalar(@{ (($s->events('asked'))[-1])->{messages} }), 3,
       '  with all of it');
    ($r) = turn($s, 'hi', at => '/agent');
    is($r->{text}, 'echo: hi', '  agents do');
    is((stat "$state/work/tester/file")[4], (getpwnam 'nobody')[2],
       '  whose files are theirs');
    is((stat '/etc/hosts')[4], $hosts, '  and what links lead to is not');
    $s->stop;
}


# a directory that cannot be made is named

{
    my $s = ClaudeTest->start(http => $agents, server => $server,
                              workers => 1);
    mkdir "$s->{dir}/claude-state/keys", 0700;
    open my $fh, '>', "$s->{dir}/claude-state/keys/tester" or die;
    my ($r) = turn($s, 'one', named());
    is($r->{status}, 503, 'a home that cannot be made: a session is refused');
    is($r->{error}{code}, 'cli_unavailable', '  with the code');
    ok((grep { m{claude-state/keys/tester": state failed \(20: } } $s->errors),
       '  and the log names the path and the reason');
    ($r) = turn($s, 'hi');
    is($r->{text}, 'echo: hi', '  chats go on');
    $s->stop;
}


# a key that is taken out of the configuration

{
    my $s = ClaudeTest->start(
        http => "$agents claude_session_ttl 1s;", keys => $keys,
        server => $server, workers => 1);
    my $state = "$s->{dir}/claude-state";
    my ($r, $gone) = turn($s, 'one', at => '/agent', key => 'sk-other');
    ($r, my $chat) = turn($s, 'one', key => 'sk-other');
    ($r, my $shared) = turn($s, 'one', at => '/shared', key => 'sk-other');
    ($r, my $stays) = turn($s, 'one', at => '/agent');
    for my $dir ("$state/work/other", "$state/work/tester",
                 "$s->{dir}/cli/cwd") {
        open my $fh, '>', "$dir/file" or die;
        mkdir "$dir/deep";
        open $fh, '>', "$dir/deep/file" or die;
    }
    my ($old) = $s->workers;

    $s->{keys} = $keys =~ s/claude_api_key sk-other name=other;//r;
    $s->configure(http => "$agents claude_session_ttl 1s;",
                  keys => $s->{keys}, server => $server, workers => 1);
    $s->signal('HUP');
    wait_for { my @w = $s->workers; @w == 1 && $w[0] != $old }
        'a key is taken out: a reload';
    is($s->chat('hi', key => 'sk-other')->{status}, 401, '  it is refused');
    wait_for { !grep { alive($_) } $gone, $chat, $shared }
        '  its processes end';
    wait_for { !-e "$state/keys/other" && !-e "$state/work/other" }
        '  its directories go, and all in them';
    ok(-e "$state/work/tester/deep/file", '  another key\'s do not');
    ok(-d "$state/keys/tester", '  nor its home');
    ok(-e "$s->{dir}/cli/cwd/deep/file", '  nor the operator\'s directory');

    # and comes back before it is time: what is there stays

    $s->configure(http => "$agents claude_session_ttl 1h;", keys => $keys,
                  server => $server, workers => 1);
    ($old) = $s->workers;
    $s->signal('HUP');
    wait_for { my @w = $s->workers; @w == 1 && $w[0] != $old }
        'a key is put in: a reload';
    ($r) = turn($s, 'one', at => '/agent', key => 'sk-other');
    is($r->{text}, 'echo: one', '  it is answered');
    is_deeply([inside("$state/work/other")], [], '  in an empty directory');

    # nor does anything go while there is a list that cannot be read

    open my $fh, '>', "$state/names.0" or die;
    open $fh, '>', "$state/keys/other/nginx-removed" or die;
    utime 1, 1, "$state/keys/other/nginx-removed";
    $s->configure(http => "$agents claude_session_ttl 1s;",
                  keys => $s->{keys} = $keys =~ s/claude_api_key sk-other [^;]*;//r,
                  server => $server, workers => 1);
    ($old) = $s->workers;
    $s->signal('HUP');
    wait_for { my @w = $s->workers; @w == 1 && $w[0] != $old }
        'a list of another nginx, empty: a reload';
    wait_for { !-e "$state/keys/other/nginx-removed" } '  it was looked at';
    ok(-d "$state/keys/other" && -d "$state/work/other",
       '  and no key has gone');
    $s->stop;
}


# nor is a new key taken for a former one, where it cannot be written down

{
    my %o = (http => "$agents claude_session_ttl 1s;", server => $server,
             workers => 1);
    my $s = ClaudeTest->start(%o);
    my $state = "$s->{dir}/claude-state";
    my $mark = "$state/keys/fresh/nginx-removed";
    my $list = wait_for { (glob "$state/names.????????")[0] }
        'there is a list of keys';
    mkdir "$list.new";
    my ($old) = $s->workers;
    $s->configure(%o, 
                  keys => $s->{keys} = "$keys claude_api_key sk-x name=fresh;");
    $s->signal('HUP');
    wait_for { my @w = $s->workers; @w == 1 && $w[0] != $old }
        'a list that cannot be written: a reload';
    wait_for { grep { /names\..*cannot be written/ } $s->errors }
        '  the log says so';
    mkdir $_ for "$state/keys", "$state/keys/fresh";
    open my $fh, '>', $mark or die;
    utime 1, 1, $mark;
    wait_for { !-e $mark } '  a key that is new is looked at';
    ok(-d "$state/keys/fresh", '  and has its home still');
    $s->stop;
}


# what an agent may have left there, of which its directory is made free

SKIP: {
    skip 'needs root, and a stand-in that nobody can start', 3
        if $> != 0 || !ClaudeTest->nobody_reaches;

    my %o = (http => "$agents claude_session_ttl 1s;", keys => $keys,
             server => $server, workers => 1, nobody => 1);
    my $s = ClaudeTest->start(%o);
    my $state = "$s->{dir}/claude-state";
    my ($r, $gone) = turn($s, 'one', at => '/agent', key => 'sk-other');
    is($r->{text}, 'echo: one', 'odd directories');
    my ($uid, $gid) = (getpwnam 'nobody')[2, 3];
    my @made = ("$state/work/other/fetched", "$state/work/other/closed");
    mkdir $_ for @made, "$made[1]/in";
    open my $fh, '>', "$made[0]/file" or die;
    push @made, "$made[0]/file", "$made[1]/in";
    my $deep = "$state/work/other";
    for (1 .. 300) {
        $deep .= '/d';
        mkdir $deep or die $!;
        push @made, $deep;
    }
    chown $uid, $gid, @made;
    chmod 0500, $made[0];
    chmod 0, $made[1];

    my ($old) = $s->workers;
    $o{keys} = $keys =~ s/claude_api_key sk-other name=other;//r;
    $s->configure(%o);
    $s->signal('HUP');
    wait_for { my @w = $s->workers; @w == 1 && $w[0] != $old }
        '  a reload without their key';
    wait_for { !-e "$state/keys/other" } '  its home goes';
    ok(!-e "$state/work/other", '  and its working directory before');
    $s->stop;
}

done_testing();
