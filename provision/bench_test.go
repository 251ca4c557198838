//go:build cgo

package provision

import (
	"slices"
	"testing"
	"time"

	"github.com/birthmark/birthmark/link/sim"
)

// BenchmarkOverhead provisions shifts of 50 units one after the other, with chips that take no time and an order key in
// memory. overhead-ms is the median of what the station itself takes for a unit, without the time that it waits for the
// unit or the order key; unit-ms is the mean of everything, closing the port included.
func BenchmarkOverhead(b *testing.B) {
	const shift = 50
	var overheads []time.Duration
	for b.Loop() {
		b.StopTimer()
		f := newFactory(b, shift)
		s := f.station()
		for range shift {
			u := f.unit(sim.Options{})
			b.StartTimer()
			r := run(b.Context(), s, u.Port())[0]
			b.StopTimer()
			if r.Err != nil {
				b.Fatal(r.Err)
			}
			overheads = append(overheads, r.Took-r.Waited-r.Signed)
			if err := u.Close(); err != nil {
				b.Fatal(err)
			}
		}
		b.StartTimer()
	}
	slices.Sort(overheads)
	b.ReportMetric(float64(overheads[len(overheads)/2].Microseconds())/1000, "overhead-ms")
	b.ReportMetric(b.Elapsed().Seconds()*1000/float64(len(overheads)), "unit-ms")
	b.ReportMetric(float64(len(overheads)), "units")
}
