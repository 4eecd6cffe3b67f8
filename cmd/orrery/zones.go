package main

// The time zones of schedules, for machines and containers without
// /usr/share/zoneinfo; docs/decisions/schedules.md.
import _ "time/tzdata"
