package event

import (
	"regexp"

	"github.com/radstream/radstream/schemas/fault"
)

// Tenant is the name of one customer of the system: 1 to 63 of a-z, 0-9 and '-',
// starting with a letter or digit. It is the third token of every subject.
type Tenant string

// DefaultTenant is used where nobody named one.
const DefaultTenant Tenant = "default"

// StudyUID identifies a study as its sender does (Study Instance UID, DICOM
// (0020,000D), or any id for plain films). It may point at a person: it appears only in
// STUDIES, in the bucket identity and in answers to the tenant itself.
type StudyUID string

// PatientID identifies a patient as the sender does. The same care applies.
type PatientID string

// StudyKey is the pseudonym of a study inside its tenant: 32 lower-case hex digits.
type StudyKey string

// PatientKey is the pseudonym of a patient inside its tenant: 32 lower-case hex digits.
type PatientKey string

// Rev counts the revisions of a study from 1.
type Rev uint64

// MessageID identifies an event for duplicate detection. Equal inputs give equal ids.
type MessageID string

var tenantForm = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// ParseTenant checks the form of a tenant's name.
func ParseTenant(s string) (Tenant, error) {
	if !tenantForm.MatchString(s) {
		return "", fault.Reject("event.ParseTenant", fault.Invalid, ReasonSubject,
			"a tenant is 1 to 63 of a-z, 0-9 and '-', starting with a letter or digit")
	}
	return Tenant(s), nil
}

// Type is the CloudEvents type of an event, with its version.
type Type string

// The event types of version 1.
const (
	StudyArrived   Type = "org.radstream.study.arrived.v1"
	ReportArrived  Type = "org.radstream.report.arrived.v1"
	StudyErased    Type = "org.radstream.study.erased.v1"
	StudyPrepared  Type = "org.radstream.study.prepared.v1"
	StudyUnchanged Type = "org.radstream.study.unchanged.v1"
	StudyEmbedded  Type = "org.radstream.study.embedded.v1"
	StudyIndexed   Type = "org.radstream.study.indexed.v1"
	Rejected       Type = "org.radstream.rejected.v1"
	PatientMerged  Type = "org.radstream.patient.merged.v1"
	StudyMoved     Type = "org.radstream.study.moved.v1"
	ArrivalNoted   Type = "org.radstream.arrival.noted.v1"
	TrainingDue    Type = "org.radstream.training.due.v1"
	ModelDecided   Type = "org.radstream.model.decided.v1"

	StudyRemoved    Type = "org.radstream.study.removed.v1"
	ErasureReported Type = "org.radstream.erasure.reported.v1"
)

// Subject is a NATS subject. Build one with the functions below.
type Subject string

const prefix = "rad.v1."

// StudyArrivedSubject is where studies of t are announced.
func StudyArrivedSubject(t Tenant) Subject { return Subject(prefix + string(t) + ".study.arrived") }

// ReportArrivedSubject is where reports of t are announced.
func ReportArrivedSubject(t Tenant) Subject { return Subject(prefix + string(t) + ".report.arrived") }

// PatientMergedSubject is where merges and corrections of patients of t are announced.
func PatientMergedSubject(t Tenant) Subject { return Subject(prefix + string(t) + ".study.merged") }

// StudyErasedSubject is where t asks for studies and patients to be erased.
func StudyErasedSubject(t Tenant) Subject { return Subject(prefix + string(t) + ".study.erased") }

// PreparedSubject holds every revision of one study; its last message is the study.
func PreparedSubject(t Tenant, p PatientKey, s StudyKey) Subject {
	return Subject(prefix + string(t) + ".prepared." + string(p) + "." + string(s))
}

// PreparedOf matches the subject of study s whoever the patient is.
func PreparedOf(t Tenant, s StudyKey) Subject { return PreparedSubject(t, "*", s) }

// PreparedOfPatient matches the subjects of all studies of patient p.
func PreparedOfPatient(t Tenant, p PatientKey) Subject { return PreparedSubject(t, p, "*") }

// EmbeddedSubject holds study s under one model. model is the subject-safe form of the
// model's reference (schemas/model).
func EmbeddedSubject(t Tenant, model string, s StudyKey) Subject {
	return Subject(prefix + string(t) + ".embedded." + model + "." + string(s))
}

// IndexedSubject says that study s can be found.
func IndexedSubject(t Tenant, s StudyKey) Subject {
	return Subject(prefix + string(t) + ".indexed." + string(s))
}

// UnchangedSubject answers arrivals that brought nothing new for study s. An arrival that is
// of no study yet is answered there under the pseudonym of what it names.
func UnchangedSubject(t Tenant, s StudyKey) Subject {
	return Subject(prefix + string(t) + ".unchanged." + string(s))
}

// RejectedSubject holds the dead letters of one stage.
func RejectedSubject(t Tenant, stage string) Subject {
	return Subject(prefix + string(t) + ".rejected." + stage)
}

// TrainingScheduleSubject holds when rounds of training on the studies of t are due.
func TrainingScheduleSubject(t Tenant) Subject { return training(t, "schedule") }

// TrainingDueSubject asks for a round.
func TrainingDueSubject(t Tenant) Subject { return training(t, "due") }

// ModelDecidedSubject holds the decisions.
func ModelDecidedSubject(t Tenant) Subject { return training(t, "decided") }

func training(t Tenant, what string) Subject {
	return Subject(prefix + string(t) + ".training." + what)
}

// TenantSubjects matches everything of one tenant.
func TenantSubjects(t Tenant) Subject { return Subject(prefix + string(t) + ".>") }

// Stream is one JetStream stream of the system, as data; services/bus creates it.
type Stream struct {
	Name     string
	Subjects []Subject
	About    string
	// Archive streams keep every message for ever; the others keep them for days.
	Archive bool
	// PerSubject bounds how many messages a subject keeps, the newest; 0 is no bound.
	PerSubject int64
	// Schedules says that messages may be repeated by the server on a schedule.
	Schedules bool
}

// The streams by name.
const (
	StreamStudies  = "STUDIES"
	StreamPrepared = "PREPARED"
	StreamEmbedded = "EMBEDDED"
	StreamIndexed  = "INDEXED"
	StreamRejected = "REJECTED"
	StreamAnswers  = "ANSWERS"
	StreamTraining = "TRAINING"
)

// Streams lists every stream in the order a study passes through them.
func Streams() []Stream {
	return []Stream{
		{Name: StreamStudies, Subjects: []Subject{prefix + "*.study.*", prefix + "*.report.*"},
			About: "what hospitals publish; holds identifiers", Archive: true},
		{Name: StreamPrepared, Subjects: []Subject{prefix + "*.prepared.*.*"},
			About: "the archive: every revision of every study, without identifiers", Archive: true},
		// The newest vectors of a study under each model, for ever: an index stage that was away
		// for long finds them, and an index that was lost is made of them without encoding again.
		// Several, because a revision that was retried may come behind the one after it.
		{Name: StreamEmbedded, Subjects: []Subject{prefix + "*.embedded.*.*"},
			About: "vectors on their way to the index", Archive: true, PerSubject: 8},
		// One message a study, for ever: whoever publishes a study again years later still
		// learns that it can be found.
		{Name: StreamIndexed, Subjects: []Subject{prefix + "*.indexed.*"},
			About: "what can be found now", Archive: true, PerSubject: 1},
		{Name: StreamRejected, Subjects: []Subject{prefix + "*.rejected.*"},
			About: "dead letters, kept until somebody deals with them", Archive: true},
		{Name: StreamAnswers, Subjects: []Subject{prefix + "*.unchanged.*"},
			About: "answers to arrivals that brought nothing new"},
		{Name: StreamTraining, Subjects: []Subject{prefix + "*.training.*"},
			About: "when models are trained, and what was decided of each", Archive: true, Schedules: true},
	}
}
