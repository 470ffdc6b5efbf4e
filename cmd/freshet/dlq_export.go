package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/repair"
)

func (c *cli) dlqExportCommand() *cobra.Command {
	var sel selection
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write dead letters as JSON lines, byte for byte",
		Long: `Write dead letters to stdout, one JSON object a line whatever -o says, as 'freshet
dlq import' reads them:

  {"stream":"…","group":"…","fields":[["eventType","user_created"],…]}

The fields are those of the stored dead letter, byte for byte and in order. Text
that is not UTF-8 stands as {"base64":"…"}. Nothing is masked.`,
		Example: `  freshet dlq export > letters.jsonl
  freshet dlq export --group crm-copy --reason bad_json > bad.jsonl`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.dlqExport(cmd.Context(), sel)
		},
	}
	sel.addFlags(cmd)
	return cmd
}

func (c *cli) dlqExport(ctx context.Context, sel selection) error {
	out := bufio.NewWriter(c.stdout)
	exported, foreign := 0, 0
	err := c.eachDeadLetter(ctx, sel, func(l *inspect.DeadLetter) error {
		if l.Foreign {
			foreign++
			return nil
		}
		line, err := encodeJSON(repair.RecordOf(l))
		if err != nil {
			return err
		}
		exported++
		_, err = out.Write(append(line, '\n'))
		return err
	})
	c.reportLeft(chosen{foreign: foreign})
	if err == nil && exported+foreign == 0 {
		err = c.reportNone(ctx, sel)
	}
	return errors.Join(err, out.Flush())
}

// maxRecord bounds a line of an import, in bytes.
const maxRecord = 16 << 20

func (c *cli) dlqImportCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "import [FILE]",
		Short: "Store dead letters from an export",
		Long: `Store the dead letters that 'freshet dlq export' has written, from FILE or
stdin. One that is there already, by stream, group and entry id, is not stored
twice. A line that is not as export writes it is reported with its number, and
the others are stored. A line has at most 16 MiB.`,
		Example: `  freshet dlq import letters.jsonl
  freshet dlq export | freshet dlq import --redis redis://other:6379`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			from := c.stdin
			if len(args) == 1 && args[0] != "-" {
				file, err := os.Open(args[0])
				if err != nil {
					return usageError("%w", err)
				}
				defer file.Close()
				from = file
			}
			return c.dlqImport(cmd.Context(), from)
		},
	}
}

// importing is one run of an import.
type importing struct {
	*cli
	importer *repair.Importer
	result   repair.ImportResult
	refused  int
	waiting  []repair.Record
}

func (c *cli) dlqImport(ctx context.Context, from io.Reader) error {
	repairer, err := c.openRepairer(ctx)
	if err != nil {
		return err
	}
	defer repairer.Close()
	im := &importing{cli: c, importer: repairer.Importer()}
	err = im.lines(ctx, bufio.NewReaderSize(from, maxRecord))
	if err == nil {
		err = im.store(ctx)
	}
	out := c.list(true, "IMPORTED", "PRESENT", "REFUSED")
	printErr := out.add(importedJSON{im.result.Imported, im.result.Present, im.refused}, plain,
		fmt.Sprint(im.result.Imported), fmt.Sprint(im.result.Present), fmt.Sprint(im.refused))
	if err = errors.Join(err, printErr, out.close()); err != nil {
		return serverError(fmt.Errorf("%w; to import the same again is safe", err))
	}
	if im.refused > 0 {
		return fmt.Errorf("%d lines are not as export writes them", im.refused)
	}
	return nil
}

type importedJSON struct {
	Imported int `json:"imported"`
	Present  int `json:"present"`
	Refused  int `json:"refused"`
}

// lines stores what the lines hold but for the last, which wait.
func (im *importing) lines(ctx context.Context, r *bufio.Reader) error {
	for number := 1; ; number++ {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		line, err := readLine(r)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, bufio.ErrBufferFull):
			im.refuse(number, fmt.Errorf("longer than %d bytes", maxRecord))
			continue
		case err != nil:
			return fmt.Errorf("line %d: %w", number, err)
		case len(bytes.TrimSpace(line)) == 0:
			continue
		}
		record, err := repair.ParseRecord(line)
		if err != nil {
			im.refuse(number, err)
			continue
		}
		if im.waiting = append(im.waiting, record); len(im.waiting) == 500 {
			if err := im.store(ctx); err != nil {
				return err
			}
		}
	}
}

func (im *importing) store(ctx context.Context) error {
	result, err := im.importer.Import(ctx, im.waiting)
	im.result.Imported += result.Imported
	im.result.Present += result.Present
	im.waiting = nil
	return err
}

func (im *importing) refuse(number int, err error) {
	im.refused++
	fmt.Fprintf(im.stderr, "line %d: %s\n", number, escape(err.Error()))
}
