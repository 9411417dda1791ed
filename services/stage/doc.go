// Package stage is the worker loop of Radstream, written once: ingest, embedder and
// indexer are handlers of it.
//
// Every input ends in exactly one of three ways: its outputs are stored, one Rejected is
// stored, or it is delivered again. The order of operations makes it so:
//
//	Next -> Decode -> Handle -> publish outputs, await each PubAck -> Done (the server
//	                                                                  confirmed the ack)
//	  to blame (invalid, unsupported, erased, ...) -> publish Rejected -> PubAck -> Drop
//	  not to blame (transient, unavailable, ...)   -> Retry after a growing delay
//	  conflict (somebody published first)          -> Handle again, for that input alone
//
// [verdict] is the whole table of kinds. What a crash costs: before the PubAck, repeated
// work. Between PubAck and Done, a second copy that the stream drops by its id (past its
// window, point ids and revisions make it harmless). Between a Rejected
// and its Drop: the Rejected repeats under the same id. A lost Retry: the delivery comes back
// after the consumer's AckWait.
//
// # Batches
//
// The first delivery of a batch is waited for; then up to MaxBatch are taken within
// BatchDeadline. Outputs of different inputs are published at the same time, outputs of
// one input in their order. Inputs that meet a conflict are handled again one after
// another, under a lock of the stage, so that many arrivals for one study cost one more
// call each. A handler that panics or answers with the wrong number of results is called
// again for each input alone; only the culprit fails.
//
// # Poison
//
// An input during whose handling the process died three times is rejected as poison. The
// delivery count cannot tell, for it counts retries as well; so handling leaves a mark.
// From its second delivery on, an input has a count in [Attempts] raised just before
// Handle and taken back when the input is settled; what is left over is deaths. The first
// delivery leaves no mark, which keeps the common path free of extra writes. An input
// with a mark left over is a suspect: it is handled alone while no other handling runs in
// the process, so that its batch-mates are not blamed for the next death. Poison therefore
// costs four deaths: one unmarked, one in a batch, two alone.
//
// # Shutdown
//
// When the context of Run ends, nothing more is pulled, a batch that had not started goes
// back at once, and the running ones get Grace to finish; after that their context ends
// too and what is unfinished goes back. Run then returns nil.
package stage
