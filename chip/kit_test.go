package chip

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
)

func TestKit(t *testing.T) {
	k := NewKit(New(Options{}))
	info := fmt.Sprintf("e:t(%x)\n", wrap(byte(opInfo), 0, 0, 0))
	for _, exchange := range []struct{ request, answer string }{
		{"board:device(00)\n", "ECC608 TWI 00(C0)\n"},
		{"board:device(01)\n", "E7()\n"},
		{"e:physical:select(C0)\n", "00()\n"},
		{"e:physical:select(6C)\n", "E7()\n"},
		{info, "E7()\n"}, // asleep
		{"e:w()\n", "00(04113343)\n"},
		{info, "00(07000060028038)\n"},
		{strings.ToUpper(info), "00(07000060028038)\n"},
		{"ecc:talk(0730000000035d)\r\n", "00(07000060028038)\n"},
		{"e:t(0730000000035c)\n", "00(04FF0142)\n"}, // the group's CRC is the chip's to judge
		{"e:i()\n", "00()\n"},
		{info, "E7()\n"},
		{"E:W()\n", "00(04113343)\n"},
		{"e:s()\n", "00()\n"},
		{info, "E7()\n"},
	} {
		if got := k.Answer(exchange.request); got != exchange.answer {
			t.Errorf("%q is answered %q, want %q", exchange.request, got, exchange.answer)
		}
	}
	for _, request := range []string{"", "\n", "e\n", "e:\n", "e:w\n", "e:w(\n", "e:w)\n", ":w()\n", "e::()\n", "e:w(00)\n", "e:i(0)\n",
		"e:t()\n", "e:t(0)\n", "e:t(zz)\n", "e:x()\n", "s:w()\n", "d:w()\n", "b:f()\n", "e:p:r(C0)\n", "e:w:s()\n", "e:p:s:s(C0)\n"} {
		if got := k.Answer(request); got != "E2()\n" {
			t.Errorf("%q is answered %q", request, got)
		}
	}
}

func TestKitServe(t *testing.T) {
	host, line := net.Pipe()
	done := make(chan error)
	go func() { done <- NewKit(New(Options{})).Serve(line) }()
	answers := bufio.NewReader(host)
	for _, exchange := range []struct{ request, answer string }{
		{"e:w()\n", "00(04113343)\n"},
		{"e:t(" + strings.Repeat("00", 1000) + ")\n", "E2()\n"},
		{"e:i()\n", "00()\n"},
	} {
		go host.Write([]byte(exchange.request))
		if got, err := answers.ReadString('\n'); err != nil || got != exchange.answer {
			t.Errorf("%.20q is answered %q, %v, want %q", exchange.request, got, err, exchange.answer)
		}
	}
	host.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// FuzzKit: each line has one line for an answer, and what the chip said is in a whole group.
func FuzzKit(f *testing.F) {
	f.Add("e:w()\n")
	f.Add("board:device(00)\n")
	f.Add("e:t(0730000000035d)\n")
	f.Fuzz(func(t *testing.T, request string) {
		k := NewKit(New(Options{}))
		k.Answer("e:w()\n")
		answer := k.Answer(request)
		if strings.Count(answer, "\n") != 1 || !strings.HasSuffix(answer, ")\n") {
			t.Fatalf("%q is answered %q", request, answer)
		}
		if group, said := strings.CutPrefix(strings.TrimSuffix(answer, ")\n"), "00("); said && group != "" {
			checkGroup(t, unhex(t, group))
		}
	})
}
