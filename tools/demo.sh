#!/usr/bin/env bash
# What `./dev demo` shows once everything is built: the cache types scored on a long text, then a question about it.
# Usage: demo.sh PROGRAM MODEL
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
program=$1 model=$2
text=examples/texts/south.txt
question="What is the name of the ship?"

title() { printf '\n%s\n\n' "$*"; }

title "Shackleton, South! (4096 tokens: 3072 exact, then 1024 scored through each cache; tok/s is decode speed after 4096 tokens)"
"$program" eval -m "$model" -f "$text" -c 4096 --prompt 3072 --cache f16,k2v2,k3v2,k3v3,k4v4 --decode 16

for cache in f16 k3v2; do
  title "Asked after the whole text, cache $cache: $question"
  "$program" run -m "$model" -f "$text" -p "$question" --chat-template auto --cache "$cache" -n 60 --log-level info
done
