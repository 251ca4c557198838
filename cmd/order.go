package cmd

import (
	"encoding/hex"
	"fmt"
	"io"
	"time"

	"github.com/birthmark/birthmark/ca"
)

// orderJSON is an order as --json shows it.
type orderJSON struct {
	File        string    `json:"file"`
	Number      uint16    `json:"number"`
	Station     string    `json:"station"`
	Product     uint32    `json:"product"`
	Profile     string    `json:"profile"`
	First       string    `json:"first"`
	Last        string    `json:"last"`
	Count       uint64    `json:"count"`
	Issued      time.Time `json:"issued"`
	Expires     time.Time `json:"expires"`
	Certificate string    `json:"certificate"`
	Test        bool      `json:"test"`
}

func orderView(a *ca.Authority, o *ca.Order) orderJSON {
	fingerprint := o.Certificate.Fingerprint()
	return orderJSON{
		File:        a.OrderPath(o),
		Number:      o.Number(),
		Station:     o.Station,
		Product:     o.Certificate.Product,
		Profile:     o.Profile.Name,
		First:       o.Certificate.Range.First.String(),
		Last:        o.Certificate.Range.Last.String(),
		Count:       o.Count,
		Issued:      o.Issued,
		Expires:     o.Expires,
		Certificate: hex.EncodeToString(fingerprint[:]),
		Test:        o.Test(),
	}
}

func orderViews(a *ca.Authority) []orderJSON {
	views := make([]orderJSON, 0, len(a.Orders))
	for _, o := range a.Orders {
		views = append(views, orderView(a, o))
	}
	return views
}

func writeOrder(w io.Writer, path string, o *ca.Order) {
	fmt.Fprintf(w, "order %-6d %d units of product %d (%s) at station %q\n             %v, until %s\n             %s\n",
		o.Number(), o.Count, o.Certificate.Product, o.Profile.Name, o.Station,
		o.Certificate.Range, o.Expires.Format(time.DateOnly), path)
}
