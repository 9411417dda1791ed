// Package auth tells who asks: it turns the bearer token of a request into a [Caller], whose
// tenant is the only one that the request may be about.
//
//	"rs_..."  -> sha256 -> line of the tokens file -----------\
//	JWT       -> signature, issuer, audience, expiry -> claim --> Caller{Tenant, ID}
//
// Nothing here is logged, and no error repeats a token.
package auth

import (
	"context"
	"strings"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
)

// Reasons for which a caller is refused.
const (
	ReasonUnauthenticated fault.Reason = "unauthenticated" // no credential, or one that is not valid
	ReasonForbidden       fault.Reason = "forbidden"       // a valid credential for something else
)

// Caller is who asks.
type Caller struct {
	Tenant event.Tenant
	ID     string // of the credential or of its owner, for limits; never told to anybody
}

// Authenticator checks tokens by one way or two. It is safe for concurrent use.
type Authenticator struct {
	tokens *Tokens // nil: none are known
	oidc   *OIDC   // nil: no issuer is trusted
}

// New makes an Authenticator; one of the two may be nil.
func New(t *Tokens, o *OIDC) *Authenticator { return &Authenticator{t, o} }

// Authenticate checks the value of an Authorization header. Errors: Usage unauthenticated or
// forbidden; Unavailable when the issuer cannot be asked.
func (a *Authenticator) Authenticate(ctx context.Context, header string) (Caller, error) {
	const op = "auth.Authenticate"
	scheme, token, ok := strings.Cut(header, " ")
	if token = strings.TrimSpace(token); !ok || !strings.EqualFold(scheme, "Bearer") || token == "" || len(token) > maxToken {
		return Caller{}, fault.Reject(op, fault.Usage, ReasonUnauthenticated, "a request needs the header Authorization: Bearer TOKEN")
	}
	switch {
	case strings.HasPrefix(token, tokenPrefix) && a.tokens != nil:
		return a.tokens.authenticate(token)
	case a.oidc != nil:
		return a.oidc.authenticate(ctx, token)
	}
	return Caller{}, errUnknown()
}

// maxToken bounds a token in bytes; those of issuers with many claims have a few thousand.
const maxToken = 16 << 10

func errUnknown() error {
	return fault.Reject("auth.Authenticate", fault.Usage, ReasonUnauthenticated, "the token is not known, not valid here, or has expired")
}
