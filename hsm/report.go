package hsm

import "time"

// TokenInfo is what a token says of itself before anybody logs in (PKCS#11 v2.40, section 3.2).
type TokenInfo struct {
	URI          string      `json:"uri"` // names this token and no other
	Label        string      `json:"label"`
	Manufacturer string      `json:"manufacturer"`
	Model        string      `json:"model"`
	Serial       string      `json:"serial"`
	Flags        []string    `json:"flags"`      // those that matter for a login, as in CKF_..., lower case
	Mechanisms   []string    `json:"mechanisms"` // CKM_..., those that Birthmark or its self-test can use
	Keys         []PublicKey `json:"keys"`       // public key objects that show without a login
}

// PublicKey is a public key object of a token.
type PublicKey struct {
	Label string `json:"label"`
	ID    string `json:"id"`              // hexadecimal
	Point string `json:"point,omitempty"` // hexadecimal, uncompressed; empty if it is not on P-256
}

// Report is what Test found out about a token.
type Report struct {
	Token  string  `json:"token"`  // URI
	Module string  `json:"module"` // what the module says of itself
	Traits []Trait `json:"traits"` // in which tokens differ; nothing here depends on them
	Checks []Check `json:"checks"` // what must hold
}

// Trait is something that a token has, lacks or does in its own way.
type Trait struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Check is one result of Test.
type Check struct {
	Name   string `json:"name"`
	Passed bool   `json:"passed"`
	Detail string `json:"detail"` // what was found, or what the token answered
}

// Figures are what Bench measured, in rounds that alternate between the three ways to sign.
type Figures struct {
	Token   string `json:"token"`
	Workers int    `json:"workers"` // goroutines, each with a session
	Rounds  int    `json:"rounds"`

	Sign    Rate `json:"sign"`    // Signer.Sign: pool, recovery, CKM_ECDSA, DER, verification
	Raw     Rate `json:"raw"`     // C_SignInit and C_Sign through the binding in a session kept open; nothing verified
	Checked Rate `json:"checked"` // Raw, and the same verification in Go

	OfRaw     float64 `json:"of_raw"`     // Sign.PerSecond / Raw.PerSecond
	OfChecked float64 `json:"of_checked"` // Sign.PerSecond / Checked.PerSecond: what this package costs
}

// Rate is the speed of one way to sign. Times are from a call to its return.
type Rate struct {
	PerSecond float64       `json:"per_second"`
	Median    time.Duration `json:"median_ns"`
	P99       time.Duration `json:"p99_ns"`
}
