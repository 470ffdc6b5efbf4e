package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"regexp"

	"github.com/itchyny/gojq"

	"github.com/freshet/freshet/inspect"
)

// values are what stands in brackets in an error of jq: arguments, and behind
// its type the value, which may be anybody's.
var values = regexp.MustCompile(`(?s) ?\(.*\)`)

// jqMatch makes a filter of dead letters of a jq expression.
func jqMatch(ctx context.Context, expression string) (func(*inspect.DeadLetter) (bool, error), error) {
	match, err := jqFilter(ctx, expression)
	if err != nil {
		return nil, err
	}
	return func(l *inspect.DeadLetter) (bool, error) {
		input, err := jqInput(l)
		if err != nil {
			return false, err
		}
		return match(input, fmt.Sprintf("dead letter %s of %s, group %s", l.ID, l.Stream, l.Group))
	}, nil
}

// jqFilter makes a filter of a jq expression: something is meant when the
// expression gives anything but false and null for it. An expression that fails
// ends the search, for what it would have selected is not known.
func jqFilter(ctx context.Context, expression string) (func(input any, what string) (bool, error), error) {
	query, err := gojq.Parse(expression)
	if err != nil {
		return nil, usageError("--jq: %w", err)
	}
	code, err := gojq.Compile(query)
	if err != nil {
		return nil, usageError("--jq: %w", err)
	}
	return func(input any, what string) (bool, error) {
		results := code.RunWithContext(ctx, input)
		for {
			result, ok := results.Next()
			if !ok {
				return false, nil
			}
			if err, failed := result.(error); failed {
				if ctx.Err() != nil {
					return false, context.Cause(ctx)
				}
				problem := values.ReplaceAllString(err.Error(), "")
				return false, usageError("--jq: on %s: %s", what, problem)
			}
			if result != nil && result != false {
				return true, nil
			}
		}
	}, nil
}

// jqInput is the event and what is known of its failure, as jq takes it.
func jqInput(l *inspect.DeadLetter) (input any, err error) {
	return jqValue(deadLetterEvent(l, asJSON(dataOf(l.Envelope)), validJSON(l.Envelope.Metadata)))
}

// jqValue is a value as jq takes it. Numbers keep their digits.
func jqValue(value any) (input any, err error) {
	text, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	err = d.Decode(&input)
	return input, err
}
