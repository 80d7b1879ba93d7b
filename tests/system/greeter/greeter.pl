# greeter.pl [-c] FILE: greets on a port with the word of the file. SIGHUP reads the file again, SIGTERM ends it.
use strict;
use IO::Socket::INET;
use IO::Select;
use Socket;

my $check = $ARGV[0] eq '-c' && shift;
my ($file) = @ARGV;
my (%config, $again);
sub load {
    open(my $in, '<', $file) or die "$file: $!";
    %config = ();
    while (<$in>) { $config{$1} = $2 if /^(\w+) = (.*)$/ }
}
load();
die "$config{word}\n" if $config{word} eq 'rude';
exit 0 if $check;

sub put {
    my ($path, $text) = @_;
    open(my $out, '>', $path) or die "$path: $!";
    print $out $text;
    close $out;
}
put("/proc/$$/comm", 'greeter');
(my $pid = $file) =~ s/greeter.conf$/pid/;
put($pid, "$$\n");
$| = 1;
print "starting\n";
sub logged {
    socket(my $log, AF_UNIX, SOCK_DGRAM, 0) or return;
    connect($log, sockaddr_un('/dev/log')) and send($log, "<22>greeter: $_[0]", 0);
}
$SIG{HUP} = sub { $again = 1 };
$SIG{TERM} = sub { logged('ends'); exit 0 };
my $server = IO::Socket::INET->new(LocalPort => $config{port}, Listen => 20, ReuseAddr => 1) or die "port: $!";
my $all = IO::Select->new($server);
while (1) {
    if ($again) { $again = 0; load(); logged("reads its configuration again"); }
    for my $ready ($all->can_read(0.2)) {
        if ($ready == $server) {
            my $client = $server->accept or next;
            logged('greeted ' . $client->peerhost);
            if ($config{closing}) { print $client "421 later\r\n"; close $client; next; }
            print $client "220 $config{word}\r\n";
            $client->flush;
            $all->add($client);
        } else {
            my $line = <$ready>;
            print $ready "250 done\r\n" if defined $line;
            $all->remove($ready);
            close $ready;
        }
    }
}
