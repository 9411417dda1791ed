package app

import (
	"context"
	"crypto/tls"
	"errors"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/auth"
	"github.com/radstream/radstream/services/config"
	"github.com/radstream/radstream/services/query"
)

func (a *App) startQuery(ctx context.Context) (running, error) {
	c := a.conf.Query
	service := query.New(a, a.preparer, measured{a.store, a.metrics, a.traces}, a.ring, a.identity, preparedStudies{a.bus}, a.metrics, a.traces)
	srv := query.NewServer(service, query.ServerConfig{
		Version: a.opt.Version, Status: a.Status, Ready: a.ready, Log: a.opt.Log,
		Metrics: a.metrics, Traces: a.traces, MetricsElsewhere: !a.conf.Telemetry.Listen.Off(),
		Rate: float64(c.Rate), Burst: c.Burst, Concurrency: c.Concurrency, Timeout: c.Timeout,
	})
	run, err := a.listenQuery(ctx, srv)
	if err != nil {
		return nil, err
	}
	stop, err := a.bus.Serve(srv.NATS())
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return errors.Join(run(ctx), stop()) }, nil
}

// listenQuery opens the address of the HTTP API, if it has one.
func (a *App) listenQuery(ctx context.Context, srv *query.Server) (_ running, err error) {
	c := a.conf.Query
	if c.Listen.Off() {
		return func(ctx context.Context) error { <-ctx.Done(); return nil }, nil
	}
	if srv.Auth, err = a.callers(c); err != nil {
		return nil, err
	}
	if srv.TLS, err = secure(c); err != nil {
		return nil, err
	}
	listener, err := c.Listen.Open(ctx)
	if err != nil {
		return nil, err
	}
	a.addresses.Query = listener.Addr().String()
	return func(ctx context.Context) error { return srv.Serve(ctx, listener, grace/3) }, nil
}

// secure returns how TLS is spoken; nil for plain HTTP.
func secure(c config.Query) (*tls.Config, error) {
	if c.TLSCert == "" {
		return nil, nil
	}
	cert, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
	if err != nil {
		return nil, fault.Errorf("app.secure", fault.Usage, "query.tls_cert %s with query.tls_key %s cannot be used: %w", c.TLSCert, c.TLSKey, err)
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}, nil
}

// callers tells who may ask; nil when nobody is asked for a credential.
func (a *App) callers(c config.Query) (*auth.Authenticator, error) {
	if c.Open() {
		return nil, nil
	}
	var tokens *auth.Tokens
	var issuer *auth.OIDC
	if c.Tokens != "" {
		var err error
		if tokens, err = auth.OpenTokens(c.Tokens, func(err error) {
			a.opt.Log.Error().Err(err).Msg("the file of tokens cannot be used: none of them is let in until it is mended")
		}); err != nil {
			return nil, err
		}
	}
	if c.OIDCIssuer != "" {
		issuer = auth.NewOIDC(c.OIDCIssuer, c.OIDCAudience, c.OIDCTenantClaim)
	}
	return auth.New(tokens, issuer), nil
}
