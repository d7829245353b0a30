#!/bin/sh
# studio: what the agent of this session says about it.
#
# The agent writes the text and speaks HTTP on a unix socket; this script carries it. Images need not
# have any one program, so the first of python3, curl and perl that works is used. Each prints the
# whole answer and ends with 3 if the agent doesn't give one; any other code means that the program
# itself is of no use here.

socket=/run/studio/agent.sock
seconds=30 # the agent itself gives up waiting for others after 10

usage() {
    cat <<'END'
studio: the session that you are in

  studio status    what runs here, until when, and what you should know
  studio space     how full the session's volume is, and how it grows
  studio save      save the session's files as they are now, and wait until they are safe
  studio history   when they were saved, and what would be lost if this machine were lost now
  studio extend    let the session live for one more lifespan, counted from now

All but `extend` print JSON with `-o json`. Times are those of your time zone.
Exit codes: 0 done; 1 not done, a sentence says why; 2 the command line is wrong; 130 interrupted.
END
}

fail() {
    printf 'studio: %s\n' "$2" >&2
    exit "$1"
}

ask_with_python3() {
    python3 -I -S -c '
import socket, sys
path, request, seconds = sys.argv[1:]
try:
    agent = socket.socket(socket.AF_UNIX)
    agent.settimeout(float(seconds))
    agent.connect(path)
    agent.sendall(request.encode() + b" HTTP/1.0\r\n\r\n")
    answer = b"".join(iter(lambda: agent.recv(65536), b""))
except OSError:
    sys.exit(3)
sys.stdout.buffer.write(answer)
' "$socket" "$1" "$seconds"
}

ask_with_curl() {
    curl -q -s -i --http1.0 --noproxy '*' -m "$seconds" --unix-socket "$socket" \
        -X "${1%% *}" "http://studio${1#* }"
    case $? in
    0) ;;
    7 | 28 | 52 | 55 | 56) return 3 ;; # no connection, no time, no answer
    *) return 1 ;;
    esac
}

ask_with_perl() {
    perl -MIO::Socket::UNIX -e '
my ($path, $request, $seconds) = @ARGV;
$SIG{ALRM} = sub { exit 3 };
alarm $seconds;
my $agent = IO::Socket::UNIX->new(Peer => $path) or exit 3;
print $agent "$request HTTP/1.0\r\n\r\n";
print while <$agent>;
' "$socket" "$1" "$seconds"
}

# Sets `answer`.
ask() {
    [ -S "$socket" ] || fail 1 "$socket is not there: is this the terminal of a session?"
    for client in python3 curl perl; do
        command -v "$client" >/dev/null || continue
        answer=$("ask_with_$client" "$1" 2>/dev/null)
        case $? in
        0) [ -n "$answer" ] && return ;;
        3) ;;
        *) continue ;;
        esac
        fail 1 "the agent of this session doesn't answer: try again in a moment."
    done
    fail 1 'one of python3, curl or perl is needed, and none works here: install one.'
}

# Asks, and prints the answer's body; a refusal goes to standard error.
tell() {
    ask "$1$zone"
    show
}

# Prints the body of `answer`.
show() {
    end=$(printf '\r\n\r\n.') # the dot keeps the line's end from being cut off
    end=${end%.}
    body=${answer#*"$end"}
    code=${answer#HTTP/1.? }
    case $code in
    2*) printf '%s\n' "$body" ;;
    *) fail 1 "$body" ;;
    esac
}

# Has the files saved, and waits for that. The agent answers every few seconds: 202, and where to ask
# next, for as long as it is not done.
save() {
    trap 'printf "\n" >&2; fail 130 "not waiting any more. The saving goes on: see \`studio history\`."' INT
    ask "POST $1$zone"
    said=
    while :; do
        case ${answer#HTTP/1.? } in
        202*) ;;
        *) break ;;
        esac
        if [ -z "$said" ] && [ -t 2 ]; then
            said='The files are being saved. Ctrl-C ends waiting for it, not the saving.'
            printf '%s\n' "$said" >&2
        fi
        place=${answer#*Location: }
        sleep 1 2>/dev/null # an image without it asks more often, nothing else
        ask "GET ${place%%[!a-z0-9/.]*}$zone"
    done
    show
}

zone=$(date +%z 2>/dev/null) # the agent can't know that of whoever asks
case $zone in
[+-][0-9][0-9][0-9][0-9]) zone="?offset=$zone" ;;
*) zone= ;;
esac

command=${1-}
[ $# -gt 0 ] && shift
case "$command $*" in
'status ' | 'space ' | 'history ') tell "GET /$command" ;;
'status -o json' | 'space -o json' | 'history -o json') tell "GET /$command.json" ;;
'save ') save /save ;;
'save -o json') save /save.json ;;
'extend ') tell 'POST /extend' ;;
'help ' | '--help ' | '-h ') usage ;;
' ')
    usage >&2
    exit 2
    ;;
'status '* | 'space '* | 'save '* | 'history '* | 'extend '* | 'help '*)
    fail 2 "\`studio $command\` can't take \`$*\`: see \`studio help\`."
    ;;
*) fail 2 "there is no \`studio $command\`: see \`studio help\`." ;;
esac
