package jobs

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// line is one cron line and what it means.
type line struct {
	text     string
	schedule cron.Schedule
}

// parse reads cron lines of five fields (or @hourly and the like), in UTC.
func parse(lines []string) ([]line, error) {
	if len(lines) == 0 {
		return nil, errors.New("has no schedule")
	}
	out := make([]line, len(lines))
	for i, text := range lines {
		if strings.Contains(text, "TZ=") {
			return nil, fmt.Errorf("schedule %q names a time zone; schedules are in UTC", text)
		}
		s, err := cron.ParseStandard(text)
		if err != nil {
			return nil, fmt.Errorf("schedule %q is not a cron line of five fields: %w", text, err)
		}
		if s.Next(time.Unix(0, 0).UTC()).IsZero() {
			return nil, fmt.Errorf("schedule %q never comes", text)
		}
		out[i] = line{text, s}
	}
	return out, nil
}

// ParseSchedule reads cron lines separated by semicolons.
func ParseSchedule(s string) ([]string, error) {
	var lines []string
	for text := range strings.SplitSeq(s, ";") {
		lines = append(lines, strings.TrimSpace(text))
	}
	if _, err := parse(lines); err != nil {
		return nil, err
	}
	return lines, nil
}

// next is the first time after t at which any line is due.
func (t *task) next(after time.Time) time.Time {
	var first time.Time
	for _, l := range t.lines {
		if n := l.schedule.Next(after.UTC()); !n.IsZero() && (first.IsZero() || n.Before(first)) {
			first = n
		}
	}
	return first
}

// fired gives the lines that were due at some time from since to now.
func (t *task) fired(since, now time.Time) []string {
	var out []string
	for _, l := range t.lines {
		if n := l.schedule.Next(since.UTC().Add(-time.Nanosecond)); !n.IsZero() && !n.After(now) {
			out = append(out, l.text)
		}
	}
	return out
}
