//go:build unix

package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/forecast"
)

// fleet forecasts n licences with up to two years of days, each for this month
// and the next, on all processors, and says what 100,000 would take.
func fleet(n int) error {
	start := time.Now()
	processor := processorTime()
	var wg sync.WaitGroup
	work := make(chan int)
	failed := make(chan error, n)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			var f forecast.Forecaster
			for i := range work {
				if _, err := f.Forecast(licence(i)); err != nil {
					failed <- err
				}
			}
		})
	}
	for i := range n {
		work <- i
	}
	close(work)
	wg.Wait()
	close(failed)
	for err := range failed {
		return err
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	each := time.Since(start).Seconds() / float64(n)
	fmt.Printf("%d licences: %.2f ms each by the clock, %.2f ms of a processor; 100,000 take %.0f s on %d processors; memory %d MiB\n",
		n, each*1000, (processorTime()-processor).Seconds()*1000/float64(n), each*100_000, runtime.GOMAXPROCS(0), m.Sys>>20)
	return nil
}

// licence makes up the use of one licence.
func licence(i int) forecast.Request {
	r := rand.New(rand.NewPCG(uint64(i), 7)) //nolint:gosec // must repeat
	n := 20 + r.IntN(711)
	days := make([]float64, n)
	level, x := math.Exp(4+2*r.NormFloat64()), 0.0
	for d := range days {
		x += 0.02 * r.NormFloat64()
		days[d] = math.Round(level * math.Exp(x+0.3*r.NormFloat64()) * (1 + 0.3*math.Sin(float64(d%7))))
	}
	today := usance.MakeDate(2024, time.June, 8)
	return forecast.Request{
		Start: today.AddDays(-n), Days: days, Period: usance.PeriodOf(usance.PeriodMonthly, today, 1), Later: 1,
		Limits: []forecast.Limit{{Quantity: 30 * level, WithGrace: 33 * level}},
	}
}
