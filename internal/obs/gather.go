package obs

import (
	"math"
	"slices"
	"strconv"

	dto "github.com/prometheus/client_model/go"
)

func sorted(s []string) []string {
	slices.Sort(s)
	return s
}

// gatheredNames lists the series of a gathered family as [Family.names] does.
func gatheredNames(mf *dto.MetricFamily) []string {
	var out []string
	for _, m := range mf.GetMetric() {
		var pairs []string
		for _, l := range m.GetLabel() {
			pairs = append(pairs, l.GetName()+"="+strconv.Quote(l.GetValue()))
		}
		name, h := mf.GetName(), m.GetHistogram()
		if h == nil {
			out = append(out, seriesName(name, pairs))
			continue
		}
		bounds := []float64{}
		for _, b := range h.GetBucket() {
			bounds = append(bounds, b.GetUpperBound())
		}
		if len(bounds) == 0 || !math.IsInf(bounds[len(bounds)-1], 1) {
			bounds = append(bounds, math.Inf(1)) // the text format adds it
		}
		for _, b := range bounds {
			out = append(out, seriesName(name+"_bucket", append(slices.Clone(pairs), "le="+strconv.Quote(formatBound(b)))))
		}
		out = append(out, seriesName(name+"_sum", pairs), seriesName(name+"_count", pairs))
	}
	return out
}
