package cmd

import (
	"errors"
	"fmt"
	"testing"

	"github.com/birthmark/birthmark/provision"
)

func TestPortsAreBounded(t *testing.T) {
	var ports []string
	for i := range provision.MaxLanes {
		ports = append(ports, fmt.Sprintf("/dev/ttyUSB%d", i))
	}
	if err := checkPorts(ports); err != nil {
		t.Errorf("%d ports: %v", len(ports), err)
	}
	if err := checkPorts(append(ports, "/dev/ttyACM0")); !errors.Is(err, errUsage) {
		t.Errorf("one port more: %v", err)
	}
}
