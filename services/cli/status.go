package cli

import (
	"fmt"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/radstream/radstream/services/query"
)

func (c *cli) status() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Say how a running system is: services, streams, what is pending, what is indexed",
		Example: `  radstream status
  radstream status --json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := c.client().Status(cmd.Context())
			if err != nil {
				return err
			}
			if c.JSON {
				return c.PrintJSON(s)
			}
			c.printStatus(s)
			return nil
		},
	}
	return c.asksServer(cmd)
}

func (c *cli) printStatus(s query.Status) {
	w := tabwriter.NewWriter(c.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "version\t%s, up %s\n", s.Version, time.Since(s.Started).Round(time.Second))
	fmt.Fprintf(w, "model\t%s%s\n", s.Model, untrained(s.Untrained))
	fmt.Fprintf(w, "indexed\t%d studies\n", s.Indexed)
	fmt.Fprintf(w, "NATS\t%s\n", s.NATS)
	fmt.Fprintf(w, "Qdrant\t%s\n", s.Qdrant)
	for _, name := range slices.Sorted(maps.Keys(s.Services)) {
		fmt.Fprintf(w, "service %s\t%s\n", name, s.Services[name])
	}
	for _, st := range s.Streams {
		fmt.Fprintf(w, "stream %s\t%d messages, %d bytes\n", st.Name, st.Messages, st.Bytes)
	}
	for _, st := range s.Stages {
		fmt.Fprintf(w, "stage %s\t%d pending, %d being worked on\n", st.Name, st.Pending, st.Working)
	}
	for _, warning := range s.Warnings {
		fmt.Fprintf(w, "warning\t%s\n", warning)
	}
	w.Flush()
}
