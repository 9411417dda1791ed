package auth

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
)

const (
	tokenPrefix = "rs_" // tells our tokens from others', also for secret scanners
	tokenBytes  = 32    // of randomness: a plain hash cannot be searched for them
	recheck     = time.Second
	maxFile     = 1 << 20
)

// NewToken makes a token for a tenant, and the line that makes it known in a tokens file. note
// says whose it is, for those who read the file.
func NewToken(t event.Tenant, note string) (token, line string, err error) {
	if _, err := event.ParseTenant(string(t)); err != nil {
		return "", "", err
	}
	if strings.ContainsFunc(note, func(r rune) bool { return r < ' ' }) {
		return "", "", fault.Errorf("auth.NewToken", fault.Usage, "a note is one line of text")
	}
	secret := make([]byte, tokenBytes)
	if _, err := rand.Read(secret); err != nil {
		return "", "", fault.E("auth.NewToken", fault.Internal, err)
	}
	token = tokenPrefix + base64.RawURLEncoding.EncodeToString(secret)
	return token, strings.TrimSpace(fmt.Sprintf("%s %s %s", hash(token), t, note)), nil
}

func hash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// Tokens are the tokens of a file, which is read again when it changes:
//
//	# sha256 of the token, tenant, whose it is
//	2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae north PACS gateway
type Tokens struct {
	path string
	fail func(error) // told when a changed file cannot be used

	mu      sync.Mutex
	checked time.Time
	stamp   stamp
	callers map[string]Caller // by hash
}

// stamp tells one state of the file from another.
type stamp struct {
	size int64
	time time.Time
}

// OpenTokens reads a tokens file. When it changes into something that cannot be used, nobody
// is let in by it until it is mended, and fail is told once: a token that was taken out must
// not go on because of a slip elsewhere in the file. Errors: Usage, with the line at fault.
func OpenTokens(path string, fail func(error)) (*Tokens, error) {
	t := &Tokens{path: path, fail: fail}
	if err := t.read(); err != nil {
		return nil, err
	}
	return t, nil
}

func (t *Tokens) authenticate(token string) (Caller, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Since(t.checked) >= recheck {
		if err := t.read(); err != nil {
			t.fail(err)
		}
	}
	// Looking up the hash of a secret of 32 random bytes tells nothing by its timing.
	c, known := t.callers[hash(token)]
	if !known {
		return Caller{}, errUnknown()
	}
	return c, nil
}

// read reads the file if it has changed.
func (t *Tokens) read() error {
	const op = "auth.Tokens"
	t.checked = time.Now()
	info, err := os.Stat(t.path)
	var now stamp
	var text []byte
	if err == nil {
		if now = (stamp{info.Size(), info.ModTime()}); now == t.stamp {
			return nil
		}
		var f *os.File
		if f, err = os.Open(t.path); err == nil {
			text, err = io.ReadAll(io.LimitReader(f, maxFile+1))
			err = errors.Join(err, f.Close())
		}
	}
	if err != nil {
		if t.callers == nil && t.stamp != (stamp{}) {
			return nil // told before
		}
		t.callers, t.stamp = nil, stamp{size: -1} // a file that can be read again may have the stamp that it had
		return fault.E(op, fault.Usage, err)
	}
	t.stamp = now
	if t.callers, err = parse(bytes.NewReader(text)); err != nil {
		return fault.Errorf(op, fault.Usage, "%s: %w", t.path, err)
	}
	return nil
}

func parse(r io.Reader) (map[string]Caller, error) {
	callers := map[string]Caller{}
	lines, n, size := bufio.NewScanner(r), 0, 0
	for lines.Scan() {
		n++
		if size += len(lines.Bytes()) + 1; size > maxFile {
			return nil, fmt.Errorf("a tokens file has at most %d bytes", maxFile)
		}
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Fields(line)
		if sum, err := hex.DecodeString(fields[0]); err != nil || len(sum) != sha256.Size || len(fields) < 2 {
			return nil, fmt.Errorf("line %d must be the sha256 of a token in hex, a tenant and a note, as `radstream token new` prints it", n)
		}
		tenant, err := event.ParseTenant(fields[1])
		if err != nil {
			return nil, fmt.Errorf("line %d: %s", n, fault.Detail(err))
		}
		sum := strings.ToLower(fields[0])
		if _, twice := callers[sum]; twice {
			return nil, fmt.Errorf("line %d has the token of a line before it", n)
		}
		callers[sum] = Caller{Tenant: tenant, ID: sum}
	}
	if err := lines.Err(); err != nil {
		return nil, errors.New("a line is too long")
	}
	return callers, nil
}
