//go:build cgo

package hsm

import (
	"errors"
	"fmt"
	"strings"

	"github.com/miekg/pkcs11"
)

// traced are the binding's functions that this package calls, each told to trace with its return code. Arguments are not, so no
// PIN and no key is.
type traced struct {
	*pkcs11.Ctx
	trace func(function, code string)
}

// returned tells the trace of one call. It is deferred, and looks at *err when the call has returned.
func (c traced) returned(function string, err *error) {
	if c.trace != nil {
		c.trace(function, codeName(*err))
	}
}

// codeName is the name of the return code in err, such as CKR_OK.
func codeName(err error) string {
	var rv pkcs11.Error
	if !errors.As(err, &rv) {
		if err == nil {
			return "CKR_OK"
		}
		return err.Error()
	}
	if name := rv.Error(); strings.Contains(name, "CKR_") {
		return name[strings.LastIndex(name, " ")+1:]
	}
	return fmt.Sprintf("0x%08X", uint(rv))
}

func (c traced) Initialize() (err error) {
	defer c.returned("C_Initialize", &err)
	return c.Ctx.Initialize()
}

func (c traced) Finalize() (err error) {
	defer c.returned("C_Finalize", &err)
	return c.Ctx.Finalize()
}

func (c traced) GetSlotList(present bool) (slots []uint, err error) {
	defer c.returned("C_GetSlotList", &err)
	return c.Ctx.GetSlotList(present)
}

func (c traced) GetTokenInfo(slot uint) (info pkcs11.TokenInfo, err error) {
	defer c.returned("C_GetTokenInfo", &err)
	return c.Ctx.GetTokenInfo(slot)
}

func (c traced) GetMechanismList(slot uint) (mechanisms []*pkcs11.Mechanism, err error) {
	defer c.returned("C_GetMechanismList", &err)
	return c.Ctx.GetMechanismList(slot)
}

func (c traced) OpenSession(slot, flags uint) (s pkcs11.SessionHandle, err error) {
	defer c.returned("C_OpenSession", &err)
	return c.Ctx.OpenSession(slot, flags)
}

func (c traced) CloseSession(s pkcs11.SessionHandle) (err error) {
	defer c.returned("C_CloseSession", &err)
	return c.Ctx.CloseSession(s)
}

func (c traced) CloseAllSessions(slot uint) (err error) {
	defer c.returned("C_CloseAllSessions", &err)
	return c.Ctx.CloseAllSessions(slot)
}

func (c traced) Logout(s pkcs11.SessionHandle) (err error) {
	defer c.returned("C_Logout", &err)
	return c.Ctx.Logout(s)
}

func (c traced) FindObjectsInit(s pkcs11.SessionHandle, template []*pkcs11.Attribute) (err error) {
	defer c.returned("C_FindObjectsInit", &err)
	return c.Ctx.FindObjectsInit(s, template)
}

func (c traced) FindObjects(s pkcs11.SessionHandle, most int) (found []pkcs11.ObjectHandle, more bool, err error) {
	defer c.returned("C_FindObjects", &err)
	return c.Ctx.FindObjects(s, most)
}

func (c traced) FindObjectsFinal(s pkcs11.SessionHandle) (err error) {
	defer c.returned("C_FindObjectsFinal", &err)
	return c.Ctx.FindObjectsFinal(s)
}

func (c traced) GetAttributeValue(s pkcs11.SessionHandle, o pkcs11.ObjectHandle, a []*pkcs11.Attribute) (values []*pkcs11.Attribute, err error) {
	defer c.returned("C_GetAttributeValue", &err)
	return c.Ctx.GetAttributeValue(s, o, a)
}

func (c traced) SetAttributeValue(s pkcs11.SessionHandle, o pkcs11.ObjectHandle, a []*pkcs11.Attribute) (err error) {
	defer c.returned("C_SetAttributeValue", &err)
	return c.Ctx.SetAttributeValue(s, o, a)
}

func (c traced) CreateObject(s pkcs11.SessionHandle, template []*pkcs11.Attribute) (o pkcs11.ObjectHandle, err error) {
	defer c.returned("C_CreateObject", &err)
	return c.Ctx.CreateObject(s, template)
}

func (c traced) CopyObject(s pkcs11.SessionHandle, from pkcs11.ObjectHandle, template []*pkcs11.Attribute) (o pkcs11.ObjectHandle, err error) {
	defer c.returned("C_CopyObject", &err)
	return c.Ctx.CopyObject(s, from, template)
}

func (c traced) DestroyObject(s pkcs11.SessionHandle, o pkcs11.ObjectHandle) (err error) {
	defer c.returned("C_DestroyObject", &err)
	return c.Ctx.DestroyObject(s, o)
}

func (c traced) GenerateKeyPair(s pkcs11.SessionHandle, m []*pkcs11.Mechanism, public, private []*pkcs11.Attribute) (
	a, b pkcs11.ObjectHandle, err error) {
	defer c.returned("C_GenerateKeyPair", &err)
	return c.Ctx.GenerateKeyPair(s, m, public, private)
}

func (c traced) WrapKey(s pkcs11.SessionHandle, m []*pkcs11.Mechanism, with, key pkcs11.ObjectHandle) (wrapped []byte, err error) {
	defer c.returned("C_WrapKey", &err)
	return c.Ctx.WrapKey(s, m, with, key)
}

func (c traced) UnwrapKey(s pkcs11.SessionHandle, m []*pkcs11.Mechanism, with pkcs11.ObjectHandle, wrapped []byte,
	template []*pkcs11.Attribute) (key pkcs11.ObjectHandle, err error) {
	defer c.returned("C_UnwrapKey", &err)
	return c.Ctx.UnwrapKey(s, m, with, wrapped, template)
}

func (c traced) GenerateKey(s pkcs11.SessionHandle, m []*pkcs11.Mechanism, template []*pkcs11.Attribute) (key pkcs11.ObjectHandle, err error) {
	defer c.returned("C_GenerateKey", &err)
	return c.Ctx.GenerateKey(s, m, template)
}

func (c traced) DeriveKey(s pkcs11.SessionHandle, m []*pkcs11.Mechanism, from pkcs11.ObjectHandle, template []*pkcs11.Attribute) (
	key pkcs11.ObjectHandle, err error) {
	defer c.returned("C_DeriveKey", &err)
	return c.Ctx.DeriveKey(s, m, from, template)
}

func (c traced) SignInit(s pkcs11.SessionHandle, m []*pkcs11.Mechanism, key pkcs11.ObjectHandle) (err error) {
	defer c.returned("C_SignInit", &err)
	return c.Ctx.SignInit(s, m, key)
}

func (c traced) Sign(s pkcs11.SessionHandle, message []byte) (signature []byte, err error) {
	defer c.returned("C_Sign", &err)
	return c.Ctx.Sign(s, message)
}
