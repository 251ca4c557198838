// Package templates holds what a new user starts from: reviewed product profiles, and plans of ceremonies.
package templates

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

//go:embed product/*.yaml ceremony/*.yaml
var files embed.FS

// Product gives the embedded product profile called name. An unknown name is an error that lists those there are.
func Product(name string) ([]byte, error) {
	text, err := files.ReadFile("product/" + name + ".yaml") // embed takes no path that climbs
	if err != nil {
		return nil, fmt.Errorf("no product profile %q is built in; there are: %s", name, strings.Join(Products(), ", "))
	}
	return text, nil
}

// Products lists the names of the embedded product profiles.
func Products() []string { return names("product") }

// names are those of a folder's files.
func names(folder string) []string {
	matches, err := fs.Glob(files, folder+"/*.yaml")
	if err != nil {
		panic(err) // the pattern is constant
	}
	names := make([]string, len(matches))
	for i, m := range matches {
		names[i] = strings.TrimSuffix(path.Base(m), ".yaml")
	}
	return names
}

// Ceremony gives the plan that a ceremony of this kind starts from. An unknown kind is an error that lists those there are.
func Ceremony(kind string) ([]byte, error) {
	text, err := files.ReadFile("ceremony/" + kind + ".yaml")
	if err != nil {
		return nil, fmt.Errorf("no ceremony %q; there are: %s", kind, strings.Join(Ceremonies(), ", "))
	}
	return text, nil
}

// Ceremonies lists the kinds of ceremonies.
func Ceremonies() []string { return names("ceremony") }
