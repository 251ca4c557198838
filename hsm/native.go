//go:build cgo

package hsm

/*
#cgo linux LDFLAGS: -ldl
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>

// CK_FUNCTION_LIST as an array: PKCS#11 v2.40, section 3.6, fixes the order of its 68 entries.
enum { LOGIN = 18, SIGN_INIT = 42, SIGN = 43 };
struct list {
	unsigned char version[2];
	void *entry[68];
};

// The struct ctx of github.com/miekg/pkcs11 v1.1.2.
struct binding {
	void *module;
	struct list *functions;
};

// Returns NULL if the file is a PKCS#11 module, or else a reason that lasts until the next call of this
// thread. The module stays loaded for good: SoftHSM2 crashes in dlclose.
static const char *load(const char *path)
{
	void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (module == NULL) {
		return dlerror();
	}
	if (dlsym(module, "C_GetFunctionList") == NULL) {
		return "it has no C_GetFunctionList, so it is not a PKCS#11 module";
	}
	return NULL;
}

static unsigned long login(const struct list *l, unsigned long session, unsigned char *pin, unsigned long size)
{
	unsigned long (*f)(unsigned long, unsigned long, unsigned char *, unsigned long) = l->entry[LOGIN];
	return f(session, 1, pin, size); // CKU_USER
}

// Signs a digest with CKM_ECDSA. *failed is the number of the entry whose return code it returns.
static unsigned long sign(const struct list *l, unsigned long session, unsigned long key, unsigned char *digest,
	unsigned long digest_size, unsigned char *signature, unsigned long *signature_size, int *failed)
{
	struct { unsigned long mechanism; void *parameter; unsigned long size; } ecdsa = { 0x1041, NULL, 0 };
	unsigned long (*init)(unsigned long, void *, unsigned long) = l->entry[SIGN_INIT];
	unsigned long (*f)(unsigned long, unsigned char *, unsigned long, unsigned char *, unsigned long *) = l->entry[SIGN];
	*failed = SIGN_INIT;
	unsigned long rv = init(session, &ecdsa, key);
	if (rv != 0) {
		return rv;
	}
	*failed = SIGN;
	return f(session, digest, digest_size, signature, signature_size);
}
*/
import "C"

import (
	"fmt"
	"path/filepath"
	"unsafe"

	"github.com/miekg/pkcs11"
)

// native makes two calls that the binding has no right form of: C_Login, of whose PIN it leaves a copy in
// the C heap, and C_Sign, which it precedes by a second call for the size, one more round trip to a
// network HSM. They must go through the binding's own function list: C_GetFunctionList of
// p11-kit-client.so gives every caller a list with an initialisation and logins of its own.
type native struct {
	list  *C.struct_list
	trace func(function, code string) // see traced
}

// load maps the module at path into this process, for as long as the process lives.
func load(path string) (*pkcs11.Ctx, native, error) {
	if !filepath.IsAbs(path) {
		return nil, native{}, fmt.Errorf("load PKCS#11 module %q: not an absolute path", path)
	}
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	if reason := C.load(name); reason != nil { // the binding drops it
		return nil, native{}, fmt.Errorf("load PKCS#11 module %q: %s", path, C.GoString(reason))
	}
	ctx := pkcs11.New(path)
	if ctx == nil {
		return nil, native{}, fmt.Errorf("load PKCS#11 module %q: it loads no second time", path)
	}
	binding := *(**C.struct_binding)(unsafe.Pointer(ctx))
	if binding.functions == nil {
		return nil, native{}, fmt.Errorf("load PKCS#11 module %q: C_GetFunctionList gives no list", path)
	}
	return ctx, native{list: binding.functions}, nil
}

// login logs the user in. An empty pin is passed as NULL: the token asks at its own pad (PKCS#11 v2.40,
// section 5.6, C_Login).
func (n native) login(session pkcs11.SessionHandle, pin []byte) error {
	rv := C.login(n.list, C.ulong(session), (*C.uchar)(unsafe.SliceData(pin)), C.ulong(len(pin)))
	return n.called("C_Login", rv)
}

// sign returns r and s, 32 bytes each, of a 32-byte digest. After an error the session may still have
// an operation active.
func (n native) sign(session pkcs11.SessionHandle, key pkcs11.ObjectHandle, digest []byte) (signature [64]byte, err error) {
	size := C.ulong(len(signature))
	var failed C.int
	rv := C.sign(n.list, C.ulong(session), C.ulong(key), (*C.uchar)(&digest[0]), C.ulong(len(digest)),
		(*C.uchar)(&signature[0]), &size, &failed)
	if failed == C.SIGN_INIT {
		return signature, n.called("C_SignInit", rv)
	}
	_ = n.called("C_SignInit", 0)
	if rv == 0 && int(size) != len(signature) {
		_ = n.called("C_Sign", rv)
		return signature, fmt.Errorf("C_Sign: a P-256 signature of %d bytes, want %d", size, len(signature))
	}
	return signature, n.called("C_Sign", rv)
}

// called names the function whose return code is not CKR_OK.
func (n native) called(function string, rv C.ulong) (err error) {
	if rv != 0 {
		err = pkcs11.Error(rv)
	}
	if n.trace != nil {
		n.trace(function, codeName(err))
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", function, err)
	}
	return err
}
