package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/store/postgres"
)

// Load is what is measured with much in the database already.
type Load struct {
	Events, Licenses int           // loaded before; at least one and two
	Rate             int           // events a second that come in meanwhile, in requests of 100 on 8 connections
	For              time.Duration // how long
}

// Loaded is what that came to.
type Loaded struct {
	Loading time.Duration `json:"loadingNanos"`
	Bytes   int64         `json:"databaseBytes"`             // when all was loaded
	Rate    float64       `json:"acknowledgedRowsPerSecond"` // meanwhile
	Answers []Answers     `json:"answers"`
}

// Answers are the requests of one kind.
type Answers struct {
	Name string        `json:"name"`
	N    int           `json:"requests"`
	P50  time.Duration `json:"p50Nanos"`
	P99  time.Duration `json:"p99Nanos"`
	Max  time.Duration `json:"maxNanos"`
}

const (
	loadedBatch       = 100
	loadedReads       = 20 // a second, of each kind
	loadedConnections = 8
)

// MeasureLoaded loads a database of PostgreSQL, has events come in, and asks for
// current usage, threshold status and 90 days of analytics meanwhile, 20 times a
// second each, on a connection of its own: every tenth time of the busiest licence, every tenth of
// one without a threshold, otherwise of one that was not asked for before, so
// that no cache holds the answer.
func MeasureLoaded(ctx context.Context, o Options, l Load) (out Loaded, err error) {
	if o.DatabaseURL == "" || l.Events < 1 || l.Licenses < 2 || l.Rate < 1 || l.For <= 0 {
		return out, errors.New("loading takes a PostgreSQL database, at least one event and two licences, a rate, and a time to measure for")
	}
	if err := sweep(ctx, o.DatabaseURL, o.tell); err != nil {
		return out, err
	}
	dir, err := os.MkdirTemp(o.Dir, "usance-bench-")
	if err != nil {
		return out, err
	}
	defer os.RemoveAll(dir)
	licenses := licenseIDs(l.Licenses)
	start := time.Now()
	d, err := o.database(ctx, filepath.Join(dir, "served"), licenses)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, d.drop()) }()
	if err := preload(ctx, d.url, licenses, l.Events, o.tell); err != nil {
		return out, err
	}
	out.Loading = time.Since(start)
	c, err := postgres.Connect(ctx, d.url)
	if err != nil {
		return out, err
	}
	err = errors.Join(c.QueryRow(ctx, `SELECT pg_database_size(current_database())`).Scan(&out.Bytes), c.Close(ctx))
	if err != nil {
		return out, err
	}
	o.tell("loaded %d events and %d licences in %s, %d MB\n", l.Events, l.Licenses, out.Loading.Round(time.Second), out.Bytes>>20)
	s, err := startServer(ctx, o.Server(ctx, d.dir, d.url))
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	err = s.measureLoaded(ctx, licenses, l, &out)
	return out, err
}

func (s *server) measureLoaded(ctx context.Context, licenses []string, l Load, out *Loaded) error {
	ctx, cancel := context.WithTimeout(ctx, l.For) // or until one fails
	defer cancel()
	today := usance.DateOf(time.Now(), time.UTC)
	reads := []struct{ name, path string }{
		{"current usage", "usage"},
		{"threshold status", "thresholds/status"},
		{"90 days of analytics", fmt.Sprintf("analytics?startDate=%s&endDate=%s&granularity=daily", today-loadedDays, today)},
	}
	took := make([][]time.Duration, len(reads)+loadedConnections)
	errs := make([]error, len(took))
	var running sync.WaitGroup
	for i, read := range reads {
		running.Go(func() {
			took[i], errs[i] = s.repeat(ctx, time.Second/loadedReads, func(n int) (*http.Request, error) {
				id := licenses[n*7919%len(licenses)]
				switch n % 10 {
				case 0:
					id = licenses[0]
				case 1:
					id = licenses[len(licenses)-1]
				}
				r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.addr+"/v1/licenses/"+id+"/"+read.path, nil)
				if err == nil {
					r.Header.Set("Authorization", "Bearer "+readKey)
				}
				return r, err
			})
			if errs[i] != nil {
				cancel()
			}
		})
	}
	every := time.Duration(float64(time.Second) * loadedBatch * loadedConnections / float64(l.Rate))
	for c := range loadedConnections {
		running.Go(func() {
			i := len(reads) + c
			src := newSource(kind{skewed: c%2 == 0}, licenses, loadedDays, c)
			took[i], errs[i] = s.repeat(ctx, every, func(int) (*http.Request, error) {
				var body []byte
				for n := range loadedBatch {
					body = append(body, "[,"[min(n, 1)])
					e := src.next(time.Now().UTC())
					body = appendEvent(body, &e)
				}
				r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.addr+"/v1/events", bytes.NewReader(append(body, ']')))
				if err == nil {
					r.Header.Set("Authorization", "Bearer "+ingestKey)
					r.Header.Set("Content-Type", "application/json")
				}
				return r, err
			})
			if errs[i] != nil {
				cancel()
			}
		})
	}
	running.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for i, read := range reads {
		out.Answers = append(out.Answers, summed(read.name, took[i]))
	}
	writes := summed("100 events", slices.Concat(took[len(reads):]...))
	out.Answers = append(out.Answers, writes)
	out.Rate = float64(writes.N*loadedBatch) / l.For.Seconds()
	return nil
}

// repeat sends requests until the context ends, one each interval, and gives what
// each took from when it was due: waiting for one that came before is part of it.
func (s *server) repeat(ctx context.Context, every time.Duration, request func(n int) (*http.Request, error)) (took []time.Duration, err error) {
	client := &http.Client{Transport: new(http.Transport)}
	defer client.CloseIdleConnections()
	due := time.Now()
	for n := 0; ctx.Err() == nil; n++ {
		select {
		case <-time.After(time.Until(due)):
		case <-ctx.Done():
			return took, nil
		}
		r, err := request(n)
		if err != nil {
			return took, err
		}
		resp, err := client.Do(r)
		if err == nil {
			var answer []byte
			answer, err = io.ReadAll(resp.Body)
			resp.Body.Close()
			if err == nil && resp.StatusCode != http.StatusOK {
				return took, fmt.Errorf("%s answers %s: %.500s", r.URL, resp.Status, answer)
			}
		}
		if ctx.Err() != nil {
			return took, nil // what the end has cut says nothing
		}
		if err != nil {
			return took, err
		}
		took = append(took, time.Since(due))
		due = due.Add(every)
	}
	return took, nil
}

func summed(name string, took []time.Duration) Answers {
	a := Answers{Name: name, N: len(took)}
	if a.N > 0 {
		slices.Sort(took)
		r := run{latencies: took}
		a.P50, a.P99, a.Max = r.percentile(0.50), r.percentile(0.99), r.percentile(1)
	}
	return a
}
