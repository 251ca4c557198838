/* A PKCS#11 module that stands between the tests and a real one, counts every call and makes chosen
 * calls fail. BIRTHMARK_FAULT_MODULE is the real module, BIRTHMARK_FAULT_CONTROL a file that the test
 * maps as well, which holds a struct shared.
 *
 * Every entry is passed on with eight words, the most that a PKCS#11 function takes. All arguments are
 * words, and in the ABIs of amd64 and arm64 a callee ignores those it has not declared. */
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef unsigned long word;

enum {
    ENTRIES = 68,
    TRACE = 4096,

    INITIALIZE = 0,
    FINALIZE = 1,
    GET_INFO = 2,
    GET_FUNCTION_LIST = 3,
    GET_SLOT_LIST = 4,
    GET_TOKEN_INFO = 6,
    CLOSE_ALL_SESSIONS = 14,
    LOGIN = 18,
    SIGN = 43,

    CKR_BUFFER_TOO_SMALL = 0x150,
    CKR_DEVICE_REMOVED = 0x32,
    CKR_GENERAL_ERROR = 5,
};

struct list {
    unsigned char version[2];
    void *entry[ENTRIES];
};

struct control {
    uint64_t calls; /* so far */
    uint64_t from;  /* the first call that the fault hits, counted from 0 */
    uint64_t count; /* how many it hits */
    uint64_t fault; /* high half: enum kind; low half: its value */
};

struct shared {
    struct control entry[ENTRIES]; /* in the order of CK_FUNCTION_LIST (PKCS#11 v2.40, section 3.6) */
    struct control any;            /* counts the calls of all entries */
    uint64_t repeated;             /* logins of one process after one that failed */
    uint64_t exposed;              /* logins with a PIN that the process shows in /proc */
    uint8_t trace[TRACE];          /* the entry of each call */
};

enum kind {
    RETURN_CODE, /* return the value without asking the module */
    FLIP_BIT,    /* C_Sign: flip the last bit of the signature */
    CLOSE_ALL,   /* the token was pulled and put back: every session ends first */
    SET_FLAGS,   /* C_GetTokenInfo: add the value to the flags */
    EMPTY,       /* C_GetSlotList: no slot has a token */
    ANSWER_LOST, /* the module does it, and the caller gets the value as its return code */
    DELAY,       /* wait for as many milliseconds as the value says */
    TWICE,       /* C_GetSlotList: each slot is there twice, so two tokens are alike */
    KILL,        /* the process dies, before the call or, with a value, after it */
    PULLED,      /* the token is out: every session ends, no slot has it, and its calls fail */
};

static struct list *real, mine;
static struct shared *shared;

static word call(int i, const word *a)
{
    word (*f)(word, word, word, word, word, word, word, word) = real->entry[i];
    return f(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]);
}

static void close_all(void)
{
    word slots[16], count = 16;
    if (call(GET_SLOT_LIST, (word[8]){1, (word)slots, (word)&count}) != 0) {
        return;
    }
    for (word i = 0; i < count; i++) {
        call(CLOSE_ALL_SESSIONS, (word[8]){slots[i]});
    }
}

static word twice(const word *a)
{
    word slots[16], count = 16, *out = (word *)a[1], *size = (word *)a[2];
    word rv = call(GET_SLOT_LIST, (word[8]){a[0], (word)slots, (word)&count});
    if (rv != 0) {
        return rv;
    }
    word room = *size;
    *size = 2 * count;
    if (out == NULL) {
        return 0;
    }
    if (room < 2 * count) {
        return CKR_BUFFER_TOO_SMALL;
    }
    for (word i = 0; i < 2 * count; i++) {
        out[i] = slots[i % count];
    }
    return 0;
}

static word pulled(int i, const word *a)
{
    close_all();
    switch (i) {
    case INITIALIZE:
    case FINALIZE:
    case GET_INFO:
        return call(i, a);
    case GET_SLOT_LIST:
        *(word *)a[2] = 0;
        return 0;
    }
    return CKR_DEVICE_REMOVED;
}

static word faulty(int i, const word *a, uint64_t fault)
{
    word value = fault & 0xFFFFFFFF, rv;
    switch ((enum kind)(fault >> 32)) {
    case RETURN_CODE:
        return value;
    case FLIP_BIT:
        rv = call(i, a);
        if (rv == 0 && a[3] != 0) {
            ((unsigned char *)a[3])[*(word *)a[4] - 1] ^= 1;
        }
        return rv;
    case CLOSE_ALL:
        close_all();
        break;
    case SET_FLAGS:
        rv = call(i, a);
        *(word *)((char *)a[1] + 96) |= value; /* flags follow label[32], manufacturerID[32], model[16], serialNumber[16] */
        return rv;
    case EMPTY:
        *(word *)a[2] = 0;
        return 0;
    case ANSWER_LOST:
        call(i, a);
        return value;
    case DELAY:
        usleep((useconds_t)value * 1000);
        break;
    case TWICE:
        return twice(a);
    case KILL:
        if (value != 0) {
            call(i, a);
        }
        raise(SIGKILL);
        break;
    case PULLED:
        return pulled(i, a);
    }
    return call(i, a);
}

/* Whether n, the number of this call, is one that the fault hits. */
static int hit(const struct control *c, uint64_t n)
{
    return n >= c->from && n - c->from < c->count;
}

/* Whether a file of this process has the PIN in it. */
static int shows(const char *path, const char *pin, word size)
{
    static char text[1 << 16];
    int fd = open(path, O_RDONLY);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text);
    close(fd);
    return size > 0 && n > 0 && memmem(text, (size_t)n, pin, size) != NULL;
}

/* What is looked at before each login. */
static void watch_login(const word *a, int failed)
{
    if (failed) {
        __atomic_fetch_add(&shared->repeated, 1, __ATOMIC_SEQ_CST);
    }
    const char *pin = (const char *)a[2];
    if (pin != NULL && (shows("/proc/self/cmdline", pin, a[3]) || shows("/proc/self/environ", pin, a[3]))) {
        __atomic_fetch_add(&shared->exposed, 1, __ATOMIC_SEQ_CST);
    }
}

static word pass(int i, const word *a)
{
    static int failed_login;
    uint64_t n = __atomic_fetch_add(&shared->entry[i].calls, 1, __ATOMIC_SEQ_CST);
    uint64_t all = __atomic_fetch_add(&shared->any.calls, 1, __ATOMIC_SEQ_CST);
    if (all < TRACE) {
        shared->trace[all] = (uint8_t)i;
    }
    if (i == LOGIN) {
        watch_login(a, failed_login);
    }
    word rv = hit(&shared->entry[i], n) ? faulty(i, a, shared->entry[i].fault)
              : hit(&shared->any, all)  ? faulty(i, a, shared->any.fault)
                                        : call(i, a);
    if (i == LOGIN && rv != 0) {
        failed_login = 1;
    }
    return rv;
}

#define EACH(X) \
    X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15) X(16) X(17) X(18) X(19) \
    X(20) X(21) X(22) X(23) X(24) X(25) X(26) X(27) X(28) X(29) X(30) X(31) X(32) X(33) X(34) X(35) X(36) X(37) \
    X(38) X(39) X(40) X(41) X(42) X(43) X(44) X(45) X(46) X(47) X(48) X(49) X(50) X(51) X(52) X(53) X(54) X(55) \
    X(56) X(57) X(58) X(59) X(60) X(61) X(62) X(63) X(64) X(65) X(66) X(67)

#define DEFINE(i) \
    static word entry_##i(word a, word b, word c, word d, word e, word f, word g, word h) \
    { \
        return pass(i, (word[8]){a, b, c, d, e, f, g, h}); \
    }
EACH(DEFINE)

#define STORE(i) mine.entry[i] = entry_##i;

word C_GetFunctionList(struct list **out)
{
    if (real == NULL) {
        void *module = dlopen(getenv("BIRTHMARK_FAULT_MODULE"), RTLD_NOW | RTLD_LOCAL);
        int fd = open(getenv("BIRTHMARK_FAULT_CONTROL"), O_RDWR);
        if (module == NULL || fd < 0) {
            return CKR_GENERAL_ERROR;
        }
        shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        word (*get)(struct list **) = (word(*)(struct list **))dlsym(module, "C_GetFunctionList");
        if (shared == MAP_FAILED || get == NULL || get(&real) != 0) {
            return CKR_GENERAL_ERROR;
        }
        mine = *real;
        EACH(STORE)
        mine.entry[GET_FUNCTION_LIST] = (void *)C_GetFunctionList;
    }
    *out = &mine;
    return 0;
}
