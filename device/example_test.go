//go:build cgo

package device_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"log"

	"github.com/birthmark/birthmark/device"
)

// Two ends authenticate each other by the library's EDHOC, with keys in software, and one sends the other a record.
func Example() {
	var ends [2]*device.Handshake
	var keys [2]*ecdsa.PrivateKey
	names := [2]string{"left", "right"}
	for i := range keys {
		var err error
		if keys[i], err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			log.Fatal(err)
		}
	}
	for i := range ends {
		peer := 1 - i
		point, err := keys[peer].PublicKey.Bytes()
		if err != nil {
			log.Fatal(err)
		}
		ends[i], err = device.NewHandshake(device.Role(i), device.HandshakeConfig{
			Identity:   keys[i],
			ID:         append([]byte{0x40 + byte(len(names[i]))}, names[i]...), // kid, a byte string
			Credential: []byte("credential of " + names[i]),
			Resolve: func(_ int, id []byte) (credential []byte, key [64]byte, err error) {
				if string(id[1:]) != names[peer] {
					return nil, key, errors.New("somebody else")
				}
				return []byte("credential of " + names[peer]), [64]byte(point[1:]), nil
			},
			Methods:    1 << 0, // both sign
			Suites:     []byte{2},
			Connection: []byte{byte(i)},
		})
		if err != nil {
			log.Fatal(err)
		}
		defer ends[i].Close()
	}
	for turn := range 4 { // message_1 to message_4
		message, err := ends[turn%2].Write()
		if err == nil {
			err = ends[1-turn%2].Read(message)
		}
		if err != nil {
			log.Fatal(err)
		}
	}
	var sessions [2]*device.Session
	for i, end := range ends {
		var err error
		if sessions[i], err = end.Session(); err != nil {
			log.Fatal(err)
		}
		defer sessions[i].Close()
	}
	record, err := sessions[0].Seal([]byte("turn left"))
	if err != nil {
		log.Fatal(err)
	}
	text, err := sessions[1].Open(record)
	fmt.Printf("%s, %d bytes more on the line, %v\n", text, len(record)-len(text), err)
	// Output: turn left, 12 bytes more on the line, <nil>
}
