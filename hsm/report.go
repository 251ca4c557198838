package hsm

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
