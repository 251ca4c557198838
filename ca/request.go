package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
)

const (
	requestBlock   = "CERTIFICATE REQUEST"
	maxStationName = 64 // bytes; RFC 5280's bound for a commonName and an organizationalUnitName
)

// Request is a station's wish for an order: its name and the order key that its token made.
type Request struct {
	Station string
	Key     *ecdsa.PublicKey
}

// NewRequest makes the file that a station hands to the officer: a PKCS#10 request (RFC 2986) in PEM, signed by the order
// key, which proves that the station's token holds it. A name that does not fit and a key that is not on P-256 wrap
// ErrMalformed.
func NewRequest(random io.Reader, station string, key crypto.Signer) ([]byte, error) {
	if err := CheckStation(station); err != nil {
		return nil, err
	}
	if _, err := p256Key(key.Public()); err != nil {
		return nil, fmt.Errorf("station request: %w", err)
	}
	der, err := x509.CreateCertificateRequest(random, &x509.CertificateRequest{
		Subject:            pkix.Name{CommonName: station},
		SignatureAlgorithm: x509.ECDSAWithSHA256,
	}, key)
	if err != nil {
		return nil, fmt.Errorf("station request: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: requestBlock, Bytes: der}), nil
}

// ParseRequest reads a station's request and checks the proof of possession in it. It takes the commonName and the key;
// what else a request asks for has no place in an order. Errors wrap ErrMalformed, or ErrVerify for the proof.
func ParseRequest(file []byte) (*Request, error) {
	block, rest := pem.Decode(file)
	if block == nil || block.Type != requestBlock || len(rest) != 0 {
		return nil, fmt.Errorf("station request: want one PEM block %q: %w", requestBlock, ErrMalformed)
	}
	r, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("station request: %w: %w", err, ErrMalformed)
	}
	if err := r.CheckSignature(); err != nil {
		return nil, fmt.Errorf("station request: its own signature does not hold: %w: %w", err, ErrVerify)
	}
	key, err := p256Key(r.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("station request: %w", err)
	}
	if err := CheckStation(r.Subject.CommonName); err != nil {
		return nil, err
	}
	return &Request{Station: r.Subject.CommonName, Key: key}, nil
}

// CheckStation says whether a station may have this name, so that it can be asked before a key is made.
func CheckStation(name string) error { return checkTitle("station name", name, maxStationName) }
