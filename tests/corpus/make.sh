#!/bin/sh
# Makes every capture of the corpus anew, each with the product's own commands. What is in the
# captures is decided by timers and sockets of the machine, so new ones differ in their bytes;
# `teamscall replay tests/corpus` says whether this version decides as the one that made them.
#
# Usage: tests/corpus/make.sh [NAME...], from anywhere; $PYTHON is python3 by default.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PYTHONPATH="$here/../..${PYTHONPATH:+:$PYTHONPATH}"
cd "$work"

teamscall() { "$python" -m teamscall "$@"; }
caller() { "$python" "$here/caller.py" "$@"; }
far_side() { "$python" "$here/far_side.py" "$@"; }
wanted() { [ "$names" = all ] || case " $names " in *" $1 "*) ;; *) return 1 ;; esac; }
names=${*:-all}

scripted() { printf '%s' "--engine scripted --set scripted.path=$here/scripts/$1.toml"; }
# A bridge that captures its one call in ./captures, media and words too: all are emulated.
serve="$python -m teamscall serve --config /dev/null --port 0 --standin --standin-port 0
  --authorization open --log-format text --capture captures --set capture.content=full
  --set capture.without_status=true --set journal.enabled=false --set control.enabled=false"
keep() { mv captures/*.tcap "$here/$1.tcap" && rmdir captures; }

if wanted standin-question; then
  caller q.wav v0.6
  teamscall demo $(scripted question) --wav q.wav --capture "$here/standin-question.tcap" || true
fi
if wanted csharp-question; then
  caller q.wav v0.6
  teamscall demo $(scripted question) --wav q.wav --dialect csharp \
    --capture "$here/csharp-question.tcap" || true
fi
if wanted barge-in; then
  caller q.wav v0.6 s1.6 v0.6
  teamscall demo $(scripted barge-in) --wav q.wav --dialect csharp \
    --capture "$here/barge-in.tcap" || true
fi
if wanted backchannel; then
  caller q.wav v0.5 s1.2 v0.2
  far_side emulate --wav q.wav --hang-up-after 0.2 --call-id corpus-backchannel --quiet \
    -- $serve $(scripted backchannel)
  keep backchannel
fi
if wanted engine-dropped; then
  caller q.wav v0.6
  teamscall demo $(scripted engine-dropped) --wav q.wav --dialect csharp \
    --capture "$here/engine-dropped.tcap" || true
fi
if wanted digits; then
  caller q.wav s0.2 v0.6
  far_side emulate --wav q.wav --recording-after 0.3 --dtmf 1@1.2,2@1.5,# --participants 2 \
    --call-id corpus-digits --quiet -- $serve $(scripted question)
  keep digits
fi
if wanted resume; then
  far_side resume -- $serve $(scripted barge-in)
  keep resume
fi
if wanted hostile-gateway; then
  far_side hostile -- $serve $(scripted question)
  keep hostile-gateway
fi
ls -l "$here"/*.tcap
