// Package client speaks to a Usance server.
//
//	c := client.New("http://127.0.0.1:8080", key, client.Options{})
//	results, err := c.Track(ctx, []usance.Event{{LicenseID: "lic_123", UsageType: "view"}})
//
// Events are counted once, however often a request has to be sent: each gets an
// idempotency key before it goes out, unless it has one, and a server that is
// busy, restarting or out of reach is asked again with the same keys. The
// operations that are no events are called by name; see Do.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/usance/usance"
)

// Options are the settings of a Client; zero fields take the defaults named.
type Options struct {
	HTTP     *http.Client     // http.DefaultClient
	Batch    int              // events of a request, at most 10,000; 100
	Patience time.Duration    // how long a request is tried again; 2 minutes
	Pause    time.Duration    // before the second try, doubled for each further up to 10 s; 200 ms
	Now      func() time.Time // the clock that keys are made by; time.Now
	Waiting  func(error)      // told why, before a request is tried again
}

// Client speaks to one server with one key. Its methods may be called at once
// from many goroutines.
type Client struct {
	url string
	key string
	o   Options
}

// New makes a client of the server at baseURL. Nothing is sent yet.
func New(baseURL, key string, o Options) *Client {
	if o.HTTP == nil {
		o.HTTP = http.DefaultClient
	}
	if o.Batch <= 0 {
		o.Batch = 100
	}
	o.Batch = min(o.Batch, usance.MaxBatch)
	if o.Patience <= 0 {
		o.Patience = 2 * time.Minute
	}
	if o.Pause <= 0 {
		o.Pause = 200 * time.Millisecond
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Client{url: strings.TrimRight(baseURL, "/"), key: key, o: o}
}

// event is an event as it is sent: what is not set is left out.
type event struct {
	LicenseID          string         `json:"licenseId"`
	UsageType          string         `json:"usageType"`
	Quantity           int64          `json:"quantity,omitempty"`
	OccurredAt         *time.Time     `json:"occurredAt,omitempty"`
	Platform           string         `json:"platform,omitempty"`
	DeviceType         string         `json:"deviceType,omitempty"`
	GeographicLocation string         `json:"geographicLocation,omitempty"`
	Referrer           string         `json:"referrer,omitempty"`
	SessionID          string         `json:"sessionId,omitempty"`
	RevenueCents       int64          `json:"revenueCents,omitempty"`
	Metadata           usance.RawJSON `json:"metadata,omitempty"`
	IdempotencyKey     string         `json:"idempotencyKey"`
}

// wire makes the events that are sent, with keys. The caller's get the keys as
// well, so that it can send them again itself.
func (c *Client) wire(events []usance.Event) []event {
	out := make([]event, len(events))
	for i := range events {
		e := &events[i]
		if e.IdempotencyKey == "" {
			e.IdempotencyKey = usance.NewID(c.o.Now()).String()
		}
		out[i] = event{
			e.LicenseID, e.UsageType, e.Quantity, nil, e.Platform, e.DeviceType, e.GeographicLocation,
			e.Referrer, e.SessionID, e.RevenueCents, e.Metadata, e.IdempotencyKey,
		}
		if !e.OccurredAt.IsZero() {
			out[i].OccurredAt = &e.OccurredAt
		}
	}
	return out
}

// Track counts events and gives a result for each, in order. They go out in
// batches; an error ends with the batch that failed, and the results so far are
// given beside it. Events without an idempotency key are given one in place:
// calling again with the same slice counts nothing twice.
func (c *Client) Track(ctx context.Context, events []usance.Event) ([]usance.Result, error) {
	all := make([]usance.Result, 0, len(events))
	for part := range slices.Chunk(c.wire(events), c.o.Batch) {
		var results []usance.Result
		if err := c.send(ctx, http.MethodPost, "/v1/events", part, &results, true); err != nil {
			return all, err
		}
		if len(results) != len(part) {
			return all, fmt.Errorf("the server at %s answered %d results for %d events", c.url, len(results), len(part))
		}
		all = append(all, results...)
	}
	return all, nil
}

// TrackAtomic counts all events or none. When none is, the error is an
// *usance.Error of code ABORTED and the results say which events were in the way.
func (c *Client) TrackAtomic(ctx context.Context, events []usance.Event) ([]usance.Result, error) {
	var results []usance.Result
	err := c.send(ctx, http.MethodPost, "/v1/events?atomic=true", c.wire(events), &results, true)
	var aborted *problemError
	if errors.As(err, &aborted) {
		return aborted.results, err
	}
	return results, err
}

// Void takes a counted event back; asking again answers the same.
func (c *Client) Void(ctx context.Context, licenseID, idempotencyKey, reason string) (usance.Result, error) {
	var out usance.Result
	in := map[string]string{"licenseId": licenseID, "idempotencyKey": idempotencyKey, "reason": reason}
	return out, c.send(ctx, http.MethodPost, "/v1/events/void", in, &out, true)
}

// Totals counts daily totals that come from one source, such as a file, and
// gives a result for each, in order; sent again, they are duplicates. At most
// 10,000 go at once, of 1 MiB.
func (c *Client) Totals(ctx context.Context, source string, totals []usance.DailyTotal) ([]usance.TotalResult, error) {
	type total struct { // the source is said once
		usance.DailyTotal
		Source string `json:"source,omitempty"`
	}
	in := struct {
		Source string  `json:"source,omitempty"`
		Totals []total `json:"totals"`
	}{Source: source, Totals: make([]total, len(totals))}
	for i := range totals {
		in.Totals[i].DailyTotal = totals[i]
	}
	var out struct {
		Results []usance.TotalResult `json:"results"`
	}
	if err := c.send(ctx, http.MethodPost, "/v1/backfill", in, &out, true); err != nil {
		return nil, err
	}
	if len(out.Results) != len(totals) {
		return nil, fmt.Errorf("the server at %s answered %d results for %d totals", c.url, len(out.Results), len(totals))
	}
	return out.Results, nil
}

// Do calls an operation by the name that it has in the server's documents, such
// as usage.getAnalytics, with in as its input (anything that is a JSON object,
// or nil) and its answer in out (or nil). Reads and changes that may be made
// twice are tried again when the server cannot answer; others are not, since
// they may have been carried out.
func (c *Client) Do(ctx context.Context, name string, in, out any) error {
	op, ok := operations[name]
	if !ok {
		return fmt.Errorf("usance has no operation %q", name)
	}
	members, err := object(in)
	if err != nil {
		return fmt.Errorf("the input of %s: %w", name, err)
	}
	path, err := fillPath(op.path, members)
	if err != nil {
		return fmt.Errorf("the input of %s: %w", name, err)
	}
	again := op.query || op.method != http.MethodPost
	if op.method == http.MethodGet || op.method == http.MethodDelete {
		if q := queryOf(members); q != "" {
			path += "?" + q
		}
		return c.send(ctx, op.method, path, nil, out, again)
	}
	return c.send(ctx, op.method, path, members, out, again)
}

// object gives the members of an input.
func object(in any) (map[string]json.RawMessage, error) {
	members := make(map[string]json.RawMessage)
	if in == nil {
		return members, nil
	}
	b, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	return members, json.Unmarshal(b, &members)
}

// fillPath puts the members that the path names into it, and takes them out.
func fillPath(path string, members map[string]json.RawMessage) (string, error) {
	parts := strings.Split(path, "/")
	for i, part := range parts {
		if !strings.HasPrefix(part, "{") {
			continue
		}
		name := strings.Trim(part, "{}")
		var value string
		if err := json.Unmarshal(members[name], &value); err != nil || value == "" {
			return "", fmt.Errorf("%s is required, as a string", name)
		}
		parts[i] = url.PathEscape(value)
		delete(members, name)
	}
	return strings.Join(parts, "/"), nil
}

// queryOf writes members as a query string.
func queryOf(members map[string]json.RawMessage) string {
	q := make(url.Values)
	for name, v := range members {
		var list []json.RawMessage
		if json.Unmarshal(v, &list) == nil && list != nil {
			for _, item := range list {
				q.Add(name, text(item))
			}
		} else if string(v) != "null" {
			q.Set(name, text(v))
		}
	}
	return q.Encode()
}

func text(v json.RawMessage) string {
	var s string
	if json.Unmarshal(v, &s) == nil {
		return s
	}
	return string(v)
}

// problemError is a problem of the server: an *usance.Error, and the results
// that came with it.
type problemError struct {
	err     *usance.Error
	results []usance.Result
}

func (e *problemError) Error() string { return e.err.Error() }
func (e *problemError) Unwrap() error { return e.err }

// send makes a request until it is answered, its failure is final, or patience
// ends.
func (c *Client) send(ctx context.Context, method, path string, in, out any, again bool) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	deadline := time.Now().Add(c.o.Patience)
	for pause := c.o.Pause; ; pause = min(2*pause, 10*time.Second) {
		err := c.once(ctx, method, path, body, out)
		if err == nil || ctx.Err() != nil || !passing(err) {
			return err
		}
		var e *usance.Error
		known := errors.As(err, &e)
		if !again && (!known || e.Code != usance.CodeRateLimited) {
			return err // it may have been carried out; what came too fast was not
		}
		wait := pause/2 + rand.N(pause/2+1) //nolint:gosec // so that many clients do not come back at once
		if known {
			wait = max(wait, e.RetryAfter)
		}
		if time.Now().Add(wait).After(deadline) {
			return err
		}
		if c.o.Waiting != nil {
			c.o.Waiting(err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return err
		}
	}
}

// unreadable is an answer that says yes in a form that is not understood: what
// was asked for may be done, so it is not asked for again.
type unreadable struct {
	url   string
	cause error
}

func (e *unreadable) Error() string {
	return fmt.Sprintf("the answer of the server at %s cannot be read: %v", e.url, e.cause)
}

func (e *unreadable) Unwrap() error { return e.cause }

// passing tells whether the same request can succeed in a moment: not what a
// person must mend first, such as a limit that is full, which can be tried
// again only later.
func passing(err error) bool {
	if _, ok := errors.AsType[*unreadable](err); ok {
		return false
	}
	var e *usance.Error
	if !errors.As(err, &e) {
		return true // no answer came
	}
	if !e.Retryable || e.RetryAfter > 0 {
		return e.Retryable
	}
	switch e.Code {
	case usance.CodeOverloaded, usance.CodeUnavailable, usance.CodeRateLimited, usance.CodeInternal:
		return true
	}
	return false
}

func (c *Client) once(ctx context.Context, method, path string, body []byte, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.o.HTTP.Do(req)
	if err != nil {
		return fmt.Errorf("the server at %s does not answer: %w", c.url, err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 256<<20))
	if err != nil {
		return fmt.Errorf("the answer of the server at %s broke off: %w", c.url, err)
	}
	if res.StatusCode/100 != 2 {
		return c.failure(res, answer)
	}
	if out == nil || len(answer) == 0 {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return &unreadable{c.url, err}
	}
	return nil
}

// failure turns an answer that is no success into an error. What stands between
// client and server may answer too, in words of its own.
func (c *Client) failure(res *http.Response, answer []byte) error {
	var p struct {
		Code      usance.Code     `json:"code"`
		Detail    string          `json:"detail"`
		Field     string          `json:"field"`
		Retryable *bool           `json:"retryable"`
		Results   []usance.Result `json:"results"`
	}
	if json.Unmarshal(answer, &p) != nil || p.Code == "" {
		p.Code = foreignCode(res.StatusCode)
		p.Detail, p.Retryable = fmt.Sprintf("%s answers %s", c.url, res.Status), nil
	}
	e := usance.NewError(p.Code, "%s", p.Detail)
	e.Field = p.Field
	if p.Retryable != nil {
		e.Retryable = *p.Retryable
	}
	e.RetryAfter = retryAfter(res.Header.Get("Retry-After"), c.o.Now())
	return &problemError{e, p.Results}
}

// retryAfter reads the header of that name: seconds, or, as some proxies have
// it, a date. It is 0 when there is none.
func retryAfter(value string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// foreignCode is the code of an answer that bears none.
func foreignCode(status int) usance.Code {
	switch status {
	case http.StatusUnauthorized:
		return usance.CodeUnauthorized
	case http.StatusForbidden:
		return usance.CodeForbidden
	case http.StatusNotFound:
		return usance.CodeNotFound
	case http.StatusRequestEntityTooLarge:
		return usance.CodeTooLarge
	case http.StatusTooManyRequests:
		return usance.CodeRateLimited
	}
	if status >= 500 {
		return usance.CodeUnavailable
	}
	return usance.CodeValidation
}
