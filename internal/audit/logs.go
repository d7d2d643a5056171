package audit

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// logFolder reads the lines that were written since the audit began.
type logFolder struct {
	dir   string
	begin map[string]int64 // sizes of the files at the beginning
}

func openLogs(dir string) (*logFolder, error) {
	l := &logFolder{dir, map[string]int64{}}
	files, err := l.files("*")
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("log folder: %s holds no *.log file: is it what the node has as --log-dir, or the folder of those?", dir)
	}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			return nil, fmt.Errorf("log folder: %w", err)
		}
		l.begin[f] = info.Size()
	}
	return l, nil
}

// files finds the files of a service: that of the folder, or one of each process
// whose folder is in it.
func (l *logFolder) files(service string) (all []string, err error) {
	for _, pattern := range []string{filepath.Join(l.dir, service+".log"), filepath.Join(l.dir, "*", service+".log")} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return nil, fmt.Errorf("log folder: %w", err)
		}
		all = append(all, found...)
	}
	return all, nil
}

// line is a log line.
type line map[string]any

func (l line) text(key string) string {
	s, _ := l[key].(string)
	return s
}

func (l line) number(key string) float64 {
	f, ok := l[key].(float64)
	if !ok {
		return -1 // no field of the ledger is ever negative
	}
	return f
}

// lines gives a service's lines since the audit began that hold the text.
func (l *logFolder) lines(service, text string) (all []line, err error) {
	files, err := l.files(service)
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("log folder: no %s.log", service)
	}
	for _, name := range files {
		some, ferr := l.linesOf(name, text)
		all, err = append(all, some...), errors.Join(err, ferr)
	}
	return all, err
}

func (l *logFolder) linesOf(name, text string) (all []line, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("log folder: %w", err)
	}
	defer func() { _ = f.Close() }()
	begin := l.begin[name]
	if info, err := f.Stat(); err == nil && info.Size() < begin {
		begin = 0 // rotated
	}
	if _, err := f.Seek(begin, io.SeekStart); err != nil {
		return nil, fmt.Errorf("log folder: %w", err)
	}
	r := bufio.NewReader(f)
	for {
		raw, err := r.ReadBytes('\n')
		if err != nil {
			return all, nil // the last line may be half written
		}
		if !bytes.Contains(raw, []byte(text)) {
			continue
		}
		var one line
		if json.Unmarshal(raw, &one) == nil {
			all = append(all, one)
		}
	}
}

// correlated gives a service's lines with exactly that correlation ID.
func (l *logFolder) correlated(service, cid string) ([]line, error) {
	lines, err := l.lines(service, cid)
	var all []line
	for _, one := range lines {
		if one.text("correlation_id") == cid {
			all = append(all, one)
		}
	}
	return all, err
}

// breathe lets a second pass: of each second and site the first ten lines are
// never sampled away, so that what the audit does next is found in the log.
func (t *target) breathe(ctx context.Context) error {
	if t.logs == nil {
		return nil
	}
	return pause(ctx, time.Second)
}

// sampledAway says which sites have dropped lines since, "" if none has.
func (t *target) sampledAway(ctx context.Context, since scrape) (string, error) {
	const dropped = "log_lines_dropped_total"
	now, err := t.scrape(ctx)
	if err != nil {
		return "", err
	}
	if d := moved(since.by(dropped, "site"), now.by(dropped, "site")); len(d) > 0 {
		return show(d), nil
	}
	return "", nil
}

// logName is the form in which a reason with a guarded word is logged.
func logName(reason string) string {
	return strings.NewReplacer("password", "pass_word", "secret", "sec_ret", "token", "to_ken", "key", "k_ey", "credential", "crede_ntial").Replace(reason)
}
