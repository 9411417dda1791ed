// Package event defines how the messages of Radstream travel: their types, subjects and
// streams, and the CloudEvents envelope around each.
//
// An event is a protobuf message of schemas/radstream/v1 in CloudEvents 1.0 binary
// content mode over NATS: attributes are headers named "ce-...", the body is the
// message, "content-type" says how it is encoded. What the system publishes itself is
// always application/protobuf; the arrivals that hospitals publish may be
// application/json (protobuf JSON) as well.
//
//	STUDIES -> prepare -> PREPARED -> embed -> EMBEDDED -> index -> INDEXED
//	              \____________________\__________________\--> REJECTED
//
// The version is the last part of the type. A version or type that this package does
// not know is refused, never guessed at.
package event

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"mime"
	"regexp"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
)

// Reasons for which an event is refused.
const (
	ReasonVersion     fault.Reason = "unknown_event_version"
	ReasonType        fault.Reason = "unknown_event_type"
	ReasonContentType fault.Reason = "unsupported_content_type"
	ReasonBody        fault.Reason = "malformed_event"
	ReasonSubject     fault.Reason = "malformed_subject"
)

// Content types of event bodies.
const (
	Protobuf = "application/protobuf"
	JSON     = "application/json"

	// Of hospital messages; see [Envelope.HospitalMessage].
	HL7v2 = "application/hl7-v2"
	FHIR  = "application/fhir+json"
	CDA   = "application/xml" // a C-CDA document
)

// MaxObjects bounds the objects of one StudyArrived.
const MaxObjects = 64

// MaxBody bounds the body of an event in bytes; nats-server's default is the same.
const MaxBody = 1 << 20

// Envelope is an event with its CloudEvents attributes.
type Envelope struct {
	ID          MessageID // ce-id; also the Nats-Msg-Id
	Source      string    // ce-source: who published it
	Type        Type      // ce-type
	Time        time.Time // ce-time; not part of the id
	ContentType string
	Subject     Subject // NATS subject; carries the tenant
	// Cause is the id of the arrival that set off this event (extension "radcause");
	// it lets a publisher follow its study through every stream.
	Cause MessageID
	// Rev is the revision of the study that the event is about, 0 when it is about none
	// (extension "radrev").
	Rev Rev
	// Trace is what traces follow the event by, through every stream too.
	Trace Trace
	Body  []byte
}

// Tenant returns the tenant named in the subject.
func (e Envelope) Tenant() (Tenant, error) {
	parts := strings.Split(string(e.Subject), ".")
	if len(parts) < 4 || parts[0] != "rad" || parts[1] != "v1" {
		return "", fault.Reject("event.Tenant", fault.Invalid, ReasonSubject, "a subject starts with rad.v1.<tenant>.")
	}
	return ParseTenant(parts[2])
}

// StudyKey returns the last token of the subjects that end in a study key.
func (e Envelope) StudyKey() StudyKey {
	s := string(e.Subject)
	return StudyKey(s[strings.LastIndexByte(s, '.')+1:])
}

// Header names of the NATS binding (CloudEvents NATS Protocol Binding 1.0, section 3.1).
const (
	headerContentType = "content-type"
	headerSpecVersion = "ce-specversion"
	headerID          = "ce-id"
	headerSource      = "ce-source"
	headerType        = "ce-type"
	headerTime        = "ce-time"
	headerCause       = "ce-radcause"
	headerRev         = "ce-radrev"
)

// Header returns the attributes as NATS headers.
func (e Envelope) Header() map[string][]string {
	h := map[string][]string{
		headerSpecVersion: {"1.0"},
		headerID:          {string(e.ID)},
		headerSource:      {e.Source},
		headerType:        {string(e.Type)},
		headerTime:        {e.Time.UTC().Format(time.RFC3339Nano)},
		headerContentType: {e.ContentType},
	}
	if e.Cause != "" {
		h[headerCause] = []string{string(e.Cause)}
	}
	if e.Rev != 0 {
		h[headerRev] = []string{strconv.FormatUint(uint64(e.Rev), 10)}
	}
	if e.Trace.Parent != "" {
		h[headerTraceParent] = []string{e.Trace.Parent}
	}
	if e.Trace.State != "" {
		h[headerTraceState] = []string{e.Trace.State}
	}
	return h
}

// FromMessage reads the attributes of a NATS message. It does not judge them: an
// envelope with an unknown type still names the event in a rejection. Header names
// match in any case, as the binding asks.
func FromMessage(subject string, header map[string][]string, body []byte) Envelope {
	get := func(name string) string { return headerValue(header, name) }
	e := Envelope{
		ID: MessageID(get(headerID)), Source: get(headerSource), Type: Type(get(headerType)),
		ContentType: get(headerContentType), Subject: Subject(subject), Cause: MessageID(get(headerCause)),
		Trace: TraceOf(header), Body: body,
	}
	e.Time, _ = time.Parse(time.RFC3339Nano, get(headerTime)) // the zero time says unknown
	rev, _ := strconv.ParseUint(get(headerRev), 10, 64)
	e.Rev = Rev(rev)
	return e
}

// New makes an envelope around m, encoded as protobuf. Its type follows from m.
func New(id MessageID, source string, subject Subject, now time.Time, m proto.Message) (Envelope, error) {
	const op = "event.New"
	t, ok := typeOf(m)
	if !ok {
		return Envelope{}, fault.Errorf(op, fault.Internal, "%T is not an event", m)
	}
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return Envelope{}, fault.E(op, fault.Internal, err)
	}
	if len(body) > MaxBody {
		return Envelope{}, fault.Reject(op, fault.Unsupported, "event_too_large", "the event has %d bytes, at most %d fit on the bus", len(body), MaxBody)
	}
	return Envelope{ID: id, Source: source, Type: t, Time: now, ContentType: Protobuf, Subject: subject, Body: body}, nil
}

// Message decodes the body into the message that the type names.
//
// Errors: Unsupported for a type, version or content type that is not known, Invalid
// for a body that is not such a message.
func (e Envelope) Message() (proto.Message, error) {
	const op = "event.Message"
	m, ok := newMessage(e.Type)
	if !ok {
		base, version := cutVersion(e.Type)
		for _, t := range types() {
			if b, v := cutVersion(t); b == base && v != version {
				return nil, fault.Reject(op, fault.Unsupported, ReasonVersion, "the event is of a version that is not known here; versions known: %s", v)
			}
		}
		return nil, fault.Reject(op, fault.Unsupported, ReasonType, "the ce-type header names no event that is known here; an example is %s", StudyArrived)
	}
	contentType, _, err := mime.ParseMediaType(e.ContentType)
	if err != nil && e.ContentType != "" {
		contentType = "?"
	}
	switch {
	case contentType == Protobuf:
		if err := proto.Unmarshal(e.Body, m); err != nil {
			return nil, fault.Reject(op, fault.Invalid, ReasonBody, "the body is not a protobuf %s", m.ProtoReflect().Descriptor().FullName())
		}
	case contentType == JSON && acceptsJSON(e.Type):
		// The library's error quotes the input, which may name a person: leave it out.
		if err := protojson.Unmarshal(e.Body, m); err != nil {
			return nil, fault.Reject(op, fault.Invalid, ReasonBody, "the body is not the protobuf JSON of %s (unknown fields are refused)", m.ProtoReflect().Descriptor().FullName())
		}
	default:
		return nil, fault.Reject(op, fault.Unsupported, ReasonContentType, "content-type must be %s, or %s for arrivals; for reports and merges also %s, %s or %s", Protobuf, JSON, HL7v2, FHIR, CDA)
	}
	return m, nil
}

func types() []Type {
	return []Type{StudyArrived, ReportArrived, StudyErased, StudyPrepared, StudyUnchanged, StudyEmbedded, StudyIndexed, Rejected,
		PatientMerged, StudyMoved, ArrivalNoted, TrainingDue, ModelDecided, StudyRemoved, ErasureReported}
}

// Known tells whether t is the type of an event of this package, and no text of a sender.
func (t Type) Known() bool {
	_, ok := newMessage(t)
	return ok
}

func newMessage(t Type) (proto.Message, bool) {
	switch t {
	case StudyArrived:
		return &radstreamv1.StudyArrived{}, true
	case ReportArrived:
		return &radstreamv1.ReportArrived{}, true
	case StudyErased:
		return &radstreamv1.StudyErased{}, true
	case StudyPrepared:
		return &radstreamv1.StudyPrepared{}, true
	case StudyUnchanged:
		return &radstreamv1.StudyUnchanged{}, true
	case StudyEmbedded:
		return &radstreamv1.StudyEmbedded{}, true
	case StudyIndexed:
		return &radstreamv1.StudyIndexed{}, true
	case Rejected:
		return &radstreamv1.Rejected{}, true
	case PatientMerged:
		return &radstreamv1.PatientMerged{}, true
	case StudyMoved:
		return &radstreamv1.StudyMoved{}, true
	case ArrivalNoted:
		return &radstreamv1.ArrivalNoted{}, true
	case TrainingDue:
		return &radstreamv1.TrainingDue{}, true
	case ModelDecided:
		return &radstreamv1.ModelDecided{}, true
	case StudyRemoved:
		return &radstreamv1.StudyRemoved{}, true
	case ErasureReported:
		return &radstreamv1.ErasureReported{}, true
	}
	return nil, false
}

func typeOf(m proto.Message) (Type, bool) {
	for _, t := range types() {
		if known, _ := newMessage(t); known.ProtoReflect().Descriptor() == m.ProtoReflect().Descriptor() {
			return t, true
		}
	}
	return "", false
}

func acceptsJSON(t Type) bool {
	return t == StudyArrived || t == ReportArrived || t == StudyErased || t == PatientMerged
}

// HospitalMessage tells whether the body is a message of a hospital's own standard, whole and
// unchanged, in place of the protobuf message of the type; package ingest reads it.
func (e Envelope) HospitalMessage() bool {
	contentType, _, err := mime.ParseMediaType(e.ContentType)
	if err != nil || e.Type != ReportArrived && e.Type != PatientMerged {
		return false
	}
	switch contentType {
	case HL7v2, "x-application/hl7-v2+er7", FHIR, CDA, "text/xml":
		return true
	}
	return false
}

func cutVersion(t Type) (base, version string) {
	i := strings.LastIndex(string(t), ".v")
	if i < 0 {
		return string(t), ""
	}
	return string(t[:i]), string(t[i+1:])
}

var publicForm = regexp.MustCompile(`^[0-9a-f]{32}$`)

// Public returns the id in a form that says nothing about anybody: itself when it is 32 hex
// digits, as [ID] makes them, else a hash of it. Senders choose the ids of their arrivals,
// and some name the patient; what leaves STUDIES carries this form.
func (id MessageID) Public() MessageID {
	if publicForm.MatchString(string(id)) {
		return id
	}
	return ID("public", string(id))
}

// ID hashes parts into a message id: sha256 over each part behind its length, so that
// no two lists of parts collide. 32 hex digits are kept.
func ID(parts ...string) MessageID {
	h := sha256.New()
	var n [8]byte
	for _, p := range parts {
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write([]byte(p))
	}
	return MessageID(hex.EncodeToString(h.Sum(nil)[:16]))
}
