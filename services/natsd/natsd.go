// Package natsd runs a NATS server with JetStream inside this process.
//
// It exists so that `radstream up` needs nothing else installed: the rest of Radstream
// dials [Server.ClientURL] like the address of any other NATS server, and moving to a
// NATS cluster is a change of address, not of code.
//
// The server differs from a plain nats-server in what it promises. It syncs every
// message to disk before it acknowledges it (by default JetStream acknowledges first and
// syncs every two minutes), it refuses a store that another process is using, it listens
// on the loopback interface unless told otherwise and given a token, and it leaves
// signals alone. Flow: lock the store -> recover JetStream -> listen -> answer whether it
// syncs to anybody who asks (services/bus does).
package natsd

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"

	"github.com/radstream/radstream/schemas/fault"
)

// DefaultPort is where NATS clients look for a server.
const DefaultPort = 4222

// syncSubject is the system request that says whether the server syncs always. natsd lets
// every client ask; on another server the operator decides.
const syncSubject = "$SYS.REQ.SERVER.PING.JSZ"

// Config says where the server listens and what it may use. Start with [DefaultConfig].
type Config struct {
	// Host is the address to listen on; default 127.0.0.1. Any address outside the
	// loopback needs a Token.
	Host string
	// Port to listen on, 1 to 65535; 0 takes any free port. Default 4222.
	Port int
	// Token that clients must present; empty lets everybody in who reaches the address.
	Token string
	// StoreDir is the folder of JetStream's files; created when missing. Required. One
	// running server at a time.
	StoreDir string
}

// DefaultConfig listens on 127.0.0.1:4222 and stores in dir.
func DefaultConfig(dir string) Config {
	return Config{Host: "127.0.0.1", Port: DefaultPort, StoreDir: dir}
}

// Validate returns a [fault.Usage] that lists everything that is wrong.
func (c Config) Validate() error {
	var errs []error
	wrong := func(bad bool, text string) {
		if bad {
			errs = append(errs, errors.New(text))
		}
	}
	wrong(c.StoreDir == "", "store dir must name a folder")
	wrong(c.Port < 0 || c.Port > 65535, "port must be 1 to 65535, or 0 for any free port")
	ip := net.ParseIP(c.Host)
	wrong(ip == nil, "host must be an IP address, such as 127.0.0.1")
	wrong(ip != nil && !ip.IsLoopback() && c.Token == "", "host is reachable from other machines, so a token is required")
	return fault.E("natsd.Config", fault.Usage, errors.Join(errs...))
}

// Server is a running server. Make one with [Start].
type Server struct {
	srv  *server.Server
	lock *os.File
	host string
}

// Start returns once the server has recovered its store and accepts clients. The server
// runs until [Server.Shutdown]. A ctx that ends meanwhile takes effect when the store is
// recovered.
//
// Errors: Usage for a wrong configuration, an address that is taken or cannot be
// listened on, and a store that another process uses; Unavailable when the store cannot
// be opened; Canceled when ctx ended first.
func Start(ctx context.Context, c Config, log zerolog.Logger) (*Server, error) {
	const op = "natsd.Start"
	if err := c.Validate(); err != nil {
		return nil, err
	}
	lock, err := lockStore(c.StoreDir)
	if err != nil {
		return nil, err
	}
	l := &serverLog{log: log}
	srv, err := server.NewServer(options(c))
	if err != nil {
		return nil, errors.Join(fault.E(op, fault.Usage, err), lock.Close())
	}
	srv.SetLoggerV2(l, false, false, false)

	// Start blocks while JetStream recovers its streams, and returns when the listener is
	// open or the logger was told of a fatal error. It must not be shut down meanwhile: it
	// would open the store behind the shutdown's back.
	s := &Server{srv: srv, lock: lock, host: c.Host}
	srv.Start()
	err = startError(c, l)
	if err == nil {
		err = fault.E(op, fault.Internal, s.shareSync())
	}
	if err == nil {
		err = fault.E(op, fault.Canceled, ctx.Err())
	}
	if err != nil {
		s.Shutdown()
		return nil, err
	}
	return s, nil
}

// ClientURL is the address to dial, for example nats://127.0.0.1:4222. A token is not in it.
func (s *Server) ClientURL() string {
	addr := s.srv.Addr().(*net.TCPAddr)
	host := s.host
	if addr.IP.IsUnspecified() { // listens everywhere; this machine reaches it here
		host = "127.0.0.1"
	}
	return "nats://" + net.JoinHostPort(host, strconv.Itoa(addr.Port))
}

// Shutdown closes the clients, writes out the store, and returns when all is done. More
// than one call is harmless.
func (s *Server) Shutdown() {
	s.srv.Shutdown()
	s.srv.WaitForShutdown()
	_ = s.lock.Close() // gives the lock back; a second close has nothing to do
}

// shareSync lets clients ask the system account whether this server syncs always.
func (s *Server) shareSync() error {
	sys := s.srv.SystemAccount()
	if err := sys.AddServiceExport(syncSubject, nil); err != nil {
		return err
	}
	return s.srv.GlobalAccount().AddServiceImport(sys, syncSubject, syncSubject)
}

func options(c Config) *server.Options {
	port := c.Port
	if port == 0 {
		port = server.RANDOM_PORT
	}
	return &server.Options{
		ServerName:             "radstream-natsd",
		Host:                   c.Host,
		Port:                   port,
		Authorization:          c.Token,
		MaxPayload:             1 << 20,
		JetStream:              true,
		StoreDir:               c.StoreDir,
		JetStreamMaxMemory:     64 << 20, // Radstream makes no memory streams
		SyncAlways:             true,
		NoSigs:                 true,
		DisableJetStreamBanner: true,
	}
}

// startError turns what the server logged as fatal into one line that says what to do.
func startError(c Config, l *serverLog) error {
	const op = "natsd.Start"
	fatal := l.fatal()
	switch {
	case fatal == nil:
		return nil
	case errors.Is(fatal, syscall.EADDRINUSE):
		return fault.Errorf(op, fault.Usage, "address %s is in use; stop the server there or set another port",
			net.JoinHostPort(c.Host, strconv.Itoa(c.Port)))
	case errors.Is(fatal, syscall.EACCES), errors.Is(fatal, syscall.EADDRNOTAVAIL):
		return fault.Errorf(op, fault.Usage, "cannot listen on %s: %w", net.JoinHostPort(c.Host, strconv.Itoa(c.Port)), fatal)
	}
	return fault.E(op, fault.Unavailable, fatal)
}

// lockStore takes the lock of the folder; the system gives it back when the process dies.
func lockStore(dir string) (*os.File, error) {
	const op = "natsd.lockStore"
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.E(op, fault.Usage, err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "natsd.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fault.E(op, fault.Usage, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fault.Errorf(op, fault.Usage, "the store %s is in use by another running server: %w", dir, err)
	}
	return f, nil
}
