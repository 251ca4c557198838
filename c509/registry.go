package c509

import (
	"crypto/x509"
	"fmt"
	"strconv"
)

// A registry is one of the tables of section 8 that give a short integer to an object identifier.
type registry []registration

type registration struct {
	id   int
	oid  string
	name string // the first of the registered identifiers
}

func (t registry) id(id int) (registration, bool) {
	for _, e := range t {
		if e.id == id {
			return e, true
		}
	}
	return registration{}, false
}

func (t registry) oid(oid string) (registration, bool) {
	for _, e := range t {
		if e.oid == oid {
			return e, true
		}
	}
	return registration{}, false
}

// name returns the identifier of a registered value, and one of private use in decimal.
func (t registry) name(id int) string {
	if e, ok := t.id(id); ok {
		return e.name
	}
	return strconv.Itoa(id)
}

// number is the inverse of name.
func (t registry) number(name string) (int, error) {
	for _, e := range t {
		if e.name == name {
			return e.id, nil
		}
	}
	n, err := strconv.ParseInt(name, 10, 32)
	if err != nil || n < firstPrivate || strconv.FormatInt(n, 10) != name {
		return 0, fmt.Errorf("%w: name %q", ErrUnsupported, name)
	}
	return int(n), nil
}

// C509 RDN Attributes, section 8.6.
var rdnAttributes = registry{
	{0, "1.2.840.113549.1.9.1", "emailAddress"},
	{1, "2.5.4.3", "commonName"},
	{2, "2.5.4.4", "surname"},
	{3, "2.5.4.5", "serialNumber"},
	{4, "2.5.4.6", "countryName"},
	{5, "2.5.4.7", "localityName"},
	{6, "2.5.4.8", "stateOrProvinceName"},
	{7, "2.5.4.9", "streetAddress"},
	{8, "2.5.4.10", "organizationName"},
	{9, "2.5.4.11", "organizationalUnitName"},
	{10, "2.5.4.12", "title"},
	{11, "2.5.4.15", "businessCategory"},
	{12, "2.5.4.17", "postalCode"},
	{13, "2.5.4.42", "givenName"},
	{14, "2.5.4.43", "initials"},
	{15, "2.5.4.44", "generationQualifier"},
	{16, "2.5.4.46", "dnQualifier"},
	{17, "2.5.4.65", "pseudonym"},
	{18, "2.5.4.97", "organizationIdentifier"},
	{19, "1.3.6.1.4.1.311.60.2.1.1", "jurisdictionLocalityName"},
	{20, "1.3.6.1.4.1.311.60.2.1.2", "jurisdictionStateOrProvinceName"},
	{21, "1.3.6.1.4.1.311.60.2.1.3", "jurisdictionCountryName"},
	{22, "0.9.2342.19200300.100.1.25", "domainComponent"},
	{25, "2.5.4.41", "name"},
	{26, "2.5.4.20", "telephoneNumber"},
	{27, "2.5.4.54", "dmdName"},
	{28, "0.9.2342.19200300.100.1.1", "uid"},
	{29, "1.2.840.113549.1.9.2", "unstructuredName"},
	{30, "1.2.840.113549.1.9.8", "unstructuredAddress"},
}

// C509 Extensions, section 8.8. The values have codecs in extensionCodec. subjectDirectoryAttributes (24) left
// the registry after draft -20.
var extensionTypes = registry{
	{1, "2.5.29.14", "subjectKeyIdentifier"},
	{2, "2.5.29.15", "keyUsage"},
	{3, "2.5.29.17", "subjectAltName"},
	{4, "2.5.29.19", "basicConstraints"},
	{5, "2.5.29.31", "cRLDistributionPoints"},
	{6, "2.5.29.32", "certificatePolicies"},
	{7, "2.5.29.35", "authorityKeyIdentifier"},
	{8, "2.5.29.37", "extKeyUsage"},
	{9, "1.3.6.1.5.5.7.1.1", "authorityInfoAccess"},
	{25, "2.5.29.18", "issuerAltName"},
	{26, "2.5.29.30", "nameConstraints"},
	{27, "2.5.29.33", "policyMappings"},
	{28, "2.5.29.36", "policyConstraints"},
	{29, "2.5.29.46", "freshestCRL"},
	{30, "2.5.29.54", "inhibitAnyPolicy"},
	{31, "1.3.6.1.5.5.7.1.11", "subjectInfoAccess"},
	{32, "1.3.6.1.5.5.7.1.7", "id-pe-ipAddrBlocks"},
	{33, "1.3.6.1.5.5.7.1.8", "id-pe-autonomousSysIds"},
	{34, "1.3.6.1.5.5.7.1.28", "id-pe-ipAddrBlocks-v2"},
	{35, "1.3.6.1.5.5.7.1.29", "id-pe-autonomousSysIds-v2"},
	{36, "1.3.6.1.5.5.7.48.1.5", "id-pkix-ocsp-nocheck"},
	{38, "1.3.6.1.5.5.7.1.24", "id-pe-tlsfeature"},
}

// C509 Certificate Policies, section 8.9.
var policies = registry{
	{0, "2.5.29.32.0", "anyPolicy"},
	{1, "2.23.140.1.2.1", "domain-validated"},
	{2, "2.23.140.1.2.2", "organization-validated"},
	{3, "2.23.140.1.2.3", "individual-validated"},
	{4, "2.23.140.1.1", "ev-guidelines"},
	{7, "1.3.6.1.5.5.7.14.2", "id-cp-ipAddr-asNumber"},
	{8, "1.3.6.1.5.5.7.14.3", "id-cp-ipAddr-asNumber-v2"},
	{24, "2.23.146.1.2.1.0", "id-rspRole-ci"},
	{25, "2.23.146.1.2.1.1", "id-rspRole-euicc-v2"},
	{26, "2.23.146.1.2.1.0.0.0.0.0", "id-rspRole-euicc"},
	{27, "2.23.146.1.2.1.2", "id-rspRole-eum-v2"},
	{28, "2.23.146.1.2.1.0.0.0", "id-rspRole-eum"},
	{29, "2.23.146.1.2.1.3", "id-rspRole-dp-tls-v2"},
	{30, "2.23.146.1.2.1.0.0.1.0", "id-rspRole-dp-tls"},
	{31, "2.23.146.1.2.1.4", "id-rspRole-dp-auth-v2"},
	{32, "2.23.146.1.2.1.0.0.1.1", "id-rspRole-dp-auth"},
	{33, "2.23.146.1.2.1.5", "id-rspRole-dp-pb-v2"},
	{34, "2.23.146.1.2.1.0.0.1.2", "id-rspRole-dp-pb"},
	{35, "2.23.146.1.2.1.6", "id-rspRole-ds-tls-v2"},
	{36, "2.23.146.1.2.1.0.0.2.0", "id-rspRole-ds-tls"},
	{37, "2.23.146.1.2.1.7", "id-rspRole-ds-auth-v2"},
	{38, "2.23.146.1.2.1.0.0.2.1", "id-rspRole-ds-auth"},
}

// C509 Information Access, section 8.11.
var accessMethods = registry{
	{1, "1.3.6.1.5.5.7.48.1", "id-ad-ocsp"},
	{2, "1.3.6.1.5.5.7.48.2", "id-ad-caIssuers"},
	{3, "1.3.6.1.5.5.7.48.3", "id-ad-timeStamping"},
	{5, "1.3.6.1.5.5.7.48.5", "id-ad-caRepository"},
	{10, "1.3.6.1.5.5.7.48.10", "id-ad-rpkiManifest"},
	{11, "1.3.6.1.5.5.7.48.11", "id-ad-signedObject"},
	{13, "1.3.6.1.5.5.7.48.13", "id-ad-rpkiNotify"},
}

// C509 Extended Key Usages, section 8.12.
var keyPurposes = registry{
	{0, "2.5.29.37.0", "anyExtendedKeyUsage"},
	{1, "1.3.6.1.5.5.7.3.1", "id-kp-serverAuth"},
	{2, "1.3.6.1.5.5.7.3.2", "id-kp-clientAuth"},
	{3, "1.3.6.1.5.5.7.3.3", "id-kp-codeSigning"},
	{4, "1.3.6.1.5.5.7.3.4", "id-kp-emailProtection"},
	{8, "1.3.6.1.5.5.7.3.8", "id-kp-timeStamping"},
	{9, "1.3.6.1.5.5.7.3.9", "id-kp-OCSPSigning"},
	{10, "1.3.6.1.5.2.3.4", "id-pkinit-KPClientAuth"},
	{11, "1.3.6.1.5.2.3.5", "id-pkinit-KPKdc"},
	{12, "1.3.6.1.5.5.7.3.21", "id-kp-secureShellClient"},
	{13, "1.3.6.1.5.5.7.3.22", "id-kp-secureShellServer"},
	{14, "1.3.6.1.5.5.7.3.35", "id-kp-bundleSecurity"},
	{15, "1.3.6.1.5.5.7.3.27", "id-kp-cmcCA"},
	{16, "1.3.6.1.5.5.7.3.28", "id-kp-cmcRA"},
	{17, "1.3.6.1.5.5.7.3.29", "id-kp-cmcArchive"},
	{18, "1.3.6.1.5.5.7.3.32", "id-kp-cmKGA"},
	{20, "1.3.6.1.4.1.45605.1", "id-kp-wisun-fan-device"},
}

// maxOID is the longest object identifier taken, in bytes. The longest in the registries has 11; the time that
// the dotted form takes grows with the square of the length.
const maxOID = 64

// oid reads an unwrapped CBOR OID (RFC 9090) into its dotted form.
func (r *reader) oid() string {
	content := r.bytes()
	if len(content) > maxOID {
		r.unsupported("object identifier of %d bytes", len(content))
		return ""
	}
	var oid x509.OID
	if err := oid.UnmarshalBinary(content); err != nil {
		r.malformed("object identifier: %v", err)
		return ""
	}
	return oid.String()
}

// oid writes an OID that checkOID has passed.
func (w *writer) oid(dotted string) { w.bytes(oidContent(dotted)) }

// oidContent returns the content octets of a DER OBJECT IDENTIFIER, nil if dotted is none.
func oidContent(dotted string) []byte {
	oid, err := x509.ParseOID(dotted)
	if err != nil {
		return nil
	}
	content, _ := oid.MarshalBinary() // never fails
	return content
}

// checkOID refuses what oid would not have read. A byte of content makes at most four characters.
func checkOID(dotted string) error {
	if len(dotted) > 4*maxOID || len(oidContent(dotted)) > maxOID {
		return fmt.Errorf("%w: object identifier of more than %d bytes", ErrUnsupported, maxOID)
	}
	if oid, err := x509.ParseOID(dotted); err != nil || oid.String() != dotted {
		return fmt.Errorf("%w: object identifier %q", ErrMalformed, dotted)
	}
	return nil
}
