// Command usance counts how licensed creative work is used: it serves the API,
// keeps the schedule, and is the client of a running server.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"reflect"
	"slices"
	"strings"
	"syscall"
	_ "time/tzdata" // zones on machines that have no zone database

	"github.com/alecthomas/kong"

	"github.com/usance/usance"
	"github.com/usance/usance/bench"
	"github.com/usance/usance/weblog"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}

// commands is the command line.
type commands struct {
	kong.Plugins // the settings that every command takes as flags

	Serve    serveCmd    `cmd:"" help:"Serve the API, fold and keep the schedule, until stopped."`
	Demo     demoCmd     `cmd:"" help:"Serve a believable year of made-up usage, and print what to try."`
	Migrate  migrateCmd  `cmd:"" help:"Look at the database's schema, bring it up to date, or take it back."`
	Import   importCmd   `cmd:"" help:"Turn web and CDN access logs into usage; counted once, however often they are imported."`
	Backfill backfillCmd `cmd:"" help:"Count daily totals or events out of a file or a database, once however often, or rebuild days from stored events."`
	Export   exportCmd   `cmd:"" help:"Write daily totals as CSV, as backfill reads them."`
	Keys     keysCmd     `cmd:"" help:"Create, list and revoke API keys."`
	Jobs     jobsCmd     `cmd:"" help:"List, run, pause and resume the scheduled jobs."`
	Check    checkCmd    `cmd:"" help:"Go through the checklist before a deployment; exits with 1 on a fault."`
	Verify   verifyCmd   `cmd:"" help:"Verify a deployment that has been at work: its checklist, its thresholds, and that rollups, counters and overages are right; exits with 1 when a check fails."`
	Backup   backupCmd   `cmd:"" help:"Write a copy of the database file, while the server runs or not, and check it."`
	Move     moveCmd     `cmd:"" help:"Carry a SQLite store over to PostgreSQL, and compare every row."`
	Explain  explainCmd  `cmd:"" help:"Tell what would happen to an event of a licence now, and why."`
	Bench    benchCmd    `cmd:"" help:"Measure how fast events are counted here, beside the database alone."`
	Version  versionCmd  `cmd:"" help:"Print the version."`
	Forecast forecastCmd `cmd:"" help:"Forecast series of a file, or how likely totals pass limits, to be scored by anyone."`
}

// program is what commands run in.
type program struct {
	cfg    config
	cfgErr error // for check, which reports it
	in     io.Reader
	out    io.Writer
	err    io.Writer
	log    *slog.Logger
}

// printf writes to the standard output, whose end is not this program's to mend.
func (p *program) printf(format string, args ...any) { fmt.Fprintf(p.out, format, args...) }

// The exit codes.
const (
	exitOK    = 0
	exitFault = 1 // the command failed
	exitUsage = 2 // the command line or the configuration is wrong
)

// exit carries kong's wish to end, after it printed the help.
type exit int

// run carries out one command line and answers the exit code.
func run(ctx context.Context, args, environ []string, in io.Reader, out, errOut io.Writer) (code int) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case exit:
			code = int(p)
		default:
			panic(p)
		}
	}()
	var cli commands
	common := flagsOf(slices.DeleteFunc(settings(), func(s setting) bool { return !isCommon(s.Variable) }))
	rest := flagsOf(slices.DeleteFunc(settings(), func(s setting) bool { return isCommon(s.Variable) }))
	cli.Plugins = kong.Plugins{common}
	cli.Serve.Plugins = kong.Plugins{rest}
	cli.Demo.Plugins = kong.Plugins{flagsOf(slices.DeleteFunc(settings(), func(s setting) bool { return isCommon(s.Variable) }))}
	parser, err := kong.New(&cli,
		kong.Name("usance"),
		vocabulary(),
		kong.Description("Usance counts each use of licensed creative work exactly once, holds limits at the moment of use, and turns what passes them into approved overages."),
		kong.Writers(out, errOut),
		kong.Exit(func(code int) { panic(exit(code)) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 110}),
		kong.ExplicitGroups([]kong.Group{{Key: "settings", Title: "Settings (each also an environment variable):"}}),
	)
	if err != nil {
		fmt.Fprintln(errOut, "usance:", err)
		return exitFault
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	line, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(errOut, "usance: %v\nusance: see: usance --help\n", err)
		return exitUsage
	}
	p := &program{in: in, out: out, err: errOut}
	name, _, _ := strings.Cut(line.Command(), " ")
	p.cfg, p.cfgErr = loadConfig(environ, flagValues(line))
	if err := tolerable(name, p.cfg, p.cfgErr); err != nil {
		fmt.Fprintln(errOut, "usance:", err)
		return exitUsage
	}
	p.log = newLogger(errOut, p.cfg)
	// The first signal ends the context of a command that takes one, which then
	// leaves nothing behind; a second meets the default: the end. So does the first
	// of a command that takes none.
	stop := func() {}
	defer func() { stop() }()
	err = line.BindSingletonProvider(func() context.Context {
		ctx, release := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
		context.AfterFunc(ctx, release)
		stop = release
		return ctx
	})
	if err == nil {
		err = line.Run(p)
	}
	if err != nil {
		fmt.Fprintln(errOut, "usance:", err)
		return exitFault
	}
	return exitOK
}

// vocabulary is what the command line's help and closed sets of words are made of.
func vocabulary() kong.Vars {
	return kong.Vars{
		"cases": strings.Join(bench.Cases(), ", "), "checks": strings.Join(checkNames(), ", "),
		"formats": strings.Join(weblog.Formats, ", "), "roles": usance.JoinWords(usance.Roles),
	}
}

// isCommon tells which settings every command takes as flags.
func isCommon(variable string) bool {
	return slices.Contains([]string{"DATABASE_URL", "USANCE_DATA_DIR", "USANCE_LOG_LEVEL", "USANCE_LOG_FORMAT", "USANCE_URL", "USANCE_KEY"}, variable)
}

// flagsOf makes a struct that kong reads flags from: one string a setting, so
// that the environment and the flags take the same way through loadConfig.
func flagsOf(list []setting) any {
	fields := make([]reflect.StructField, len(list))
	for i, s := range list {
		help := s.About
		if s.Default != "" {
			help += "; default " + s.Default
		}
		fields[i] = reflect.StructField{
			Name: "F" + s.Variable,
			Type: reflect.TypeFor[string](),
			Tag: reflect.StructTag(fmt.Sprintf("name:%q help:%q variable:%q placeholder:%q group:\"settings\"",
				flagOf(s.Variable), help, s.Variable, s.Variable)),
		}
	}
	return reflect.New(reflect.StructOf(fields)).Interface()
}

// flagValues gives the settings that the command line names, by variable.
func flagValues(line *kong.Context) map[string]string {
	out := make(map[string]string)
	for _, f := range line.Flags() {
		if f.Set && f.Tag.Get("variable") != "" {
			out[f.Tag.Get("variable")] = f.Target.String()
		}
	}
	return out
}

// tolerable lets a command pass whose work the faults do not touch: settings
// of the server are no matter of the client's commands.
func tolerable(command string, c config, err error) error {
	var faults configError
	if !errors.As(err, &faults) || command == "serve" {
		return err
	}
	if command == "demo" { // keeps a key of its own
		faults = slices.DeleteFunc(slices.Clone(faults), func(f fault) bool { return f.Variable == "USANCE_ADMIN_KEY" && c.AdminKey == "" })
		if len(faults) == 0 {
			return nil
		}
		return faults
	}
	if command == "version" || command == "check" || command == "forecast" {
		return nil
	}
	faults = slices.DeleteFunc(slices.Clone(faults), func(f fault) bool {
		return slices.Contains([]string{"REDIS_URL", "DATABASE_URL_POOLED"}, f.Variable) || f.Variable == "DATABASE_URL" && c.URL != "" ||
			f.Variable == "USANCE_ADMIN_KEY" && c.AdminKey == "" // needed to serve only
	})
	if len(faults) == 0 {
		return nil
	}
	return faults
}
