//go:build unix

// Command bench scores the forecasts on public series against naive methods, by
// the definitions of the M4 competition (Makridakis, Spiliotis and Assimakopoulos,
// "The M4 Competition: 100,000 time series and 61 forecasting methods",
// International Journal of Forecasting 36, 2020):
//
//	bench -data DIR
//
// DIR holds m4_weekly_train.csv.gz and m4_weekly_test.csv.gz, and daily series
// named *_daily.csv, which are forecast from rolling origins. Times are of the
// process on its processor, not of the clock.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/usance/usance/forecast"
)

func main() {
	data := flag.String("data", ".", "folder of the series")
	licences := flag.Int("licences", 2000, "how many made-up licences to forecast, for the time of 100,000")
	flag.Parse()
	processors := runtime.GOMAXPROCS(1)
	err := run(*data)
	if err == nil {
		runtime.GOMAXPROCS(processors)
		err = fleet(*licences)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// A task is a series, what came after it, and its frequency.
type task struct {
	past, future []float64
	frequency    int
}

func run(data string) error {
	train, err := readWide(filepath.Join(data, "m4_weekly_train.csv.gz"))
	if err != nil {
		return err
	}
	test, err := readWide(filepath.Join(data, "m4_weekly_test.csv.gz"))
	if err != nil {
		return err
	}
	if len(train) != len(test) {
		return fmt.Errorf("%d weekly series and %d futures", len(train), len(test))
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "series\tmethod\tsMAPE\tMASE\tOWA\tcover 80\tcover 95\tscore 80\tscore 95\tms\t")
	weekly := make([]task, len(train))
	for i := range train {
		weekly[i] = task{train[i], test[i], 1}
	}
	// The season is found from the series, as the command line does it.
	score(w, "M4 weekly", weekly, forecast.Cycles(train, 0))
	names, err := filepath.Glob(filepath.Join(data, "*_daily.csv"))
	if err != nil {
		return err
	}
	var all []task
	for _, name := range names {
		y, err := readColumn(name)
		if err != nil {
			return err
		}
		list := rolling(y)
		score(w, strings.TrimSuffix(filepath.Base(name), "_daily.csv"), list, []int{7, 365})
		all = append(all, list...)
	}
	score(w, "all daily", all, []int{7, 365})
	if err := w.Flush(); err != nil {
		return err
	}
	for _, name := range names {
		if y, err := readColumn(name); err == nil && len(y) > 4*735 {
			fmt.Printf("\n735 days, 28 ahead: %.2f ms a series\n", speed(y, 735))
		}
	}
	return nil
}

const (
	horizon    = 28
	maxOrigins = 60
)

// rolling cuts a daily series at evenly spaced origins over its later two thirds.
func rolling(y []float64) []task {
	first, last := len(y)/3, len(y)-horizon
	n := min(maxOrigins, (last-first)/3)
	var list []task
	for i := range n {
		at := first + (last-first)*i/(n-1)
		list = append(list, task{y[:at], y[at : at+horizon], 7})
	}
	return list
}

// A prediction is a median and two intervals.
type prediction struct {
	median         []float64
	lower80, upper []float64
	lower95, up95  []float64
}

// score prints a line for each method.
func score(w *tabwriter.Writer, name string, tasks []task, cycles []int) {
	var f forecast.Forecaster
	methods := []struct {
		name string
		run  func(t task) prediction
	}{
		{"naive2", naive2},
		{"naive", func(t task) prediction { return repeat(t.past, 1, len(t.future)) }},
		{"seasonal naive", func(t task) prediction { return repeat(t.past, t.frequency, len(t.future)) }},
		{"SES", ses},
		{"usance", func(t task) prediction {
			v := f.Series(t.past, cycles, len(t.future))
			return prediction{v.Median(), v.Quantile(0.1), v.Quantile(0.9), v.Quantile(0.025), v.Quantile(0.975)}
		}},
	}
	var base sums
	for i, m := range methods {
		var s sums
		start := processorTime()
		results := make([]prediction, len(tasks))
		for i, t := range tasks {
			results[i] = m.run(t)
		}
		used := processorTime() - start
		for i, t := range tasks {
			s.add(t, results[i])
		}
		if i == 0 {
			base = s
		}
		s.print(w, name, m.name, base, used)
	}
}

func processorTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// speed gives the milliseconds that a series of n days takes.
func speed(y []float64, n int) float64 {
	var f forecast.Forecaster
	const rounds = 200
	start := processorTime()
	for i := range rounds {
		at := (len(y) - n) * i / rounds
		f.Series(y[at:at+n], []int{7, 365}, horizon)
	}
	return float64((processorTime() - start).Microseconds()) / 1000 / rounds
}
