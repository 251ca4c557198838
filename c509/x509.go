package c509

import "fmt"

func (c *Certificate) tbsCertificate() ([]byte, error) {
	return nil, fmt.Errorf("%w: type 3", ErrUnsupported)
}
