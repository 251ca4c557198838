package figures

import (
	"fmt"
	"os/exec"
	"regexp"
)

// Tests runs 'go test' with these arguments, each test anew and as long as it takes, and gives what of its output matches.
func Tests(report *regexp.Regexp, arguments ...string) ([][][]byte, error) {
	out, err := exec.Command("go", append([]string{"test", "-v", "-count=1", "-timeout", "3h"}, arguments...)...).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("go test: %w\n%s", err, out)
	}
	found := report.FindAllSubmatch(out, -1)
	if len(found) == 0 {
		return nil, fmt.Errorf("the tests report nothing:\n%s", out)
	}
	return found, nil
}
