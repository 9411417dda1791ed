package app

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strconv"

	"github.com/radstream/radstream/indexer/flat"
	"github.com/radstream/radstream/indexer/qdrantd"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/config"
	"github.com/radstream/radstream/services/natsd"
)

func (a *App) startNATS(ctx context.Context) (running, error) {
	a.natsURL, a.addresses.NATS = a.conf.NATS.URL, bus.Redacted(a.conf.NATS.URL)
	if a.conf.NATS.URL != "" {
		return nil, nil
	}
	c := natsd.DefaultConfig(filepath.Join(a.conf.DataDir, "nats"))
	var err error
	if c.Host, c.Port, err = hostPort(a.conf.NATS.Listen); err != nil {
		return nil, err
	}
	c.Token = string(a.conf.NATS.Token)
	srv, err := natsd.Start(ctx, c, a.opt.Log)
	if err != nil {
		return nil, err
	}
	a.natsURL, a.addresses.NATS = srv.ClientURL(), srv.ClientURL()
	return func(ctx context.Context) error {
		<-ctx.Done()
		srv.Shutdown()
		return nil
	}, nil
}

func (a *App) startBus(ctx context.Context) (_ running, err error) {
	c := bus.DefaultConfig()
	c.URL, c.CredsFile, c.Token = a.natsURL, a.conf.NATS.Creds, string(a.conf.NATS.Token)
	if a.bus, err = bus.Connect(ctx, c, a.opt.Log); err != nil {
		return nil, err
	}
	if err = a.bus.EnsureStreams(ctx); err == nil {
		a.identity, err = openIdentity(ctx, a.bus)
	}
	if err != nil {
		a.bus.Close()
		return nil, err
	}
	if a.bus.Sync(ctx) != bus.SyncAlways {
		a.opt.Log.Warn().Str("nats", a.addresses.NATS).Msg("the NATS server does not sync every write (sync: always), or does not say: a power cut may lose what it acknowledged")
	}
	return func(ctx context.Context) error {
		<-ctx.Done()
		a.bus.Close()
		return nil
	}, nil
}

// startQdrant serves the embedded index, unless the configuration names another.
func (a *App) startQdrant(ctx context.Context) (running, error) {
	a.addresses.Qdrant = a.conf.Qdrant.Address
	if a.conf.Qdrant.Address != "" {
		return nil, nil
	}
	listener, err := a.conf.Qdrant.Listen.Open(ctx)
	if err != nil {
		return nil, err
	}
	db, err := flat.Open(filepath.Join(a.conf.DataDir, "index"), flat.Options{
		OnCompactError: func(err error) { a.opt.Log.Error().Err(err).Msg("the index could not be compacted") },
	})
	if err != nil && fault.KindOf(err) == fault.Corrupt {
		err = fault.Errorf("app.startQdrant", fault.Corrupt, "%w; radstream index repair --data %s keeps what can be read, and the rest follows from the streams", err, a.conf.DataDir)
	}
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	a.addresses.Qdrant = listener.Addr().String()
	srv := qdrantd.New(db)
	return func(ctx context.Context) error {
		served := make(chan error, 1)
		go func() { served <- srv.Serve(listener) }()
		var err error
		select {
		case err = <-served:
			served <- nil
		case <-ctx.Done():
		}
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace/3)
		srv.Stop(end) // what is being answered may read the index
		cancel()
		return errors.Join(err, <-served, db.Close())
	}, nil
}

func hostPort(l config.Listen) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(string(l))
	if host == "localhost" { // a server binds to an address
		host = "127.0.0.1"
	}
	if err == nil {
		port, err = strconv.Atoi(text)
	}
	return host, port, fault.E("app.hostPort", fault.Usage, err)
}
