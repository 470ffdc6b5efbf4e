package main

import (
	"github.com/spf13/cobra"

	"github.com/freshet/freshet/events"
)

// typeNames are the event types as publish and trigger take them.
var typeNames = func() []string {
	var names []string
	for _, t := range events.Catalogue() {
		if t.Shape != events.ShapeInterApp {
			names = append(names, t.Name)
		}
	}
	return append(names, "inter-app:user.created", "inter-app:employee.updated")
}()

// completeType completes a command's only argument.
func completeType(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return typeNames, cobra.ShellCompDirectiveNoFileComp
}

func completeFlag(cmd *cobra.Command, flag string, values []string) {
	err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	if err != nil {
		panic(err) // no such flag
	}
}
