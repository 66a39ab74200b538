//go:build unix

package main

import (
	"compress/gzip"
	"encoding/csv"
	"fmt"
	"os"
	"strconv"
)

// readWide reads a gzipped table with a header, a row each series.
func readWide(name string) ([][]float64, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	r := csv.NewReader(z)
	r.FieldsPerRecord = -1
	rows, err := r.ReadAll()
	if err != nil || len(rows) == 0 {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	out := make([][]float64, 0, len(rows)-1)
	for _, row := range rows[1:] {
		var y []float64
		for _, s := range row[1:] {
			if s == "" {
				break
			}
			v, err := strconv.ParseFloat(s, 64)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			y = append(y, v)
		}
		out = append(out, y)
	}
	return out, nil
}

// readColumn reads the second column of a table with a header, a row each day.
func readColumn(name string) ([]float64, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil || len(rows) == 0 {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	y := make([]float64, 0, len(rows)-1)
	for _, row := range rows[1:] {
		v, err := strconv.ParseFloat(row[1], 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		y = append(y, v)
	}
	return y, nil
}
