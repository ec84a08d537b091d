package hal9

import (
	"context"
	"net/http"
	"time"
)

// Connect makes a client of the HAL9 at url, with an API key or a service token. Nothing is sent yet. One request may take 90 s, because a
// long poll takes up to 75; options are applied last.
func Connect(url, credential string, options ...ClientOption) (*ClientWithResponses, error) {
	first := []ClientOption{
		WithHTTPClient(&http.Client{Timeout: 90 * time.Second}),
		WithRequestEditorFn(func(_ context.Context, request *http.Request) error {
			request.Header.Set("Authorization", "Bearer "+credential)
			return nil
		}),
	}
	return NewClientWithResponses(url, append(first, options...)...)
}
