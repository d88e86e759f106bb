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
trap 'rm -rf "$work"; [ -z "${fake:-}" ] || kill "$fake"' EXIT
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
door="--set control.enabled=true --set control.socket=door"
# A line without a loudspeaker: no echo is looked for, which is most of the work.
no_echo="--set barge_in.echo_immunity=false"
tenant=00000000-0000-4000-8000-00000000000a
realtime="--engine openai --set mode=realtime --set openai.api_key=sk-stand-in
  --set openai.base_url=http://127.0.0.1:24010/v1"
# Stands in for OpenAI until the end, or until the next one does.
script=realtime
fake_openai() {
  [ -z "${fake:-}" ] || kill "$fake"
  "$python" -m teamscall fake-openai --port 24010 --script "$here/scripts/$script.toml" "$@" >fake.log 2>&1 &
  fake=$!
  sleep 2
}
# So many words, all alike: the same sound, which keeps a capture small.
well() { printf 'Well'; for _ in $(seq 2 "$1"); do printf ' well'; done; printf .; }
# The bridge with an engine that is played by a script, see vendor.py.
vendor() { printf '%s' "$python $here/vendor.py $here/scripts/$1.vendor.toml ${serve#*teamscall }"; }
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
if wanted lost; then
  far_side lost -- $serve $(scripted barge-in) --set bridge.resume_grace_ms=1000
  keep lost
fi
if wanted think-ahead; then
  caller v04.wav v0.4; caller v03s06v03.wav v0.3 s0.6 v0.3
  cp "$here/scripts/think-ahead.caller.toml" .
  far_side emulate --script think-ahead.caller.toml --call-id corpus-think-ahead --quiet \
    -- $serve $(scripted think-ahead) --set inbound.greeting="Well well well well well well." \
    --set inbound.greeting_interruptible=false
  keep think-ahead
fi
if wanted hostile-gateway; then
  far_side hostile -- $serve $(scripted question)
  keep hostile-gateway
fi
if wanted gate; then
  caller v04.wav v0.4; caller v06.wav v0.6
  cp "$here/scripts/gate.caller.toml" .
  far_side emulate --script gate.caller.toml --call-id corpus-gate --quiet \
    -- $serve $(scripted question)
  keep gate
fi
if wanted group; then
  caller v06.wav v0.6
  cp "$here/scripts/group.caller.toml" .
  far_side emulate --script group.caller.toml --call-id corpus-group --quiet \
    -- $serve $(scripted well)
  keep group
fi
if wanted noise; then
  caller v06.wav v0.6; caller v04.wav v0.4; caller v01.wav v0.1
  cp "$here/scripts/noise.caller.toml" .
  far_side emulate --dialect csharp --script noise.caller.toml --call-id corpus-noise --quiet \
    -- $serve $(scripted well) --set bridge.resume_grace_ms=3000
  keep noise
fi
if wanted two-questions; then
  caller v06.wav v0.6; caller v03s04v03.wav v0.3 s0.4 v0.3
  cp "$here/scripts/two-questions.caller.toml" .
  far_side emulate --script two-questions.caller.toml --call-id corpus-two-questions --quiet \
    -- $serve $(scripted slow) --set filler.after_ms=300 --set filler.words=Hm.
  keep two-questions
fi
if wanted think-fails; then
  caller q.wav s0.1 v0.3 s2.2 v0.3
  far_side emulate --dialect csharp --wav q.wav --hang-up-after 2 --call-id corpus-think-fails \
    --quiet -- $serve $(scripted think-fails) --set goodbye.apology=Well.
  keep think-fails
fi
if wanted idle; then
  cp "$here/scripts/idle.caller.toml" .
  far_side emulate --script idle.caller.toml --call-id corpus-idle --quiet \
    -- $serve $(scripted question) --set inbound.greeting=Well. \
    --set idle.reprompt_after_ms=1000 --set idle.reprompt=Well. \
    --set idle.hangup_after_ms=2000 --set idle.goodbye=Well.
  keep idle
fi
if wanted time-limit; then
  caller q.wav s0.2 v0.6
  far_side emulate --wav q.wav --duration 8 --call-id corpus-time-limit --quiet \
    -- $serve $(scripted well) --set max_duration_seconds=2 --set goodbye.time_limit=Well.
  keep time-limit
fi
if wanted operator; then
  caller q.wav v0.4
  far_side emulate --dialect csharp --wav q.wav --duration 12 --call-id corpus-operator --quiet \
    + 2.0 speak corpus-operator "Well well well." + 2.1 speak corpus-operator "Well." \
    + 2.2 end corpus-operator --after-speech \
    -- $serve $door $(scripted well)
  keep operator
fi
if wanted outbound; then
  far_side emulate --dialect csharp --answer pick-up --ring 0.3 --quiet \
    + 1.5 call user:00000000-0000-4000-8000-000000000002 --mode notify --wait ended \
    -m "Well well well." \
    -- $serve $door $(scripted well) --set outbound.allow_to=*
  keep outbound
fi
if wanted realtime; then
  caller q.wav s0.2 v0.6 s1.25 v0.3
  fake_openai --think-ms 100 --speak-ms 50
  far_side emulate --wav q.wav --duration 3.1 --call-id corpus-realtime --quiet \
    -- $serve $realtime
  keep realtime
fi
if wanted fallback; then
  caller q.wav s0.2 v0.4 s2 v0.4
  fake_openai --think-ms 100 --speak-ms 50 --fail session:drop:after=1
  far_side emulate --wav q.wav --hang-up-after 0.2 --call-id corpus-fallback --quiet \
    -- $serve $realtime --set fallback=streaming
  keep fallback
fi
if wanted hum; then
  caller q.wav v0.6 s1.4 v0.04 s0.4 h0.3 s1.4 h0.3 v0.9
  far_side emulate --dialect csharp --wav q.wav --duration 8 --call-id corpus-hum --quiet \
    -- $serve $(scripted hum)
  keep hum
fi
if wanted click; then
  caller q.wav v0.6 s1.5 v0.1 s0.6
  far_side emulate --wav q.wav --duration 3.6 --call-id corpus-click --quiet \
    -- $serve $(scripted mhm) --set barge_in.min_speech_ms=200
  keep click
fi
if wanted no-transcript; then
  caller q.wav s0.2 v0.4 s4
  fake_openai --think-ms 100 --speak-ms 50 --hear-ms 50 --fail hear:stall:times=9
  far_side emulate --dialect csharp --wav q.wav --duration 12 --call-id corpus-no-transcript \
    --quiet -- $serve $realtime --set mode=streaming --set endpointing.speculate_after_ms=0
  keep no-transcript
fi
if wanted min-words; then
  caller q.wav v0.6 s1.4 v0.3 s1.2 v0.8
  far_side emulate --wav q.wav --duration 7 --call-id corpus-min-words --quiet \
    -- $serve $(scripted hum) --set barge_in.min_words=2
  keep min-words
fi
if wanted unheard; then
  caller q.wav s0.2 v0.4 s3
  fake_openai --think-ms 100 --speak-ms 50 --hear-ms 50 --fail hear:report:times=1 \
    --fail think:stall:times=1
  far_side emulate --wav q.wav --duration 3.3 --call-id corpus-unheard --quiet \
    -- $serve $realtime --set mode=streaming --set response_timeout_ms=1000 \
    --set endpointing.speculate_after_ms=0 --set goodbye.apology=Well.
  keep unheard
fi
if wanted cut-early; then
  caller q.wav v0.4 s1.8 v0.6 s0.2
  script=long
  fake_openai --think-ms 100 --speak-ms 50 --hear-ms 50 --speed 1
  far_side emulate --dialect csharp --wav q.wav --duration 4.3 --call-id corpus-cut-early --quiet \
    -- $serve $realtime --set mode=streaming --set endpointing.speculate_after_ms=0
  keep cut-early
  script=realtime
fi
if wanted filler-sound; then
  caller q.wav v0.6; caller ding.wav h1.5
  far_side emulate --dialect csharp --wav q.wav --hang-up-after 0.2 --call-id corpus-filler-sound \
    --quiet -- $serve $(scripted slow) --set filler.after_ms=300 --set filler.sound=ding.wav
  keep filler-sound
fi
if wanted dead; then
  far_side dead -- $serve $(scripted question) --set serve.idle_timeout_ms=1500
  keep dead
fi
if wanted flood; then
  far_side flood -- $serve $(scripted question)
  keep flood
fi
if wanted pictures; then
  caller v04.wav v0.4
  "$python" -c 'from PIL import Image; Image.new("RGB", (16, 9), "teal").save("p.png")'
  cp "$here/scripts/pictures.caller.toml" .
  far_side emulate --script pictures.caller.toml --call-id corpus-pictures --quiet \
    -- $serve $(scripted question)
  keep pictures
fi
if wanted live; then
  caller q.wav s0.2 v0.6 s1.25 v0.3
  fake_openai --think-ms 100 --speak-ms 50
  far_side emulate --wav q.wav --duration 3.5 --call-id corpus-live --quiet \
    -- $serve $realtime --set mode=live
  keep live
fi
if wanted ringing; then
  far_side emulate --answer pick-up --ring 0.5 --leg-first --listen 127.0.0.1:24011 --quiet \
    + 1.5 call user:00000000-0000-4000-8000-000000000002 --mode notify --wait ended -m "Well well." \
    -- $serve $door $(scripted well) --set outbound.allow_to=* \
    --set standin.worker_base_url=http://127.0.0.1:24011 --set outbound.tenant=$tenant
  keep ringing
fi
if wanted unanswered; then
  far_side emulate --answer no-answer --ring 4 --leg-first --listen 127.0.0.1:24011 --quiet \
    + 1.5 call user:00000000-0000-4000-8000-000000000002 --mode notify --wait ended -m "Well well." \
    -- $serve $door $(scripted well) --set outbound.allow_to=* \
    --set standin.worker_base_url=http://127.0.0.1:24011 --set outbound.tenant=$tenant --set outbound.ring_timeout_ms=1500
  keep unanswered
fi
if wanted vendor-turns; then
  caller over.wav s0.2 v0.4 s0.9 v0.2 s1 v0.4 s0.8
  cp "$here/scripts/vendor-turns.caller.toml" .
  far_side emulate --script vendor-turns.caller.toml --call-id corpus-vendor-turns --quiet \
    -- $(vendor vendor-turns) $no_echo
  keep vendor-turns
fi
if wanted late-words; then
  far_side play corpus-late-words s0.2 v0.4 s0.8 v0.2 s0.6 v0.2 s0.2 m1.5 s0.5 \
    -- $(vendor late-words) $no_echo --set barge_in.min_speech_ms=160
  keep late-words
fi
if wanted duplex; then
  far_side play corpus-duplex s0.2 v0.4 s0.9 v0.4 s0.9 v0.4 m3.2 v0.3 s1 v0.4 s0.2 \
    -- $(vendor duplex) $no_echo --set barge_in.min_speech_ms=300 \
    --set endpointing.adaptive=false
  keep duplex
fi
if wanted stalled; then
  far_side play corpus-stalled s0.2 v0.4 s1.3 v0.2 s0.9 m11.5 v0.4 s1.4 \
    -- $(vendor stalled) $no_echo --set endpointing.adaptive=false
  keep stalled
fi
if wanted held; then
  far_side play corpus-held s0.1 v0.4 s0.6 m37 -- $(vendor held)
  keep held
fi
if wanted silent; then
  far_side play corpus-silent s0.1 v0.2 m14 \
    -- $(vendor silent) --set goodbye.apology=Well. --set goodbye.deadline_ms=1000
  keep silent
fi
if wanted spent; then
  far_side play corpus-spent s0.2 v0.3 s1 v0.3 s1.5 v0.3 s1.6 \
    -- $(vendor spent) $no_echo --config "$here/scripts/spent.config.toml" \
    --set endpointing.adaptive=false
  keep spent
fi
if wanted late-engine; then
  far_side play corpus-late-engine s0.2 v0.4 s0.6 v0.3 s1.9 v0.3 s2.7 \
    -- $(vendor late-engine) $no_echo --set streaming.silence_duration_ms=1500 \
    --set response_timeout_ms=700
  keep late-engine
fi
if wanted messages; then
  caller q.wav s1.6 v0.2 s2.3 v0.6
  far_side emulate --wav q.wav --duration 7 --call-id corpus-messages --quiet \
    + 0.7 speak corpus-messages "$(well 30)" + 0.8 speak corpus-messages "$(well 10)" \
    + 0.9 speak corpus-messages "$(well 4)" \
    -- $serve $door $(scripted messages) $no_echo
  keep messages
fi
if wanted echo; then
  caller v04.wav v0.4
  cp "$here/scripts/echo.caller.toml" .
  far_side emulate --script echo.caller.toml --call-id corpus-echo --quiet -- $serve --engine echo
  keep echo
fi
if wanted wait; then
  caller q.wav s0.2 v0.3 s1.8 v0.3 s0.9 v0.2
  far_side emulate --wav q.wav --duration 5.2 --call-id corpus-wait --quiet \
    -- $serve $(scripted wait) --set barge_in.enabled=false $no_echo --set filler.after_ms=300 \
    --set filler.words="$(well 12)" --set inbound.greeting="$(well 20)" \
    --set streaming.silence_duration_ms=400 --set endpointing.adaptive=false
  keep wait
fi
if wanted fails; then
  far_side play corpus-fails s1 -- $(vendor fails) --set goodbye.apology="Well well well well."
  keep fails
fi
if wanted fluent; then
  pause="s0.26 v0.2"
  caller q.wav v0.2 $pause $pause $pause $pause $pause $pause $pause $pause s1
  far_side emulate --wav q.wav --duration 5.4 --call-id corpus-fluent --quiet \
    -- $serve $(scripted question) --set endpointing.shortest_ms=300
  keep fluent
fi
# The rules are in a file that the far side changes.
guarded="${serve%--authorization open*}${serve#*--authorization open} $door"
if wanted door; then
  "$python" "$here/door.py" csharp -- $guarded $(scripted question) --set max_concurrent_calls=1
  keep door
fi
if wanted door-standin; then
  "$python" "$here/door.py" standin -- $guarded $(scripted question)
  keep door-standin
fi
if wanted door-flood; then
  "$python" "$here/door.py" flood -- $guarded $(scripted question) --set max_concurrent_calls=100
  keep door-flood
fi
if wanted words; then
  far_side play corpus-words s0.2 v0.3 s0.5 v0.2 s0.8 v1.7 s1.1 v0.1 s0.8 \
    -- $(vendor words) $no_echo --set endpointing.adaptive=false
  keep words
fi
if wanted goodbye; then
  caller v02.wav v0.2
  cp "$here/scripts/goodbye.caller.toml" .
  far_side emulate --script goodbye.caller.toml --call-id corpus-goodbye --quiet \
    -- $serve $(scripted well) --set max_duration_seconds=1 \
    --set goodbye.time_limit="$(well 14)"
  keep goodbye
fi
if wanted deaf; then
  far_side play corpus-deaf s0.2 v0.3 s1.7 -- $(vendor deaf) $no_echo --set goodbye.apology=Well.
  keep deaf
fi
if wanted signs; then
  far_side signs -- $serve $(scripted question) --set standin.idle_timeout_ms=1500
  keep signs
fi
if wanted switched; then
  far_side play corpus-switched s0.1 v0.3 s0.5 v0.2 s0.8 v0.4 s1.3 v0.5 s0.5 \
    -- $(vendor switched) $no_echo
  keep switched
fi
if wanted knocks; then
  far_side play corpus-knocks s0.1 v0.3 s0.8 v0.06 s1.3 h0.2 v0.3 s0.7 m15.4 s0.3 \
    -- $(vendor knocks) $no_echo --set barge_in.min_speech_ms=40
  keep knocks
fi
if wanted settled; then
  far_side play corpus-settled s0.2 v0.4 s1.5 v0.2 s1.5 v0.2 s1.2 -- $(vendor settled) $no_echo
  keep settled
fi
if wanted told; then
  caller v04.wav v0.4
  cp "$here/scripts/told.caller.toml" .
  far_side emulate --script told.caller.toml --call-id corpus-told --quiet \
    -- $serve $(scripted well) $no_echo
  keep told
fi
if wanted gate-over; then
  caller v04.wav v0.4; caller v02.wav v0.2
  cp "$here/scripts/gate-over.caller.toml" .
  far_side emulate --script gate-over.caller.toml --call-id corpus-gate-over --quiet \
    -- $serve $(scripted think-ahead)
  keep gate-over
fi
if wanted lost-limit; then
  far_side lost -- $serve $(scripted barge-in) --set bridge.resume_grace_ms=2000 \
    --set max_duration_seconds=3 --set goodbye.time_limit=Well.
  keep lost-limit
fi
if wanted broken; then
  far_side broken -- $serve $(scripted barge-in) $no_echo
  keep broken
fi
if wanted clicks; then
  far_side play corpus-clicks s0.2 v0.4 s1.1 v0.06 s0.1 v0.06 s0.1 v0.06 s0.1 v0.06 s0.2 \
    v0.06 s0.02 v0.12 s0.7 \
    -- $serve $(scripted well) $no_echo --set barge_in.pause_ms=120 --set barge_in.min_speech_ms=160
  keep clicks
fi
if wanted keys; then
  caller v03.wav v0.3; caller ding.wav h0.2
  cp "$here/scripts/keys.caller.toml" .
  far_side emulate --script keys.caller.toml --call-id corpus-keys --quiet \
    -- $serve $(scripted keys) $no_echo --set inbound.greeting="$(well 8)" \
    --set endpointing.adaptive=false \
    --set inbound.greeting_interruptible=false --set filler.after_ms=300 --set filler.sound=ding.wav
  keep keys
fi
ls -l "$here"/*.tcap
