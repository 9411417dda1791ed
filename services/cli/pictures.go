package cli

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/radstream/radstream/ingest"
	"github.com/radstream/radstream/schemas/fault"
)

// pictures writes the pictures of inspect --png.
type pictures struct {
	dir   string // none are wanted when it is empty
	force bool
	paths map[string]string // of a picture by its film's file
}

// plan says where each picture goes, before any work is done: under dir as the films lie
// under the folder that holds them all, so that no two films get one name.
func (p *pictures) plan(files []string) error {
	if p.dir == "" {
		if p.force {
			return fault.Errorf("", fault.Usage, "--force goes with --png")
		}
		return nil
	}
	films := map[string]bool{}
	full := make([]string, len(files))
	for i, file := range files {
		var err error
		if full[i], err = filepath.Abs(file); err != nil {
			return fault.Errorf("", fault.Usage, "%s: %w", file, err)
		}
		films[full[i]] = true
	}
	root := filepath.Dir(full[0])
	for _, f := range full {
		for !strings.HasPrefix(f, strings.TrimSuffix(root, string(filepath.Separator))+string(filepath.Separator)) {
			if filepath.Dir(root) == root {
				return fault.Errorf("", fault.Usage, "--png: the files must lie on one volume")
			}
			root = filepath.Dir(root)
		}
	}
	p.paths = map[string]string{}
	for i, file := range files {
		below, err := filepath.Rel(root, full[i])
		if err != nil {
			return fault.Errorf("", fault.Usage, "%s: %w", file, err)
		}
		path := filepath.Join(p.dir, below+".png")
		p.paths[file] = path
		there, err := filepath.Abs(path)
		if err != nil {
			return fault.Errorf("", fault.Usage, "%s: %w", path, err)
		}
		if films[there] {
			return fault.Errorf("", fault.Usage, "the picture of %s would replace the film %s: choose another folder for --png", file, path)
		}
		switch _, err := os.Lstat(path); {
		case err == nil && !p.force:
			return fault.Errorf("", fault.Usage, "%s is there already: choose another folder for --png, or --force to replace it", path)
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return fault.Errorf("", fault.Usage, "--png: %w", err)
		}
	}
	return nil
}

// draw writes the picture of a film that has a view, and says in i where.
func (p *pictures) draw(file string, i *ingest.Inspection) error {
	if p.dir == "" {
		return nil
	}
	picture, err := i.Picture()
	if fault.ReasonOf(err) == ingest.ReasonNoView {
		return nil // quality or error say why
	}
	if err != nil {
		return err
	}
	path := p.paths[file]
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fault.Errorf("", fault.Usage, "--png: %w", err)
	}
	if err := os.WriteFile(path, picture, 0o644); err != nil {
		return fault.Errorf("", fault.Usage, "--png: %w", err)
	}
	i.PNG = path
	return nil
}
