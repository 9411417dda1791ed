package cli

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/radstream/radstream/embedder/ort"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/app"
	"github.com/radstream/radstream/services/config"
)

func (c *cli) up() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start everything, or chosen stages, in one process",
		Long: `Start everything in one process: a NATS server, an index that speaks Qdrant's gRPC API,
the stages and the query API, all on loopback. With the address of a NATS server or a
Qdrant of your own, none is started here. It runs until it is interrupted.`,
		Example: `  radstream up
  radstream up --data /var/lib/radstream
  radstream up --nats-url nats://nats:4222 --qdrant-address qdrant:6334 --target embed`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			conf, err := c.load(cmd.Flags())
			if err != nil {
				return err
			}
			a, err := app.Start(cmd.Context(), conf, app.Options{Version: c.Version, Log: c.logger(conf.Log)})
			if err != nil {
				return err
			}
			at := a.Addresses()
			if c.JSON {
				err = c.PrintJSON(at)
			} else {
				_, err = fmt.Fprintln(c.Stdout, describe(at))
			}
			if err != nil {
				a.Stop()
			}
			return a.Wait()
		},
	}
	c.hasConfig(cmd)
	return cmd
}

// describe says what can be reached where.
func describe(at app.Addresses) string {
	line := "radstream is up: NATS " + at.NATS
	if at.Qdrant != "" {
		line += ", Qdrant gRPC " + at.Qdrant
	}
	if at.Query != "" {
		line += ", query API http://" + at.Query
	}
	if at.Telemetry != "" {
		line += ", metrics http://" + at.Telemetry
	}
	return line
}

// hasConfig adds --config and a flag for every setting.
func (c *cli) hasConfig(cmd *cobra.Command) {
	cmd.Flags().String("config", os.Getenv("RADSTREAM_CONFIG"), "YAML file with settings [RADSTREAM_CONFIG]")
	if err := config.AddFlags(cmd.Flags()); err != nil {
		panic(err) // a key of our own is wrong: no command line can mend that
	}
}

// load reads the settings of a command with hasConfig.
func (c *cli) load(flags *pflag.FlagSet) (config.Config, error) {
	file, err := flags.GetString("config")
	if err != nil {
		return config.Config{}, fault.E("cli.load", fault.Internal, err)
	}
	environ := slices.DeleteFunc(os.Environ(), func(v string) bool { // settings of others than services/config
		name, _, _ := strings.Cut(v, "=")
		return name == serverEnv || name == tokenEnv || name == ort.LibraryEnv
	})
	conf, warnings, err := config.Load(config.Sources{File: file, Environ: environ, Flags: flags})
	for _, w := range warnings {
		fmt.Fprintf(c.Stderr, "radstream: warning: %s\n", w)
	}
	return conf, err
}

func (c *cli) logger(l config.Log) zerolog.Logger {
	level, err := zerolog.ParseLevel(l.Level)
	if err != nil {
		level = zerolog.InfoLevel // config validates it
	}
	out := zerolog.SyncWriter(c.Stderr)
	if l.Format == "console" {
		out = zerolog.ConsoleWriter{Out: out, TimeFormat: time.TimeOnly, NoColor: true}
	}
	return zerolog.New(out).Level(level).With().Timestamp().Logger()
}

func (c *cli) config() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show or check the settings",
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var reference, changed bool
	show := &cobra.Command{
		Use:   "print",
		Short: "Print the settings in force, as a YAML file or with --json as an object",
		Example: `  radstream config print --changed
  radstream config print --reference > radstream.yml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if reference {
				_, err := fmt.Fprint(c.Stdout, config.Reference())
				return err
			}
			conf, err := c.load(cmd.Flags())
			if err != nil {
				return err
			}
			if c.JSON {
				return c.PrintJSON(config.Values(conf, changed))
			}
			return config.Print(c.Stdout, conf, changed)
		},
	}
	show.Flags().BoolVar(&reference, "reference", false, "print every setting with its meaning instead")
	show.Flags().BoolVar(&changed, "changed", false, "print only what differs from the defaults")
	c.hasConfig(show)
	check := &cobra.Command{
		Use:     "validate",
		Short:   "List every fault of the settings",
		Example: `  radstream config validate --config radstream.yml`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := c.load(cmd.Flags()); err != nil {
				return err
			}
			if c.JSON {
				return c.PrintJSON(struct {
					Valid bool `json:"valid"`
				}{true})
			}
			_, err := fmt.Fprintln(c.Stdout, "the settings are valid")
			return err
		},
	}
	c.hasConfig(check)
	cmd.AddCommand(show, check)
	return cmd
}
