// Package publish finds studies in folders and announces them, as a hospital system would.
//
//	folders -> Scan -> Plan -> Publisher.Run -> objects in the Object Store, then StudyArrived
//	                                 ^
//	          PREPARED, EMBEDDED, INDEXED, REJECTED, watched -> Progress, Summary
//
// An arrival's id is a hash of what it says and of the run, so a publish whose outcome is
// unknown is repeated safely, and publishing the same files in another run is harmless:
// ingest answers that nothing changed. A server that goes away is waited for.
package publish
