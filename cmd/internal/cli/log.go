package cli

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"larder/cmd/internal/control"
	"larder/cmd/internal/terminal"
	"larder/store"
)

func (a *app) logCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "log PATH|DRV[^OUTPUTS]",
		Short: "Print the log of a build",
		Long: `Prints what the builder of a derivation, or of the derivation that makes PATH, last wrote: as it is into a file or
pipe, without what could upset it on a terminal. If it was not built here, a binary cache may have the log.`,
		Example: "  larder log /nix/store/2ndhd8xw8i2d4sdrl2fbvjdfdfdgs6p9-hello-2.12.1.drv",
		Args:    exactly(1, 1, "a store path"),
		RunE: func(c *cobra.Command, args []string) error {
			if drv, _, _ := cutOutputs(args[0]); strings.HasSuffix(drv, ".drv") {
				args[0] = drv // all outputs have one log
			}
			return a.withPaths(c.Context(), reading, args, func(s control.Service, paths []store.StorePath) error {
				log, err := s.Log(c.Context(), paths[0])
				if err != nil {
					return err
				}
				defer log.Close()
				if isTerminal(a.Out) {
					return a.printLog(log)
				}
				_, err = io.Copy(a.Out, log)
				return err
			})
		},
	}
}

// maxShown is how many bytes of a line are shown as one line on a terminal.
const maxShown = 64 << 10

// printLog shows a log on a terminal, of each line what a terminal would at last.
func (a *app) printLog(log io.Reader) error {
	r := bufio.NewReaderSize(log, maxShown)
	for {
		line, err := r.ReadSlice('\n')
		if len(line) > 0 {
			if _, err := fmt.Fprintln(a.Out, terminal.Settle(string(line))); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil && err != bufio.ErrBufferFull {
			return err
		}
	}
}
