package c509

import "fmt"

// ParseChain reads COSE_C509, the value of the COSE headers c5b and c5c (section 3.4): one certificate in a
// byte string, or an array of two or more of those. Whether the certificates belong together is not looked at.
// Errors are those of Parse.
func ParseChain(b []byte) ([]*Certificate, error) {
	r := &reader{rest: b}
	n := 1
	if r.peek() == majorArray {
		if n = r.array(); n < 2 {
			r.malformed("array of %d certificates, want two or more", n)
		}
	}
	var chain []*Certificate
	for ; n > 0 && r.err == nil; n-- {
		encoded := r.bytes()
		if r.err != nil {
			break
		}
		c, err := Parse(encoded)
		if err != nil {
			return nil, fmt.Errorf("chain, certificate %d: %w", len(chain), err)
		}
		chain = append(chain, c)
	}
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("parse chain: %w", err)
	}
	return chain, nil
}

// EncodeChain is the inverse of ParseChain. The error wraps ErrMalformed for no certificate at all, and else is
// that of Encode.
func EncodeChain(chain []*Certificate) ([]byte, error) {
	if len(chain) == 0 {
		return nil, fmt.Errorf("encode chain: %w: no certificate", ErrMalformed)
	}
	var w writer
	if len(chain) > 1 {
		w.array(len(chain))
	}
	for i, c := range chain {
		encoded, err := c.Encode()
		if err != nil {
			return nil, fmt.Errorf("chain, certificate %d: %w", i, err)
		}
		w.bytes(encoded)
	}
	return w.buf, nil
}
