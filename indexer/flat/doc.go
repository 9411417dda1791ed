// Package flat is a durable, exact vector store in one directory: the embedded index
// behind package qdrantd. It holds collections of points; a point has an id (a number or
// a UUID), up to one dense float32 vector per vector name and a JSON-like payload.
// Search scans every vector, so answers are exact, and nothing needs tuning. First passes
// over copies of five and of ten bits leave out what certainly is not among the best (see
// quantise.go); the rest is scored in float, so the answer is that of a scan in float, bit for bit.
//
// # Flow of a write
//
// A mutation takes the writers' lock, reads the current state, and reduces what was asked
// to its effect ("point 7 now has this payload"). The effect is appended to the write-ahead
// log, applied to memory, and the lock is released. The call then waits until the log is
// synced up to its record and only then returns: acknowledged means on disk. Writers that
// wait at the same time share one fdatasync. Because effects are absolute, replaying a
// record twice changes nothing, and a snapshot may be taken while writes go on.
// A reader can see a write a moment before it is synced. When a write or a sync of the log
// fails, the store refuses every later write until it is opened again. Where there is no room for a
// vector, a write is refused before it is logged, and the next one may be taken.
//
// # Memory
//
// Float vectors lie in a mapped file without a name (see arena.go), ids, payloads, copies in few
// bits and indexes on the heap. A search touches few floats, so the kernel may put the rest aside.
//
// # Files
//
// All integers are little-endian; checksums are CRC32C (RFC 3720, appendix B.4).
//
//	FORMAT            "radstream-flat 1\n"; a newer number is refused by Open
//	LOCK              flock(2)ed while the directory is open
//	wal-%016x.log     the log, one file a generation
//	snap-%016x.dat    the state up to and including the log of that generation
//
// A log or snapshot file starts with 20 bytes: magic (8), generation (u64), CRC of these 16
// bytes (u32). Frames follow: body length (u32), log sequence number (u64, without gaps),
// CRC of these 12 bytes (u32), CRC of the body (u32), body. The first byte of a body is its
// kind (see codec.go). A snapshot ends with an end frame that counts its points.
//
// # Opening
//
// Open reads the newest snapshot and the logs after it. The log is folded into a new
// snapshot when it has outgrown the last one, which bounds the time that Open takes. A
// write torn by a crash can only be the unsynced end of the last log, so it was never
// acknowledged: it is cut off. Any other damage is a fault of kind Corrupt that names file
// and offset, and the store stays closed until somebody decides: [Check] lists all damage, and
// [Repair] makes a store of what can be read, frame by frame, so that damage costs the points of its
// own frame and no others, unless that frame made the collection. How torn and damaged are told apart is in recover.go.
package flat
