// Package qdrant implements [indexer.Store] over the official client, for the embedded
// server (package qdrantd) and a real Qdrant alike. A write is one conditional upsert
// (update_filter: stored rev < new rev, wait=true), which the server decides without a
// race; reading the points back tells which writes won.
//
// Every call is safe to repeat, so a server that cannot be reached is tried again a few
// times with growing delays before the fault (Unavailable) goes to the caller.
package qdrant

import (
	"context"
	"errors"
	"net"
	"strconv"
	"time"

	"github.com/qdrant/go-client/qdrant"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/radstream/radstream/indexer"
	"github.com/radstream/radstream/schemas/fault"
)

const (
	attempts   = 5
	firstDelay = 100 * time.Millisecond // doubles each time
	maxMessage = 64 << 20               // bytes of an answer
)

// reasonRefused is for a request that the server calls invalid.
const reasonRefused fault.Reason = "index_refused"

// Client is a Store at an address.
type Client struct {
	conn *qdrant.Client
	wait func(context.Context, time.Duration) error
}

var _ indexer.Store = (*Client)(nil)

// Dial prepares a client for the gRPC address host:port; it connects when first used. An
// apiKey without tls travels in the clear. Invalid: the address cannot be parsed.
func Dial(addr, apiKey string, tls bool) (*Client, error) {
	host, portText, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fault.E("qdrant.Dial", fault.Usage, err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, fault.E("qdrant.Dial", fault.Usage, err)
	}
	conn, err := qdrant.NewClient(&qdrant.Config{
		Host: host, Port: int(port), APIKey: apiKey, UseTLS: tls, SkipCompatibilityCheck: true,
		GrpcOptions: []grpc.DialOption{grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage))},
	})
	if err != nil {
		return nil, fault.E("qdrant.Dial", fault.Usage, err)
	}
	return &Client{conn: conn, wait: wait}, nil
}

// Close ends the connections.
func (c *Client) Close() error { return fault.E("qdrant.Close", fault.Internal, c.conn.Close()) }

// call runs one request, again while the server is unreachable, and classifies its error.
func call[In, Out any](ctx context.Context, c *Client, op string, f func(context.Context, In, ...grpc.CallOption) (Out, error), in In) (Out, error) {
	delay := firstDelay
	for n := 1; ; n++ {
		out, err := f(ctx, in)
		if err == nil || status.Code(err) != codes.Unavailable || n == attempts {
			return out, classify(op, err)
		}
		if c.wait(ctx, delay) != nil {
			return out, classify(op, err)
		}
		delay *= 2
	}
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// classify gives an error of gRPC its kind.
func classify(op string, err error) error {
	if err == nil {
		return nil
	}
	var busy *qdrant.QdrantResourceExhaustedError
	if errors.As(err, &busy) {
		return fault.E(op, fault.Transient, err)
	}
	kind := fault.Internal
	switch status.Code(err) {
	case codes.InvalidArgument, codes.OutOfRange:
		return fault.Reject(op, fault.Invalid, reasonRefused, "the index refused the request: %w", err)
	case codes.Unimplemented:
		kind = fault.Unsupported
	case codes.NotFound:
		kind = fault.NotFound
	case codes.AlreadyExists:
		kind = fault.Conflict
	case codes.Unavailable:
		kind = fault.Unavailable
	// Internal and Unknown are what a server says whose disk is full: no fault of the point.
	case codes.DeadlineExceeded, codes.ResourceExhausted, codes.Aborted, codes.Internal, codes.Unknown:
		kind = fault.Transient
	case codes.Canceled:
		kind = fault.Canceled
	case codes.DataLoss:
		kind = fault.Corrupt
	case codes.Unauthenticated, codes.PermissionDenied:
		kind = fault.Usage
	}
	return fault.E(op, kind, err)
}
