// Package qdrantd serves the Qdrant 1.17 gRPC API (Collections, Points, health) over a
// [flat.DB], so that the embedded index and a Qdrant cluster are the same thing at two
// addresses: a request is translated, run by flat, and its answer translated back. Only
// this package and indexer/qdrant know Qdrant's messages.
//
// # What it does not do
//
// Nothing is left out in silence. A call, an option or a field that is not implemented,
// including one of a newer API version than it was built with, is answered Unimplemented
// with its name: sparse and multi vectors, server-side inference, discover and context
// queries, formulas, MMR, relevance feedback, sampling, geo conditions and indexes,
// lookups in other collections, custom sharding, limits of strict mode on rates and sizes, reduced datatypes, stemmers
// and stop words, updates of what a collection's vectors are, cluster calls and snapshots.
//
// Options that tune speed, memory or replication cannot change the answers of an exact
// scan on one machine. They are accepted and have no effect: hnsw, optimizer, WAL and
// quantization configuration, on_disk, shard_number, replication_factor,
// write_consistency_factor, search params (exact, hnsw_ef, quantization, indexed_only,
// acorn), read_consistency, ordering, timeout, and index params that choose storage. With
// wait=false a write is durable all the same.
//
// There is no REST API: a client that speaks nothing else, such as @qdrant/js-client-rest, needs a Qdrant;
// @qdrant/js-client-grpc does not. Requests may be compressed with gzip; so are their answers then.
//
// Status codes are Qdrant's. The server is meant for loopback: it has no authentication.
package qdrantd

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/qdrant/go-client/qdrant"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip" // which the client for Node asks for by default
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/radstream/radstream/indexer/flat"
	"github.com/radstream/radstream/schemas/fault"
)

// Version is the Qdrant version whose API is served; clients compare it with their own.
const Version = "1.17.1"

// maxMessage bounds a request or an answer, in bytes.
const maxMessage = 64 << 20

// Server is a Qdrant gRPC server over one DB. It does not close the DB.
type Server struct {
	grpc   *grpc.Server
	health *health.Server
}

// New makes a server; it listens nowhere before Serve.
func New(db *flat.DB) *Server {
	s := &Server{
		grpc: grpc.NewServer(
			grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage), grpc.UnaryInterceptor(guard(db)),
			// Official clients ping every 10 s; by default gRPC cuts off who pings that often.
			grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		),
		health: health.NewServer(),
	}
	qdrant.RegisterQdrantServer(s.grpc, about{})
	qdrant.RegisterCollectionsServer(s.grpc, &collections{db: db})
	qdrant.RegisterPointsServer(s.grpc, &points{db: db})
	qdrant.RegisterSnapshotsServer(s.grpc, qdrant.UnimplementedSnapshotsServer{})
	healthpb.RegisterHealthServer(s.grpc, s.health)
	return s
}

// Serve answers on l until Stop, then returns nil.
func (s *Server) Serve(l net.Listener) error {
	err := s.grpc.Serve(l)
	if errors.Is(err, grpc.ErrServerStopped) {
		return nil
	}
	return fault.E("qdrantd.Serve", fault.Unavailable, err)
}

// Stop takes no new calls and waits for those that run; when ctx ends first, they are
// broken off. Writes that were answered are on disk either way.
func (s *Server) Stop(ctx context.Context) {
	s.health.Shutdown()
	done := make(chan struct{})
	go func() {
		s.grpc.GracefulStop()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		s.grpc.Stop()
		<-done
	}
}

type about struct {
	qdrant.UnimplementedQdrantServer
}

// HealthCheck implements qdrant.QdrantServer.
func (about) HealthCheck(context.Context, *qdrant.HealthCheckRequest) (*qdrant.HealthCheckReply, error) {
	return &qdrant.HealthCheckReply{Title: "radstream-qdrantd", Version: Version}, nil
}

// guard stands around every call: it refuses fields it has never heard of and what strict mode does not
// allow, turns faults into status codes, and keeps a panic from ending the whole process.
func guard(db *flat.DB) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
		defer func() {
			if p := recover(); p != nil {
				resp, err = nil, status.Errorf(codes.Internal, "%s failed unexpectedly", info.FullMethod)
			}
		}()
		if err := refuseUnknown(req); err != nil {
			return nil, err
		}
		if strings.HasPrefix(info.FullMethod, "/qdrant.Points/") {
			if err := strict(db, req); err != nil {
				return nil, toStatus(err)
			}
		}
		resp, err = handler(ctx, req)
		return resp, toStatus(err)
	}
}

func toStatus(err error) error {
	if _, ok := status.FromError(err); ok {
		return err
	}
	code := codes.Internal
	switch fault.KindOf(err) {
	case fault.Invalid, fault.Usage:
		code = codes.InvalidArgument
	case fault.Unsupported:
		code = codes.Unimplemented
	case fault.Conflict:
		code = codes.AlreadyExists
	case fault.NotFound:
		code = codes.NotFound
	case fault.Unavailable, fault.Transient:
		code = codes.Unavailable
	case fault.Corrupt:
		code = codes.DataLoss
	case fault.Canceled:
		code = codes.Canceled
	}
	return status.Error(code, fault.Detail(err))
}

// unimplemented names what is not there.
func unimplemented(what string) error {
	return status.Errorf(codes.Unimplemented, "radstream-qdrantd does not implement %s", what)
}

func invalid(format string, args ...any) error {
	return status.Errorf(codes.InvalidArgument, format, args...)
}

// firstOf returns the name of the first entry that is set, as an Unimplemented error.
func firstOf(fields ...field) error {
	for _, f := range fields {
		if f.set {
			return unimplemented(f.name)
		}
	}
	return nil
}

type field struct {
	name string
	set  bool
}

func since(start time.Time) float64 { return time.Since(start).Seconds() }

// operations numbers the writes since the start, as Qdrant does in its answers.
type operations struct{ n atomic.Uint64 }

func (o *operations) result(wait *bool) *qdrant.UpdateResult {
	id := o.n.Add(1)
	state := qdrant.UpdateStatus_Acknowledged
	if wait != nil && *wait {
		state = qdrant.UpdateStatus_Completed
	}
	return &qdrant.UpdateResult{OperationId: &id, Status: state}
}
