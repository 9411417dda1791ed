package auth

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limiter bounds the requests of each caller.
type Limiter struct {
	rate  rate.Limit
	burst int

	mu      sync.Mutex
	buckets map[string]*rate.Limiter
}

// maxBuckets is how many callers are remembered before those are forgotten that wait for nothing.
const maxBuckets = 4096

// NewLimiter allows each caller perSecond requests a second, and burst at once.
func NewLimiter(perSecond float64, burst int) *Limiter {
	return &Limiter{rate: rate.Limit(perSecond), burst: burst, buckets: map[string]*rate.Limiter{}}
}

// Allow takes one request of the caller, or says after how long there is room for it.
func (l *Limiter) Allow(id string) (wait time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.buckets[id]
	if b == nil {
		if len(l.buckets) >= maxBuckets {
			for id, b := range l.buckets {
				if b.Tokens() >= float64(l.burst) { // a full bucket is as good as a new one
					delete(l.buckets, id)
				}
			}
		}
		b = rate.NewLimiter(l.rate, l.burst)
		l.buckets[id] = b
	}
	r := b.Reserve()
	if wait = r.Delay(); wait > 0 {
		r.Cancel()
		return wait, false
	}
	return 0, true
}
