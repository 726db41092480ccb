package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"larder/cmd/internal/config"
)

func (a *app) configCommand() *cobra.Command {
	doc := false
	c := &cobra.Command{
		Use:   "config [NAME]...",
		Short: "Print the settings in effect",
		Long: `Prints the settings that larder.conf, the environment and the options of this command line give, as larder.conf
would have them; --doc says what each means, its default and where its value came from. A daemon that is running has
the settings of its own start.`,
		Example: "  larder config --doc substituters",
		RunE: func(_ *cobra.Command, args []string) error {
			c, err := a.settings()
			if err != nil {
				return err
			}
			settings, err := chosen(args)
			if err != nil {
				return err
			}
			if a.flags.json {
				return a.configJSON(c, settings)
			}
			for i := range settings {
				if err := a.printSetting(c, &settings[i], doc); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&doc, "doc", false, "say what each setting means")
	return c
}

func chosen(names []string) ([]config.Setting, error) {
	if len(names) == 0 {
		return config.Settings(), nil
	}
	var list []config.Setting
	for _, n := range names {
		s := config.Lookup(n)
		if s == nil {
			return nil, usagef("%q is not a setting; 'larder config' lists them", n)
		}
		list = append(list, *s)
	}
	return list, nil
}

func (a *app) printSetting(c *config.Config, s *config.Setting, doc bool) error {
	text := strings.TrimRight(s.Name+" = "+s.Get(c), " ") + "\n"
	if doc {
		def := s.Default
		if def == "" {
			def = "(empty)"
		}
		text = fmt.Sprintf("# %s\n# %s; default %s", s.Doc, s.Type(), def)
		if o, ok := c.Origin(s.Name); ok {
			text += "; set by " + o.String()
		}
		text += "\n" + strings.TrimRight(s.Name+" = "+s.Get(c), " ") + "\n\n"
	}
	_, err := fmt.Fprint(a.Out, text)
	return err
}

func (a *app) configJSON(c *config.Config, settings []config.Setting) error {
	type row struct {
		Value   any    `json:"value"`
		Default string `json:"default"`
		Doc     string `json:"description"`
		Origin  string `json:"origin,omitempty"`
	}
	all := map[string]row{}
	for i := range settings {
		s := &settings[i]
		r := row{Value: s.Value(c), Default: s.Default, Doc: s.Doc}
		if o, ok := c.Origin(s.Name); ok {
			r.Origin = o.String()
		}
		all[s.Name] = r
	}
	return a.printJSON(all)
}
