// Package cli is the command line of radstream.
//
// Each command lives in a file of its own and does three things: read flags, call the
// package that does the work, print what came back, as text for people or with --json as
// one object (one a line for lists) with stable field names. Errors are as package
// command prints them, and name the next step.
package cli

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/command"
)

// Run runs one command line and returns its exit code.
func Run(ctx context.Context, env command.Env) int {
	c := &cli{Line: command.New(env)}
	return c.Run(ctx, c.root())
}

const exitCodes = `Exit codes:
  0  done (some inputs may have been rejected: the summary says so; --strict makes that 3)` + command.FailureCodes

type cli struct {
	*command.Line
	tenant string
	server string // address of the query service
}

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "radstream",
		Short: "Stream chest studies into a searchable index",
		Long: `Radstream turns a stream of chest radiographs and reports into an index that can
be searched by text, by film or by study. It is infrastructure for research, not a
medical device: do not use it for diagnosis.

` + exitCodes,
		Example: `  radstream up                                  # start everything in one process
  radstream publish ./studies --wait            # in another terminal
  radstream search --text "left pleural effusion"`,
	}
	root.AddCommand(c.up(), c.publish(), c.dlq(), c.erase(), c.models(), c.relabel(), c.reindex(), c.index(), c.search(), c.explain(), c.labels(), c.inspect(), c.report(),
		c.status(), c.phantom(), c.demo(), c.bench(), c.config(), c.openapi(), c.token())
	return root
}

// serverEnv names the variable with the address of the query service.
const serverEnv = "RADSTREAM_SERVER"

// asksServer adds the flags of commands that ask a running system.
func (c *cli) asksServer(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().StringVar(&c.server, "server", envOr(serverEnv, "127.0.0.1:8080"), "address of the query service, or its URL with https [RADSTREAM_SERVER]; RADSTREAM_TOKEN holds the token that it asks for")
	return c.hasTenant(cmd)
}

func (c *cli) hasTenant(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().StringVar(&c.tenant, "tenant", string(event.DefaultTenant), "tenant")
	return cmd
}

// parseTenant checks --tenant.
func (c *cli) parseTenant() (event.Tenant, error) {
	t, err := event.ParseTenant(c.tenant)
	if err != nil {
		return "", fault.Errorf("", fault.Usage, "--tenant: %s", fault.Detail(err))
	}
	return t, nil
}

func envOr(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}
