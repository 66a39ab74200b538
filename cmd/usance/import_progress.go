package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// progress is the bar of an import: the bytes that were read of those that
// there are. It shows on a terminal only.
type progress struct {
	w      io.Writer
	show   bool
	total  int64
	counts []*byteCount
	begun  time.Time
	done   chan struct{}
	gone   sync.WaitGroup
	text   atomic.Value // string: why nothing moves
}

func newProgress(w io.Writer) *progress {
	return &progress{w: w, show: isTerminal(w), done: make(chan struct{})}
}

// add makes the counter of a log of so many bytes.
func (p *progress) add(size int64) *byteCount {
	p.total += size
	c := &byteCount{}
	p.counts = append(p.counts, c)
	return c
}

// note shows a text instead of the bar; an empty one brings the bar back.
func (p *progress) note(text string) { p.text.Store(text) }

// start shows the bar until the function that it returns is called.
func (p *progress) start() (stop func()) {
	p.begun = time.Now()
	if !p.show {
		return func() {}
	}
	p.gone.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-p.done:
				fmt.Fprint(p.w, "\r\x1b[K")
				return
			case <-tick.C:
				fmt.Fprint(p.w, "\r\x1b[K"+p.line(time.Since(p.begun)))
			}
		}
	})
	return func() {
		close(p.done)
		p.gone.Wait()
	}
}

// line is the bar after so long.
func (p *progress) line(elapsed time.Duration) string {
	if text, _ := p.text.Load().(string); text != "" {
		text = strings.ReplaceAll(text, "\n", " ")
		if r := []rune(text); len(r) > 76 {
			text = string(r[:75]) + "…"
		}
		return text
	}
	var read int64
	for _, c := range p.counts {
		read += c.n.Load()
	}
	rate := float64(read) / max(elapsed.Seconds(), 0.001)
	if p.total == 0 {
		return fmt.Sprintf("%s read, %s/s", megabytes(float64(read)), megabytes(rate))
	}
	const width = 24
	share := min(float64(read)/float64(p.total), 1) // a log may have grown
	filled := int(share * width)
	left := "?"
	if read > 0 {
		left = time.Duration(float64(max(p.total-read, 0)) / rate * float64(time.Second)).Round(time.Second).String()
	}
	return fmt.Sprintf("[%s%s] %3.0f%% of %s, %s/s, %s left",
		strings.Repeat("#", filled), strings.Repeat(".", width-filled), share*100, megabytes(float64(p.total)), megabytes(rate), left)
}

func megabytes(n float64) string { return fmt.Sprintf("%.1f MB", n/1e6) }

// byteCount counts what is read of one log. Opening it again starts anew, since
// a log is opened once before to see where it begins.
type byteCount struct{ n atomic.Int64 }

func (c *byteCount) reader(r io.ReadCloser) io.ReadCloser {
	c.n.Store(0)
	return &countedReader{r, c}
}

type countedReader struct {
	io.ReadCloser
	count *byteCount
}

func (r *countedReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.count.n.Add(int64(n))
	return n, err
}
