package auth

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
)

// OIDC accepts the tokens of one OpenID Connect issuer.
type OIDC struct {
	issuer, audience, claim string
	client                  *http.Client

	mu       sync.Mutex
	verifier *oidc.IDTokenVerifier // nil until the issuer was reached
}

// NewOIDC accepts JWTs that issuer signed for audience; the claim holds the tenant. The issuer
// is asked for its keys when the first token comes, so that it may start later than we do.
func NewOIDC(issuer, audience, claim string) *OIDC {
	return &OIDC{issuer: issuer, audience: audience, claim: claim, client: &http.Client{Timeout: 10 * time.Second}}
}

func (o *OIDC) authenticate(ctx context.Context, token string) (Caller, error) {
	const op = "auth.OIDC"
	v, err := o.verifierOf(ctx)
	if err != nil {
		return Caller{}, err
	}
	// The library's error may quote what the token holds.
	verified, err := v.Verify(oidc.ClientContext(ctx, o.client), token)
	if err != nil {
		return Caller{}, errUnknown()
	}
	var claims map[string]any
	if err := verified.Claims(&claims); err != nil {
		return Caller{}, errUnknown()
	}
	name, _ := claims[o.claim].(string)
	tenant, err := event.ParseTenant(name)
	if err != nil {
		return Caller{}, fault.Reject(op, fault.Usage, ReasonForbidden, "the token is valid, but its claim %q holds no tenant", o.claim)
	}
	return Caller{Tenant: tenant, ID: "oidc " + string(tenant) + " " + verified.Subject}, nil
}

// verifierOf asks the issuer for its description, once.
func (o *OIDC) verifierOf(ctx context.Context) (*oidc.IDTokenVerifier, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.verifier != nil {
		return o.verifier, nil
	}
	p, err := oidc.NewProvider(oidc.ClientContext(ctx, o.client), o.issuer)
	if err != nil {
		return nil, fault.Errorf("auth.OIDC", fault.Unavailable, "the issuer of tokens cannot be asked at the moment")
	}
	o.verifier = p.VerifierContext(oidc.ClientContext(context.WithoutCancel(ctx), o.client), &oidc.Config{ClientID: o.audience})
	return o.verifier, nil
}
