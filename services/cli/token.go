package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/auth"
	"github.com/radstream/radstream/services/query"
)

// tokenEnv names the variable with the token for the query service; there is no flag, because
// other users see command lines.
const tokenEnv = "RADSTREAM_TOKEN"

// client asks the query service at --server.
func (c *cli) client() *query.Client {
	return query.NewClient(c.server, strings.TrimSpace(os.Getenv(tokenEnv))) // a file that it was read from ends in a line break
}

// askedTenant is --tenant; a token decides by itself where the flag was not given.
func (c *cli) askedTenant(cmd *cobra.Command) (event.Tenant, error) {
	if os.Getenv(tokenEnv) != "" && !cmd.Flags().Changed("tenant") {
		return "", nil
	}
	return c.parseTenant()
}

func (c *cli) token() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make tokens for callers of the query API",
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var note, file string
	create := &cobra.Command{
		Use:   "new --tenant T",
		Short: "Make a token that may ask for the studies of one tenant",
		Long: `Make a token that may ask for the studies of one tenant. The token is shown once and kept
nowhere; the file of query.tokens gets the line with its hash. Taking the line out again
takes the token back, within a second.`,
		Example: `  radstream token new --tenant north --note "PACS gateway"
  radstream token new --tenant north --file tokens`,
		Args: cobra.NoArgs,
		RunE: func(_ *cobra.Command, _ []string) error {
			tenant, err := c.parseTenant()
			if err != nil {
				return err
			}
			token, line, err := auth.NewToken(tenant, note)
			if err != nil {
				return err
			}
			if file != "" {
				if err := appendLine(file, line); err != nil {
					return err
				}
			}
			if c.JSON {
				return c.PrintJSON(struct {
					Token string `json:"token"`
					Line  string `json:"line"`
				}{token, line})
			}
			fmt.Fprintln(c.Stdout, token)
			if file == "" {
				fmt.Fprintf(c.Stderr, "add this line to the file of query.tokens:\n%s\n", line)
			}
			return nil
		},
	}
	create.Flags().StringVar(&note, "note", "", "whose it is, for those who read the file")
	create.Flags().StringVar(&file, "file", "", "a tokens file to add the line to; made when it is missing")
	c.hasTenant(create)
	_ = create.MarkFlagRequired("tenant")
	cmd.AddCommand(create)
	return cmd
}

// appendLine adds a line to a file that only its owner may read.
func appendLine(path, line string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return unreadable(path, err)
	}
	last := []byte{'\n'}
	if info, err := f.Stat(); err == nil && info.Size() > 0 {
		_, _ = f.ReadAt(last, info.Size()-1) // what cannot be read cannot be written either
	}
	if last[0] != '\n' { // an editor left it out; the line would become part of another's note
		line = "\n" + line
	}
	_, err = f.WriteString(line + "\n")
	return fault.E("cli.token", fault.Usage, errors.Join(err, f.Close()))
}

func (c *cli) openapi() *cobra.Command {
	return &cobra.Command{
		Use:     "openapi",
		Short:   "Print the OpenAPI 3.1 document of the query API",
		Example: `  radstream openapi > openapi.json`,
		RunE: func(*cobra.Command, []string) error {
			doc, err := query.OpenAPI(c.Version)
			if err != nil {
				return err
			}
			_, err = c.Stdout.Write(doc)
			return err
		},
	}
}
