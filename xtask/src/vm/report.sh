#!/bin/sh
# shellcheck shell=dash
# Runs the payload and tells on the second serial port what came of it.
exec </dev/null >/dev/ttyS1 2>&1
stty -opost </dev/ttyS1
echo "@@boot $(uname -r)"
cd /root || exit 1
# shellcheck source=/dev/null
. /payload.env
timeout -s KILL "$SANDWATCH_VM_TIMEOUT" sh /payload.sh
code=$?
# What the payload left in /out goes back as a tar archive in text.
if [ -n "$(ls -A /out)" ]; then
    printf '\n@@files\n'
    tar -C /out -cf - . | base64
    echo "@@end"
fi
printf '\n@@exit %s\n' "$code"
# Whoever called this switches the machine off; what the port still holds would be gone with it.
sleep 1
