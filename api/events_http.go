package api

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"runtime/debug"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/usance/usance"
	"github.com/usance/usance/access"
)

// Bounds of what is sent to /v1/events.
const (
	maxEventsBody = 16 << 20 // an array
	maxLine       = 64 << 10 // a line of NDJSON
	chunkEvents   = 1000     // lines of NDJSON that are counted together
	chunkBytes    = 1 << 20  // of these lines, about
)

// parseQuery reads the query string; what Go would skip over is refused.
func parseQuery(r *http.Request) (url.Values, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, usance.Invalid("", "the query string is not valid: %s", usance.Clip(err.Error()))
	}
	return q, nil
}

// serveEvents answers POST /v1/events: one event, an array, NDJSON, or
// CloudEvents, as the content type says.
func (a *api) serveEvents(w http.ResponseWriter, r *http.Request) {
	const name = "usage.trackEvents"
	p, err := a.caller(w, r)
	if err == nil {
		err = access.Authorize(p, access.Track)
	}
	if err != nil {
		a.fail(w, r, name, err, nil)
		return
	}
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if media == "application/x-ndjson" || media == "application/ndjson" || media == "application/jsonl" {
		a.limits.announce(w.Header(), p)
		err := a.serveLines(w, r, p)
		a.limits.announce(w.Header(), p) // of one without events, which has no answer yet
		if err != nil {
			a.fail(w, r, name, err, nil)
		}
		return
	}
	if err := a.limits.open(r.Context(), p); err != nil {
		a.limits.announce(w.Header(), p)
		a.fail(w, r, name, err, nil)
		return
	}
	switch {
	case media == "application/cloudevents+json" || media == "application/cloudevents-batch+json" || r.Header.Get("Ce-Specversion") != "":
		a.serveCloudEvents(w, r, p, media)
	default:
		out, err := a.answerEvents(w, r, p)
		a.limits.announce(w.Header(), p)
		var refused *resultsError
		switch {
		case errors.As(err, &refused):
			a.fail(w, r, name, refused.Err, refused.Results)
		case err != nil:
			a.fail(w, r, name, err, nil)
		default:
			a.answer(w, r, name, out)
		}
	}
}

// answerEvents counts the events of a JSON body.
func (a *api) answerEvents(w http.ResponseWriter, r *http.Request, p access.Principal) (any, error) {
	b, err := readEvents(w, r)
	if err != nil {
		a.limits.events.spend(r.Context(), p.ID()) // it holds no event, and is work all the same
		return nil, err
	}
	switch b.form {
	case oneEvent:
		return a.trackOne(r.Context(), p, b)
	case eventBatch:
		results, err := a.track(r.Context(), p, b)
		return BatchResult{Results: results}, err
	}
	return a.track(r.Context(), p, b)
}

// readEvents reads the events of a JSON body.
func readEvents(w http.ResponseWriter, r *http.Request) (*batch, error) {
	if err := jsonContent(r); err != nil {
		return nil, err
	}
	atomic, err := atomicParam(r)
	if err != nil {
		return nil, err
	}
	body, err := readBody(w, r, maxEventsBody)
	if err != nil {
		return nil, err
	}
	b, err := decodeEvents(body)
	if err != nil {
		return nil, err
	}
	b.atomic = b.atomic || atomic
	return b, nil
}

// atomicParam reads the one parameter of /v1/events.
func atomicParam(r *http.Request) (bool, error) {
	q, err := parseQuery(r)
	if err != nil {
		return false, err
	}
	for name, values := range q {
		if name != "atomic" {
			return false, usance.Invalid(usance.Clip(name), "is not a parameter here; there is atomic=true")
		}
		if len(values) > 1 || values[0] != "true" && values[0] != "false" {
			return false, usance.Invalid("atomic", "must be true or false")
		}
	}
	return q.Get("atomic") == "true", nil
}

// readerEnds is how long the reader of a stream that is given up may take to end.
const readerEnds = 100 * time.Millisecond

// serveLines counts a stream of events, one a line, in chunks, and answers a
// line for each in order while the stream goes on. When the answer ends before
// the stream does, the last line's error says why, and what follows was not
// counted. A stream without any event takes a token like any other request; the error
// is what refuses it, before anything was answered.
func (a *api) serveLines(w http.ResponseWriter, r *http.Request, p access.Principal) error {
	if atomic, err := atomicParam(r); err != nil || atomic {
		if err == nil {
			err = usance.Invalid("atomic", "a stream cannot be atomic; send an array of at most %d events", usance.MaxBatch)
		}
		if e := a.limits.spendSend(r.Context(), p); e != nil {
			err = e
		}
		return err
	}
	rc := http.NewResponseController(w)
	_ = rc.EnableFullDuplex() // HTTP/2 always is; where it cannot be, answers wait for the end
	ctx, cancel := context.WithCancel(r.Context())

	// Reading and decoding the next chunk goes on while one is counted.
	chunks := make(chan *batch, 1)
	readErr := make(chan error, 1)
	go func() {
		defer close(chunks)
		defer a.contain(ctx, func(err error) { readErr <- err })
		readErr <- readLines(ctx, r.Body, chunks, &a.lines, p.ID())
	}()
	giveUp := func() { // a reader that waits for the client must not outlive the answer
		cancel()
		// One that has all of the stream ends by itself: a connection whose deadline
		// has passed is good for no further request.
		late := time.AfterFunc(readerEnds, func() { _ = rc.SetReadDeadline(time.Now()) })
		defer late.Stop()
		for b := range chunks {
			a.lines.give(p.ID(), b.room)
		}
	}
	defer cancel()
	w.Header().Set("Content-Type", "application/x-ndjson")
	answers := newSpool()
	defer answers.free()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		defer a.contain(ctx, func(err error) { answers.abandon(err); cancel() })
		if err := sendAnswers(w, rc, answers); err != nil {
			answers.abandon(err)
			cancel()
			_ = rc.SetReadDeadline(time.Now())
		}
	}()
	var refused error
	if n, ended := a.countLines(ctx, r, p, chunks, answers); ended {
		refused = a.endLines(ctx, p, n, <-readErr, answers)
	} else {
		giveUp()
	}
	answers.Close()
	<-sent
	return refused
}

// contain turns a panic of a goroutine into an error: it would end the process.
func (a *api) contain(ctx context.Context, fail func(error)) {
	if v := recover(); v != nil {
		a.log.ErrorContext(ctx, "a stream panicked", "panic", v, "stack", string(debug.Stack()))
		fail(usance.NewError(usance.CodeInternal, "something went wrong on the server; send what has no answer again"))
	}
}

// countLines counts chunk by chunk and writes the answers; it tells how many they
// were, and whether it came to the end of the stream. Each chunk is held against the
// key anew: one that was revoked meanwhile counts nothing more.
func (a *api) countLines(ctx context.Context, r *http.Request, p access.Principal, chunks <-chan *batch, answers io.Writer) (n int, ended bool) {
	out := bufio.NewWriterSize(answers, 64<<10)
	for b := range chunks {
		n++
		results, whole := a.countChunk(ctx, r, p, b)
		if writeLines(out, results) != nil || out.Flush() != nil || !whole {
			return n, false
		}
	}
	return n, true
}

// endLines ends a stream of so many chunks whose reading ended so. One without events
// is refused, and has no answer, when the key has sent too much.
func (a *api) endLines(ctx context.Context, p access.Principal, chunks int, readErr error, answers io.Writer) error {
	if chunks == 0 {
		if err := a.limits.spendSend(ctx, p); err != nil {
			return err
		}
	}
	if readErr != nil {
		out := bufio.NewWriter(answers)
		_ = writeLines(out, []usance.Result{{Status: usance.StatusRefused, Error: outward(readErr)}})
		_ = out.Flush()
	}
	return nil
}

// countChunk counts a chunk; whole is false when it could not be.
func (a *api) countChunk(ctx context.Context, r *http.Request, p access.Principal, b *batch) (results []usance.Result, whole bool) {
	defer a.lines.give(p.ID(), b.room)
	results, err := a.trackPatiently(ctx, r.Header.Get("Authorization"), p.ID(), b)
	if err != nil {
		e := outward(err)
		logFault(ctx, a.log, "usage.trackEvents", e)
		return resultsOf(b, e, err), false
	}
	return results, true
}

// resultsOf gives what became of each event of a chunk that failed: of a part of
// it that may be another thing than the failure.
func resultsOf(b *batch, e *usance.Error, err error) []usance.Result {
	if known, ok := errors.AsType[*resultsError](err); ok {
		return known.Results
	}
	results := make([]usance.Result, len(b.events))
	for i := range results {
		results[i] = usance.Result{LicenseID: b.events[i].LicenseID, IdempotencyKey: b.events[i].IdempotencyKey, Status: usance.StatusRefused, Error: e}
	}
	return results
}

// sendAnswers copies the answers to the client as fast as it reads them. The
// server lets go of a client that for a minute neither sends nor takes anything.
func sendAnswers(w io.Writer, rc *http.ResponseController, answers io.Reader) error {
	b := make([]byte, 64<<10)
	for {
		n, err := answers.Read(b)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := w.Write(b[:n]); err != nil {
			return err
		}
		if err := rc.Flush(); err != nil {
			return err
		}
	}
}

func writeLines(out *bufio.Writer, results []usance.Result) error {
	for i := range results {
		if err := json.MarshalWrite(out, &results[i], marshalOptions); err != nil {
			return err
		}
		if err := out.WriteByte('\n'); err != nil {
			return err
		}
	}
	return nil
}

// readLines cuts the body into chunks of events, until its end. A chunk is
// given on when it is full, when the client pauses, or when there is no room for
// more: many streams at once get smaller chunks.
func readLines(ctx context.Context, body io.Reader, chunks chan<- *batch, memory *room, key string) error {
	in := bufio.NewReaderSize(body, 4*maxLine)
	b, size := new(batch), 0
	defer func() { memory.give(key, b.room) }() // of what nobody is given
	grow := func(line int) bool {
		size += line
		for int64(size)-b.room > smallBody {
			if size >= chunkBytes || memory.take(key, smallBody) != nil {
				return false
			}
			b.room += smallBody
		}
		return true
	}
	give := func() bool {
		if len(b.events) == 0 {
			return true
		}
		select {
		case chunks <- b:
			b, size = new(batch), 0
			return true
		case <-ctx.Done():
			return false
		}
	}
	for {
		line, tooLong, err := readLine(in)
		if err != nil && err != io.EOF {
			if !give() {
				return nil
			}
			return usance.WrapError(err, usance.CodeValidation, "the stream broke off; send what has no answer again")
		}
		roomy := true
		if trimmed := bytes.TrimSpace(line); len(trimmed) > 0 || tooLong {
			b.add(decodeLine(trimmed, tooLong))
			roomy = grow(len(line))
		}
		atEnd := err == io.EOF
		if atEnd || len(b.events) == chunkEvents || !roomy || !lineWaits(in) {
			if !give() || atEnd {
				return nil
			}
		}
	}
}

// lineWaits tells whether a whole line has arrived already.
func lineWaits(in *bufio.Reader) bool {
	waiting, _ := in.Peek(in.Buffered())
	return bytes.IndexByte(waiting, '\n') >= 0
}

// readLine reads a line without its end. One that is too long is skipped over.
func readLine(in *bufio.Reader) (line []byte, tooLong bool, err error) {
	line, err = in.ReadSlice('\n')
	if err == bufio.ErrBufferFull || len(line) > maxLine+1 {
		for err == bufio.ErrBufferFull {
			_, err = in.ReadSlice('\n')
		}
		return nil, true, err
	}
	return line, false, err
}

// decodeLine reads an event; whatever is wrong refuses this line alone.
func decodeLine(line []byte, tooLong bool) (usance.Event, *usance.Error) {
	if tooLong {
		return usance.Event{}, usance.Invalid("", "a line must be at most %d bytes", maxLine)
	}
	e, refused, err := decodeEvent(bytes.Clone(line))
	if err != nil {
		return usance.Event{}, outward(err)
	}
	return e, refused
}

// trackPatiently counts a chunk; while the key has sent too much or the queue is
// full it waits, which slows the sender down to what can be counted.
func (a *api) trackPatiently(ctx context.Context, authorization, key string, b *batch) ([]usance.Result, error) {
	if err := a.limits.events.wait(ctx, key, len(b.events)); err != nil {
		return nil, err
	}
	for try := 0; ; try++ {
		p, err := a.d.Access.Authenticate(ctx, authorization)
		if err != nil { // revoked meanwhile
			return nil, err
		}
		results, err := a.count(ctx, p, b)
		if usance.ErrorCode(err) != usance.CodeOverloaded || err == nil || try == 60 {
			return results, err
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
