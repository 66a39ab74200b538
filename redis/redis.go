// Package redis is what several nodes share in a Redis: sums that were read
// before, and the buckets of rate limits. None of it is the truth. Whatever
// becomes of the Redis, its loss costs time and nothing else. Sums are signed,
// so that whoever can write to it changes none.
//
// So nobody waits for it: a command that is not answered within 20 ms counts as
// failed, and after a few of those in a row no command is sent any more. Then
// one goroutine alone asks every so often whether the Redis is back, while all
// others go on without it at no cost.
package redis

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

// Options are the settings of a Redis; zero fields take the defaults named.
type Options struct {
	// Space goes before every key, to keep apart what shares one Redis.
	Space string
	// Secret signs what Put takes: Get gives nothing that was put under another
	// one.
	Secret []byte
	// TTL is how long what Put takes is kept; five minutes.
	TTL    time.Duration
	Logger *slog.Logger // slog.Default
}

// The bounds of waiting.
const (
	// patience is how long a command may take. What takes longer is better asked
	// of the database.
	patience = 20 * time.Millisecond
	// connecting is how long it may take to connect, which no request waits for.
	connecting = 500 * time.Millisecond
)

// errAway is the answer of a Redis that is not asked.
var errAway = errors.New("redis: it does not answer and is not asked for now")

// Redis is a connection to a Redis, which may be away at any time. Its methods
// may be called at once from many goroutines.
type Redis struct {
	option  rueidis.ClientOption
	space   string
	secret  []byte
	ttl     time.Duration
	log     *slog.Logger
	metrics *metrics

	client  atomic.Pointer[rueidis.Client] // nil until it was reached first
	making  sync.Mutex
	over    bool
	breaker breaker
	refused quiet // answers that are errors
	forged  quiet // values that no node put

	refusals refusals
	stop     context.CancelFunc
	ended    sync.WaitGroup
}

// Where names the Redis of a URL (redis://, or rediss:// for TLS) for people and
// logs, without any secret. It fails when the URL cannot be read; the error does
// not hold it.
func Where(url string) (string, error) {
	o, err := parse(url)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("Redis at %s, database %d", strings.Join(o.InitAddress, ", "), o.SelectDB), nil
}

func parse(url string) (rueidis.ClientOption, error) {
	if !strings.HasPrefix(url, "redis://") && !strings.HasPrefix(url, "rediss://") {
		return rueidis.ClientOption{}, errors.New("must begin with redis:// or rediss://, such as redis://:password@host:6379/0")
	}
	o, err := rueidis.ParseURL(url)
	if err != nil { // it may hold the password
		return rueidis.ClientOption{}, errors.New("cannot be read as a Redis URL; write redis://:password@host:6379/0, with what is special in the password as %XX")
	}
	o.ClientName = "usance"
	o.Dialer.Timeout = connecting
	o.ConnWriteTimeout = connecting // a connection that hangs is let go
	o.AlwaysPipelining = true       // else a command that is late costs the connection
	o.PipelineMultiplex = -1        // one connection: commands are short
	o.ReadBufferEachConn, o.WriteBufferEachConn = 64<<10, 64<<10
	o.DisableRetry = true
	o.DisableCache = true // keys name what never changes; what is near is kept by whoever asks
	return o, nil
}

// Open makes a Redis of a URL. It waits a moment for the Redis, and goes on
// without it when it does not answer: the error is of the URL alone.
func Open(ctx context.Context, url string, o Options) (*Redis, error) {
	option, err := parse(url)
	if err != nil {
		return nil, fmt.Errorf("REDIS_URL %w", err)
	}
	r := &Redis{option: option, space: o.Space, secret: o.Secret, ttl: o.TTL, log: o.Logger}
	r.metrics = newMetrics(func() bool { return r.Degraded() == "" })
	if r.ttl <= 0 {
		r.ttl = 5 * time.Minute
	}
	if r.log == nil {
		r.log = slog.Default()
	}
	r.breaker.wake = make(chan struct{}, 1)
	ctx, r.stop = context.WithCancel(context.WithoutCancel(ctx))
	if err := r.Ping(ctx); err != nil {
		r.leave(err)
	} else {
		r.breaker.close()
	}
	r.ended.Go(func() { r.watch(ctx) })
	return r, nil
}

// Close closes the connection.
func (r *Redis) Close() {
	r.stop()
	r.ended.Wait()
	r.making.Lock()
	defer r.making.Unlock()
	r.over = true
	if c := r.client.Load(); c != nil {
		(*c).Close()
	}
}

// Ping tells whether the Redis answers, waiting for it as long as connecting may
// take.
func (r *Redis) Ping(ctx context.Context) error {
	return r.try(ctx, func(ctx context.Context, c rueidis.Client) error {
		return c.Do(ctx, c.B().Ping().Build()).Error()
	})
}

// Check tells whether the Redis answers and does what it is used for: keep
// something, give it back, and take from a bucket. It waits for each as long as connecting may
// take, and leaves nothing for longer than a few seconds.
func (r *Redis) Check(ctx context.Context) error {
	if err := r.Ping(ctx); err != nil {
		return err
	}
	name := r.key("check", rand.Text())
	kept := r.seal(name, []byte("kept"))
	if err := r.try(ctx, func(ctx context.Context, c rueidis.Client) error {
		return put(ctx, c, name, kept, 5*time.Second)
	}); err != nil {
		return fmt.Errorf("it keeps nothing: %w", err)
	}
	if err := r.try(ctx, func(ctx context.Context, c rueidis.Client) error {
		got, err := get(ctx, c, name)
		if err == nil && string(got) != string(kept) {
			err = errors.New("something else is there, or nothing: is its memory full?")
		}
		return err
	}); err != nil {
		return fmt.Errorf("it does not give back what it keeps: %w", err)
	}
	if err := r.try(ctx, func(ctx context.Context, c rueidis.Client) error {
		_, err := takeFrom(ctx, c, r.key("check", rand.Text()), []string{"1", "1", "1", "0"})
		return err
	}); err != nil {
		return fmt.Errorf("it carries out no script, so that rate limits are each node's own: %w", err)
	}
	return nil
}

// try carries out what no request waits for, away or not.
func (r *Redis) try(ctx context.Context, do func(context.Context, rueidis.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, connecting)
	defer cancel()
	_, err := within(ctx, func() (none struct{}, err error) {
		c, err := r.connection()
		if err != nil {
			return none, err
		}
		return none, do(ctx, c)
	})
	return err
}

// connection connects before the first time; later on the client does it itself.
func (r *Redis) connection() (rueidis.Client, error) {
	if c := r.client.Load(); c != nil {
		return *c, nil
	}
	r.making.Lock()
	defer r.making.Unlock()
	if c := r.client.Load(); c != nil {
		return *c, nil
	}
	if r.over {
		return nil, errAway
	}
	c, err := rueidis.NewClient(r.option)
	if err != nil {
		return nil, err
	}
	r.client.Store(&c)
	return c, nil
}

// within gives the result of do, or the end of the context. The library looks at
// the context in most places, but not while it waits for others to connect.
func within[T any](ctx context.Context, do func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		var out result
		out.value, out.err = do()
		done <- out
	}()
	select {
	case out := <-done:
		return out.value, out.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// ask carries out a command within its time, unless the Redis is away.
func ask[T any](ctx context.Context, r *Redis, operation string, do func(context.Context, rueidis.Client) (T, error)) (out T, err error) {
	if !r.breaker.closed() {
		r.metrics.requests.WithLabelValues(operation, "skipped").Inc()
		return out, errAway
	}
	start := time.Now()
	timed, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	out, err = within(timed, func() (T, error) { return do(timed, *r.client.Load()) })
	r.metrics.seconds.WithLabelValues(operation).Observe(time.Since(start).Seconds())
	if err == nil {
		r.breaker.succeeded()
		r.metrics.requests.WithLabelValues(operation, "ok").Inc()
		return out, nil
	}
	if ctx.Err() != nil { // whoever asked has gone, which is no fault of the Redis
		return out, err
	}
	r.metrics.requests.WithLabelValues(operation, "error").Inc()
	if e, ok := rueidis.IsRedisErr(err); ok {
		// It answers, though not as wanted: its memory is full, it only reads, it
		// refuses the user.
		r.breaker.succeeded()
		r.refusals.note()
		if r.refused.speak() {
			r.log.WarnContext(ctx, "Redis refuses a command; nothing but time is lost", "operation", operation, "error", e.Error())
		}
		return out, err
	}
	if r.breaker.failed() {
		r.leave(err)
	}
	return out, err
}

// key makes the name of a thing in the Redis: short, and without what people
// wrote.
func (r *Redis) key(kind, name string) string {
	sum := sha256.Sum256([]byte(name))
	return "usance:" + r.space + ":" + kind + ":" + base64.RawURLEncoding.EncodeToString(sum[:])
}
