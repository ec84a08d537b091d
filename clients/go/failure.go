package hal9

import (
	"fmt"
	"strings"
)

// Error makes a problem (RFC 9457) the error it is.
func (p *Problem) Error() string {
	return p.Title + ": " + p.Detail
}

// Kind is the type of the failure, e.g. `RunClosed`; docs/reference/api.md lists them.
func (p *Problem) Kind() string {
	return p.Type[strings.LastIndex(p.Type, "/")+1:]
}

// Answer is what any operation of the API gives back.
type Answer interface {
	GetApplicationproblemJSONDefault() *Problem
	StatusCode() int
}

// Failure is the problem an operation answered, as an error to read with errors.As; nil when it went well.
func Failure(answer Answer) error {
	if problem := answer.GetApplicationproblemJSONDefault(); problem != nil {
		return problem
	}
	// A proxy in between may answer what HAL9 never would.
	if status := answer.StatusCode(); status >= 400 {
		return fmt.Errorf("HTTP %d without a problem of the API", status)
	}
	return nil
}
