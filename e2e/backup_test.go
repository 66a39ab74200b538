package e2e_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// TestBackupUnderLoad takes a backup while clients send, and restores it: every
// event that was acknowledged before the backup began is there, once, with its
// id, and the books of the copy are right. The server it was taken from has
// missed nothing meanwhile.
func TestBackupUnderLoad(t *testing.T) { onEach(t, testBackupUnderLoad) }

func testBackupUnderLoad(t *testing.T, store string) {
	s := newServer(t, store, "USANCE_FOLD_INTERVAL=20ms", "USANCE_RATE_LIMIT_CALLS=0")
	date, ledgers := time.Now().UTC().AddDate(0, 0, -3).Format(time.DateOnly), t.TempDir()
	j := &judge{server: s, from: date, to: date}
	for i := range killLicenses {
		l := fmt.Sprint("l", i)
		j.licenses = append(j.licenses, l)
		s.must("PUT", "/v1/licenses/"+l, `{"brandId":"b","assetId":"a","status":"ACTIVE"}`, nil)
		s.must("POST", "/v1/thresholds", fmt.Sprintf(`{"licenseId":%q,"usageType":"all","periodType":"total","limitQuantity":500,"allowOverage":true,"overageRateCents":"0.25"}`, l), nil)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var clients []*sender
	var sending sync.WaitGroup
	for i := range killClients {
		c := &sender{server: s, id: i, date: date, rng: rand.New(rand.NewPCG(uint64(i), 9)),
			ledger: openLedger(t, filepath.Join(ledgers, fmt.Sprint(i)))}
		clients = append(clients, c)
		sending.Go(func() {
			if cut, err := c.run(ctx); cut || err != nil {
				t.Errorf("client %d: cut %t, %v", i, cut, err)
			}
		})
	}
	answers := func() (n int64) {
		for _, c := range clients {
			n += c.answers.Load()
		}
		return n
	}
	await := func(n int64) {
		for answers() < n && !t.Failed() {
			time.Sleep(time.Millisecond) // other goroutines bring it about
		}
	}
	await(3000)
	before := j.read(ledgers)
	copied := s.backup()
	after := answers()
	await(after + 1000)
	stop()
	sending.Wait()
	if t.Failed() {
		return
	}
	j.entries = j.read(ledgers)
	j.judge()

	r := newServerOn(t, copied)
	restored := &judge{server: r, licenses: j.licenses, from: date, to: date}
	restored.entries = before
	restored.have(j.entries)
	for _, job := range []string{"aggregateUsageMetrics", "checkUsageThresholds"} {
		r.must("POST", "/v1/jobs/"+job+"/run", "", nil)
	}
	r.verify("--deep", "--only", allButSpeed)
	t.Logf("%d answers before the backup began, %d when it ended", len(before), after)
	if int64(len(before)) >= after {
		t.Error("nothing was counted during the backup: the run says nothing")
	}
}
