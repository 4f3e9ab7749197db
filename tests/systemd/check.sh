#!/bin/sh
# shellcheck shell=dash
# The service under a real systemd, as the first process of a real kernel: what a person would do by hand. Each line that
# begins with "test " is read as one of libtest.
alerts=/var/log/sandwatch/alerts.jsonl
good=0
failed=0

passed() {
    echo "test $1 ... ok"
    good=$((good + 1))
}
broke() {
    echo "test $1 ... FAILED"
    failed=$((failed + 1))
    echo "---- $1: $2"
    systemctl status sandwatch.service --no-pager --full
    journalctl -u sandwatch.service --no-pager | tail -30
}

# Waits up to a minute until the command succeeds.
until_true() {
    tries=0
    while ! eval "$1"; do
        tries=$((tries + 1))
        if [ "$tries" -gt 120 ]; then return 1; fi
        sleep 0.5
    done
}

property() { systemctl show --property "$1" --value sandwatch.service; }

name=unit_file_has_no_mistakes
if verdict=$(systemd-analyze verify /etc/systemd/system/sandwatch.service 2>&1) && [ -z "$verdict" ]; then
    passed "$name"
else
    broke "$name" "$verdict"
fi

# `start` and `enable --now` return once the agent has said that it watches.
name=service_is_ready_once_the_agent_watches
systemctl daemon-reload
if systemctl enable --now sandwatch && [ "$(property ActiveState)" = active ] && [ "$(property StatusText)" = "watching 1 worker" ]; then
    passed "$name"
else
    broke "$name" "status: $(property StatusText)"
fi

name=theft_in_a_unit_is_told_under_all_restrictions_of_the_service
systemctl restart toy.service
if until_true "grep -q '\"identity\":\"ssh-private-key\"' $alerts"; then passed "$name"; else broke "$name" "$(tail -3 $alerts)"; fi

# UMask=0077 of the unit is for what the agent keeps; whoever ships the file's lines is in its group.
name=file_of_alerts_is_readable_by_its_group_as_documented
if [ "$(stat -c %a $alerts)" = 640 ]; then passed "$name"; else broke "$name" "mode $(stat -c %a $alerts)"; fi

# What docs/install-host.md and docs/operations.md have a person ask.
name=service_answers_as_the_documents_say
wrong=
systemctl status sandwatch --no-pager | grep -q 'watching 1 worker' || wrong="$wrong systemctl status;"
until_true 'sandwatch status --ready >/dev/null' || wrong="$wrong status --ready;"
sandwatch status >/dev/null || wrong="$wrong status;"
sandwatch log verify >/dev/null || wrong="$wrong log verify;"
# 1: not everything is seen here.
code=0
sandwatch doctor >/dev/null || code=$?
[ $code -le 1 ] || wrong="$wrong doctor ($code);"
if [ -z "$wrong" ]; then passed "$name"; else broke "$name" "$wrong"; fi

name=agent_has_the_capabilities_of_its_unit_and_no_other
# BPF 39, PERFMON 38, SYS_PTRACE 19, NET_ADMIN 12, DAC_READ_SEARCH 2; of these it keeps 39, 19 and 2, in every thread.
wrong=
for task in /proc/"$(property MainPID)"/task/*; do
    for line in 'CapBnd:.*000000c000081004' 'CapEff:.*0000008000080004' 'CapPrm:.*0000008000080004' 'CapAmb:.*0000000000000000' 'NoNewPrivs:.*1' 'Seccomp:.*2'; do
        if ! grep -q "^$line\$" "$task/status"; then wrong="$wrong $(cat "$task/comm"): $(grep "^${line%%:*}:" "$task/status");"; fi
    done
done
if [ -z "$wrong" ]; then passed "$name"; else broke "$name" "$wrong"; fi

name=reload_loads_the_rules_again_and_ends_nothing
before=$(property MainPID)
systemctl reload sandwatch.service
if until_true "journalctl -u sandwatch.service --no-pager | grep -q 'SIGHUP'" && [ "$before" = "$(property MainPID)" ]; then
    passed "$name"
else
    broke "$name" "pid $before, now $(property MainPID)"
fi

name=agent_that_hangs_is_started_again
kill -STOP "$before"
if until_true "[ \"\$(property NRestarts)\" = 1 ] && [ \"\$(property ActiveState)\" = active ]"; then
    passed "$name"
else
    broke "$name" "restarts: $(property NRestarts)"
fi

name=stop_is_clean
systemctl stop sandwatch.service
if [ "$(property Result)" = success ] && journalctl -u sandwatch.service --no-pager | grep -q 'sandwatch: seen'; then
    passed "$name"
else
    broke "$name" "result: $(property Result)"
fi

# From here on it is a package, as most people have it.
name=upgraded_package_runs_at_once_and_goes_on_with_what_was_begun
wrong=
stream() { tail -1 $alerts | sed 's/.*"stream":"\([^"]*\)".*/\1/'; }
dpkg --force-confold -i /root/sandwatch.deb || wrong="$wrong installation;"
systemctl start sandwatch.service
lines=$(wc -l <$alerts)
systemctl restart toy.service
until_true "tail -n +$((lines + 1)) $alerts | grep -q '\"identity\":\"ssh-private-key\"'" || wrong="$wrong theft before;"
incident=$(grep '"identity":"ssh-private-key"' $alerts | tail -1 | sed 's/.*"incident":{"id":"\([^"]*\)".*/\1/')
stream=$(stream)
before=$(property MainPID)
# Until that is written down, which is soon: an update would come later.
until_true "[ -e /var/lib/sandwatch/incidents/$incident.json ]" || wrong="$wrong no incident $incident;"
dpkg --force-confold -i /root/sandwatch-next.deb || wrong="$wrong upgrade;"
now=$(property MainPID)
[ "$(property ActiveState)" = active ] && [ "$before" != "$now" ] && [ "$now" != 0 ] || wrong="$wrong not restarted: pid $before, now $now;"
[ "$(readlink "/proc/$now/exe")" = /usr/bin/sandwatch ] || wrong="$wrong it runs $(readlink "/proc/$now/exe");"
case $(dpkg-query --show --showformat='${Version} ${Status}' sandwatch) in
*+next-1\ *installed) ;;
*) wrong="$wrong version $(dpkg-query --show sandwatch);" ;;
esac
until_true 'sandwatch status --ready >/dev/null' || wrong="$wrong not ready;"
lines=$(wc -l <$alerts)
systemctl kill --kill-whom=main --signal=USR1 toy.service
# What repeats is said with the next update.
until_true "tail -n +$((lines + 1)) $alerts | grep -q '\"incident\":{\"id\":\"$incident\"'" || wrong="$wrong incident $incident did not go on;"
[ "$(stream)" = "$stream" ] || wrong="$wrong stream $stream, now $(stream);"
systemctl is-enabled --quiet sandwatch.service || wrong="$wrong no longer enabled;"
if [ -z "$wrong" ]; then passed "$name"; else broke "$name" "$wrong"; fi
systemctl stop sandwatch.service

name=wrong_configuration_runs_the_last_good_one_and_is_not_ready
echo 'nonsense: true' >>/etc/sandwatch/sandwatch.yaml
systemctl start sandwatch.service
ready=$(sandwatch status --ready)
code=$?
if [ "$(property ActiveState)" = active ] && [ $code -eq 1 ] && until_true "grep -q '\"condition\":\"last-good\"' $alerts"; then
    passed "$name"
else
    broke "$name" "state $(property ActiveState), status $code: $ready"
fi

name=wrong_configuration_without_a_last_good_one_is_not_tried_again
systemctl stop sandwatch.service
rm -r /var/lib/sandwatch/last-good
systemctl start sandwatch.service
if [ "$(property ExecMainStatus)" = 2 ] && [ "$(property ActiveState)" = failed ]; then
    passed "$name"
else
    broke "$name" "state $(property ActiveState), exit $(property ExecMainStatus)"
fi

verdict=ok
if [ $failed -gt 0 ]; then verdict=FAILED; fi
echo "test result: $verdict. $good passed; $failed failed; 0 ignored; 0 measured; 0 filtered out"
[ $failed -eq 0 ]
