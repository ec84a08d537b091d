package hal9

import "context"

// longestPoll is what the API waits at most, in seconds.
const longestPoll float32 = 60

// WaitForResult waits by long polls until the run has ended, or until ctx has, and says how: its status, then result or failure.
func WaitForResult(ctx context.Context, client *ClientWithResponses, runID string) (*RunOutcome, error) {
	wait := longestPoll
	for {
		answer, err := client.GetRunResultWithResponse(ctx, runID, &GetRunResultParams{WaitSeconds: &wait})
		if err != nil {
			return nil, err
		}
		if err := Failure(answer); err != nil {
			return nil, err
		}
		if answer.JSON200 != nil {
			return answer.JSON200, nil
		}
	}
}
