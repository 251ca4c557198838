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

// Loads a module for good and returns its function list, or NULL and a reason that lasts until the
// next call of this thread. It is never unloaded: SoftHSM2 crashes in dlclose.
static struct list *load(const char *path, const char **reason, unsigned long *rv)
{
	void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (module == NULL) {
		*reason = dlerror();
		return NULL;
	}
	unsigned long (*get)(struct list **) = (unsigned long (*)(struct list **))dlsym(module, "C_GetFunctionList");
	if (get == NULL) {
		*reason = "it has no C_GetFunctionList, so it is not a PKCS#11 module";
		return NULL;
	}
	struct list *functions = NULL;
	*rv = get(&functions);
	return *rv == 0 ? functions : NULL;
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

// native makes the three calls that the binding has no right form of: loading, whose errors it drops;
// C_Login, of whose PIN it leaves a copy in the C heap; and C_Sign, which it precedes by a second call
// for the size, one more round trip to a network HSM.
type native struct{ list *C.struct_list }

// load maps the module at path into this process, for as long as the process lives.
func load(path string) (native, error) {
	if !filepath.IsAbs(path) {
		return native{}, fmt.Errorf("load PKCS#11 module %q: not an absolute path; set module-path or the module option", path)
	}
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	var reason *C.char
	var rv C.ulong
	list := C.load(name, &reason, &rv)
	switch {
	case list != nil:
		return native{list}, nil
	case reason != nil:
		return native{}, fmt.Errorf("load PKCS#11 module %q: %s", path, C.GoString(reason))
	case rv != 0:
		return native{}, fmt.Errorf("load PKCS#11 module %q: C_GetFunctionList: %w", path, pkcs11.Error(rv))
	}
	return native{}, fmt.Errorf("load PKCS#11 module %q: C_GetFunctionList gave nothing", path)
}

// login logs the user in. An empty pin is passed as NULL: the token asks at its own pad (PKCS#11 v2.40,
// section 5.6, C_Login).
func (n native) login(session pkcs11.SessionHandle, pin []byte) error {
	rv := C.login(n.list, C.ulong(session), (*C.uchar)(unsafe.SliceData(pin)), C.ulong(len(pin)))
	return called("C_Login", rv)
}

// sign returns r and s, 32 bytes each, of a 32-byte digest. After an error the session may still have
// an operation active.
func (n native) sign(session pkcs11.SessionHandle, key pkcs11.ObjectHandle, digest []byte) (signature [64]byte, err error) {
	size := C.ulong(len(signature))
	var failed C.int
	rv := C.sign(n.list, C.ulong(session), C.ulong(key), (*C.uchar)(&digest[0]), C.ulong(len(digest)),
		(*C.uchar)(&signature[0]), &size, &failed)
	if failed == C.SIGN_INIT {
		return signature, called("C_SignInit", rv)
	}
	if rv == 0 && int(size) != len(signature) {
		return signature, fmt.Errorf("C_Sign: a P-256 signature of %d bytes, want %d", size, len(signature))
	}
	return signature, called("C_Sign", rv)
}

// called names the function whose return code is not CKR_OK.
func called(function string, rv C.ulong) error {
	if rv == 0 {
		return nil
	}
	return fmt.Errorf("%s: %w", function, pkcs11.Error(rv))
}
