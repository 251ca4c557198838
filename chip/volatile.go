package chip

// volatile is what the chip keeps in RAM: lost in sleep, kept in idle.
type volatile struct {
	tempKey   buffer
	msgDigBuf buffer
}

type content byte

const (
	empty      content = iota
	inputData          // from the host: TempKey.SourceFlag = 1
	randomData         // made with the chip's random numbers: SourceFlag = 0
	privateKey         // an ephemeral key of GenKey, good for one ECDH and for nothing else
)

type buffer struct {
	content content
	value   [64]byte
	size    int  // bytes of value that were set: 32 or 64
	flags   byte // of a digest that the chip made; else 0
}

// load replaces the buffer's content.
func (b *buffer) load(c content, value []byte) {
	*b = buffer{content: c, size: len(value)}
	copy(b.value[:], value)
}

// data says whether the buffer holds something that a command may read as data.
func (b *buffer) data() bool { return b.content == inputData || b.content == randomData }

// flagByte is the flags as Info and signed messages have them.
func (b *buffer) flagByte() byte {
	if b.content == inputData {
		return b.flags | flagInput
	}
	return b.flags
}

// take empties the buffer and returns its first 32 bytes.
func (b *buffer) take() [32]byte {
	message := [32]byte(b.value[:])
	*b = buffer{}
	return message
}
