package ca

import (
	"cmp"
	"crypto"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/birthmark/birthmark/internal/durable"
)

// RevokeRequest is who goes onto the status list, or off it.
type RevokeRequest struct {
	Orders  []uint16 // their numbers
	Ranges  []Range  // of two serial numbers or more
	Serials []EUI64
	Lift    bool // off the list, on which all of them are
}

// CanRevoke says whether Revoke would sign, so that a refusal comes before a PIN is asked for.
func (a *Authority) CanRevoke(r RevokeRequest) error {
	_, err := a.relist(r)
	return err
}

// Revoke signs the next status list: all that the last one has, with the request's entries put on or taken off, and writes it into the
// authority's folder before it returns. Errors wrap ErrPolicy where nothing would change, where what is to be listed was never
// ordered, or where the list outgrows what units keep; ErrMalformed for a range that is none; ErrVerify for another key than
// the newest root's. They may be the signer's or the folder's; nothing has changed then.
func (a *Authority) Revoke(random io.Reader, root crypto.Signer, r RevokeRequest) error {
	list, err := a.relist(r)
	if err != nil {
		return err
	}
	return a.issueList(random, root, list)
}

// ListOutdated says whether the status list is of an older root than the newest, which no unit takes once it has the link: a
// rotation was cut short, and RenewList finishes it.
func (a *Authority) ListOutdated() bool { return a.List != nil && a.List.Root != a.Newest().Name() }

// Publish gives the bundle, which is what stations are told. It refuses while ListOutdated says so: units would not take the list,
// and those who should be kept out would be let in. The error wraps ErrPolicy.
func (a *Authority) Publish() (*Bundle, error) {
	if a.ListOutdated() {
		return nil, fmt.Errorf("status list %d is of root %d, and root %d has not signed it yet: repeat 'birthmark ca rotate': %w",
			a.List.Number, a.List.Root.Epoch(), a.Epoch(), ErrPolicy)
	}
	return &a.Bundle, nil
}

// RenewList signs an outdated list again, by the newest root, with the next number. It does nothing to a list that is not.
func (a *Authority) RenewList(random io.Reader, root crypto.Signer) error {
	if !a.ListOutdated() {
		return nil
	}
	return a.issueList(random, root, a.List)
}

// issueList signs these entries as the next list.
func (a *Authority) issueList(random io.Reader, root crypto.Signer, entries *StatusList) error {
	if err := a.isRoot(root); err != nil {
		return err
	}
	next := StatusList{Number: a.listNumber() + 1, Orders: entries.Orders, Ranges: entries.Ranges, Serials: entries.Serials}
	list, err := SignStatusList(random, root, a.Newest(), next)
	if err != nil {
		return err
	}
	if a.rotated() {
		return fmt.Errorf("root %d was replaced meanwhile: run this again: %w", a.Epoch(), ErrPolicy)
	}
	if err := os.MkdirAll(filepath.Join(a.folder, listsFolder), 0o755); err != nil {
		return err
	}
	if err := durable.Place(filepath.Join(a.folder, listsFolder, listFile(int(list.Number))), list.Object); err != nil {
		return fmt.Errorf("record status list %d: %w", list.Number, err)
	}
	a.List = list
	return durable.SyncFolder(a.folder) // the name of the lists' folder
}

// listNumber is that of the last list, through the authority's whole life.
func (a *Authority) listNumber() uint32 {
	if a.List == nil {
		return 0
	}
	return a.List.Number
}

func listFile(number int) string { return fmt.Sprintf("%05d.list", number) }

// loadLists reads lists/00001.list and so on; an authority that never revoked anything has no such folder.
func (a *Authority) loadLists() error {
	err := a.numbered(listsFolder, listFile, func(number int, file []byte) error {
		l, err := ParseStatusList(file)
		if err != nil {
			return err
		}
		root, known := a.Root(l.Root.Epoch())
		switch {
		case l.Number != uint32(number):
			return fmt.Errorf("it holds list %d: %w", l.Number, ErrVerify)
		case !known:
			return fmt.Errorf("it is of root %d, and the links lead to root %d: %w", l.Root.Epoch(), a.Epoch(), ErrVerify)
		case a.List != nil && l.Root.Epoch() < a.List.Root.Epoch():
			return fmt.Errorf("it is of root %d and follows one of root %d: %w", l.Root.Epoch(), a.List.Root.Epoch(), ErrVerify)
		}
		a.List = l
		return l.Verify(root)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// relist drafts the list that a request asks for.
func (a *Authority) relist(r RevokeRequest) (*StatusList, error) {
	now := new(StatusList)
	if a.List != nil {
		now = a.List
	}
	orders, err := a.listable(r)
	if err != nil {
		return nil, err
	}
	next := StatusList{Number: now.Number + 1}
	if r.Lift {
		var errs [3]error
		next.Orders, errs[0] = without(now.Orders, orders)
		next.Ranges, errs[1] = without(now.Ranges, r.Ranges)
		next.Serials, errs[2] = without(now.Serials, r.Serials)
		err = cmp.Or(errs[0], errs[1], errs[2])
	} else {
		next.Orders = with(now.Orders, orders)
		next.Ranges = joined(with(now.Ranges, r.Ranges))
		next.Serials = with(now.Serials, r.Serials)
	}
	if err != nil {
		return nil, err
	}
	list, err := draftStatusList(a.Newest().Name(), next)
	if err != nil {
		return nil, fmt.Errorf("status list: %w", err)
	}
	if slices.Equal(list.Orders, now.Orders) && slices.Equal(list.Ranges, now.Ranges) && slices.Equal(list.Serials, now.Serials) {
		return nil, fmt.Errorf("status list %d says all of this already: %w", now.Number, ErrPolicy)
	}
	return list, nil
}

// listable holds a request against what was ever ordered, so that a slip of the pen is not signed, and names its orders.
func (a *Authority) listable(r RevokeRequest) (orders []OrderName, err error) {
	for _, number := range r.Orders {
		if n := int(number); n < 1 || n > len(a.Orders) {
			return nil, fmt.Errorf("there is no order %d, the last one is %d: %w", number, len(a.Orders), ErrPolicy)
		}
		orders = append(orders, a.Orders[number-1].Certificate.Name)
	}
	ordered := func(serials Range) bool {
		return slices.ContainsFunc(a.Orders, func(o *Order) bool { return o.Certificate.Range.overlaps(serials) })
	}
	for _, serials := range r.Ranges {
		switch {
		case serials.First >= serials.Last:
			return nil, fmt.Errorf("range %v: want two serial numbers or more, the lower one first: %w", serials, ErrMalformed)
		case !ordered(serials):
			return nil, fmt.Errorf("no order has a serial number of %v: %w", serials, ErrPolicy)
		}
	}
	for _, serial := range r.Serials {
		if !ordered(Range{serial, serial}) {
			return nil, fmt.Errorf("no order has serial number %v: %w", serial, ErrPolicy)
		}
	}
	return orders, nil
}

// with is the entries and more of them, each once.
func with[T comparable](entries, more []T) []T {
	all := slices.Clone(entries)
	for _, entry := range more {
		if !slices.Contains(all, entry) {
			all = append(all, entry)
		}
	}
	return all
}

// without is the entries but some of them, which must all be there.
func without[T comparable](entries, some []T) ([]T, error) {
	for _, entry := range some {
		if !slices.Contains(entries, entry) {
			return nil, fmt.Errorf("%v is not on the status list: %w", entry, ErrPolicy)
		}
	}
	return slices.DeleteFunc(slices.Clone(entries), func(entry T) bool { return slices.Contains(some, entry) }), nil
}

// joined makes one range of those that touch or overlap.
func joined(ranges []Range) (apart []Range) {
	slices.SortFunc(ranges, func(a, b Range) int { return cmp.Compare(a.First, b.First) })
	for _, r := range ranges {
		if n := len(apart); n > 0 && r.First <= apart[n-1].Last+1 {
			apart[n-1].Last = max(apart[n-1].Last, r.Last)
			continue
		}
		apart = append(apart, r)
	}
	return apart
}

// ListRoom is how many more serial numbers the status list has room for, whichever of all that were ever ordered they are.
func (a *Authority) ListRoom() int {
	l := StatusList{}
	if a.List != nil {
		l = *a.List
	}
	numbers := l.numbers()
	for _, o := range a.Orders {
		numbers = append(numbers, o.Certificate.Range.First, o.Certificate.Range.Last)
	}
	l.prefix = commonPrefix(numbers)
	payload, width := len(l.payload()), serialSize-len(l.prefix)
	n := 0
	for objectSize(payload+(n+1)*width) <= maxList {
		n++
	}
	return n
}
