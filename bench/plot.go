package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math"
)

// plot is a chart of horizontal bars, with the smallest and largest of the
// rounds as a line across the end.
type plot struct {
	name  string // of the file, without .svg
	title string
	unit  string
	log   bool // a scale of powers of ten, for what differs by more than that
	bars  []bar
}

type bar struct {
	label string
	spread
	ours bool
}

func (p *plot) svg() []byte {
	const (
		labelWidth, barWidth, valueWidth = 300, 460, 110
		rowHeight, top                   = 26, 44
	)
	largest, smallest := 0.0, math.Inf(1)
	for _, b := range p.bars {
		largest = max(largest, b.high)
		smallest = min(smallest, b.low)
	}
	floor := math.Pow(10, math.Floor(math.Log10(max(smallest, 1e-3)))-0.3)
	x := func(v float64) float64 {
		switch {
		case largest <= 0 || v <= 0:
			return labelWidth
		case p.log:
			return labelWidth + barWidth*math.Log(max(v, floor)/floor)/math.Log(largest/floor)
		}
		return labelWidth + barWidth*v/largest
	}
	var out bytes.Buffer
	width, height := labelWidth+barWidth+valueWidth, top+rowHeight*len(p.bars)+10
	unit := p.unit
	if p.log {
		unit += ", logarithmic"
	}
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13">`+"\n", width, height)
	fmt.Fprintf(&out, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", width, height)
	fmt.Fprintf(&out, `<text x="10" y="22" font-size="15" font-weight="bold">%s</text><text x="%d" y="22" text-anchor="end" fill="#666">%s</text>`+"\n",
		escape(p.title), width-10, escape(unit))
	for i, b := range p.bars {
		y := top + rowHeight*i
		fill := "#9aa5b1"
		if b.ours {
			fill = "#1f77b4"
		}
		middle := float64(y) + rowHeight/2 - 2
		fmt.Fprintf(&out, `<text x="%d" y="%.1f" text-anchor="end">%s</text>`, labelWidth-8, middle+4, escape(b.label))
		fmt.Fprintf(&out, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`, labelWidth, y+2, x(b.median)-labelWidth, rowHeight-8, fill)
		fmt.Fprintf(&out, `<path d="M%.1f %.1fH%.1f" stroke="#222" stroke-width="2"/>`, x(b.low), middle, x(b.high))
		fmt.Fprintf(&out, `<text x="%.1f" y="%.1f">%s</text>`+"\n", x(b.high)+6, middle+4, escape(short(b.median)))
	}
	out.WriteString("</svg>\n")
	return out.Bytes()
}

func escape(s string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(s)) // a bytes.Buffer takes all
	return b.String()
}
