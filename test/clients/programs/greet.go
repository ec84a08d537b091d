// Does with the Go client what a program of a person's own operation does, and prints what it saw as JSON.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	hal9 "hal9.dev/client"
)

var tags = []string{"go-program"}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	client, err := hal9.Connect(os.Getenv("HAL9_URL"), os.Getenv("HAL9_API_KEY"))
	check(err)
	seen := map[string]any{}

	waiting := start(ctx, client, "Grace")
	proceed, err := client.SignalRunWithResponse(ctx, waiting, "proceed", hal9.SignalRunJSONRequestBody{Payload: map[string]string{"title": "Admiral"}})
	check(err)
	check(hal9.Failure(proceed))
	outcome, err := hal9.WaitForResult(ctx, client, waiting)
	check(err)
	seen["outcome"] = []any{outcome.Status, outcome.Result}

	runs := map[string]bool{waiting: true}
	for _, name := range []string{"Ada", "Katherine", "Radia"} {
		runs[start(ctx, client, name)] = true
	}
	running := hal9.ListRunsParamsStatusRunning
	// Lists follow the runs.
	for end := time.Now().Add(time.Minute); time.Now().Before(end) && (len(list(ctx, client, nil)) < 4 || len(list(ctx, client, &running)) != 3); {
		time.Sleep(200 * time.Millisecond)
	}
	known := 0
	for _, id := range list(ctx, client, nil) {
		if runs[id] {
			known++
		}
	}
	seen["listed"] = []int{known, len(list(ctx, client, &running))}

	lines := []string{}
	for number := range 4 {
		lines = append(lines, fmt.Sprintf(`{"id":"%d","source":"go-program","type":"test.line"}`, number))
	}
	lines[2] = "not json"
	sent, err := client.SendSignalsWithBodyWithResponse(ctx, nil, "application/x-ndjson", strings.NewReader(strings.Join(lines, "\n")))
	check(err)
	check(hal9.Failure(sent))
	seen["upload"] = []int{sent.JSON202.Accepted, sent.JSON202.RejectedCount, sent.JSON202.Rejected[0].Line}

	refused, err := client.StartGreetWithResponse(ctx, nil, hal9.StartGreetJSONRequestBody{})
	check(err)
	var problem *hal9.Problem
	if errors.As(hal9.Failure(refused), &problem) {
		seen["refused"] = []any{problem.Kind(), problem.Status, problem.Retryable, problem.Errors[0].Path}
	}
	stranger, err := hal9.Connect(os.Getenv("HAL9_URL"), "hal9_wrong")
	check(err)
	answer, err := stranger.ListRunsWithResponse(ctx, nil)
	check(err)
	if errors.As(hal9.Failure(answer), &problem) {
		seen["wrong key"] = problem.Kind()
	}
	text, err := json.Marshal(seen)
	check(err)
	fmt.Println(string(text))
}

func start(ctx context.Context, client *hal9.ClientWithResponses, name string) string {
	wait := true
	body := hal9.StartGreetJSONRequestBody{Tags: &tags}
	body.Input.Name = name
	body.Input.WaitFor = &wait
	started, err := client.StartGreetWithResponse(ctx, nil, body)
	check(err)
	check(hal9.Failure(started))
	return started.JSON201.RunId
}

func list(ctx context.Context, client *hal9.ClientWithResponses, status *hal9.ListRunsParamsStatus) []string {
	found, limit := []string{}, 2
	for run, err := range hal9.Items(func(cursor *string) ([]hal9.Run, *string, error) {
		page, err := client.ListRunsWithResponse(ctx, &hal9.ListRunsParams{Tag: &tags[0], Status: status, Limit: &limit, Cursor: cursor})
		if err != nil {
			return nil, nil, err
		}
		if err := hal9.Failure(page); err != nil {
			return nil, nil, err
		}
		return page.JSON200.Items, page.JSON200.NextCursor, nil
	}) {
		check(err)
		found = append(found, run.RunId)
	}
	return found
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
