// Package venv makes the Python virtual environments of the programs that ours are measured
// against. They are never part of Radstream.
package venv

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/radstream/radstream/schemas/fault"
)

// Make makes the virtual environment in dir with the packages that pins lists, unless it is there;
// one process at a time. It returns the path of its python. Errors: Unavailable, python3 or the
// package index is missing; Usage where dir cannot be written.
func Make(ctx context.Context, dir string, packages []byte) (python string, err error) {
	const op = "venv.Make"
	python = filepath.Join(dir, "bin", "python")
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", fault.E(op, fault.Usage, err)
	}
	lock, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", fault.E(op, fault.Usage, err)
	}
	defer lock.Close() // which gives the lock back
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fault.E(op, fault.Usage, err)
	}
	pins, done := filepath.Join(dir, "requirements.txt"), filepath.Join(dir, "installed.txt")
	if have, _ := os.ReadFile(done); bytes.Equal(have, packages) {
		return python, nil
	}
	if out, err := exec.CommandContext(ctx, "python3", "-m", "venv", "--clear", dir).CombinedOutput(); err != nil {
		return "", fault.Errorf(op, fault.Unavailable, "the peer needs python3 with venv: %w\n%s", err, out)
	}
	if err := os.WriteFile(pins, packages, 0o644); err != nil {
		return "", fault.E(op, fault.Usage, err)
	}
	install := []string{"-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:", "-r", pins}
	if out, err := exec.CommandContext(ctx, python, install...).CombinedOutput(); err != nil {
		return "", fault.Errorf(op, fault.Unavailable, "the peer's packages cannot be installed (is the package index reachable?): %w\n%s", err, out)
	}
	return python, fault.E(op, fault.Usage, os.WriteFile(done, packages, 0o644))
}
