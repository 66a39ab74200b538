package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// server is a server process under load.
type server struct {
	cmd    *exec.Cmd
	addr   string // host:port
	exited chan struct{}
	out    *bytes.Buffer // its log; read once it has exited
}

// startServer starts the command and waits until it says where it serves.
func startServer(ctx context.Context, command *exec.Cmd) (*server, error) {
	s := &server{cmd: command, exited: make(chan struct{}), out: new(bytes.Buffer)}
	s.cmd.Stderr = s.out
	printed, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	addr := make(chan string, 1)
	go func() {
		defer close(s.exited)
		for lines := bufio.NewScanner(printed); lines.Scan(); {
			if _, rest, ok := strings.Cut(lines.Text(), " serves http://"); ok {
				at, _, _ := strings.Cut(rest, " ")
				addr <- at
			}
		}
		_ = s.cmd.Wait() // its state is looked at
	}()
	select {
	case s.addr = <-addr:
		return s, nil
	case <-s.exited:
		return nil, fmt.Errorf("the server ended: %s", s.out)
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), s.stop())
	}
}

// stop ends the server in an orderly way.
func (s *server) stop() error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	<-s.exited
	if !s.cmd.ProcessState.Success() {
		return fmt.Errorf("the server: %s: %s", s.cmd.ProcessState, s.out)
	}
	return nil
}

// memory reads the resident memory of the server in bytes, now and at its peak.
func (s *server) memory() (now, peak int64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		n, _ := strconv.ParseInt(f[1], 10, 64)
		switch f[0] {
		case "VmRSS:":
			now = n << 10
		case "VmHWM:":
			peak = n << 10
		}
	}
	return now, peak, nil
}

// cpu reads the processor time that the server has used. The fields of
// /proc/PID/stat follow the program's name, which may hold anything.
func (s *server) cpu() (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	const user, system, tick = 11, 12, time.Second / 100
	if len(f) <= system {
		return 0, fmt.Errorf("unknown form of %q", b)
	}
	var ticks int64
	for _, at := range []int{user, system} {
		n, err := strconv.ParseInt(f[at], 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * tick, nil
}

// metrics reads the sums that the server keeps, over all labels.
func (s *server) metrics(ctx context.Context) (map[string]float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.addr+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept-Encoding", "identity") // to pack it would take time of the server's
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	out := make(map[string]float64)
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) != 2 || !strings.HasPrefix(f[0], "usance_") {
			continue
		}
		name, _, _ := strings.Cut(f[0], "{")
		n, err := strconv.ParseFloat(f[1], 64)
		if err != nil {
			return nil, err
		}
		out[name] += n
	}
	return out, lines.Err()
}

// run is how one load went.
type run struct {
	acked, total  time.Duration // until the last answer; until nothing was pending
	latencies     []time.Duration
	rowsPerCommit int
	cpu           time.Duration // of the server
}

// percentile gives the latency that the share p of requests did not pass.
func (r *run) percentile(p float64) time.Duration {
	return r.latencies[min(len(r.latencies)-1, int(p*float64(len(r.latencies))))]
}

// load sends events on the case's connections, each as soon as it has its last
// answer, and waits until all of them are folded.
func (s *server) load(ctx context.Context, k kind, licenses []string, round, events int) (*run, error) {
	before, err := s.metrics(ctx)
	if err != nil {
		return nil, err
	}
	used, err := s.cpu()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var left atomic.Int64
	left.Store(int64(events))
	var mu sync.Mutex
	var all []time.Duration
	var failed error
	var connections sync.WaitGroup
	start := time.Now()
	for c := range k.connections {
		connections.Go(func() {
			latencies, err := s.send(ctx, newSource(k, licenses, round, c), k.batch, &left)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, latencies...)
			if err != nil && failed == nil {
				failed = err
				cancel()
			}
		})
	}
	connections.Wait()
	r := &run{acked: time.Since(start), latencies: all}
	if failed != nil {
		return nil, failed
	}
	slices.Sort(r.latencies)
	for {
		now, err := s.metrics(ctx)
		if err != nil {
			return nil, err
		}
		if now["usance_fold_events_total"]-before["usance_fold_events_total"] >= float64(events) {
			r.total = time.Since(start)
			commits := now["usance_ingest_group_events_count"] - before["usance_ingest_group_events_count"]
			r.rowsPerCommit = int(float64(events)/commits + 0.5)
			r.cpu, err = s.cpu()
			r.cpu -= used
			return r, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-s.exited:
			return nil, fmt.Errorf("the server ended: %s", s.out)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// send sends requests on one connection while events are left. Requests are
// written by hand, since the client shares the machine with the server. Time
// runs from the first byte sent to the last one of the answer.
func (s *server) send(ctx context.Context, src *source, batch int, left *atomic.Int64) ([]time.Duration, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.addr)
	if err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	defer conn.Close()
	in := bufio.NewReaderSize(conn, 64<<10)
	var latencies []time.Duration
	var body, request []byte
	var answer bytes.Buffer
	for {
		n := batch
		if rest := left.Add(-int64(batch)); rest < 0 {
			n += int(rest)
		}
		if n <= 0 {
			return latencies, nil
		}
		now := time.Now().UTC()
		body = body[:0]
		for i := range n {
			if batch > 1 {
				body = append(body, "[,"[min(i, 1)])
			}
			e := src.next(now)
			body = appendEvent(body, &e)
		}
		if batch > 1 {
			body = append(body, ']')
		}
		request = append(request[:0], "POST /v1/events HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nAuthorization: Bearer "+ingestKey+"\r\nContent-Length: "...)
		request = strconv.AppendInt(request, int64(len(body)), 10)
		request = append(request, "\r\n\r\n"...)
		request = append(request, body...)

		start := time.Now()
		if _, err := conn.Write(request); err != nil {
			return latencies, err
		}
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			return latencies, err
		}
		answer.Reset()
		if _, err := io.Copy(&answer, resp.Body); err != nil {
			return latencies, err
		}
		latencies = append(latencies, time.Since(start))
		resp.Body.Close()
		if tracked := bytes.Count(answer.Bytes(), []byte(`"tracked":true,"duplicate":false`)); tracked != n {
			return latencies, fmt.Errorf("%d of %d events were counted; status %s: %.500s", tracked, n, resp.Status, answer.Bytes())
		}
	}
}
