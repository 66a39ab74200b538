package bench

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/usance/usance"
	"github.com/usance/usance/store/postgres"
)

// postgresEngine copies rows into license_usage_events, which keeps its primary
// key and no other index: COPY in its binary form, on several connections at
// once, each transaction's rows sorted by their keys.
type postgresEngine struct{ conns []*pgx.Conn }

// copiers was the fastest of 1 to 8 on two cores.
const copiers = 4

// openPostgres opens a database that prepare made.
func openPostgres(ctx context.Context, url string) (*postgresEngine, error) {
	e := new(postgresEngine)
	for range copiers {
		c, err := postgres.Connect(ctx, url)
		if err != nil {
			return nil, errors.Join(err, e.close())
		}
		e.conns = append(e.conns, c)
	}
	rows, err := e.conns[0].Query(ctx, `SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 'license_usage_events'::regclass AND NOT indisprimary`)
	if err != nil {
		return nil, errors.Join(err, e.close())
	}
	indexes, err := pgx.CollectRows(rows, pgx.RowTo[string])
	for _, name := range indexes {
		if err == nil {
			_, err = e.conns[0].Exec(ctx, "DROP INDEX "+name) // regclass quotes it
		}
	}
	if err != nil {
		return nil, errors.Join(err, e.close())
	}
	return e, nil
}

func (e *postgresEngine) close() error {
	var errs []error
	for _, c := range e.conns {
		errs = append(errs, c.Close(context.Background()))
	}
	return errors.Join(errs...)
}

func (e *postgresEngine) write(ctx context.Context, src *source, rows, perCommit int) (took, cpu time.Duration, err error) {
	var left atomic.Int64
	left.Store(int64(rows))
	var mu sync.Mutex // of src
	start, used := time.Now(), ownCPU()
	errs := make([]error, len(e.conns))
	var running sync.WaitGroup
	for i, c := range e.conns {
		running.Go(func() {
			var data []byte
			for {
				n := perCommit
				if rest := left.Add(-int64(perCommit)); rest < 0 {
					n += int(rest)
				}
				if n <= 0 {
					return
				}
				mu.Lock()
				events := makeEvents(src, n)
				mu.Unlock()
				data = postgres.AppendCopy(data[:0], []usance.Batch{{ID: usance.NewID(time.Now()), Events: events}})
				if _, errs[i] = c.PgConn().CopyFrom(ctx, bytes.NewReader(data), postgres.CopyEvents); errs[i] != nil {
					return
				}
			}
		})
	}
	running.Wait()
	return time.Since(start), ownCPU() - used, errors.Join(errs...)
}
