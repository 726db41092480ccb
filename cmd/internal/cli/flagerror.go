package cli

import (
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"larder/cmd/internal/config"
)

// flagError is the error of a command line whose flags the library could not parse. It says the same without the library's
// insides, and what to write instead where Nix has a setting as a flag.
func flagError(c *cobra.Command, err error) error {
	text := err.Error()
	var unknown *pflag.NotExistError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown):
		if s := config.Lookup(unknown.GetSpecifiedName()); s != nil {
			value := "VALUE"
			if s.Type() == "true or false" {
				value = "true"
			}
			return usagef("unknown flag: --%s; it is a setting: --option %s %s", unknown.GetSpecifiedName(), s.Name, value)
		}
	case errors.As(err, &invalid):
		text = "--" + invalid.GetFlag().Name + ": \"" + invalid.GetValue() + "\" is not " + kinds[invalid.GetFlag().Value.Type()]
	}
	return usagef("%s; see '%s --help'", text, c.CommandPath())
}

// kinds are the types of flags in words.
var kinds = map[string]string{"int": "a number", "bool": "true or false", "duration": "a duration such as 30s"}
